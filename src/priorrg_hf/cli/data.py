"""`priorrg data ...`: check and convert studies. Nothing heavy is imported before a command runs."""

import json
from pathlib import Path

import typer

from ..data.file_writing import write_text_whole


data_app = typer.Typer(
    help="Check study tables, DICOM folders and data sets, and convert them to one schema.", no_args_is_help=True
)

_FORMAT = typer.Option(
    None, "--format", "-f", help="table, dicom, annotation, mimic-cxr, iu-xray or hub. Default: detected."
)
_IMAGE_ROOT = typer.Option(
    None, help="Folder that relative image paths start from. Default: the folder of the source."
)
_COLUMN = typer.Option(
    None, "--column", "-c", metavar="FIELD=COLUMN", help="Column of a field, e.g. findings=REPORT_TEXT."
)
_REPORTS = typer.Option(None, help="MIMIC-CXR: folder or zip of the report texts.")
_ALL_ITEMS = typer.Option(False, help="Annotations: keep items with an empty findings_factual_serialization.")
_REVISION = typer.Option(None, help="Branch, tag or commit of a Hub data set.")
_SAME_VIEW = typer.Option("prefer", help="Prior linking: prefer, image, require or ignore the view family.")
_MAX_DAYS = typer.Option(None, help="Prior linking: studies further back are no priors.")
_JSON = typer.Option(None, "--json", help="Write the whole report as JSON.")
_OUT = typer.Argument(..., help="Folder for the shards.")


def register(app: typer.Typer) -> None:
    """Mounts the commands."""
    app.add_typer(data_app, name="data", rich_help_panel="Data")


def _columns(pairs: list[str] | None) -> dict[str, str]:
    columns = {}
    for pair in pairs or []:
        name, separator, column = pair.partition("=")
        if not separator or not name or not column:
            raise typer.BadParameter(f"{pair!r} is not of the form FIELD=COLUMN, e.g. findings=REPORT_TEXT")
        columns[name.strip()] = column
    return columns


def _fail(error: BaseException) -> typer.Exit:
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(2)


@data_app.command()
def check(
    path: str = typer.Argument(..., help="Table, folder, annotation file or data set."),
    format: str | None = _FORMAT,
    image_root: Path | None = _IMAGE_ROOT,
    column: list[str] | None = _COLUMN,
    reports: Path | None = _REPORTS,
    all_items: bool = _ALL_ITEMS,
    revision: str | None = _REVISION,
    same_view: str = _SAME_VIEW,
    max_days: float | None = _MAX_DAYS,
    images: str = typer.Option("open", help="open: decode every image; exists: look for the files; skip: neither."),
    workers: int = typer.Option(2, min=1, help="Threads that open images."),
    show: int = typer.Option(50, min=0, help="Errors to name; 0 names all."),
    json_out: Path | None = _JSON,
) -> None:
    """Count what is in a source and name what is wrong with it. Exit code 1 if there are errors, 2 if it can't be read.

    Example: priorrg data check studies.csv --column findings=REPORT_TEXT
    """
    columns = _columns(column)
    from ..data.check import check_studies

    try:
        report = check_studies(
            path,
            format=format,
            images=images,
            same_view=same_view,
            max_days=max_days,
            workers=workers,
            progress=True,
            image_root=image_root,
            columns=columns,
            reports=reports,
            require_factual_serialization=not all_items,
            revision=revision,
        )
    except (ValueError, OSError, ImportError) as error:
        raise _fail(error) from error
    if json_out is not None:
        write_text_whole(json_out, json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n")
    typer.echo(f"{path}: {report.as_text(show or None)}")
    if 0 < show < len(report.errors):
        typer.echo("(--show 0 names all errors, --json writes them to a file)")
    if not report.ok:
        raise typer.Exit(1)


@data_app.command()
def convert(
    source: str = typer.Argument(..., help="Table, folder, annotation file or data set."),
    out: Path = _OUT,
    format: str | None = _FORMAT,
    image_root: Path | None = _IMAGE_ROOT,
    column: list[str] | None = _COLUMN,
    reports: Path | None = _REPORTS,
    all_items: bool = _ALL_ITEMS,
    revision: str | None = _REVISION,
    same_view: str = _SAME_VIEW,
    max_days: float | None = _MAX_DAYS,
    split: str | None = typer.Option(None, help="Name of the one split, or the split of the source to take."),
    seed: int = typer.Option(0, help="Of the split by patients, where the source has none."),
    to: str = typer.Option("parquet", help="parquet or arrow."),
    embed_images: bool = typer.Option(False, help="Store the image files themselves instead of their paths."),
    shard_size: int = typer.Option(5000, min=1, help="Studies a shard."),
    overwrite: bool = typer.Option(False, help="Replace another conversion in OUT."),
    strict: bool = typer.Option(False, help="Stop at the first study that can't be used."),
) -> None:
    """Write any source as shards in the schema. Run it again after an interruption and it goes on.

    Example: priorrg data convert mimic-cxr-jpg studies --reports mimic-cxr-reports.zip
    """
    columns = _columns(column)
    from ..data.convert import convert_studies

    try:
        result = convert_studies(
            source,
            out,
            format=format,
            image_root=image_root,
            columns=columns,
            reports=reports,
            require_factual_serialization=not all_items,
            revision=revision,
            same_view=same_view,
            max_days=max_days,
            split=split,
            seed=seed,
            to=to,
            embed_images=embed_images,
            shard_size=shard_size,
            overwrite=overwrite,
            strict=strict,
            progress=True,
        )
    except (ValueError, OSError, ImportError) as error:
        raise _fail(error) from error
    for where, error in result.problems[:50]:
        typer.echo(f"left out: {where}: {error}")
    if len(result.problems) > 50:
        typer.echo(f"... and {len(result.problems) - 50} more; `priorrg data check` names all")
    counts = ", ".join(f"{name} {count:,}" for name, count in result.studies.items())
    typer.echo(f"{out}: {counts} studies; {result.written} shards written, {result.reused} found from before")
    typer.echo(f'Load it with priorrg_hf.data.load_studies("{out}").')
