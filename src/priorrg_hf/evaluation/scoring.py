"""Scores with intervals of a list of generated reports: both reference protocols, subsets, paired comparison of two systems."""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..metrics.bootstrap import Interval, PairedDifference, bootstrap_intervals, paired_test
from ..metrics.chexpert14 import chexpert14_statistics
from ..metrics.meteor_java import meteor_statistics, meteor_unavailable_reason
from ..metrics.statistics import ReportStatistics, joined
from ..metrics.temporal import temporal_statistics
from ..metrics.text_metrics import TEXT_METRICS, prepare_text, text_overlap_statistics
from .report_file import ReportRow


logger = logging.getLogger(__name__)

FULL, CUT = "full", "cut"
PROTOCOLS = {
    FULL: "references in full length",
    CUT: "references cut at the model's report length, as published scores are computed",
}
# What these are counted on depends on which studies the writer was shown a prior of.
SCORES_BY_PRIOR = (
    "change_precision", "change_recall", "change_f1", "direction_reversals", "unsupported_comparisons",
    "unsupported_comparisons_in_references",
)  # fmt: skip
# (name, smallest, largest) days from the prior to the study.
TIME_GAPS = (
    ("up to 2 days", -math.inf, 2),
    ("2 to 14 days", 2, 14),
    ("14 to 90 days", 14, 90),
    ("over 90 days", 90, math.inf),
)


@dataclass
class ScoredReports:
    """Statistics and intervals of one system under each protocol.

    Args:
        rows (`list[ReportRow]`): the reports that have a reference.
        without_reference (`int`): how many were left out because they have none.
        statistics (`dict[str, ReportStatistics]`): by protocol; per-report scores are in `statistics[protocol].per_report`.
        scores (`dict[str, dict[str, Interval]]`): protocol -> score -> interval; intervals are `nan` for scores that cannot be resampled.
        no_interval (`dict[str, dict[str, str]]`): protocol -> score -> why it has no interval.
        resampled (`str`): `"patients"` or `"reports"`.
        settings (`dict`): replicates, confidence, seed.
        notes (`list[str]`): what was skipped and why.
    """

    rows: list[ReportRow]
    without_reference: int
    statistics: dict[str, ReportStatistics]
    scores: dict[str, dict[str, Interval]]
    resampled: str
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    no_interval: dict[str, dict[str, str]] = field(default_factory=dict)


def references_of(rows: Sequence[ReportRow], protocol: str) -> list[str]:
    """The references under a protocol. Raises `ValueError` when they were not cut."""
    if protocol == FULL:
        return [row.reference or "" for row in rows]
    missing = [row.example_id for row in rows if row.reference_cut is None]
    if missing:
        raise ValueError(
            f"{len(missing)} reports have no cut reference, e.g. {missing[0]!r}; name a processor to cut them"
        )
    return [row.reference_cut or "" for row in rows]


def patient_groups(rows: Sequence[ReportRow]) -> list[str] | None:
    """Patient ids for resampling, where every report has one and they are not all different."""
    ids = [row.patient_id for row in rows if row.patient_id is not None]
    if len(ids) < len(rows) or len(set(ids)) == 1:
        return None
    return ids


def report_statistics(
    rows: Sequence[ReportRow],
    protocols: Sequence[str] = (FULL,),
    *,
    metrics: Sequence[str] = TEXT_METRICS,
    notes: list[str] | None = None,
) -> dict[str, ReportStatistics]:
    """Summable statistics by protocol: text overlap, and from the full reference change, presence (also of 14 classes) and attributes.

    METEOR, the slow one, is asked once for the pairs of all protocols: where nothing was cut, they are the same.
    """
    predictions = [prepare_text(row.prediction) for row in rows]
    references = {protocol: [prepare_text(text) for text in references_of(rows, protocol)] for protocol in protocols}
    has_prior = [row.has_prior for row in rows]
    reason = meteor_unavailable_reason() if "meteor" in metrics else None
    if reason is not None and notes is not None:
        notes.append(f"METEOR is skipped. {reason}")
    with ThreadPoolExecutor(1) as pool:
        meteor = None
        if "meteor" in metrics and reason is None:
            every = [text for protocol in protocols for text in references[protocol]]
            meteor = pool.submit(meteor_statistics, predictions * len(protocols), every)
        others = [name for name in metrics if name != "meteor"]
        result, temporal = {}, None
        for protocol in protocols:
            parts = (
                [text_overlap_statistics(predictions, references[protocol], metrics=others, prepare=False)]
                if others
                else []
            )
            result[protocol] = parts
        if FULL in protocols:
            raw = references_of(rows, FULL)
            temporal = temporal_statistics([row.prediction for row in rows], raw, has_prior)
            result[FULL] += [temporal, chexpert14_statistics([row.prediction for row in rows], raw)]
        whole = None
        if meteor is not None:
            try:
                whole = meteor.result()
            except RuntimeError as error:
                # Too long a report, or the program failed: the other scores are none the worse for it.
                logger.warning("METEOR is skipped. %s", error)
                if notes is not None:
                    notes.append(f"METEOR is skipped. {error}")
        if whole is not None:
            for index, protocol in enumerate(protocols):
                part = slice(index * len(rows), (index + 1) * len(rows))
                per_report = {name: values[part] for name, values in whole.per_report.items()}
                # Among the text scores, before those of change.
                statistics = ReportStatistics(whole.values[part], whole.score, per_report, whole.columns)
                result[protocol].insert(1 if others else 0, statistics)
    return {protocol: joined(parts) for protocol, parts in result.items()}


