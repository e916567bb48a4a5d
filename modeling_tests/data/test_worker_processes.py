"""A killed process leaves none of its workers behind; real processes, SIGKILL."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[1] / "worker_run.py"

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")


def state_of(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def descendants(pid: int) -> list[int]:
    parents = {int(path.name): state_of(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, state in parents.items() if state is not None and state[1] == parent]
        found += children
        waiting += children
    return found


def started(kind: str, folder: Path, workers: int):
    """The process once it is at work, and its descendants."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), kind, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "ready").exists() or len(descendants(process.pid)) < workers:
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        assert time.monotonic() < deadline, "the process did not start its workers"
        time.sleep(0.05)
    return process, descendants(process.pid)


@pytest.mark.parametrize(
    ("kind", "workers"), [("fork", 2), ("spawn", 2), ("forkserver", 2), ("draw", 3), ("train", 1)]
)
def test_no_process_outlives_a_killed_run(tmp_path, kind, workers):
    process, children = started(kind, tmp_path, workers)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 15
    living = children
    try:
        while living and time.monotonic() < deadline:
            time.sleep(0.1)
            living = [pid for pid in living if (state := state_of(pid)) is not None and state[0] != "Z"]
        assert not living
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)
