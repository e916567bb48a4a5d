"""Whole training runs: study table and model description in, trained model folder out. Behind the command line and the examples."""

import contextlib
import difflib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from datasets import concatenate_datasets
from transformers import AutoConfig, HfArgumentParser, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from transformers.utils import logging

from ..data.file_writing import OutputError, read_json_object
from ..data.locking import claimed
from ..data.model_folders import check_device, check_json_files, clear_folder_errors, load_model, load_processor
from ..model.modeling_priorrg import PriorRGForContrastivePretraining, PriorRGForReportGeneration
from ..model.processing_priorrg import PriorRGProcessor
from .checkpointing import damage_of, has_checkpoints
from .presets import PRESETS, new_config, new_processor, preset_settings, view_table
from .trainer import PriorRGContrastiveTrainer, PriorRGReportTrainer
from .training_args import (
    PriorRGContrastiveTrainingArguments,
    PriorRGRecipeArguments,
    PriorRGReportTrainingArguments,
)


logger = logging.get_logger(__name__)

DEFAULT_TOKENIZER = "distilbert/distilgpt2"
CONFIGS_FOLDER = Path(__file__).parent / "configs"


@dataclass
class DataArguments:
    """Where the studies come from."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "Study table: a folder, JSON lines, CSV, Parquet, or any other source that load_studies reads."
        },
    )
    data_format: str | None = field(
        default=None, metadata={"help": "Format of the table; by default known from the source."}
    )
    image_root: str | None = field(
        default=None, metadata={"help": "Folder that image paths are relative to; by default that of the table."}
    )
    columns: dict | None = field(
        default=None, metadata={"help": "Field -> your column, as a mapping, e.g. findings: REPORT_TEXT."}
    )
    reports: str | None = field(
        default=None,
        metadata={"help": "MIMIC-CXR: folder or zip of the report texts, where they aren't beside the tables."},
    )
    revision: str | None = field(default=None, metadata={"help": "Hub data set: branch, tag or commit."})
    all_items: bool = field(
        default=False, metadata={"help": "Annotation file: keep items with an empty findings_factual_serialization."}
    )
    date_order: str | None = field(
        default=None,
        metadata={"help": "day-first or month-first: what dates like 03/04/2021 mean; without it they are errors."},
    )
    allow_outside_image_root: bool = field(
        default=False, metadata={"help": "Read images that lie, or whose links lead, outside of the image root."}
    )
    allow_urls: bool = field(default=False, metadata={"help": "Let images be http and https addresses."})
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    validation_split: str = field(
        default="validation", metadata={"help": "Split to evaluate on; without it there is no evaluation."}
    )
    include_views: str | None = field(
        default=None, metadata={"help": "Current images to use: a family such as frontal; by default all."}
    )
    max_train_studies: int | None = field(
        default=None, metadata={"help": "Use the first so many training examples only."}
    )
    max_validation_studies: int | None = field(
        default=None, metadata={"help": "Evaluate the first so many examples only."}
    )


@dataclass
class ModelArguments:
    """What is trained."""

    model: str = field(
        default="base",
        metadata={
            "help": f"A new model of preset size ({', '.join(PRESETS)}; base has the published shapes), a JSON file with a "
            "configuration, or a model folder or Hub id: stage 1's result for stage 2, or a converted checkpoint to fine-tune."
        },
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": f"GPT-2 vocabulary of a new model: folder or Hub id; by default {DEFAULT_TOKENIZER}. PriorRG's seven tokens are added."
        },
    )
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side of a new model's images in pixels, a multiple of 14; by default the preset's."},
    )
    vision: str | None = field(
        default=None,
        metadata={"help": "Start the vision encoder from this folder or Hub id, e.g. microsoft/rad-dino."},
    )
    text: str | None = field(
        default=None,
        metadata={
            "help": "Start the text encoder from it, e.g. microsoft/BiomedVLP-CXR-BERT-specialized (first layers)."
        },
    )
    decoder: str | None = field(
        default=None,
        metadata={"help": "Start the decoder from it, e.g. distilbert/distilgpt2; random otherwise (stage 2)."},
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Attention kernels: sdpa (default), eager, flash_attention_2."}
    )
    lora: bool = field(
        default=False, metadata={"help": "Train low-rank adapters of the decoder instead of all weights (needs peft)."}
    )
    lora_rank: int = field(default=16, metadata={"help": "Rank of the adapters."})


class _ArgumentParser(HfArgumentParser):
    def error(self, message: str):
        raise ValueError(message)  # argparse itself prints a page of usage and ends the process


def run_argument_parser(training_arguments: type[PriorRGRecipeArguments]) -> HfArgumentParser:
    """The parser of everything a run can be told: data, model, and each field of the trainer's arguments."""
    classes: tuple[Any, ...] = (DataArguments, ModelArguments, training_arguments)
    return _ArgumentParser(classes)


