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
        from ..metrics.clinical import rcb_scorer

        return rcb_scorer()
    except (ImportError, OSError) as error:
        logger.warning(
            f"RCB falls back to BLEU-4 + ROUGE-L: the clinical scorers are not available ({error}). "
            "pip install 'priorrg-hf[clinical]'"
        )
        return None


def priors_shown(examples: Any) -> list[bool] | None:
    """Which example rows have a prior image, in their order: `has_prior` of [`ReportMetrics`]. Of a data set only that column is read;
    without one (`None`) there is nothing to tell."""
    if examples is None:
        return None
    is_table = hasattr(examples, "column_names")
    column = examples["prior_image"] if is_table else (row.get("prior_image") for row in examples)
    return [image is not None for image in column]


class ReportMetrics:
    """`compute_metrics` of [`PriorRGReportTrainer`]: decodes written reports and references, and scores them.

    Args:
        processor ([`PriorRGProcessor`]): decodes the ids.
        clinical_scorer (`Callable`, *optional*): gives `chexbert_14_micro_f1` and `radgraph_partial_f1`; found by itself if installed.
        metrics (`Sequence[str]`): the text-overlap metrics to log; BLEU and ROUGE-L are always among them.
        has_prior (`Sequence[bool]`, *optional*): whether the model is shown a prior, for each row of the evaluation data in its order (see
            [`priors_shown`]). With it changes are scored on studies with a prior, and comparisons made without one are counted. Where an
            evaluation has another number of rows, it is left aside with a warning.
    """

    def __init__(
        self,
        processor,
        clinical_scorer: ClinicalScorer | None = None,
        metrics: Sequence[str] = ("bleu", "rouge_l", "cider"),
        has_prior: Sequence[bool] | None = None,
    ):
        self.processor = processor
        self.clinical_scorer = clinical_scorer or find_clinical_scorer()
        self.metrics = tuple(dict.fromkeys(("bleu", "rouge_l", *metrics)))
        self.has_prior = None if has_prior is None else [bool(shown) for shown in has_prior]
        # A missing library should show now, not after the first epoch.
        self.scores(["the lungs are clear"], ["the lungs are clear"])

    def __call__(self, evaluation: Any) -> dict[str, float]:
        predictions = self.processor.post_process_reports(np.asarray(evaluation.predictions))
        references = self.processor.post_process_reports(np.asarray(evaluation.label_ids))
        shown = self.has_prior
        if shown is not None and len(shown) != len(references):
            logger.warning_once(
                f"has_prior tells of {len(shown)} studies, {len(references)} were evaluated: comparisons without a prior are not counted."
            )
            shown = None
        # An empty reference belongs to a study whose image could not be read.
        kept = [index for index, reference in enumerate(references) if reference]
        return self.scores(
            [predictions[index] for index in kept],
            [references[index] for index in kept],
            None if shown is None else [shown[index] for index in kept],
        )

    def scores(
        self, predictions: Sequence[str], references: Sequence[str], has_prior: Sequence[bool] | None = None
    ) -> dict[str, float]:
        """Text overlap, change and presence F1, the clinical scores if there are any, and `rcb`; with `has_prior` also
        `unsupported_comparisons`. What is not a number (no change in any report, no study without a prior) is not among them."""
        from ..metrics import temporal_scores, text_overlap
        from ..metrics.clinical import rcb

        if not references:
            return {"rcb": 0.0, "rcb_is_fallback": 1.0}
        scores = dict(text_overlap(predictions, references, metrics=self.metrics))
        facts = temporal_scores(predictions, references, has_prior)
        logged = ("change_f1", "presence_f1", "unsupported_comparisons")
        scores.update({name: facts[name] for name in logged if facts[name] == facts[name]})
        if self.clinical_scorer is not None:
            scores.update(self.clinical_scorer(predictions, references))
        scores.update(rcb(scores))
        words = [len(text.split()) for text in predictions]
        scores["words_per_report"] = sum(words) / len(words)
        scores["distinct_reports"] = len(set(predictions)) / len(predictions)
        return scores


__all__ = ["ReportMetrics", "priors_shown"]
