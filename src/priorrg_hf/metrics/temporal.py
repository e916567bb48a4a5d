"""Change over time, presence and attributes: what two reports say, finding by finding and side by side.

BLEU hardly notices whether an effusion is called larger or smaller. These scores do: statements are read from prediction and reference
by rules (`priorrg_hf.metrics.reading`) and compared as sets of (finding, side, change), (finding, side) present, and (finding, side,
severity). A bilateral finding counts as a left and a right one; severities are compared on four grades (a small effusion is a mild one).
The exact definition is in `docs/temporal-metric.md`.
"""

from collections.abc import Sequence

import numpy as np

from .reading import CHANGES, GRADES, Statement, has_comparison, read_report
from .statistics import ReportStatistics, check_pairs, precision_recall_f1, safe_ratio


DIRECTION = {"new": 1, "increased": 1, "decreased": -1, "resolved": -1, "unchanged": 0}


def changes_of(text: str) -> dict[str, str]:
    """Change by site (`"pleural_effusion:left"`); where a report says two things of one site, the later one."""
    return {site: s.change for s in read_report(text) if s.change is not None for site in s.sites}


def present_sites(text: str) -> set[str]:
    """Sites that a report calls present, and not elsewhere absent. Uncertain ones are not among them."""
    return {site for s in read_report(text) if s.presence == "present" for site in s.sites}


def severities_of(text: str) -> dict[str, str]:
    """Severity by site on the scale of four (`GRADES`), of findings that are not denied."""
    return {
        site: s.grade for s in read_report(text) if s.grade is not None and s.presence != "absent" for site in s.sites
    }


def direction_reversals(prediction: str, reference: str) -> list[tuple[str, str, str]]:
    """Sites called better in one report and worse in the other: `(site, predicted change, true change)`."""
    said, true = changes_of(prediction), changes_of(reference)
    return [
        (site, said[site], true[site])
        for site in said.keys() & true.keys()
        if DIRECTION[said[site]] * DIRECTION[true[site]] < 0
    ]


def _overlap(predicted: set, expected: set) -> list[int]:
    return [len(predicted & expected), len(predicted), len(expected)]


def _attribute_counts(prediction: str, reference: str) -> list[int]:
    """Of the reference's severities whose site the prediction mentions too: kept, dropped, altered."""
    said, true = severities_of(prediction), severities_of(reference)
    mentioned = {site for s in read_report(prediction) if s.presence in ("present", "uncertain") for site in s.sites}
    counts = [0, 0, 0]
    for site, level in true.items():
        if site in mentioned:
            counts[0 if said.get(site) == level else 1 if site not in said else 2] += 1
    return counts


COLUMNS = (
    "change_hits", "change_predicted", "change_expected", "direction_shared", "direction_reversed",
    "presence_hits", "presence_predicted", "presence_expected", "attribute_hits", "attribute_predicted", "attribute_expected",
    "attribute_kept", "attribute_dropped", "attribute_altered", "without_prior", "unsupported", "unsupported_reference",
)  # fmt: skip


def _row(prediction: str, reference: str, has_prior: bool | None, counted: bool) -> list[int]:
    said, true = changes_of(prediction), changes_of(reference)
    shared = [(said[site], true[site]) for site in said.keys() & true.keys()] if counted else []
    directed = [pair for pair in shared if DIRECTION[pair[0]] and DIRECTION[pair[1]]]
    return [
        *(_overlap(set(said.items()), set(true.items())) if counted else [0, 0, 0]),
        len(directed),
        sum(DIRECTION[one] != DIRECTION[two] for one, two in directed),
        *_overlap(present_sites(prediction), present_sites(reference)),
        *_overlap(set(severities_of(prediction).items()), set(severities_of(reference).items())),
        *_attribute_counts(prediction, reference),
        int(has_prior is False),
        int(has_prior is False and has_comparison(prediction)),
        int(has_prior is False and has_comparison(reference)),
    ]


def _score(sums: np.ndarray) -> dict[str, np.ndarray]:
    column = {name: sums[..., index] for index, name in enumerate(COLUMNS)}
    scores: dict[str, np.ndarray] = {}
    for part in ("change", "presence", "attribute"):
        names = (f"{part}_precision", f"{part}_recall", f"{part}_f1")
        values = precision_recall_f1(column[f"{part}_hits"], column[f"{part}_predicted"], column[f"{part}_expected"])
        scores.update(zip(names, values, strict=True))
    scores["direction_reversals"] = safe_ratio(column["direction_reversed"], column["direction_shared"])
    mentioned = column["attribute_kept"] + column["attribute_dropped"] + column["attribute_altered"]
    for what in ("kept", "dropped", "altered"):
        scores[f"attribute_{what}"] = safe_ratio(column[f"attribute_{what}"], mentioned)
    scores["unsupported_comparisons"] = safe_ratio(column["unsupported"], column["without_prior"])
    scores["unsupported_comparisons_in_references"] = safe_ratio(
        column["unsupported_reference"], column["without_prior"]
    )
    return scores


def temporal_statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    has_prior: Sequence[bool | None] | None = None,
    score_changes: Sequence[bool] | None = None,
) -> ReportStatistics:
    """Summable counts behind [`temporal_scores`], one row a report.

    `score_changes` says for which reports changes are scored. By default for those with a prior: without one nothing can be compared, and
    what the reference compares with is not to be seen by the model. A sweep that hides priors scores them nevertheless.
    """
    predictions, references = check_pairs(predictions, references)
    priors = list(has_prior) if has_prior is not None else [None] * len(predictions)
    if len(priors) != len(predictions):
        raise ValueError(f"{len(priors)} entries in has_prior for {len(predictions)} reports")
    counted = score_changes if score_changes is not None else [prior is not False for prior in priors]
    rows = [_row(*row) for row in zip(predictions, references, priors, counted, strict=True)]
    values = np.array(rows, dtype=np.float64)
    per_report = {name: score for name, score in _score(values).items() if name.endswith("_f1")}
    return ReportStatistics(values, _score, per_report, COLUMNS)


def temporal_scores(
    predictions: Sequence[str], references: Sequence[str], has_prior: Sequence[bool | None] | None = None
) -> dict[str, float]:
    """Scores of what reports say about change, presence and severity.

    Args:
        predictions, references (`list[str]`): reports in pairs.
        has_prior (`list[bool]`, *optional*): whether the writer of each prediction was shown a prior. Given, changes are scored on
            studies with a prior only, and comparisons made without one are counted.

    Returns:
        `dict[str, float]`, `nan` where there is nothing to score:

        - `change_precision`, `change_recall`, `change_f1`: on (finding, side, change), summed over reports;
        - `direction_reversals`: among sites for which both reports state a direction (new or increased; decreased or resolved), the share
          with opposite ones;
        - `unsupported_comparisons`: share of reports written without a prior that compare with one (`has_prior` needed);
          `unsupported_comparisons_in_references`: the same of the references, whose writers may have had a prior;
        - `presence_precision`, `presence_recall`, `presence_f1`: on (finding, side) called present;
        - `attribute_precision`, `attribute_recall`, `attribute_f1`: on (finding, side, severity); `attribute_kept`,
          `attribute_dropped`, `attribute_altered`: what becomes of a reference's severity where the prediction has the finding.
    """
    return temporal_statistics(predictions, references, has_prior).corpus()


__all__ = [
    "CHANGES",
    "GRADES",
    "Statement",
    "changes_of",
    "direction_reversals",
    "present_sites",
    "read_report",
    "severities_of",
    "temporal_scores",
    "temporal_statistics",
]