def parse_run_arguments(
    training_arguments: type[PriorRGRecipeArguments], options: Mapping[str, Any], extra: Sequence[str] = ()
) -> tuple[DataArguments, ModelArguments, PriorRGRecipeArguments]:
    """Arguments of a run from a mapping (a configuration file, command-line options) and further `--name value` strings.

    Raises `ValueError` for a name that none of the argument classes has, with the nearest one that exists, and for a wrong value.
    """
    parser = run_argument_parser(training_arguments)
    known = {action.dest for action in parser._actions}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"unknown argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not isinstance(options.get("columns"), (Mapping, type(None))):
        raise ValueError(f"columns must map fields to columns, got {options['columns']!r}")
    parser.set_defaults(**options)
    data, model, training, unknown = parser.parse_args_into_dataclasses(
        args=list(extra), return_remaining_strings=True
    )
    if unknown:
        near = difflib.get_close_matches(unknown[0].lstrip("-").replace("-", "_"), known, n=1)
        raise ValueError(f"unknown argument {unknown[0]!r}" + (f"; did you mean '--{near[0]}'?" if near else ""))
    return cast(DataArguments, data), cast(ModelArguments, model), cast(PriorRGRecipeArguments, training)


def read_argument_file(path: str | os.PathLike) -> dict[str, Any]:
    """Arguments of a run from a JSON or YAML file, or from a packaged one by its name, such as `finetune_8gpu`."""
    path = Path(path)
    packaged = CONFIGS_FOLDER / f"{path.name}.json"
    if not path.exists() and path.name == str(path) and packaged.is_file():
        path = packaged
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in CONFIGS_FOLDER.glob("*.json")))
        raise ValueError(f"{path} is neither a file nor the name of a packaged configuration ({names})")
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_json_object(path)
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold one mapping of argument names to values, got {type(values).__name__}")
    return values


# ---- data ----


def load_training_examples(arguments: DataArguments) -> dict[str, Any]:
    """Example rows for training, checked: `train`, `validation` (or None), and `left_out`, the rows without findings by split.

    Raises `ValueError` when a split is missing, empty, or shares a patient with the other.
    """
    from ..data import as_examples, check_patient_disjoint, load_studies

    if arguments.data is None:
        raise ValueError("no studies given: pass --data STUDIES (-d), or `data` in the configuration")
    studies = load_studies(
        arguments.data,
        format=arguments.data_format,
        image_root=arguments.image_root,
        columns=arguments.columns,
        reports=arguments.reports,
        revision=arguments.revision,
        require_factual_serialization=not arguments.all_items,
        date_order=arguments.date_order,
        allow_outside_image_root=arguments.allow_outside_image_root,
        allow_urls=arguments.allow_urls,
    )
    if arguments.train_split not in studies:
        raise ValueError(f"{arguments.data} has no split {arguments.train_split!r}; it has {', '.join(studies)}")
    names = {"train": arguments.train_split, "validation": arguments.validation_split}
    limits = {"train": arguments.max_train_studies, "validation": arguments.max_validation_studies}
    result: dict[str, Any] = {"train": None, "validation": None, "left_out": {}}
    check_patient_disjoint({name: studies[name] for name in names.values() if name in studies})
    for role, name in names.items():
        if name not in studies:
            continue
        every = as_examples(studies[name], include_views=arguments.include_views)
        usable = as_examples(studies[name], include_views=arguments.include_views, require_findings=True)
        result["left_out"][name] = len(every) - len(usable)
        limit = limits[role]
        if limit is not None:
            usable = usable.select(range(min(limit, len(usable))))
        result[role] = usable if len(usable) else None
    if result["train"] is None:
        raise ValueError(f"no study of split {arguments.train_split!r} has findings: there is nothing to learn from")
    return result


def views_of(*datasets) -> list[str]:
    """The view names that occur in example rows, current and prior."""
    views = set()
    for dataset in datasets:
        if dataset is not None:
            views.update(dataset["view_position"])
            views.update(dataset["prior_view_position"])
    return sorted(view for view in views if view)


