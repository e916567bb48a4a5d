"""Worker processes that end with the process that started them, however it ends.

A process that is killed (SIGKILL, out of memory) cannot stop its workers. Those of `multiprocessing` then wait for work for good: the pipe
they read from stays open, because their siblings hold it too.
"""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator


POLL_SECONDS = 1.0


def _watch(parent_pid: int, parent) -> None:
    while os.getppid() == parent_pid and (parent is None or parent.is_alive()):
        time.sleep(POLL_SECONDS)
    os._exit(1)


def end_with_parent(*_) -> None:
    """Ends this process, at most a second or so after its parent. A `worker_init_fn` of a `DataLoader`; does nothing in a main process."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # Under fork the parent is who forked us; under forkserver it is the server, and `parent` watches the process that asked for us.
    threading.Thread(target=_watch, args=(os.getppid(), parent), name="end with parent", daemon=True).start()


class WorkerStart:
    """A `worker_init_fn` that ends with the parent, and then does what another one did."""

    def __init__(self, then: Callable[[int], None] | None = None):
        self.then = then

    def __call__(self, worker: int) -> None:
        end_with_parent()
        if self.then is not None:
            self.then(worker)


_parent_pid: int | None = None


def _remember_parent() -> None:
    global _parent_pid
    if _forks_watch:
        _parent_pid = os.getpid()


def _watch_in_child() -> None:
    if _forks_watch and _parent_pid is not None:
        threading.Thread(target=_watch, args=(_parent_pid, None), name="end with parent", daemon=True).start()


_forks_watch = 0
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_remember_parent, after_in_child=_watch_in_child)


@contextlib.contextmanager
def forks_end_with_us() -> Iterator[None]:
    """Within it every forked process ends with this one: for libraries that start workers and managers of their own."""
    global _forks_watch
    _forks_watch += 1
    try:
        yield
    finally:
        _forks_watch -= 1


__all__ = ["WorkerStart", "end_with_parent", "forks_end_with_us"]
