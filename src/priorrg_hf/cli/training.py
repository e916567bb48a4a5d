"""Subcommands of `priorrg` around training: pretrain, finetune, precompute.

Only typer is imported here; everything heavy is imported when a command runs, so that `priorrg --help` stays fast.
"""

from pathlib import Path
from typing import Any

import typer


TRAINING_PANEL = "Training"
DATA, MODEL, RUN = "Data", "Model", "Run"

# Everything after the named options, e.g. --weight_decay 0.05: any field of the argument classes.
FURTHER_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}


TABLE = typer.Option(
    None,
    "--data",
    "-d",
    help="Study table: a folder with studies.jsonl (and splits.json), JSON lines, CSV or Parquet.",
    rich_help_panel=DATA,
)
IMAGE_ROOT = typer.Option(
    None, help="Folder that image paths are relative to. Default: that of the table.", rich_help_panel=DATA
)
FORMAT = typer.Option(
    None, "--format", help="Format of the table. Default: known from the source.", rich_help_panel=DATA
)
COLUMNS = typer.Option(
    None, help='Names of your columns as JSON, e.g. \'{"findings": "report_text"}\'.', rich_help_panel=DATA
)
CONFIG = typer.Option(
    None,
    "--config",
    help="JSON or YAML file with any of these arguments (see examples/configs). Options given here win over it.",
    rich_help_panel=RUN,
    exists=True,
    dir_okay=False,
)
OUTPUT_DIR = typer.Option(
    None, "--output-dir", "-o", help="Folder for checkpoints and the result.", rich_help_panel=RUN
)


RESUME = typer.Option(
    None,
    "--resume/--no-resume",
    help="Go on from the last complete checkpoint of the output folder, if there is one.",
    rich_help_panel=RUN,
)
STAGE_1_CACHE = typer.Option(
    None, help="Vision features from `priorrg precompute`, instead of images.", rich_help_panel=RUN
)
STAGE_2_CACHE = typer.Option(
    None, help="Vision features from `priorrg precompute --layers all`, instead of images.", rich_help_panel=RUN
)


def _run(stage: str, options: dict[str, Any], config: Path | None, extra: list[str]) -> None:
    from ..training import runs as training_runs
    from ..training.checkpointing import CheckpointError
    from ..training.training_args import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments

    classes = {"pretrain": PriorRGContrastiveTrainingArguments, "finetune": PriorRGReportTrainingArguments}
    values = training_runs.read_argument_file(config) if config is not None else {}
    values.update({name: str(v) if isinstance(v, Path) else v for name, v in options.items() if v is not None})
    if values.pop("resume", False):
        values["resume_from_checkpoint"] = "auto"
    try:
        if not values.get("output_dir"):
            raise ValueError("no output folder given: pass --output-dir")
        data, model, training = training_runs.parse_run_arguments(classes[stage], values, extra)
        run = {"pretrain": training_runs.run_pretraining, "finetune": training_runs.run_finetuning}[stage]
        report = run(data, model, training)
    except (ValueError, TypeError, OSError, FloatingPointError, CheckpointError) as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(1) from error
    if report.get("status"):
        typer.echo(
            f"{report['status']}: {report['steps']} steps, loss {_number(report['first_loss'])} -> "
            f"{_number(report['last_loss'])}, best {report['watched_metric']} {_number(report['best_metric'])}, "
            f"{report['seconds'] / 60:.1f} min, peak memory {report['peak_memory_bytes']['process'] / 2**30:.2f} GiB"
        )
        typer.echo(f"model and training_report.json are in {report['output_dir']}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def pretrain(
    context: typer.Context,
    data: str = TABLE,
    image_root: str = IMAGE_ROOT,
    data_format: str = FORMAT,
    columns: str = COLUMNS,
    model: str = typer.Option(
        None,
        "--model",
        "-m",
        help="tiny, small or base (published shapes), a JSON file with a configuration, or a stage-1 folder to train on.",
        rich_help_panel=MODEL,
    ),
    tokenizer: str = typer.Option(
        None,
        help="GPT-2 vocabulary of a new model: folder or Hub id. Default: distilbert/distilgpt2.",
        rich_help_panel=MODEL,
    ),
    image_size: int = typer.Option(
        None, help="Side of the images in pixels, a multiple of 14.", rich_help_panel=MODEL
    ),
    vision: str = typer.Option(
        None, help="Pretrained vision encoder, e.g. microsoft/rad-dino.", rich_help_panel=MODEL
    ),
    text: str = typer.Option(
        None,
        help="Pretrained text encoder, e.g. microsoft/BiomedVLP-CXR-BERT-specialized.",
        rich_help_panel=MODEL,
    ),
    output_dir: Path = OUTPUT_DIR,
    config: Path = CONFIG,
    resume: bool = RESUME,
    num_train_epochs: float = typer.Option(None, help="Epochs. Default: 10.", rich_help_panel=RUN),
    batch_size: int = typer.Option(
        None, help="Studies per device and forward pass. Default: 32.", rich_help_panel=RUN
    ),
    learning_rate: float = typer.Option(None, help="Learning rate. Default: 5e-5.", rich_help_panel=RUN),
    feature_cache: Path = STAGE_1_CACHE,
) -> None:
    """Stage 1: align images, priors and context with reports. The defaults are the published recipe.

    Every other argument of the trainer can follow by its own name, e.g. --gradient_accumulation_steps 4 --bf16 --report_to
    tensorboard --gradient_cache. Studies without findings are left out and counted.

    Try it on two cores:

        priorrg pretrain -d ../shared/data/cxr_longitudinal -o runs/stage1 -m small --tokenizer ../shared/gpt2_tokenizer

    Published sizes, 8 GPUs:

        torchrun --nproc_per_node 8 -m priorrg_hf pretrain --config examples/configs/pretrain_8gpu.json
    """
    options = {
        "data": data,
        "image_root": image_root,
        "data_format": data_format,
        "columns": columns,
        "model": model,
        "tokenizer": tokenizer,
        "image_size": image_size,
        "vision": vision,
        "text": text,
        "output_dir": output_dir,
        "resume": resume,
        "num_train_epochs": num_train_epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
        "feature_cache": feature_cache,
    }
    _run("pretrain", options, config, context.args)


