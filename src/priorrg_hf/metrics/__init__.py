"""Metrics of generated reports: text overlap, change over time, clinical scorers, retrieval, repetition; plus intervals and tests.

Every metric is a plain function on `predictions: list[str], references: list[str]` that returns a flat `dict[str, float]`, and an
`evaluate.EvaluationModule` (see `priorrg_hf.metrics.modules`). Importing this package loads none of them.

Research use only, not for clinical decisions.

May use no other room.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
