"""Ablations: variants of the method trained on the phantom cohort and tabulated, from one plan file.

A plan (JSON, see `plans/phantom_ablation.json`) names cohort, model shape, training, seeds, and variants; a variant changes configuration
fields, or leaves stage 1 out. Work that variants share is done once: the cohort, the features of the frozen vision encoder, and stage 1,
which does not depend on how the decoder's memory is ordered. Finished work is found again, so that a stopped run goes on.

The phantoms' truth is known, so besides text overlap the facts are scored exactly.
"""

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.file_writing import json_file_with, read_json_object, write_text_whole
from ..data.locking import claimed
from .conditions import CONDITIONS, ChangedExamples
from .fingerprints import settings_fingerprint
from .plots import draw_lines


DEFAULT_PLAN = Path(__file__).parent / "plans" / "phantom_ablation.json"
# Fields that only the decoder's memory depends on: variants that differ in nothing else share stage 1.
STAGE_2_FIELDS = frozenset({"memory_segments", "use_layer_fusion"})
REPORTED = (
    "presence_f1", "severity_accuracy", "change_accuracy", "cause_accuracy", "comparison_without_prior_rate", "change_f1",
    "bleu_4", "rouge_l",
)  # fmt: skip
PLAN_KEYS = {
    "about", "seeds", "cohort", "model", "training", "stage_1", "stage_2", "generation", "conditions", "variants",
}  # fmt: skip
NOT_SHARED = {"about", "seeds", "variants", "conditions"}
VARIANT_KEYS = {"name", "about", "config", "stage_1", "conditions"}


@dataclasses.dataclass
class Ablation:
    """What an ablation found: `result` as in `ablation.json`, `table` in Markdown, `folder` with the files."""

    result: dict[str, Any]
    table: str
    folder: Path


def read_plan(path: str | os.PathLike | None = None) -> dict[str, Any]:
    """Reads and checks a plan; by default the package's own. Raises `ValueError` naming what is wrong."""
    path = Path(path or DEFAULT_PLAN)
    plan = read_json_object(path)
    missing, unknown = PLAN_KEYS - {"about"} - set(plan), set(plan) - PLAN_KEYS
    if missing or unknown:
        raise ValueError(
            f"{path}: missing {sorted(missing)}, unknown {sorted(unknown)}; a plan has {', '.join(sorted(PLAN_KEYS))}"
        )
    for key in ("seeds", "conditions", "variants"):
        if not isinstance(plan[key], list):
            raise ValueError(f"{path}: {key} must be a list, got a {type(plan[key]).__name__}")
    for key in ("cohort", "model", "training", "stage_1", "stage_2", "generation"):
        if not isinstance(plan[key], dict):
            raise ValueError(f"{path}: {key} must be an object, got a {type(plan[key]).__name__}")
    if not all(isinstance(variant, dict) for variant in plan["variants"]):
        raise ValueError(f"{path}: every variant must be an object with a name")
    names = [variant.get("name") for variant in plan["variants"]]
    if not names or None in names or len(set(names)) < len(names):
        raise ValueError(f"{path}: every variant needs a name of its own, got {names}")
    for variant in plan["variants"]:
        odd = set(variant) - VARIANT_KEYS
        conditions = set(variant.get("conditions", plan["conditions"])) - set(CONDITIONS)
        if odd or conditions:
            raise ValueError(f"{path}, variant {variant['name']}: unknown {sorted(odd | conditions)}")
    return plan


def _config(plan: Mapping[str, Any], processor, changes: Mapping[str, Any]):
    from ..training.presets import new_config

    config = new_config("tiny", processor, image_size=plan["cohort"]["image_size"])
    settings = config.to_dict()
    for name, value in plan["model"].items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    return type(config).from_dict({**settings, **changes})


