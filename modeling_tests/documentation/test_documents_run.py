"""Every command and snippet of README and docs runs as it stands: from an installed wheel, offline, on synthetic studies.

A block that cannot run here says why in a comment above it, `<!-- not run: reason -->`. Blocks of a page run in order in one folder that starts empty; Python
blocks of a page share their names.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


pytest.importorskip("hatchling", reason="hatchling builds the wheel (extra `dev`)")

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if re.search(r"^```(bash|python)$", path.read_text(encoding="utf-8"), re.MULTILINE)
)
BLOCK = re.compile(
    r"(?P<reason><!-- not run: (?P<why>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Runs blocks that arrive as JSON lines in one namespace, as a notebook does.
PYTHON = """
import json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "block", "exec"), names)
        answer = ""
    except BaseException:
        answer = traceback.format_exc()
    print("\\n" + json.dumps({"failed": answer}), flush=True)
"""


def blocks(page: Path):
    """(language, code, reason for not running it) of each block."""
    for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield match["language"], match["code"], match["why"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables under which the package is the built wheel, whatever the checkout holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    path = os.pathsep.join([str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ, "PYTHONPATH": str(site), "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home"),
        "TERM": "dumb",
    }  # fmt: skip


@pytest.mark.timeout(280)
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page_runs(page, environment, tmp_path):
    interpreter = None
    try:
        for language, code, why in blocks(page):
            if why is not None or language not in ("bash", "python"):
                continue
            if language == "bash":
                # A block is typed line by line: the first command that fails ends it.
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", code],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=250,
                )
                assert done.returncode == 0, f"{page}:\n{code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
                continue
            if interpreter is None:
                interpreter = subprocess.Popen(
                    [sys.executable, "-c", PYTHON], cwd=tmp_path, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
            interpreter.stdin.write(json.dumps(code) + "\n")
            interpreter.stdin.flush()
            while not (line := interpreter.stdout.readline()).startswith('{"failed": '):
                assert line, f"{page}: the interpreter ended in\n{code}"
            failed = json.loads(line)["failed"]
            assert not failed, f"{page}:\n{code}\n{failed}"
    finally:
        if interpreter is not None:
            interpreter.stdin.close()
            interpreter.wait(30)


def test_the_package_under_test_is_the_wheel(environment, tmp_path):
    code = "import priorrg_hf; print(priorrg_hf.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert environment["PYTHONPATH"] in found.stdout


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_blocks_that_do_not_run_say_why(page):
    for language, code, why in blocks(page):
        assert language in ("bash", "python", "json", "csv", "text", "yaml"), (
            f"{page}: a block without a language\n{code}"
        )
        assert why is None or len(why.split()) >= 2


def test_no_page_leads_out_of_the_clone():
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "src").rglob("*.json"),
    ):
        assert "../shared" not in path.read_text(encoding="utf-8"), path


def test_every_command_is_on_the_page_of_commands():
    from typer.main import get_command

    from priorrg_hf.cli import app

    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    root = get_command(app)
    names = [name for name in root.commands if name != "data"] + [
        f"data {name}" for name in root.commands["data"].commands
    ]
    assert [name for name in names if f"`priorrg {name} " not in text and f"`priorrg {name}`" not in text] == []
