"""The whole method on synthetic studies, in minutes on two cores: `priorrg demo`, or `make demo`.

Generates a phantom cohort, trains both stages from the package's small backbones (vision encoder, decoder, tokenizer), writes reports of
the test studies with all inputs, without the prior and without the context, and scores them against the phantoms' known truth. Each
step leaves its result in the output folder, and a second call goes on where the first one stopped.

The cohort consists of drawings. Its scores say whether the method does what it should, not how it does on patients.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..version import __version__


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


IMAGE_SIZE = 112
# New weights start as wide as at full size in proportion to the width: 0.02 * sqrt(768) = 0.05 * sqrt(128).
_INITIALIZER_RANGE = 0.05
MODEL_SHAPE: dict[str, Any] = {
    "text_config": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": _INITIALIZER_RANGE,
    },
    "decoder_config": {"n_embd": 128, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": _INITIALIZER_RANGE},
    "initializer_range": _INITIALIZER_RANGE,
    "hidden_size": 128,
    "num_latents": 8,
    "perceiver_num_blocks": 1,
    "perceiver_num_heads": 4,
    "perceiver_head_dim": 32,
    "perceiver_ff_multiplier": 2,
    "temporal_fusion_num_blocks": 2,
    "temporal_fusion_num_heads": 4,
}  # fmt: skip

TESTED_CONDITIONS = ("all inputs", "without prior", "without context")
# What the project holds the demo to, on its test split.
TARGETS = {
    "presence F1, all inputs": ("at least", 0.90),
    "change accuracy, gained by the prior": ("at least", 0.30),
    "cause accuracy, gained by the context": ("at least", 0.30),
    "reports that compare without a prior": ("at most", 0.02),
}
NOTICE = "Synthetic drawings, not patients. Research use only, not for clinical decisions."


@dataclass(frozen=True)
class DemoSettings:
    """What decides a demo's result.

    Args:
        num_studies (`int`): studies of the cohort; 8 % are the test split.
        seed (`int`): of cohort, weights and batches.
        stage_1_epochs, stage_2_epochs (`float`): passes over the training studies.
        stage_1_learning_rate, stage_2_learning_rate (`float`): highest rates; they rise and fall over the run. In stage 2 everything
            but the decoder learns at `encoder_learning_rate`.
        batch_size (`int`): studies an update.
        num_beams, max_length (`int`): beams and most tokens of the written reports.
    """

    num_studies: int = 7000
    seed: int = 0
    stage_1_epochs: float = 1
    stage_2_epochs: float = 11
    stage_1_learning_rate: float = 1e-3
    stage_2_learning_rate: float = 1.5e-3
    encoder_learning_rate: float = 2.5e-3
    batch_size: int = 32
    num_beams: int = 3
    max_length: int = 100


def demo_cohort(settings: DemoSettings, cache_dir: str | os.PathLike, num_proc: int | None = None) -> "DatasetDict":
    """The demo's studies, frontal films only."""
    from ..phantom import make_phantom_cohort

    return make_phantom_cohort(
        settings.num_studies,
        settings.seed,
        IMAGE_SIZE,
        fractions={"train": 0.90, "validation": 0.02, "test": 0.08},
        laterals=False,
        num_proc=num_proc,
        cache_dir=str(cache_dir),
    )


def new_demo_model():
    """A model for stage 1 with the package's pretrained vision encoder, and its processor."""
    from ..model.modeling_priorrg import PriorRGForContrastivePretraining
    from ..phantom import phantom_tokenizer_folder, phantom_vision_folder
    from ..training.presets import new_config, new_processor, view_table

    processor = new_processor(phantom_tokenizer_folder(), IMAGE_SIZE, view_table(["AP", "PA", "LATERAL"]))
    shape = json.loads(json.dumps(MODEL_SHAPE))
    # The text parts are sized for this vocabulary; the vision part comes with its own shape.
    config = new_config("tiny", processor, image_size=IMAGE_SIZE)
    settings = config.to_dict()
    for name, value in shape.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    settings["temporal_fusion_head_dim"] = None
    config = type(config).from_dict(settings)
    model = PriorRGForContrastivePretraining.from_pretrained_backbones(vision=phantom_vision_folder(), config=config)
    return model, processor


def _training_arguments(settings: DemoSettings, folder: Path, stage: int, progress: bool):
    from ..training.training_args import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments

    common: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": 1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        # The first updates have by far the largest gradients; in so short a run they must be forgotten soon.
        "adam_beta2": 0.98,
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "metric_for_best_model": None,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_steps": 20,
        "report_to": "none",
        "seed": settings.seed,
        "feature_cache": str(folder.parent / "features"),
        "disable_tqdm": not progress,
        "use_cpu": True,
        "train_sampling_strategy": "group_by_length" if stage == 2 else "random",
    }
    if stage == 1:
        return PriorRGContrastiveTrainingArguments(
            num_train_epochs=settings.stage_1_epochs, learning_rate=settings.stage_1_learning_rate, **common
        )
    return PriorRGReportTrainingArguments(
        num_train_epochs=settings.stage_2_epochs,
        learning_rate=settings.stage_2_learning_rate,
        encoder_learning_rate=settings.encoder_learning_rate,
        predict_with_generate=False,
        **common,
    )


