"""The notebooks of `examples/notebooks` and the README's Python: both run from top to bottom; notebooks are stored without outputs and say what
they are not for."""

import json
import os
import re
import sys
import types
from pathlib import Path

import pytest


pytest.importorskip("datasets", reason="the notebooks need the extra `train`")
pytest.importorskip("matplotlib", reason="the notebooks need the extra `train`")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"
# What a notebook needs beyond the extra `train`.
NEEDED = {
    "02_finetune_on_your_studies": ("pycocoevalcap", "peft"),
    "03_evaluate_and_compare": ("pycocoevalcap",),
}
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def notebook(name: str) -> dict:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def run(name: str, cells: list[dict], monkeypatch) -> dict:
    """Runs the code cells in one namespace, as a kernel does; faults are told with cell and line."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    for number, cell in enumerate(cells, start=1):
        if cell["cell_type"] == "code":
            exec(compile(source(cell), f"{name}, cell {number}", "exec"), module.__dict__)
    return module.__dict__


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working directory, with the caches of `datasets` in it and figures that open no window."""
    import datasets
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / ".cache")
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    yield tmp_path
    plt.close("all")
    plt.switch_backend(backend)


def test_there_are_notebooks():
    assert len(NAMES) == 4
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"examples/notebooks/{name}.ipynb" in readme for name in NAMES)


def test_python_of_the_readme_runs(desk, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if "phantom_model_folder" in block]
    assert len(blocks) == 2
    for number, block in enumerate(blocks, start=1):
        # Each in a namespace of its own; the films that the first one draws are the second one's.
        exec(compile(block, f"README.md, Python block {number}", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == ["written", "reference"] and len(printed) == 3


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_short_clean_and_says_what_it_is_not_for(name):
    content = notebook(name)
    cells = content["cells"]
    assert content["nbformat"] == 4 and len(cells) <= 15
    head = source(cells[0])
    assert cells[0]["cell_type"] == "markdown" and head.startswith("# ")
    assert "Research use only, not for clinical decisions." in head and "synthetic drawings" in head
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert not [line for line in source(cell).splitlines() if line.lstrip().startswith(("%", "!"))]
            # What runs here must run for a reader who has no such folder.
            assert "/tmp" not in source(cell) and str(Path.home()) not in source(cell)
    assert len({cell["id"] for cell in cells}) == len(cells)
    # Links to other notebooks and documents lead somewhere.
    for cell in cells:
        for target in source(cell).split("](")[1:] if cell["cell_type"] == "markdown" else ():
            assert (NOTEBOOKS / target.split(")")[0]).resolve().is_file(), target


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name, desk, monkeypatch, capsys):
    for module in NEEDED.get(name, ()):
        pytest.importorskip(module, reason=f"this notebook needs {module}")
    namespace = run(name, notebook(name)["cells"], monkeypatch)
    printed = capsys.readouterr()
    assert "strongly recommend" not in printed.out + printed.err
    CHECKS[name](namespace, desk, printed.out)


def check_reports(namespace, folder, printed):
    assert len(namespace["columns"]) == 3 and all(len(reports) == 3 for reports in namespace["columns"].values())
    assert "prior_mask: [True, False]" in printed and "same memory: True" in printed
    assert "refused: row 1 (study_id 's2'), image:" in printed
    assert (folder / "today_16_bit.png").is_file()


def check_finetuning(namespace, folder, printed):
    assert "[missing file] faulty.csv line 62 (study s900)" in printed and "[rejected] faulty.csv line 63" in printed
    assert "2 error(s)" in printed and "no errors" in printed
    assert (folder / "runs/adapter/adapter_model.safetensors").is_file()
    assert len(namespace["examples"]["validation"]) > 2 and "eval_unsupported_comparisons" in printed
    assert "same loss after merging: True" in printed


def check_evaluation(namespace, folder, printed):
    assert {name: len(rows) for name, rows in namespace["reports"].items()} == {
        "with_priors": 48,
        "without_priors": 48,
    }
    assert not any(row.has_prior for row in namespace["reports"]["without_priors"])
    assert {"evaluation.json", "evaluation.md", "worst_studies.html"} <= set(os.listdir(folder / "evaluation"))
    assert namespace["comparison"]["n"] == 48 and "change_f1" not in namespace["comparison"]["scores"]
    assert len(namespace["comparison"]["notes"]) == 1


def check_retrieval(namespace, folder, printed):
    assert namespace["retrieval"].result["n"] == 64 and "image_to_report_recall@10" in printed
    assert (folder / "features").is_dir() and (folder / "runs/stage1/model.safetensors").is_file()


CHECKS = {
    "01_write_a_report": check_reports,
    "02_finetune_on_your_studies": check_finetuning,
    "03_evaluate_and_compare": check_evaluation,
    "04_stage1_retrieval": check_retrieval,
}
