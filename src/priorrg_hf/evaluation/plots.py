"""Plots of evaluations, sweeps and ablations; PNG files, drawn with matplotlib where it is installed."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.file_writing import write_bytes_whole


if TYPE_CHECKING:
    from .scoring import ScoredReports


NO_MATPLOTLIB = "No plots: matplotlib is not installed (pip install 'priorrg-hf[metrics]')."
BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#8c959f"  # told apart without colour vision too


def _figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: str | os.PathLike) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes_whole(path, buffer.getvalue())
    return Path(path)


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def draw_evaluation(
    result: Mapping[str, Any], scored: "ScoredReports", folder: str | os.PathLike
) -> tuple[list[Path], str | None]:
    """Scores with intervals, findings, the two confusions, and report lengths. Returns the files, or none and a note."""
    if not has_matplotlib():
        return [], NO_MATPLOTLIB
    folder = Path(folder)
    drawn = [
        _draw_scores(result["protocols"], folder / "scores.png"),
        _draw_lengths(scored.rows, folder / "lengths.png"),
    ]
    findings = result["errors"]["findings"]
    if findings:
        drawn.append(_draw_findings(findings, folder / "findings.png"))
    for what in ("change", "severity"):
        table = result["errors"][f"{what}_confusion"]
        if any(map(any, table["matrix"])):
            drawn.append(
                _draw_confusion(table, f"{what}: reference against prediction", folder / f"{what}_confusion.png")
            )
    return drawn, None


def _draw_scores(protocols: Mapping[str, Mapping[str, Any]], path: Path) -> Path:
    names = [
        name for name, entry in protocols["full"].items()
        if entry["value"] is not None and entry["low"] is not None and 0 <= entry["value"] <= 1
    ]  # fmt: skip
    figure = _figure(7, 0.28 * len(names) + 1.2)
    axes = figure.subplots()
    for shift, (protocol, colour) in enumerate(zip(protocols, (BLUE, ORANGE), strict=False)):
        found = [(row, protocols[protocol].get(name)) for row, name in enumerate(names)]
        entries = [(row, entry) for row, entry in found if entry and entry["value"] is not None]
        values = [entry["value"] for _, entry in entries]
        errors = [
            [max(0.0, entry["value"] - entry["low"]) for _, entry in entries],
            [max(0.0, entry["high"] - entry["value"]) for _, entry in entries],
        ]
        rows = [row + 0.25 * shift for row, _ in entries]
        axes.errorbar(
            values, rows, xerr=errors, fmt="o", color=colour, markersize=4, capsize=2, label=f"{protocol} references"
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=-0.02)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, fontsize=8)
    return _save(figure, path)


def _draw_lengths(rows: Sequence, path: Path) -> Path:
    figure = _figure(6, 3.2)
    axes = figure.subplots()
    lengths = [[len(row.reference.split()) for row in rows], [len(row.prediction.split()) for row in rows]]
    top = max(max(lengths[0]), max(lengths[1]), 1)
    axes.hist(lengths, bins=min(40, top + 1), range=(0, top), color=[GRAY, BLUE], label=["references", "predictions"])
    axes.set_xlabel("words a report")
    axes.set_ylabel("reports")
    axes.legend(fontsize=8)
    return _save(figure, path)


def _draw_findings(findings: Mapping[str, Mapping[str, Any]], path: Path) -> Path:
    names = list(findings)[:20]
    figure = _figure(7, 0.32 * len(names) + 1.2)
    axes = figure.subplots()
    for shift, (score, colour) in enumerate((("precision", GRAY), ("recall", ORANGE), ("f1", BLUE))):
        values = [findings[name][score] or 0.0 for name in names]
        axes.barh(
            [row + 0.27 * (shift - 1) for row in range(len(names))], values, height=0.25, color=colour, label=score
        )
    axes.set_yticks(range(len(names)), [f"{name.replace('_', ' ')} ({findings[name]['n']})" for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    return _save(figure, path)


def _draw_confusion(table: Mapping[str, Any], title: str, path: Path) -> Path:
    labels, matrix = table["labels"], table["matrix"]
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    shares = [[value / sum(row) if sum(row) else 0.0 for value in row] for row in matrix]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(matrix):
        for x, value in enumerate(row):
            axes.text(
                x,
                y,
                str(value),
                ha="center",
                va="center",
                color="white" if shares[y][x] > 0.5 else "black",
                fontsize=8,
            )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("prediction")
    axes.set_ylabel("reference")
    axes.set_title(title, fontsize=10)
    return _save(figure, path)


def draw_lines(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    path: str | os.PathLike,
) -> Path | None:
    """Scores over settings: `series` maps a score to `(value, low, high)` for each label. `None` without matplotlib."""
    if not has_matplotlib():
        return None
    figure = _figure(max(5.0, 0.9 * len(labels) + 2), 3.6)
    axes = figure.subplots()
    positions = range(len(labels))
    for name, points in series.items():
        values = [point[0] for point in points]
        errors = [[max(0.0, v - low) for v, low, _ in points], [max(0.0, high - v) for v, _, high in points]]
        axes.errorbar(positions, values, yerr=errors, marker="o", markersize=4, capsize=2, label=name)
    axes.set_xticks(positions, labels, rotation=20, ha="right", fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    return _save(figure, path)


__all__ = ["draw_evaluation", "draw_lines", "has_matplotlib"]
