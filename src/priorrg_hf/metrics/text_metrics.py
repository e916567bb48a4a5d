"""BLEU-1..4, ROUGE-L, CIDEr-D and METEOR 1.5 in the definition behind published radiology numbers.

That definition is pycocoevalcap without its PTB tokenizer, on texts prepared by [`prepare_text`]; nothing is lower-cased (METEOR's program
does that for itself). BLEU and CIDEr come from pycocoevalcap's own scorers. ROUGE-L is its formula (beta 1.2, tokens at single
spaces) over a bit-parallel longest common subsequence, because the library's table needs gigabytes for two long texts. METEOR is
the Java program, see `meteor_java.py`.

What the figures are: BLEU and METEOR of the corpus (counts summed over reports, then scored), ROUGE-L and CIDEr mean over reports.
CIDEr's document frequencies come from the references at hand, so its value belongs to that set of references: of a single pair it is
zero, since the logarithm of one document is.
"""

import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from .meteor_java import (
    MeteorUnavailableError,
    java_version,
    meteor_nltk_statistics,
    meteor_statistics,
    meteor_unavailable_reason,
)
from .statistics import ReportStatistics, check_pairs, joined, mean_statistics


BLEU_ORDER = 4
ROUGE_BETA = 1.2
TEXT_METRICS = ("bleu", "rouge_l", "cider", "meteor")
# Computed only when asked for by name.
OTHER_TEXT_METRICS = ("meteor_nltk",)


def prepare_text(text: str) -> str:
    """A space before every full stop, then runs of spaces folded into one. No lower-casing, no other tokenisation.

    Only text with line breaks goes beyond that rule: it is made one line first, its whitespace folded and trimmed, because METEOR's
    program reads a report a line, and ROUGE-L, which cuts at spaces alone, would otherwise depend on the layout.
    """
    if re.search(r"[\r\n]", text):
        text = " ".join(text.split())
    return re.sub(" +", " ", text.replace(".", " ."))


def _prepared(predictions, references, prepare: bool) -> tuple[list[str], list[str]]:
    predictions, references = check_pairs(predictions, references)
    if not prepare:
        return predictions, references
    return [prepare_text(text) for text in predictions], [prepare_text(text) for text in references]


def _pycocoevalcap_missing(error: ImportError) -> ImportError:
    return ImportError(f"BLEU and CIDEr are computed by pycocoevalcap: pip install 'priorrg-hf[metrics]' ({error})")


# ---- BLEU ----


