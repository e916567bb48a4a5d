"""Files that appear whole or not at all, never in place of what is not ours, and never wider open than asked for.

The rule for every output of every command: a file that the command did not write itself is not replaced, nor is the input under any of
its names; links, pipes and devices are refused, because what stands behind them is not seen; a full disk is told with the path, what is
kept and how to go on.
"""

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..version import __version__


# Lies in folders that a command made. The leading underscore keeps it out of uploads of transformers' Trainer.
MARKER_NAME = "_priorrg.json"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputError(FileExistsError):
    """An output that would destroy something; the message says what stands there and what to do."""


class DiskFullError(OSError):
    """No space (or quota, or file size) is left; the message says for which file, what is kept, and how to go on."""

    def __init__(self, message: str):
        super().__init__(message)
        self.errno = errno.ENOSPC


# ---- writing ----


def temporary_beside(path: str | os.PathLike) -> Path:
    """A name in the same folder that nothing has and nobody can foresee."""
    path = Path(path)
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")


def _mode_of(path: Path) -> int | None:
    try:
        return stat.S_IMODE(os.stat(path).st_mode) & 0o777
    except OSError:
        return None


def _usual_mode() -> int:
    """Permissions of a new file under the umask."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        mask = next(int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        mask = os.umask(0o077)  # it can only be read by setting it
        os.umask(mask)
    return 0o666 & ~mask


def replace_file(temporary: str | os.PathLike, path: str | os.PathLike) -> None:
    """Gives a finished file its name, with the permissions of the file that had it, or those of the umask.

    (Some libraries leave their files as narrow as temporary ones, others as wide as they please.)
    """
    mode = _mode_of(Path(path))
    os.chmod(temporary, _usual_mode() if mode is None else mode)
    os.replace(temporary, path)


def new_folder_beside(folder: str | os.PathLike) -> Path:
    """A fresh, empty folder in the same place, to be filled and renamed; permissions as the umask says."""
    path = temporary_beside(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    return path


def write_bytes_whole(
    path: str | os.PathLike, content: bytes, *, mode_like: str | os.PathLike | None = None, kept: str | None = None
) -> None:
    """Writes a file whole or not at all, and its folder where there is none.

    Args:
        path (`str`): the file. Its permissions are those it had before, else the umask's.
        content (`bytes`): all of it.
        mode_like (`str`, *optional*): a file whose permissions a new one gets, where that one exists.
        kept (`str`, *optional*): what is said of finished work when the disk is full, see [`explain_full_disk`].

    Raises:
        `DiskFullError`: no space is left. An earlier file of the name is still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode_of(path)
    if mode is None and mode_like is not None:
        mode = _mode_of(Path(mode_like))
    temporary = temporary_beside(path)
    with explain_full_disk(path, kept or ("The earlier file is unchanged." if path.exists() else "")):
        # The kernel applies the umask; permissions to keep are never exceeded, not even for a moment.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def write_text_whole(path: str | os.PathLike, text: str, **options) -> None:
    """Writes a text file (UTF-8) whole or not at all; options as for [`write_bytes_whole`].

    Lone surrogates, which UTF-8 cannot hold, become the escapes that JSON has for them.
    """
    write_bytes_whole(path, text.encode("utf-8", errors="backslashreplace"), **options)


# ---- a full disk ----


def disk_is_full(error: BaseException) -> bool:
    """Whether an exception means that the disk, a quota or a file size limit is exhausted."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    # torch.save reports a failed write without the cause; safetensors and Arrow put the cause into the text.
    if "PytorchStreamWriter failed writing" in str(error) or "unexpected pos" in str(error):
        return True
    return any(f"os error {code}" in str(error) or os.strerror(code) in str(error) for code in _FULL)


@contextlib.contextmanager
def explain_full_disk(path: str | os.PathLike, kept: str = "") -> Iterator[None]:
    """Turns any library's way of saying that the disk is full into [`DiskFullError`].

    Args:
        path (`str`): what is being written.
        kept (`str`, *optional*): what of the work is safe.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        cause = error.strerror if isinstance(error, OSError) and error.strerror else error
        parts = [
            f"no space left to write {os.fspath(path)} ({cause}).",
            kept,
            "Free some space, then run the same command again.",
        ]
        raise DiskFullError(" ".join(part for part in parts if part)) from error


# ---- what may be written over ----


def _kind(mode: int) -> str | None:
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), None)


def _is_source(path: Path, source: str | os.PathLike) -> bool:
    """Whether `path` is the source itself, under whatever name, or a file of a source that is a folder."""
    try:
        source = Path(os.fspath(source).removeprefix("file://")).resolve(strict=True)
        if os.path.samefile(path, source):
            return True
    except (OSError, ValueError):  # a Hub id, an address, a path that is not there
        return False
    return source.is_dir() and path.resolve().is_relative_to(source)


