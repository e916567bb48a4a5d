"""Retrieval between images with context and reports: Cat-Precision@K, Stu-Precision@K, Recall@K, both directions.

Predictions are image embeddings, references the report embeddings of the same rows.
"""

import datasets
import evaluate
import numpy as np

from priorrg_hf.metrics.retrieval import retrieval_both_directions


_DESCRIPTION = """Predictions are image embeddings, references the report embeddings of the same rows. Research use only, not for clinical decisions."""

_KWARGS = """
predictions, references: embeddings, one row a study. studies: study id of each row. classes: class of each row.
"""


class ReportRetrieval(evaluate.Metric):
    """`evaluate` module around `priorrg_hf.metrics.retrieval.retrieval_both_directions`."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float32")),
                    "references": datasets.Sequence(datasets.Value("float32")),
                }
            ),
        )

    def _compute(self, predictions, references, **options):
        return retrieval_both_directions(np.asarray(predictions), np.asarray(references), **options)
