"""Clinical adapters with a stubbed scorer, their errors, RCB, and the real RadEval where it is installed."""

import importlib.util
import math
import sys

import pytest

from priorrg_hf.metrics import clinical
from priorrg_hf.metrics.bootstrap import bootstrap_intervals


class StubCheXbert:
    def __init__(self):
        self.calls = []

    def compute(self, refs, hyps, per_sample=False, detailed=False):
        self.calls.append((list(refs), list(hyps)))
        if per_sample:
            return {"f1chexbert_sample_acc_all": [1.0] * len(refs), "f1chexbert_sample_acc_5": [0.0] * len(refs)}
        return {
            "f1chexbert_all_micro_f1": 0.123456789,
            "f1chexbert_all_macro_f1": 0.2,
            "f1chexbert_5_micro_f1": 0.3,
            "f1chexbert_5_macro_f1": 0.4,
            "f1chexbert_label_scores_f1": {},
        }


class StubRadGraph:
    def compute(self, refs, hyps, per_sample=False, detailed=False):
        values = [float(a == b) for a, b in zip(refs, hyps, strict=True)]
        return dict.fromkeys(("radgraph_simple", "radgraph_partial", "radgraph_complete"), values)


def test_names_order_of_arguments_and_precision():
    stub = StubCheXbert()
    scores = clinical.clinical_scores(
        ["prediction"], ["reference"], metrics=["chexbert", "radgraph"], scorers={"chexbert": stub, "radgraph": StubRadGraph()}
    )  # fmt: skip
    assert scores["chexbert_14_micro_f1"] == 0.123456789  # not rounded
    assert scores["radgraph_partial_f1"] == 0.0
    assert all(call == (["reference"], ["prediction"]) for call in stub.calls)


def test_per_report_scores_can_be_resampled():
    statistics, corpus = clinical.clinical_statistics(
        ["a", "b", "c", "d"], ["a", "b", "x", "y"], metrics=["radgraph"], scorers={"radgraph": StubRadGraph()}
    )
    assert corpus == {} and statistics.corpus()["radgraph_partial_f1"] == 0.5
    interval = bootstrap_intervals(statistics)["radgraph_partial_f1"]
    assert interval.low < 0.5 < interval.high


def test_missing_radeval_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "radeval", None)
    monkeypatch.setitem(sys.modules, "radeval.metrics._registry", None)
    with pytest.raises(clinical.ClinicalScorerError, match=r"pip install 'priorrg-hf\[clinical\]'"):
        clinical.clinical_scores(["a"], ["b"])
    with pytest.raises(ImportError):
        clinical.rcb_scorer()


def test_unreachable_weights_are_explained(monkeypatch):
    class Unreachable:
        def __init__(self):
            raise OSError("We couldn't connect to 'https://huggingface.co'\nsecond line")

    monkeypatch.setattr(clinical, "_metric_class", lambda name: Unreachable)
    with pytest.raises(
        clinical.ClinicalScorerError, match="could not load its weights.*RRG_scorers.*couldn't connect.*--weights"
    ):
        clinical.load_scorer("chexbert")


def test_numpy_mismatch_is_explained(monkeypatch):
    class Broken:
        def __init__(self):
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr(clinical, "_metric_class", lambda name: Broken)
    with pytest.raises(clinical.ClinicalScorerError, match="numpy<2"):
        clinical.load_scorer("ratescore")


def test_unknown_metric_and_unknown_weights():
    with pytest.raises(ValueError, match="chexbert"):
        clinical.clinical_scores(["a"], ["b"], metrics=["bleurt"])
    with pytest.raises(ValueError, match="StanfordAIMI/RRG_scorers"), clinical._local_weights({"nobody/nothing": "x"}):
        pass


def test_local_weights_redirect_every_loader_and_are_taken_back(tmp_path):
    import huggingface_hub
    import transformers

    download, loader = huggingface_hub.hf_hub_download, transformers.AutoConfig.from_pretrained
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    with clinical._local_weights({"chexbert": str(tmp_path), "bert": str(tmp_path)}):
        path = huggingface_hub.hf_hub_download(
            repo_id="StanfordAIMI/RRG_scorers", filename="chexbert.pth", cache_dir="x"
        )
        assert path == f"{tmp_path}/chexbert.pth"
        assert transformers.AutoConfig.from_pretrained("bert-base-uncased").hidden_size == 8
    assert huggingface_hub.hf_hub_download is download
    assert transformers.AutoConfig.from_pretrained == loader


def test_rcb_and_its_fallback():
    scores = {"bleu_4": 0.1, "rouge_l": 0.3, "chexbert_14_micro_f1": 0.5, "radgraph_partial_f1": 0.2}
    assert clinical.rcb(scores) == {"rcb": pytest.approx(0.8), "rcb_is_fallback": 0.0}
    del scores["radgraph_partial_f1"]
    assert clinical.rcb(scores) == {"rcb": pytest.approx(0.4), "rcb_is_fallback": 1.0}
    scores["radgraph_partial_f1"] = math.nan
    assert clinical.rcb(scores)["rcb_is_fallback"] == 1.0


@pytest.mark.skipif(importlib.util.find_spec("radeval") is None, reason="RadEval is not installed (extra clinical)")
@pytest.mark.parametrize("name", clinical.CLINICAL_METRICS)
def test_the_real_radeval_is_found_and_answers_or_explains(name):
    try:
        metric_class = clinical._metric_class(name)
        assert set(clinical.SCORERS[name].corpus) <= set(metric_class.metric_keys(object.__new__(metric_class)))
        scorer = clinical.load_scorer(name)
    except clinical.ClinicalScorerError as error:
        assert "could not load its weights" in str(error) or "numpy<2" in str(error)
    else:
        text = "Small left pleural effusion."
        assert clinical.clinical_scores([text], [text], metrics=[name], scorers={name: scorer})
