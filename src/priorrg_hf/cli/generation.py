"""`priorrg generate`: reports for a source of studies or for one study. Heavy imports happen when it runs."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .grammar import Mode, command, given, output_of, refuse_unused, show, show_plan, usage_error, warn
from .options import (
    ONE,
    RUN,
    STUDIES,
    BulkOptions,
    ComputeOptions,
    DecodingOptions,
    LongRunOptions,
    Model,
    SelectionOptions,
    SourceOptions,
    packaged,
)


_OF_A_SOURCE = "it belongs to a source of studies (--data)"
_OF_ONE = "a source of studies has it in its own field"
SOURCE = Mode(
    "--data",
    dict.fromkeys(("image", "prior_image", "indication", "history", "view_position", "prior_view_position"), _OF_ONE),
)
SINGLE = Mode(
    "--image",
    {
        **dict.fromkeys(
            ("data", "format", "image_root", "column", "reports", "all_items", "revision", "date_order",
             "allow_outside_image_root", "allow_urls", "allow_private_urls", "split", "views", "limit", "strict",
             "without_prior", "without_context", "no_resume", "on_mismatch"),
            _OF_A_SOURCE,
        ),
        "batch_size": "there is one study",
        "num_workers": "there is one study",
        "dry_run": "one study is written at once",
    },
)  # fmt: skip
MODES = {"generate": (SINGLE, SOURCE)}


@dataclass
class StudyOptions:
    """One study, by the fields of the pipeline."""

    image: Annotated[
        str | None, typer.Option("--image", rich_help_panel=ONE, help="Current image: any format, DICOM too.")
    ] = None
    prior_image: Annotated[str | None, typer.Option("--prior-image", rich_help_panel=ONE, help="Prior image.")] = None
    view_position: Annotated[
        str | None, typer.Option("--view-position", rich_help_panel=ONE, help="View of the image, e.g. PA.")
    ] = None
    prior_view_position: Annotated[
        str | None, typer.Option("--prior-view-position", rich_help_panel=ONE, help="View of the prior image.")
    ] = None
    indication: Annotated[
        str | None, typer.Option("--indication", rich_help_panel=ONE, help="Why the study was made.")
    ] = None
    history: Annotated[str | None, typer.Option("--history", rich_help_panel=ONE, help="Clinical history.")] = None


@dataclass
class HiddenOptions:
    """Inputs that the model is not shown."""

    without_prior: Annotated[
        bool, typer.Option("--without-prior", rich_help_panel=STUDIES, help="Hide the priors from the model.")
    ] = False
    without_context: Annotated[
        bool, typer.Option("--without-context", rich_help_panel=STUDIES, help="Hide indication and history.")
    ] = False


def generate(
    context: typer.Context,
    *,
    model: Model,
    study: StudyOptions,
    source: SourceOptions,
    selection: SelectionOptions,
    hidden: HiddenOptions,
    compute: ComputeOptions,
    decoding: DecodingOptions,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", rich_help_panel=RUN, help="JSON lines to write. Needed with --data."),
    ] = None,
    bulk: BulkOptions,
    shown: LongRunOptions,
) -> None:
    """Write reports: JSON lines for many studies, or the text for one image. Research use only, not for clinical decisions.

    priorrg generate MODEL --image today.png --prior-image last.png --indication "cough" --view-position PA

    priorrg generate MODEL -d studies.csv --split test -o reports.jsonl
    """
    if (study.image is None) == (source.data is None):
        raise usage_error("give one image (--image) or a source of studies (--data)")
    refuse_unused(context, SINGLE if study.image is not None else SOURCE)
    no_output = usage_error("no file given for the reports: pass --output reports.jsonl (-o)")
    if study.image is None and output is None and not shown.dry_run:
        raise no_output
    from ..evaluation.evaluate import load_evaluation_data
    from ..evaluation.generation import generate_reports
    from ..evaluation.loading import hide_inputs, load_for_generation

    with output_of(shown.quiet, shown.log_file):
        loaded, processor = load_for_generation(packaged(model, "model"), device=compute.device, dtype=compute.dtype)
        if study.image is not None:
            _write_one(loaded, processor, study, output, decoding.generation(), shown.json_output, bulk.overwrite)
            return
        studies = load_evaluation_data(
            source.require(), strict=bulk.strict, reading=source.reading(), **selection.selection()
        )
        examples = hide_inputs(studies.examples, prior=hidden.without_prior, context=hidden.without_context)
        if shown.dry_run:
            from ..evaluation.dry_run import plan_reports

            plan = plan_reports(
                loaded, processor, examples, output, batch_size=compute.batch_size, **decoding.generation()
            )
            show_plan(shown.json_output, {"reads": source.data, **plan})
            return
        if output is None:
            raise no_output
        summary = generate_reports(
            loaded, processor, examples, output, batch_size=compute.batch_size, num_workers=compute.num_workers,
            strict=bulk.strict, resume=not bulk.no_resume, on_mismatch=bulk.on_mismatch, overwrite=bulk.overwrite, sources=source.paths(),
            progress=not shown.quiet, **decoding.generation(),
        )  # fmt: skip
    if not shown.quiet:
        for name, reason in summary.skipped.items():
            warn(f"left out: {name}: {reason}")
    show(shown.json_output, dataclasses.asdict(summary), str(summary))


def _write_one(
    model, processor, study: StudyOptions, output: Path | None, generation: dict, as_json: bool, overwrite: bool
) -> None:
    from ..data.file_writing import check_output_file, json_file_with, write_text_whole
    from ..model.pipeline_priorrg import PriorRGReportGenerationPipeline

    if output is not None:
        images = [path for path in (study.image, study.prior_image) if path is not None]
        check_output_file(output, ours=json_file_with("image", "generated_text"), sources=images, overwrite=overwrite)
    write = PriorRGReportGenerationPipeline(model=model, processor=processor)
    inputs: dict[str, Any] = given(**vars(study))
    written: Any = write(inputs, **generation)  # a list of one for one study
    result = {**inputs, "generated_text": written[0]["generated_text"]}
    if output is not None:
        write_text_whole(output, json.dumps(result, ensure_ascii=False) + "\n")
    if output is None or as_json:
        show(as_json, result, result["generated_text"])


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("generate", rich_help_panel="Models")(command(generate))
