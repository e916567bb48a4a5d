"""Files of generated reports: JSON lines as `generate_reports` writes them, or any CSV/JSONL table with two text columns."""

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..metrics.reading import is_missing


# What people call these columns; the first that is present is taken.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "prediction": (
        "prediction", "predictions", "pred", "preds", "generated", "generated_report", "generated_reports", "generated_text", "hypothesis",
        "hypotheses", "hyp", "hyps", "candidate", "output", "res", "generated_findings",
    ),
    "reference": (
        "reference", "references", "ref", "refs", "ground_truth", "groundtruth", "gt", "gts", "target", "label",
        "reference_report", "reference_reports", "findings",
    ),
    "example_id": ("example_id", "id", "image_id", "images_id", "dicom_id"),
    "study_id": ("study_id",),
    "patient_id": ("patient_id", "subject_id"),
    "reference_cut": ("reference_cut",),
    "has_prior": ("has_prior",),
    "has_context": ("has_context",),
    "view_position": ("view_position", "view"),
    "days_before": ("days_before",),
}  # fmt: skip
# Some call the reference so, others the prediction: it is the one of the two that has no other column.
EITHER = "report"
_TRUE, _FALSE = {"true", "1", "yes", "1.0"}, {"false", "0", "no", "0.0"}


@dataclass
class ReportRow:
    """One generated report with what evaluation knows of its study.

    Args:
        example_id (`str`): unique in the file.
        prediction (`str`): the generated report.
        reference (`str`, *optional*): the radiologist's findings; `None` where there are none.
        study_id, patient_id (`str`, *optional*): of the example.
        has_prior, has_context (`bool`, *optional*): whether the model was shown a prior image, and a clinical context.
        view_position (`str`, *optional*): view of the current image.
        reference_cut (`str`, *optional*): the reference as the model's tokenizer cuts it at its report length.
        days_before (`float`, *optional*): days from the prior to the current study.
        fingerprints (mapping, *optional*): what the report was made of, see `fingerprints.RowFingerprints`, and by which `model`.
    """

    example_id: str
    prediction: str
    reference: str | None = None
    study_id: str | None = None
    patient_id: str | None = None
    has_prior: bool | None = None
    has_context: bool | None = None
    view_position: str | None = None
    reference_cut: str | None = None
    days_before: float | None = None
    fingerprints: Mapping[str, str | None] | None = None

    def to_json(self) -> str:
        """One line of a reports file; what is unknown of the last three fields is left out."""
        row = asdict(self)
        for optional in ("reference_cut", "days_before", "fingerprints"):
            if row[optional] is None:
                del row[optional]
        line = json.dumps(row, ensure_ascii=False)
        try:
            line.encode("utf-8")
        except UnicodeEncodeError:  # lone surrogates, which only JSON's escapes can hold
            line = json.dumps(row)
        return line


def json_lines(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """Line number and value of each line. Raises `ValueError` naming the line that is no JSON."""
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}, line {number}: not JSON ({error})") from None


