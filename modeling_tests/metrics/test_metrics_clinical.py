"""Clinical adapters with a stubbed scorer, their errors, RCB, and the real RadEval where it is installed."""

import importlib.util
import math
import sys
import types

import numpy as np
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


class Labeller:
    """Labels by position in the text, "0110": in RadEval's place a BERT reads them."""

    top5_idx = [1, 3]

    def __init__(self):
        self.read = 0

    def get_labels(self, reports):
        self.read += len(reports)
        return [[int(digit) for digit in text] for text in reports]


class LabellingCheXbert(StubCheXbert):
    """F1 by a plain loop over labels, as scikit-learn's report defines it."""

    def __init__(self, shift=0.0):
        super().__init__()
        self._scorer, self.shift = Labeller(), shift

    def compute(self, refs, hyps, per_sample=False, detailed=False):
        true, said = self._scorer.get_labels(refs), self._scorer.get_labels(hyps)
        if per_sample:
            return super().compute(refs, hyps, per_sample=True)
        values = {}
        for name, places in (("all", range(4)), ("5", self._scorer.top5_idx)):
            counts = [
                [sum(t[p] and s[p] for t, s in zip(true, said, strict=True)), sum(s[p] for s in said), sum(t[p] for t in true)]
                for p in places
            ]  # fmt: skip
            hits, predicted, expected = (sum(column) for column in zip(*counts, strict=True))
            values[f"f1chexbert_{name}_micro_f1"] = 2 * hits / (predicted + expected) + self.shift
            single = [2 * h / (p + e) if p + e else 0.0 for h, p, e in counts]
            values[f"f1chexbert_{name}_macro_f1"] = sum(single) / len(single)
        return values


LABELS = ["0110", "1000", "0101", "0010", "1100"], ["0110", "1001", "0100", "0000", "1110"]


def test_chexbert_f1_is_resampled_from_labels_read_once():
    stub = LabellingCheXbert()
    statistics, corpus = clinical.clinical_statistics(*LABELS, metrics=["chexbert"], scorers={"chexbert": stub})
    assert corpus == {} and stub._scorer.read == 10  # five predictions and five references, once
    expected = stub.compute(LABELS[1], LABELS[0], detailed=True)
    scores = statistics.corpus()
    for theirs, ours in clinical.SCORERS["chexbert"].corpus.items():
        assert scores[ours] == pytest.approx(expected[theirs], abs=1e-12)
    # A replicate is the scorer's own F1 of the drawn reports.
    weights = np.array([[2, 0, 1, 1, 1], [0, 3, 0, 1, 1]], dtype=float)
    for row, drawn in enumerate(statistics.resampled(weights)["chexbert_14_macro_f1"]):
        texts = [
            [text for text, times in zip(side, weights[row], strict=True) for _ in range(int(times))]
            for side in LABELS
        ]
        again = stub.compute(texts[1], texts[0], detailed=True)
        assert drawn == pytest.approx(again["f1chexbert_all_macro_f1"], abs=1e-12)
    interval = bootstrap_intervals(statistics)["chexbert_14_micro_f1"]
    assert interval.low < interval.value < interval.high
    assert "get_labels" not in vars(stub._scorer)


def test_labels_that_do_not_give_the_scorers_own_f1_are_not_used():
    stub = LabellingCheXbert(shift=0.01)
    statistics, corpus = clinical.clinical_statistics(*LABELS, metrics=["chexbert"], scorers={"chexbert": stub})
    assert "chexbert_14_micro_f1" in corpus and "chexbert_14_micro_f1" not in statistics.corpus()


def test_chexbert_f1_equals_radevals_own():
    """RadEval's evaluator with labels given in place of read ones; needs RadEval with all it imports."""
    try:
        base = importlib.import_module("radeval.metrics._chexbert_base")
        metric = clinical._metric_class("chexbert")
        evaluator_class = importlib.import_module("radeval.metrics.f1chexbert.f1chexbert").F1CheXbert
    except ImportError as error:
        pytest.skip(f"RadEval is not installed (extra clinical): {error}")
    draw = np.random.default_rng(0)
    true = draw.integers(0, 2, (40, 14))
    said = np.where(draw.random((40, 14)) < 0.7, true, draw.integers(0, 2, (40, 14)))
    said[:, 3] = true[:, 3] = 0  # a label that nobody has
    texts = ["".join(map(str, row)) for row in np.concatenate([said, true])]

    class GivenLabels(evaluator_class):
        def __init__(self):
            base.BaseCheXbertEvaluator.__init__(self)
            self.refs_filename = self.hyps_filename = None
            self.top5_idx = [self.TARGET_NAMES.index(name) for name in self.TOP5]

        def get_labels(self, reports, mode="rrg", on_batch_done=None):
            return [[int(digit) for digit in text] for text in reports]

    scorer = object.__new__(metric)
    scorer._scorer = GivenLabels()
    statistics, corpus = clinical.clinical_statistics(
        texts[:40], texts[40:], metrics=["chexbert"], scorers={"chexbert": scorer}
    )
    assert corpus == {}
    given = scorer.compute(refs=texts[40:], hyps=texts[:40], detailed=True)
    assert statistics.corpus()["chexbert_5_macro_f1"] == pytest.approx(given["f1chexbert_5_macro_f1"], abs=1e-12)
    assert statistics.corpus()["chexbert_14_macro_f1"] == pytest.approx(given["f1chexbert_all_macro_f1"], abs=1e-12)


def test_a_scorer_that_fails_is_named_with_a_remedy():
    class Failing:
        def compute(self, refs, hyps, per_sample=False, detailed=False):
            raise AttributeError("'matrix' object has no attribute 'format'")

    with pytest.raises(
        clinical.ClinicalScorerError, match="radgraph failed while scoring 1 reports.*'matrix'.*clinical"
    ):
        clinical.clinical_scores(["a"], ["b"], metrics=["radgraph"], scorers={"radgraph": Failing()})


def test_missing_radeval_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "radeval", None)
    monkeypatch.setitem(sys.modules, "radeval.metrics._registry", None)
    with pytest.raises(clinical.ClinicalScorerError, match=r"pip install 'priorrg-hf\[clinical\]'"):
        clinical.clinical_scores(["a"], ["b"])
    with pytest.raises(ImportError):
        clinical.rcb_scorer()


def test_a_package_missing_behind_radeval_is_not_called_missing_weights(monkeypatch):
    def get_metric_class(name):
        raise ModuleNotFoundError("No module named 'medspacy'")

    registry = types.ModuleType("registry")
    registry.get_metric_class = get_metric_class
    for name in ("radeval", "radeval.metrics"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "radeval.metrics._registry", registry)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    with pytest.raises(clinical.ClinicalScorerError, match=r"needs a package that is not installed.*'medspacy'"):
        clinical.load_scorer("ratescore")


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