def score_reports(
    rows: Sequence[ReportRow],
    *,
    protocols: Sequence[str] | None = None,
    metrics: Sequence[str] = TEXT_METRICS,
    clinical: Sequence[str] = (),
    scorers: Mapping[str, Any] | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ScoredReports:
    """Scores reports with bootstrap intervals.

    Args:
        rows (sequence of [`ReportRow`]): those without reference are left out and counted.
        protocols (sequence of `str`, *optional*): `"full"`, `"cut"`; by default both where cut references are there.
        metrics (sequence of `str`): text metrics.
        clinical (sequence of `str`): clinical scorers, see `priorrg_hf.metrics.clinical`; scored on full references.
        scorers (mapping, *optional*): clinical scorers that are loaded already, by name.
        replicates, confidence, seed: of the bootstrap; patients are drawn where their ids are known, else reports.

    Raises:
        `ValueError`: no report has a reference.
    """
    with_reference = [row for row in rows if row.reference is not None]
    if not with_reference:
        raise ValueError("no report has a reference: there is nothing to score")
    notes: list[str] = []
    if protocols is None:
        protocols = (FULL, CUT) if all(row.reference_cut is not None for row in with_reference) else (FULL,)
        if CUT not in protocols:
            notes.append(
                "Scored on full references only: the reports file has no references cut by the model's tokenizer. "
                "Name the model's processor (--processor) to get the published protocol too."
            )
    if all(row.has_prior is None for row in with_reference):
        notes.append(
            "Which studies have a prior is not known (column has_prior): changes are scored on all of them, and comparisons without a "
            "prior are not counted."
        )
    statistics = report_statistics(with_reference, protocols, metrics=metrics, notes=notes)
    groups = patient_groups(with_reference)
    settings: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}
    corpus_only: dict[str, float] = {}
    only_corpus = "the scorer gives a value of all reports, and nothing of single ones that could be resampled"
    if FULL in statistics:
        statistics[FULL], corpus_only = _with_clinical(statistics[FULL], with_reference, clinical, scorers)
    scores = {protocol: bootstrap_intervals(part, groups=groups, **settings) for protocol, part in statistics.items()}
    for name, value in corpus_only.items():
        scores[FULL][name] = Interval(value, math.nan, math.nan)
    units = len(with_reference) if groups is None else len(set(groups))
    reasons = {
        protocol: {
            name: only_corpus if name in corpus_only and protocol == FULL else why
            for name, entry in entries.items()
            if (why := reason_without_interval(entry, units)) is not None
        }
        for protocol, entries in scores.items()
    }
    return ScoredReports(
        with_reference, len(rows) - len(with_reference), statistics, scores, "reports" if groups is None else "patients",
        settings, notes, reasons,
    )  # fmt: skip


def _with_clinical(
    statistics: ReportStatistics, rows: Sequence[ReportRow], clinical: Sequence[str], scorers: Mapping[str, Any] | None
) -> tuple[ReportStatistics, dict[str, float]]:
    """The statistics joined by those of clinical scorers on full references, and the clinical scores that have none."""
    if not clinical:
        return statistics, {}
    from ..metrics.clinical import clinical_statistics

    predictions, references = [row.prediction for row in rows], references_of(rows, FULL)
    part, corpus_only = clinical_statistics(predictions, references, metrics=clinical, scorers=scorers)
    return (statistics if part is None else joined([statistics, part])), corpus_only


def reason_without_interval(entry: Interval, units: int) -> str | None:
    """Why a score has no interval worth the name, or `None` where it has one. `units` is how many reports or patients are drawn from."""
    if not math.isfinite(entry.value):
        return "nothing to score"
    if not math.isfinite(entry.low):
        return "no resample had anything to score"
    if units == 1:
        return "one report alone: every resample is the same"
    return None


