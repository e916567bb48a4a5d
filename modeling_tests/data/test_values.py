"""Ids, views, dates and placeholders: one form for all readers, and `data check` says what was changed. All texts are made up."""

import csv
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from priorrg_hf.data import as_examples, check_studies, load_studies
from priorrg_hf.data.schema import StudyError, validate_row, view_family, wants_view
from priorrg_hf.data.values import is_placeholder, normalize_id, normalize_time, normalize_view


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def by_id(splits) -> dict:
    return {row["study_id"]: {**row, "split": name} for name, part in splits.items() for row in part}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("126.0", "126"), (126.0, "126"), ("7.00", "7"), (7, "7"), ("007", "007"), ("007.0", "007"), ("1.2.840.0", "1.2.840.0"), ("s12.0", "s12.0"), (" 5 ", "5"),
     ("5.0414267e+07", "50414267"), ("7e12", "7e12"), ("1.5", "1.5"), ("", None), (None, None), (float("nan"), None), ("-3.0", "-3")],
)  # fmt: skip
def test_ids(value, expected):
    assert normalize_id(value) == expected
    assert normalize_id(expected) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("pa", "PA"), ("P.A.", "PA"), ("PA view", "PA"), ("Postero-Anterior", "PA"), ("Lateral", "LATERAL"), ("lat", "LATERAL"), ("Left Lateral", "LL"), ("ll", "LL"),
     ("right_lateral", "RL"), ("AP SUPINE", "AP SUPINE"), ("ap_supine", "AP SUPINE"), ("Supine AP", "AP SUPINE"), ("AP-SUPINE", "AP SUPINE"), ("272479007", "PA"),
     ("399348003.0", "AP"), ("R-10206", "AP"), ("left lateral decubitus", "LLD"), ("X-table lateral", "XTABLE LATERAL"), ("Frontal", "FRONTAL"), ("unk", None),
     ("Unknown", None), ("n/a", None), ("", None), (None, None), ("oblique left anterior", "OBLIQUE LEFT ANTERIOR"), ("Left anterior oblique", "LAO")],
)  # fmt: skip
def test_views(value, expected):
    assert normalize_view(value) == expected
    assert normalize_view(expected) == expected
    assert view_family(value) == view_family(expected)
    assert expected is None or wants_view(value, [expected.lower()])


@pytest.mark.parametrize(
    ("value", "order", "expected"),
    [("03/04/2021", "day-first", "2021-04-03"), ("03/04/2021", "month-first", "2021-03-04"), ("3.4.2021 7:05", "day-first", "2021-04-03T07:05:00"),
     ("03-04-2021 12:05:30 AM", "month-first", "2021-03-04T00:05:30"), ("4 Mar 2021", None, "2021-03-04"), ("March 4, 2021 3:05 pm", None, "2021-03-04T15:05:00"),
     ("00000000", None, None), ("0000-00-00", None, None), ("20210304.0", None, "2021-03-04"), ("<NA>", None, None)],
)  # fmt: skip
def test_dates(value, order, expected):
    assert normalize_time(value, order) == expected


@pytest.mark.parametrize(
    ("value", "order"),
    [("03/04/2021", None), ("25/03/2021", None), ("25/03/2021", "month-first"), ("03/04/21", "day-first"), ("20211301", None), ("20210230", None),
     ("20210304250000", None), ("2021-03-04T25:00", None), ("31.2.2021", "day-first"), ("3/4/2021 13:05 pm", "day-first"), ("4 Foo 2021", None), ("44259", None)],
)  # fmt: skip
def test_dates_that_do_not_exist_or_have_two_meanings(value, order):
    with pytest.raises(ValueError, match="is not an ISO"):
        normalize_time(value, order)


@pytest.mark.parametrize(
    "text",
    [
        "XXXX",
        "XXXX XXXX.",
        "___",
        "_____.",
        "N/A",
        "n.a.",
        "nan",
        "None.",
        "--",
        "1.",
        "",
        "  ",
        None,
        "[** deleted **]",
        "Not available.",
    ],
)
def test_placeholders_are_no_report(text):
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["Clear.", "No change.", "XXXX is normal.", "___ tube in place.", "Normal", "正常"])
def test_short_reports_are_reports(text):
    assert not is_placeholder(text)


# --- readers


