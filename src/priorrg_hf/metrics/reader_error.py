"""How well the report reader reads, and scores carried through its error.

`reading/tables/measured.json` holds counts on texts kept apart, each set read by the reader of that time before anybody had
looked at it (`sets` names them), as `benchmarks/reading_accuracy.py` counted them. From them come precision and recall of each label, and intervals of the reader-based
scores that hold the reader's error beside that of drawing reports: each bootstrap replicate is corrected with an error drawn from its
posterior.

The corrections (after Rogan and Gladen, 1978, Am J Epidemiol 107:71) take the errors in two reports as independent:

- an F1 of two readings is the true one times precision times recall of the reader, so it is divided by them;
- a share `q` of reports with a comparison is `(q + specificity - 1) / (sensitivity + specificity - 1)`;
- of direction reversals, a directed reading is opposite to the truth with probability `e`, and directed though nothing changed with
  probability `f`: `q = (1 - g) (r (1 - 2 d) + d) + g / 2` with `d = 2 e (1 - e)` and `g = 1 - (1 - f)^2`, solved for `r`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import Interval, bootstrap_scores
from .statistics import ReportStatistics


# score -> the label whose reading it rests on
RESTS_ON = {
    "change_f1": "change",
    "presence_f1": "present",
    "attribute_f1": "severity",
    "direction_reversals": "direction",
    "unsupported_comparisons": "comparison",
}
LABELS = (
    "present", "absent", "uncertain", "change", "new", "increased", "decreased", "unchanged", "resolved", "severity", "side", "comparison",
)  # fmt: skip


@functools.cache
def measured() -> dict[str, Any]:
    """The stored counts: `sets` (what was measured on), `counts` (label -> `[true, read, right]`), `comparison` (`[[both, missed], [false
    alarm, neither]]`) and `direction` (`[right, opposite, nothing changed]` among directed readings)."""
    return json.loads((Path(__file__).parent / "reading" / "tables" / "measured.json").read_text(encoding="utf-8"))


def reader_accuracy() -> dict[str, dict[str, float]]:
    """By label `{"precision", "recall", "f1", "n"}`, where `n` is how often the kept-apart sentences have the label."""
    table = {}
    for label in LABELS:
        true, read, right = measured()["counts"][label]
        table[label] = {
            "precision": right / read if read else float("nan"),
            "recall": right / true if true else float("nan"),
            "f1": 2 * right / (true + read) if true + read else float("nan"),
            "n": true,
        }
    return table


def _beta(generator, right: int, wrong: int, size: int) -> np.ndarray:
    return generator.beta(right + 0.5, wrong + 0.5, size)


def _corrected(name: str, values: np.ndarray, generator, size: int) -> np.ndarray:
    """`values` of shape `(size,)` corrected with one drawn error each; `size` 0 corrects with the counts as they are."""
    store = measured()
    drawn = max(size, 1)
    if name == "direction_reversals":
        counts = np.array(store["direction"], dtype=np.float64)
        shares = generator.dirichlet(counts + 0.5, drawn) if size else (counts / counts.sum())[None]
        opposite = shares[:, 1] / np.maximum(shares[:, 0] + shares[:, 1], 1e-12)
        flips, chance = 2 * opposite * (1 - opposite), 1 - (1 - shares[:, 2]) ** 2
        return np.clip(((values - chance / 2) / (1 - chance) - flips) / (1 - 2 * flips), 0, 1)
    if name == "unsupported_comparisons":
        (both, missed), (alarm, neither) = store["comparison"]
        sensitivity = _beta(generator, both, missed, drawn) if size else np.array([both / (both + missed)])
        specificity = _beta(generator, neither, alarm, drawn) if size else np.array([neither / (neither + alarm)])
        return np.clip((values + specificity - 1) / (sensitivity + specificity - 1), 0, 1)
    true, read, right = store["counts"][RESTS_ON[name]]
    precision = _beta(generator, right, read - right, drawn) if size else np.array([right / read])
    recall = _beta(generator, right, true - right, drawn) if size else np.array([right / true])
    return np.clip(values / (precision * recall), 0, 1)


def with_reader_error(
    statistics: ReportStatistics,
    *,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    groups: Sequence | None = None,
) -> dict[str, Interval]:
    """The scores of `RESTS_ON` corrected for the reader's error, with intervals that hold it.

    Args:
        statistics ([`ReportStatistics`]): of all reports, with the temporal scores among its scores.
        confidence, replicates, seed, groups: as in `bootstrap_intervals`.

    Returns:
        `dict[str, Interval]`: those that have a value. An interval from 0 to 1 says that the reader is too weak to tell.
    """
    values = statistics.corpus()
    names = [name for name in RESTS_ON if np.isfinite(values.get(name, np.nan))]
    drawn: Mapping[str, np.ndarray] = (
        bootstrap_scores(statistics, replicates=replicates, seed=seed, groups=groups) if names else {}
    )
    generator = np.random.default_rng([seed, 2])
    tail = (1 - confidence) / 2
    result = {}
    for name in names:
        known = drawn[name][np.isfinite(drawn[name])]
        if not known.size:
            continue
        low, high = np.quantile(_corrected(name, known, generator, known.size), [tail, 1 - tail])
        value = _corrected(name, np.array([values[name]]), generator, 0)[0]
        result[name] = Interval(float(value), float(low), float(high))
    return result


__all__ = ["LABELS", "RESTS_ON", "measured", "reader_accuracy", "with_reader_error"]
