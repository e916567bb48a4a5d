"""The evaluation card: `evaluation.json`, a Markdown card, plots, and the page of the worst studies, from a list of reports.

`evaluation.json` begins with what a model card needs (`metrics`, `dataset`, `split`, `num_examples`, `protocol`); `model_index` in it is
the fragment for a Hub card's `model-index`.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.file_writing import write_text_whole
from ..metrics.bootstrap import Interval
from ..metrics.reader_error import RESTS_ON, measured, reader_accuracy, with_reader_error
from ..metrics.repetition import most_frequent_reports
from ..metrics.text_metrics import TEXT_METRICS, scorer_versions
from ..version import __version__
from .errors import error_analysis, study_errors, worst_studies
from .fingerprints import installed_version, text_fingerprint
from .report_file import ReportRow
from .scoring import CUT, FULL, PROTOCOLS, ScoredReports, compare_systems, patient_groups, score_reports, subset_scores


SUBSET_METRICS = (
    "bleu_4", "rouge_l", "meteor", "cider", "presence_f1", "change_f1", "direction_reversals", "attribute_f1", "unsupported_comparisons",
    "reader_14_micro_f1", "chexbert_14_micro_f1", "radgraph_partial_f1",
)  # fmt: skip
# Of the lines on variety and length, those that tell subsets apart.
SUBSET_LENGTHS = (
    "words_mean", "reference_words_mean", "length_ratio", "repeated_sentences", "distinct_reports", "duplicate_reports", "most_frequent_report",
)  # fmt: skip
WORST_STUDIES = 20
DISPLAY_NAMES = {
    "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L", "meteor": "METEOR 1.5", "meteor_nltk": "METEOR (NLTK)", "cider": "CIDEr-D",
    "change_f1": "Change F1", "presence_f1": "Presence F1", "attribute_f1": "Attribute F1", "chexbert_14_micro_f1": "CheXbert-14 micro F1",
    "reader_14_micro_f1": "Presence F1 of 14 classes, by rules, micro", "reader_14_macro_f1": "Presence F1 of 14 classes, by rules, macro",
    "radgraph_partial_f1": "RadGraph partial F1",
}  # fmt: skip


@dataclasses.dataclass
class Evaluation:
    """What an evaluation wrote.

    Args:
        result (`dict`): the content of `evaluation.json`.
        folder (`Path`): where the files are.
        files (`list[Path]`): all of them.
    """

    result: dict[str, Any]
    folder: Path
    files: list[Path]

    def scores(self, protocol: str = FULL) -> dict[str, float]:
        """Scores by name under a protocol."""
        return {name: entry["value"] for name, entry in self.result["protocols"][protocol].items()}


def _plain(value: Any) -> Any:
    """JSON-serialisable, with `None` for what is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _metrics(scores: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: _plain(entry) for name, entry in scores.items() if math.isfinite(entry.value)}


