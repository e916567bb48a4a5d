"""The worst studies as one HTML file: images, prior, context, generated and reference text with the differing facts marked."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.file_writing import write_text_whole
from ..metrics.reading import Statement, read_report
from .errors import NOT_SAID, StudyErrors, differing_statements
from .reading_page import underlined_text


THUMBNAIL = 512


def _template():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined).get_template(
        "worst_studies.html.j2"
    )


def _spoken(site: str) -> str:
    return site.replace("_", " ").replace(":", " ")


def _what_differs(statement: Statement, others: Sequence[Statement]) -> str:
    """Side, severity, change or presence of a statement, where the other text speaks of the finding and says something else of it."""
    same_finding = [other for other in others if other.finding == statement.finding]
    same_site = [other for other in same_finding if set(other.sites) & set(statement.sites)]
    if not same_finding:
        return ""
    if not same_site:
        return statement.side or ""
    fields = ("presence", "grade", "change")
    parts = [
        getattr(statement, name)
        for name in fields
        if all(getattr(statement, name) != getattr(o, name) for o in same_site)
    ]
    return ", ".join(part for part in parts if part)


def marked_text(text: str, other: str, kind: str):
    """`text` as safe HTML with all that was read underlined, and the statements that `other` does not make in `<mark class=kind>`.

    Behind each of those stands in small letters what differs, where `other` says something else of the finding; hovering tells all that was
    read and the words that decided.
    """
    others = read_report(other)
    differing = differing_statements(text, other)
    notes = {statement: _what_differs(statement, others) for statement in differing}
    return underlined_text(text, read_report(text), kinds=dict.fromkeys(differing, kind), notes=notes)


def _thumbnail(image: Any, caption: str) -> dict[str, str | None]:
    from ..model.image_loading_priorrg import load_image

    try:
        picture = load_image(image).convert("L")
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
    except Exception as error:  # a page about errors must not die of one image
        return {"data": None, "caption": f"{caption}: cannot be shown ({type(error).__name__})"}
    return {"data": base64.b64encode(buffer.getvalue()).decode(), "caption": caption}


def _problems(item: StudyErrors) -> list[str]:
    def listed(sites: Sequence[str], side: int) -> str:
        """Sites with the change told of them in the reference (0) or in the prediction (1)."""
        changes = {site: item.change[site][side] for site in sites if site in item.change}
        told = {site: f" ({change})" for site, change in changes.items() if change != NOT_SAID}
        return ", ".join(_spoken(site) + told.get(site, "") for site in sites)

    lines = []
    if item.hallucinated:
        lines.append(f"hallucinated: {listed(item.hallucinated, 1)}")
    if item.omitted:
        lines.append(f"omitted: {listed(item.omitted, 0)}")
    lines += [
        f"severity of {_spoken(site)}: {true} in the reference, {said} here"
        for site, (true, said) in item.severity.items()
    ]
    one_sided = {*item.hallucinated, *item.omitted}
    for site, (true, said) in item.change.items():
        if site in one_sided and NOT_SAID in (true, said):
            continue  # told above
        opposite = " (opposite direction)" if site in item.reversed else ""
        lines.append(f"change of {_spoken(site)}: {true} in the reference, {said} here{opposite}")
    if item.unsupported:
        lines.append("compares with a prior that was not shown")
    return lines


def _days(days: float | None) -> str | None:
    """ "3.2 days", "68 days": no more digits than anybody reads."""
    if days is None:
        return None
    number = f"{days:.1f}".removesuffix(".0") if days < 10 else f"{days:.0f}"
    return f"{number} day{'' if number == '1' else 's'}"


def write_worst_page(
    studies: Sequence[StudyErrors],
    path: str | os.PathLike,
    *,
    examples: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "Worst studies",
) -> Path:
    """Writes the page, self-contained.

    Args:
        studies (sequence of [`StudyErrors`]): in the order to show, see `worst_studies`.
        path (`str`): the HTML file.
        examples (mapping, *optional*): example id -> example row, for images and context. Without it the page has texts only.
        title (`str`): heading.
    """
    entries = []
    for item in studies:
        row = item.row
        example = (examples or {}).get(row.example_id)
        images = []
        if example is not None:
            images.append(_thumbnail(example["image"], f"current {example.get('view_position') or ''}".strip()))
            if example.get("prior_image") is not None:
                caption = f"prior {example.get('prior_view_position') or ''}".strip()
                images.append(_thumbnail(example["prior_image"], caption))
        context = [example.get(name) for name in ("indication", "history")] if example is not None else []
        entries.append(
            {
                "example_id": row.example_id,
                "score": item.score,
                "rouge_l": item.rouge_l,
                "view": row.view_position,
                "has_prior": row.has_prior,
                "days_before": _days(row.days_before),
                "images": images,
                "context": " / ".join(part for part in context if part),
                "prediction": marked_text(row.prediction, row.reference or "", "wrong"),
                "reference": marked_text(row.reference or "", row.prediction, "missed"),
                "problems": _problems(item),
            }
        )
    write_text_whole(path, _template().render(studies=entries, title=title))
    return Path(path)


__all__ = ["marked_text", "write_worst_page"]
