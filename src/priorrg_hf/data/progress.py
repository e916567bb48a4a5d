"""The one progress line of long work: what is done, how fast, and how much time is left."""

import sys
from collections.abc import Iterable, Sized
from typing import Any


# Not on a terminal (a log, a pipe), each refresh is a line of its own: seconds between them.
_INTERVAL_IN_LOGS = 30.0
_KNOWN = "{desc}: {n_fmt}/{total_fmt}{unit} |{bar}| {rate_noinv_fmt}, {remaining} left{postfix}"
_UNKNOWN = "{desc}: {n_fmt}{unit}, {rate_noinv_fmt}, {elapsed}{postfix}"


def progress_bar(
    iterable: Iterable | None = None,
    *,
    description: str,
    unit: str = "studies",
    total: int | None = None,
    initial: int = 0,
    shown: bool = True,
) -> Any:
    """
    A tqdm bar in the package's form. Use it as a context manager, or around an iterable.

    Args:
        iterable (*optional*): what is gone through.
        description (`str`): what is being done, e.g. `"reports"`.
        unit (`str`, defaults to `"studies"`): what is counted, in the plural.
        total (`int`, *optional*): how many there are; without it no time is left to tell.
        initial (`int`): how many were done before.
        shown (`bool`): whether to show it.
    """
    from tqdm.auto import tqdm

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return tqdm(
        iterable,
        desc=description,
        total=total,
        initial=initial,
        unit=f" {unit}",
        bar_format=_UNKNOWN if total is None else _KNOWN,
        mininterval=0.2 if sys.stderr.isatty() else _INTERVAL_IN_LOGS,
        disable=not shown,
        dynamic_ncols=True,
        leave=True,
    )


__all__ = ["progress_bar"]
