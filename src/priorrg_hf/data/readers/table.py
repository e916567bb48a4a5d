"""Study tables: CSV, TSV, JSON lines and Parquet, one row a study or one row an image.

Columns carry the names of the schema; others are mapped (`columns={"findings": "REPORT_TEXT"}`) or ignored. A row gives its image
in `image` (with `view`, `image_id`, `laterality`), or several in `images` (a list of `{image, view}` or paths, in CSV as JSON). Rows
of one study that follow each other become one study with several images. The prior is either a nested `prior` (`{image, view,
acquired | day | days_before, study_id}`), flat columns (`prior_image`, `prior_view`, ...), or the id of another study in `prior` or
`prior_study_id`. Without any of these it is linked by time.

CSV may be separated by commas, semicolons, tabs or bars; the header tells which. A row with more cells than the header, or with a
quotation mark that nobody closes, is an error of that row: its texts would be cut or swallowed.

A `splits.json` beside the table (`{split: [patient ids]}`) places patients that the table itself doesn't place.
"""

import csv
import dataclasses
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..schema import TEXT_FIELDS, StudyError
from ..values import normalize_id
from .base import PatientSplits, Reader, ReaderOptions, Row, check_columns, check_fields, load_split_file, open_text


STUDY_FIELDS = ("study_id", "patient_id", "acquired", "day", *TEXT_FIELDS, "labels", "split")
IMAGE_FIELDS = ("image", "view", "image_id", "laterality", "images")
PRIOR_FIELDS = (
    "prior",
    "prior_study_id",
    "prior_image",
    "prior_view",
    "prior_acquired",
    "prior_day",
    "prior_days_before",
)
TABLE_FIELDS = STUDY_FIELDS + IMAGE_FIELDS + PRIOR_FIELDS
# names of the example rows, understood without a mapping
ALIASES = {"view": "view_position", "prior_view": "prior_view_position"}
# what table libraries write for an empty cell
_NOT_A_VALUE = {"nan", "NaN", "NaT", "<NA>"}
_KEYS = object()  # the columns that a record had, beside its fields
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz")


