"""Scores, errors, the card and its files, the command on files of reports."""

import dataclasses
import json
import math
import re
import sys

import numpy as np
import pytest
from PIL import Image


pytest.importorskip("pycocoevalcap.bleu.bleu")

from typer.testing import CliRunner

from priorrg_hf.cli import app
from priorrg_hf.evaluation import card, errors, scoring, worst_page
from priorrg_hf.evaluation.report_file import ReportRow, read_reports
from priorrg_hf.metrics import temporal_scores, text_overlap
from priorrg_hf.metrics.chexpert14 import chexpert14_scores


FAST = ("bleu", "rouge_l", "cider")
TEXTS = [
    ("Small left pleural effusion has increased. No pneumothorax.", "Small left pleural effusion has decreased. No pneumothorax."),
    ("Heart size is normal. Lungs are clear.", "Heart size is normal. Lungs are clear."),
    ("New right pneumothorax. Stable mild cardiomegaly.", "Moderate cardiomegaly. Lungs are clear."),
    ("Right base consolidation. Unchanged pleural effusion.", "Mild right base consolidation and small left effusion."),
]  # fmt: skip


def make_rows(copies: int = 3, cut: bool = True) -> list[ReportRow]:
    rows = []
    for copy in range(copies):
        for index, (prediction, reference) in enumerate(TEXTS):
            rows.append(
                ReportRow(
                    f"e{copy}_{index}",
                    prediction,
                    reference,
                    f"s{copy}_{index}",
                    f"p{copy}",
                    index % 2 == 0,
                    index < 2,
                    ("AP", "PA")[index % 2],
                    reference[:30] if cut else None,
                    3.0 * (index + 1) if index % 2 == 0 else None,
                )  # fmt: skip
            )
    return rows


def test_scores_are_those_of_the_plain_functions():
    rows = make_rows()
    scored = scoring.score_reports(rows, metrics=FAST, replicates=50)
    predictions, references = [r.prediction for r in rows], [r.reference for r in rows]
    plain = {
        **text_overlap(predictions, references, metrics=FAST),
        **temporal_scores(predictions, references, [row.has_prior for row in rows]),
        **chexpert14_scores(predictions, references),
    }
    assert {name: interval.value for name, interval in scored.scores["full"].items()} == pytest.approx(
        plain, nan_ok=True
    )
    cut = text_overlap(predictions, [r.reference_cut for r in rows], metrics=FAST)
    assert {name: interval.value for name, interval in scored.scores["cut"].items()} == pytest.approx(cut)
    assert scored.resampled == "patients"


def test_rows_without_reference_are_left_out_and_counted():
    rows = make_rows()
    rows[0].reference = None
    scored = scoring.score_reports(rows, metrics=FAST, replicates=10)
    assert scored.without_reference == 1 and len(scored.rows) == len(rows) - 1
    with pytest.raises(ValueError, match="no report has a reference"):
        scoring.score_reports([ReportRow("a", "x")], metrics=FAST)


def test_without_cut_references_the_card_says_so():
    scored = scoring.score_reports(make_rows(cut=False), metrics=FAST, replicates=10)
    assert list(scored.scores) == ["full"] and "no references cut" in scored.notes[0]


def test_without_has_prior_the_card_says_what_that_costs():
    rows = [dataclasses.replace(row, has_prior=None) for row in make_rows()]
    scored = scoring.score_reports(rows, metrics=FAST, replicates=5)
    assert any("column has_prior" in note for note in scored.notes)
    assert not any(
        "has_prior" in note for note in scoring.score_reports(make_rows(), metrics=FAST, replicates=5).notes
    )


def test_subsets_are_scored_on_their_own_rows():
    scored = scoring.score_reports(make_rows(), metrics=FAST, replicates=20)
    subsets = scoring.subset_scores(scored, ["bleu_4", "rouge_l"])
    assert subsets["with prior"]["n"] == 6 and subsets["view AP"]["n"] == 6
    assert subsets["prior 2 to 14 days before"]["n"] == 6
    rows = [row for row in scored.rows if row.has_prior]
    expected = text_overlap([r.prediction for r in rows], [r.reference for r in rows], metrics=("bleu", "rouge_l"))
    for name in ("bleu_4", "rouge_l"):
        assert subsets["with prior"]["scores"][name].value == pytest.approx(expected[name])


