"""What the reader makes of a text, for human eyes: every mention underlined, with side, presence, severity, change and what decided."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data.file_writing import write_text_whole
from ..metrics.reading import OVERALL, Statement, has_comparison, is_missing, read_report


PARTS = ("side", "presence", "severity", "change")


def spoken(statement: Statement) -> str:
    """ "pleural effusion left, present, small, unchanged": all that was read of one finding on one side."""
    name = "chest as a whole" if statement.finding == OVERALL else statement.finding.replace("_", " ")
    parts = (
        f"{name} {statement.side}" if statement.side else name,
        statement.presence,
        statement.severity,
        statement.change,
    )
    return ", ".join(part for part in parts if part)


def deciding(statement: Statement) -> str:
    """'presence by "no"; change by "larger"': the words that decided, or nothing."""
    return "; ".join(f'{trigger.part} by "{trigger.text}"' for trigger in statement.triggers)


def _told(statement: Statement) -> str:
    decided = deciding(statement)
    return f"{spoken(statement)} ({decided})" if decided else spoken(statement)


def underlined_text(
    text: str,
    statements: Sequence[Statement],
    *,
    kinds: dict[Statement, str] | None = None,
    notes: dict[Statement, str] | None = None,
):
    """`text` as safe HTML: mentions underlined, words that decided dotted, all that was read on hovering over either.

    Args:
        text (`str`): the text that was read.
        statements (sequence of [`Statement`]): of it.
        kinds (`dict`, *optional*): statement -> CSS class of a `<mark>` around its mention, in place of the underline.
        notes (`dict`, *optional*): statement -> what stands in small letters behind its mention.
    """
    from markupsafe import Markup, escape

    kinds, notes = kinds or {}, notes or {}
    spans: dict[tuple[int, int], list[Statement]] = {}
    dots: dict[tuple[int, int], list[str]] = {}
    for statement in statements:
        for place in statement.mentions or ((statement.start, statement.end),):
            spans.setdefault(place, []).append(statement)
        for trigger in statement.triggers:
            dots.setdefault((trigger.start, trigger.end), []).append(
                f"{spoken(statement)}: decides its {trigger.part}"
            )
    taken = sorted(spans)
    every = [(place, "mention") for place in taken]
    every += [(place, "trigger") for place in dots if not any(a < place[1] and place[0] < b for a, b in taken)]
    parts, position = [], 0
    for (start, end), what in sorted(every):
        if start < position or end <= start:
            continue
        parts.append(escape(text[position:start]))
        if what == "trigger":
            parts.append(
                Markup('<span class="trigger" title="{}">{}</span>').format(
                    "; ".join(dict.fromkeys(dots[(start, end)])), text[start:end]
                )
            )
        else:
            parts.append(_mention(text[start:end], spans[(start, end)], kinds, notes))
        position = end
    parts.append(escape(text[position:]))
    return Markup("").join(parts)


def _mention(words: str, statements: Sequence[Statement], kinds: dict[Statement, str], notes: dict[Statement, str]):
    from markupsafe import Markup

    title = "; ".join(dict.fromkeys(_told(s) for s in statements))
    kind = next((kinds[s] for s in statements if s in kinds), None)
    presence = next((s.presence for s in statements if s.presence), "named")
    if kind is not None:
        marked = Markup('<mark class="{}" title="{}">{}</mark>').format(kind, title, words)
    else:
        marked = Markup('<u class="{}" title="{}">{}</u>').format(presence, title, words)
    small = "; ".join(dict.fromkeys(notes[s] for s in statements if notes.get(s)))
    return marked + Markup('<small class="read">{}</small>').format(small) if small else marked


def reading_of(text: str) -> dict[str, Any]:
    """What was read, JSON-serialisable: the statements in order with the words that decided, and whether an earlier study is spoken of."""
    statements = [
        {
            "finding": s.finding,
            "side": s.side,
            "presence": s.presence,
            "severity": s.severity,
            "change": s.change,
            "mentions": [list(place) for place in s.mentions],
            "triggers": [{"part": t.part, "text": t.text, "start": t.start, "end": t.end} for t in s.triggers],
        }
        for s in read_report(text)
    ]
    return {"statements": statements, "comparison": has_comparison(text), "missing": is_missing(text)}


def write_reading_page(
    texts: Iterable[tuple[str, str]], path: str | os.PathLike, *, title: str = "What was read"
) -> Path:
    """Writes one self-contained HTML page of texts as they were read.

    Args:
        texts (iterable of `(name, text)`): the reports; everything in them is escaped.
        path (`str`): the HTML file, written whole or not at all.
        title (`str`): heading.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    entries = []
    for name, text in texts:
        statements = read_report(text)
        rows = [
            {"name": spoken(s).split(",")[0], **{part: getattr(s, part) for part in PARTS}, "decided": deciding(s)}
            for s in statements
        ]
        entries.append(
            {
                "name": name,
                "text": underlined_text(text, statements),
                "rows": rows,
                "comparison": has_comparison(text),
                "missing": is_missing(text),
            }
        )
    folder = Path(__file__).parent / "templates"
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    write_text_whole(path, environment.get_template("reading.html.j2").render(texts=entries, title=title))
    return Path(path)


__all__ = ["deciding", "reading_of", "spoken", "underlined_text", "write_reading_page"]