# ---- models ----

# What stage 1 does not have.
NEW_IN_STAGE_2 = ("decoder.", "memory_projection.", "model.layer_fusion.", "model.visual_norm.")
# What a run writes into its output folder.
RUN_FILES = (
    "checkpoint-*", "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json",
    "adapter_config.json", "adapter_model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    "training_args.bin", "trainer_state.json", "training_report.json", "loss_plot.png",
)  # fmt: skip


def architecture_of(source: str) -> str | None:
    """Class name that a model folder or Hub id was saved with, or None for a preset or a configuration file."""
    if source in PRESETS or os.path.isfile(source):
        return None
    with clear_folder_errors(source):
        check_json_files(source)
        architectures = AutoConfig.from_pretrained(source).architectures or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise ValueError(
            f"{source}: `architectures` in config.json must be a list of class names, got {architectures!r}"
        )
    return architectures[0] if architectures else None


def build_for_pretraining(
    arguments: ModelArguments, views: Sequence[str]
) -> tuple[PriorRGForContrastivePretraining, PriorRGProcessor]:
    """Model and processor of stage 1: new, from backbones, or from a stage-1 folder."""
    saved_as = architecture_of(arguments.model)
    if saved_as is None:
        processor, config = _new_processor_and_config(arguments, views)
        if arguments.vision or arguments.text:
            with clear_folder_errors(_names(arguments.vision, arguments.text)):
                model = PriorRGForContrastivePretraining.from_pretrained_backbones(
                    vision=arguments.vision, text=arguments.text, config=config
                )
        else:
            model = PriorRGForContrastivePretraining(config)
        return _with_attention(model, arguments), processor
    if saved_as == "PriorRGForReportGeneration":
        raise ValueError(
            f"{arguments.model} is a stage-2 model (report generation): its logit scale is gone and its encoder is already tuned for "
            "writing. Start stage 1 from the backbones or from a stage-1 folder; to train this model further, use finetune."
        )
    processor = load_processor(arguments.model)
    return load_model(PriorRGForContrastivePretraining, arguments.model, **_attention(arguments)), processor


def build_for_finetuning(
    arguments: ModelArguments, views: Sequence[str]
) -> tuple[PriorRGForReportGeneration, PriorRGProcessor]:
    """Model and processor of stage 2: from stage 1's folder, from a report generator, from backbones, or new."""
    saved_as = architecture_of(arguments.model)
    if saved_as is None:
        processor, config = _new_processor_and_config(arguments, views)
        if arguments.vision or arguments.text or arguments.decoder:
            with clear_folder_errors(_names(arguments.vision, arguments.text, arguments.decoder)):
                model = PriorRGForReportGeneration.from_pretrained_backbones(
                    vision=arguments.vision, text=arguments.text, decoder=arguments.decoder, config=config
                )
        else:
            model = PriorRGForReportGeneration(config)
        logger.warning("stage 2 starts without stage 1: pass stage 1's output folder as model to follow the recipe")
        return _with_attention(model, arguments), processor
    processor = load_processor(arguments.model)
    if saved_as != "PriorRGForReportGeneration" and arguments.decoder is not None:
        model = continue_from_stage_1(arguments.model, arguments.decoder)
        return _with_attention(model, arguments), processor
    new = () if saved_as == "PriorRGForReportGeneration" else NEW_IN_STAGE_2
    model = load_model(PriorRGForReportGeneration, arguments.model, may_be_new=new, **_attention(arguments))
    return model, processor


def continue_from_stage_1(
    folder: str | os.PathLike, decoder: str | os.PathLike | None = None, **changes: Any
) -> PriorRGForReportGeneration:
    """A report generator with everything that stage 1 learned.

    Args:
        folder: of the stage-1 model.
        decoder (*optional*): folder or Hub id of the GPT-2 that the decoder starts from; random weights by default, as published.
        **changes: fields of [`PriorRGConfig`] that stage 1 does not depend on, such as `memory_segments`.

    Raises:
        ValueError: the changed configuration does not fit stage 1's weights.
    """
    if decoder is None:
        return load_model(PriorRGForReportGeneration, folder, may_be_new=NEW_IN_STAGE_2, **changes)
    stage_1 = load_model(PriorRGForContrastivePretraining, folder)
    config = type(stage_1.config).from_dict({**stage_1.config.to_dict(), **changes})
    with clear_folder_errors(decoder):
        made = PriorRGForReportGeneration.from_pretrained_backbones(decoder=os.fspath(decoder), config=config)
    model = cast(PriorRGForReportGeneration, made)
    missing, unexpected = model.model.load_state_dict(stage_1.model.state_dict(), strict=False)
    missing = [name for name in missing if not name.startswith(("layer_fusion.", "visual_norm."))]
    if missing or unexpected:
        raise ValueError(f"{folder} does not fit: missing {missing}, unexpected {unexpected}")
    return model


