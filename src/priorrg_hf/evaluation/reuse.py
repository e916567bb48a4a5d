"""Reports that are there already: which of them may be taken over, and what is done about the others.

A report is taken over only if all that made it agrees with what would make it now: image, prior, views, context, reference, model,
processor and settings, by their content. A file may hold reports of several tables or models; each is judged alone.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.file_writing import check_output_file, read_json_object
from .fingerprints import PARTS


logger = logging.getLogger(__name__)

CHOICES = ("refuse", "rewrite")
_NAMED = 5


class OtherReportsError(ValueError):
    """A reports file holds reports that were made of something else; the message names the studies and what differs."""


def partial_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.partial")


def info_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.info.json")


def skipped_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.skipped.jsonl")


def _first_line(path: Path) -> dict[str, Any]:
    """The object in the first line; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            content = json.loads(file.readline(1 << 24))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_reports(path: Path) -> bool:
    first = _first_line(path)
    return isinstance(first.get("fingerprints"), dict) and {"example_id", "prediction"} <= set(first)


def _is_info(path: Path) -> bool:
    try:
        return {"fingerprint", "model_fingerprint"} <= set(read_json_object(path))
    except (OSError, ValueError):
        return False


def check_output(output: Path, sources: Iterable[str | os.PathLike] = (), overwrite: bool = False) -> None:
    """Raises `OutputError` where the reports, or one of the files beside them, would replace what is not ours."""
    sources = list(sources)
    for path, ours in (
        (output, _is_reports),
        (partial_path(output), _is_reports),
        (info_path(output), _is_info),
        (skipped_path(output), lambda path: {"example_id", "skipped"} <= set(_first_line(path))),
    ):
        check_output_file(path, ours=ours, sources=sources, overwrite=overwrite)


@dataclass
class Earlier:
    """Reports of earlier calls.

    Args:
        lines (`dict[str, str]`): example id -> line, of those that are still to be judged or were found to agree.
        stale (`dict[str, list[str]]`): example id -> parts that differ.
    """

    lines: dict[str, str] = field(default_factory=dict)
    stale: dict[str, list[str]] = field(default_factory=dict)

    def agrees(self, name: str, parts: Mapping[str, str | None]) -> bool:
        """Whether the report of an example was made of these parts. One that was not is moved from `lines` to `stale`."""
        if name not in self.lines:
            return False
        made_of = json.loads(self.lines[name]).get("fingerprints")
        if not isinstance(made_of, dict):
            different = ["unknown"]
        else:
            different = [part for part, value in parts.items() if made_of.get(part, "") != value]
        if different:
            self.stale[name] = different
            del self.lines[name]
        return not different


def earlier_reports(output: Path) -> Earlier:
    """All lines of the file and of an interrupted run."""
    return Earlier({**_load(output), **_load(partial_path(output))})


def _load(path: Path) -> dict[str, str]:
    """Lines by example id. A last line that was cut off by a kill is dropped."""
    lines: dict[str, str] = {}
    if not path.is_file():
        return lines
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            try:
                lines[json.loads(line)["example_id"]] = line
            except (json.JSONDecodeError, KeyError, TypeError):
                break
    return lines


def _named(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _changed_settings(output: Path, info: Mapping[str, Any]) -> list[str]:
    """In which settings the info file beside the reports differs."""
    try:
        earlier = read_json_object(info_path(output))
    except (OSError, ValueError):
        return []
    plain = json.loads(json.dumps(dict(info), default=str))
    words = {
        "model_fingerprint": "weights", "model_dtype": "dtype", "config_fingerprint": "model configuration",
        "processor_fingerprint": "processor or tokenizer", "processor": "processor settings",
    }  # fmt: skip
    changed = [word for key, word in words.items() if earlier.get(key) != plain.get(key)]
    old, new = earlier.get("generation"), plain.get("generation")
    if isinstance(old, dict) and isinstance(new, dict):
        changed += sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return changed


def settle(output: Path, earlier: Earlier, absent: Iterable[str], info: Mapping[str, Any], on_mismatch: str) -> None:
    """Tells of reports that do not agree, or refuses.

    Args:
        output (`Path`): the reports file.
        earlier ([`Earlier`]): judged.
        absent (iterable of `str`): reports of studies that the table does not have.
        info (mapping): of the model and settings of this run.
        on_mismatch (`str`): `"refuse"` or `"rewrite"`.

    Raises:
        [`OtherReportsError`]: there are such reports, and `on_mismatch` is `"refuse"`.
    """
    absent = list(absent)
    told = []
    by_model = [name for name, parts in earlier.stale.items() if "model" in parts]
    unknown = [name for name, parts in earlier.stale.items() if "unknown" in parts]
    by_data = {name: parts for name, parts in earlier.stale.items() if name not in by_model and name not in unknown}
    if by_model:
        changed = _changed_settings(output, info)
        told.append(
            f"{len(by_model)} of another model or of other settings"
            + (f" ({', '.join(changed)})" if changed else "")
            + f": {_named(by_model)}"
        )
    if by_data:
        named = (f"{name} ({', '.join(PARTS.get(part, part) for part in parts)})" for name, parts in by_data.items())
        told.append(f"{len(by_data)} made of other data: {_named(named)}")
    if unknown:
        told.append(f"{len(unknown)} that do not say what they were made of: {_named(unknown)}")
    if absent:
        told.append(f"{len(absent)} of studies that the table does not have: {_named(absent)}")
    if not told:
        return
    if on_mismatch == "refuse":
        raise OtherReportsError(
            f"{output} holds reports {'; '.join(told)}. Nothing was changed. Choose another output file, or have these written anew "
            "and those of absent studies dropped (on_mismatch='rewrite', --on-mismatch rewrite)."
        )
    logger.warning("%s held reports %s; they are written anew or dropped", output, "; ".join(told))


__all__ = [
    "CHOICES",
    "Earlier",
    "OtherReportsError",
    "check_output",
    "earlier_reports",
    "info_path",
    "partial_path",
    "settle",
    "skipped_path",
]