def _bleu_score(sums: np.ndarray) -> dict[str, np.ndarray]:
    # The library's smoothing constants and brevity penalty, on arrays of corpora.
    small, tiny = 1e-9, 1e-15
    test_length, reference_length = sums[..., 0], sums[..., 1]
    guess, correct = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    precision = np.cumprod((correct + tiny) / (guess + small), axis=-1)
    ratio = (test_length + tiny) / (reference_length + small)
    with np.errstate(over="ignore", divide="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1.0)), 1.0)
    return {f"bleu_{n}": precision[..., n - 1] ** (1.0 / n) * penalty for n in range(1, BLEU_ORDER + 1)}


def bleu_statistics(
    predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True
) -> ReportStatistics:
    """Summable n-gram counts of BLEU-1..4; corpus scores are `bleu_1` .. `bleu_4`, one reference a report."""
    predictions, references = _prepared(predictions, references, prepare)
    try:
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    except ImportError as error:
        raise _pycocoevalcap_missing(error) from error
    scorer = BleuScorer(n=BLEU_ORDER)
    for prediction, reference in zip(predictions, references, strict=True):
        scorer += (prediction, [reference])
    values = np.array(
        [[counts["testlen"], counts["reflen"][0], *counts["guess"], *counts["correct"]] for counts in scorer.ctest],
        dtype=np.float64,
    )
    _, per_report = scorer.compute_score(option="closest", verbose=0)
    orders = range(1, BLEU_ORDER + 1)
    columns = ("test_length", "reference_length", *(f"guess_{n}" for n in orders), *(f"correct_{n}" for n in orders))
    named = {f"bleu_{n}": np.array(per_report[n - 1]) for n in orders}
    return ReportStatistics(values, _bleu_score, named, columns)


# ---- ROUGE-L ----


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, with one big integer as the row of the table (Hyyrö, 2004)."""
    if not first or not second:
        return 0
    positions: dict[str, int] = {}
    for index, token in enumerate(first):
        positions[token] = positions.get(token, 0) | (1 << index)
    full = (1 << len(first)) - 1
    row = full
    for token in second:
        matches = row & positions.get(token, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()


def rouge_l_statistics(
    predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True
) -> ReportStatistics:
    """Summable ROUGE-L, `rouge_l`: the mean over reports of pycocoevalcap's F with beta 1.2."""
    predictions, references = _prepared(predictions, references, prepare)
    scores = np.zeros(len(predictions))
    for index, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        # At single spaces, as the library: an empty text is one empty token, so two empty texts agree.
        test_tokens, reference_tokens = prediction.split(" "), reference.split(" ")
        common = longest_common_subsequence(reference_tokens, test_tokens)
        if common:
            precision, recall = common / len(test_tokens), common / len(reference_tokens)
            scores[index] = ((1 + ROUGE_BETA**2) * precision * recall) / (recall + ROUGE_BETA**2 * precision)
    return mean_statistics({"rouge_l": scores})


# ---- CIDEr-D ----


def cider_statistics(
    predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True
) -> ReportStatistics:
    """Summable CIDEr-D, `cider`: the mean over reports. Document frequencies are those of all `references`, and stay so in resampling."""
    predictions, references = _prepared(predictions, references, prepare)
    try:
        from pycocoevalcap.cider.cider_scorer import CiderScorer
    except ImportError as error:
        raise _pycocoevalcap_missing(error) from error
    scorer = CiderScorer()
    for prediction, reference in zip(predictions, references, strict=True):
        scorer += (prediction, [reference])
    if not any(reference.split() for reference in references):
        # The library takes the maximum over no n-grams and fails.
        return mean_statistics({"cider": np.zeros(len(references))})
    _, per_report = scorer.compute_score()
    return mean_statistics({"cider": per_report})


# ---- all of them ----


def text_overlap_statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    metrics: Sequence[str] = TEXT_METRICS,
    prepare: bool = True,
    missing: str = "skip",
) -> ReportStatistics:
    """Summable statistics of the text metrics, joined: corpus scores, per-report scores and resampling from one pass.

    Args:
        predictions, references (`list[str]`): reports in pairs.
        metrics (sequence of `str`): some of `"bleu"`, `"rouge_l"`, `"cider"`, `"meteor"`; `"meteor_nltk"`, another METEOR under its own name, only
            when named here.
        prepare (`bool`, defaults to `True`): put the texts through [`prepare_text`]. It changes nothing on texts that already are.
        missing (`str`, defaults to `"skip"`): without Java, or with a pair too long for METEOR's program, `"skip"` leaves METEOR out with a
            warning, `"raise"` raises `MeteorUnavailableError`.

    Raises:
        `ValueError`, `TypeError`: lists of different length, no reports, an entry that is no text, an unknown metric.
        `ImportError`: pycocoevalcap is not installed, or `"meteor_nltk"` was named without NLTK and its WordNet.
    """
    known = (*TEXT_METRICS, *OTHER_TEXT_METRICS)
    unknown = sorted(set(metrics) - set(known))
    if unknown:
        raise ValueError(f"unknown text metrics {unknown}; there are {', '.join(known)}")
    if missing not in ("skip", "raise"):
        raise ValueError(f"missing is 'skip' or 'raise', got {missing!r}")
    predictions, references = _prepared(predictions, references, prepare)
    # METEOR waits for its own processes: it runs beside the others.
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        if "meteor" in metrics:
            reason = meteor_unavailable_reason() if missing == "skip" else None
            if reason is None:
                waiting = pool.submit(meteor_statistics, predictions, references)
            else:
                warnings.warn(f"METEOR is skipped. {reason}", stacklevel=2)
        own = {"bleu": bleu_statistics, "rouge_l": rouge_l_statistics, "cider": cider_statistics}
        parts = [compute(predictions, references, prepare=False) for name, compute in own.items() if name in metrics]
        if "meteor_nltk" in metrics:
            parts.append(meteor_nltk_statistics(predictions, references))
        if waiting is not None:
            try:
                parts.append(waiting.result())
            except MeteorUnavailableError as error:
                if missing == "raise":
                    raise
                warnings.warn(f"METEOR is skipped. {error}", stacklevel=2)
    if not parts:
        raise ValueError("no metric is left to compute: METEOR alone was asked for and is not available")
    return joined(parts)


