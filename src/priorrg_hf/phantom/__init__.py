"""The phantom cohort: synthetic longitudinal chest X-ray studies with known truth. Importing this package loads nothing heavy.

`cohort` (patients, visits, findings over time) -> `rendering` (films) and `grammar` (texts) -> `dataset` (studies in the schema). `parser`
reads facts back from any report, `scoring` compares them with the truth, `counting` shows what could be guessed at best.

The films are drawings. Nothing measured on them says how a model does on patients.

The cohort may use `data`, `metrics` and `model`; the demo, which trains and evaluates, stands above `evaluation` and `training`.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
