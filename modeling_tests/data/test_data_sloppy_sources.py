"""Sources as they come out of spreadsheets, databases and archives: what is meant is read, what is broken is named. All made up."""

import gzip
import json
import os
import zipfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from priorrg_hf.data import (
    as_examples,
    check_studies,
    convert_studies,
    load_studies,
    studies_to_dataset,
)
from priorrg_hf.data.linking import link_priors
from priorrg_hf.data.readers.report_sections import report_sections


HEADER = "study_id,patient_id,image,view,acquired,findings\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Writes a source, reads it, and gives studies by id and the problems as (place, field)."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def load(content, name="t.csv", **options):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        problems = []
        parts = load_studies(path, problems=problems, split="train", **options)
        rows = {row["study_id"]: row for row in parts["train"]}
        return rows, [(where, error.field) for where, error in problems]

    return load


def study(number=1, **more) -> dict:
    return {"study_id": f"{number}", "patient_id": "p", "image": f"{number}.png", **more}


# --- CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_export_of_a_spreadsheet(load, delimiter, newline):
    """Byte order mark, another separator, line ends of Windows, blanks around names, leading zeros."""
    lines = [["study_id", " patient_id", "image", "findings"], ["007", "0012", "a.png", '"Clear, dry; calm|\t."']]
    rows, problems = load("\ufeff" + newline.join(delimiter.join(line) for line in lines) + newline)
    assert not problems and set(rows) == {"007"}
    assert (rows["007"]["patient_id"], rows["007"]["findings"]) == ("0012", "Clear, dry; calm|\t.")


def test_a_text_with_windows_line_ends_has_plain_ones(load):
    rows, _ = load(HEADER + '1,p,a.png,PA,2021-01-01,"Clear.\r\nDry."\r\n')
    assert rows["1"]["findings"] == "Clear.\nDry."


def test_two_columns_of_one_name_are_an_error(load):
    with pytest.raises(ValueError, match="column 'findings' twice"):
        load("study_id,patient_id,image,findings,findings\n1,p,a.png,Clear.,Not clear.\n")
    rows, _ = load("study_id,patient_id,image,findings,note,note\n1,p,a.png,Clear.,x,y\n")  # nobody reads those
    assert rows["1"]["findings"] == "Clear."


def test_a_text_cut_at_its_comma_is_an_error_not_half_a_text(load):
    rows, problems = load(
        HEADER + "1,p,a.png,PA,2021-01-01,Clear, but a big heart\n2,p,b.png,PA,,Clear.\n3,p,c.png\n4,p,d.png,,,x,,\n"
    )
    assert set(rows) == {"2", "3", "4"} and problems == [("t.csv line 2", "the whole line")]


def test_a_quotation_mark_that_swallows_the_rest_is_an_error(load):
    rows, problems = load(
        HEADER + '1,p,a.png,PA,2021-01-01,Clear.\n2,p,b.png,PA,2021-01-02,"open\n3,p,c.png,PA,,Clear.\n'
    )
    assert set(rows) == {"1"} and problems == [("t.csv line 3", "the whole line")]


def test_the_word_nan_is_an_empty_cell(load):
    rows, _ = load(HEADER + "1,p,a.png,NaN,nan,nan\n2,p,b.png,PA,NaT,None.\n")
    assert rows["1"]["findings"] is None and rows["1"]["images"][0]["view"] is None and rows["1"]["acquired"] is None
    assert rows["2"]["findings"] == "None."


def test_a_damaged_archive_is_named(load):
    with pytest.raises(ValueError, match=r"t\.csv\.gz can't be read"):
        load(gzip.compress((HEADER + "1,p,a.png,PA,,x\n" * 999).encode())[:-20], "t.csv.gz")
    with pytest.raises(ValueError, match=r"t\.parquet can't be read"):
        load(b"PAR1 and no more", "t.parquet")


# --- JSON lines and Parquet


