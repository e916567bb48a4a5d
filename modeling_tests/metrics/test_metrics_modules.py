"""Every metric as an `evaluate` module, loaded by path offline, equal to its plain function."""

import numpy as np
import pytest


evaluate = pytest.importorskip("evaluate")
pytest.importorskip("pycocoevalcap.bleu.bleu")

from priorrg_hf.metrics import clinical, repetition, retrieval, temporal, text_metrics  # noqa: E402
from priorrg_hf.metrics.modules import MODULES, module_path  # noqa: E402


PREDICTIONS = ["Small left pleural effusion is larger.", "Heart size is normal. Lungs are clear."]
REFERENCES = ["Small left pleural effusion has decreased.", "Heart size is normal. No effusion."]


@pytest.fixture(autouse=True)
def offline_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(name, tmp_path):
    return evaluate.load(module_path(name), cache_dir=str(tmp_path), experiment_id=name)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_loads_by_path(name, tmp_path):
    metric = load(name, tmp_path)
    assert isinstance(metric, evaluate.EvaluationModule)
    assert metric.description and metric.inputs_description


def test_overlap(tmp_path):
    metric = load("report_overlap", tmp_path)
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        metric.add_batch(predictions=[prediction], references=[reference])
    scores = metric.compute(metrics=["bleu", "rouge_l", "cider"])
    assert scores == text_metrics.text_overlap(PREDICTIONS, REFERENCES, metrics=("bleu", "rouge_l", "cider"))


def test_change(tmp_path):
    scores = load("report_change", tmp_path).compute(
        predictions=PREDICTIONS, references=REFERENCES, has_prior=[True, False]
    )
    plain = temporal.temporal_scores(PREDICTIONS, REFERENCES, [True, False])
    assert scores["direction_reversals"] == 1.0
    np.testing.assert_equal(scores, plain)


def test_repetition(tmp_path):
    scores = load("report_repetition", tmp_path).compute(predictions=PREDICTIONS, references=REFERENCES)
    np.testing.assert_equal(scores, repetition.repetition_scores(PREDICTIONS, REFERENCES))


def test_clinical(tmp_path):
    class Scorer:
        def compute(self, refs, hyps, per_sample=False, detailed=False):
            return {"ratescore": [float(a == b) for a, b in zip(refs, hyps, strict=True)]}

    stub = {"ratescore": Scorer()}
    scores = load("report_clinical", tmp_path).compute(
        predictions=["a", "b"], references=["a", "c"], metrics=["ratescore"], scorers=stub
    )
    assert scores == clinical.clinical_scores(["a", "b"], ["a", "c"], metrics=["ratescore"], scorers=stub)
    assert scores == {"ratescore": 0.5}


def test_retrieval(tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    scores = load("report_retrieval", tmp_path).compute(
        predictions=embeddings.tolist(), references=embeddings.tolist(), studies=list(range(12))
    )
    assert scores == retrieval.retrieval_both_directions(embeddings, embeddings, studies=list(range(12)))
    assert scores["image_to_report_recall@1"] == 1.0


def test_unknown_module():
    with pytest.raises(ValueError, match="report_overlap"):
        module_path("bleurt")
