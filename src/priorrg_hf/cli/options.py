"""The options that several commands have, each declared once: same name, same letter, same place, same words.

`MODEL` is the first argument of every command that has one; studies are always `--data/-d`; what is written goes to `--output/-o`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, overload

import typer

from .grammar import given, pairs, usage_error


STUDIES, ONE, WRITING, SCORES, RUN, MODEL_PANEL = "Studies", "One study", "Writing", "Scores", "Run", "Model"
FORMATS = ("table", "dicom", "annotation", "r2gen", "mimic-cxr", "iu-xray", "hub")


def complete(*values: str):
    """Completion of an option with known values."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


Model = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder or Hub id.", show_default=False)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.", rich_help_panel=RUN)]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", rich_help_panel=RUN, help="Replace files in the way that this command did not write."),
]
OnMismatch = Annotated[
    str,
    typer.Option(
        "--on-mismatch",
        metavar="WHAT",
        rich_help_panel=RUN,
        autocompletion=lambda incomplete: [word for word in ("refuse", "rewrite") if word.startswith(incomplete)],
        help="Earlier results of other data, models or settings: refuse, or rewrite them.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.", rich_help_panel=RUN)]


@dataclass
class SourceOptions:
    """A source of studies and how to read it."""

    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", metavar="STUDIES", rich_help_panel=STUDIES,
            help="Table (CSV, JSON lines, Parquet), folder, annotation file, DICOM folder or Hub data set.",
        ),
    ] = None  # fmt: skip
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="NAME", rich_help_panel=STUDIES, autocompletion=complete(*FORMATS),
            help=f"{', '.join(FORMATS)}. Default: detected.",
        ),
    ] = None  # fmt: skip
    image_root: Annotated[
        Path | None,
        typer.Option("--image-root", rich_help_panel=STUDIES, help="Folder of relative image paths. Default: the source's."),
    ] = None  # fmt: skip
    column: Annotated[
        list[str],
        typer.Option(
            "--column", "-c", metavar="FIELD=COLUMN", rich_help_panel=STUDIES,
            help="Your column of a field, e.g. findings=REPORT_TEXT; repeatable.",
        ),
    ] = field(default_factory=list)  # fmt: skip
    reports: Annotated[
        Path | None,
        typer.Option("--reports", rich_help_panel=STUDIES, help="MIMIC-CXR: folder or zip of the report texts."),
    ] = None
    all_items: Annotated[
        bool,
        typer.Option(
            "--all-items", rich_help_panel=STUDIES,
            help="Annotation file: keep items whose factual serialization is empty.",
        ),
    ] = False  # fmt: skip
    revision: Annotated[
        str | None,
        typer.Option("--revision", rich_help_panel=STUDIES, help="Hub data set: branch, tag or commit."),
    ] = None

    date_order: Annotated[
        str | None,
        typer.Option(
            "--date-order",
            metavar="ORDER",
            rich_help_panel=STUDIES,
            autocompletion=complete("day-first", "month-first"),
            help="day-first or month-first: what 03/04/2021 means. Such dates are errors without it.",
        ),
    ] = None
    allow_outside_image_root: Annotated[
        bool,
        typer.Option("--allow-outside", rich_help_panel=STUDIES, help="Read images outside of the image root."),
    ] = False
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", rich_help_panel=STUDIES, help="Let images be http and https addresses.")
    ] = False

    allow_private_urls: Annotated[
        bool,
        typer.Option(
            "--allow-private-urls", rich_help_panel=STUDIES, help="Also those of this machine and private networks."
        ),
    ] = False

    def __post_init__(self):
        if self.allow_private_urls:
            # Read where the address is opened, which may be another process.
            os.environ["PRIORRG_ALLOW_PRIVATE_URLS"] = "1"

    def require(self) -> str:
        """The source, which this command cannot do without."""
        if self.data is None:
            raise usage_error("no studies given: pass --data STUDIES (-d)")
        return self.data

    def paths(self) -> list[str]:
        """What is read from disk, never to be written over."""
        return [str(path) for path in (self.data, self.reports) if path is not None]

    @property
    def columns(self) -> dict[str, str]:
        """`--column` as a mapping."""
        return pairs(self.column, "--column", "FIELD=COLUMN, e.g. findings=REPORT_TEXT")

    def reading(self) -> dict[str, Any]:
        """Arguments of `load_studies`."""
        return {
            "format": self.format,
            "image_root": self.image_root,
            "columns": self.columns,
            "reports": self.reports,
            "require_factual_serialization": not self.all_items,
            "revision": self.revision,
            "date_order": self.date_order,
            "allow_outside_image_root": self.allow_outside_image_root,
            "allow_urls": self.allow_urls,
        }


