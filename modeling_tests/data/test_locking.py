"""One run an output: who holds it is said, a killed run holds nothing, and no lock is left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from priorrg_hf.data.locking import LockedError, claimed, exclusive


HOLDER = """
import sys, time, os
from priorrg_hf.data.locking import exclusive
with exclusive(sys.argv[1], "priorrg test", folder=sys.argv[2] == "folder"):
    if sys.argv[3] == "fork":
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)
        print("child", child, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(target, kind="folder", fork="no"):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(target), kind, fork], stdout=subprocess.PIPE, text=True
    )
    child = None
    while "held" not in (line := process.stdout.readline()):
        assert line or process.poll() is None, "the holder died"
        if line.startswith("child"):
            child = int(line.split()[1])
    return process, child


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_second_run_is_told_who_and_a_killed_one_holds_nothing(tmp_path, kind):
    target = tmp_path / "runs" / "a.jsonl"
    process, _ = holder(target, kind)
    try:
        started = time.perf_counter()
        with (
            pytest.raises(
                LockedError, match=rf"priorrg test \(process {process.pid} on {socket.gethostname()}, since 20"
            ),
            exclusive(target, "mine", folder=kind == "folder"),
        ):
            pass
        assert time.perf_counter() - started < 5, "a second run must not wait"
    finally:
        process.kill()
        process.wait()
    with exclusive(target, "mine", folder=kind == "folder"):
        pass
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "no lock is left"
    with exclusive(tmp_path / "new" / "deep", "mine", folder=True):
        pass
    assert not (tmp_path / "new").exists(), "nor are folders made for nothing"


def test_a_forked_child_does_not_keep_the_lock_of_a_killed_run(tmp_path):
    process, child = holder(tmp_path / "out", fork="fork")
    process.kill()
    process.wait()
    try:
        os.kill(child, 0)  # it lives
        with exclusive(tmp_path / "out", "mine", folder=True):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_holder_may_take_it_again_but_another_thread_not(tmp_path):
    failures = []

    def other():
        try:
            with exclusive(tmp_path, "other", folder=True):
                pass
        except LockedError as error:
            failures.append(error)

    with exclusive(tmp_path, "mine", folder=True), exclusive(tmp_path, "mine", folder=True):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(failures) == 1
    other()
    assert len(failures) == 1


def test_a_damaged_note_of_the_holder_is_no_obstacle(tmp_path):
    process, _ = holder(tmp_path / "out")
    try:
        (tmp_path / "out" / "_priorrg.lock.json").write_text("[]")
        with pytest.raises(LockedError, match="another run"), exclusive(tmp_path / "out", "mine", folder=True):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_run_that_fails_before_it_wrote_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), claimed(tmp_path / "a" / "b", "card", ["card.json"], "test"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), claimed(tmp_path / "a" / "b", "card", ["card.json"], "test") as folder:
        (folder / "card.json").write_text("{}")
        raise KeyError
    with claimed(tmp_path / "a" / "b", "card", ["card.json"], "test"):
        pass
