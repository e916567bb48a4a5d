"""Reads statements from free-text findings: finding, side, presence, severity, and change against the earlier study. By rules.

The steps, one file each, can be tested one by one:

1. `tokens`: tokens with abbreviations expanded, sentences, headings, chunks of words that the tables know (`tables/*.tsv`);
2. `disambiguate`: words that mean one thing or another by what stands beside them;
3. `clauses`: clauses, the noun phrase of each finding, and how one phrase stands to the next;
4. `scope`: what negates, hedges, sides and grades each mention, and how far it reaches;
5. `change`: which change word belongs to which mention, by grammar;
6. `document`: sections, openings, back-references, and one fact a side.

How well it reads is measured on texts kept apart, see `docs/reading-reports.md`. It is no substitute for a clinical labeller. Standard
library only.
"""

import functools
import re

from . import tables
from .document import read_document
from .statement import CHANGES, GRADES, OVERALL, PRESENCES, SEVERITIES, SIDES, Statement, Trigger
from .tokens import split_sentences


_PLACEHOLDERS = frozenset(
    ("", "_", "na", "n/a", "n.a", "n.a.", "nan", "none", "null", "nil", "not available", "no report", "-", "--", ".")
)


def is_missing(text: str | None) -> bool:
    """Whether a text is no report: empty, or a placeholder such as "___", "N/A" or "nan"."""
    if not isinstance(text, str):
        return True
    return re.sub(r"[_\s]+", " ", text).strip().lower() in _PLACEHOLDERS


@functools.lru_cache(maxsize=20_000)
def _read(text: str) -> tuple[tuple[Statement, ...], bool]:
    if is_missing(text):
        return (), False
    document = read_document(text)
    statements = tuple(document.statements())
    compares = document.compares or any(s.change is not None for s in statements)
    return statements, compares


def clear_cache() -> None:
    """Forgets what was read: for timing."""
    _read.cache_clear()


def read_report(text: str) -> tuple[Statement, ...]:
    """All statements of a report, in order of mention. Same text, same answer.

    Args:
        text (`str`): findings in English, as written or prepared by `prepare_text`. What is no report (`None`, `"N/A"`) has no statements.
    """
    return _read(text)[0] if isinstance(text, str) else ()


def has_comparison(text: str) -> bool:
    """Whether a report asserts or presupposes an earlier study: by a change, or by words such as "no new", "previously"."""
    return _read(text)[1] if isinstance(text, str) else False


def read_facts(text: str) -> dict:
    """The report as plain facts.

    Returns:
        `{"facts": [{"finding", "side", "presence", "severity", "change"}, ...], "comparison": bool}` with the labels of
        `tables/findings.tsv` whose column `facts` is "yes"; an organ that is named without saying anything of it is no fact.
    """
    known = tables.findings()
    facts = [
        {
            "finding": s.finding,
            "side": s.side,
            "presence": s.presence,
            "severity": s.severity if s.severity != "subtle" else None,
            "change": s.change if s.presence != "absent" or s.change == "resolved" else None,
        }
        for s in read_report(text)
        if s.presence is not None and s.finding in known and known[s.finding].in_facts
    ]
    return {"facts": facts, "comparison": has_comparison(text)}


__all__ = [
    "CHANGES",
    "GRADES",
    "OVERALL",
    "PRESENCES",
    "SEVERITIES",
    "SIDES",
    "Statement",
    "Trigger",
    "has_comparison",
    "is_missing",
    "read_facts",
    "read_report",
    "split_sentences",
]
