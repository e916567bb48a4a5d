"""`priorrg generate`: reports for a study table or for one study. Heavy imports happen when it runs."""

import json
from pathlib import Path

import typer


STUDY, SOURCE, WRITING = "One study", "Many studies", "Writing"


_IMAGE = typer.Option(None, help="Current image (any format, DICOM too).", rich_help_panel=STUDY)
_PRIOR_IMAGE = typer.Option(None, help="Prior image.", rich_help_panel=STUDY)
_IMAGE_ROOT = typer.Option(None, help="Folder of relative image paths.", rich_help_panel=SOURCE)
_COLUMN = typer.Option(
    [], "--column", "-c", metavar="FIELD=COLUMN", help="e.g. findings=REPORT_TEXT.", rich_help_panel=SOURCE
)
_OUTPUT = typer.Option(
    None, "--output", "-o", help="JSON lines to write; needed with --data.", rich_help_panel=WRITING
)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("generate", rich_help_panel="Models")(generate)


def generate(
    model: str = typer.Argument(..., help="Folder or Hub id of a PriorRG report model with its processor."),
    image: Path | None = _IMAGE,
    prior_image: Path | None = _PRIOR_IMAGE,
    indication: str | None = typer.Option(None, help="Why the study was made.", rich_help_panel=STUDY),
    history: str | None = typer.Option(None, help="Clinical history.", rich_help_panel=STUDY),
    view: str | None = typer.Option(None, help="View of the image, e.g. PA.", rich_help_panel=STUDY),
    prior_view: str | None = typer.Option(None, help="View of the prior image.", rich_help_panel=STUDY),
    data: str | None = typer.Option(
        None, "--data", "-d", help="Any source that `priorrg data check` reads.", rich_help_panel=SOURCE
    ),
    split: str | None = typer.Option(
        "test", help="Split of the source; 'all' takes every one.", rich_help_panel=SOURCE
    ),
    image_root: Path | None = _IMAGE_ROOT,
    format: str | None = typer.Option(None, help="Format of the source. Default: detected.", rich_help_panel=SOURCE),
    column: list[str] = _COLUMN,
    without_prior: bool = typer.Option(False, help="Hide the priors from the model.", rich_help_panel=SOURCE),
    without_context: bool = typer.Option(False, help="Hide indication and history.", rich_help_panel=SOURCE),
    output: Path | None = _OUTPUT,
    batch_size: int = typer.Option(8, min=1, rich_help_panel=WRITING, help="Studies per forward pass."),
    num_beams: int | None = typer.Option(None, min=1, rich_help_panel=WRITING, help="Default: the model's (3)."),
    max_length: int | None = typer.Option(None, min=2, rich_help_panel=WRITING, help="Default: the model's (100)."),
    device: str | None = typer.Option(None, rich_help_panel=WRITING, help="Default: cuda where there is one."),
    dtype: str = typer.Option("float32", rich_help_panel=WRITING, help="float32, bfloat16 or float16."),
    strict: bool = typer.Option(False, rich_help_panel=WRITING, help="Stop at the first bad study."),
    resume: bool = typer.Option(True, rich_help_panel=WRITING, help="Go on where an earlier run stopped."),
) -> None:
    """Write reports: JSON lines for a study table, or the text for one image. Research use only, not for clinical decisions.

    One study:  priorrg generate MODEL --image today.png --prior-image last.png --indication "cough" --view PA

    A table:    priorrg generate MODEL -d studies.csv --split test -o reports.jsonl
    """
    if (image is None) == (data is None):
        _stop("Give one image (--image) or a source of studies (--data).")
    if data is not None and output is None:
        _stop("With --data, name the file to write: --output reports.jsonl")
    from ..evaluation.generation import generate_reports
    from ..evaluation.loading import load_for_generation, read_examples

    generation = {name: value for name, value in (("num_beams", num_beams), ("max_length", max_length)) if value}
    try:
        loaded, processor = load_for_generation(model, device=device, dtype=dtype)
        if image is not None:
            study = {
                "image": str(image),
                "prior_image": None if prior_image is None else str(prior_image),
                "indication": indication,
                "history": history,
                "view_position": view,
                "prior_view_position": prior_view,
            }
            _write_one(loaded, processor, study, output, generation)
            return
        examples = read_examples(
            data,
            split=None if split == "all" else split,
            format=format,
            image_root=image_root,
            columns=dict(pair.partition("=")[::2] for pair in column),
            without_prior=without_prior,
            without_context=without_context,
            strict=strict,
        )
        summary = generate_reports(
            loaded, processor, examples, output, batch_size=batch_size, strict=strict, resume=resume, **generation
        )
    except (OSError, ValueError, ImportError) as error:
        _stop(str(error))
    typer.echo(str(summary))


def _write_one(model, processor, study: dict, output: Path | None, generation: dict) -> None:
    from ..model.pipeline_priorrg import PriorRGReportGenerationPipeline

    write = PriorRGReportGenerationPipeline(model=model, processor=processor)
    report = write(study, **generation)[0]["generated_text"]
    if output is None:
        typer.echo(report)
    else:
        output.write_text(json.dumps({"prediction": report}, ensure_ascii=False) + "\n", encoding="utf-8")


def _stop(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)