class _Runner:
    """One run of a plan; each method does a piece of work once."""

    def __init__(
        self, plan: Mapping[str, Any], folder: Path, progress: bool, say: Callable[[str], None], on_mismatch: str
    ):
        self.plan, self.folder, self.progress, self.say, self.on_mismatch = plan, folder, progress, say, on_mismatch
        self._cohorts: dict[int, Any] = {}

    def cohort(self, seed: int):
        """Training and test examples of a seed, and the truth by study."""
        if seed not in self._cohorts:
            from ..data import as_examples
            from ..phantom import facts_by_study, make_phantom_cohort

            settings = dict(self.plan["cohort"])
            studies = make_phantom_cohort(
                settings.pop("num_studies"),
                seed,
                settings.pop("image_size"),
                cache_dir=str(self.folder / "cohort"),
                **settings,
            )
            train = as_examples(studies["train"], require_findings=True)
            test = as_examples(studies["test"], require_findings=True)
            self._cohorts = {seed: (train, test, facts_by_study(studies["test"]))}
        return self._cohorts[seed]

    def _processor(self):
        from ..phantom import phantom_tokenizer_folder
        from ..training.presets import new_processor, view_table

        return new_processor(
            phantom_tokenizer_folder(), self.plan["cohort"]["image_size"], view_table(["AP", "PA", "LATERAL"])
        )

    def _features(self, model, processor, seed: int) -> Path:
        from ..training.feature_cache import precompute_features

        folder = self.folder / f"seed{seed}" / "features"
        precompute_features(
            model, processor, self.cohort(seed)[0], folder, layers="all", batch_size=64, progress=self.progress
        )
        return folder

    def _train(self, trainer_class, arguments_class, model, processor, seed: int, folder: Path, **options) -> None:
        from ..training.checkpointing import last_complete_checkpoint, seal

        arguments = arguments_class(
            output_dir=str(folder), seed=seed, eval_strategy="no", load_best_model_at_end=False, metric_for_best_model=None,
            save_strategy="epoch", save_total_limit=1, report_to="none", disable_tqdm=not self.progress,
            feature_cache=str(self._features(model, processor, seed)), **{**self.plan["training"], **options},
        )  # fmt: skip
        trainer = trainer_class(
            model=model, args=arguments, train_dataset=self.cohort(seed)[0], processing_class=processor
        )
        trainer.train(resume_from_checkpoint=last_complete_checkpoint(arguments.output_dir))
        trainer.save_model()
        seal(folder)

    def stage_1(self, changes: Mapping[str, Any], seed: int) -> Path:
        """Folder of the stage-1 model for these configuration changes, trained if need be."""
        from transformers import set_seed

        from ..model.modeling_priorrg import PriorRGForContrastivePretraining
        from ..phantom import phantom_vision_folder
        from ..training.checkpointing import is_finished
        from ..training.trainer import PriorRGContrastiveTrainer
        from ..training.training_args import PriorRGContrastiveTrainingArguments

        shared = {name: value for name, value in changes.items() if name not in STAGE_2_FIELDS}
        folder = self.folder / f"seed{seed}" / f"stage1_{settings_fingerprint(shared)[:8]}"
        if not is_finished(folder):
            set_seed(seed)
            processor = self._processor()
            model = PriorRGForContrastivePretraining.from_pretrained_backbones(
                vision=phantom_vision_folder(), config=_config(self.plan, processor, shared)
            )
            options = {**self.plan["stage_1"]}
            self._train(
                PriorRGContrastiveTrainer,
                PriorRGContrastiveTrainingArguments,
                model,
                processor,
                seed,
                folder,
                **options,
            )
        return folder

    def stage_2(self, variant: Mapping[str, Any], seed: int) -> Path:
        """Folder of the report generator of a variant, trained if need be."""
        from transformers import set_seed

        from ..model.modeling_priorrg import PriorRGForReportGeneration, PriorRGPreTrainedModel
        from ..phantom import phantom_decoder_folder, phantom_vision_folder
        from ..training.checkpointing import is_finished
        from ..training.runs import continue_from_stage_1
        from ..training.trainer import PriorRGReportTrainer
        from ..training.training_args import PriorRGReportTrainingArguments

        changes = variant.get("config", {})
        folder = self.folder / f"seed{seed}" / variant["name"]
        if is_finished(folder):
            return folder
        start = self.stage_1(changes, seed) if variant.get("stage_1", True) else None
        set_seed(seed)
        processor = self._processor()
        model: PriorRGPreTrainedModel
        if start is not None:
            memory = {name: value for name, value in changes.items() if name in STAGE_2_FIELDS}
            model = continue_from_stage_1(start, phantom_decoder_folder(), **memory)
        else:
            model = PriorRGForReportGeneration.from_pretrained_backbones(
                vision=phantom_vision_folder(),
                decoder=phantom_decoder_folder(),
                config=_config(self.plan, processor, changes),
            )
        self._train(
            PriorRGReportTrainer, PriorRGReportTrainingArguments, model, processor, seed, folder, predict_with_generate=False,
            **self.plan["stage_2"],
        )  # fmt: skip
        return folder

    def scores(self, variant: Mapping[str, Any], seed: int) -> dict[str, dict[str, float | None]]:
        """Scores of a variant on the test split by condition; from file where they were computed before, of the same model and data."""
        model_folder = self.stage_2(variant, seed)
        path = model_folder / "test_scores.json"
        wanted = variant.get("conditions", self.plan["conditions"])
        made_of = self._made_of(model_folder, seed)
        try:
            stored = read_json_object(path)
        except (OSError, ValueError):
            stored = {}
        known = stored.get("scores") if stored.get("made_of") == made_of else None
        known = known if isinstance(known, dict) else {}
        if set(wanted) <= set(known):
            return {condition: known[condition] for condition in wanted}
        from .generation import generate_reports
        from .loading import load_for_generation
        from .report_file import read_reports

        _, test, truths = self.cohort(seed)
        model, processor = load_for_generation(model_folder)
        for condition in wanted:
            output = model_folder / f"reports_{condition.replace(' ', '_')}.jsonl"
            generate_reports(
                model, processor, ChangedExamples(test, CONDITIONS[condition]), output, progress=self.progress,
                on_mismatch=self.on_mismatch, **self.plan["generation"],
            )  # fmt: skip
            known[condition] = _phantom_scores(read_reports(output), truths, list(test["study_id"]), _had_prior(test))
        write_text_whole(path, json.dumps({"made_of": made_of, "scores": known}, indent=2) + "\n")
        return {condition: known[condition] for condition in wanted}

    def _made_of(self, model_folder: Path, seed: int) -> str:
        """Changes with the trained model, the cohort and how reports are written."""
        from ..phantom.dataset import GENERATOR_VERSION
        from ..training.checkpointing import model_files_digest

        return settings_fingerprint(
            {
                "model": model_files_digest(model_folder),
                "cohort": {**self.plan["cohort"], "seed": seed, "generator": GENERATOR_VERSION},
                "generation": self.plan["generation"],
            }
        )


