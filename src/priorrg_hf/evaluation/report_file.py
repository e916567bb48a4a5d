"""Files of generated reports: JSON lines as `generate_reports` writes them, or any CSV/JSONL table with two text columns."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


# What people call these columns; the first that is present is taken.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "prediction": (
        "prediction", "predictions", "pred", "preds", "generated", "generated_report", "generated_text", "hypothesis",
        "hypotheses", "hyp", "hyps", "candidate", "output", "res", "generated_findings",
    ),
    "reference": (
        "reference", "references", "ref", "refs", "ground_truth", "groundtruth", "gt", "gts", "target", "label",
        "reference_report", "findings", "report",
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

    def to_json(self) -> str:
        """One line of a reports file; what is unknown of the last two fields is left out."""
        row = asdict(self)
        for optional in ("reference_cut", "days_before"):
            if row[optional] is None:
                del row[optional]
        return json.dumps(row, ensure_ascii=False)


def json_lines(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """Line number and value of each line. Raises `ValueError` naming the line that is no JSON."""
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}, line {number}: not JSON ({error})") from None


def _raw_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from enumerate(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","), start=2)
    elif suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, Mapping):
            content = [dict(zip(content, values, strict=True)) for values in zip(*content.values(), strict=True)]
        yield from enumerate(content, start=1)
    else:
        yield from json_lines(path)


def _find_columns(available: Sequence[str], columns: Mapping[str, str] | None, path: Path) -> dict[str, str]:
    unknown = sorted(set(columns or {}) - set(COLUMN_NAMES))
    if unknown:
        raise ValueError(f"unknown fields {unknown}; columns can be named for {', '.join(COLUMN_NAMES)}")
    found = {}
    folded = {name.strip().lower(): name for name in available if isinstance(name, str)}
    for field, candidates in COLUMN_NAMES.items():
        if columns and field in columns:
            if columns[field] not in available:
                raise ValueError(f"{path} has no column {columns[field]!r}; it has {', '.join(map(str, available))}")
            found[field] = columns[field]
            continue
        name = next((folded[candidate] for candidate in candidates if candidate in folded), None)
        if name is not None:
            found[field] = name
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
        empty cell) is `None`. Rows are named by `example_id`, else by `study_id`, else by their place in the file.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the line and the column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of reports at {path}")
    rows, found, seen = [], None, {}
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
        texts["prediction"] = texts["prediction"] or ""
        if is_table:  # a CSV file has no other way to leave a cell out
            texts["reference"] = texts["reference"] or None
        texts["example_id"] = texts["example_id"] or texts["study_id"] or str(len(rows))
        if texts["example_id"] in seen:
            raise ValueError(
                f"{where}: example {texts['example_id']!r} stands already in line {seen[texts['example_id']]}. Where a study has "
                "several rows, give each an example_id of its own."
            )
        seen[texts["example_id"]] = number
        days = values.get("days_before")
        rows.append(
            ReportRow(
                **texts,
                has_prior=_boolean(values.get("has_prior"), where),
                has_context=_boolean(values.get("has_context"), where),
                days_before=float(days) if days not in (None, "") else None,
            )
        )
    if not rows:
        raise ValueError(f"{path} holds no reports")
    return rows


__all__ = ["ReportRow", "json_lines", "read_reports"]
