"""Duplicates, repetition and length of generated reports.

How alike the reports of a set are; the references are described beside them.
"""

import datasets
import evaluate

from priorrg_hf.metrics.repetition import repetition_scores


_DESCRIPTION = """How alike the reports of a set are; the references are described beside them. Research use only, not for clinical decisions."""

_KWARGS = """
predictions, references: lists of reports.
"""


class ReportRepetition(evaluate.Metric):
    """`evaluate` module around `priorrg_hf.metrics.repetition.repetition_scores`."""

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
        return repetition_scores(predictions, references, **options)
