"""Text overlap of reports: BLEU-1..4, ROUGE-L, CIDEr-D and METEOR 1.5 as published radiology numbers are computed.

pycocoevalcap without its PTB tokenizer, on texts with a space before every full stop and spaces folded.
"""

import datasets
import evaluate

from priorrg_hf.metrics.text_metrics import text_overlap


_DESCRIPTION = """pycocoevalcap without its PTB tokenizer, on texts with a space before every full stop and spaces folded. Research use only, not for clinical decisions."""

_KWARGS = """
predictions, references: lists of reports. metrics: some of bleu, rouge_l, cider, meteor, and meteor_nltk, which is another METEOR. missing: "skip" or "raise", for METEOR without Java.
"""


class ReportOverlap(evaluate.Metric):
    """`evaluate` module around `priorrg_hf.metrics.text_metrics.text_overlap`."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions, references, **options):
        return text_overlap(predictions, references, **options)