def test_ids_of_a_table_agree_in_all_their_places(tmp_path):
    rows = [
        {
            "study_id": "126.0",
            "patient_id": "7.0",
            "image": "films\\a.png",
            "view": "pa",
            "findings": "Clear.",
            "prior_study_id": "",
        },
        {
            "study_id": "126",
            "patient_id": "7",
            "image": "films/b.png",
            "view": "Lateral",
            "findings": "Clear.",
            "prior_study_id": "",
        },
        {
            "study_id": "127.0",
            "patient_id": "7.0",
            "image": "films/c.png",
            "view": "PA",
            "findings": "Edema.",
            "prior_study_id": "126.0",
        },
        {
            "study_id": "128",
            "patient_id": "008",
            "image": "films/d.png",
            "view": "AP SUPINE",
            "findings": "___",
            "prior_study_id": "",
        },
    ]
    table = write_csv(tmp_path / "t.csv", rows)
    (tmp_path / "splits.json").write_text(json.dumps({"test": [7.0], "val": ["008"]}))
    studies = by_id(load_studies(table, strict=True))
    assert set(studies) == {"126", "127", "128"} and len(studies["126"]["images"]) == 2
    assert studies["127"]["prior"]["study_id"] == "126" and studies["127"]["split"] == "test"
    assert studies["128"]["split"] == "validation"
    assert studies["126"]["images"][0]["image"]["path"] == str(tmp_path / "films" / "a.png")
    report = check_studies(table, images="skip")
    assert report.views == {"PA": 2, "LATERAL": 1, "AP SUPINE": 1}
    notes = " ".join(issue.message for issue in report.warnings)
    for part in ("'pa' as 'PA' (1)", "'Lateral' as 'LATERAL'", "'126.0' as '126'", "backslashes in image paths"):
        assert part in notes
    assert "findings are no report" in notes and report.counts["with findings"] == 2


def test_ids_that_differ_in_leading_zeros_are_told(tmp_path):
    rows = [
        {"study_id": f"s{n}", "patient_id": patient, "image": "a.png", "findings": "x y."}
        for n, patient in enumerate(("7", "007"))
    ]
    report = check_studies(write_csv(tmp_path / "t.csv", rows), images="skip")
    assert report.counts["patients"] == 2
    assert any("leading zeros" in issue.message for issue in report.warnings)


def test_patients_of_the_split_file_are_found_without_their_zeros(tmp_path):
    patients = ("007", "8.0", "09", "10", "11")
    rows = [
        {"study_id": f"s{n}", "patient_id": patient, "image": "a.png", "findings": "x y."}
        for n, patient in enumerate(patients)
    ]
    table = write_csv(tmp_path / "t.csv", rows)
    (tmp_path / "splits.json").write_text(json.dumps({"test": [7, "008", 9.0], "train": ["010", "0010"]}))
    studies = {row["patient_id"]: row["split"] for row in by_id(load_studies(table, split=None)).values()}
    assert (studies["007"], studies["8"], studies["09"]) == ("test", "test", "test")
    notes = [issue.message for issue in check_studies(table, images="skip").warnings]
    assert any("2 patients are not in splits.json" in note and "10, 11" in note for note in notes)


def test_the_order_of_dates_is_an_option_of_every_reader(tmp_path):
    rows = [{"study_id": "1", "patient_id": "p", "image": "a.png", "acquired": "03/04/2021", "findings": "x y."}]
    table = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(ValueError, match="day-first"):
        load_studies(table, strict=True)
    assert by_id(load_studies(table, date_order="day-first"))["1"]["acquired"] == "2021-04-03"
    assert by_id(load_studies(table, date_order="month-first"))["1"]["acquired"] == "2021-03-04"
    assert check_studies(table, images="skip", date_order="day-first").ok
    with pytest.raises(ValueError, match="date_order is one of"):
        load_studies(table, date_order="ymd")


def test_shards_of_others_are_brought_into_the_same_form(tmp_path):
    rows = [
        {
            "study_id": 126.0, "patient_id": "7.0", "acquired": "03/04/2021", "findings": "Clear.",
            "images": [{"image": {"bytes": b"x", "path": None}, "view": "pa", "image_id": None, "laterality": None}],
        },
        {
            "study_id": 127.0, "patient_id": "7", "acquired": "20210405", "findings": "Clear.",
            "images": [{"image": {"bytes": b"y", "path": None}, "view": "Lateral", "image_id": "1.0", "laterality": None}],
        },
    ]  # fmt: skip
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "test-00000-of-00001.parquet")
    problems = []
    assert by_id(load_studies(tmp_path / "set", problems=problems)).keys() == {"127"}
    assert [(error.study, error.field) for _, error in problems] == [("126", "acquired")]
    studies = by_id(load_studies(tmp_path / "set", date_order="day-first"))
    assert {row["patient_id"] for row in studies.values()} == {"7"} and studies["126"]["acquired"] == "2021-04-03"
    assert [row["images"][0]["view"] for row in studies.values()] == ["PA", "LATERAL"] and studies["127"]["images"][0][
        "image_id"
    ] == "1"
    assert studies["127"]["prior"]["study_id"] == "126"


