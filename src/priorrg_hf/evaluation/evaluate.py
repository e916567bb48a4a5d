"""The two ways into an evaluation card: a model with studies, or a file of generated reports."""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.locking import claimed
from .card import Evaluation, evaluate_reports
from .fingerprints import settings_fingerprint, text_fingerprint
from .generation import cut_references, generate_reports
from .report_file import ReportRow, read_reports


if TYPE_CHECKING:
    from datasets import Dataset


# What `evaluate_reports` writes; the reports file beside it has a rule of its own.
CARD_FILES = (
    "evaluation.json", "evaluation.md", "worst_studies.html", "scores.png", "lengths.png", "findings.png", "change_confusion.png",
    "severity_confusion.png",
)  # fmt: skip


@dataclasses.dataclass
class EvaluationData:
    """Example rows of a source, with what evaluation needs beside them.

    Args:
        examples (`Dataset`): flat example rows.
        studies (`Dataset`): the studies that the examples come from; earlier studies of a patient are in the same split.
        days_before (`dict[str, float]`): study id -> days from its prior, where known.
        labels (`dict[str, dict[str, float]]`): study id -> labels, where the source has them.
        name (`str`): of the source.
        fingerprint (`str`): of ids and texts of the examples.
    """

    examples: "Dataset"
    studies: "Dataset"
    days_before: dict[str, float]
    labels: dict[str, dict[str, float]]
    name: str
    fingerprint: str

    def by_id(self) -> "ExamplesById":
        return ExamplesById(self.examples)


class ExamplesById(Mapping):
    """Example rows by example id, read from the table only when asked for."""

    def __init__(self, examples: "Dataset"):
        self._examples = examples
        self._places = {str(name): index for index, name in enumerate(examples["example_id"])}

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._examples[self._places[name]]

    def __iter__(self):
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def load_evaluation_data(
    source: str | os.PathLike,
    *,
    split: str | None = "test",
    views: str | None = None,
    limit: int | None = None,
    require_findings: bool = False,
    strict: bool = False,
    reading: Mapping[str, Any] | None = None,
) -> EvaluationData:
    """Reads a source of studies for evaluation.

    Args:
        source (`str`): anything `priorrg_hf.data.load_studies` reads; `reading` has further arguments of it (`format`, `columns`, ...).
        split (`str`, *optional*, defaults to `"test"`): a split; `None` takes all.
        views (`str`, *optional*): family of the current images, `"frontal"` or `"lateral"`; by default all.
        limit (`int`, *optional*): only the first so many examples.
        require_findings (`bool`, defaults to `False`): leave out studies without a reference.
        strict (`bool`, defaults to `False`): raise at the first study that can't be used.

    Raises:
        `ValueError`: the source has no such split, or nothing is left.
    """
    from datasets import concatenate_datasets

    from ..data import as_examples, load_studies

    studies = load_studies(source, strict=strict, **(reading or {}))
    if split is not None and split not in studies:
        raise ValueError(
            f"{source} has no split {split!r}; it has {', '.join(studies)}. Name one with --split, or 'all'."
        )
    chosen = concatenate_datasets(list(studies.values()) if split is None else [studies[split]])
    examples = as_examples(chosen, include_views=views, require_findings=require_findings)
    if limit is not None:
        examples = examples.select(range(min(limit, len(examples))))
    check_unique(examples["example_id"], source)
    if not len(examples):
        raise ValueError(f"{source} gives no study to evaluate (split {split or 'all'}, views {views or 'all'})")
    texts = [text for name in ("example_id", "findings", "indication", "history") for text in examples[name]]
    return EvaluationData(
        examples, chosen, _days_before(chosen), _labels(chosen), str(source), text_fingerprint(texts)
    )


def check_unique(names: Sequence[Any], source: str | os.PathLike) -> None:
    """Raises `ValueError` naming example ids that are there twice: results are found by id."""
    double = sorted(name for name, count in Counter(map(str, names)).items() if count > 1)
    if double:
        raise ValueError(
            f"{source}: {len(double)} example ids are there twice, e.g. {', '.join(double[:3])}; give every example an id of its own"
        )


def _days_before(studies: "Dataset") -> dict[str, float]:
    if "prior" not in studies.column_names:
        return {}
    light = studies.select_columns(["study_id", "acquired", "prior"])
    return {
        row["study_id"]: days for row in light if (days := _days(row)) is not None
    }  # fmt: skip


def _days(row: Mapping[str, Any]) -> float | None:
    prior = row.get("prior")
    if prior is None:
        return None
    if prior.get("days_before") is not None:
        return float(prior["days_before"])
    if row.get("acquired") and prior.get("acquired"):
        from ..data.schema import parse_time

        return (parse_time(row["acquired"])[0] - parse_time(prior["acquired"])[0]) / 86400.0
    return None


