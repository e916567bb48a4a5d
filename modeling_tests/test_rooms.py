"""The rooms of the package: what is in them, what travels to the Hub, and the one way of exporting names."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import priorrg_hf
from priorrg_hf.publishing.hub import code_files


SOURCE = Path(priorrg_hf.__file__).parent
ROOMS = ("cli", "data", "evaluation", "metrics", "model", "phantom", "publishing", "training")
LAZY = tuple(room for room in ROOMS if room != "cli")


def test_the_root_holds_rooms_and_nothing_else():
    entries = {path.name for path in SOURCE.iterdir() if path.name != "__pycache__"}
    assert entries == {"__init__.py", "__main__.py", "_registration.py", "version.py", "py.typed", *ROOMS}


def test_what_is_in_the_model_room_is_what_is_uploaded():
    assert {path.name for path in code_files()} == {
        path.name for path in (SOURCE / "model").glob("*.py") if path.name != "__init__.py"
    }


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_what_belongs_there_and_what_it_may_use(room):
    text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8")))
    assert "may use" in text.lower() or "no other room" in text


@pytest.mark.parametrize("room", LAZY)
def test_public_names_of_a_room_resolve(room):
    module = importlib.import_module(f"priorrg_hf.{room}")
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_table_of_the_root_is_what_type_checkers_see():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    (call,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "attach"
    ]
    table = ast.literal_eval(next(word.value for word in call.keywords if word.arg == "submod_attrs"))
    assert typed == {name: room for room, names in table.items() for name in names}
    assert set(typed) | {"__version__"} == set(priorrg_hf.__all__)
    for name in priorrg_hf.__all__:
        assert getattr(priorrg_hf, name) is not None


def test_importing_a_room_loads_nothing_heavy():
    code = "import sys\n" + "".join(f"import priorrg_hf.{room}\n" for room in ROOMS)
    code += "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'PIL'} & set(sys.modules)\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)
