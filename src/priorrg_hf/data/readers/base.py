"""What all readers share: their options, detection of the format, paths, and the way they name a place in a source."""

import csv
import difflib
import importlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..image_files import ImagePlaces, plain_path, scheme_of
from ..schema import StudyError
from ..values import DATE_ORDERS, Changes, normalize_id


# format -> (module, class), in the order in which they are tried
READERS = {
    "hub": ("hub", "HubReader"),
    "iu-xray": ("iu_xray", "IUXrayReader"),
    "mimic-cxr": ("mimic_cxr", "MimicCxrReader"),
    "r2gen": ("r2gen", "R2GenReader"),
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
        date_order (`str`, *optional*): `"day-first"` or `"month-first"`, for dates like `03/04/2021`; such are errors without it.
        allow_outside_image_root (`bool`, defaults to `False`): read images that lie, or whose links lead, outside of the image root.
        allow_urls (`bool`, defaults to `False`): let images be http and https addresses.
        cache_dir (`str`, *optional*): where indices are kept between runs.
        progress (`bool`, defaults to `False`): show a bar while files are indexed.
    """

    image_root: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    reports: str | None = None
    require_factual_serialization: bool = True
    revision: str | None = None
    date_order: str | None = None
    allow_outside_image_root: bool = False
    allow_urls: bool = False
    cache_dir: str | None = None
    progress: bool = False

    def __post_init__(self):
        if self.date_order is not None and self.date_order not in DATE_ORDERS:
            raise ValueError(f"date_order is one of {', '.join(DATE_ORDERS)}, got {self.date_order!r}")


# Options that only some readers have a use for: name on the command line -> field, usual value, for whom.
_SPECIAL_OPTIONS = {
    "--reports": ("reports", None, "MIMIC-CXR"),
    "--all-items": ("require_factual_serialization", True, "the published annotation"),
    "--revision": ("revision", None, "Hub data sets"),
}


class Reader:
    """Reads one source. Subclasses set `name` and `expects`, and implement `detect`, `files` and `rows`.

    `maps_columns` says whether the option `columns` means anything. `notes` fills while `rows` is read: what a user should know
    and what is no fault, such as columns that nobody reads; `changes` counts values that were brought into another form.
    `default_image_root` is where relative paths start without the option `image_root`; a reader that has none has no local images.
    """

    name: str = ""
    expects: str = ""
    maps_columns: bool = False
    reads_options: frozenset[str] = frozenset()  # fields of `ReaderOptions` that not every reader has a use for

    def __init__(self, source: str | os.PathLike, options: ReaderOptions):
        self.source, self.options = Path(source), options
        self.notes: list[str] = []
        self.changes = Changes()

    @property
    def default_image_root(self) -> Path | None:
        """Folder of the images where the option `image_root` isn't given."""
        return self.source if self.source.is_dir() else self.source.parent

    @property
    def image_root(self) -> Path | None:
        """Folder of the images."""
        return Path(self.options.image_root) if self.options.image_root else self.default_image_root

    def image_places(self) -> ImagePlaces:
        """The rule for the image paths of this source."""
        return ImagePlaces(self.image_root, self.options.allow_outside_image_root, self.options.allow_urls)

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

    def image_path(self, path: Any) -> Any:
        """An absolute path; URLs and anything that isn't text are left alone. `file://` and backslashes are read as paths."""
        if not isinstance(path, str) or not path.strip():
            return path
        try:
            path = plain_path(path, self.changes)
        except ValueError:
            return path.strip()  # refused with its reason where paths are judged
        if scheme_of(path) is not None or re.match(r"[A-Za-z]:[\\/]", path):
            return path
        return os.path.abspath(os.path.join(self.image_root or "", path))


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
    for option, (field_name, usual, wants) in _SPECIAL_OPTIONS.items():
        if getattr(options, field_name) != usual and field_name not in reader_class.reads_options:
            raise ValueError(f"{option} is for {wants}; {source} is read as {format}, which has no use for it")
    if options.columns and not reader_class.maps_columns:
        raise ValueError(
            f"--column is for tables and Hub data sets; {source} is read as {format}, which has fixed fields"
        )
    return reader_class(source, options), reason


def _reader_class(name: str) -> type[Reader]:
    module, cls = READERS[name]
    return getattr(importlib.import_module(f".{module}", __package__), cls)


class PatientSplits:
    """The splits of patients; leading zeros may be lost on either side, where that leaves no doubt who is meant."""

    def __init__(self, splits: dict[str, str]):
        self.splits = splits
        self.unplaced: set[str] = set()
        self._plain: dict[str, str | None] = {}
        for patient in splits:
            plain = _without_zeros(patient)
            self._plain[plain] = patient if plain not in self._plain else None

    def of(self, patient: str | None) -> str | None:
        """The split of a patient, or `None`."""
        if patient is None or not self.splits:
            return None
        found = patient if patient in self.splits else self._plain.get(_without_zeros(patient))
        if found is None:
            self.unplaced.add(patient)
            return None
        return self.splits.get(found)


def _without_zeros(patient: str) -> str:
    return (patient.lstrip("0") or "0") if patient.isdigit() else patient


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
        for patient in map(normalize_id, patients):
            if patient is None:
                continue
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'findings'?)"` where something near is known, else nothing. Case does not matter."""
    spellings = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    return f" (did you mean {spellings[near[0]]!r}?)" if near else ""


def check_fields(columns: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Raises `ValueError` for a column mapping that names an unknown field."""
    for name, column in columns.items():
        if name not in allowed:
            raise ValueError(
                f"--column {name}={column}: {name!r} is no field{did_you_mean(name, allowed)}; the fields are {', '.join(allowed)}"
            )


def check_columns(available: Iterable[str], columns: Mapping[str, str], source: str | os.PathLike) -> None:
    """Raises `ValueError` for a column mapping that names a column that isn't there."""
    for name, column in columns.items():
        if column not in available:
            raise ValueError(
                f"--column {name}={column}: {source} has no column {column!r}{did_you_mean(column, available)}; it has "
                f"{', '.join(available)}"
            )