def _labels(studies: "Dataset") -> dict[str, dict[str, float]]:
    if "labels" not in studies.column_names:
        return {}
    light = studies.select_columns(["study_id", "labels"])
    return {
        row["study_id"]: {entry["name"]: entry["value"] for entry in row["labels"]} for row in light if row["labels"]
    }


def with_days(rows: Sequence[ReportRow], days_before: Mapping[str, float]) -> list[ReportRow]:
    """The rows with the days from their priors, for subsets by time gap."""
    return [
        dataclasses.replace(row, days_before=days_before.get(row.study_id or "")) if row.has_prior and row.days_before is None else row
        for row in rows
    ]  # fmt: skip


def evaluate_model(
    model: str | os.PathLike,
    data: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    split: str | None = "test",
    views: str | None = None,
    limit: int | None = None,
    reading: Mapping[str, Any] | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    device: str | None = None,
    dtype: str = "float32",
    strict: bool = False,
    resume: bool = True,
    on_mismatch: str = "refuse",
    overwrite: bool = False,
    generation: Mapping[str, Any] | None = None,
    against: str | os.PathLike | None = None,
    name: str | None = None,
    progress: bool = True,
    **scoring,
) -> Evaluation:
    """Writes reports for a split (`reports.jsonl`, resumable) and evaluates them.

    Args:
        model (`str`): folder or Hub id.
        data, split, views, limit, reading: studies, see [`load_evaluation_data`].
        output_dir (`str`): for the reports and the card.
        batch_size, num_workers, device, dtype, strict, resume, on_mismatch, generation: see [`generate_reports`].
        overwrite (`bool`, defaults to `False`): replace files of the folder that are none of ours.
        against (`str`, *optional*): reports of another system.
        **scoring: see [`evaluate_reports`].
    """
    from .loading import load_for_generation

    output = Path(output_dir)
    studies = load_evaluation_data(data, split=split, views=views, limit=limit, strict=strict, reading=reading)
    sources = [source for source in (data, model, against) if source is not None]
    with claimed(output, "evaluation", CARD_FILES, "priorrg evaluate", sources=sources, overwrite=overwrite):
        loaded, processor = load_for_generation(model, device=device, dtype=dtype)
        summary = generate_reports(
            loaded, processor, studies.examples, output / "reports.jsonl", batch_size=batch_size, num_workers=num_workers,
            strict=strict, resume=resume, progress=progress, on_mismatch=on_mismatch, sources=sources, overwrite=overwrite,
            **(generation or {}),
        )  # fmt: skip
        if not summary.generated and not summary.resumed:
            raise ValueError(f"no study could be read: {next(iter(summary.skipped.items()), 'there are none')}")
        return evaluate_reports(
            with_days(read_reports(summary.output), studies.days_before),
            output,
            name=name or Path(model).name,
            against=read_reports(against) if against is not None else None,
            against_name=Path(against).name if against is not None else "",
            examples=studies.by_id(),
            dataset=Path(data).name or str(data),
            split=split or "all",
            skipped=len(summary.skipped),
            fingerprints={
                "model": summary.info["model_fingerprint"],
                "generation": summary.info["fingerprint"],
                "data": studies.fingerprint,
            },
            **scoring,
        )


def evaluate_file(
    path: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    processor: Any = None,
    against: str | os.PathLike | None = None,
    name: str | None = None,
    overwrite: bool = False,
    **scoring,
) -> Evaluation:
    """Evaluates a file of generated reports.

    Args:
        path (`str`): see `read_reports`.
        columns (mapping, *optional*): field -> column name.
        processor (`str` or [`PriorRGProcessor`], *optional*): cuts the references as the model would, where the file does not have that.
        against (`str`, *optional*): reports of another system, read with the same `columns` where it has them.
        overwrite (`bool`, defaults to `False`): replace files of the folder that are none of ours.
        **scoring: see [`evaluate_reports`].
    """
    rows = read_reports(path, columns=columns)
    settings = {"source": Path(path).name}
    if processor is not None:
        if isinstance(processor, (str, os.PathLike)):
            from ..model.processing_priorrg import PriorRGProcessor

            processor = PriorRGProcessor.from_pretrained(processor)
        cut = cut_references(processor, [row.reference for row in rows])
        rows = [dataclasses.replace(row, reference_cut=text) for row, text in zip(rows, cut, strict=True)]
        settings["report_length"] = processor.max_report_length
    other = None
    if against is not None:
        try:
            other = read_reports(against, columns=columns)
        except ValueError:
            other = read_reports(against)
    sources = [source for source in (path, against) if source is not None]
    with claimed(output_dir, "evaluation", CARD_FILES, "priorrg evaluate", sources=sources, overwrite=overwrite):
        return evaluate_reports(
            rows,
            output_dir,
            name=name or Path(path).stem,
            against=other,
            against_name=Path(against).name if against is not None else "",
            fingerprints={"settings": settings_fingerprint(settings)},
            **scoring,
        )


__all__ = ["EvaluationData", "evaluate_file", "evaluate_model", "load_evaluation_data", "with_days"]
