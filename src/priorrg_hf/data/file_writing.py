"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_bytes_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file whole or not at all, and its folder where there is none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        if os.path.exists(name):
            os.unlink(name)
        raise


def write_text_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a text file (UTF-8) whole or not at all."""
    write_bytes_whole(path, text.encode("utf-8"))
