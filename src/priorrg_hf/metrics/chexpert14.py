"""Presence of the 14 CheXpert classes, read by the rules of `priorrg_hf.metrics.reading`; needs no weights.

It can stand beside CheXbert's F1 where that model's weights are at hand. The map from findings to classes is the column `chexpert` of
`reading/tables/findings.tsv`.
"""

from collections.abc import Sequence

import numpy as np

from .reading import is_missing, read_report, tables
from .statistics import ReportStatistics, check_pairs, precision_recall_f1


NO_FINDING = "No Finding"
CLASSES = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis",
    "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", NO_FINDING,
)  # fmt: skip
_RANK = {"absent": 0, "uncertain": 1, "present": 2}


def chexpert_labels(text: str) -> dict[str, str | None]:
    """Each of the 14 classes as `"present"`, `"uncertain"`, `"absent"` or `None` (not spoken of).

    Of several statements of one class the strongest counts. "No Finding" is present where nothing but support devices is present or
    uncertain, and `None` otherwise and for a text that is no report.
    """
    labels: dict[str, str | None] = dict.fromkeys(CLASSES)
    if is_missing(text):
        return labels
    known = tables.findings()
    for statement in read_report(text):
        name = known[statement.finding].chexpert if statement.finding in known else None
        if name is None or statement.presence is None:
            continue
        known_presence = labels[name]
        if known_presence is None or _RANK[statement.presence] > _RANK[known_presence]:
            labels[name] = statement.presence
    wrong = any(
        labels[name] in ("present", "uncertain") for name in CLASSES if name not in (NO_FINDING, "Support Devices")
    )
    labels[NO_FINDING] = None if wrong else "present"
    return labels


def _positive(text: str) -> np.ndarray:
    labels = chexpert_labels(text)
    return np.array([labels[name] in ("present", "uncertain") for name in CLASSES], dtype=np.float64)


def _score(sums: np.ndarray) -> dict[str, np.ndarray]:
    hits, said, true = (sums[..., start : start + len(CLASSES)] for start in (0, len(CLASSES), 2 * len(CLASSES)))
    f1 = precision_recall_f1(hits, said, true)[2]
    with np.errstate(invalid="ignore"):
        found = np.isfinite(f1)
        macro = np.where(found.any(-1), np.where(found, f1, 0.0).sum(-1) / np.maximum(found.sum(-1), 1), np.nan)
    micro = precision_recall_f1(hits.sum(-1), said.sum(-1), true.sum(-1))[2]
    return {"reader_14_micro_f1": micro, "reader_14_macro_f1": macro}


def chexpert14_statistics(predictions: Sequence[str], references: Sequence[str]) -> ReportStatistics:
    """Summable counts behind [`chexpert14_scores`], one row a report."""
    predictions, references = check_pairs(predictions, references)
    said, true = np.stack([_positive(t) for t in predictions]), np.stack([_positive(t) for t in references])
    columns = [f"{what}:{name}" for what in ("hits", "predicted", "expected") for name in CLASSES]
    return ReportStatistics(np.concatenate([said * true, said, true], axis=1), _score, {}, columns)


def chexpert14_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """`reader_14_micro_f1` and `reader_14_macro_f1` of presence over the 14 classes, sides left aside.

    As CheXbert's F1 is computed in report generation, uncertain counts as positive, and what is not spoken of as negative. The macro mean
    is over classes that occur in either text.
    """
    return chexpert14_statistics(predictions, references).corpus()


__all__ = ["CLASSES", "chexpert14_scores", "chexpert14_statistics", "chexpert_labels"]
