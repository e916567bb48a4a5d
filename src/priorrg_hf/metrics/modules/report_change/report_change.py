"""Change over time, presence and attributes, read from free text by rules.

Change F1, direction reversals, comparisons without a prior, presence F1, severity kept or dropped.
"""

import datasets
import evaluate

from priorrg_hf.metrics.temporal import temporal_scores


_DESCRIPTION = """Change F1, direction reversals, comparisons without a prior, presence F1, severity kept or dropped. Research use only, not for clinical decisions."""

_KWARGS = """
predictions, references: lists of reports. has_prior: list of booleans, whether the writer of each prediction was shown a prior.
"""


class ReportChange(evaluate.Metric):
    """`evaluate` module around `priorrg_hf.metrics.temporal.temporal_scores`."""

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
        return temporal_scores(predictions, references, **options)
