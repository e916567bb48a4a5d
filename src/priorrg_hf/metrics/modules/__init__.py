"""The metrics as `evaluate.EvaluationModule`s, each in a folder of its own that `evaluate.load` takes by path, offline.

```python
>>> import evaluate
>>> from priorrg_hf.metrics.modules import module_path
>>> metric = evaluate.load(module_path("report_overlap"))
>>> scores = metric.compute(predictions=["lungs are clear ."], references=["lungs are clear ."], metrics=["bleu", "rouge_l"])
```
"""

from pathlib import Path


MODULES = ("report_overlap", "report_change", "report_repetition", "report_clinical", "report_retrieval")


def module_path(name: str) -> str:
    """Folder of a metric, for `evaluate.load`. Raises `ValueError` for an unknown name."""
    if name not in MODULES:
        raise ValueError(f"unknown metric {name!r}; there are {', '.join(MODULES)}")
    return str(Path(__file__).parent / name)


__all__ = ["MODULES", "module_path"]