def test_comparing_needs_the_same_test_set():
    rows = make_rows()
    compared = scoring.compare_systems(rows, rows[:6], metrics=FAST, replicates=20)
    assert compared["n"] == 6 and compared["only_in_first"] == 6
    assert compared["scores"]["bleu_4"].value == 0 and compared["scores"]["bleu_4"].p_value == 1
    other = make_rows()
    other[0].reference = "Something else."
    with pytest.raises(ValueError, match="different test sets"):
        scoring.compare_systems(rows, other, metrics=FAST)
    with pytest.raises(ValueError, match="no study in common"):
        scoring.compare_systems(rows, [ReportRow("zzz", "a", "b")], metrics=FAST)


def test_what_hangs_on_priors_is_not_compared_where_they_differ(tmp_path):
    rows = make_rows()
    same = scoring.compare_systems(rows, make_rows(), metrics=FAST, replicates=20)
    assert "change_f1" in same["scores"] and "unsupported_comparisons" in same["scores"] and same["notes"] == []
    blind = [dataclasses.replace(row, has_prior=False) for row in rows]
    compared = scoring.compare_systems(rows, blind, metrics=FAST, replicates=20)
    assert not [name for name in compared["scores"] if name.startswith(("change_", "direction_", "unsupported_"))]
    assert compared["scores"]["presence_f1"].value == compared["scores"]["bleu_4"].value == 0
    assert "of 6 studies" in compared["notes"][0]
    card.evaluate_reports(rows, tmp_path, metrics=FAST, replicates=20, against=blind, plots=False)
    assert "of 6 studies the two systems differ" in (tmp_path / "evaluation.md").read_text(encoding="utf-8")


def test_error_analysis_counts():
    rows = make_rows(copies=1)
    analysis = errors.error_analysis(rows)
    assert analysis["direction_reversals"]["counts"] == {"pleural_effusion:left": 1}
    assert analysis["hallucinations"]["counts"]["pneumothorax:right"] == 1
    assert analysis["omissions"]["counts"]["pleural_effusion:left"] == 1
    assert analysis["unsupported_comparisons"] == ["e0_3"]
    severity = analysis["severity_confusion"]
    place = {label: index for index, label in enumerate(severity["labels"])}
    assert severity["matrix"][place["moderate"]][place["mild"]] == 1
    change = analysis["change_confusion"]
    place = {label: index for index, label in enumerate(change["labels"])}
    assert change["matrix"][place["decreased"]][place["increased"]] == 1
    assert change["matrix"][place["not said"]][place["new"]] == 1
    effusion = analysis["findings"]["pleural_effusion"]
    assert (effusion["n"], effusion["predicted"]) == (2, 2) and effusion["precision"] == 0.5


def test_errors_are_told_apart_by_subset():
    rows = make_rows()
    analysis = errors.error_analysis(rows, {"replicates": 20, "confidence": 0.95, "seed": 0})
    subsets = analysis["subsets"]
    assert {"with prior", "without prior", "view AP", "view PA", "prior 2 to 14 days before"} <= set(subsets)
    shown, hidden = subsets["with prior"], subsets["without prior"]
    assert shown["n"] + hidden["n"] == len(rows)
    # Each is the analysis of its own rows alone.
    alone = errors.error_analysis([row for row in rows if row.has_prior])
    for name in ("severity_confusion", "change_confusion"):
        assert shown[name] == alone[name], name
    for name in ("hallucinations", "omissions", "direction_reversals"):
        assert shown[name]["counts"] == alone[name]["counts"] and shown[name]["studies"] == len(alone[name]["studies"])
    assert shown["repetition"]["scores"] == alone["repetition"]["scores"]
    assert shown["findings"]["pneumothorax"]["predicted"] == 3 and "pneumothorax" not in hidden["findings"]
    assert shown["repetition"]["scores"]["words_mean"] == 7.0 and hidden["repetition"]["scores"]["words_mean"] == 6.5
    # Two of the three counts of a finding add up to those of all reports.
    for name, entry in analysis["findings"].items():
        parts = [subset["findings"].get(name, {"n": 0, "predicted": 0}) for subset in (shown, hidden)]
        assert sum(part["n"] for part in parts) == entry["n"]
        assert sum(part["predicted"] for part in parts) == entry["predicted"]