def _new_processor_and_config(arguments: ModelArguments, views: Sequence[str]):
    settings = preset_settings(arguments.model)
    image_size = arguments.image_size or settings["image_size"]
    if arguments.vision is not None and arguments.image_size is None:
        with clear_folder_errors(arguments.vision):
            check_json_files(arguments.vision)
            image_size = AutoConfig.from_pretrained(arguments.vision).image_size
    known = settings.get("view_positions")
    tokenizer = arguments.tokenizer or DEFAULT_TOKENIZER
    with clear_folder_errors(tokenizer):
        check_json_files(tokenizer)
        processor = new_processor(tokenizer, image_size, known or _views_with_defaults(views))
    return processor, new_config(arguments.model, processor, image_size=image_size)


def _names(*folders: str | None) -> str:
    return ", ".join(folder for folder in folders if folder is not None)


def _views_with_defaults(views: Sequence[str]) -> dict[str, int]:
    # The names of MIMIC-CXR come along, so that the model can later be asked about views this table does not have.
    from ..model.configuration_priorrg import DEFAULT_VIEW_POSITIONS

    return view_table([*DEFAULT_VIEW_POSITIONS, *views])


def _attention(arguments: ModelArguments) -> dict[str, Any]:
    return {"attn_implementation": arguments.attn_implementation} if arguments.attn_implementation else {}


def _with_attention(model, arguments: ModelArguments):
    if arguments.attn_implementation:
        model.set_attn_implementation(arguments.attn_implementation)
    return model


def _with_lora(model, arguments: ModelArguments):
    from peft import get_peft_model

    from .lora import freeze_batch_norm, lora_config

    # An adapter file has no BatchNorm statistics, so training must not change them.
    return get_peft_model(freeze_batch_norm(model), lora_config(r=arguments.lora_rank))


# ---- runs ----


def _goes_on(training) -> bool:
    """Whether the run was asked to go on from a checkpoint."""
    resume = training.resume_from_checkpoint
    return bool(resume) and str(resume).lower() not in ("false", "none", "no")


@contextlib.contextmanager
def _output_folder(training, data: DataArguments, model: ModelArguments, stage: str) -> Iterator[None]:
    """Locks the output folder, after seeing that nothing in it would be lost."""
    if training.process_index != 0:
        yield
        return
    folder, goes_on = Path(training.output_dir), _goes_on(training)
    ours = any(damage_of(path, contents=False) is None for path in folder.glob("checkpoint-*"))
    sources = [source for source in (data.data, model.model) if source and not goes_on]
    with claimed(
        folder, f"training, {stage}", RUN_FILES, f"priorrg {stage}", sources=sources, overwrite=training.overwrite_output_dir,
        recognised=ours,
    ):  # fmt: skip
        holds_run = has_checkpoints(folder) or (folder / "config.json").is_file()
        if holds_run and not goes_on and not training.overwrite_output_dir:
            raise OutputError(
                f"{folder} holds a training run already. Go on with it (resume_from_checkpoint='auto', --resume), choose another "
                "folder, or replace it (overwrite_output_dir=True, --overwrite)."
            )
        if holds_run and not goes_on:
            # Those of the replaced run would be taken for the newest of this one.
            for path in folder.glob("checkpoint-*"):
                shutil.rmtree(path, ignore_errors=True)
        yield


def run_pretraining(
    data: DataArguments, model: ModelArguments, training: PriorRGContrastiveTrainingArguments
) -> dict[str, Any]:
    """Stage 1 from study table to model folder. Returns the facts of the run, as in `training_report.json`."""
    with _output_folder(training, data, model, "pretrain"):
        return _pretrain(data, model, training)


def _pretrain(data: DataArguments, model: ModelArguments, training) -> dict[str, Any]:
    examples = load_training_examples(data)
    adapt_to_missing_validation(training, examples["validation"])
    set_seed(training.seed)
    network, processor = build_for_pretraining(model, views_of(examples["train"], examples["validation"]))
    trainer = PriorRGContrastiveTrainer(
        model=network,
        args=training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
    )
    return _run(trainer, examples)