def check_output_file(
    path: str | os.PathLike,
    *,
    ours: Callable[[Path], bool] | None = None,
    sources: Iterable[str | os.PathLike] = (),
    overwrite: bool = False,
) -> Path:
    """The path, if a file may be written there.

    Args:
        path (`str`): the file to be.
        ours (`Callable`, *optional*): whether an existing file was written by the same command, and may thus be replaced.
        sources (iterable of `str`): what the command reads; never replaced, under no name and not with `overwrite`.
        overwrite (`bool`, defaults to `False`): replace a file of somebody else's.

    Raises:
        `OutputError`: a link, pipe, device or folder; a source; or a file that is not ours. An empty file is nobody's.
    """
    path = Path(path)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return path
    kind = _kind(status.st_mode)
    if kind == "a symbolic link":
        raise OutputError(
            f"{path} is a symbolic link to {os.readlink(path)}; links are not written through and not replaced. Name the file "
            "itself, or remove the link."
        )
    if kind is not None:
        raise OutputError(f"{path} is {kind}, not a regular file; name a file.")
    for source in sources:
        if _is_source(path, source):
            raise OutputError(
                f"{path} is (part of) the input {os.fspath(source)}; it is never written over. Name another file."
            )
    if status.st_size and not overwrite and not (ours is not None and ours(path)):
        raise OutputError(
            f"{path} exists and was not written by this command; it is left as it is. Name another file, or overwrite it "
            "(overwrite=True, --overwrite)."
        )
    return path


def write_output(
    path: str | os.PathLike,
    text: str,
    *,
    ours: Callable[[Path], bool] | None = None,
    sources: Iterable[str | os.PathLike] = (),
    overwrite: bool = False,
) -> None:
    """[`check_output_file`], then [`write_text_whole`]: for commands with one text file as their output."""
    write_text_whole(check_output_file(path, ours=ours, sources=sources, overwrite=overwrite), text)


def json_file_with(*keys: str) -> Callable[[Path], bool]:
    """For `ours`: whether a file is a JSON object with these keys."""

    def ours(path: Path) -> bool:
        try:
            return set(keys) <= set(read_json_object(path))
        except (OSError, ValueError):
            return False

    return ours


def claim_folder(
    folder: str | os.PathLike,
    kind: str,
    names: Iterable[str],
    *,
    sources: Iterable[str | os.PathLike] = (),
    overwrite: bool = False,
    recognised: bool = False,
    mark: bool = True,
) -> Path:
    """Makes an output folder, or takes one up that the same command made; a marker (`_priorrg.json`) tells.

    Other files of the folder are left alone. Each of `names` that stands there is ours only if the marker is.

    Args:
        folder (`str`): the folder.
        kind (`str`): of the output, e.g. `"evaluation"`.
        names (iterable of `str`): glob patterns of all that the command writes there.
        sources, overwrite: as for [`check_output_file`], for each of these files.
        recognised (`bool`, defaults to `False`): whether the command knows the folder for its own without the marker.
        mark (`bool`, defaults to `True`): leave the marker; `False` where the command always recognises its folders.

    Raises:
        `OutputError`: naming the file in the way.
    """
    folder, names, sources = Path(folder), list(names), list(sources)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder; name a folder.")
    try:
        kinds = read_json_object(folder / MARKER_NAME).get("kinds", [])
        kinds = [str(entry) for entry in kinds] if isinstance(kinds, list) else []
    except (OSError, ValueError):
        kinds = []
    mine = recognised or kind in kinds
    existing = sorted({path for pattern in names for path in folder.glob(pattern)}) if folder.is_dir() else []
    for path in existing:
        if path.is_dir() and not path.is_symlink():
            if not mine and not overwrite and any(path.iterdir()):
                raise OutputError(_in_the_way(path, folder))
            continue
        try:
            check_output_file(path, ours=lambda _: mine, sources=sources, overwrite=overwrite)
        except OutputError as error:
            if "was not written by" in str(error):
                raise OutputError(_in_the_way(path, folder)) from None
            raise
    folder.mkdir(parents=True, exist_ok=True)
    if mark and kind not in kinds:
        marker = {"priorrg_hf": __version__, "kinds": [*kinds, kind]}
        write_text_whole(folder / MARKER_NAME, json.dumps(marker) + "\n")
    return folder


def _in_the_way(path: Path, folder: Path) -> str:
    return (
        f"{path} was not written by this command, and would be replaced. Choose another folder than {folder}, or overwrite it "
        "(overwrite=True, --overwrite)."
    )


# ---- JSON ----


def read_json_object(path: str | os.PathLike) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        `ValueError`: no JSON, or a list or plain value where an object is expected; names the file.
        `OSError`: it cannot be read.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is not JSON ({error})") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{os.fspath(path)} must hold a JSON object, got a {type(content).__name__}")
    return dict(content)


__all__ = [
    "DiskFullError",
    "OutputError",
    "check_output_file",
    "claim_folder",
    "disk_is_full",
    "explain_full_disk",
    "json_file_with",
    "new_folder_beside",
    "read_json_object",
    "replace_file",
    "temporary_beside",
    "write_bytes_whole",
    "write_output",
    "write_text_whole",
]