def _train(trainer_class, model, processor, examples, arguments) -> None:
    from ..training.checkpointing import last_complete_checkpoint, seal

    trainer = trainer_class(model=model, args=arguments, train_dataset=examples, processing_class=processor)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(arguments.output_dir))
    trainer.save_model()
    seal(arguments.output_dir)


def _train_stage_1(settings: DemoSettings, examples: "Dataset", folder: Path, progress: bool) -> None:
    from transformers import set_seed

    from ..training.trainer import PriorRGContrastiveTrainer

    set_seed(settings.seed)
    model, processor = new_demo_model()
    _train(PriorRGContrastiveTrainer, model, processor, examples, _training_arguments(settings, folder, 1, progress))


def _train_stage_2(settings: DemoSettings, examples: "Dataset", folder: Path, progress: bool) -> None:
    from transformers import set_seed

    from ..model.processing_priorrg import PriorRGProcessor
    from ..phantom import phantom_decoder_folder
    from ..training.runs import continue_from_stage_1
    from ..training.trainer import PriorRGReportTrainer

    set_seed(settings.seed)
    stage_1 = folder.parent / "stage1"
    model = continue_from_stage_1(stage_1, phantom_decoder_folder())
    processor = PriorRGProcessor.from_pretrained(stage_1)
    _train(PriorRGReportTrainer, model, processor, examples, _training_arguments(settings, folder, 2, progress))


def train_demo(settings: DemoSettings, examples: "Dataset", folder: Path, progress: bool = True) -> Path:
    """Both stages on example rows; returns the folder of the report generator."""
    from ..training.checkpointing import is_finished
    from ..training.feature_cache import precompute_features

    stage_1, stage_2 = folder / "stage1", folder / "stage2"
    if is_finished(stage_2):
        return stage_2
    # The vision encoder is frozen: each film passes through it once.
    model, processor = new_demo_model()
    precompute_features(
        model, processor, examples, folder / "features", layers="all", batch_size=64, progress=progress
    )
    if not is_finished(stage_1):
        _train_stage_1(settings, examples, stage_1, progress)
    _train_stage_2(settings, examples, stage_2, progress)
    return stage_2


def _file_name(condition: str) -> str:
    return f"reports_{condition.replace(' ', '_')}.jsonl"


def write_demo_reports(
    settings: DemoSettings,
    model_folder: Path,
    examples: "Dataset",
    folder: Path,
    progress: bool = True,
    on_mismatch: str = "refuse",
) -> dict[str, list]:
    """Reports of the test examples under each condition, as JSON lines; returns the rows by condition."""
    from ..evaluation.conditions import CONDITIONS, ChangedExamples
    from ..evaluation.generation import generate_reports
    from ..evaluation.loading import load_for_generation
    from ..evaluation.report_file import read_reports

    model, processor = load_for_generation(model_folder, device="cpu")
    rows = {}
    for condition in TESTED_CONDITIONS:
        path = folder / _file_name(condition)
        generate_reports(
            model,
            processor,
            ChangedExamples(examples, CONDITIONS[condition]),
            path,
            batch_size=32,
            progress=progress,
            on_mismatch=on_mismatch,
            num_beams=settings.num_beams,
            max_length=settings.max_length,
        )
        rows[condition] = read_reports(path)
    return rows


