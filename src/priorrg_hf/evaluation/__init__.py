"""Evaluation: reports over a split, the evaluation card, missing-input sweeps, ablations, error analysis, retrieval.

Importing this package loads none of them. Research use only, not for clinical decisions.
"""

import importlib


# public name -> the module that defines it
_EXPORTS = {
    "generate_reports": "generation",
    "GenerationSummary": "generation",
    "read_reports": "report_file",
    "ReportRow": "report_file",
    "model_fingerprint": "fingerprints",
    "load_for_generation": "loading",
    "Evaluation": "card",
    "evaluate_reports": "card",
    "evaluate_model": "evaluate",
    "evaluate_file": "evaluate",
    "load_evaluation_data": "evaluate",
    "score_reports": "scoring",
    "compare_systems": "scoring",
    "error_analysis": "errors",
    "run_sweep": "sweep",
    "run_ablation": "ablation",
    "read_plan": "ablation",
    "run_retrieval": "retrieval",
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
