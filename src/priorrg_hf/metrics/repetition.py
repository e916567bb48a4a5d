"""Repetition, duplicates and length: a generator that writes one report for everybody shows here, and hides in BLEU."""

import functools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .reading import split_sentences
from .statistics import ReportStatistics, check_pairs, safe_ratio


@functools.lru_cache(maxsize=20_000)
def _sentences(text: str) -> tuple[str, ...]:
    return tuple(" ".join(sentence.lower().split()).strip(" .") for _, sentence in split_sentences(text))


def _normalised(text: str) -> str:
    return " ".join(text.lower().replace(".", " ").split())


def repetition_scores(predictions: Sequence[str], references: Sequence[str] | None = None) -> dict[str, float]:
    """How alike the reports of a set are, how often each repeats itself, and how long they are.

    Args:
        predictions (`list[str]`): the reports.
        references (`list[str]`, *optional*): with them the same is told of the references, and the ratio of lengths.

    Returns:
        `dict[str, float]`:

        - `distinct_reports`: distinct reports per report; `most_frequent_report`: share of reports that are the most frequent one;
          `duplicate_reports`: share of reports that another study got too (case, full stops and spaces set aside);
        - `distinct_sentences`: distinct sentences per sentence, over the set;
        - `repeated_sentences`: share of sentences that repeat one of the same report;
        - `distinct_1` .. `distinct_4`: distinct n-grams per n-gram, over the set;
        - `words_mean`, `words_std`, `words_min`, `words_max`, `empty_reports`;
        - with references: `reference_distinct_reports`, `reference_most_frequent_report`, `reference_words_mean`, `length_ratio`.
    """
    predictions = list(predictions)
    if not predictions:
        raise ValueError("no reports: predictions are empty")
    scores = _describe(predictions)
    if references is not None:
        of_references = _describe(list(references))
        for name in ("distinct_reports", "most_frequent_report", "words_mean"):
            scores[f"reference_{name}"] = of_references[name]
        words = of_references["words_mean"]
        scores["length_ratio"] = scores["words_mean"] / words if words else float("nan")
    return scores


def _describe(reports: list[str]) -> dict[str, float]:
    counts = Counter(_normalised(text) for text in reports)
    sentences = [_sentences(text) for text in reports]
    total = sum(map(len, sentences))
    words = [text.split() for text in reports]
    lengths = [len(row) for row in words]
    mean = sum(lengths) / len(lengths)
    scores = {
        "distinct_reports": len(counts) / len(reports),
        "most_frequent_report": max(counts.values()) / len(reports),
        "duplicate_reports": sum(count for count in counts.values() if count > 1) / len(reports),
        "distinct_sentences": len({s for row in sentences for s in row}) / total if total else float("nan"),
        "repeated_sentences": sum(len(row) - len(set(row)) for row in sentences) / total if total else float("nan"),
        "words_mean": mean,
        "words_std": (sum((length - mean) ** 2 for length in lengths) / len(lengths)) ** 0.5,
        "words_min": float(min(lengths)),
        "words_max": float(max(lengths)),
        "empty_reports": sum(not row for row in words) / len(words),
    }
    for n in range(1, 5):
        grams = [tuple(row[i : i + n]) for row in words for i in range(len(row) - n + 1)]
        scores[f"distinct_{n}"] = len(set(grams)) / len(grams) if grams else float("nan")
    return scores


def _repetition_score(sums: np.ndarray) -> dict[str, np.ndarray]:
    reports, words, squares, empty, repeated, sentences, reference_words = (sums[..., index] for index in range(7))
    mean = safe_ratio(words, reports)
    return {
        "repeated_sentences": safe_ratio(repeated, sentences),
        "words_mean": mean,
        "words_std": np.sqrt(np.maximum(0.0, safe_ratio(squares, reports) - mean**2)),
        "empty_reports": safe_ratio(empty, reports),
        "reference_words_mean": safe_ratio(reference_words, reports),
        "length_ratio": safe_ratio(words, reference_words),
    }


def repetition_statistics(predictions: Sequence[str], references: Sequence[str]) -> ReportStatistics:
    """Summable counts behind those of [`repetition_scores`] that can be resampled.

    How many *distinct* reports, sentences or n-grams a set has cannot be: a set drawn with replacement holds copies by construction.
    The shortest and the longest report are no sums either.
    """
    predictions, references = check_pairs(predictions, references)
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        sentences, words = _sentences(prediction), len(prediction.split())
        repeated = len(sentences) - len(set(sentences))
        rows.append((1, words, words**2, words == 0, repeated, len(sentences), len(reference.split())))
    columns = ("reports", "words", "squared_words", "empty", "repeated", "sentences", "reference_words")
    return ReportStatistics(np.array(rows, dtype=np.float64), _repetition_score, {}, columns)


def most_frequent_reports(predictions: Sequence[str], count: int = 10) -> list[tuple[str, int]]:
    """The most frequent reports with how many studies got them."""
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for text in predictions:
        key = _normalised(text)
        texts.setdefault(key, text)
        counts[key] += 1
    return [(texts[key], number) for key, number in counts.most_common(count)]


__all__ = ["most_frequent_reports", "repetition_scores", "repetition_statistics"]
