"""What reading a source would take, found out from its first studies."""

import itertools
import os
import time
from typing import Any

from .loading import cache_folder, read_rows
from .readers import ReaderOptions, open_reader
from .schema import StudyError


SAMPLE = 64


def plan_reading(source: str | os.PathLike, *, format: str | None = None, **options) -> dict[str, Any]:
    """
    The format of a source, its number of studies where that is known without reading it, and the time of reading them all as
    measured on the first ones. Opens no image.

    Args:
        source, format: as in `load_studies`.
        options: further fields of `ReaderOptions`.
    """
    for name in ("image_root", "reports"):
        if options.get(name) is not None:
            options[name] = os.path.abspath(options[name])
    reader, reason = open_reader(source, format, ReaderOptions(cache_dir=str(cache_folder(None)), **options))
    started = time.perf_counter()
    rows = list(itertools.islice(read_rows(reader), SAMPLE))
    seconds = time.perf_counter() - started
    count = len(rows) if len(rows) < SAMPLE else reader.count()
    return {
        "reads": str(source),
        "format": f"{reader.name} ({reason})",
        "studies": count if count is not None else f"more than {SAMPLE}; the number is not known without reading",
        "first_faults": sum(isinstance(row, StudyError) for _, row in rows) or None,
        "seconds": None if count is None or not rows else seconds / len(rows) * count,
    }


__all__ = ["plan_reading"]
