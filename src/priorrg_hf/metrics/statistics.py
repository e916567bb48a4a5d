"""Per-report statistics, from which every corpus score, interval and test is computed without scoring a report twice.

Each metric of this package is a function of *sums over reports*: BLEU of n-gram counts, METEOR of match counts, an F1 of hits and
misses, a mean of per-report values and a count. `ReportStatistics` holds the summands, one row a report. The corpus score is
`score(sum of rows)`; a bootstrap replicate is `score(weighted sum of rows)`, so that a thousand replicates are one matrix product.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


Score = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class ReportStatistics:
    """Summable statistics of a list of reports.

    Args:
        values (`np.ndarray`): float64 of shape `(reports, statistics)`.
        score (`Callable`): maps sums of shape `(..., statistics)` to scores of shape `(...)` by name. A score without any
            support (e.g. recall where nothing is to be found) is `nan`.
        per_report (mapping from name to `np.ndarray`): per-report scores of shape `(reports,)`, where the metric has them.
        columns (sequence of `str`): names of the statistics, for the curious.
    """

    values: np.ndarray
    score: Score
    per_report: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.values)

    def corpus(self, rows: np.ndarray | slice | None = None) -> dict[str, float]:
        """Scores of all reports, or of those in `rows` (indices or a boolean mask)."""
        values = self.values if rows is None else self.values[rows]
        return {name: float(value) for name, value in self.score(values.sum(axis=0)).items()}

    def resampled(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the weighted corpora; `weights` of shape `(replicates, reports)` says how often each report is drawn."""
        return self.score(weights @ self.values)


def mean_statistics(scores: Mapping[str, np.ndarray]) -> ReportStatistics:
    """Statistics of scores whose corpus value is the mean over reports. A `nan` entry counts as a report without that score."""
    names = list(scores)
    columns = [np.asarray(scores[name], dtype=np.float64) for name in names]
    present = [np.isfinite(column) for column in columns]
    values = [np.where(mask, column, 0.0) for mask, column in zip(present, columns, strict=True)]
    stacked = np.stack([*values, *(mask.astype(np.float64) for mask in present)], axis=1)

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        totals, counts = sums[..., : len(names)], sums[..., len(names) :]
        means = safe_ratio(totals, counts)
        return {name: means[..., index] for index, name in enumerate(names)}

    return ReportStatistics(
        stacked, score, dict(zip(names, columns, strict=True)), [*names, *(f"n_{n}" for n in names)]
    )


def safe_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator`, `nan` where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator != 0)


def precision_recall_f1(hits, predicted, expected) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of counts. Without predictions precision is `nan`, without expectations recall is; F1 only without both."""
    return (
        safe_ratio(hits, predicted),
        safe_ratio(hits, expected),
        safe_ratio(2 * np.asarray(hits, np.float64), np.asarray(predicted) + np.asarray(expected)),
    )


def joined(statistics: Sequence[ReportStatistics]) -> ReportStatistics:
    """Several statistics of the same reports as one."""
    if len({len(part) for part in statistics}) > 1:
        raise ValueError(f"statistics of different numbers of reports: {[len(part) for part in statistics]}")
    widths = np.cumsum([0, *(part.values.shape[1] for part in statistics)])

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        result = {}
        for part, start, stop in zip(statistics, widths[:-1], widths[1:], strict=True):
            result.update(part.score(sums[..., start:stop]))
        return result

    per_report = {name: column for part in statistics for name, column in part.per_report.items()}
    columns = [name for part in statistics for name in part.columns]
    return ReportStatistics(np.concatenate([part.values for part in statistics], axis=1), score, per_report, columns)


def check_pairs(predictions: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
    """The two lists, checked: same length, not empty, all text.

    Raises:
        `ValueError`: no reports, or lists of different length.
        `TypeError`: an entry that is no `str` (e.g. `None` for a missing reference), named by its position.
    """
    if isinstance(predictions, str) or isinstance(references, str):
        raise TypeError("predictions and references are lists of reports, got one string; wrap it in a list")
    predictions, references = list(predictions), list(references)
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references: they must pair up")
    if not predictions:
        raise ValueError("no reports to score: predictions and references are empty")
    for name, texts in (("prediction", predictions), ("reference", references)):
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(
                    f"{name} {index} is {text!r}, not text. Leave studies without a report out, or give an empty string."
                )
    return predictions, references
