"""Where generated reports go wrong: finding by finding, hallucinations, confusions of severity and change, the worst studies."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..metrics.report_lexicon import CHANGES, SEVERITIES
from ..metrics.report_reader import Statement, has_comparison, read_report
from ..metrics.statistics import precision_recall_f1
from ..metrics.temporal import changes_of, direction_reversals, present_sites, severities_of
from ..metrics.text_metrics import rouge_l_statistics
from .report_file import ReportRow


NOT_SAID = "not said"


def finding_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of presence by finding, sides counted apart; `n` is how often the references have it."""
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for prediction, reference in zip(predictions, references, strict=True):
        said, true = present_sites(prediction), present_sites(reference)
        for place, sites in enumerate((said & true, said, true)):
            for site in sites:
                counts[site.partition(":")[0]][place] += 1
    table = {}
    for finding, (hits, predicted, expected) in sorted(counts.items(), key=lambda item: -item[1][2]):
        precision, recall, f1 = (float(x) for x in precision_recall_f1(hits, predicted, expected))
        table[finding] = {
            "n": int(expected), "predicted": int(predicted), "precision": precision, "recall": recall, "f1": f1,
        }  # fmt: skip
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
    return _confusion(pairs, (*SEVERITIES, NOT_SAID))


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
    rows = [row for row in rows if row.reference is not None]
    if not rows:
        return []
    rouge = rouge_l_statistics([row.prediction for row in rows], [row.reference for row in rows]).per_report["rouge_l"]
    result = []
    for row, overlap in zip(rows, rouge, strict=True):
        said, true = _facts(row.prediction), _facts(row.reference)
        score = 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0
        present_said, present_true = present_sites(row.prediction), present_sites(row.reference)
        severity = _differing(severities_of(row.reference), severities_of(row.prediction))
        both = present_said & present_true
        result.append(
            StudyErrors(
                row,
                score,
                float(overlap),
                sorted(present_said - present_true),
                sorted(present_true - present_said),
                {site: pair for site, pair in severity.items() if site in both},
                _differing(changes_of(row.reference), changes_of(row.prediction)),
                sorted(site for site, _, _ in direction_reversals(row.prediction, row.reference)),
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


def error_analysis(rows: Sequence[ReportRow]) -> dict[str, Any]:
    """Tables of errors over all reports with a reference; JSON-serialisable.

    Returns:
        `dict` with `findings` (precision, recall, F1 by finding), `hallucinations` and `omissions` (count by site, and the studies),
        `severity_confusion`, `change_confusion`, `direction_reversals`, `unsupported_comparisons` (the studies).
    """
    rows = [row for row in rows if row.reference is not None]
    predictions, references = [row.prediction for row in rows], [row.reference for row in rows]
    errors = study_errors(rows)

    def by_site(name: str) -> dict[str, Any]:
        sites = Counter(site for item in errors for site in getattr(item, name))
        studies = [
            {"example_id": item.row.example_id, "sites": getattr(item, name)} for item in errors if getattr(item, name)
        ]
        return {"counts": dict(sites.most_common()), "studies": studies}

    return {
        "findings": finding_scores(predictions, references),
        "hallucinations": by_site("hallucinated"),
        "omissions": by_site("omitted"),
        "severity_confusion": severity_confusion(predictions, references),
        "change_confusion": change_confusion(predictions, references, [row.has_prior for row in rows]),
        "direction_reversals": by_site("reversed"),
        "unsupported_comparisons": [item.row.example_id for item in errors if item.unsupported],
    }


def differing_statements(text: str, other: str) -> list[Statement]:
    """Statements of `text` that `other` does not make, for highlighting."""
    known = {(s.site, s.status, s.severity, s.change) for s in read_report(other)}
    present = present_sites(other)
    said_sites = {s.site for s in read_report(other)}
    result = []
    for statement in read_report(text):
        if (statement.site, statement.status, statement.severity, statement.change) in known:
            continue
        # A denial of what the other does not mention is no difference.
        if statement.status == "absent" and statement.change is None and statement.site not in present:
            continue
        if statement.status is None and statement.change is None and statement.site not in said_sites:
            continue
        result.append(statement)
    return result


__all__ = [
    "NOT_SAID",
    "StudyErrors",
    "change_confusion",
    "differing_statements",
    "error_analysis",
    "finding_scores",
    "severity_confusion",
    "study_errors",
    "worst_studies",
]
