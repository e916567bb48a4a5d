"""Scores of the reports written during evaluation, and RCB, the number by which stage 2 selects its model.

RCB = BLEU-4 + CheXbert-14 micro F1 + RadGraph partial F1. The two clinical scores need models that are not installed by default; without
them BLEU-4 + ROUGE-L is logged under the same name, with `rcb_is_fallback` = 1. The two are not comparable.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers.utils import logging


logger = logging.get_logger(__name__)

# (predictions, references) -> {"chexbert_14_micro_f1": ..., "radgraph_partial_f1": ...}
ClinicalScorer = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


def find_clinical_scorer() -> ClinicalScorer | None:
    """The clinical scorer of the metrics package, where it and its models are installed."""
    try:
        from .metrics.clinical import rcb_scorer

        return rcb_scorer()
    except (ImportError, OSError) as error:
        logger.warning(
            f"RCB falls back to BLEU-4 + ROUGE-L: the clinical scorers are not available ({error}). "
            "pip install 'priorrg-hf[clinical]'"
        )
        return None


class ReportMetrics:
    """`compute_metrics` of [`PriorRGReportTrainer`]: decodes written reports and references, and scores them.

    Args:
        processor ([`PriorRGProcessor`]): decodes the ids.
        clinical_scorer (`Callable`, *optional*): gives `chexbert_14_micro_f1` and `radgraph_partial_f1`; found by itself if installed.
        metrics (`Sequence[str]`): the text-overlap metrics to log; BLEU and ROUGE-L are always among them.
    """

    def __init__(
        self,
        processor,
        clinical_scorer: ClinicalScorer | None = None,
        metrics: Sequence[str] = ("bleu", "rouge_l", "cider"),
    ):
        self.processor = processor
        self.clinical_scorer = clinical_scorer or find_clinical_scorer()
        self.metrics = tuple(dict.fromkeys(("bleu", "rouge_l", *metrics)))
        # A missing library should show now, not after the first epoch.
        self.scores(["the lungs are clear"], ["the lungs are clear"])

    def __call__(self, evaluation: Any) -> dict[str, float]:
        predictions = self.processor.post_process_reports(np.asarray(evaluation.predictions))
        references = self.processor.post_process_reports(np.asarray(evaluation.label_ids))
        # An empty reference belongs to a study whose image could not be read.
        pairs = [(p, r) for p, r in zip(predictions, references, strict=True) if r]
        return self.scores([p for p, _ in pairs], [r for _, r in pairs])

    def scores(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """Text overlap, change and presence F1, the clinical scores if there are any, and `rcb`."""
        from .metrics import temporal_scores, text_overlap
        from .metrics.clinical import rcb

        if not references:
            return {"rcb": 0.0, "rcb_is_fallback": 1.0}
        scores = dict(text_overlap(predictions, references, metrics=self.metrics))
        # Without a single change in predictions and references its F1 is not a number: then it is not logged.
        facts = temporal_scores(predictions, references)
        scores.update({name: facts[name] for name in ("change_f1", "presence_f1") if facts[name] == facts[name]})
        if self.clinical_scorer is not None:
            scores.update(self.clinical_scorer(predictions, references))
        scores.update(rcb(scores))
        words = [len(text.split()) for text in predictions]
        scores["words_per_report"] = sum(words) / len(words)
        scores["distinct_reports"] = len(set(predictions)) / len(predictions)
        return scores


__all__ = ["ReportMetrics"]