def run_finetuning(
    data: DataArguments, model: ModelArguments, training: PriorRGReportTrainingArguments
) -> dict[str, Any]:
    """Stage 2 from study table to model folder. Returns the facts of the run, as in `training_report.json`."""
    with _output_folder(training, data, model, "finetune"):
        return _finetune(data, model, training)


def _finetune(data: DataArguments, model: ModelArguments, training) -> dict[str, Any]:
    from .report_metrics import ReportMetrics, priors_shown

    examples = load_training_examples(data)
    adapt_to_missing_validation(training, examples["validation"])
    set_seed(training.seed)
    network, processor = build_for_finetuning(model, views_of(examples["train"], examples["validation"]))
    if model.lora:
        network = _with_lora(network, model)
    metrics = None
    if training.predict_with_generate:
        metrics = ReportMetrics(processor, has_prior=priors_shown(examples["validation"]))
    trainer = PriorRGReportTrainer(
        model=network,
        args=training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
        compute_metrics=metrics,
    )
    return _run(trainer, examples)


def run_precompute(
    data: DataArguments,
    model: ModelArguments,
    folder: str | os.PathLike,
    *,
    layers: str = "last",
    dtype: str = "bfloat16",
    batch_size: int = 16,
    num_workers: int = 0,
    device: str | None = None,
    autocast: bool = False,
    seed: int = 42,
    verify: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Computes the vision features of a table's training and validation images; see `precompute_features`.

    `seed` matters for a new model with a random vision encoder only: it must be the seed of the training run.
    """
    from .feature_cache import FeatureCache, precompute_features

    place = check_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    examples = load_training_examples(data)
    parts = [examples[name] for name in ("train", "validation") if examples[name] is not None]
    set_seed(seed)
    is_report_model = architecture_of(model.model) == "PriorRGForReportGeneration"
    build = build_for_finetuning if is_report_model else build_for_pretraining
    network, processor = build(model, views_of(examples["train"], examples["validation"]))
    network.model.vision_model.to(place)
    facts = precompute_features(
        network,
        processor,
        concatenate_datasets(parts),
        folder,
        layers=layers,
        dtype=dtype,
        batch_size=batch_size,
        num_workers=num_workers,
        autocast=autocast,
        progress=progress,
    )
    if verify:
        facts["verified"] = FeatureCache(folder).verify(progress=progress)
    return facts


def adapt_to_missing_validation(training, validation) -> None:
    """Without a validation set there is nothing to watch: constant learning rate, no early stop, the last weights are the result."""
    if validation is not None or training.eval_strategy == IntervalStrategy.NO:
        return
    logger.warning(
        "there is no validation split: no evaluation, no early stopping, constant learning rate, and the last weights are kept"
    )
    training.eval_strategy = IntervalStrategy.NO
    training.do_eval = False
    training.load_best_model_at_end = False
    if training.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
        training.lr_scheduler_type = SchedulerType.CONSTANT
        training.lr_scheduler_kwargs = None
    if training.save_strategy == SaveStrategy.BEST:
        training.save_strategy = SaveStrategy.EPOCH


def _run(trainer, examples: Mapping[str, Any]) -> dict[str, Any]:
    for split, count in examples["left_out"].items():
        if count and trainer.is_world_process_zero():
            logger.warning(f"{count} examples of split {split!r} have no findings and are left out")
    resume = trainer.args.resume_from_checkpoint
    if isinstance(resume, str) and resume.lower() in ("auto", "true", "last"):
        resume = has_checkpoints(trainer.args.output_dir)
    elif not _goes_on(trainer.args):
        resume = None
    trainer.train(resume_from_checkpoint=resume or None)
    trainer.save_model()
    trainer.save_state()
    report = {}
    if trainer.is_world_process_zero():
        report = json.loads((Path(trainer.args.output_dir) / "training_report.json").read_text(encoding="utf-8"))
    return {**report, "left_out": dict(examples["left_out"]), "output_dir": trainer.args.output_dir}


__all__ = [
    "DataArguments",
    "ModelArguments",
    "build_for_finetuning",
    "build_for_pretraining",
    "continue_from_stage_1",
    "load_training_examples",
    "parse_run_arguments",
    "read_argument_file",
    "run_argument_parser",
    "run_finetuning",
    "run_precompute",
    "run_pretraining",
]