def test_ids_that_a_table_library_made_floats(load):
    rows, _ = load([study(study_id=50414267.0, patient_id=10000032.0, prior_study_id=None)], "t.jsonl")
    assert set(rows) == {"50414267"} and rows["50414267"]["patient_id"] == "10000032"


def test_a_typing_error_in_the_column_mapping_is_never_silent(load, tmp_path):
    rows = [study(REPORT="Clear.")]
    for name in ("t.jsonl", "t.parquet"):
        content = rows
        if name == "t.parquet":
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist(rows), sink)
            content = sink.getvalue().to_pybytes()
        assert load(content, name, columns={"findings": "REPORT"})[0]["1"]["findings"] == "Clear."
        with pytest.raises(ValueError, match="no column 'REPROT'"):
            load(content, name, columns={"findings": "REPROT"})
        with pytest.raises(ValueError, match="'finding' is no field"):
            load(content, name, columns={"finding": "REPORT"})
    with pytest.raises(ValueError, match="--column is for tables"):
        load_studies(tmp_path / "t.jsonl", format="annotation", columns={"findings": "REPORT"})
    (tmp_path / "shards").mkdir()
    convert_studies(tmp_path / "t.jsonl", tmp_path / "shards")
    with pytest.raises(ValueError, match="'finding' is no field"):
        load_studies(tmp_path / "shards", columns={"finding": "impression"})


def test_columns_that_nobody_reads_are_mentioned(load, tmp_path):
    load([study(REPORT="Clear.", findings="x")], "t.jsonl")
    report = check_studies(tmp_path / "t.jsonl", images="skip")
    assert report.ok and any("REPORT" in issue.message for issue in report.warnings)


BROKEN = {
    "study_id": {"study_id": {"a": 1}},
    "findings": {"findings": ["a", "b"]},
    "images": {"images": 5},
    "labels": {"labels": 5},
    "prior": {"prior": [1]},
    "prior.day": {"day": 3, "prior": {"image": "q.png", "day": [1]}},
    "day": {"day": "x"},
}


@pytest.mark.parametrize("field", BROKEN)
def test_a_value_of_another_kind_costs_one_study(load, field):
    rows, problems = load([study(1), {**study(2), **BROKEN[field]}, study(3)], "t.jsonl")
    assert set(rows) == {"1", "3"} and problems == [("t.jsonl line 2", field)]


def test_lines_that_no_parser_takes_cost_one_study_each(load):
    rows, problems = load([study(1), '{"study_id":', "[" * 100_000, study(2)], "t.jsonl")
    assert set(rows) == {"1", "2"} and [where for where, _ in problems] == ["t.jsonl line 2", "t.jsonl line 3"]


