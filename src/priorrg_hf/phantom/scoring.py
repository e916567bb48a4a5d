"""Scores reports against structured truth by counting: factual F1, severity, change and cause accuracy, invented comparisons.

All functions take report texts (or facts that were read from them) and truths of the same length and order.
"""

from collections.abc import Iterable, Sequence

from .facts import Facts, split_site
from .parser import has_comparison, parse_report


def read_facts(reports: Iterable["str | Facts"]) -> list[Facts]:
    """Facts of texts; facts are passed through."""
    return [report if isinstance(report, Facts) else parse_report(report) for report in reports]


def _paired(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> list[tuple[Facts, Facts]]:
    if len(predictions) != len(truths):
        raise ValueError(
            f"{len(predictions)} reports for {len(truths)} truths; give one report a study, in the same order"
        )
    return list(zip(read_facts(predictions), truths, strict=True))


def _ratio(part: int, whole: int) -> float:
    """A share; `nan` where there was nothing to count."""
    return part / whole if whole else float("nan")


def presence_scores(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> dict[str, float]:
    """Micro precision, recall and F1 of present sites (finding and side), and F1 of devices with their position."""
    right = said = true = device_right = device_said = device_true = 0
    for report, truth in _paired(predictions, truths):
        ours, theirs = report.present_sites(), truth.present_sites()
        right, said, true = right + len(ours & theirs), said + len(ours), true + len(theirs)
        shown, there = set(report.devices.items()), set(truth.devices.items())
        device_right, device_said, device_true = (
            device_right + len(shown & there),
            device_said + len(shown),
            device_true + len(there),
        )
    return {
        "presence_precision": _ratio(right, said),
        "presence_recall": _ratio(right, true),
        "presence_f1": _ratio(2 * right, said + true),
        "device_f1": _ratio(2 * device_right, device_said + device_true),
    }


def severity_accuracy(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> float:
    """Share of truly present sites that the report states with the right severity word; a missed finding counts as wrong."""
    right = total = 0
    for report, truth in _paired(predictions, truths):
        for site, fact in truth.findings.items():
            if fact.present:
                total += 1
                said = report.findings.get(site)
                right += said is not None and said.present and said.severity == fact.severity
    return _ratio(right, total)


def change_accuracy(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> float:
    """Share of comparisons that are right, among all that the truth calls for or the report makes.

    Counting also what a report makes up keeps the score from being won by calling everything resolved.
    """
    right = total = 0
    for report, truth in _paired(predictions, truths):
        said, true = report.changes(), truth.changes()
        total += len(said.keys() | true.keys())
        right += sum(said.get(site) == change for site, change in true.items())
    return _ratio(right, total)


def cause_accuracy(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> float:
    """Share of truly present findings of known cause that the report states with the right cause; a missed one counts as wrong."""
    right = total = 0
    for report, truth in _paired(predictions, truths):
        said, true = report.causes(), truth.causes()
        total += len(true)
        right += sum(said.get(site) == cause for site, cause in true.items())
    return _ratio(right, total)


def comparison_without_prior_rate(reports: Sequence[str], has_prior: Sequence[bool]) -> float:
    """Share of the reports of studies without a prior that compare with one nevertheless."""
    if len(reports) != len(has_prior):
        raise ValueError(f"{len(reports)} reports, but {len(has_prior)} entries in has_prior")
    alone = [report for report, prior in zip(reports, has_prior, strict=True) if not prior]
    return _ratio(sum(has_comparison(report) for report in alone), len(alone))


def score_reports(
    reports: Sequence[str], truths: Sequence[Facts], has_prior: Sequence[bool] | None = None
) -> dict[str, float]:
    """All scores of this module as a flat dict; `comparison_without_prior_rate` only with `has_prior`.

    `has_prior` says whether the writer of each report was shown a prior.
    """
    facts = read_facts(reports)
    scores = presence_scores(facts, truths)
    scores["severity_accuracy"] = severity_accuracy(facts, truths)
    scores["change_accuracy"] = change_accuracy(facts, truths)
    scores["cause_accuracy"] = cause_accuracy(facts, truths)
    if has_prior is not None:
        scores["comparison_without_prior_rate"] = comparison_without_prior_rate(reports, has_prior)
    return scores


def presence_f1_by_finding(predictions: Sequence["str | Facts"], truths: Sequence[Facts]) -> dict[str, float]:
    """F1 of each finding, sides counted apart."""
    counts: dict[str, list[int]] = {}
    for report, truth in _paired(predictions, truths):
        for place, sites in enumerate((report.present_sites(), truth.present_sites())):
            for site in sites:
                counts.setdefault(split_site(site)[0], [0, 0, 0])[place] += 1
        for site in report.present_sites() & truth.present_sites():
            counts[split_site(site)[0]][2] += 1
    return {finding: _ratio(2 * both, said + true) for finding, (said, true, both) in sorted(counts.items())}


__all__ = [
    "cause_accuracy",
    "change_accuracy",
    "comparison_without_prior_rate",
    "presence_f1_by_finding",
    "presence_scores",
    "read_facts",
    "score_reports",
    "severity_accuracy",
]
