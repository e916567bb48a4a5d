"""`generate_reports`: streaming, resuming, bad studies, order, the info file."""

import json

import numpy as np
import pytest
from hub_helpers import tiny_config, tiny_model, tiny_processor
from PIL import Image

from priorrg_hf.evaluation.generation import (
    BadStudyError,
    cut_references,
    generate_reports,
    info_path,
    partial_path,
    skipped_path,
)
from priorrg_hf.evaluation.report_file import ReportRow, read_reports


SETTINGS = {"max_length": 8, "num_beams": 1, "progress": False}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 32), dtype=np.uint8))


@pytest.fixture()
def rows():
    return [
        {
            "example_id": f"e{i}",
            "study_id": f"s{i // 2}",
            "patient_id": "p",
            "image": picture(i),
            "prior_image": picture(50 + i) if i % 2 else None,
            "view_position": "PA",
            "prior_view_position": "AP" if i % 2 else None,
            "indication": "cough" if i != 2 else None,
            "history": None,
            "findings": f"Lungs are clear {i}." if i != 3 else None,
        }
        for i in range(5)
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_order_and_batches(model, processor, rows, tmp_path):
    summary = generate_reports(model, processor, rows, tmp_path / "a.jsonl", batch_size=2, **SETTINGS)
    assert summary.generated == 5 and summary.resumed == 0 and not summary.skipped
    written = lines(tmp_path / "a.jsonl")
    assert [row["example_id"] for row in written] == ["e0", "e1", "e2", "e3", "e4"]
    assert [row["has_prior"] for row in written] == [False, True, False, True, False]
    assert [row["has_context"] for row in written] == [True, True, False, True, True]
    assert written[3]["reference"] is None and written[0]["reference"] == "Lungs are clear 0."
    assert not partial_path(tmp_path / "a.jsonl").exists()
    one = generate_reports(model, processor, iter(rows), tmp_path / "b.jsonl", batch_size=1, **SETTINGS)
    assert lines(one.output) == written
    read = read_reports(tmp_path / "a.jsonl")
    assert isinstance(read[0], ReportRow) and [row.prediction for row in read] == [r["prediction"] for r in written]


def test_resume_after_an_interruption_loses_nothing(model, processor, rows, tmp_path):
    whole = lines(generate_reports(model, processor, rows, tmp_path / "whole.jsonl", batch_size=1, **SETTINGS).output)
    output = tmp_path / "out.jsonl"

    def stopped():
        yield from rows[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_reports(model, processor, stopped(), output, batch_size=1, **SETTINGS)
    assert not output.exists() and len(lines(partial_path(output))) == 3
    content = partial_path(output).read_bytes()
    partial_path(output).write_bytes(content[:-9])  # a kill in the middle of a line
    summary = generate_reports(model, processor, rows, output, batch_size=1, **SETTINGS)
    assert (summary.resumed, summary.generated) == (2, 3)
    assert lines(output) == whole
    again = generate_reports(model, processor, rows, output, batch_size=1, **SETTINGS)
    assert (again.resumed, again.generated) == (5, 0)


def test_reports_of_other_settings_are_not_mixed(model, processor, rows, tmp_path):
    output = tmp_path / "out.jsonl"
    generate_reports(model, processor, rows[:2], output, **SETTINGS)
    fingerprint = json.loads(info_path(output).read_text())["fingerprint"]
    with pytest.raises(ValueError, match="another model or of other settings"):
        generate_reports(model, processor, rows, output, **{**SETTINGS, "num_beams": 2})
    assert len(lines(output)) == 2
    fresh = generate_reports(model, processor, rows, output, resume=False, **{**SETTINGS, "num_beams": 2})
    assert fresh.generated == 5 and fresh.info["fingerprint"] != fingerprint


def test_a_bad_study_is_skipped_counted_and_named(model, processor, rows, tmp_path, caplog):
    rows[1]["image"] = str(tmp_path / "missing.png")
    summary = generate_reports(model, processor, rows, tmp_path / "out.jsonl", batch_size=3, **SETTINGS)
    assert summary.generated == 4 and list(summary.skipped) == ["e1"]
    assert "missing.png" in summary.skipped["e1"] and "e1" in caplog.text
    assert lines(skipped_path(tmp_path / "out.jsonl"))[0]["example_id"] == "e1"
    rows[1]["image"] = picture(1)
    repaired = generate_reports(model, processor, rows, tmp_path / "out.jsonl", batch_size=3, **SETTINGS)
    assert (repaired.resumed, repaired.generated) == (4, 1)
    assert [row["example_id"] for row in lines(tmp_path / "out.jsonl")] == ["e0", "e1", "e2", "e3", "e4"]
    assert not skipped_path(tmp_path / "out.jsonl").exists()


def test_strict_stops_and_keeps_what_was_done(model, processor, rows, tmp_path):
    rows[4]["image"] = str(tmp_path / "missing.png")
    with pytest.raises(BadStudyError, match="e4"):
        generate_reports(model, processor, rows, tmp_path / "out.jsonl", batch_size=2, strict=True, **SETTINGS)
    assert len(lines(partial_path(tmp_path / "out.jsonl"))) == 4


def test_a_fault_of_the_call_is_no_bad_study(model, processor, rows, tmp_path):
    with pytest.raises(TypeError):
        generate_reports(
            model, processor, rows, tmp_path / "out.jsonl", processor_kwargs={"no_such_option": 1}, **SETTINGS
        )


def test_double_ids_are_refused(model, processor, rows, tmp_path):
    rows[1]["example_id"] = "e0"
    with pytest.raises(ValueError, match="'e0' is there twice"):
        generate_reports(model, processor, rows, tmp_path / "out.jsonl", **SETTINGS)


def test_cut_references_follow_the_report_length(processor):
    long = "word " * 40
    cut = cut_references(processor, ["Short.", None, long])
    assert cut[0] == "Short." and cut[1] is None
    # The processor's 40 tokens hold the opening token and a space; bytes are tokens here.
    assert len(cut[2]) < 40 and long.startswith(cut[2])


def test_the_model_keeps_its_mode(model, processor, rows, tmp_path):
    model.train()
    generate_reports(model, processor, rows[:1], tmp_path / "out.jsonl", **SETTINGS)
    assert model.training
    model.eval()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prediction": "a", "reference": "b"}\nno json\n', "line 2: not JSON"),
        ("a.csv", "x,y\n1,2\n", "no column for the prediction"),
        ("a.jsonl", '{"example_id": "1", "prediction": "a", "reference": "b"}\n' * 2, "stands already in line 1"),
        ("a.jsonl", "", "holds no reports"),
        ("a.jsonl", '{"prediction": ["a", "b"], "reference": "b"}\n', "expected text"),
        ("a.csv", "prediction,reference\na,b,c\n", "line 2: more cells than the header.*comma.*double quotes"),
        ("a.csv", "prediction,reference,days_before\na,b,soon\n", "line 2, days_before: 'soon'"),
        ("a.json", '{"prediction": "a", "reference": "b"}', "columns of equal length"),
        ("a.json", '{"prediction": ["a"], "reference": ["b", "c"]}', "columns of equal length"),
        ("a.json", '{"prediction": "a"}\n{"prediction": "b"}\n', "called .jsonl"),
        ("a.json", '"text"', "got str"),
    ],
)
def test_bad_report_files_are_explained(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_reports(tmp_path / name)


def test_report_tables_by_usual_and_by_given_names(tmp_path):
    (tmp_path / "a.csv").write_text('Generated,ground_truth\n"a, b.","c\nd."\n,x\n', encoding="utf-8")
    rows = read_reports(tmp_path / "a.csv")
    assert [(row.prediction, row.reference) for row in rows] == [("a, b.", "c\nd."), ("", "x")]
    (tmp_path / "b.tsv").write_text("model_x\treader\nsame.\tother.\n", encoding="utf-8")
    rows = read_reports(tmp_path / "b.tsv", columns={"prediction": "model_x", "reference": "reader"})
    assert rows[0].reference == "other."
    (tmp_path / "c.json").write_text(json.dumps({"hyps": ["a"], "refs": ["b"]}), encoding="utf-8")
    assert read_reports(tmp_path / "c.json")[0].prediction == "a"


def test_report_files_that_are_not_utf_8_are_explained(tmp_path):
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(
            "prediction,reference\nKöln,b\n".encode("utf-16" if name == "a.csv" else "latin-1")
        )
        with pytest.raises(ValueError, match=f"{name} is not UTF-8.*save it as UTF-8"):
            read_reports(tmp_path / name)


@pytest.mark.parametrize(
    ("header", "prediction", "reference"),
    [
        ("reference_report,generated_report", 1, 0),
        ("study_id,reference_reports,report", 2, 1),
        ("report,prediction", 1, 0),
        (",images_id,gts,preds", 3, 2),
        ("\ufeffReference,Prediction", 1, 0),
    ],
)
def test_columns_of_published_files(tmp_path, header, prediction, reference):
    cells = [f"text {place}" for place in range(header.count(",") + 1)]
    (tmp_path / "a.csv").write_text(f"{header}\n{','.join(cells)}\n", encoding="utf-8")
    row = read_reports(tmp_path / "a.csv")[0]
    assert (row.prediction, row.reference) == (f"text {prediction}", f"text {reference}")


def test_a_column_named_by_the_user_is_not_taken_twice(tmp_path):
    (tmp_path / "a.csv").write_text("findings,report\na,b\n", encoding="utf-8")
    rows = read_reports(tmp_path / "a.csv", columns={"prediction": "findings"})
    assert (rows[0].prediction, rows[0].reference) == ("a", "b")
    (tmp_path / "b.csv").write_text("report\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no column for the prediction: it has report"):
        read_reports(tmp_path / "b.csv")


def test_several_images_of_a_study_are_several_rows(tmp_path):
    (tmp_path / "a.csv").write_text("study_id,prediction,reference\ns1,a,x\ns2,b,y\ns1,c,x\n", encoding="utf-8")
    rows = read_reports(tmp_path / "a.csv")
    assert [(row.example_id, row.study_id) for row in rows] == [("s1", "s1"), ("s2", "s2"), ("s1 (2)", "s1")]
    (tmp_path / "a.csv").write_text("example_id,prediction,reference\ne,a,x\ne,b,y\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 3: example 'e' stands already in line 2"):
        read_reports(tmp_path / "a.csv")


def test_windows_line_ends_byte_order_mark_and_line_breaks_in_cells(tmp_path):
    text = 'prediction,reference\r\n"Heart is normal.\r\nNo ""effusion"", no edema.","Heart is normal."\r\nclear.,clear.\r\n'
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    rows = read_reports(tmp_path / "a.csv")
    assert rows[0].prediction == 'Heart is normal.\r\nNo "effusion", no edema.' and len(rows) == 2
    lines = [json.dumps({"prediction": row.prediction, "reference": row.reference}) for row in rows]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n\r\n")
    assert [(r.prediction, r.reference) for r in read_reports(tmp_path / "a.jsonl")] == [
        (r.prediction, r.reference) for r in rows
    ]
