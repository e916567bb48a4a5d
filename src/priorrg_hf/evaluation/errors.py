"""Where generated reports go wrong: finding by finding, hallucinations, confusions of severity and change, the worst studies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..metrics.bootstrap import bootstrap_intervals
from ..metrics.reading import CHANGES, GRADES, Statement, has_comparison, read_report
from ..metrics.repetition import repetition_scores, repetition_statistics
from ..metrics.statistics import ReportStatistics, precision_recall_f1
from ..metrics.temporal import changes_of, direction_reversals, present_sites, severities_of
from ..metrics.text_metrics import rouge_l_statistics
from .report_file import ReportRow
from .scoring import patient_groups, subset_masks


NOT_SAID = "not said"
FINDING_SCORES = ("precision", "recall", "f1")


def finding_statistics(predictions: Sequence[str], references: Sequence[str]) -> tuple[list[str], ReportStatistics]:
    """Findings, the most frequent in the references first, and summable counts of their presence, sides counted apart.

    Scores are named `"pleural_effusion:precision"`, `":recall"` and `":f1"`; the counts of a finding are hits, predicted, expected.
    """
    places: dict[str, int] = {}
    counted: list[tuple[int, int, int]] = []  # (report, finding, column)
    for report, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        said, true = present_sites(prediction), present_sites(reference)
        for column, sites in enumerate((said & true, said, true)):
            for site in sites:
                counted.append((report, places.setdefault(site.partition(":")[0], len(places)), column))
    counts = np.zeros((len(predictions), max(1, len(places)), 3))
    if counted:
        np.add.at(counts, tuple(np.array(counted).T), 1)
    total = counts.sum(axis=0)
    findings = sorted(places, key=lambda name: (-total[places[name], 2], -total[places[name], 1], name))
    summable = counts[:, [places[name] for name in findings]].reshape(len(predictions), -1)

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        scores = {}
        for index, name in enumerate(findings):
            parts = precision_recall_f1(*(sums[..., 3 * index + column] for column in range(3)))
            scores.update({f"{name}:{what}": part for what, part in zip(FINDING_SCORES, parts, strict=True)})
        return scores

    columns = [f"{name}:{what}" for name in findings for what in ("hits", "predicted", "expected")]
    return findings, ReportStatistics(summable, score, {}, columns)


def finding_scores(
    predictions: Sequence[str], references: Sequence[str], bootstrap: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 of presence by finding, sides counted apart; `n` and `predicted` are how often the references and the
    predictions have it.

    `bootstrap` holds arguments of `bootstrap_intervals`; with it each entry has `intervals`: `{"precision": (low, high), ...}`.
    """
    findings, statistics = finding_statistics(predictions, references)
    scores = statistics.corpus()
    total = dict(zip(statistics.columns, statistics.values.sum(axis=0), strict=True))
    drawn = bootstrap_intervals(statistics, **bootstrap) if bootstrap is not None and findings else {}
    table = {}
    for name in findings:
        entry: dict[str, Any] = {"n": int(total[f"{name}:expected"]), "predicted": int(total[f"{name}:predicted"])}
        entry.update({what: scores[f"{name}:{what}"] for what in FINDING_SCORES})
        if drawn:
            intervals = {what: drawn[f"{name}:{what}"] for what in FINDING_SCORES}
            entry["intervals"] = {what: (interval.low, interval.high) for what, interval in intervals.items()}
        table[name] = entry
    return table


def _confusion(pairs: Counter, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "labels": list(labels),
        "rows_are": "reference",
        "matrix": [[pairs[(true, said)] for said in labels] for true in labels],
    }


