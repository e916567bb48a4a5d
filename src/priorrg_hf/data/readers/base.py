"""What all readers share: their options, detection of the format, paths, and the way they name a place in a source."""

import csv
import importlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..schema import StudyError


# format -> (module, class), in the order in which they are tried
READERS = {
    "hub": ("hub", "HubReader"),
    "iu-xray": ("iu_xray", "IUXrayReader"),
    "mimic-cxr": ("mimic_cxr", "MimicCxrReader"),
    "annotation": ("annotation", "AnnotationReader"),
    "table": ("table", "TableReader"),
    "dicom": ("dicom", "DicomReader"),
}

Row = tuple[str, "dict[str, Any] | StudyError"]


@dataclass(frozen=True)
class ReaderOptions:
    """Options of the readers; each reads those that concern it.

    Args:
        image_root (`str`, *optional*): folder that relative image paths start from; by default that of the source.
        columns (mapping, *optional*): field of the schema -> column of the table.
        reports (`str`, *optional*): MIMIC-CXR: folder or zip of the report texts, where they aren't beside the tables.
        require_factual_serialization (`bool`, defaults to `True`): annotation: leave out items with an empty
            `findings_factual_serialization`, as the published training does.
        revision (`str`, *optional*): Hub: branch, tag or commit.
        cache_dir (`str`, *optional*): where indices are kept between runs.
        progress (`bool`, defaults to `False`): show a bar while files are indexed.
    """

    image_root: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    reports: str | None = None
    require_factual_serialization: bool = True
    revision: str | None = None
    cache_dir: str | None = None
    progress: bool = False


class Reader:
    """Reads one source. Subclasses set `name` and `expects`, and implement `detect`, `files` and `rows`.

    `maps_columns` says whether the option `columns` means anything. `notes` fills while `rows` is read: what a user should know
    and what is no fault, such as columns that nobody reads.
    """

    name: str = ""
    expects: str = ""
    maps_columns: bool = False

    def __init__(self, source: str | os.PathLike, options: ReaderOptions):
        self.source, self.options = Path(source), options
        self.notes: list[str] = []

    @classmethod
    def detect(cls, source: Path) -> str | None:
        """Why the source is of this format, as a phrase for the log, or `None`."""
        raise TypeError(f"{cls.__name__} cannot detect a source")

    def files(self) -> list[Path]:
        """The files whose change makes a cached reading stale."""
        return [self.source]

    def count(self) -> int | None:
        """Number of rows if it is known without reading; for progress bars."""
        return None

    def rows(self) -> Iterator[Row]:
        """Studies in the order of the source; a study that can't be read is given as its `StudyError`."""
        raise TypeError(f"{type(self).__name__} cannot read a source")

    def image_path(self, path: Any, default_root: Path) -> Any:
        """An absolute path; URLs, absolute paths and anything that isn't text are left alone."""
        if not isinstance(path, str) or not path.strip() or "://" in path:
            return path
        root = Path(self.options.image_root) if self.options.image_root else default_root
        return os.path.abspath(os.path.join(root, path.strip()))


def detect_reader(source: str | os.PathLike) -> tuple[str, str]:
    """The format of a source and why. Raises `ValueError` that says what was expected."""
    path = Path(source)
    for name in READERS:
        reason = _reader_class(name).detect(path)
        if reason:
            return name, reason
    expected = "\n".join(f"  {name}: {_reader_class(name).expects}" for name in READERS)
    state = "does not exist" if not path.exists() else "was not recognised"
    raise ValueError(f"{source} {state}. Expected one of\n{expected}\nor name the format (format=..., --format ...)")


def open_reader(source: str | os.PathLike, format: str | None, options: ReaderOptions) -> tuple[Reader, str]:
    """The reader of a source and the reason for its choice."""
    if format is None:
        format, reason = detect_reader(source)
    else:
        format, reason = format.replace("_", "-"), "as asked for"
    if format not in READERS:
        raise ValueError(f"unknown format {format!r}; the formats are {', '.join(READERS)}")
    if format != "hub" and not Path(source).exists():
        raise FileNotFoundError(f"{source} does not exist")
    reader_class = _reader_class(format)
    if options.columns and not reader_class.maps_columns:
        raise ValueError(
            f"--column is for tables and Hub data sets; {source} is read as {format}, which has fixed fields"
        )
    return reader_class(source, options), reason


def _reader_class(name: str) -> type[Reader]:
    module, cls = READERS[name]
    return getattr(importlib.import_module(f".{module}", __package__), cls)


def load_split_file(folder: Path) -> dict[str, str]:
    """Patient id -> split from a `splits.json` of `{split: [patient ids]}` beside the studies; empty where there is none."""
    path = folder / "splits.json"
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    if not isinstance(content, dict) or not all(isinstance(patients, list) for patients in content.values()):
        raise ValueError(f"{path}: expected an object of split -> list of patient ids")
    splits: dict[str, str] = {}
    for split, patients in content.items():
        for patient in map(str, patients):
            if splits.setdefault(patient, split) != split:
                problem = f"{path.name} has patient {patient!r} in {splits[patient]!r} and in {split!r}"
                raise StudyError(f"of patient {patient}", "split", problem, "Keep the patient in one split")
    return splits


def open_text(path: Path):
    """A text file, also a gzipped one; a byte order mark is dropped."""
    import gzip

    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def read_csv(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(last line, record) of a published CSV table, plain or gzipped, with empty text for cells that are missing.

    Raises `ValueError`, naming the table, where a needed column is missing or the file is damaged.
    """
    with open_text(path) as file:
        try:
            reader = csv.DictReader(file, restkey="", restval="")
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]!r}; it has {', '.join(reader.fieldnames or ())}")
            for record in reader:
                yield reader.line_num, record
        except (EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} can't be read as a table: {error}") from None


def check_fields(columns: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Raises `ValueError` for a column mapping that names an unknown field."""
    for name, column in columns.items():
        if name not in allowed:
            raise ValueError(f"--column {name}={column}: {name!r} is no field; the fields are {', '.join(allowed)}")


def check_columns(available: Iterable[str], columns: Mapping[str, str], source: str | os.PathLike) -> None:
    """Raises `ValueError` for a column mapping that names a column that isn't there."""
    for name, column in columns.items():
        if column not in available:
            raise ValueError(
                f"--column {name}={column}: {source} has no column {column!r}; it has {', '.join(available)}"
            )
