"""Metrics of generated reports: text overlap, change over time, clinical scorers, retrieval, repetition; plus intervals and tests.

Every metric is a plain function on `predictions: list[str], references: list[str]` that returns a flat `dict[str, float]`, and an
`evaluate.EvaluationModule` (see `priorrg_hf.metrics.modules`). Importing this package loads none of them.

Research use only, not for clinical decisions.
"""

import importlib


# public name -> the module that defines it
_EXPORTS = {
    "prepare_text": "text_metrics",
    "text_overlap": "text_metrics",
    "text_overlap_per_report": "text_metrics",
    "text_overlap_statistics": "text_metrics",
    "bleu": "text_metrics",
    "rouge_l": "text_metrics",
    "cider": "text_metrics",
    "meteor": "text_metrics",
    "meteor_nltk": "meteor_java",
    "MeteorUnavailableError": "meteor_java",
    "temporal_scores": "temporal",
    "temporal_statistics": "temporal",
    "read_report": "report_reader",
    "has_comparison": "report_reader",
    "Statement": "report_reader",
    "repetition_scores": "repetition",
    "clinical_scores": "clinical",
    "ClinicalScorerError": "clinical",
    "rcb": "clinical",
    "rcb_scorer": "clinical",
    "retrieval_scores": "retrieval",
    "retrieval_both_directions": "retrieval",
    "build_class_balanced_set": "retrieval",
    "ReportStatistics": "statistics",
    "Interval": "bootstrap",
    "PairedDifference": "bootstrap",
    "bootstrap_intervals": "bootstrap",
    "paired_test": "bootstrap",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