def text_overlap(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    metrics: Sequence[str] = TEXT_METRICS,
    prepare: bool = True,
    missing: str = "skip",
) -> dict[str, float]:
    """Corpus scores `bleu_1` .. `bleu_4`, `rouge_l`, `cider` and, with Java, `meteor`; arguments as in [`text_overlap_statistics`].

    ```python
    >>> from priorrg_hf.metrics import text_overlap
    >>> scores = text_overlap(["the lungs are clear."], ["the lungs are clear."], metrics=["bleu", "rouge_l"])
    >>> round(scores["bleu_4"], 6), scores["rouge_l"]
    (1.0, 1.0)
    ```
    """
    return text_overlap_statistics(predictions, references, metrics=metrics, prepare=prepare, missing=missing).corpus()


def text_overlap_per_report(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    metrics: Sequence[str] = TEXT_METRICS,
    prepare: bool = True,
    missing: str = "skip",
) -> dict[str, list[float]]:
    """Scores of each report by name; arguments as in [`text_overlap_statistics`]. BLEU here is of the single report, unsmoothed."""
    statistics = text_overlap_statistics(predictions, references, metrics=metrics, prepare=prepare, missing=missing)
    return {name: [float(value) for value in column] for name, column in statistics.per_report.items()}


def scorer_versions() -> dict[str, str | None]:
    """Versions of what computes the text metrics, for a reader who wants to repeat them."""
    try:
        pycocoevalcap = version("pycocoevalcap")
    except PackageNotFoundError:
        pycocoevalcap = None
    return {"pycocoevalcap": pycocoevalcap, "meteor": "1.5", "java": java_version()}


def bleu(predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True) -> dict[str, float]:
    """`{"bleu_1": .., "bleu_4": ..}` of the corpus."""
    return bleu_statistics(predictions, references, prepare=prepare).corpus()


def rouge_l(predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True) -> dict[str, float]:
    """`{"rouge_l": ..}`, the mean over reports."""
    return rouge_l_statistics(predictions, references, prepare=prepare).corpus()


def cider(predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True) -> dict[str, float]:
    """`{"cider": ..}`: CIDEr-D, the mean over reports."""
    return cider_statistics(predictions, references, prepare=prepare).corpus()


def meteor(predictions: Sequence[str], references: Sequence[str], *, prepare: bool = True) -> dict[str, float]:
    """`{"meteor": ..}`: METEOR 1.5 of the corpus. Raises `MeteorUnavailableError` without Java."""
    predictions, references = _prepared(predictions, references, prepare)
    return meteor_statistics(predictions, references).corpus()


__all__ = [
    "OTHER_TEXT_METRICS",
    "TEXT_METRICS",
    "bleu",
    "bleu_statistics",
    "cider",
    "cider_statistics",
    "longest_common_subsequence",
    "meteor",
    "prepare_text",
    "rouge_l",
    "rouge_l_statistics",
    "scorer_versions",
    "text_overlap",
    "text_overlap_per_report",
    "text_overlap_statistics",
]
