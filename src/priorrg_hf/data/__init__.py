"""Studies: the schema, the readers, prior linking, checks and conversion. Importing this package loads none of them.

Research use only, not for clinical decisions.
"""

import importlib


# public name -> the module that defines it
_EXPORTS = {
    "PriorStudy": "schema",
    "Study": "schema",
    "StudyError": "schema",
    "StudyImage": "schema",
    "as_examples": "schema",
    "assign_split": "schema",
    "check_patient_disjoint": "schema",
    "example_features": "schema",
    "split_by_patient": "schema",
    "studies_to_dataset": "schema",
    "studies_to_dataset_dict": "schema",
    "study_features": "schema",
    "view_family": "schema",
    "load_studies": "loading",
    "link_priors": "linking",
    "check_studies": "check",
    "convert_studies": "convert",
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
