"""Clinical scorers through RadEval: CheXbert F1, RadGraph F1, RaTEScore, BERTScore, RadCliQ, GREEN.

Needs the extra `clinical` and the scorers' weights.
"""

import datasets
import evaluate

from priorrg_hf.metrics.clinical import clinical_scores


_DESCRIPTION = (
    """Needs the extra `clinical` and the scorers' weights. Research use only, not for clinical decisions."""
)

_KWARGS = """
predictions, references: lists of reports. metrics: some of chexbert, radgraph, ratescore, bertscore, radcliq, green. weights: Hub repository -> local folder.
"""


class ReportClinical(evaluate.Metric):
    """`evaluate` module around `priorrg_hf.metrics.clinical.clinical_scores`."""

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
        return clinical_scores(predictions, references, **options)
