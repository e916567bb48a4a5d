"""What a model loses when inputs are missing or wrong: one table and one plot for each question.

Each *question* is a list of *settings*; each setting changes the example rows before the processor sees them, on studies that are the same
for all settings of the question. Reports of a setting are written once, resumable, and shared where two questions have the same setting
(all inputs). Changes are scored on all studies that have a prior, also where the setting hides it.
"""

import dataclasses
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.file_writing import write_text_whole
from ..data.locking import claimed
from ..metrics.bootstrap import bootstrap_intervals
from ..metrics.statistics import joined
from ..metrics.temporal import temporal_statistics
from ..metrics.text_metrics import text_overlap_statistics
from .conditions import Change, ChangedExamples, Row, without_context, without_prior
from .evaluate import EvaluationData, load_evaluation_data
from .generation import generate_reports
from .plots import draw_lines
from .report_file import ReportRow, read_reports
from .scoring import patient_groups


REPORTED = (
    "bleu_2",
    "bleu_4",
    "rouge_l",
    "cider",
    "meteor",
    "presence_f1",
    "change_f1",
    "direction_reversals",
    "unsupported_comparisons",
)
PLOTTED = ("bleu_2", "presence_f1", "change_f1", "unsupported_comparisons")
ALL_INPUTS = "all inputs"
NOISE_LEVELS = (0.1, 0.25, 0.5)
ENOUGH_STUDIES = 30


@dataclasses.dataclass(frozen=True)
class Setting:
    """One point of a question: a label, and what it does to a row (`None`: nothing)."""

    label: str
    change: Change | None = None


@dataclasses.dataclass(frozen=True)
class Question:
    """A question: its settings, and the example ids that all of them are scored on (`None`: all)."""

    name: str
    title: str
    settings: tuple[Setting, ...]
    example_ids: frozenset[str] | None = None


@dataclasses.dataclass
class Sweep:
    """What a sweep found: `result` as in `sweep.json`, `table` in Markdown, `folder` with the files."""

    result: dict[str, Any]
    table: str
    folder: Path