def finetune(
    context: typer.Context,
    data: str = TABLE,
    image_root: str = IMAGE_ROOT,
    data_format: str = FORMAT,
    columns: str = COLUMNS,
    model: str = typer.Option(
        None,
        "--model",
        "-m",
        help="Stage 1's output folder, a converted checkpoint or another report generator; or tiny, small, base or a JSON file "
        "for a model without stage 1.",
        rich_help_panel=MODEL,
    ),
    tokenizer: str = typer.Option(
        None,
        help="GPT-2 vocabulary of a new model: folder or Hub id. Default: distilbert/distilgpt2.",
        rich_help_panel=MODEL,
    ),
    image_size: int = typer.Option(
        None, help="Side of a new model's images, a multiple of 14.", rich_help_panel=MODEL
    ),
    decoder: str = typer.Option(
        None,
        help="Pretrained decoder, e.g. distilbert/distilgpt2. Default: random, as published.",
        rich_help_panel=MODEL,
    ),
    lora: bool = typer.Option(
        None, "--lora/--full", help="Train adapters of the decoder only.", rich_help_panel=MODEL
    ),
    output_dir: Path = OUTPUT_DIR,
    config: Path = CONFIG,
    resume: bool = RESUME,
    num_train_epochs: float = typer.Option(None, help="Epochs at most. Default: 50.", rich_help_panel=RUN),
    batch_size: int = typer.Option(
        None, help="Studies per device and forward pass. Default: 16.", rich_help_panel=RUN
    ),
    learning_rate: float = typer.Option(
        None, help="Learning rate of the decoder. Default: 5e-5.", rich_help_panel=RUN
    ),
    encoder_learning_rate: float = typer.Option(
        None, help="Learning rate of everything else. Default: 5e-6.", rich_help_panel=RUN
    ),
    feature_cache: Path = STAGE_2_CACHE,
) -> None:
    """Stage 2: learn to write the findings. The defaults are the published recipe.

    Reports are written with 3 beams at each evaluation, and the best model by RCB (BLEU-4 + CheXbert-14 micro F1 + RadGraph partial
    F1) is kept; where the clinical scorers are not installed, BLEU-4 + ROUGE-L takes its place. Every other argument of the trainer
    can follow by its own name, e.g. --bf16 --report_to tensorboard --prior_dropout 0.1.

        priorrg finetune -d ../shared/data/cxr_longitudinal -o runs/stage2 -m runs/stage1
    """
    options = {
        "data": data,
        "image_root": image_root,
        "data_format": data_format,
        "columns": columns,
        "model": model,
        "tokenizer": tokenizer,
        "image_size": image_size,
        "decoder": decoder,
        "lora": lora,
        "output_dir": output_dir,
        "resume": resume,
        "num_train_epochs": num_train_epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
        "encoder_learning_rate": encoder_learning_rate,
        "feature_cache": feature_cache,
    }
    _run("finetune", options, config, context.args)


