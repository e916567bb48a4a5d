"""Step 0: the tables. Terms, triggers, abbreviations and headings are data (`tables/*.tsv`), one row a phrase.

A phrase may hold alternatives, "(pleural|) (effusion|effusions)". All phrases go into one tree of words, so that finding the longest
phrase at a place takes time in proportion to its length, however many phrases there are.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


FOLDER = Path(__file__).parent / "tables"
_GROUP = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a phrase means: `tag` (its part in the grammar), `value`, and `flags`."""

    tag: str
    value: str
    flags: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A row of `findings.tsv`.

    Args:
        name (`str`): the finding.
        kind (`str`): `"finding"`, `"device"`, `"organ"` or `"other"`.
        in_facts (`bool`): whether it is one of the labels of [`read_facts`].
        sided (`bool`): whether a side tells two of it apart.
        chexpert (`str`, *optional*): its class among the 14 of CheXpert.
        family (`str`): coarse group, in which reports use the words for one another.
    """

    name: str
    kind: str
    in_facts: bool
    sided: bool
    chexpert: str | None
    family: str


def _rows(name: str) -> Iterator[list[str]]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("# "):
            yield line.split("\t")


def expand(pattern: str) -> list[tuple[str, ...]]:
    """All phrases of a pattern as tuples of words: `"(pleural|) effusion"` gives two."""
    parts, position = [], 0
    for match in _GROUP.finditer(pattern):
        parts += [[pattern[position : match.start()]], match.group(1).split("|")]
        position = match.end()
    parts.append([pattern[position:]])
    return list(dict.fromkeys(tuple("".join(choice).split()) for choice in itertools.product(*parts)))


@functools.cache
def findings() -> dict[str, FindingRow]:
    """The findings by name, in the order of the table."""
    rows = [(row + [""] * 6)[:6] for row in _rows("findings.tsv")]
    return {r[0]: FindingRow(r[0], r[1], r[2] == "yes", r[3] == "yes", r[4] or None, r[5]) for r in rows}


@functools.cache
def abbreviations() -> dict[str, tuple[str, ...]]:
    """Short form -> the words of the long one."""
    return {row[0]: tuple(row[1].split()) for row in _rows("abbreviations.tsv")}


@functools.cache
def headings() -> dict[tuple[str, ...], str]:
    """Words of a heading -> its kind (`"skip"`, `"comparison"`, `"body"`)."""
    return {words: row[1] for row in _rows("headings.tsv") for words in expand(row[0])}


@functools.cache
def whole_chest() -> frozenset[str]:
    """Words that a sentence about the chest as a whole may have beside those of the other tables."""
    return frozenset(row[0] for row in _rows("whole_chest.tsv"))


@functools.cache
def phrases() -> dict:
    """All terms and triggers as a tree: word -> branch; the [`Entry`] of a phrase is under `""`. A later row of the same phrase wins; of two
    rows with one meaning the flags are joined."""
    known = findings()
    tree: dict = {}
    for row in _rows("terms.tsv"):
        pattern, finding, _, kind = (row + [""] * 4)[:4]
        _grow(tree, pattern, Entry("FIND", finding, kind or known[finding].kind))
    for row in _rows("triggers.tsv"):
        pattern, tag, value, flags, note = (row + [""] * 5)[:5]
        _grow(tree, pattern, Entry(tag, value, flags, note))
    return tree


def _grow(tree: dict, pattern: str, entry: Entry) -> None:
    for words in expand(pattern):
        if not words:
            continue
        branch = tree
        for word in words:
            branch = branch.setdefault(word, {})
        known = branch.get("")
        if known is not None and (known.tag, known.value) == (entry.tag, entry.value):
            flags = known.flags + "".join(f for f in entry.flags if f not in known.flags)
            branch[""] = Entry(
                entry.tag, entry.value, flags if entry.tag == "CHG" else entry.flags, entry.note or known.note
            )
        else:
            branch[""] = entry


__all__ = ["Entry", "FindingRow", "abbreviations", "expand", "findings", "headings", "phrases", "whole_chest"]