def test_images_as_bytes_in_parquet(load):
    rows = [
        {"study_id": "1", "patient_id": "p", "image": b"first", "more": 1},
        {"study_id": "2", "patient_id": "p", "image": b"second", "more": 2},
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    found, _ = load(sink.getvalue().to_pybytes(), "t.parquet")
    assert [row["images"][0]["image"]["bytes"] for row in found.values()] == [b"first", b"second"]


# --- studies that stand in two places


def test_rows_of_a_study_that_stand_apart_are_named_not_doubled(load, tmp_path):
    """Both would be examples of one id, whose reports nobody could tell apart."""
    text = HEADER + "1,p,a.png,PA,2021-01-01,x\n2,p,b.png,PA,2021-01-02,y\n1,p,c.png,LL,2021-01-01,x\n"
    rows, problems = load(text)
    assert set(rows) == {"1", "2"} and problems == [("t.csv line 4", "study_id")]
    errors = check_studies(tmp_path / "t.csv", images="skip").errors
    assert [(issue.kind, issue.where) for issue in errors] == [("duplicate", "t.csv line 4 (study 1)")]
    with_ids = [study(1, image_id="a"), study(2, image_id="b"), study(1, image="c.png", image_id="c")]
    load(with_ids, "ids.jsonl")
    examples = as_examples(load_studies(tmp_path / "ids.jsonl", split="train"))["train"]
    assert examples["example_id"] == ["p_1_a", "p_2_b", "p_1_c"]


def test_two_images_with_one_id_lose_the_second_only(load):
    images = [{"image": name, "image_id": key} for name, key in (("a.png", "x"), ("b.png", "y"), ("c.png", "x"))]
    rows, problems = load([{"study_id": "1", "patient_id": "p", "images": images}], "t.jsonl")
    assert [entry["image"]["path"][-5:] for entry in rows["1"]["images"]] == ["a.png", "b.png"]
    assert problems == [("t.jsonl line 1", "images")]


def test_a_study_without_split_goes_where_its_patient_is(tmp_path):
    """A hash of its own would put the patient into two splits."""
    rows = [
        {**study(number), "patient_id": f"p{number % 20}", "split": "test" if number < 20 else None}
        for number in range(40)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = load_studies(tmp_path / "t.jsonl", cache_dir=tmp_path / "cache")
    assert {name: len(part) for name, part in parts.items()} == {"test": 40}


# --- priors


def test_a_declared_prior_does_not_make_the_others_guessed(load, tmp_path):
    """As soon as the source names priors: a complete one stays, one by id is resolved, a study without one has none."""
    rows = [
        study(1, acquired="2021-01-01"),
        study(2, acquired="2021-01-02", prior={"image": "outside.png", "acquired": "2020-12-01"}),
        study(3, acquired="2021-01-03", prior_study_id="1"),
        study(4, acquired="2021-01-04"),
    ]
    found, problems = load(rows, "t.jsonl")
    assert not problems and found["1"]["prior"] is None and found["4"]["prior"] is None
    assert found["2"]["prior"]["image"]["path"] == str(tmp_path / "outside.png")
    assert found["3"]["prior"]["study_id"] == "1" and found["3"]["prior"]["days_before"] == 2
    assert check_studies(tmp_path / "t.jsonl", images="skip").counts["with prior"] == 2
    forced, _ = load(rows, "t.jsonl", link=True)
    assert [row["prior"] and row["prior"]["study_id"] for row in forced.values()] == [None, "1", "1", "3"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_prior_names_another_study(load, name):
    rows = [study(1, prior=""), study(2, prior="1")]
    text = "study_id,patient_id,image,prior\n1,p,1.png,\n2,p,2.png,1\n"
    found, problems = load(text if name == "t.csv" else rows, name)
    assert not problems and found["2"]["prior"]["study_id"] == "1" and found["1"]["prior"] is None


def test_a_whole_day_is_not_earlier_than_its_own_noon():
    rows = [
        {"study_id": name, "patient_id": "p", "day": day, "images": [{"image": "x.png"}]}
        for name, day in (("a", 3), ("b", 3.5), ("c", 4), ("d", 4.5))
    ]
    linked = link_priors(studies_to_dataset(rows))
    assert [row["prior"] and row["prior"]["study_id"] for row in linked] == [None, None, "b", "b"]


def test_priors_are_linked_in_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [
        {"study_id": f"{day}", "patient_id": "p", "day": day, "images": [{"image": {"bytes": b"x", "path": None}}]}
        for day in range(3)
    ]
    datasets.DatasetDict({"train": studies_to_dataset(rows)}).save_to_disk(tmp_path / "saved")
    before = sorted(tmp_path.glob("saved/**/*"))
    monkeypatch.setattr("priorrg_hf.data.schema.os.access", lambda *_: False)
    assert load_studies(tmp_path / "saved")["train"][2]["prior"]["study_id"] == "1"
    assert sorted(tmp_path.glob("saved/**/*")) == before


# --- annotations and data sets


def annotation_item(**changes) -> dict:
    item = {
        "id": "d1",
        "subject_id": 1,
        "study_id": 5,
        "findings": "Clear.",
        "findings_factual_serialization": ["clear"],
    }
    return {**item, "anchor_scan": {"image_path": ["a.jpg"], "view_position": ["AP"]}, **changes}


def test_an_annotation_whose_items_all_lack_the_serialization_says_so(load, tmp_path):
    content = json.dumps({"train": [annotation_item(findings_factual_serialization=[])]})
    with pytest.raises(ValueError, match="1 items with an empty findings_factual_serialization.*--all-items"):
        load(content, "a.json")
    with pytest.raises(ValueError, match="--all-items"):  # from the cache
        load_studies(tmp_path / "a.json")
    assert any("--all-items" in issue.message for issue in check_studies(tmp_path / "a.json").warnings)


@pytest.mark.parametrize("prior", [None, {}, {"latest_study": None}, {"latest_study": {}}])
def test_an_annotation_without_prior(load, prior):
    content = {
        "info": {"version": [1]},
        "train": [annotation_item(prior_study=prior, unknown=[{"x": 1}])],
        "test": None,
    }
    rows, problems = load(json.dumps(content), "a.json")
    assert not problems and rows["5"]["prior"] is None


def test_a_data_set_with_unusable_rows_gives_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    image = {"image": {"bytes": b"x", "path": None}, "view": "PA", "image_id": None, "laterality": None}
    rows = [
        {"study_id": "1", "patient_id": None, "images": [image]},
        {"study_id": "2", "patient_id": "p", "images": []},
        {"study_id": "3", "patient_id": "p", "images": None},
        {"study_id": "4", "patient_id": "p", "images": [image]},
    ]
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    problems = []
    parts = load_studies(tmp_path / "set", problems=problems)
    assert parts["train"]["study_id"] == ["4"]
    assert [(where, error.field) for where, error in problems] == [
        ("train row 0", "patient_id"),
        ("train row 1", "images"),
        ("train row 2", "images"),
    ]
    with pytest.raises(ValueError, match="study '1', field 'patient_id'"):
        load_studies(tmp_path / "set", strict=True)


def test_example_rows_can_be_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"study_id": "1", "patient_id": "p", "images": [{"image": "a.png", "view": "PA"}, {"image": "b.png"}]}]
    (tmp_path / "set").mkdir()
    examples = as_examples(studies_to_dataset(rows)).with_format("arrow")
    pq.write_table(examples[:], tmp_path / "set" / "test-00000-of-00001.parquet")
    report = check_studies(tmp_path / "set", allow_outside_image_root=True)
    assert [issue.kind for issue in report.errors] == ["missing file"] * 2 and report.counts["images"] == 2


def test_a_hub_name_with_a_version_in_it(monkeypatch, tmp_path):
    from priorrg_hf.data.readers import detect_reader

    monkeypatch.chdir(tmp_path)
    assert detect_reader("someone/studies-v1.0")[0] == "hub"
    with pytest.raises(ValueError, match="does not exist"):
        detect_reader("folder/studies.csv")


# --- MIMIC-CXR


METADATA = "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime\nd1,10000001,50000001,PA,21800101,80000.0\n"


def test_broken_tables_and_archives_of_mimic_are_named(tmp_path):
    def read():
        return load_studies(tmp_path, cache_dir=tmp_path / "cache")

    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text(METADATA)
    chexpert = tmp_path / "mimic-cxr-2.0.0-chexpert.csv"
    chexpert.write_text("subject_id,Edema\n10000001,1.0\n")
    with pytest.raises(ValueError, match="chexpert.csv has no column 'study_id'"):
        read()
    chexpert.unlink()
    reports = tmp_path / "mimic-cxr-reports.zip"
    reports.write_bytes(b"PK and no more")
    with pytest.raises(ValueError, match="mimic-cxr-reports.zip can't be read"):
        read()
    with zipfile.ZipFile(reports, "w") as archive:
        archive.writestr("files/p10/p10000001/s50000001.txt", "FINDINGS: Clear.")
    (part,) = read().values()
    assert part["findings"] == ["Clear."]
    (tmp_path / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(
        gzip.compress(b"study_id,split\n" + b"50000001,test\n" * 9999)[:-30]
    )
    with pytest.raises(ValueError, match="split.csv.gz can't be read"):
        read()


SECTIONS = {
    "a number right behind the colon": (
        "FINDINGS:1. Clear.\nIMPRESSION:1. Normal.",
        {"findings": "1. Clear.", "impression": "1. Normal."},
    ),
    "a time of day is no header": (
        "FINDINGS:\n1:30 PM: clear. CHEST AT 10:30: dry.",
        {"findings": "1:30 PM: clear. CHEST AT 10:30: dry."},
    ),
    "line breaks lost": (
        "FINAL REPORT INDICATION: Cough. COMPARISON: None. FINDINGS: Clear lungs. IMPRESSION: Normal.",
        {"indication": "Cough.", "comparison": "None.", "findings": "Clear lungs.", "impression": "Normal."},
    ),
    "structured findings": (
        "FINDINGS:\nLINES AND TUBES: none.\nLUNGS AND PLEURA: clear.\nHEART: normal.\nNOTE TO STAFF: told.",
        {"findings": "LINES AND TUBES: none. LUNGS AND PLEURA: clear. HEART: normal."},
    ),
    "a sentence about the final report": (
        "FINAL REPORT\nFINDINGS: Clear.\nIMPRESSION: Normal.\nFinal report was discussed with Dr. ___.",
        {"findings": "Clear.", "impression": "Normal. Final report was discussed with Dr. ___."},
    ),
    "the words at the end": (
        "FINDINGS: Clear.\nIMPRESSION: Normal.\n FINAL REPORT\n",
        {"findings": "Clear.", "impression": "Normal."},
    ),
    "the words in small letters": ("Wet read: bad.\nFinal report:\nFindings: Clear.", {"findings": "Clear."}),
    "an addendum without a colon": (
        "FINAL REPORT\nFINDINGS: Clear.\nIMPRESSION: Normal.\n\nADDENDUM\nNot clear.",
        {"findings": "Clear.", "impression": "Normal."},
    ),
    "words alone on a line": (
        "Findings\nClear.\n\nImpression\nNormal.",
        {"findings": "Clear.", "impression": "Normal."},
    ),
    "such a word from wrapped prose": (
        "FINDINGS: Clear in the\nImpression\nof all.",
        {"findings": "Clear in the Impression of all."},
    ),
    "both at once within a line": (
        "Portable film. FINDINGS AND IMPRESSION: Clear.",
        {"findings": "Clear.", "impression": "Clear."},
    ),
}


@pytest.mark.parametrize("symptom", SECTIONS)
def test_sections(symptom):
    text, expected = SECTIONS[symptom]
    assert report_sections(text) == expected


# --- conversion


def test_what_a_killed_run_left_in_the_cache_goes_after_a_day(load, tmp_path):
    load([study(1)], "t.jsonl")
    (place,) = (tmp_path / "cache" / "priorrg").glob("*/summary.json")
    (place.parent / "writing-old").mkdir()
    (place.parent / "writing-new").mkdir()
    os.utime(place.parent / "writing-old", (0, 0))
    place.unlink()
    load_studies(tmp_path / "t.jsonl", split="train")
    assert [path.name for path in place.parent.glob("writing-*")] == ["writing-new"]


def test_a_change_in_any_field_is_another_conversion(tmp_path, monkeypatch):
    """Formerly only ids and findings counted, so that shards with an old view or date were taken for finished ones."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source, out = tmp_path / "t.jsonl", tmp_path / "out"
    first = study(1, view="AP", acquired="2021-01-01", indication="Cough.", prior={"image": "x.png", "view": "AP"})
    for number, change in enumerate(
        [
            {},
            {"view": "PA"},
            {"acquired": "2021-01-02"},
            {"indication": "Fever."},
            {"prior": {"image": "y.png", "view": "AP"}},
        ]
    ):
        source.write_text(json.dumps({**first, **change}) + "\n")
        if number:
            with pytest.raises(FileExistsError, match="the source has changed"):
                convert_studies(source, out, split="train")
        assert convert_studies(source, out, split="train", overwrite=True).written == 1
    assert convert_studies(source, out, split="train").reused == 1
    assert convert_studies(source, out, split="train", overwrite=True).written == 1  # asked for, so done