def test_a_prior_of_the_same_day_belongs_to_the_shortest_gap():
    rows = make_rows(copies=1)
    rows[0].days_before, rows[2].days_before = 0.0, 2.0
    masks = scoring.subset_masks(rows)
    assert masks["prior up to 2 days before"].tolist() == [True, False, True, False]


def test_findings_have_intervals_of_their_own_counts():
    rows = [
        ReportRow(str(i), "Left pleural effusion." if i % 2 else "Lungs are clear.", "Left pleural effusion.")
        for i in range(40)
    ]
    settings = {"replicates": 400, "confidence": 0.95, "seed": 1}
    effusion = errors.finding_scores([r.prediction for r in rows], [r.reference for r in rows], settings)[
        "pleural_effusion"
    ]
    assert effusion["recall"] == 0.5 and effusion["precision"] == 1.0
    low, high = effusion["intervals"]["recall"]
    assert low < 0.5 < high and high - low == pytest.approx(2 * 1.96 * 0.5 / 40**0.5, rel=0.25)
    assert effusion["intervals"]["precision"] == (1.0, 1.0)


def test_lengths_have_intervals_and_counts_of_distinct_texts_none():
    rows = make_rows()
    told = errors.repetition_and_length(rows, {"replicates": 50, "seed": 0})
    assert {"words_mean", "words_std", "length_ratio", "repeated_sentences", "empty_reports"} <= set(told["intervals"])
    assert not {"distinct_reports", "duplicate_reports", "words_max"} & set(told["intervals"])
    low, high = told["intervals"]["words_mean"]
    assert low < told["scores"]["words_mean"] < high
    # The summed counts give the scores of the plain function.
    from priorrg_hf.metrics.repetition import repetition_statistics

    corpus = repetition_statistics([r.prediction for r in rows], [r.reference for r in rows]).corpus()
    assert corpus == pytest.approx({name: told["scores"][name] for name in corpus})


def test_every_score_has_an_interval_or_says_why_not():
    class OnlyCorpus:
        def compute(self, refs, hyps, per_sample=False, detailed=False):
            return {"f1chexbert_all_micro_f1": 0.5}

    scored = scoring.score_reports(
        make_rows(), metrics=FAST, clinical=["chexbert"], scorers={"chexbert": OnlyCorpus()}, replicates=20
    )
    for protocol, scores in scored.scores.items():
        for name, entry in scores.items():
            told = scored.no_interval[protocol].get(name)
            assert (told is None) == math.isfinite(entry.low), name
    assert "all reports" in scored.no_interval["full"]["chexbert_14_micro_f1"]
    alone = scoring.score_reports(make_rows(copies=1)[:1], metrics=FAST, replicates=5)
    assert alone.no_interval["full"]["bleu_1"].startswith("one report alone")
    assert alone.no_interval["full"]["unsupported_comparisons"] == "nothing to score"


def test_clinical_scores_are_compared_too():
    class Agreement:
        def compute(self, refs, hyps, per_sample=False, detailed=False):
            return {"ratescore": [float(a == b) for a, b in zip(refs, hyps, strict=True)]}

    rows, perfect = make_rows(), [dataclasses.replace(row, prediction=row.reference) for row in make_rows()]
    compared = scoring.compare_systems(
        perfect, rows, metrics=FAST, clinical=["ratescore"], scorers={"ratescore": Agreement()}, replicates=20
    )
    assert compared["scores"]["ratescore"].value == 0.75


def tables_of(markdown: str) -> list[list[str]]:
    """Runs of lines that begin with a bar."""
    runs, run = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            run.append(line)
        elif run:
            runs.append(run)
            run = []
    return runs


def test_the_tables_of_the_card_are_whole(tmp_path):
    card.evaluate_reports(make_rows(), tmp_path, metrics=FAST, replicates=20, against=make_rows(), plots=False)
    text = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    tables = tables_of(text)
    for table in tables:
        assert re.fullmatch(r"(\|-+)+\|", table[1].replace(" ", "")), table[:2]
        assert len({line.count("|") for line in table}) == 1, table
    details = [line for line in text.splitlines() if line.startswith("<details>")]
    assert "<details><summary>with prior: 6 reports</summary>" in details and text.count("</details>") == len(details)
    assert len(tables) > 3 * len(details)
    row = next(line for line in text.splitlines() if line.startswith("| pleural effusion |"))
    assert re.search(r"0\.500 \(0\.\d+ to \d\.\d+\)", row)