def test_mimic_tables_that_a_table_library_has_written(tmp_path):
    """Empty cells turned whole numbers into floats; nothing of a study may get lost by that."""
    rows = [
        {"dicom_id": "d1", "subject_id": "10000001.0", "study_id": "50000001.0", "ViewPosition": "", "StudyDate": "21800506.0", "StudyTime": "93015.5",
         "ViewCodeSequence_CodeMeaning": "postero-anterior"},
        {"dicom_id": "d2", "subject_id": "10000001.0", "study_id": "50000002.0", "ViewPosition": "Lateral", "StudyDate": "21800507.0", "StudyTime": "250000.0",
         "ViewCodeSequence_CodeMeaning": ""},
        {"dicom_id": "d3", "subject_id": "10000002.0", "study_id": "50000003.0", "ViewPosition": "AP", "StudyDate": "0.0", "StudyTime": "", "ViewCodeSequence_CodeMeaning": ""},
    ]  # fmt: skip
    write_csv(tmp_path / "mimic-cxr-2.0.0-metadata.csv", rows)
    splits = [
        {"dicom_id": row["dicom_id"], "study_id": row["study_id"], "subject_id": row["subject_id"], "split": "test"}
        for row in rows
    ]
    write_csv(tmp_path / "mimic-cxr-2.0.0-split.csv", splits)
    write_csv(
        tmp_path / "mimic-cxr-2.0.0-chexpert.csv",
        [{"subject_id": "10000001.0", "study_id": "50000001.0", "Edema": "1.0"}],
    )
    report = tmp_path / "files/p10/p10000001/s50000001.txt"
    report.parent.mkdir(parents=True)
    report.write_text("FINDINGS: Clear.")
    studies = by_id(load_studies(tmp_path, strict=True))
    assert set(studies) == {"50000001", "50000002", "50000003"} and {row["split"] for row in studies.values()} == {
        "test"
    }
    first, second, third = (studies[f"5000000{number}"] for number in (1, 2, 3))
    assert (first["acquired"], second["acquired"], third["acquired"]) == (
        "2180-05-06T09:30:15.500000",
        "2180-05-07",
        None,
    )
    assert first["findings"] == "Clear." and first["labels"] == [{"name": "Edema", "value": 1.0}]
    assert second["prior"]["study_id"] == "50000001" and first["images"][0]["view"] == "PA"
    notes = " ".join(issue.message for issue in check_studies(tmp_path, images="skip").warnings)
    assert "2 of 3 studies have no report text" in notes and "1 of 3 studies have no date" in notes
    write_csv(tmp_path / "mimic-cxr-2.0.0-split.csv", splits[:1])
    with pytest.raises(StudyError, match="isn't in the split table"):
        load_studies(tmp_path, strict=True)


def test_iu_xray_reports_that_anonymisation_ate(tmp_path):
    write_csv(
        tmp_path / "indiana_projections.csv",
        [{"uid": f"{n}.0", "filename": f"{n}.png", "projection": "Frontal"} for n in (1, 2)],
    )
    texts = [
        {"uid": "1", "findings": "XXXX.", "impression": "XXXX XXXX", "indication": "Pain"},
        {"uid": "2", "findings": "XXXX are clear.", "impression": "", "indication": ""},
    ]
    write_csv(tmp_path / "indiana_reports.csv", texts)
    studies = by_id(load_studies(tmp_path, strict=True))
    assert (
        studies["1"]["findings"] is None
        and studies["1"]["impression"] is None
        and studies["2"]["findings"] == "XXXX are clear."
    )
    assert len(as_examples(load_studies(tmp_path, split="test"), require_findings=True)["test"]) == 1


R2GEN_IU = {"train": [{"id": "CXR1_IM-0001", "report": "Clear lungs .", "image_path": ["CXR1_IM-0001/0.png", "CXR1_IM-0001/1.png"], "split": "train"}],
            "val": [{"id": "CXR2_IM-0002", "report": "XXXX", "image_path": ["CXR2_IM-0002/0.png", "CXR2_IM-0002/1.png"], "split": "val"}], "test": []}  # fmt: skip
R2GEN_MIMIC = {
    "train": [
        {
            "id": "d1",
            "study_id": 500,
            "subject_id": 10,
            "report": "Clear .",
            "image_path": ["p10/p10/s500/d1.jpg"],
            "split": "train",
        },
        {
            "id": "d2",
            "study_id": 500,
            "subject_id": 10,
            "report": "Clear .",
            "image_path": ["p10/p10/s500/d2.jpg"],
            "split": "train",
        },
    ],
    "test": [
        {
            "id": "d3",
            "study_id": 501.0,
            "subject_id": 11.0,
            "report": "Edema .",
            "image_path": ["p11/p11/s501/d3.jpg"],
            "split": "test",
        }
    ],
}


