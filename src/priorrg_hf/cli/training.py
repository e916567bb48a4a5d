"""`priorrg pretrain`, `finetune` and `precompute`. Everything heavy is imported when a command runs."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .grammar import (
    Mode,
    TyperCommand,
    command,
    duration,
    given,
    output_of,
    refuse_unused,
    show,
    show_plan,
    usage_error,
    warn,
)
from .options import MODEL_PANEL, RUN, LongRunOptions, Overwrite, SourceOptions, packaged


PANEL = "Training"
TRAINER_ARGUMENTS = "priorrg.trainer_arguments"

TrainedModel = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", show_default=False,
        help="A new model: tiny, small or base (published shapes), or a JSON file with a configuration. Or a trained one: folder or Hub id.",
    ),
]  # fmt: skip

# What a model that was trained before brings with it. -> why the option is refused
_BROUGHT = {
    "tokenizer": "a trained model brings its tokenizer",
    "image_size": "a trained model brings its image size",
    "vision": "a trained model brings its vision encoder",
    "text": "a trained model brings its text encoder",
}
NEW = Mode("a new model")
TRAINED = Mode("a trained model", _BROUGHT)
# Fields that have an option of another name, or none.
_OTHERWISE = {"help", "model", "columns", "data_format", "resume_from_checkpoint"}
# name of the command -> the ways to call it
MODES = {"pretrain": (NEW, TRAINED), "finetune": (NEW, TRAINED), "precompute": (NEW, TRAINED)}


@dataclass
class NewModelOptions:
    """What a new model starts from."""

    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer", rich_help_panel=MODEL_PANEL,
            help="GPT-2 vocabulary: folder or Hub id. Default: distilbert/distilgpt2.",
        ),
    ] = None  # fmt: skip
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", rich_help_panel=MODEL_PANEL, help="Side of the images, a multiple of 14 pixels."),
    ] = None
    vision: Annotated[
        str | None,
        typer.Option("--vision", rich_help_panel=MODEL_PANEL, help="Vision encoder, e.g. microsoft/rad-dino."),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            "--text", rich_help_panel=MODEL_PANEL, help="Text encoder, e.g. microsoft/BiomedVLP-CXR-BERT-specialized."
        ),
    ] = None  # fmt: skip


@dataclass
class TrainingOptions:
    """The arguments of a run that everybody needs; every other one can follow by its own name."""

    output: Annotated[
        Path | None, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder for checkpoints and the result.")
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", rich_help_panel=RUN,
            help="JSON or YAML file with any of these arguments, or the name of a packaged one, e.g. pretrain_8gpu. Options win over it.",
        ),
    ] = None  # fmt: skip
    overwrite: Overwrite = False
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=RUN, help="Go on from the last complete checkpoint of the folder."),
    ] = False
    num_train_epochs: Annotated[
        float | None,
        typer.Option(
            "--num-train-epochs", rich_help_panel=RUN, help="Epochs. Default: 10 in stage 1, at most 50 in stage 2."
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", "-b", rich_help_panel=RUN, help="Studies per device and step. Default: 32 in stage 1, 16 in stage 2."
        ),
    ] = None  # fmt: skip
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", rich_help_panel=RUN, help="Default: 5e-5; in stage 2 the decoder's."),
    ] = None
    feature_cache: Annotated[
        Path | None,
        typer.Option(
            "--feature-cache",
            rich_help_panel=RUN,
            help="Vision features from `priorrg precompute`, instead of images.",
        ),
    ] = None
    all_arguments: Annotated[
        bool, typer.Option("--all-arguments", rich_help_panel=RUN, help="List every argument of the trainer and stop.")
    ] = False

    def values(self) -> dict[str, Any]:
        """By the names of the argument classes."""
        return given(
            output_dir=None if self.output is None else str(self.output),
            num_train_epochs=self.num_train_epochs,
            per_device_train_batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            feature_cache=None if self.feature_cache is None else str(self.feature_cache),
            resume_from_checkpoint="auto" if self.resume else None,
            overwrite_output_dir=self.overwrite or None,
        )


class TrainerCommand(TyperCommand):
    """Takes every field of the argument classes as an option, with dashes or underscores, besides the declared ones.

    The fields are looked up only where an option is not declared, because that imports transformers.
    """

    def parse_args(self, ctx, args):
        declared = {
            name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)
        }
        kept, fields, waiting = [], [], list(args)
        while waiting:
            token = waiting.pop(0)
            if token == "--":
                kept += [token, *waiting]
                break
            name, equals, value = token.partition("=")
            dashed = name.replace("_", "-")
            if not name.startswith("--") or dashed in declared:
                kept.append(dashed + equals + value if name.startswith("--") else token)
                continue
            fields += self._trainer_argument(ctx, name, value if equals else None, waiting, declared)
        ctx.meta[TRAINER_ARGUMENTS] = fields
        return super().parse_args(ctx, kept)

    def _trainer_argument(
        self, ctx, name: str, value: str | None, waiting: list[str], declared: set[str]
    ) -> list[str]:
        known = argument_fields(self.name or "")
        field = name[2:].replace("-", "_")
        if field not in known:
            options = [*declared, *("--" + other.replace("_", "-") for other in known)]
            near = difflib.get_close_matches(name.replace("_", "-"), options, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" `priorrg {self.name} --all-arguments` lists them all."
            raise usage_error(f"No such option: {name}.{hint}", ctx)
        action = known[field]
        if value is not None:
            return [f"--{field}", value]
        taken = []
        while waiting and not waiting[0].startswith("--"):
            if action.nargs == "?" and waiting[0].lower() not in (
                "true",
                "false",
                "yes",
                "no",
                "1",
                "0",
                "t",
                "f",
                "y",
                "n",
            ):
                break
            taken.append(waiting.pop(0))
            if action.nargs not in ("+", "*"):
                break
        if not taken and action.nargs != "?":
            raise usage_error(f"Option {name} requires an argument.", ctx)
        return [f"--{field}", *taken]


def argument_fields(stage: str) -> dict[str, Any]:
    """Field of the argument classes of a stage -> its argparse action."""
    from ..training.runs import run_argument_parser
    from ..training.training_args import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments

    classes = {"pretrain": PriorRGContrastiveTrainingArguments, "finetune": PriorRGReportTrainingArguments}
    return {
        action.dest: action for action in run_argument_parser(classes[stage])._actions if action.dest not in _OTHERWISE
    }


def _mode(context: typer.Context, model: str | None) -> None:
    from ..training.presets import PRESETS

    if model is not None:
        new = model in PRESETS or Path(model).is_file()
        refuse_unused(context, NEW if new else TRAINED)


def _source_values(source: SourceOptions) -> dict[str, Any]:
    return given(
        data=source.data,
        data_format=source.format,
        image_root=None if source.image_root is None else str(source.image_root),
        columns=source.columns or None,
        reports=None if source.reports is None else str(source.reports),
        revision=source.revision,
        all_items=source.all_items or None,
        date_order=source.date_order,
        allow_outside_image_root=source.allow_outside_image_root or None,
        allow_urls=source.allow_urls or None,
    )


def _train(
    stage: str,
    context: typer.Context,
    model: str | None,
    options: dict[str, Any],
    run: TrainingOptions,
    shown: LongRunOptions,
) -> None:
    if run.all_arguments:
        for name, action in sorted(argument_fields(stage).items()):
            help_text = " ".join((action.help or "").replace("%%", "%").split())
            typer.echo(f"--{name.replace('_', '-')}  {help_text}")
        return
    _mode(context, model)
    from ..training import runs
    from ..training.training_args import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments

    classes = {"pretrain": PriorRGContrastiveTrainingArguments, "finetune": PriorRGReportTrainingArguments}
    values = runs.read_argument_file(run.config) if run.config is not None else {}
    values.update(given(model=model), **options, **run.values())
    for name in ("model", "tokenizer", "vision", "decoder"):
        if name in values:
            values[name] = packaged(values[name], name)
    if shown.quiet:
        values["disable_tqdm"] = True
    extra = context.meta[TRAINER_ARGUMENTS]
    arguments = runs.parse_run_arguments(classes[stage], values, extra)
    if not values.get("output_dir") and "--output_dir" not in extra:
        raise usage_error("no output folder given: pass --output FOLDER (-o)")
    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            from ..training.dry_run import plan_training

            show_plan(shown.json_output, plan_training(stage, *arguments))
            return
        stages: dict[str, Callable[..., dict[str, Any]]] = {
            "pretrain": runs.run_pretraining,
            "finetune": runs.run_finetuning,
        }
        report = stages[stage](*arguments)
    if report.get("status"):
        show(
            shown.json_output,
            report,
            f"{report['status']}: {report['steps']} steps, loss {_number(report['first_loss'])} -> "
            f"{_number(report['last_loss'])}, best {report['watched_metric']} {_number(report['best_metric'])}, "
            f"{duration(report['seconds'])}, peak memory {report['peak_memory_bytes']['process'] / 2**30:.2f} GiB",
            f"model and training_report.json are in {report['output_dir']}",
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def pretrain(
    context: typer.Context,
    *,
    model: TrainedModel = None,
    source: SourceOptions,
    new: NewModelOptions,
    run: TrainingOptions,
    shown: LongRunOptions,
) -> None:
    """Stage 1: align images, priors and context with reports. The defaults are the published recipe.

    Every other argument of the trainer can follow by its own name, e.g. --gradient-accumulation-steps 4 --bf16 --report-to
    tensorboard --gradient-cache. Studies without findings are left out and counted.

        priorrg phantom -o phantoms && priorrg pretrain tiny -d phantoms -o runs/stage1 --tokenizer phantom

        torchrun --nproc_per_node 8 -m priorrg_hf pretrain --config pretrain_8gpu
    """
    options = {**_source_values(source), **given(**vars(new))}
    _train("pretrain", context, model, options, run, shown)


def finetune(
    context: typer.Context,
    *,
    model: TrainedModel = None,
    source: SourceOptions,
    new: NewModelOptions,
    decoder: Annotated[
        str | None,
        typer.Option(
            "--decoder",
            rich_help_panel=MODEL_PANEL,
            help="Decoder to start from, e.g. distilbert/distilgpt2. Default: random, as published.",
        ),
    ] = None,  # fmt: skip
    lora: Annotated[
        bool, typer.Option("--lora", rich_help_panel=MODEL_PANEL, help="Train adapters of the decoder only.")
    ] = False,
    run: TrainingOptions,
    encoder_learning_rate: Annotated[
        float | None,
        typer.Option(
            "--encoder-learning-rate", rich_help_panel=RUN, help="Of everything but the decoder. Default: 5e-6."
        ),
    ] = None,
    shown: LongRunOptions,
) -> None:
    """Stage 2: learn to write the findings. The defaults are the published recipe.

    Reports are written with 3 beams at each evaluation, and the best model by RCB (BLEU-4 + CheXbert-14 micro F1 + RadGraph partial
    F1) is kept; where the clinical scorers are not installed, BLEU-4 + ROUGE-L takes its place. Every other argument of the trainer
    can follow by its own name, e.g. --bf16 --report-to tensorboard --prior-dropout 0.1.

        priorrg finetune runs/stage1 -d phantoms -o runs/stage2
    """
    options = {
        **_source_values(source),
        **given(**vars(new)),
        **given(decoder=decoder, encoder_learning_rate=encoder_learning_rate),
    }
    if lora:
        options["lora"] = True
    _train("finetune", context, model, options, run, shown)


def precompute(
    context: typer.Context,
    *,
    model: TrainedModel = "base",
    source: SourceOptions,
    new: NewModelOptions,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder of the cache; an existing one is continued."),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers", help="last: enough for stage 1. all: every layer of current images too, for stage 2."
        ),
    ] = "last",
    dtype: Annotated[str, typer.Option("--dtype", help="On disk: bfloat16 or float32.")] = "bfloat16",
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images per forward pass.")] = 16,
    num_workers: Annotated[int, typer.Option("--num-workers", min=0, help="Processes that prepare images.")] = 0,
    device: Annotated[str | None, typer.Option("--device", help="Default: cuda where there is one.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16 (fast on GPUs).")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything back and compare checksums.")] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the training run, for a new model with random weights.")
    ] = 42,
    shown: LongRunOptions,
) -> None:
    """Store the features of the frozen vision encoder, so that training need not compute them in every epoch.

    Then train with --feature-cache FOLDER. Features are found by image content, and a cache of another encoder or preprocessing is
    refused. Only images that the folder does not hold yet are computed; an interrupted run can be started again.

        priorrg precompute runs/stage1 -d studies.csv -o features --layers all
    """
    _mode(context, model)
    source.require()
    if output is None:
        raise usage_error("no folder given for the cache: pass --output FOLDER (-o)")
    from ..training import runs

    data = runs.DataArguments(**_source_values(source))
    options: dict[str, Any] = {name: packaged(value, name) for name, value in given(model=model, **vars(new)).items()}
    described = runs.ModelArguments(**options)
    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            from ..training.dry_run import plan_precompute

            show_plan(
                shown.json_output, plan_precompute(data, described, output, batch_size=batch_size, device=device)
            )
            return
        facts = runs.run_precompute(
            data, described, output, layers=layers, dtype=dtype, batch_size=batch_size, num_workers=num_workers, device=device,
            autocast=bf16, seed=seed, verify=verify, progress=not shown.quiet,
        )  # fmt: skip
    for name, reason in facts["unreadable"].items():
        warn(f"left out: {name}: {reason}")
    show(
        shown.json_output,
        facts,
        f"{facts['images']} images, {facts['computed']} computed now ({facts['bytes'] / 2**20:.1f} MiB), "
        f"{len(facts['unreadable'])} unreadable" + (f", {facts['verified']} tensors verified" if verify else ""),
    )


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("pretrain", cls=TrainerCommand, rich_help_panel=PANEL)(command(pretrain))
    app.command("finetune", cls=TrainerCommand, rich_help_panel=PANEL)(command(finetune))
    app.command("precompute", rich_help_panel=PANEL)(command(precompute))
