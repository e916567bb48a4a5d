"""`priorrg data ...`: check and convert studies. Nothing heavy is imported before a command runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .grammar import Commands, command, output_of, show, show_plan, usage_error, warn
from .options import RUN, STUDIES, LinkingOptions, LongRunOptions, Overwrite, SourceOptions, complete


data_app = typer.Typer(
    cls=Commands,
    help="Check sources of studies, and convert them to one schema.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Mounts the commands."""
    data_app.command("check")(command(check))
    data_app.command("convert")(command(convert))
    app.add_typer(data_app, name="data", rich_help_panel="Data")


def check(
    *,
    source: SourceOptions,
    linking: LinkingOptions,
    images: Annotated[
        str,
        typer.Option(
            "--images",
            rich_help_panel=STUDIES,
            autocompletion=complete("open", "exists", "skip"),
            help="open: decode every image; exists: look for the files; skip: neither.",
        ),
    ] = "open",  # fmt: skip
    workers: Annotated[
        int, typer.Option("--num-workers", min=1, rich_help_panel=RUN, help="Threads that open images.")
    ] = 2,
    max_errors: Annotated[
        int, typer.Option("--max-errors", min=0, rich_help_panel=RUN, help="Errors to name; 0 names all.")
    ] = 50,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", rich_help_panel=RUN, help="File for the whole report as JSON.")
    ] = None,
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """Count what is in a source and name what is wrong with it. Exit code 1 if there are errors, 2 if it can't be read.

    priorrg data check -d studies.csv --column findings=REPORT_TEXT
    """
    path = source.require()
    from ..data.check import check_studies
    from ..data.file_writing import json_file_with, write_output

    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            _plan(shown, source, output)
            return
        report = check_studies(
            path, images=images, workers=workers, progress=not shown.quiet, **vars(linking), **source.reading()
        )
    if output is not None:
        text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"
        ours = json_file_with(*report.to_dict())
        write_output(output, text, ours=ours, sources=source.paths(), overwrite=overwrite)
    show(shown.json_output, report.to_dict(), f"{path}: {report.as_text(max_errors or None)}")
    if 0 < max_errors < len(report.errors) and not shown.json_output:
        typer.echo("(--max-errors 0 names all errors, --output writes them to a file)")
    if not report.ok:
        raise typer.Exit(1)


def _plan(shown: LongRunOptions, source: SourceOptions, output: Path | None) -> None:
    from ..data.dry_run import plan_reading

    plan = plan_reading(source.require(), **source.reading())
    show_plan(shown.json_output, {**plan, "writes": None if output is None else str(output)})


def convert(
    *,
    source: SourceOptions,
    linking: LinkingOptions,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            "-s",
            metavar="NAME",
            rich_help_panel=STUDIES,
            help="Split of the source to take, or name of the one split.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", rich_help_panel=RUN, help="Of the split by patients, where the source has none.")
    ] = 0,
    to: Annotated[
        str,
        typer.Option(
            "--to", rich_help_panel=RUN, autocompletion=complete("parquet", "arrow"), help="parquet or arrow."
        ),
    ] = "parquet",
    embed_images: Annotated[
        bool,
        typer.Option(
            "--embed-images", rich_help_panel=RUN, help="Store the image files themselves instead of their paths."
        ),
    ] = False,
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, rich_help_panel=RUN, help="Studies a shard.")
    ] = 5000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder for the shards.")
    ] = None,
    overwrite: Overwrite = False,
    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=RUN, help="Stop at the first bad study instead of naming it.")
    ] = False,
    shown: LongRunOptions,
) -> None:
    """Write any source of studies as shards in the schema. Run it again after an interruption and it goes on.

    priorrg data convert -d mimic-cxr-jpg --reports mimic-cxr-reports.zip -o studies
    """
    path = source.require()
    if output is None:
        raise usage_error("no folder given for the shards: pass --output FOLDER (-o)")
    from ..data.convert import convert_studies

    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            _plan(shown, source, output)
            return
        result = convert_studies(
            path, output, split=split, seed=seed, to=to, embed_images=embed_images, shard_size=shard_size, overwrite=overwrite,
            strict=strict, progress=not shown.quiet, **vars(linking), **source.reading(),
        )  # fmt: skip
    for where, error in result.problems[:50]:
        warn(f"left out: {where}: {error}")
    if len(result.problems) > 50:
        warn(f"... and {len(result.problems) - 50} more; `priorrg data check` names all")
    counts = ", ".join(f"{name} {count:,}" for name, count in result.studies.items())
    facts = {
        "output": str(output), "studies": result.studies, "written": result.written, "reused": result.reused,
        "left_out": {where: str(error) for where, error in result.problems},
    }  # fmt: skip
    show(
        shown.json_output,
        facts,
        f"{output}: {counts} studies; {result.written} shards written, {result.reused} found from before",
        f'Load it with priorrg_hf.data.load_studies("{output}").',
    )