def _had_prior(examples) -> dict[str, bool]:
    columns = zip(examples["example_id"], examples["prior_view_position"], strict=True)
    return {str(name): view is not None for name, view in columns}


def _phantom_scores(
    rows: Sequence, truths: Mapping[str, Any], studies: Sequence[str], had_prior: Mapping[str, bool]
) -> dict[str, float | None]:
    from ..metrics.temporal import temporal_statistics
    from ..metrics.text_metrics import text_overlap
    from ..phantom import score_reports

    predictions, references = [row.prediction for row in rows], [row.reference or "" for row in rows]
    shown = [bool(row.has_prior) for row in rows]
    scores = score_reports(predictions, [truths[row.study_id] for row in rows], shown)
    scores.update(text_overlap(predictions, references, metrics=("bleu", "rouge_l", "cider")))
    counted = [had_prior[row.example_id] for row in rows]
    temporal = temporal_statistics(predictions, references, shown, counted).corpus()
    scores["change_f1"] = temporal["change_f1"]
    return {name: float(value) if math.isfinite(value) else None for name, value in scores.items()}


def run_ablation(
    plan: Mapping[str, Any],
    output_dir: str | os.PathLike,
    *,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
    on_mismatch: str = "refuse",
    overwrite: bool = False,
) -> Ablation:
    """Trains, tests and tabulates the variants of a plan.

    Args:
        plan (mapping): see [`read_plan`].
        output_dir (`str`): `ablation.json`, `ablation.md`, `ablation.png`, and a folder a seed with everything that was trained. The tables
            are written anew after each variant, so that a stopped run leaves what it has.
        only (sequence of `str`, *optional*): names of the variants to run.
        seeds (sequence of `int`, *optional*): instead of the plan's.
        progress, say: progress bars, and what is told of each step.
        on_mismatch (`str`, defaults to `"refuse"`): see `generate_reports`.
        overwrite (`bool`, defaults to `False`): replace files of the folder that are none of ours.

    Raises:
        `ValueError`: an unknown variant, or a folder that holds runs of another plan.
        `OutputError`, `LockedError`: the folder holds such files of others, or another run is writing there.
    """
    names = [variant["name"] for variant in plan["variants"]]
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise ValueError(f"unknown variants {unknown}; the plan has {', '.join(names)}")
    files = ("ablation.json", "ablation.md", "ablation.png", "settings.json", "cohort", "seed[0-9]*")
    with claimed(
        output_dir,
        "ablation",
        files,
        "priorrg ablate",
        overwrite=overwrite,
        recognised=json_file_with("shared", "variants")(Path(output_dir) / "settings.json"),
    ) as folder:
        return _run_plan(plan, folder, only, seeds, _Runner(plan, folder, progress, say, on_mismatch))