class TableReader(Reader):
    name = "table"
    maps_columns = True
    expects = "a CSV, TSV, JSON lines or Parquet file (also .gz), or a folder with studies.csv, .jsonl or .parquet"

    def __init__(self, source, options: ReaderOptions):
        super().__init__(source, options)
        if self.source.is_dir():
            self.source = _table_in(self.source) or self.source / "studies.csv"
        ours = {alias: name for name, alias in ALIASES.items()}
        columns = {ours.get(name, name): column for name, column in self.options.columns.items()}
        check_fields(columns, TABLE_FIELDS)
        self.options = dataclasses.replace(self.options, columns=columns)
        self.wanted = {self.options.columns.get(name, name) for name in TABLE_FIELDS} | set(ALIASES.values())
        self.splits = PatientSplits(load_split_file(self.source.parent))

    @classmethod
    def detect(cls, source: Path) -> str | None:
        if source.is_file() and source.name.lower().endswith(_SUFFIXES):
            return f"the name ends in {''.join(source.suffixes[-2:])}"
        found = _table_in(source) if source.is_dir() else None
        return f"the folder holds {found.name}" if found else None

    @property
    def default_image_root(self) -> Path:
        return self.source.parent

    def files(self) -> list[Path]:
        return [path for path in (self.source, self.source.parent / "splits.json") if path.exists()]

    def count(self) -> int | None:
        if self.source.suffix == ".parquet":
            return _parquet_file(self.source).metadata.num_rows
        return None

    def rows(self) -> Iterator[Row]:
        group: list[tuple[str, dict[str, Any]]] = []
        for where, record in self._records():
            try:
                if isinstance(record, StudyError):
                    raise record
                study = self._study(record)
            except StudyError as error:
                yield where, error
                continue
            same = group and (study["study_id"], study["patient_id"]) == (
                group[0][1]["study_id"],
                group[0][1]["patient_id"],
            )
            if same and study["study_id"] not in (None, ""):
                group.append((where, study))
                continue
            yield from _merged(group)
            group = [(where, study)]
        yield from _merged(group)
        if self.splits.unplaced:
            some = ", ".join(sorted(self.splits.unplaced)[:5])
            self.notes.append(
                f"{len(self.splits.unplaced):,} patients are not in splits.json and are placed otherwise: {some}"
            )

    def _records(self) -> Iterator[tuple[str, dict[Any, Any] | StudyError]]:
        """(place, record) with the table's own columns, renamed to fields."""
        rename: dict[str, str] | None = None
        seen: dict[str, None] = {}
        for where, record in _read_file(self.source, self.wanted):
            if isinstance(record, StudyError):
                yield where, record
                continue
            if rename is None or self._ragged:
                seen.update(dict.fromkeys(record))
                rename = self._renaming(list(record))
            yield where, {_KEYS: list(record), **{field: record.get(column) for field, column in rename.items()}}
        if seen and self._ragged:
            check_columns(seen, self.options.columns, self.source)
        unread = [name for name in seen if name and name not in self.wanted]
        if unread:
            self.notes.append(f"columns that are not read: {', '.join(unread)} (--column FIELD=COLUMN maps them)")

    @property
    def _ragged(self) -> bool:
        """JSON lines may leave keys out, so each line is looked at afresh."""
        return ".jsonl" in self.source.name or ".ndjson" in self.source.name

    def _renaming(self, available: list[str]) -> dict[str, str]:
        if not self._ragged:
            check_columns(available, self.options.columns, self.source)
        rename = {}
        for name in TABLE_FIELDS:
            column = self.options.columns.get(name, name)
            if column not in available and name in ALIASES and name not in self.options.columns:
                column = ALIASES[name]
            if column in available:
                rename[name] = column
        missing = [name for name in ("study_id", "patient_id") if name not in rename]
        if missing and not self._ragged:
            raise ValueError(
                f"{self.source} has no column {missing[0]!r}; it has {', '.join(available)}. "
                f"Map it: columns={{{missing[0]!r}: ...}} or --column {missing[0]}=NAME"
            )
        return rename

    def _study(self, record: Mapping[Any, Any]) -> dict[str, Any]:
        study = {name: record.get(name) for name in STUDY_FIELDS}
        for name in ("study_id", "patient_id"):
            if self._ragged and name not in record:
                keys = ", ".join(record.get(_KEYS, ())) or "none"
                remedy = "Give every line both ids, or map them with --column"
                raise StudyError(
                    str(study["study_id"] or "without id"), name, f"the key is missing; the line has {keys}", remedy
                )
            if isinstance(study[name], (str, int, float)):  # rows of one study are told by their ids
                study[name] = normalize_id(study[name], self.changes)
        if isinstance(study["labels"], str):
            study["labels"] = _json_value(study["labels"], study["study_id"], "labels")
        if not study["split"]:
            study["split"] = self.splits.of(study["patient_id"])
        study["images"] = self._images(record)
        study["prior"] = self._prior(record)
        return study

    def _images(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        images = record.get("images")
        if isinstance(images, str) and images.strip():
            images = _json_value(images, record.get("study_id"), "images") if images.lstrip()[0] == "[" else [images]
        if isinstance(images, (Mapping, bytes)):
            images = [images]
        if _is_empty(images) or images == []:
            images = [{name: record.get(name) for name in ("image", "view", "image_id", "laterality")}]
        if not isinstance(images, (list, tuple)):
            problem = f"a {type(images).__name__} is no list of images"
            raise StudyError(str(record.get("study_id")), "images", problem, "Give paths or {image, view}")
        result = []
        for image in images:
            entry = dict(image) if isinstance(image, Mapping) and "image" in image else {"image": image}
            result.append({**entry, "image": self._resolved(entry["image"])})
        return result

    def _prior(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        prior = record.get("prior")
        if isinstance(prior, str) and prior.lstrip().startswith("{"):
            prior = _json_value(prior, record.get("study_id"), "prior")
        elif isinstance(prior, (str, int, float)) and not _is_empty(prior):
            prior = {"study_id": prior}
        if _is_empty(prior):
            prior = {name.removeprefix("prior_"): record.get(name) for name in PRIOR_FIELDS[1:]}
            prior = {key: value for key, value in prior.items() if not _is_empty(value)}
        if not prior:
            return None
        if not isinstance(prior, Mapping):
            raise StudyError(
                str(record.get("study_id")), "prior", "expected a mapping", "Give {image, view, acquired}"
            )
        prior = dict(prior)
        prior_day: Any = prior.pop("day", None)
        day: Any = record.get("day")
        if prior.get("days_before") is None and not _is_empty(prior_day) and not _is_empty(day):
            try:
                prior["days_before"] = float(day) - float(prior_day)
            except (TypeError, ValueError):
                problem = f"{day!r} and {prior_day!r} are no days"
                raise StudyError(str(record.get("study_id")), "prior.day", problem, "Give numbers") from None
        if "image" in prior:
            prior["image"] = self._resolved(prior["image"])
        return prior

    def _resolved(self, image: Any) -> Any:
        if isinstance(image, Mapping) and not image.get("bytes") and image.get("path"):
            return {"bytes": None, "path": self.image_path(image["path"])}
        return self.image_path(image)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value != value


def _json_value(text: str, study: Any, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise StudyError(
            str(study), name, "isn't valid JSON", 'Write it like [{"image": "a.png", "view": "PA"}]'
        ) from None


def _merged(group: list[tuple[str, dict[str, Any]]]) -> Iterator[Row]:
    """Rows of one study that follow each other: one study with all their images."""
    if not group:
        return
    where, study = group[0]
    for other_where, other in group[1:]:
        differing = [
            name
            for name in (*STUDY_FIELDS, "prior")
            if other[name] != study[name] and not (_is_empty(other[name]) and _is_empty(study[name]))
        ]
        if differing:
            problem = f"the study stands in {where} with another {differing[0]}"
            yield (
                other_where,
                StudyError(str(study["study_id"]), differing[0], problem, "Give the study one value or two ids"),
            )
        else:
            study = {**study, "images": study["images"] + other["images"]}
    yield where, study


def _table_in(folder: Path) -> Path | None:
    for stem in ("studies", "data", "metadata"):
        for suffix in _SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    tables = [
        path for path in sorted(folder.iterdir()) if path.name.lower().endswith(_SUFFIXES[:4]) and path.is_file()
    ]
    return tables[0] if len(tables) == 1 else None


def _read_file(path: Path, wanted: set[str]) -> Iterator[tuple[str, dict[str, Any] | StudyError]]:
    try:
        yield from _read_records(path, wanted)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} isn't UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except (csv.Error, EOFError, zlib.error) as error:
        raise ValueError(f"{path} can't be read as a table: {error}") from None


def _read_records(path: Path, wanted: set[str]) -> Iterator[tuple[str, dict[str, Any] | StudyError]]:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet_records(path)
        return
    with open_text(path) as file:
        if name.endswith((".jsonl", ".ndjson")):
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path.name} line {number}"
                    yield where, _json_line(line.strip(), where)
            return
        yield from _csv_records(file, path, wanted)


def _parquet_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    # small batches: a cell may hold a whole image
    for batch in _parquet_file(path).iter_batches(batch_size=64):
        for record in batch.to_pylist():
            number += 1
            yield f"{path.name} row {number}", record


def _parquet_file(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} can't be read as a table: {error}") from None


def _csv_records(file, path: Path, wanted: set[str]) -> Iterator[tuple[str, dict[str, Any] | StudyError]]:
    # Reports can be longer than the module's default limit; the limit is one for the whole process, so it is only raised.
    csv.field_size_limit(max(csv.field_size_limit(), min(sys.maxsize, 2**31 - 1)))
    delimiter = _delimiter(file.readline(), path)
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
    names = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in names if name in wanted and names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice; rename one of them")
    while True:
        where = f"{path.name} line {reader.line_num + 1}"  # a record may span lines
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = "Put such texts in quotation marks, and double the quotation marks inside them"
            yield where, StudyError(where, "the whole line", f"isn't a row of the table ({error})", remedy)
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            problem = f"has {len(cells)} cells, the header has {len(names)}"
            remedy = f"Put texts with a {delimiter!r} in quotation marks"
            yield where, StudyError(where, "the whole line", problem, remedy)
        elif cells:
            # spreadsheets leave out empty cells at the end of a row
            values = [None if cell in _NOT_A_VALUE else cell for cell in cells] + [None] * (len(names) - len(cells))
            yield where, {name: value for name, value in zip(names, values, strict=False) if name}


def _delimiter(header: str, path: Path) -> str:
    """What separates the columns, by the header; spreadsheets write semicolons where the comma is the decimal sign."""
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    names = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=names.count)


def _json_line(line: str, where: str) -> dict[str, Any] | StudyError:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return StudyError(where, "the whole line", f"isn't valid JSON ({error})", "Write one object a line")
    if isinstance(record, dict):
        return record
    return StudyError(where, "the whole line", f"is a {type(record).__name__}, no object", "Write one object a line")
