"""Text overlap: equality with pycocoevalcap, robustness, corpus and per-report values, resampling."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


pytest.importorskip("pycocoevalcap.bleu.bleu")

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge, my_lcs

from priorrg_hf.metrics import bootstrap_intervals, meteor_java, paired_test, prepare_text, text_metrics
from priorrg_hf.metrics.bootstrap import bootstrap_weights
from priorrg_hf.metrics.statistics import joined, mean_statistics


FIXTURES = Path(__file__).parents[1] / "fixtures"
needs_java = pytest.mark.skipif(
    meteor_java.meteor_unavailable_reason() is not None, reason=str(meteor_java.meteor_unavailable_reason())
)
WORDS = [
    "the",
    "lungs",
    "are",
    "clear",
    "heart",
    "size",
    "normal",
    "no",
    "pleural",
    "effusion",
    "or",
    "pneumothorax",
    "left",
]
WORDS += [
    "right",
    "small",
    "moderate",
    "unchanged",
    "stable",
    "opacity",
    "Atelectasis",
    "at",
    "base",
    "4.5",
    "cm",
    "größe",
]


def reports(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    references = [
        " ".join(" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) + "." for _ in range(draw.randint(1, 5)))
        for _ in range(count)
    ]
    predictions = [" ".join(w if draw.random() < 0.7 else draw.choice(WORDS) for w in r.split()) for r in references]
    return predictions, references


def library_scores(predictions, references):
    gts = {i: [prepare_text(text)] for i, text in enumerate(references)}
    res = {i: [prepare_text(text)] for i, text in enumerate(predictions)}
    corpus, per_report = Bleu(4).compute_score(gts, res, verbose=0)
    scores = {f"bleu_{n}": (corpus[n - 1], per_report[n - 1]) for n in range(1, 5)}
    scores["rouge_l"] = Rouge().compute_score(gts, res)
    scores["cider"] = Cider().compute_score(gts, res)
    return scores


def test_prepare_text_is_the_published_rule():
    assert prepare_text("Heart  is normal. Lungs clear.") == "Heart is normal . Lungs clear ."
    assert prepare_text("4.5 cm") == "4 .5 cm"
    assert prepare_text("No change .") == "No change ."  # already prepared text stays
    assert prepare_text(" a ") == " a "  # spaces are folded, not trimmed
    assert prepare_text("one.\n two\t.\r\n") == "one . two ."  # text with line breaks becomes one line
    assert prepare_text("a\tb\u00a0c.") == "a\tb\u00a0c ."  # other whitespace is not the rule's business
    assert prepare_text("") == ""


@pytest.mark.parametrize("count", [2, 60])
def test_equal_to_pycocoevalcap(count):
    predictions, references = reports(count, seed=count)
    statistics = text_metrics.text_overlap_statistics(predictions, references, metrics=("bleu", "rouge_l", "cider"))
    scores = statistics.corpus()
    for name, (corpus, per_report) in library_scores(predictions, references).items():
        assert scores[name] == pytest.approx(corpus, abs=1e-12), name
        np.testing.assert_allclose(statistics.per_report[name], per_report, atol=1e-12, err_msg=name)


def test_equal_to_pycocoevalcap_when_predictions_are_short_or_empty():
    predictions = ["", "lungs", "the lungs are clear.", "no effusion."]
    references = ["heart is normal.", "the lungs are clear.", "", "no effusion."]
    scores = text_metrics.text_overlap(predictions, references, metrics=("bleu", "rouge_l", "cider"))
    for name, (corpus, _) in library_scores(predictions, references).items():
        assert scores[name] == pytest.approx(corpus, abs=1e-12), name


def test_case_matters():
    scores = text_metrics.text_overlap(["The lungs are clear."], ["the lungs are clear."], metrics=["bleu"])
    assert scores["bleu_1"] == pytest.approx(0.8)


def test_longest_common_subsequence_equals_the_table():
    draw = random.Random(3)
    for _ in range(200):
        first = draw.choices("abcde", k=draw.randint(0, 12))
        second = draw.choices("abcde", k=draw.randint(0, 12))
        assert text_metrics.longest_common_subsequence(first, second) == my_lcs(first, second)


def test_identical_pairs_score_one_and_empty_references_do_not_fail():
    texts = ["Heart size is normal. No effusion.", "Small left pleural effusion is unchanged."]
    scores = text_metrics.text_overlap(texts, texts, metrics=("bleu", "rouge_l", "cider"))
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        assert scores[name] == pytest.approx(1.0)
    assert scores["cider"] == pytest.approx(10.0)
    empty = text_metrics.text_overlap(["a b", ""], ["", ""], metrics=("bleu", "rouge_l", "cider"))
    assert empty["bleu_4"] == pytest.approx(0.0, abs=1e-9) and empty["cider"] == 0.0


def test_very_long_reports_take_little_time_and_memory():
    text = " ".join(random.Random(0).choices(WORDS, k=20_000))
    assert text_metrics.rouge_l([text], [text])["rouge_l"] == 1.0
    assert text_metrics.bleu([text], [text])["bleu_4"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("predictions", "references", "error"),
    [([], [], ValueError), (["a"], [], ValueError), (["a"], [None], TypeError), ("a", "a", TypeError)],
)
def test_bad_input_is_named(predictions, references, error):
    with pytest.raises(error):
        text_metrics.text_overlap(predictions, references)


def test_unknown_metric():
    with pytest.raises(ValueError, match="bleurt"):
        text_metrics.text_overlap(["a"], ["a"], metrics=["bleurt"])


def test_without_java_meteor_is_skipped_with_a_note_and_nothing_takes_its_place(monkeypatch):
    monkeypatch.setattr(meteor_java.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="METEOR is skipped.*Java"):
        scores = text_metrics.text_overlap(["a b."], ["a b."])
    assert not any("meteor" in name for name in scores)
    with pytest.raises(meteor_java.MeteorUnavailableError):
        text_metrics.text_overlap(["a b."], ["a b."], missing="raise")
    with pytest.raises(meteor_java.MeteorUnavailableError):
        text_metrics.meteor(["a b."], ["a b."])


def test_nltks_meteor_is_what_nltk_computes():
    score = pytest.importorskip("nltk.translate.meteor_score", reason="NLTK is not installed").single_meteor_score
    predictions, references = reports(6, seed=2)
    try:
        scores = text_metrics.text_overlap(predictions, references, metrics=["meteor_nltk"])
    except ImportError as error:
        pytest.skip(str(error))
    texts = zip(map(prepare_text, predictions), map(prepare_text, references), strict=True)
    assert scores == {"meteor_nltk": pytest.approx(np.mean([score(r.split(), p.split()) for p, r in texts]))}


# ---- METEOR ----


@needs_java
def test_meteor_equals_the_program_and_survives_hostile_text():
    answers = json.loads((FIXTURES / "meteor_program_answers.json").read_text(encoding="utf-8"))
    predictions, references, expected = answers["predictions"], answers["references"], answers["scores"]
    hostile = ["line\nbreak . ||| left", "\r\n", "|||", "ünïcödé 肺 \ud800", "nul \0 byte", ""]
    statistics = meteor_java.meteor_statistics(predictions + hostile, references + hostile)
    assert len(statistics) == len(predictions) + len(hostile)
    np.testing.assert_allclose(statistics.per_report["meteor"][: len(expected)], expected, atol=1e-12)
    assert statistics.corpus(slice(0, len(expected)))["meteor"] == pytest.approx(answers["corpus"], abs=1e-12)
    assert np.isfinite(statistics.per_report["meteor"]).all()


def test_only_paraphrases_that_cannot_match_are_left_out(monkeypatch, tmp_path):
    entries = [
        ("left lung", "Lung, left"),
        ("left lung", "heart"),
        ("can not", "can 't"),
        ("größe", "lung"),
        ("no", "heart"),
    ]
    table = tmp_path / "table.gz"
    table.write_bytes(gzip.compress("".join(f"0.1\n{a.lower()}\n{b.lower()}\n" for a, b in entries).encode()))
    monkeypatch.setattr(meteor_java, "_READ_BYTES", 7)  # entries are cut between reads
    kept = meteor_java._paraphrases_of(table, ["SCORE ||| The LEFT lung. ||| Can't, can not Größe"]).decode()
    assert kept.splitlines()[1::3] == ["left lung", "can not", "größe"]


@needs_java
def test_reports_too_long_for_the_program_are_named_at_once(monkeypatch):
    monkeypatch.setattr(meteor_java, "_run", lambda *args: pytest.fail("the program was started"))
    words = " ".join(random.Random(0).choices(WORDS, k=30_000))
    for prediction, reference in ((words, "a b."), ("word " * 500, "word " * 200)):
        with pytest.raises(meteor_java.MeteorUnavailableError, match="cannot align report 1: .* words against"):
            text_metrics.meteor(["a b.", prediction], ["a b.", reference])
        with pytest.warns(UserWarning, match="METEOR is skipped.*report 1"):
            scores = text_metrics.text_overlap(["a b.", prediction], ["a b.", reference], metrics=["bleu", "meteor"])
        assert "meteor" not in scores and scores["bleu_1"] > 0


@needs_java
def test_meteor_never_hangs():
    with pytest.raises(RuntimeError, match="did not answer within"):
        meteor_java.meteor_match_statistics(["a b"], ["a b"], timeout=0.05)


@needs_java
def test_a_failing_program_is_reported(monkeypatch, tmp_path):
    broken = tmp_path / "meteor-1.5.jar"
    broken.write_bytes(b"no jar")
    (tmp_path / "data").mkdir()
    (tmp_path / meteor_java.PARAPHRASES).write_bytes(gzip.compress(b""))
    monkeypatch.setattr(meteor_java, "find_jar", lambda: broken)
    with pytest.raises(RuntimeError, match="METEOR program failed"):
        meteor_java.meteor_match_statistics(["a b"], ["a b"])


# ---- resampling ----


def overlap(seed):
    return text_metrics.text_overlap_statistics(*reports(50, seed), metrics=("bleu", "rouge_l", "cider"))


def test_a_replicate_is_the_score_of_the_drawn_reports():
    predictions, references = reports(30, seed=8)
    statistics = joined(
        [
            text_metrics.bleu_statistics(predictions, references),
            text_metrics.rouge_l_statistics(predictions, references),
        ]
    )
    weights = next(iter(bootstrap_weights(30, 3, seed=1)))
    scores = statistics.resampled(weights)
    for row in range(3):
        drawn = np.repeat(np.arange(30), weights[row].astype(int))
        again = text_metrics.text_overlap(
            [predictions[i] for i in drawn], [references[i] for i in drawn], metrics=("bleu", "rouge_l")
        )
        for name, value in again.items():
            assert scores[name][row] == pytest.approx(value, abs=1e-12)


def test_intervals_hold_the_value_and_repeat_with_the_seed():
    statistics = overlap(4)
    first, second = bootstrap_intervals(statistics, seed=3), bootstrap_intervals(statistics, seed=3)
    assert first == second
    for interval in first.values():
        assert interval.low < interval.value < interval.high


def test_patients_are_drawn_whole():
    groups = np.array([0, 0, 1, 1, 1, 2])
    weights = next(iter(bootstrap_weights(6, 20, 0, groups)))
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 4]).all()
    scores = mean_statistics({"score": np.array([0, 0, 0, 1, 1, 1.0])})
    ids = ["a", "a", "a", "b", "b", "b"]
    wide, narrow = bootstrap_intervals(scores, groups=ids)["score"], bootstrap_intervals(scores)["score"]
    assert wide.high - wide.low > narrow.high - narrow.low


def test_interval_of_a_mean_agrees_with_theory():
    values = np.random.default_rng(0).normal(size=2000)
    interval = bootstrap_intervals(mean_statistics({"x": values}), replicates=2000)["x"]
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.06)


def test_paired_test_tells_systems_apart_and_keeps_equal_ones_together():
    good, bad = overlap(4), text_metrics.text_overlap_statistics(
        reports(50, 99)[0], reports(50, 4)[1], metrics=("bleu", "rouge_l", "cider")
    )  # fmt: skip
    result = paired_test(good, bad)
    assert result["bleu_4"].p_value < 0.01 and result["bleu_4"].low > 0
    same = paired_test(good, good)
    assert same["bleu_4"].p_value == 1.0 and same["bleu_4"].value == 0.0
    with pytest.raises(ValueError, match="pair them"):
        paired_test(good, text_metrics.text_overlap_statistics(["a."], ["a."], metrics=("bleu",)))


def test_p_values_are_uniform_when_there_is_no_difference():
    generator = np.random.default_rng(0)
    values = []
    for trial in range(60):
        first, second = generator.normal(size=(2, 40))
        test = paired_test(mean_statistics({"x": first}), mean_statistics({"x": second}), replicates=200, seed=trial)
        values.append(test["x"].p_value)
    assert 0.3 < np.mean(values) < 0.7
    assert np.mean(np.array(values) < 0.05) < 0.2


def test_a_score_without_support_is_nan_not_zero():
    statistics = mean_statistics({"x": np.array([np.nan, np.nan])})
    assert np.isnan(statistics.corpus()["x"])
    interval = bootstrap_intervals(statistics, replicates=10)["x"]
    assert np.isnan(interval.low)


def test_importing_the_package_loads_no_scorer():
    code = "import sys, priorrg_hf.metrics; assert 'pycocoevalcap' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