def test_the_worst_come_first_and_perfect_reports_last():
    ranked = errors.worst_studies(errors.study_errors(make_rows(copies=1)), 4)
    assert ranked[-1].row.example_id == "e0_1" and ranked[-1].score == 1.0
    assert ranked[0].score == min(item.score for item in ranked)
    assert len(errors.worst_studies(errors.study_errors(make_rows()), 2)) == 2


def test_worst_page_marks_differences_and_escapes_text(tmp_path):
    row = ReportRow(
        "<b>id</b>", "Left effusion is <script>alert(1)</script> larger.", "Left effusion is smaller.", has_prior=True
    )
    films = {"<b>id</b>": {"image": Image.fromarray(np.zeros((20, 20), np.uint8)), "prior_image": "missing.png",
                           "indication": "<i>cough</i>", "history": None, "view_position": "PA"}}  # fmt: skip
    page = worst_page.write_worst_page(errors.study_errors([row]), tmp_path / "worst.html", examples=films)
    html = page.read_text(encoding="utf-8")
    assert "<script>" not in html and "<i>cough" not in html and "<b>id" not in html
    assert re.search(r'<mark class="wrong"[^>]*>effusion</mark>', html)
    assert re.search(r'<mark class="missed"[^>]*>effusion</mark>', html)
    assert "opposite direction" in html and "data:image/png;base64," in html
    assert "cannot be shown" in html and "not for clinical decisions" in html


def test_worst_page_says_what_differs_and_what_is_empty(tmp_path):
    rows = [
        ReportRow("side", "Small right effusion.", "Small left effusion.", has_prior=True, days_before=67.5569),
        ReportRow("level", "Moderate left effusion is larger.", "Small left effusion is larger.", has_prior=True, days_before=1.0),
        ReportRow("alone", "Lungs are clear.", "Left effusion is larger.", has_prior=True, days_before=3.18),
        ReportRow("empty", " ", "Left effusion, unchanged.", has_prior=False),
    ]  # fmt: skip
    html = worst_page.write_worst_page(errors.study_errors(rows), tmp_path / "worst.html").read_text(encoding="utf-8")
    side, level, alone, empty = html.split("<section")[1:]
    assert '>effusion</mark><small class="read">right</small>' in side and '<small class="read">left</small>' in side
    assert '<small class="read">moderate</small>' in level and '<small class="read">mild</small>' in level
    assert '<small class="read">' not in alone  # the other text does not speak of it
    assert "omitted: pleural effusion left (increased)" in alone and "change of" not in alone
    assert "The report is empty." in empty and "omitted: pleural effusion left (unchanged)" in empty
    assert "68 days before" in side and "1 day before" in level and "3.2 days before" in alone


def test_marking_leaves_agreement_alone():
    assert "<mark" not in str(worst_page.marked_text("Left effusion. Lungs are clear.", "Left effusion.", "wrong"))


def test_all_files_of_a_card(tmp_path):
    pytest.importorskip("matplotlib")
    rows = make_rows()
    result = card.evaluate_reports(
        rows, tmp_path, name="system", metrics=FAST, replicates=50, against=make_rows(copies=2), against_name="other.jsonl",
        dataset="phantom", split="test", fingerprints={"model": "abc"},
    )  # fmt: skip
    names = {path.name for path in result.files}
    assert {"evaluation.json", "evaluation.md", "worst_studies.html", "scores.png", "findings.png"} <= names
    assert all(path.stat().st_size > 0 for path in result.files)
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["num_examples"] == 12 and data["num_patients"] == 3
    assert data["bootstrap"] == {"replicates": 50, "confidence": 0.95, "seed": 0, "unit": "patients"}
    assert data["protocols"]["full"]["bleu_4"]["low"] <= data["metrics"]["bleu_4"]["value"]
    assert set(data["protocols"]) == {"full", "cut"}
    assert data["versions"]["pycocoevalcap"] and data["fingerprints"]["model"] == "abc"
    assert len(data["fingerprints"]["predictions"]) == 16
    assert "NaN" not in (tmp_path / "evaluation.json").read_text()
    text = (tmp_path / "evaluation.md").read_text()
    for part in (
        "not for clinical decisions",
        "## Against other.jsonl",
        "## Subsets",
        "| bleu_4 |",
        "scores.png",
        "seed 0",
    ):
        assert part in text, part
    again = card.evaluate_reports(rows, tmp_path / "again", name="system", metrics=FAST, replicates=50, plots=False)
    assert again.result["protocols"] == result.result["protocols"]