def severity_confusion(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """How a reference's severity comes out in the prediction, over findings that both call present."""
    pairs: Counter = Counter()
    for prediction, reference in zip(predictions, references, strict=True):
        said, true = severities_of(prediction), severities_of(reference)
        for site in present_sites(prediction) & present_sites(reference):
            if site in said or site in true:
                pairs[(true.get(site, NOT_SAID), said.get(site, NOT_SAID))] += 1
    return _confusion(pairs, (*GRADES, NOT_SAID))


def change_confusion(
    predictions: Sequence[str], references: Sequence[str], has_prior: Sequence[bool | None] | None = None
) -> dict[str, Any]:
    """How a reference's change comes out in the prediction, over sites with a change in either; studies without a prior left out."""
    pairs: Counter = Counter()
    priors = has_prior if has_prior is not None else [None] * len(predictions)
    for prediction, reference, prior in zip(predictions, references, priors, strict=True):
        if prior is False:
            continue
        said, true = changes_of(prediction), changes_of(reference)
        for site in said.keys() | true.keys():
            pairs[(true.get(site, NOT_SAID), said.get(site, NOT_SAID))] += 1
    return _confusion(pairs, (*CHANGES, NOT_SAID))


@dataclass
class StudyErrors:
    """What is wrong with one report.

    Args:
        row (`ReportRow`): the report.
        score (`float`): F1 over all facts (presence, severity, change), 1 when neither report states any.
        rouge_l (`float`): of the report.
        hallucinated, omitted (`list[str]`): sites present in the prediction but not in the reference, and the other way round.
        severity, change (`dict`): site -> (reference, prediction), where they differ.
        reversed (`list[str]`): sites with opposite directions of change.
        unsupported (`bool`): compares although the model had no prior.
    """

    row: ReportRow
    score: float
    rouge_l: float
    hallucinated: list[str] = field(default_factory=list)
    omitted: list[str] = field(default_factory=list)
    severity: dict[str, tuple[str, str]] = field(default_factory=dict)
    change: dict[str, tuple[str, str]] = field(default_factory=dict)
    reversed: list[str] = field(default_factory=list)
    unsupported: bool = False


def _differing(true: dict[str, str], said: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {
        site: (true.get(site, NOT_SAID), said.get(site, NOT_SAID))
        for site in sorted(true.keys() | said.keys())
        if true.get(site) != said.get(site)
    }


def _facts(text: str) -> set[tuple[str, ...]]:
    facts: set[tuple[str, ...]] = {("present", site) for site in present_sites(text)}
    facts |= {("severity", site, level) for site, level in severities_of(text).items()}
    return facts | {("change", site, change) for site, change in changes_of(text).items()}


def study_errors(rows: Sequence[ReportRow]) -> list[StudyErrors]:
    """The errors of each report that has a reference, in the order of `rows`."""
    pairs = [(row, row.reference) for row in rows if row.reference is not None]
    if not pairs:
        return []
    rouge = rouge_l_statistics([row.prediction for row, _ in pairs], [text for _, text in pairs]).per_report["rouge_l"]
    result = []
    for (row, reference), overlap in zip(pairs, rouge, strict=True):
        said, true = _facts(row.prediction), _facts(reference)
        score = 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0
        present_said, present_true = present_sites(row.prediction), present_sites(reference)
        severity = _differing(severities_of(reference), severities_of(row.prediction))
        both = present_said & present_true
        result.append(
            StudyErrors(
                row,
                score,
                float(overlap),
                sorted(present_said - present_true),
                sorted(present_true - present_said),
                {site: pair for site, pair in severity.items() if site in both},
                _differing(changes_of(reference), changes_of(row.prediction)),
                sorted(site for site, _, _ in direction_reversals(row.prediction, reference)),
                row.has_prior is False and has_comparison(row.prediction),
            )
        )
    return result


def worst_studies(errors: Sequence[StudyErrors], count: int = 20) -> list[StudyErrors]:
    """The studies with the lowest F1 over facts; among equals those with more wrong facts, then with lower ROUGE-L."""

    def badness(item: StudyErrors):
        wrong = len(item.hallucinated) + len(item.omitted) + len(item.severity) + len(item.change)
        return (item.score, -wrong, item.rouge_l, item.row.example_id)

    return sorted(errors, key=badness)[:count]


def _by_site(errors: Sequence[StudyErrors], name: str) -> dict[str, Any]:
    sites = Counter(site for item in errors for site in getattr(item, name))
    studies = [
        {"example_id": item.row.example_id, "sites": getattr(item, name)} for item in errors if getattr(item, name)
    ]
    return {"counts": dict(sites.most_common()), "studies": studies}


def repetition_and_length(rows: Sequence[ReportRow], bootstrap: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`{"scores": ..., "intervals": {name: (low, high)}}` of [`repetition_scores`]; those that no resample can give have no interval."""
    predictions, references = [row.prediction for row in rows], [row.reference or "" for row in rows]
    result: dict[str, Any] = {"scores": repetition_scores(predictions, references), "intervals": {}}
    if bootstrap is not None:
        drawn = bootstrap_intervals(repetition_statistics(predictions, references), **bootstrap)
        result["intervals"] = {name: (interval.low, interval.high) for name, interval in drawn.items()}
    return result


def _analysis(errors: Sequence[StudyErrors], settings: Mapping[str, Any] | None) -> dict[str, Any]:
    rows = [item.row for item in errors]
    bootstrap = None if settings is None else {**settings, "groups": patient_groups(rows)}
    predictions, references = [row.prediction for row in rows], [row.reference or "" for row in rows]
    return {
        "findings": finding_scores(predictions, references, bootstrap),
        "hallucinations": _by_site(errors, "hallucinated"),
        "omissions": _by_site(errors, "omitted"),
        "severity_confusion": severity_confusion(predictions, references),
        "change_confusion": change_confusion(predictions, references, [row.has_prior for row in rows]),
        "direction_reversals": _by_site(errors, "reversed"),
        "unsupported_comparisons": [item.row.example_id for item in errors if item.unsupported],
        "repetition": repetition_and_length(rows, bootstrap),
    }


def error_analysis(rows: Sequence[ReportRow], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tables of errors over all reports with a reference, and over each subset of them; JSON-serialisable.

    Args:
        rows (sequence of [`ReportRow`]): the reports.
        settings (mapping, *optional*): `replicates`, `confidence` and `seed` of the bootstrap; without it there are no intervals.

    Returns:
        `dict` with `findings` (precision, recall, F1 by finding), `hallucinations` and `omissions` (count by site, and the studies),
        `severity_confusion`, `change_confusion`, `direction_reversals`, `unsupported_comparisons` (the studies), `repetition` (with
        lengths), and `subsets`: the same by name of a subset (with and without prior and context, view, time gap), with `n` and with
        counts of studies in place of the lists, which are those of the whole.
    """
    errors = study_errors(rows)
    subsets = {}
    for name, mask in subset_masks([item.row for item in errors]).items():
        part = [item for item, kept in zip(errors, mask, strict=True) if kept]
        found = _analysis(part, settings)
        for listed in ("hallucinations", "omissions", "direction_reversals"):
            found[listed]["studies"] = len(found[listed]["studies"])
        found["unsupported_comparisons"] = len(found["unsupported_comparisons"])
        subsets[name] = {"n": len(part), **found}
    return {**_analysis(errors, settings), "subsets": subsets}


def differing_statements(text: str, other: str) -> list[Statement]:
    """Statements of `text` that `other` does not make, for highlighting."""
    known = {(site, s.presence, s.grade, s.change) for s in read_report(other) for site in s.sites}
    present = present_sites(other)
    said_sites = {site for s in read_report(other) for site in s.sites}
    result = []
    for statement in read_report(text):
        if all((site, statement.presence, statement.grade, statement.change) in known for site in statement.sites):
            continue
        # A denial of what the other does not mention is no difference.
        if statement.presence == "absent" and statement.change is None and not present & set(statement.sites):
            continue
        if statement.presence is None and statement.change is None and not said_sites & set(statement.sites):
            continue
        result.append(statement)
    return result


__all__ = [
    "FINDING_SCORES",
    "NOT_SAID",
    "StudyErrors",
    "change_confusion",
    "differing_statements",
    "error_analysis",
    "finding_scores",
    "finding_statistics",
    "repetition_and_length",
    "severity_confusion",
    "study_errors",
    "worst_studies",
]