def subset_masks(rows: Sequence[ReportRow]) -> dict[str, np.ndarray]:
    """Subsets worth telling apart, by name; those that are empty or everything are left out."""
    masks = {
        "with prior": [row.has_prior is True for row in rows],
        "without prior": [row.has_prior is False for row in rows],
        "with context": [row.has_context is True for row in rows],
        "without context": [row.has_context is False for row in rows],
    }
    for view in sorted({row.view_position for row in rows if row.view_position}):
        masks[f"view {view}"] = [row.view_position == view for row in rows]
    for name, low, high in TIME_GAPS:
        masks[f"prior {name} before"] = [row.days_before is not None and low < row.days_before <= high for row in rows]
    arrays = {name: np.array(mask, dtype=bool) for name, mask in masks.items()}
    return {name: mask for name, mask in arrays.items() if 0 < mask.sum() < len(rows)}


def subset_scores(scored: ScoredReports, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`{subset: {"n": count, "scores": {name: Interval}}}` of some scores on full references.

    CIDEr's document frequencies stay those of the whole set, so that subsets are comparable with it.
    """
    statistics = scored.statistics[FULL]
    groups = patient_groups(scored.rows)
    result = {}
    for subset, mask in subset_masks(scored.rows).items():
        part = ReportStatistics(statistics.values[mask], statistics.score)
        ids = [group for group, kept in zip(groups, mask, strict=True) if kept] if groups is not None else None
        intervals = bootstrap_intervals(part, groups=ids, **scored.settings)
        result[subset] = {
            "n": int(mask.sum()),
            "scores": {name: intervals[name] for name in names if name in intervals},
        }
    return result


def compare_systems(
    first: Sequence[ReportRow],
    second: Sequence[ReportRow],
    *,
    metrics: Sequence[str] = TEXT_METRICS,
    clinical: Sequence[str] = (),
    scorers: Mapping[str, Any] | None = None,
    **settings,
) -> dict[str, Any]:
    """Paired test of two systems on the studies that both reported; arguments as in [`score_reports`].

    Returns:
        `{"n": studies compared, "only_in_first": count, "only_in_second": count, "protocol": name, "scores": {name:
        PairedDifference}, "notes": what was left out and why}`. The protocol is `"full"`. Where the systems were not shown priors of the same
        studies, scores that are counted by it (`SCORES_BY_PRIOR`) are left out.

    Raises:
        `ValueError`: no study in common, or different references for one study.
    """
    other = {row.example_id: row for row in second if row.reference is not None}
    mine = {row.example_id: row for row in first if row.reference is not None}
    common = [name for name in mine if name in other]
    if not common:
        raise ValueError(
            "the two systems have no study in common: example ids do not match "
            f"({', '.join(map(repr, list(mine)[:1] + list(other)[:1])) or 'no row has a reference'})"
        )
    swapped = [
        name for name in common if None not in (a := {mine[name].study_id, other[name].study_id}) and len(a) > 1
    ]
    if swapped:
        raise ValueError(
            f"{len(swapped)} rows are of different studies in the two files, e.g. {swapped[0]!r} is study "
            f"{mine[swapped[0]].study_id!r} and {other[swapped[0]].study_id!r}: give both files the same example ids"
        )
    unlike = [
        name
        for name in common
        if prepare_text(mine[name].reference or "").split() != prepare_text(other[name].reference or "").split()
    ]
    if unlike:
        raise ValueError(
            f"{len(unlike)} studies have different references in the two files, e.g. {unlike[0]!r}: these are different test sets"
        )
    one, two = [mine[name] for name in common], [other[name] for name in common]
    notes: list[str] = []
    statistics = [
        _with_clinical(report_statistics(rows, (FULL,), metrics=metrics, notes=notes)[FULL], rows, clinical, scorers)[
            0
        ]
        for rows in (one, two)
    ]
    differences: dict[str, PairedDifference] = paired_test(*statistics, groups=patient_groups(one), **settings)
    told = sum(a.has_prior is not b.has_prior for a, b in zip(one, two, strict=True))
    if told:
        differences = {name: entry for name, entry in differences.items() if name not in SCORES_BY_PRIOR}
        notes.append(
            f"Changes and comparisons without a prior are not compared: of {told} studies the two systems differ in whether they were "
            "shown a prior (has_prior), so each would be scored on studies of its own."
        )
    if len(common) < len(mine) or len(common) < len(other):
        warnings.warn(f"compared on the {len(common)} studies that both systems reported", stacklevel=2)
    return {
        "n": len(common),
        "only_in_first": len(mine) - len(common),
        "only_in_second": len(other) - len(common),
        "protocol": FULL,
        "scores": differences,
        "notes": notes,
    }


__all__ = [
    "CUT",
    "FULL",
    "PROTOCOLS",
    "ScoredReports",
    "compare_systems",
    "patient_groups",
    "report_statistics",
    "score_reports",
    "subset_masks",
    "subset_scores",
]
