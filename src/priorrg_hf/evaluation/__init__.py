"""Evaluation: reports over a split, the evaluation card, missing-input sweeps, ablations, error analysis, retrieval.

Importing this package loads none of them. Research use only, not for clinical decisions.

May use `training`, `phantom`'s cohort, `data`, `metrics` and `model`.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