def _table_rows(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            for row in reader:  # a row with line breaks in a cell takes several lines: its number is that of the last
                if None in row:
                    raise ValueError(
                        f"{path}, line {reader.line_num}: more cells than the header has columns; put text with a "
                        f"{'comma' if delimiter == ',' else 'tab'} in double quotes"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: no table ({error})") from None


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); a file with an object a line is called .jsonl") from None
    if isinstance(content, Mapping):
        lengths = {name: len(values) for name, values in content.items() if isinstance(values, list)}
        if not content or len(lengths) < len(content) or len(set(lengths.values())) > 1:
            raise ValueError(
                f"{path}: expected a list of rows, or columns of equal length, got {lengths or 'no columns'}"
            )
        content = [dict(zip(content, values, strict=True)) for values in zip(*content.values(), strict=True)]
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of rows, or columns, got {type(content).__name__}")
    yield from enumerate(content, start=1)


def _raw_rows(path: Path) -> Iterator[tuple[int, Any]]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            yield from _table_rows(path, "\t" if suffix == ".tsv" else ",")
        else:
            yield from _json_rows(path) if suffix == ".json" else json_lines(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def _find_columns(available: Sequence[str], columns: Mapping[str, str] | None, path: Path) -> dict[str, str]:
    unknown = sorted(set(columns or {}) - set(COLUMN_NAMES))
    if unknown:
        raise ValueError(f"unknown fields {unknown}; columns can be named for {', '.join(COLUMN_NAMES)}")
    found = dict(columns or {})
    for column in found.values():
        if column not in available:
            raise ValueError(f"{path} has no column {column!r}; it has {', '.join(map(str, available))}")
    folded = {name.strip().lower(): name for name in available if isinstance(name, str) and name not in found.values()}
    for field, candidates in COLUMN_NAMES.items():
        name = next((folded[candidate] for candidate in candidates if candidate in folded), None)
        if name is not None:
            found.setdefault(field, name)
    missing = [field for field in ("prediction", "reference") if field not in found]
    if len(missing) == 1 and EITHER in folded:
        found[missing[0]] = folded[EITHER]
    for field in ("prediction", "reference"):
        if field not in found:
            raise ValueError(
                f"{path} has no column for the {field}: it has {', '.join(map(str, available))}. "
                f"Name it, e.g. --column {field}=NAME."
            )
    return found


def _boolean(value: Any, where: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if not text:
        return None
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError(f"{where}: {value!r} is neither true nor false")


def _number(value: Any, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}, days_before: {value!r} is no number of days") from None
    return number if math.isfinite(number) else None


def _text(value: Any, where: str, field: str) -> str | None:
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if not isinstance(value, (str, int)):
        raise ValueError(f"{where}, {field}: expected text, got {type(value).__name__}")
    return str(value)


def read_reports(path: str | os.PathLike, *, columns: Mapping[str, str] | None = None) -> list[ReportRow]:
    """Reads a file of generated reports.

    Args:
        path (`str`): `.jsonl` (as `generate_reports` writes it), `.json` (a list of rows, or columns), `.csv` or `.tsv`.
        columns (mapping from field to column, *optional*): for columns with other names than the usual ones.

    Returns:
        `list[ReportRow]` in the order of the file. A missing prediction is the empty report; a missing reference (in CSV and TSV an
        empty cell) is `None`. Placeholders ("N/A", "nan", "___") are missing. Rows are named by `example_id` or a column like it, else by `study_id`, else by their place in the file.
        Only a column called `example_id` must be unique; of other names (`study_id`, where a study has several images) those that come again
        are numbered.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the line and the column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of reports at {path}")
    rows: list[ReportRow] = []
    found: dict[str, str] | None = None
    seen: dict[str, int] = {}
    times: Counter[str] = Counter()
    is_table = path.suffix.lower() in (".csv", ".tsv")
    for number, raw in _raw_rows(path):
        where = f"{path}, line {number}"
        if not isinstance(raw, Mapping):
            raise ValueError(f"{where}: expected an object with columns, got {type(raw).__name__}")
        if "skipped" in raw and "prediction" not in raw:
            continue
        if found is None:
            found = _find_columns(list(raw), columns, path)
        values = {field: raw.get(name) for field, name in found.items()}
        texts = {
            field: _text(values.get(field), where, field)
            for field in (
                "prediction",
                "reference",
                "example_id",
                "study_id",
                "patient_id",
                "view_position",
                "reference_cut",
            )
        }
        for field in ("prediction", "reference", "reference_cut"):
            # "N/A", "nan" and "___" stand where a report should be; an empty reference of JSON is kept, it says that there were no findings.
            if texts[field] and is_missing(texts[field]):
                texts[field] = None
        if is_table:  # a CSV file has no other way to leave a cell out
            texts["reference"] = texts["reference"] or None
        example_id = texts["example_id"] or texts["study_id"] or str(len(rows))
        if example_id in seen and found.get("example_id") == "example_id":
            raise ValueError(
                f"{where}: example {example_id!r} stands already in line {seen[example_id]}. Where a study has several rows, give each "
                "an example_id of its own."
            )
        seen[example_id] = number
        times[example_id] += 1
        if times[example_id] > 1:
            example_id += f" ({times[example_id]})"
        rows.append(
            ReportRow(
                example_id=example_id,
                prediction=texts["prediction"] or "",
                reference=texts["reference"],
                study_id=texts["study_id"],
                patient_id=texts["patient_id"],
                view_position=texts["view_position"],
                reference_cut=texts["reference_cut"],
                has_prior=_boolean(values.get("has_prior"), where),
                has_context=_boolean(values.get("has_context"), where),
                days_before=_number(values.get("days_before"), where),
            )
        )
    if not rows:
        raise ValueError(f"{path} holds no reports")
    return rows


__all__ = ["ReportRow", "json_lines", "read_reports"]
