"""The worst studies as one HTML file: images, prior, context, generated and reference text with the differing facts marked."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..file_writing import write_text_whole
from .errors import StudyErrors, differing_statements


THUMBNAIL = 512


def _template():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined).get_template(
        "worst_studies.html.j2"
    )


def marked_text(text: str, other: str, kind: str):
    """`text` as safe HTML with the statements that `other` does not make in `<mark class=kind>`; hovering tells what was read."""
    from markupsafe import Markup, escape

    spans: dict[tuple[int, int], list[str]] = {}
    for statement in differing_statements(text, other):
        read = [
            statement.site.replace("_", " ").replace(":", " "),
            statement.status,
            statement.severity,
            statement.change,
        ]
        spans.setdefault((statement.start, statement.end), []).append(", ".join(part for part in read if part))
    parts, position = [], 0
    for (start, end), reads in sorted(spans.items()):
        if start < position:
            continue
        parts.append(escape(text[position:start]))
        parts.append(Markup('<mark class="{}" title="{}">{}</mark>').format(kind, "; ".join(reads), text[start:end]))
        position = end
    parts.append(escape(text[position:]))
    return Markup("").join(parts)


def _thumbnail(image: Any, caption: str) -> dict[str, str | None]:
    from ..image_loading_priorrg import load_image

    try:
        picture = load_image(image).convert("L")
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
    except Exception as error:  # a page about errors must not die of one image
        return {"data": None, "caption": f"{caption}: cannot be shown ({type(error).__name__})"}
    return {"data": base64.b64encode(buffer.getvalue()).decode(), "caption": caption}


def _problems(item: StudyErrors) -> list[str]:
    def spoken(site: str) -> str:
        return site.replace("_", " ").replace(":", " ")

    lines = [f"hallucinated: {spoken(site)}" for site in item.hallucinated]
    lines += [f"omitted: {spoken(site)}" for site in item.omitted]
    lines += [
        f"severity of {spoken(site)}: {true} in the reference, {said} here"
        for site, (true, said) in item.severity.items()
    ]
    for site, (true, said) in item.change.items():
        opposite = " (opposite direction)" if site in item.reversed else ""
        lines.append(f"change of {spoken(site)}: {true} in the reference, {said} here{opposite}")
    if item.unsupported:
        lines.append("compares with a prior that was not shown")
    return lines


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
                "days_before": row.days_before,
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
