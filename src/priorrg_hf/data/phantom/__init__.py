"""The phantom cohort: synthetic longitudinal chest X-ray studies with known truth. Importing this package loads nothing heavy.

`cohort` (patients, visits, findings over time) -> `rendering` (films) and `grammar` (texts) -> `dataset` (studies in the schema). `parser`
reads facts back from any report, `scoring` compares them with the truth, `counting` shows what could be guessed at best.

The films are drawings. Nothing measured on them says how a model does on patients.
"""

import importlib


# public name -> the module that defines it
_EXPORTS = {
    "Facts": "facts",
    "FindingFact": "facts",
    "Patient": "cohort",
    "Visit": "cohort",
    "make_patient": "cohort",
    "render_visit": "rendering",
    "write_findings": "grammar",
    "write_texts": "grammar",
    "parse_report": "parser",
    "has_comparison": "parser",
    "score_reports": "scoring",
    "best_cause_accuracy_without_context": "counting",
    "best_change_accuracy_without_prior": "counting",
    "RETRIEVAL_CLASSES": "dataset",
    "facts_by_study": "dataset",
    "facts_of": "dataset",
    "make_phantom_cohort": "dataset",
    "make_retrieval_split": "dataset",
    "phantom_features": "dataset",
    "study_rows": "dataset",
    "write_phantom_cohort": "dataset",
    "load_phantom_model": "pretrained",
    "load_phantom_tokenizer": "pretrained",
    "load_phantom_vision": "pretrained",
    "phantom_decoder_folder": "pretrained",
    "phantom_model_folder": "pretrained",
    "phantom_tokenizer_folder": "pretrained",
    "phantom_vision_folder": "pretrained",
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