def _run_plan(
    plan: Mapping[str, Any], folder: Path, only: Sequence[str] | None, seeds: Sequence[int] | None, runner: _Runner
) -> Ablation:
    from ..phantom.dataset import GENERATOR_VERSION
    from ..phantom.pretrained import pretrained_digest

    made_with = {"generator": GENERATOR_VERSION, "backbones": pretrained_digest()}
    shared = {"made_with": made_with, **{key: plan[key] for key in sorted(PLAN_KEYS - NOT_SHARED)}}
    _check_folder(folder, shared, {v["name"]: {k: v.get(k) for k in ("config", "stage_1")} for v in plan["variants"]})
    result: dict[str, Any] = {"plan": dict(plan), "seeds": [], "variants": {}}
    table = ""
    for seed in seeds if seeds is not None else plan["seeds"]:
        for variant in plan["variants"]:
            if only and variant["name"] not in only:
                continue
            runner.say(f"seed {seed}, {variant['name']}: {variant.get('about', '')}")
            scores = runner.scores(variant, seed)
            entry = result["variants"].setdefault(variant["name"], {})
            for condition, values in scores.items():
                entry.setdefault(condition, {})[str(seed)] = values
            result["seeds"] = sorted({int(s) for e in result["variants"].values() for c in e.values() for s in c})
            table = render_ablation(result)
            write_text_whole(folder / "ablation.json", json.dumps(result, indent=2) + "\n")
            write_text_whole(folder / "ablation.md", table)
    _draw(result, folder / "ablation.png")
    return Ablation(result, table, folder)


def _check_folder(folder: Path, shared: Mapping[str, Any], variants: Mapping[str, Any]) -> None:
    path = folder / "settings.json"
    known = {"shared": shared, "variants": {}}
    if path.is_file():
        known = read_json_object(path)
        if not isinstance(known.get("shared"), dict) or not isinstance(known.get("variants"), dict):
            raise ValueError(f"{path} is damaged; choose another folder, or delete this one")
    shared = json.loads(json.dumps(shared))
    changed = [name for name, value in variants.items() if known["variants"].get(name, value) != value]
    if known["shared"] != shared or changed:
        raise ValueError(
            f"{folder} holds runs of another plan ({', '.join(changed) or 'other cohort, model or training'}); choose another folder"
        )
    write_text_whole(
        path, json.dumps({"shared": known["shared"], "variants": {**known["variants"], **variants}}, indent=2) + "\n"
    )


def _mean_and_spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def render_ablation(result: Mapping[str, Any]) -> str:
    """The table in Markdown: mean over seeds, and standard deviation where there are several."""
    lines = [
        "# Ablations on the phantom cohort",
        "",
        "Synthetic drawings, not patients. Research use only, not for clinical decisions.",
        "",
    ]
    lines += [f"Mean over seeds {', '.join(map(str, result['seeds']))}, ± standard deviation.", ""]
    lines += ["| variant | tested with | seeds | " + " | ".join(REPORTED) + " |", "|---" * (len(REPORTED) + 3) + "|"]
    for name, conditions in result["variants"].items():
        for condition, by_seed in conditions.items():
            cells = []
            for score in REPORTED:
                found = _mean_and_spread([values.get(score) for values in by_seed.values()])
                cells.append(
                    "–"
                    if found is None
                    else f"{found[0]:.3f} ± {found[1]:.3f}"
                    if len(by_seed) > 1
                    else f"{found[0]:.3f}"
                )
            lines.append(f"| {name} | {condition} | {len(by_seed)} | " + " | ".join(cells) + " |")
    abouts = [
        f"- {v['name']}: {v['about']}"
        for v in result["plan"]["variants"]
        if v.get("about") and v["name"] in result["variants"]
    ]
    return "\n".join([*lines, "", *abouts]) + "\n"


def _draw(result: Mapping[str, Any], path: Path) -> None:
    names = list(result["variants"])
    series: dict[str, list] = {}
    for score in ("presence_f1", "change_accuracy", "cause_accuracy", "bleu_4"):
        points = []
        for name in names:
            by_seed = next(iter(result["variants"][name].values()))
            found = _mean_and_spread([values.get(score) for values in by_seed.values()])
            points.append(None if found is None else (found[0], found[0] - found[1], found[0] + found[1]))
        if points and all(point is not None for point in points):
            series[score] = points
    if series:
        draw_lines("Variants, first condition: mean and standard deviation over seeds", names, series, path)


__all__ = ["Ablation", "read_plan", "render_ablation", "run_ablation"]
