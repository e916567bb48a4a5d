"""Bootstrap intervals and paired tests on per-report statistics.

What is resampled: *reports* with replacement, or whole *patients* when patient ids are given, because reports of one patient resemble
each other and counting them as independent makes intervals too narrow. What is kept: the per-report statistics, in particular CIDEr's
document frequencies, which belong to the reference set and not to the draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import ReportStatistics


# Rows of the weight matrix that are held at once: bounds memory at 64 * reports doubles.
CHUNK = 64


@dataclass(frozen=True)
class Interval:
    """A score with its bootstrap interval; `low` and `high` are `nan` when no replicate had support."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def _groups(groups: Sequence | None, reports: int) -> np.ndarray | None:
    if groups is None:
        return None
    if len(groups) != reports:
        raise ValueError(f"{len(groups)} group ids for {reports} reports")
    if any(group is None for group in groups):
        raise ValueError("a report has no patient id; give all of them, or none")
    return np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)[1]


def bootstrap_weights(reports: int, replicates: int, seed: int, groups: np.ndarray | None = None):
    """Chunks of shape `(<= 64, reports)`: how often each report stands in each resampled corpus."""
    generator = np.random.default_rng(seed)
    units = reports if groups is None else int(groups.max()) + 1
    for start in range(0, replicates, CHUNK):
        rows = min(CHUNK, replicates - start)
        draws = generator.integers(0, units, size=(rows, units))
        draws += units * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        yield counts if groups is None else counts[:, groups]


def bootstrap_scores(
    statistics: ReportStatistics, *, replicates: int = 1000, seed: int = 0, groups: Sequence | None = None
) -> dict[str, np.ndarray]:
    """Scores of `replicates` resampled corpora, by name, each of shape `(replicates,)`. The same seed gives the same draws."""
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates}")
    ids = _groups(groups, len(statistics))
    chunks = [statistics.resampled(w) for w in bootstrap_weights(len(statistics), replicates, seed, ids)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _quantiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_intervals(
    statistics: ReportStatistics,
    *,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    groups: Sequence | None = None,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of every score.

    Args:
        statistics ([`ReportStatistics`]): of all reports.
        confidence (`float`, defaults to 0.95): coverage aimed at.
        replicates (`int`, defaults to 1000): resampled corpora.
        seed (`int`, defaults to 0): of the draws.
        groups (sequence, *optional*): patient id of each report; patients are drawn instead of reports.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, got {confidence}")
    scores = bootstrap_scores(statistics, replicates=replicates, seed=seed, groups=groups)
    values = statistics.corpus()
    return {name: Interval(values[name], *_quantiles(scores[name], confidence)) for name in values}


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two systems on the same studies: `value = first - second`, its bootstrap interval, and a two-sided p-value."""

    first: float
    second: float
    value: float
    low: float
    high: float
    p_value: float


def paired_test(
    first: ReportStatistics,
    second: ReportStatistics,
    *,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    groups: Sequence | None = None,
) -> dict[str, PairedDifference]:
    """Compares two systems that reported the same studies in the same order.

    The interval is that of the paired bootstrap (both systems on the same draw). The p-value is that of approximate randomisation: the
    two reports of a study (of a patient, with `groups`) are exchanged by coin flips, and p is the share of such shuffles, counting
    the observed one, whose absolute difference is at least the observed. It works for corpus scores such as BLEU, which are
    no means. No correction for testing several scores is made.
    """
    if len(first) != len(second):
        raise ValueError(f"the systems have {len(first)} and {len(second)} reports: pair them by study first")
    ids = _groups(groups, len(first))
    one, two = first.corpus(), second.corpus()
    names = [name for name in one if name in two]
    differences: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for weights in bootstrap_weights(len(first), replicates, seed, ids):
        drawn_one, drawn_two = first.resampled(weights), second.resampled(weights)
        for name in names:
            differences[name].append(drawn_one[name] - drawn_two[name])

    generator = np.random.default_rng([seed, 1])
    units = len(first) if ids is None else int(ids.max()) + 1
    at_least, shuffles = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for start in range(0, replicates, CHUNK):
        flips = generator.integers(0, 2, size=(min(CHUNK, replicates - start), units)).astype(np.float64)
        flips = flips if ids is None else flips[:, ids]
        keep = 1.0 - flips
        mixed_one = first.score(keep @ first.values + flips @ second.values)
        mixed_two = second.score(flips @ first.values + keep @ second.values)
        for name in names:
            shuffled = np.abs(mixed_one[name] - mixed_two[name])
            shuffled = shuffled[np.isfinite(shuffled)]
            at_least[name] += int((shuffled >= abs(one[name] - two[name]) - 1e-12).sum())
            shuffles[name] += len(shuffled)
    result = {}
    for name in names:
        low, high = _quantiles(np.concatenate(differences[name]), confidence)
        value = one[name] - two[name]
        p_value = (at_least[name] + 1) / (shuffles[name] + 1) if np.isfinite(value) else float("nan")
        result[name] = PairedDifference(one[name], two[name], value, low, high, p_value)
    return result


__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_intervals",
    "bootstrap_scores",
    "paired_test",
]