@dataclass
class SelectionOptions:
    """Which studies of a source."""

    split: Annotated[
        str,
        typer.Option("--split", "-s", metavar="NAME", rich_help_panel=STUDIES, help="Split to use; 'all' takes every one."),
    ] = "test"  # fmt: skip
    views: Annotated[
        str | None,
        typer.Option(
            "--views", metavar="FAMILY", rich_help_panel=STUDIES, autocompletion=complete("frontal", "lateral", "all"),
            help="Current images to use: frontal, lateral or all (default).",
        ),
    ] = None  # fmt: skip
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, rich_help_panel=STUDIES, help="Only the first so many.")
    ] = None

    def selection(self) -> dict[str, Any]:
        """Arguments of `load_evaluation_data`."""
        return {"split": None if self.split == "all" else self.split, "views": self.views, "limit": self.limit}


@dataclass
class LinkingOptions:
    """How priors are found."""

    same_view: Annotated[
        str,
        typer.Option(
            "--same-view", metavar="RULE", rich_help_panel=STUDIES,
            autocompletion=complete("prefer", "image", "require", "ignore"),
            help="Prior linking by view family: prefer, image, require or ignore.",
        ),
    ] = "prefer"  # fmt: skip
    max_days: Annotated[
        float | None,
        typer.Option("--max-days", rich_help_panel=STUDIES, help="Studies further back are no priors."),
    ] = None


@dataclass
class ComputeOptions:
    """Where and how a model computes."""

    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, rich_help_panel=WRITING, help="Studies per forward pass.")
    ] = 8
    num_workers: Annotated[
        int, typer.Option("--num-workers", min=0, rich_help_panel=WRITING, help="Processes that prepare images.")
    ] = 0
    device: Annotated[
        str | None,
        typer.Option(
            "--device", rich_help_panel=WRITING, autocompletion=complete("cpu", "cuda"),
            help="cpu, cuda, cuda:1 ... Default: cuda where there is one.",
        ),
    ] = None  # fmt: skip
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype", rich_help_panel=WRITING, autocompletion=complete("float32", "bfloat16", "float16"),
            help="float32, bfloat16 or float16.",
        ),
    ] = "float32"  # fmt: skip


@dataclass
class DecodingOptions:
    """How reports are written."""

    num_beams: Annotated[
        int | None, typer.Option("--num-beams", min=1, rich_help_panel=WRITING, help="Default: the model's (3).")
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", min=2, rich_help_panel=WRITING, help="Tokens. Default: the model's (100)."),
    ] = None

    def generation(self) -> dict[str, Any]:
        """Arguments of `generate`."""
        return given(num_beams=self.num_beams, max_length=self.max_length)


@dataclass
class BulkOptions:
    """How a long run treats bad studies and earlier work."""

    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=RUN, help="Stop at the first bad study instead of naming it.")
    ] = False
    on_mismatch: OnMismatch = "refuse"
    overwrite: Overwrite = False
    no_resume: Annotated[
        bool,
        typer.Option("--no-resume", rich_help_panel=RUN, help="Start over instead of going on with what is there."),
    ] = False


@dataclass
class ShowOptions:
    """What a command tells while it works and at its end."""

    json_output: Annotated[
        bool, typer.Option("--json", rich_help_panel=RUN, help="Print the result as one JSON object.")
    ] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", rich_help_panel=RUN, help="No progress line, no warnings; errors only.")
    ] = False
    log_file: Annotated[
        Path | None, typer.Option("--log-file", rich_help_panel=RUN, help="Append all messages to this file.")
    ] = None


@dataclass
class LongRunOptions(ShowOptions):
    """As `ShowOptions`, for what takes long."""

    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=RUN, help="Tell what would be read, how long, and where it goes."),
    ] = False


@dataclass
class ScoreOptions:
    """Intervals."""

    replicates: Annotated[
        int, typer.Option("--replicates", min=1, rich_help_panel=SCORES, help="Bootstrap replicates.")
    ] = 1000
    seed: Annotated[int, typer.Option("--seed", rich_help_panel=SCORES, help="Of everything that is drawn.")] = 0


# What the package carries, by the name that stands for it on the command line.
PHANTOM = "phantom"


@overload
def packaged(value: str, kind: str) -> str: ...


@overload
def packaged(value: None, kind: str) -> None: ...


def packaged(value: str | None, kind: str) -> str | None:
    """The folder of the packaged phantom `model`, `tokenizer`, `vision` or `decoder` for the name "phantom"; other values as they are.

    A folder of that name in the working directory comes first.
    """
    if value != PHANTOM or kind not in ("model", "tokenizer", "vision", "decoder") or Path(PHANTOM).exists():
        return value
    from .. import phantom

    return str(getattr(phantom, f"phantom_{kind}_folder")())