def test_model_index_is_accepted_by_the_hub_card(tmp_path):
    from huggingface_hub.repocard_data import model_index_to_eval_results

    result = card.evaluate_reports(
        make_rows(),
        tmp_path,
        name="me/priorrg",
        metrics=FAST,
        replicates=10,
        dataset="phantom",
        split="test",
        plots=False,
    )
    name, entries = model_index_to_eval_results(result.result["model_index"])
    assert name == "me/priorrg"
    by_name = {entry.metric_name: entry.metric_value for entry in entries}
    assert by_name["BLEU-4"] == pytest.approx(result.scores()["bleu_4"], abs=1e-6)
    assert "BLEU-4 (references cut)" in by_name


def test_the_model_card_takes_the_evaluation(tmp_path):
    from hub_helpers import tiny_config, tiny_tokenizer

    from priorrg_hf.publishing.model_card import render_model_card

    result = card.evaluate_reports(make_rows(), tmp_path, metrics=FAST, replicates=10, dataset="phantom", plots=False)
    data = json.loads((tmp_path / "evaluation.json").read_text())
    text = render_model_card(tiny_config(tiny_tokenizer(tmp_path / "tokenizer")), evaluation=data)
    assert "bleu_4" in text and f"{result.scores()['bleu_4']:.3f}"[:4] in text


def test_one_report_alone(tmp_path):
    result = card.evaluate_reports(
        [ReportRow("a", "Lungs are clear.", "Lungs are clear.")], tmp_path, metrics=FAST, replicates=5
    )
    assert result.scores()["bleu_1"] == pytest.approx(1.0)
    assert result.scores()["cider"] == 0.0  # the logarithm of one document
    assert result.scores()["change_f1"] is None


def test_command_on_a_csv(tmp_path):
    table = tmp_path / "reports.csv"
    table.write_text("OUTPUT,FINDINGS\n" + "".join(f'"{p}","{r}"\n' for p, r in TEXTS), encoding="utf-8")
    arguments = ["evaluate", str(table), "-c", "prediction=OUTPUT", "-c", "reference=FINDINGS", "-o", str(tmp_path / "out"),
                 "--no-meteor", "--replicates", "20", "--no-plots", "--against", str(table)]  # fmt: skip
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert "full references: bleu_1" in run.output
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert data["num_examples"] == 4 and data["against"]["scores"]["bleu_4"]["value"] == 0.0


