"""The weights inside the package: they load, they are small, and the report model reads its inputs."""

import json

import pytest
import torch


pytest.importorskip("datasets")

from priorrg_hf.data import as_examples
from priorrg_hf.evaluation.conditions import CONDITIONS, ChangedExamples
from priorrg_hf.evaluation.generation import processor_inputs
from priorrg_hf.phantom import (
    facts_by_study,
    load_phantom_model,
    load_phantom_vision,
    make_phantom_cohort,
    phantom_model_folder,
    score_reports,
)
from priorrg_hf.phantom.pretrained import WEIGHTS_FOLDER


STUDIES = 96


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Scores by condition on studies of a seed that nothing was trained on."""
    everything = {"train": 1.0}
    cohort = make_phantom_cohort(
        STUDIES, 77, fractions=everything, laterals=False, cache_dir=str(tmp_path_factory.mktemp("cohort"))
    )["train"]
    truths = facts_by_study(cohort)
    examples = as_examples(cohort, include_views="frontal")
    model, processor = load_phantom_model()
    result = {}
    for condition, change in CONDITIONS.items():
        changed = ChangedExamples(examples, change)
        reports, rows = [], [changed[index] for index in range(len(changed))]
        for start in range(0, len(rows), 32):
            batch = processor_inputs(processor, rows[start : start + 32])
            with torch.no_grad():
                reports += processor.post_process_reports(model.generate(**batch, num_beams=1))
        result[condition] = score_reports(
            reports, [truths[row["study_id"]] for row in rows], [row["prior_image"] is not None for row in rows]
        )
    return result


def test_the_report_model_reads_the_films(scores):
    # The bounds are far from what its card says and farther from chance: they find a model that is broken, not one that is a little worse.
    assert scores["all inputs"]["presence_f1"] > 0.8
    assert scores["image alone"]["presence_f1"] > 0.8


def test_the_report_model_reads_the_prior(scores):
    # 0.227 is what the best guesser without the prior reaches.
    assert scores["all inputs"]["change_accuracy"] > 0.3
    assert scores["without prior"]["change_accuracy"] == 0
    assert max(s["comparison_without_prior_rate"] for s in scores.values()) <= 0.02


def test_the_report_model_reads_the_context(scores):
    # 0.360 is what the best guesser without the context reaches.
    assert scores["all inputs"]["cause_accuracy"] > 0.6
    assert scores["without context"]["cause_accuracy"] < 0.37


def test_sizes():
    def megabytes(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

    assert megabytes(WEIGHTS_FOLDER / "priorrg-phantom-tiny") < 10
    assert megabytes(WEIGHTS_FOLDER) < 15


def test_the_vision_encoder_in_the_model_is_the_one_in_the_package():
    model, _ = load_phantom_model()
    for name, value in load_phantom_vision().state_dict().items():
        assert model.model.vision_model.state_dict()[name].equal(value), name


def test_the_card_says_what_it_is():
    with open(f"{phantom_model_folder()}/README.md", encoding="utf-8") as card:
        text = card.read()
    for phrase in ("Research use only, not for clinical decisions", "Synthetic drawings", "presence_f1 (all inputs)"):
        assert phrase in text


def test_settings_name_no_folder_of_the_machine_that_made_them():
    for path in WEIGHTS_FOLDER.rglob("*.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        parts = [settings, *(value for value in settings.values() if isinstance(value, dict))]
        assert not any(part.get("_name_or_path") for part in parts), path