def test_annotation_of_r2gen_for_iu_xray(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "annotation.json").write_text(json.dumps(R2GEN_IU))
    for source in (tmp_path, tmp_path / "annotation.json"):
        studies = by_id(load_studies(source, strict=True))
        first = studies["CXR1_IM-0001"]
        assert first["findings"] == "Clear lungs ." and first["split"] == "train"
        assert [entry["image"]["path"] for entry in first["images"]] == [
            str(tmp_path / "images" / "CXR1_IM-0001" / f"{n}.png") for n in (0, 1)
        ]
        assert studies["CXR2_IM-0002"]["findings"] is None and studies["CXR2_IM-0002"]["split"] == "validation"
    assert check_studies(tmp_path, images="skip").format == "r2gen"


def test_annotation_of_r2gen_for_mimic(tmp_path):
    (tmp_path / "mimic_annotation.json").write_text(json.dumps(R2GEN_MIMIC))
    splits = load_studies(tmp_path / "mimic_annotation.json", strict=True)
    studies = by_id(splits)
    assert set(studies) == {"500", "501"} and [entry["image_id"] for entry in studies["500"]["images"]] == ["d1", "d2"]
    assert studies["501"]["patient_id"] == "11"
    assert as_examples(splits)["train"]["example_id"] == ["10_500_d1", "10_500_d2"]


def test_a_missing_key_is_another_fault_than_an_empty_value(tmp_path):
    broken = [
        ({"id": "a", "image_path": ["a.png"]}, "report", "missing"),
        ({"id": "b", "report": "x", "image_path": []}, "image_path", "no path"),
        ({"id": "c", "report": "x", "image_path": ["c.png"], "split": "test"}, "split", "stands in 'train'"),
        ({"id": "d", "subject_id": 1, "report": "x", "image_path": ["c.png"]}, "study_id", "missing"),
    ]
    good = {"id": "g", "report": "x", "image_path": ["g.png"]}
    (tmp_path / "a.json").write_text(json.dumps({"train": [good, *(item for item, _, _ in broken)]}))
    problems = []
    load_studies(tmp_path / "a.json", problems=problems)
    assert [
        (error.field, message in str(error)) for (_, error), (_, _, message) in zip(problems, broken, strict=True)
    ] == [(field, True) for _, field, _ in broken]
    (tmp_path / "b.json").write_text(
        json.dumps({"train": [{"id": "x", "subject_id": 1, "study_id": 2, "findings": "f", "anchor_scan": {}}]})
    )
    with pytest.raises(
        StudyError,
        match="findings_factual_serialization.*the key is missing; the item has id, subject_id.*--all-items",
    ):
        load_studies(tmp_path / "b.json", strict=True)
    (tmp_path / "c.jsonl").write_text(
        '{"study_id": "1", "image": "a.png"}\n{"study_id": "2", "patient_id": "", "image": "a.png"}\n'
    )
    report = check_studies(tmp_path / "c.jsonl", images="skip")
    first, second = (issue.message for issue in report.errors if issue.kind == "rejected")
    assert (
        "the key is missing; the line has study_id, image" in first and "is missing" in second and "key" not in second
    )


def test_contexts_that_hold_the_report_are_told(tmp_path):
    rows = [
        {"study_id": "1", "patient_id": "a", "image": "a.png", "indication": "Cough. The left effusion has grown since then.", "findings": "The left effusion has grown since then. No edema."},
        {"study_id": "2", "patient_id": "b", "image": "a.png", "indication": "Fever. The lungs are clear without effusion.", "findings": "Edema of both lungs."},
        {"study_id": "3", "patient_id": "c", "image": "a.png", "indication": "Evaluate for pneumonia.", "findings": "No pneumonia is seen."},
        {"study_id": "4", "patient_id": "d", "image": "a.png", "indication": "Pain", "findings": "N/A"},
    ]  # fmt: skip
    report = check_studies(write_csv(tmp_path / "t.csv", rows), images="skip")
    found = {issue.kind: issue.message for issue in report.warnings}
    assert "study 1" in found["context repeats findings"] and "1 studies" in found["context repeats findings"]
    assert "study 2" in found["context reads like a report"] and "study 4" in found["placeholder"]
    assert report.ok


@pytest.mark.parametrize("field", ["findings", "indication", "study_id", "view", "image", "split", "label"])
def test_half_characters_are_a_clear_error(field):
    bad = "a\ud800b"
    row = {"study_id": "s", "patient_id": "p", "images": [{"image": "a.png", "view": "PA"}]}
    if field in ("view", "image"):
        row["images"][0][field] = bad
    else:
        row["labels" if field == "label" else field] = {bad: 1} if field == "label" else bad
    with pytest.raises(StudyError, match="lone surrogate") as caught:
        validate_row(row)
    str(caught.value).encode()
