"""One run a folder or file: a lock that a second run meets with a message, and that a killed run does not leave behind."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .file_writing import MARKER_NAME, OutputError, claim_folder, read_json_object, write_text_whole


# The leading underscore keeps it out of uploads of transformers' Trainer.
FOLDER_LOCK_NAME = "_priorrg.lock"


class LockedError(OSError):
    """Another run is writing there; the message says which, where and since when."""


# Descriptors of this process's locks: a forked child must not keep them when we are killed.
_held: set[int] = set()
# Targets that a thread holds already, and how often: a run may call another that takes the same lock.
_depth: dict[tuple[str, int], int] = {}


def _close_in_child() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()
    _depth.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def lock_path(target: str | os.PathLike, *, folder: bool) -> Path:
    """Where the lock of a folder, or of a file, lies."""
    target = Path(target)
    return target / FOLDER_LOCK_NAME if folder else target.with_name(f".{target.name}.lock")


def _holder_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _holder(path: Path) -> str:
    """Who holds the lock, in words."""
    try:
        holder = read_json_object(_holder_path(path))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["since"])))
        return f"{holder['what']} (process {holder['pid']} on {holder['host']}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def _descriptor(lock: FileLock) -> int | None:
    return getattr(getattr(lock, "_context", None), "lock_file_fd", None)


def _is_current(lock: FileLock, path: Path) -> bool:
    """Whether the locked file still has its name: the former holder may have removed it between our opening and locking it."""
    descriptor = _descriptor(lock)
    if descriptor is None:
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


@contextlib.contextmanager
def exclusive(target: str | os.PathLike, what: str, *, folder: bool) -> Iterator[None]:
    """Holds the lock of an output. The thread that holds it may take it again.

    The kernel drops the lock with its process, so a killed run leaves none; files that it leaves are taken over. On shared drives the
    lock is as good as their `flock`.

    Args:
        target (`str`): the folder, which is made, or the file.
        what (`str`): what the run is, for the message, e.g. `"priorrg finetune"`.
        folder (`bool`): whether `target` is a folder.

    Raises:
        `LockedError`: another run holds it.
    """
    path = lock_path(target, folder=folder)
    made = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    key = (str(path.parent.resolve() / path.name), threading.get_ident())
    if _depth.get(key):
        _depth[key] += 1
        try:
            yield
        finally:
            _depth[key] -= 1
        return
    lock = FileLock(str(path), timeout=0)
    for _ in range(20):
        try:
            lock.acquire()
        except Timeout:
            raise LockedError(
                f"{os.fspath(target)} is being written by {_holder(path)}. Wait for it to end, stop it, or choose another output."
            ) from None
        if _is_current(lock, path):
            break
        lock.release()
    descriptor = _descriptor(lock)
    if descriptor is not None:
        _held.add(descriptor)
    _depth[key] = 1
    try:
        holder = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        write_text_whole(_holder_path(path), json.dumps(holder) + "\n")
        yield
    finally:
        _depth.pop(key, None)
        with contextlib.suppress(OSError):
            _holder_path(path).unlink(missing_ok=True)
        # Removed while it is still locked; who opened it meanwhile sees that it has lost its name, see `_is_current`.
        if descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            _held.discard(descriptor)
        lock.release()
        with contextlib.suppress(OSError):  # a run that failed early leaves no empty folders
            for parent in made:
                parent.rmdir()


@contextlib.contextmanager
def claimed(folder: str | os.PathLike, kind: str, names: Iterable[str], what: str, **options) -> Iterator[Path]:
    """An output folder: locked, and claimed by [`claim_folder`], whose arguments these are; `what` as for [`exclusive`].

    Where the run fails before it wrote anything, nothing is left.
    """
    folder, names = Path(folder), list(names)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder; name a folder.")
    with exclusive(folder, what, folder=True):
        marked = (folder / MARKER_NAME).exists()
        try:
            yield claim_folder(folder, kind, names, **options)
        except BaseException:
            with contextlib.suppress(OSError):
                if not marked and not any(any(folder.glob(pattern)) for pattern in names):
                    (folder / MARKER_NAME).unlink(missing_ok=True)
            raise


__all__ = ["FOLDER_LOCK_NAME", "LockedError", "claimed", "exclusive", "lock_path"]