def test_scores_of_a_hostile_file_are_those_of_the_library(tmp_path):
    """From a CSV as spreadsheets write it to the library's own figures, with nothing between but the published preparation."""
    import csv

    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    pairs = [
        *TEXTS, ("", "Lungs are clear."), ('A "quoted", text.', "A quoted text."), ("größe ≥ 4.5 cm. 肺", "größe 4.5 cm. 肺"),
        ("a ||| b. ||| c.", "a ||| b."), ("Heart is\nnormal.\r\nNo effusion.", "Heart is normal. No effusion."), ("same.", "same."),
        (" " + "very long text . " * 3000, "very long . " * 2500),
    ]  # fmt: skip
    with open(tmp_path / "a.csv", "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([("generated_report", "reference_report"), *pairs])
    run = CliRunner().invoke(
        app,
        [
            "evaluate",
            str(tmp_path / "a.csv"),
            "-o",
            str(tmp_path / "out"),
            "--no-meteor",
            "--no-plots",
            "--replicates",
            "5",
        ],
    )
    assert run.exit_code == 0, run.output
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["protocols"]["full"]

    def prepared(text):
        return (
            re.sub(" +", " ", " ".join(text.split()).replace(".", " ."))
            if "\n" in text
            else re.sub(" +", " ", text.replace(".", " ."))
        )

    res = {i: [prepared(p)] for i, (p, _) in enumerate(pairs)}
    gts = {i: [prepared(r)] for i, (_, r) in enumerate(pairs)}
    bleus = Bleu(4).compute_score(gts, res, verbose=0)[0]
    expected = {f"bleu_{n}": bleus[n - 1] for n in range(1, 5)}
    expected["cider"] = Cider().compute_score(gts, res)[0]
    short = list(range(len(pairs) - 1))  # the library's ROUGE-L takes minutes for the long pair
    rouge = Rouge().compute_score({i: gts[i] for i in short}, {i: res[i] for i in short})[0]
    long = text_overlap([pairs[-1][0]], [pairs[-1][1]], metrics=["rouge_l"])["rouge_l"]
    expected["rouge_l"] = (rouge * len(short) + long) / len(pairs)
    for name, value in expected.items():
        assert scores[name]["value"] == pytest.approx(value, abs=1e-9), name


def test_a_failing_meteor_program_costs_the_card_only_its_score(monkeypatch):
    monkeypatch.setattr(scoring, "meteor_unavailable_reason", lambda: None)

    def fail(*texts):
        raise RuntimeError("the METEOR program failed (exit code 1)")

    monkeypatch.setattr(scoring, "meteor_statistics", fail)
    scored = scoring.score_reports(make_rows(), metrics=(*FAST, "meteor"), replicates=5)
    assert "meteor" not in scored.scores["full"] and "bleu_4" in scored.scores["full"]
    assert any("METEOR is skipped. the METEOR program failed" in note for note in scored.notes)


def test_nltks_meteor_comes_only_when_asked_for(tmp_path, monkeypatch):
    from priorrg_hf.metrics import text_metrics
    from priorrg_hf.metrics.statistics import mean_statistics

    asked = []

    def nltk(predictions, references):
        asked.append(len(predictions))
        return mean_statistics({"meteor_nltk": np.full(len(predictions), 0.25)})

    monkeypatch.setattr(text_metrics, "meteor_nltk_statistics", nltk)
    table = tmp_path / "reports.csv"
    table.write_text("prediction,reference\n" + "".join(f'"{p}","{r}"\n' for p, r in TEXTS), encoding="utf-8")
    arguments = ["evaluate", str(table), "-o", str(tmp_path / "out"), "--no-meteor", "--replicates", "5", "--no-plots"]
    assert CliRunner().invoke(app, arguments).exit_code == 0 and not asked
    assert CliRunner().invoke(app, [*arguments, "--meteor-nltk"]).exit_code == 0 and asked == [4]
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["protocols"]["full"]
    assert scores["meteor_nltk"]["value"] == 0.25 and "meteor" not in scores
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "nltk.translate.meteor_score", None)
    run = CliRunner().invoke(app, [*arguments, "--meteor-nltk"])
    assert run.exit_code == 2 and "pip install nltk" in run.output


def test_command_errors_name_the_remedy(tmp_path):
    table = tmp_path / "reports.csv"
    table.write_text("x,y\n1,2\n", encoding="utf-8")
    for arguments, message in (
        ([str(table)], "--column prediction=NAME"),
        (["no_such_model"], "pass --data STUDIES"),
        ([str(table), "-d", "somewhere"], "--data is not used with a file of reports"),
        ([str(table), "-c", "prediction"], "FIELD=COLUMN"),
        ([str(tmp_path / "gone.csv")], "there is no file"),
        ([str(table), "--limit", "3"], "--limit is not used"),
        (["no_such_model", "-d", "studies.csv", "--processor", "x"], "a model brings its own"),
    ):
        run = CliRunner().invoke(app, ["evaluate", *arguments, "-o", str(tmp_path / "out")])
        assert run.exit_code == 2 and message in " ".join(run.output.split()), run.output


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    from priorrg_hf.data import file_writing

    file_writing.write_text_whole(tmp_path / "a.json", "old")
    monkeypatch.setattr(file_writing.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        file_writing.write_text_whole(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "old"


def test_reports_written_are_reports_read(tmp_path):
    rows = make_rows(copies=1)
    (tmp_path / "a.jsonl").write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    assert read_reports(tmp_path / "a.jsonl") == rows
    assert not math.isnan(rows[0].days_before)