def position_of(example_id: str, purpose: str, seed: int) -> float:
    """A number in [0, 1) that belongs to an example, the same on every machine. Availabilities nest: what is there at 25 % is at 50 %."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{example_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _available(share: float, purpose: str, seed: int, hide: Change) -> Change:
    return lambda row: row if position_of(row["example_id"], purpose, seed) < share else hide(row)


def availability_settings(purpose: str, hide: Change, steps: int, seed: int) -> tuple[Setting, ...]:
    """0 to 100 % in `steps` points; the last is all inputs."""
    settings = []
    for step in range(steps):
        share = step / (steps - 1)
        if step == steps - 1:
            settings.append(Setting(ALL_INPUTS))
        else:
            settings.append(Setting(f"{purpose} {100 * share:g} %", _available(share, purpose, seed, hide)))
    return tuple(settings)


def swapped_contexts(examples, seed: int) -> Change:
    """Gives each example with a context the context of another patient's, drawn once for the set.

    Raises `ValueError` when fewer than two patients have a context.
    """
    ids, patients, indications, histories = (
        list(examples[name]) for name in ("example_id", "patient_id", "indication", "history")
    )
    having = [i for i in range(len(ids)) if (indications[i] or "").strip() or (histories[i] or "").strip()]
    if len({patients[i] for i in having}) < 2:
        raise ValueError("contexts cannot be swapped: fewer than two patients have one")
    generator = random.Random(seed)
    given = {}
    for i in having:
        other = i
        while patients[other] == patients[i]:
            other = having[generator.randrange(len(having))]
        given[str(ids[i])] = {"indication": indications[other], "history": histories[other]}
    return lambda row: {**row, **given.get(str(row["example_id"]), {})}


def noisy_contexts(examples, share: float, seed: int) -> Change:
    """Replaces a share of the words of indication and history by words drawn from all contexts of the set."""
    words = sorted(
        {word for name in ("indication", "history") for text in examples[name] if text for word in text.split()}
    )

    def change(row: Row) -> Row:
        generator = random.Random(f"{seed}:{row['example_id']}")
        noisy = {}
        for name in ("indication", "history"):
            if row.get(name):
                parts = [generator.choice(words) if generator.random() < share else word for word in row[name].split()]
                noisy[name] = " ".join(parts)
        return {**row, **noisy}

    return change


# ---- other priors, from the studies of the source ----


def _timeline(studies) -> dict[str, list[Mapping[str, Any]]]:
    """Studies of each patient in order of time; studies without a time are left out."""
    from ..data.schema import parse_time

    light = studies.select_columns(["study_id", "patient_id", "images", "acquired", "day"])
    patients: dict[str, list] = {}
    for row in light:
        if row["acquired"]:
            moment = parse_time(row["acquired"])[0] / 86400.0
        elif row["day"] is not None:
            moment = float(row["day"])
        else:
            continue
        patients.setdefault(row["patient_id"], []).append({**row, "moment": moment})
    for rows in patients.values():
        rows.sort(key=lambda row: (row["moment"], row["study_id"]))
    return patients


def _image_of(images: Sequence[Mapping[str, Any]], wanted: str | None, differing: bool) -> Mapping[str, Any] | None:
    """The first image whose view family is (or, `differing`, is not) that of `wanted`."""
    from ..data import view_family

    for image in images:
        family = view_family(image["view"])
        if family is not None and (family != view_family(wanted)) == differing:
            return image
    return None


def priors_of_another_view(examples, studies) -> dict[str, dict[str, Any]]:
    """Example id -> prior image and view from the same prior study but of another view, where there is one."""
    by_id = {row["study_id"]: row["images"] for row in studies.select_columns(["study_id", "images"])}
    prior_ids = {
        row["study_id"]: (row["prior"] or {}).get("study_id") for row in studies.select_columns(["study_id", "prior"])
    }
    found = {}
    columns = [list(examples[name]) for name in ("example_id", "study_id", "prior_view_position")]
    for example, study, view in zip(*columns, strict=True):
        images = by_id.get(prior_ids.get(study))
        other = _image_of(images, view, differing=True) if images and view else None
        if other is not None:
            found[str(example)] = {"prior_image": other["image"], "prior_view_position": other["view"]}
    return found


def priors_further_back(examples, studies, depth: int = 3) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """Example id -> its 1st, 2nd ... `depth`-th study back as prior (same view family), with the gap in days; only where all exist."""
    timeline = _timeline(studies)
    found = {}
    columns = [list(examples[name]) for name in ("example_id", "study_id", "patient_id", "view_position")]
    for example, study, patient, view in zip(*columns, strict=True):
        rows = timeline.get(patient, [])
        now = next((row for row in rows if row["study_id"] == study), None)
        if now is None:
            continue
        earlier = [row for row in rows if row["moment"] < now["moment"]]
        options = []
        for row in reversed(earlier):
            image = _image_of(row["images"], view, differing=False)
            if image is not None:
                prior = {"prior_image": image["image"], "prior_view_position": image["view"]}
                options.append((prior, now["moment"] - row["moment"]))
        if len(options) >= depth:
            found[str(example)] = options[:depth]
    return found


def _given_priors(given: Mapping[str, Mapping[str, Any]]) -> Change:
    return lambda row: {**row, **given.get(str(row["example_id"]), {})}


# ---- questions ----


def _availability(purpose: str, hide: Change, title: str):
    def ask(data: EvaluationData, steps: int, seed: int) -> Question:
        return Question(purpose, title, availability_settings(purpose, hide, steps, seed))

    return ask


def _other_view(data: EvaluationData, steps: int, seed: int) -> Question:
    given = priors_of_another_view(data.examples, data.studies)
    if not given:
        raise ValueError("no study's prior study has an image of another view")
    settings = (
        Setting("prior none", without_prior),
        Setting("prior of another view", _given_priors(given)),
        Setting(ALL_INPUTS),
    )
    return Question("prior-view", "Prior of another view", settings, frozenset(given))


def _growing_gap(data: EvaluationData, steps: int, seed: int) -> Question:
    # As far back as enough studies reach; one step further back at the least.
    for depth in (4, 3, 2):
        found = priors_further_back(data.examples, data.studies, depth)
        if len(found) >= ENOUGH_STUDIES:
            break
    if not found:
        raise ValueError("no study has two earlier studies of its view with known times")
    settings = []
    for back in range(depth):
        given = {name: options[back][0] for name, options in found.items()}
        days = sorted(options[back][1] for options in found.values())
        settings.append(Setting(f"{back + 1} back (median {days[len(days) // 2]:.0f} days)", _given_priors(given)))
    settings.append(Setting("prior none", without_prior))
    return Question("prior-gap", "Priors at growing time gaps", tuple(settings), frozenset(found))


def _swapped(data: EvaluationData, steps: int, seed: int) -> Question:
    settings = (
        Setting(ALL_INPUTS),
        Setting("context of another patient", swapped_contexts(data.examples, seed)),
        Setting("context 0 %", without_context),
    )
    return Question("swapped-context", "Context of another patient", settings)


def _noise(data: EvaluationData, steps: int, seed: int) -> Question:
    noisy = [Setting(f"noise {100 * share:g} %", noisy_contexts(data.examples, share, seed)) for share in NOISE_LEVELS]
    return Question("context-noise", "Noise in the context (share of words replaced)", (Setting(ALL_INPUTS), *noisy))


QUESTIONS: dict[str, Callable[[EvaluationData, int, int], Question]] = {
    "prior": _availability("prior", without_prior, "Availability of the prior"),
    "context": _availability("context", without_context, "Availability of the clinical context"),
    "prior-view": _other_view,
    "prior-gap": _growing_gap,
    "swapped-context": _swapped,
    "context-noise": _noise,
}


# ---- running ----


def _file_name(label: str, question: Question) -> str:
    slug = "".join(c if c.isalnum() else "_" for c in label.lower()).strip("_")
    # A subset has files of its own, so that a row missing in one of them never looks like an interrupted run.
    return f"{slug}.jsonl" if question.example_ids is None else f"{question.name}_{slug}.jsonl"


def _scores(
    rows: Sequence, had_prior: Mapping[str, bool], metrics: Sequence[str], replicates: int, seed: int
) -> dict[str, Any]:
    rows = [row for row in rows if row.reference is not None]
    if not rows:
        raise ValueError("no study of the sweep has a reference")
    predictions, references = [row.prediction for row in rows], [row.reference for row in rows]
    statistics = joined(
        [
            text_overlap_statistics(predictions, references, metrics=metrics),
            temporal_statistics(
                predictions, references, [row.has_prior for row in rows], [had_prior[row.example_id] for row in rows]
            ),
        ]
    )
    intervals = bootstrap_intervals(statistics, replicates=replicates, seed=seed, groups=patient_groups(rows))
    kept = {name: intervals[name] for name in REPORTED if name in intervals}
    return {"n": len(rows), "scores": {name: dataclasses.asdict(interval) for name, interval in kept.items()}}


def sweep_examples(
    model,
    processor,
    data: EvaluationData,
    output_dir: str | os.PathLike,
    *,
    questions: Sequence[str] | None = None,
    steps: int = 5,
    metrics: Sequence[str] = ("bleu", "rouge_l", "cider"),
    replicates: int = 1000,
    seed: int = 0,
    batch_size: int = 8,
    num_workers: int = 0,
    strict: bool = False,
    resume: bool = True,
    progress: bool = True,
    on_mismatch: str = "refuse",
    overwrite: bool = False,
    sources: Sequence[str | os.PathLike] = (),
    generation: Mapping[str, Any] | None = None,
) -> Sweep:
    """Asks the questions of a model that is loaded already; see [`run_sweep`]."""
    names = ("sweep.json", "sweep.md", *(f"{name}.png" for name in QUESTIONS))
    writing = {
        "batch_size": batch_size, "num_workers": num_workers, "strict": strict, "resume": resume, "progress": progress,
        "on_mismatch": on_mismatch, "overwrite": overwrite, "sources": sources, **(generation or {}),
    }  # fmt: skip
    with claimed(output_dir, "sweep", names, "priorrg sweep", sources=sources, overwrite=overwrite):
        return _sweep(model, processor, data, Path(output_dir), questions, steps, metrics, replicates, seed, writing)


def _sweep(
    model, processor, data: EvaluationData, folder: Path, questions: Sequence[str] | None, steps: int, metrics: Sequence[str],
    replicates: int, seed: int, writing: Mapping[str, Any],
) -> Sweep:  # fmt: skip
    unknown = sorted(set(questions or ()) - set(QUESTIONS))
    if unknown:
        raise ValueError(f"unknown questions {unknown}; there are {', '.join(QUESTIONS)}")
    names = [str(name) for name in data.examples["example_id"]]
    had_prior = dict(zip(names, _has_prior(data.examples), strict=True))
    result: dict[str, Any] = {
        "dataset": data.name,
        "n": len(names),
        "seed": seed,
        "questions": {},
        "notes": [],
        "skipped": {},
    }
    for name in questions or QUESTIONS:
        try:
            question = QUESTIONS[name](data, steps, seed)
        except ValueError as error:
            result["notes"].append(f"{name} is left out: {error}.")
            continue
        indices = None
        if question.example_ids is not None:
            indices = [index for index, example in enumerate(names) if example in question.example_ids]
        written: list[list[ReportRow]] = []
        skipped: dict[str, str] = {}
        for setting in question.settings:
            path = folder / "reports" / _file_name(setting.label, question)
            summary = generate_reports(
                model, processor, ChangedExamples(data.examples, setting.change, indices), path, **writing
            )
            written.append(read_reports(path) if summary.generated or summary.resumed else [])
            skipped.update(summary.skipped)
        if skipped:
            # A prior that cannot be read is no obstacle where it is hidden; yet all settings are scored on the same studies.
            result["skipped"].update(skipped)
            result["notes"].append(
                f"{name}: {len(skipped)} studies could not be read, and are left out of all its settings."
            )
            written = [[row for row in rows if row.example_id not in skipped] for rows in written]
        if not written[0]:
            result["notes"].append(f"{name} is left out: no study can be read under all its settings.")
            continue
        points = [
            {"label": setting.label, **_scores(rows, had_prior, metrics, replicates, seed)}
            for setting, rows in zip(question.settings, written, strict=True)
        ]
        result["questions"][name] = {"title": question.title, "points": points}
        _draw(question, points, folder / f"{name}.png")
    table = render_sweep(result)
    write_text_whole(folder / "sweep.json", json.dumps(_finite(result), indent=2, ensure_ascii=False) + "\n")
    write_text_whole(folder / "sweep.md", table)
    return Sweep(result, table, folder)


def _has_prior(examples) -> Iterator[bool]:
    for start in range(0, len(examples), 256):
        for image in examples[start : start + 256]["prior_image"]:
            yield image is not None


def _draw(question: Question, points: Sequence[Mapping[str, Any]], path: Path) -> None:
    series = {}
    for score in PLOTTED:
        entries = [point["scores"].get(score) for point in points]
        if all(entry is not None and entry["value"] == entry["value"] for entry in entries):
            series[score] = [(entry["value"], entry["low"], entry["high"]) for entry in entries]
    if series:
        draw_lines(question.title, [point["label"] for point in points], series, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


def render_sweep(result: Mapping[str, Any]) -> str:
    """The tables of a sweep in Markdown."""
    lines = ["# Missing and wrong inputs", "", "Research use only, not for clinical decisions.", ""]
    lines += [f"> {note}\n" for note in result["notes"]]
    for name, question in result["questions"].items():
        points = question["points"]
        scores = [score for score in REPORTED if any(score in point["scores"] for point in points)]
        lines += [
            f"## {question['title']}",
            "",
            "| setting | n | " + " | ".join(scores) + " |",
            "|---" * (len(scores) + 2) + "|",
        ]
        for point in points:
            cells = []
            for score in scores:
                entry = point["scores"].get(score)
                known = entry is not None and entry["value"] == entry["value"]
                cells.append(f"{entry['value']:.3f} ({entry['low']:.3f}–{entry['high']:.3f})" if known else "–")
            lines.append(f"| {point['label']} | {point['n']} | " + " | ".join(cells) + " |")
        lines += ["", f"![{question['title']}]({name}.png)", ""]
    lines.append(
        "Value and 95 % bootstrap interval. Changes are scored on all studies that have a prior, also where it is hidden."
    )
    return "\n".join(lines) + "\n"


def run_sweep(
    model: str | os.PathLike,
    data: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    split: str | None = "test",
    views: str | None = None,
    limit: int | None = None,
    reading: Mapping[str, Any] | None = None,
    device: str | None = None,
    dtype: str = "float32",
    strict: bool = False,
    **options,
) -> Sweep:
    """Loads model and studies and asks the questions; writes `sweep.json`, `sweep.md`, a plot a question, and the reports.

    Args:
        model (`str`): folder or Hub id.
        data, split, views, limit, reading: studies, see `load_evaluation_data`.
        output_dir (`str`): a second call goes on there; with another model, seed or table, and files of others, see `on_mismatch` and
            `overwrite` of `evaluate_model`.
        questions (sequence of `str`, *optional*): some of `QUESTIONS`; by default all. One that the data cannot answer is noted.
        steps (`int`, defaults to 5): points from 0 to 100 %.
        strict (`bool`, defaults to `False`): stop at the first study that cannot be read. Otherwise it is left out of all settings of a
            question, noted, and listed in `result["skipped"]`.
        metrics, replicates, seed, batch_size, num_workers, resume, progress, on_mismatch, overwrite, generation: as in `evaluate_model`.
    """
    from .loading import load_for_generation

    studies = load_evaluation_data(
        data, split=split, views=views, limit=limit, reading=reading,
        require_findings=True, strict=strict,
    )  # fmt: skip
    loaded, processor = load_for_generation(model, device=device, dtype=dtype)
    return sweep_examples(loaded, processor, studies, output_dir, strict=strict, sources=(data, model), **options)


__all__ = ["QUESTIONS", "Question", "Setting", "Sweep", "render_sweep", "run_sweep", "sweep_examples"]
