"""The demo's result to look at: a table in Markdown, and an HTML page with films beside true and written reports."""

import base64
import html
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from datasets import Dataset


COLUMNS = {
    "presence_f1": "presence F1",
    "severity_accuracy": "severity",
    "change_accuracy": "change",
    "cause_accuracy": "cause",
    "device_f1": "devices F1",
    "comparison_without_prior_rate": "compares without prior",
    "bleu_1": "BLEU-1",
    "bleu_4": "BLEU-4",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2026; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccd3db; padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
article { display: grid; grid-template-columns: 12rem 12rem 1fr; gap: 1rem; border-top: 1px solid #ccd3db; padding: 1rem 0; }
figure { margin: 0; } img { width: 12rem; height: 12rem; image-rendering: auto; background: #000; }
figcaption, .context { color: #5b6570; font-size: 13px; }
h3 { margin: .6rem 0 0; font-size: 13px; text-transform: uppercase; letter-spacing: .04em; color: #5b6570; } p { margin: 0; }
.none { width: 12rem; height: 12rem; background: #eef1f4; display: grid; place-items: center; color: #5b6570; }
@media (max-width: 45rem) { article { grid-template-columns: 1fr; } }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e9ec; } .none { background: #22272c; } th, td, article { border-color: #39424b; } }
"""


def _cell(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def scores_as_markdown(result: Mapping[str, Any]) -> str:
    """The table of scores by condition and the targets, as Markdown."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for condition, scores in result["scores"].items():
        lines.append(f"| {condition} | " + " | ".join(_cell(scores.get(name)) for name in COLUMNS) + " |")
    lines += ["", "| target | asked | measured | met |", "|---|---|---|---|"]
    for name, target in result["targets"].items():
        lines.append(f"| {name} | {target['bound']} | {target['value']:.3f} | {'yes' if target['met'] else 'no'} |")
    settings = ", ".join(f"{name}={value:g}" for name, value in result["settings"].items())
    reports = int(next(iter(result["scores"].values()))["reports"])
    lines += ["", f"{reports} test studies; {settings}. {result['notice']}", ""]
    return "\n".join(lines)


def _figure(image: Mapping[str, Any] | None, caption: str) -> str:
    if image is None:
        return '<figure><div class="none">no prior study</div></figure>'
    data = base64.b64encode(image["bytes"]).decode()
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _texts(sections: Mapping[str, str | None]) -> str:
    return "".join(f"<h3>{name}</h3><p>{html.escape(text or '-')}</p>" for name, text in sections.items())


def _table(result: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS.values())
    body = "".join(
        f"<tr><td>{condition}</td>" + "".join(f"<td>{_cell(scores.get(name))}</td>" for name in COLUMNS) + "</tr>"
        for condition, scores in result["scores"].items()
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _spread(indices: list[int], count: int) -> list[int]:
    """Up to `count` of the indices, evenly spaced."""
    count = min(count, len(indices))
    return [indices[place * len(indices) // count] for place in range(count)]


def _targets(result: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td>{target['bound']}</td><td>{target['value']:.3f}</td><td>{'yes' if target['met'] else 'no'}</td></tr>"
        for name, target in result["targets"].items()
    )
    return f"<table><tr><th>target</th><th>asked</th><th>measured</th><th>met</th></tr>{rows}</table>" if rows else ""


def write_page(
    path: str | os.PathLike,
    result: Mapping[str, Any],
    examples: "Dataset",
    rows: Mapping[str, list],
    num_examples: int = 24,
) -> None:
    """One HTML file without outside parts: scores, then films with the true report beside the written ones.

    Args:
        path: the file.
        result (mapping): of `run_demo`.
        examples (`Dataset`): the test examples.
        rows (mapping): condition -> report rows in the order of the examples.
        num_examples (`int`, defaults to 24): studies to show, spread over the split; those with a prior come first.
    """
    from ..data.file_writing import write_text_whole

    by_id = {condition: {row.example_id: row for row in reports} for condition, reports in rows.items()}
    has_prior = [view is not None for view in examples["prior_view_position"]]
    with_prior, alone = (
        [index for index, prior in enumerate(has_prior) if prior is wanted] for wanted in (True, False)
    )
    # Mostly studies with a prior, some without, from all over the split: neighbours are visits of one patient.
    few = min(len(alone), num_examples // 4)
    chosen = [*_spread(with_prior, num_examples - few), *_spread(alone, few)]
    articles = []
    for index in chosen:
        example = examples[index]
        written = {condition: reports.get(example["example_id"]) for condition, reports in by_id.items()}
        context = " ".join(text for text in (example["indication"], example["history"]) if text) or "no context"
        sections = {"true report": example["findings"]}
        sections.update({f"written, {c}": row.prediction if row else None for c, row in written.items()})
        articles.append(
            "<article>"
            + _figure(example["image"], f"current, {example['view_position']}")
            + _figure(example["prior_image"], f"prior, {example['prior_view_position']}")
            + f'<div><p class="context">{html.escape(context)}</p>{_texts(sections)}</div></article>'
        )
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>PriorRG demo</title><style>{_STYLE}</style><h1>PriorRG on synthetic studies</h1>"
        f"<p>{html.escape(result['notice'])}</p>{_table(result)}{_targets(result)}{''.join(articles)}</html>"
    )
    write_text_whole(path, page)


__all__ = ["scores_as_markdown", "write_page"]