CACHE_FOLDER = typer.Option(..., "--output-dir", "-o", help="Folder of the cache; an existing one is continued.")


def precompute(
    data: str = TABLE,
    image_root: str = IMAGE_ROOT,
    data_format: str = FORMAT,
    columns: str = COLUMNS,
    model: str = typer.Option(
        "base",
        "--model",
        "-m",
        help="The model that will be trained, described as for pretrain and finetune.",
        rich_help_panel=MODEL,
    ),
    tokenizer: str = typer.Option(
        "distilbert/distilgpt2", help="As for pretrain, for a new model.", rich_help_panel=MODEL
    ),
    image_size: int = typer.Option(None, help="As for pretrain, for a new model.", rich_help_panel=MODEL),
    vision: str = typer.Option(
        None, help="Pretrained vision encoder, e.g. microsoft/rad-dino.", rich_help_panel=MODEL
    ),
    seed: int = typer.Option(42, help="Seed of the run, for a new model with random weights.", rich_help_panel=MODEL),
    output_dir: Path = CACHE_FOLDER,
    layers: str = typer.Option(
        "last", help="last: enough for stage 1. all: every layer of current images too, for stage 2."
    ),
    dtype: str = typer.Option("bfloat16", help="bfloat16 or float32, on disk."),
    batch_size: int = typer.Option(16, min=1, help="Images per forward pass."),
    num_workers: int = typer.Option(0, min=0, help="Processes that open and preprocess images."),
    device: str = typer.Option(None, help="Default: cuda where there is one."),
    bf16: bool = typer.Option(False, "--bf16", help="Compute in bfloat16 (fast on GPUs)."),
    verify: bool = typer.Option(False, "--verify", help="Read everything back and compare checksums."),
) -> None:
    """Store the features of the frozen vision encoder, so that training need not compute them in every epoch.

    Then train with --feature-cache FOLDER. Features are found by image content, and a cache of another encoder or preprocessing is
    refused. Only images that the folder does not hold yet are computed; an interrupted run can be started again.

        priorrg precompute -d studies.csv -o features -m runs/stage1 --layers all
    """
    from ..training import runs as training_runs

    try:
        facts = training_runs.run_precompute(
            training_runs.DataArguments(data=data, image_root=image_root, data_format=data_format, columns=columns),
            training_runs.ModelArguments(model=model, tokenizer=tokenizer, image_size=image_size, vision=vision),
            output_dir,
            layers=layers,
            dtype=dtype,
            batch_size=batch_size,
            num_workers=num_workers,
            device=device,
            autocast=bf16,
            seed=seed,
            verify=verify,
        )
    except (ValueError, OSError) as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(1) from error
    for name, reason in facts["unreadable"].items():
        typer.secho(f"left out: {name}: {reason}", err=True, fg="yellow")
    typer.echo(
        f"{facts['images']} images, {facts['computed']} computed now ({facts['bytes'] / 2**20:.1f} MiB), "
        f"{len(facts['unreadable'])} unreadable" + (f", {facts['verified']} tensors verified" if verify else "")
    )


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("pretrain", context_settings=FURTHER_ARGUMENTS, rich_help_panel=TRAINING_PANEL)(pretrain)
    app.command("finetune", context_settings=FURTHER_ARGUMENTS, rich_help_panel=TRAINING_PANEL)(finetune)
    app.command("precompute", rich_help_panel=TRAINING_PANEL)(precompute)