def model_index(result: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The `model-index` fragment of a Hub model card, both protocols, made by huggingface_hub."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = []
    for protocol, scores in result["protocols"].items():
        for metric, entry in scores.items():
            if entry["value"] is None:
                continue
            suffix = " (references cut)" if protocol == CUT else ""
            results.append(
                EvalResult(
                    task_type="image-to-text",
                    task_name="Radiology report generation",
                    dataset_type=result.get("dataset_id") or result.get("dataset") or "unknown",
                    dataset_name=result.get("dataset") or "unknown",
                    dataset_split=result.get("split"),
                    metric_type=metric,
                    metric_name=DISPLAY_NAMES.get(metric, metric) + suffix,
                    metric_value=round(entry["value"], 6),
                    metric_config=protocol,
                )
            )
    return eval_results_to_model_index(name, results) if results else []


def _versions(metrics: Sequence[str], clinical: Sequence[str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {"priorrg_hf": __version__, **scorer_versions()}
    versions.update({name: installed_version(name) for name in ("numpy", "torch", "transformers", "datasets")})
    if "meteor_nltk" in metrics:
        versions["nltk"] = installed_version("nltk")
    if clinical:
        versions["radeval"] = installed_version("radeval")
    return versions


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"


def _interval(entry: Mapping[str, Any], why: str | None = None) -> str:
    if why is not None:
        return why
    if entry.get("low") is None or entry.get("high") is None:
        return "–"
    return f"{_number(entry['low'])} to {_number(entry['high'])}"


def _with_interval(value: float | None, bounds: Sequence[float | None] | None) -> str:
    """A value with its interval in one cell of a table."""
    finite = [bound for bound in bounds or () if bound is not None and math.isfinite(bound)]
    if value is None or not bounds or len(finite) < len(bounds):
        return _number(value)
    return f"{_number(value)} ({_number(bounds[0])} to {_number(bounds[1])})"


def _confusion_table(table: Mapping[str, Any]) -> str:
    labels = table["labels"]
    lines = ["| | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
    lines += [
        f"| {label} | " + " | ".join(map(str, row)) + " |" for label, row in zip(labels, table["matrix"], strict=True)
    ]
    return "\n".join(lines)


def _reader(scored: ScoredReports, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How well the reader reads each label, and the scores that rest on it carried through its error."""
    accuracy = reader_accuracy()
    corrected = with_reader_error(scored.statistics[FULL], groups=patient_groups(scored.rows), **settings)
    labels = {"direction_reversals": ("increased", "decreased", "new", "resolved")}
    return {
        "measured_on": measured()["sets"],
        "accuracy": accuracy,
        "corrected": {
            name: {**_plain(entry), "labels": list(labels.get(name, (RESTS_ON[name],)))}
            for name, entry in corrected.items()
        },
    }


def render_card(result: Mapping[str, Any], *, name: str, plots: Sequence[str] = ()) -> str:
    """The Markdown card of an `evaluation.json`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    text = environment.get_template("evaluation_card.md.j2").render(
        result=result,
        name=name,
        plots=list(plots),
        protocol_names=PROTOCOLS,
        subset_metrics=[
            m for m in SUBSET_METRICS if any(m in entry["scores"] for entry in result["subsets"].values())
        ],
        hallucinated=list(result["errors"]["hallucinations"]["counts"].items())[:10],
        omitted=list(result["errors"]["omissions"]["counts"].items())[:10],
        number=_number,
        interval=_interval,
        cell=_with_interval,
        subset_lengths=SUBSET_LENGTHS,
        signed=lambda value: "–" if value is None else f"{value:+.3f}",
        confusion=_confusion_table,
    )
    return text


def evaluate_reports(
    rows: Sequence[ReportRow],
    output_dir: str | os.PathLike,
    *,
    name: str = "reports",
    metrics: Sequence[str] = TEXT_METRICS,
    clinical: Sequence[str] = (),
    weights: Mapping[str, str] | None = None,
    against: Sequence[ReportRow] | None = None,
    against_name: str = "the other system",
    examples: Mapping[str, Mapping[str, Any]] | None = None,
    dataset: str | None = None,
    dataset_id: str | None = None,
    split: str | None = None,
    fingerprints: Mapping[str, str | None] | None = None,
    skipped: int = 0,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    plots: bool = True,
) -> Evaluation:
    """Scores reports and writes `evaluation.json`, `evaluation.md`, `worst_studies.html` and plots into `output_dir`.

    Args:
        rows (sequence of [`ReportRow`]): see `read_reports`.
        output_dir (`str`): made if need be; each file is written whole or not at all.
        name (`str`): of the system, in headings.
        metrics, clinical: see `scoring.score_reports`.
        weights (mapping, *optional*): local folders of the clinical scorers' weights, see `priorrg_hf.metrics.clinical.load_scorer`.
        against, against_name: reports of another system for a paired test.
        examples (mapping, *optional*): example id -> example row, for images in the page of the worst studies.
        dataset, dataset_id, split (`str`, *optional*): what was evaluated on.
        fingerprints (mapping, *optional*): of model, data and settings; those of predictions and references are added.
        skipped (`int`): studies that got no report, to be told.
        replicates, confidence, seed: of bootstrap and randomisation test.
        plots (`bool`): draw plots, where matplotlib is installed.

    Raises:
        `ValueError`: no report has a reference; the systems to compare share no study.
    """
    folder = Path(output_dir)
    bootstrap: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}
    scorers = {}
    if clinical:  # loaded once for both systems, and before anything that takes time
        from ..metrics.clinical import load_scorer

        scorers = {scorer: load_scorer(scorer, weights=weights) for scorer in clinical}
    scored = score_reports(rows, metrics=metrics, clinical=clinical, scorers=scorers, **bootstrap)
    kept = scored.rows
    errors = _plain(error_analysis(kept, bootstrap))
    patients = {row.patient_id for row in kept if row.patient_id is not None}
    result: dict[str, Any] = {
        "metrics": _metrics(scored.scores[FULL]),
        "dataset": dataset,
        "dataset_id": dataset_id,
        "split": split,
        "num_examples": len(kept),
        "protocol": PROTOCOLS[FULL],
        "name": name,
        "num_patients": len(patients) or None,
        "without_reference": scored.without_reference,
        "skipped": skipped,
        "bootstrap": {**bootstrap, "unit": scored.resampled},
        "protocols": {protocol: _plain(scores) for protocol, scores in scored.scores.items()},
        "no_interval": scored.no_interval,
        "repetition": errors.pop("repetition"),
        "most_frequent_reports": [
            {"report": text, "studies": count}
            for text, count in most_frequent_reports([r.prediction for r in kept], 5)
        ],
        "subsets": _plain(subset_scores(scored, SUBSET_METRICS)),
        "errors": errors,
        "reader": _plain(_reader(scored, bootstrap)),
        "against": None,
        "tokenisation": "space before '.', runs of spaces folded, split at white space; no lower-casing",
        "versions": _versions(metrics, clinical),
        "fingerprints": {
            **(fingerprints or {}),
            "predictions": text_fingerprint(row.prediction for row in kept),
            "references": text_fingerprint(row.reference for row in kept),
        },
        "notes": list(scored.notes),
    }
    if against is not None:
        compared = compare_systems(kept, against, metrics=metrics, clinical=clinical, scorers=scorers, **bootstrap)
        result["against"] = _plain({"name": against_name, **compared})
    result["model_index"] = model_index(result, name)

    drawn: list[Path] = []
    if plots:
        from .plots import draw_evaluation

        drawn, note = draw_evaluation(result, scored, folder)
        result["notes"] += [note] if note else []
    page = folder / "worst_studies.html"
    from .worst_page import write_worst_page

    write_worst_page(
        worst_studies(study_errors(kept), WORST_STUDIES), page, examples=examples, title=f"Worst studies of {name}"
    )
    card, data = folder / "evaluation.md", folder / "evaluation.json"
    write_text_whole(card, render_card(result, name=name, plots=[path.name for path in drawn]))
    write_text_whole(data, json.dumps(_plain(result), indent=2, ensure_ascii=False) + "\n")
    return Evaluation(result, folder, [data, card, page, *drawn])


__all__ = ["Evaluation", "evaluate_reports", "model_index", "render_card"]