def score_demo_reports(rows: Mapping[str, list], truths: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores by condition: factual ones against the truth, BLEU against the true reports."""
    from ..phantom import score_reports

    scores = {}
    for condition, reports in rows.items():
        texts = [row.prediction for row in reports]
        scores[condition] = score_reports(
            texts, [truths[row.study_id] for row in reports], [bool(row.has_prior) for row in reports]
        )
        scores[condition].update(_bleu(texts, [row.reference for row in reports]))
        scores[condition]["reports"] = float(len(reports))
    return scores


def _bleu(predictions: list[str], references: list[str]) -> dict[str, float]:
    try:
        from ..metrics.text_metrics import bleu

        return {name: float(value) for name, value in bleu(predictions, references).items()}
    except ImportError:  # the extra `metrics` is not installed
        return {}


def check_targets(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """What the demo is held to: `{target: {value, bound, met}}`."""
    everything = scores["all inputs"]
    values = {
        "presence F1, all inputs": everything["presence_f1"],
        "change accuracy, gained by the prior": everything["change_accuracy"]
        - scores["without prior"]["change_accuracy"],
        "cause accuracy, gained by the context": everything["cause_accuracy"]
        - scores["without context"]["cause_accuracy"],
        "reports that compare without a prior": max(
            everything["comparison_without_prior_rate"], scores["without prior"]["comparison_without_prior_rate"]
        ),
    }
    checked = {}
    for name, (direction, bound) in TARGETS.items():
        met = values[name] >= bound if direction == "at least" else values[name] <= bound
        checked[name] = {"value": values[name], "bound": f"{direction} {bound:g}", "met": bool(met)}
    return checked


def run_demo(
    output_dir: str | os.PathLike,
    settings: DemoSettings | None = None,
    *,
    num_proc: int = 2,
    progress: bool = True,
    say: Callable[[str], None] = print,
    on_mismatch: str = "refuse",
    overwrite: bool = False,
) -> dict[str, Any]:
    """The demo from start to end.

    Args:
        output_dir: Where everything goes: `cohort/`, `features/`, `stage1/`, `stage2/` (the report generator), `reports_*.jsonl`,
            `scores.json`, `scores.md` and `index.html`.
        settings ([`DemoSettings`], *optional*): by default what `make demo` runs.
        num_proc (`int`, defaults to 2): processes that draw the cohort.
        progress (`bool`, defaults to `True`): show progress bars.
        say (`Callable`): told each step in a line.
        on_mismatch (`str`, defaults to `"refuse"`): see `generate_reports`.
        overwrite (`bool`, defaults to `False`): replace files of the folder that are none of ours.

    Returns:
        `dict`: `scores` by condition, `targets`, `seconds` by step (of this call) and the `settings`.

    Raises:
        ValueError: the folder holds a demo of other settings.
        OutputError, LockedError: it holds such files of others, or another run is writing there.
    """
    from ..data.file_writing import json_file_with
    from ..data.locking import claimed

    files = ("demo.json", "scores.json", "scores.md", "index.html", "cohort", "features", "stage1", "stage2")
    with claimed(
        output_dir,
        "demo",
        (*files, *(_file_name(condition) for condition in TESTED_CONDITIONS)),
        "priorrg demo",
        overwrite=overwrite,
        recognised=json_file_with("num_studies", "stage_2_epochs")(Path(output_dir) / "demo.json"),
    ) as folder:
        return _run_steps(folder, settings or DemoSettings(), num_proc, progress, say, on_mismatch)


def _run_steps(
    folder: Path,
    settings: DemoSettings,
    num_proc: int,
    progress: bool,
    say: Callable[[str], None],
    on_mismatch: str,
) -> dict[str, Any]:
    from ..data import as_examples
    from ..data.file_writing import write_text_whole
    from ..phantom import facts_by_study
    from .demo_page import scores_as_markdown, write_page

    _check_settings(folder, settings)
    seconds: dict[str, float] = {}

    def timed(step: str, text: str, work: Callable):
        say(text)
        started = time.perf_counter()
        result = work()
        seconds[step] = round(time.perf_counter() - started, 1)
        return result

    cohort = timed(
        "cohort",
        f"1/4 drawing {settings.num_studies} synthetic studies",
        lambda: demo_cohort(settings, folder / "cohort", num_proc),
    )
    examples = as_examples(cohort, include_views="frontal")
    model_folder = timed(
        "training",
        "2/4 training stage 1 and stage 2",
        lambda: train_demo(settings, examples["train"], folder, progress),
    )
    rows = timed(
        "reports",
        f"3/4 writing reports of {len(examples['test'])} test studies, three times",
        lambda: write_demo_reports(settings, model_folder, examples["test"], folder, progress, on_mismatch),
    )
    say("4/4 scoring")
    scores = score_demo_reports(rows, facts_by_study(cohort["test"]))
    result = {
        "scores": scores,
        "targets": check_targets(scores),
        "seconds": seconds,
        "settings": asdict(settings),
        "version": __version__,
        "notice": NOTICE,
    }
    write_text_whole(folder / "scores.json", json.dumps(result, indent=2) + "\n")
    write_text_whole(folder / "scores.md", scores_as_markdown(result))
    write_page(folder / "index.html", result, examples["test"], rows)
    return result


def _check_settings(folder: Path, settings: DemoSettings) -> None:
    from ..data.file_writing import read_json_object, write_text_whole
    from .dataset import GENERATOR_VERSION
    from .pretrained import pretrained_digest

    path = folder / "demo.json"
    wanted = {**asdict(settings), "phantoms": GENERATOR_VERSION, "backbones": pretrained_digest()}
    found = read_json_object(path) if path.is_file() else None
    if found is not None and found != wanted:
        different = sorted(name for name in {*wanted, *found} if found.get(name) != wanted.get(name))
        raise ValueError(
            f"{folder} holds a demo with other {', '.join(different)}. Choose another output folder, or delete this one."
        )
    write_text_whole(path, json.dumps(wanted, indent=2) + "\n")


__all__ = [
    "MODEL_SHAPE",
    "TARGETS",
    "TESTED_CONDITIONS",
    "DemoSettings",
    "check_targets",
    "new_demo_model",
    "run_demo",
]
