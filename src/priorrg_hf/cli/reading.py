"""`priorrg read`: what the report reader makes of a text."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .grammar import command, output_of, pairs, show, usage_error
from .options import RUN, STUDIES, Overwrite, ShowOptions


TABLES = (".csv", ".tsv", ".json", ".jsonl")


def read(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE",
            show_default=False,
            help="A report; or a text file; or a table of reports (.csv, .tsv, .json, .jsonl); or - for standard input.",
        ),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            "-c",
            metavar="FIELD=COLUMN",
            rich_help_panel=STUDIES,
            help="Of a table: the column that holds the report, e.g. prediction=REPORT_TEXT.",
        ),
    ] = None,  # fmt: skip
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", rich_help_panel=RUN, help="HTML page to write: mentions underlined, with what decided."
        ),
    ] = None,  # fmt: skip
    overwrite: Overwrite = False,
    *,
    shown: ShowOptions,
) -> None:
    """Show what is read from a report: finding, side, presence, severity, change, and the words that decided.

        priorrg read "Small left effusion, unchanged. No pneumothorax."

        priorrg read reports.jsonl -o reading.html

    By rules, which can be wrong. Research use only, not for clinical decisions.
    """
    texts = list(_texts(text, pairs(column, "--column", "FIELD=COLUMN, e.g. prediction=REPORT_TEXT")))
    from ..data.file_writing import check_output_file
    from ..evaluation.reading_page import deciding, reading_of, spoken, write_reading_page
    from ..metrics.reading import has_comparison, is_missing, read_report

    with output_of(shown.quiet, shown.log_file):
        result: dict[str, Any] = {
            "reports": [{"name": name, "text": words, **reading_of(words)} for name, words in texts]
        }
        if output is not None:
            read_from = [text] if _is_file(text) else []
            check_output_file(output, ours=_is_reading_page, sources=read_from, overwrite=overwrite)
            write_reading_page(
                texts, output, title=f"What was read from {Path(text).name}" if _is_file(text) else "What was read"
            )
            result["written"] = str(output)
    lines: list[str] = []
    if output is not None:
        lines.append(f"{output}: {len(texts)} report{'' if len(texts) == 1 else 's'} as read")
    else:
        for name, words in texts:
            lines += [f"{name}:"] if len(texts) > 1 else []
            if is_missing(words):
                lines.append("no report")
                continue
            for statement in read_report(words):
                decided = deciding(statement)
                lines.append(f"- {spoken(statement)}" + (f"   [{decided}]" if decided else ""))
            lines.append("speaks of an earlier study" if has_comparison(words) else "speaks of no earlier study")
    show(shown.json_output, result, *lines)


def _is_reading_page(path: Path) -> bool:
    """A page of this command, by its first lines."""
    start = path.read_text(encoding="utf-8", errors="replace")[:4000]
    return "<html" in start and "What was read" in start


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a report is too long, or no name at all
        return False


def _texts(text: str, columns: dict[str, str]) -> list[tuple[str, str]]:
    """`(name, report)` of everything to be read."""
    if text == "-":
        return [("standard input", sys.stdin.read())]
    if not _is_file(text):
        if Path(text[:200]).suffix.lower() in (*TABLES, ".txt", ".html") and " " not in text.strip():
            raise ValueError(f"there is no file {text}")
        if columns:
            raise usage_error("--column names a column of a table: a text has none")
        return [("text", text)]
    path = Path(text)
    if path.suffix.lower() in TABLES:
        from ..evaluation.report_file import read_reports

        if "prediction" in columns:  # one text column is enough here
            columns = {"reference": columns["prediction"], **columns}
        return [(row.example_id, row.prediction) for row in read_reports(path, columns=columns or None)]
    try:
        return [(path.name, path.read_text(encoding="utf-8"))]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from None


def register(app: typer.Typer) -> None:
    """Mounts the command."""
    app.command("read", rich_help_panel="Evaluation")(command(read))


__all__ = ["read", "register"]
