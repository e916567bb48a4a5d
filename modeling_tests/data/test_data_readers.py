"""Readers and `load_studies`: every source gives the same schema. All texts and pictures are made up."""

import csv
import gzip
import json
import zipfile

import datasets
import pytest
from dicom_builders import build, file_bytes
from PIL import Image
from shared_files import SHARED, needs

from priorrg_hf.data import StudyError, as_examples, check_patient_disjoint, load_studies, study_features
from priorrg_hf.data.readers import detect_reader
from priorrg_hf.data.readers.annotation import iter_items
from priorrg_hf.data.readers.report_sections import report_sections


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`load_studies` with a cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def load(source, **options):
        # the tables here name files that lie nowhere; the rule itself is tested in test_image_places.py
        splits = load_studies(source, **{"allow_outside_image_root": True, **options})
        assert all(part.features == study_features() for part in splits.values())
        check_patient_disjoint(splits)
        return splits

    return load


def by_id(splits) -> dict:
    return {row["study_id"]: row for part in splits.values() for row in part}


ROWS = [
    {
        "study_id": "b",
        "patient_id": "p",
        "image": "b.png",
        "view": "PA",
        "acquired": "2021-03-05",
        "findings": "Edema.\nNo effusion.",
    },
    {
        "study_id": "a",
        "patient_id": "p",
        "image": "a.png",
        "view": "AP",
        "acquired": "20210301",
        "findings": 'A "quoted", text',
    },
    {"study_id": "c", "patient_id": "q", "image": "/absolute/c.png", "view": "", "acquired": "", "findings": ""},
]


def write_csv(path, rows, opener=open, delimiter=","):
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_table(kind, folder):
    if kind == "csv":
        return write_csv(folder / "t.csv", ROWS)
    if kind == "csv.gz":
        return write_csv(folder / "t.csv.gz", ROWS, gzip.open)
    if kind == "tsv":
        return write_csv(folder / "t.tsv", ROWS, delimiter="\t")
    if kind == "jsonl":
        return write_jsonl(folder / "t.jsonl", ROWS)
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "parquet"])
def test_tables(kind, tmp_path, load):
    studies = by_id(load(write_table(kind, tmp_path)))
    assert set(studies) == {"a", "b", "c"}
    assert studies["a"]["findings"] == 'A "quoted", text' and studies["b"]["findings"] == "Edema.\nNo effusion."
    assert studies["b"]["images"][0]["image"]["path"] == str(tmp_path / "b.png")
    assert studies["c"]["images"][0] == {
        "image": {"bytes": None, "path": "/absolute/c.png"},
        "view": None,
        "image_id": None,
        "laterality": None,
    }
    assert studies["b"]["prior"]["study_id"] == "a" and studies["b"]["prior"]["days_before"] == 4
    assert studies["a"]["prior"] is None and studies["a"]["acquired"] == "2021-03-01"


def test_column_mapping_and_image_root(tmp_path, load):
    rows = [{"ID": "1", "PAT": "p", "FILE": "x.png", "REPORT_TEXT": "Clear.", "more": "ignored"}]
    table = write_csv(tmp_path / "t.csv", rows)
    columns = {"study_id": "ID", "patient_id": "PAT", "image": "FILE", "findings": "REPORT_TEXT"}
    row = by_id(load(table, columns=columns, image_root=tmp_path / "films", split="test"))["1"]
    assert row["findings"] == "Clear." and row["images"][0]["image"]["path"] == str(tmp_path / "films" / "x.png")
    assert row["split"] == "test"
    with pytest.raises(ValueError, match="no column 'REPORT'.*it has ID, PAT, FILE, REPORT_TEXT"):
        load(table, columns={**columns, "findings": "REPORT"})
    with pytest.raises(ValueError, match="'text' is no field"):
        load(table, columns={**columns, "text": "REPORT_TEXT"})
    with pytest.raises(ValueError, match="no column 'study_id'.*--column study_id=NAME"):
        load(table)


def test_several_images_a_study_and_conflicting_rows(tmp_path, load):
    rows = [
        {"study_id": "s", "patient_id": "p", "image": "1.png", "view": "PA", "findings": "Clear."},
        {"study_id": "s", "patient_id": "p", "image": "2.png", "view": "LATERAL", "findings": "Clear."},
        {"study_id": "s", "patient_id": "p", "image": "3.png", "view": "LATERAL", "findings": "Not clear."},
    ]
    problems = []
    row = by_id(load(write_csv(tmp_path / "t.csv", rows), problems=problems))["s"]
    assert [entry["view"] for entry in row["images"]] == ["PA", "LATERAL"]
    assert len(problems) == 1 and problems[0][0] == "t.csv line 4" and problems[0][1].field == "findings"
    nested = [{"study_id": "s", "patient_id": "p", "images": [{"image": "1.png", "view": "PA"}, "2.png"]}]
    row = by_id(load(write_jsonl(tmp_path / "n.jsonl", nested)))["s"]
    assert [entry["image"]["path"] for entry in row["images"]] == [str(tmp_path / "1.png"), str(tmp_path / "2.png")]


def test_priors_as_the_table_declares_them(tmp_path, load):
    base = {"patient_id": "p", "image": "x.png", "findings": "f"}
    rows = [
        {
            **base,
            "study_id": "a",
            "prior_study_id": "",
            "prior_image": "",
            "prior_view": "",
            "day": "1",
            "prior_day": "",
        },
        {
            **base,
            "study_id": "b",
            "prior_study_id": "",
            "prior_image": "a.png",
            "prior_view": "AP",
            "day": "4",
            "prior_day": "1",
        },
        {
            **base,
            "study_id": "c",
            "prior_study_id": "a",
            "prior_image": "",
            "prior_view": "",
            "day": "9",
            "prior_day": "",
        },
    ]
    studies = by_id(load(write_csv(tmp_path / "t.csv", rows)))
    assert studies["a"]["prior"] is None
    assert studies["c"]["prior"]["study_id"] == "a" and studies["c"]["prior"]["days_before"] == 8


def test_flat_priors_are_kept(tmp_path, load):
    rows = [
        {"study_id": "a", "patient_id": "p", "image": "a.png", "prior_image": None, "acquired": "2021-01-01"},
        {
            "study_id": "b",
            "patient_id": "p",
            "image": "b.png",
            "prior_image": "old.png",
            "prior_view": "AP",
            "acquired": "2021-01-02",
        },
    ]
    studies = by_id(load(write_jsonl(tmp_path / "t.jsonl", rows)))
    assert studies["a"]["prior"] is None and studies["b"]["prior"]["image"]["path"] == str(tmp_path / "old.png")
    assert by_id(load(tmp_path / "t.jsonl", link=True))["b"]["prior"]["study_id"] == "a"


def test_bad_studies_are_left_out_and_named(tmp_path, load, caplog):
    rows = [*ROWS, {**ROWS[0], "study_id": "d", "acquired": "soon"}, {**ROWS[0], "study_id": ""}]
    table, problems = write_csv(tmp_path / "t.csv", rows), []
    assert len(by_id(load(table, problems=problems))) == 3
    assert [(where, error.field) for where, error in problems] == [
        ("t.csv line 6", "acquired"),
        ("t.csv line 8", "study_id"),
    ]
    assert "left out, t.csv line 6" in caplog.text
    problems.clear()
    load(table, problems=problems)  # from the cache
    assert len(problems) == 2
    with pytest.raises(StudyError, match="study 'd', field 'acquired'"):
        load(table, strict=True)


def test_a_broken_line_costs_one_study(tmp_path, load):
    path, problems = write_jsonl(tmp_path / "t.jsonl", ROWS), []
    path.write_text(path.read_text().replace('"study_id": "a"', '"study_id": a') + "[1]\n")
    assert set(by_id(load(path, problems=problems))) == {"b", "c"}
    assert [where for where, _ in problems] == ["t.jsonl line 2", "t.jsonl line 4"]


def test_another_encoding_is_named(tmp_path, load):
    (tmp_path / "t.csv").write_bytes("study_id,patient_id,image,findings\n1,p,a.png,naïve".encode("latin-1"))
    with pytest.raises(ValueError, match="isn't UTF-8"):
        load(tmp_path / "t.csv")


def test_the_cache_follows_the_source(tmp_path, load):
    table = write_csv(tmp_path / "t.csv", ROWS)
    assert len(by_id(load(table))) == 3
    write_csv(table, ROWS[:2])
    assert len(by_id(load(table))) == 2


def test_split_file_and_split_choice(tmp_path, load):
    write_csv(tmp_path / "studies.csv", ROWS)
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["p"], "val": ["q"]}))
    splits = load(tmp_path)
    assert {name: len(part) for name, part in splits.items()} == {"train": 2, "validation": 1}
    assert list(load(tmp_path, split="val")) == ["validation"]
    assert list(load(tmp_path, fractions={"test": 1.0})) == ["test"]
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["p", "q"], "val": ["q"]}))
    with pytest.raises(StudyError, match="patient 'q' in 'train' and in 'val'"):
        load(tmp_path)


def test_a_patient_in_two_splits_is_an_error(tmp_path, load):
    rows = [{**ROWS[0], "split": "train"}, {**ROWS[1], "split": "test"}]
    with pytest.raises(StudyError, match="patient 'p' is in 'train' and in 'test'"):
        load_studies(write_csv(tmp_path / "t.csv", rows), cache_dir=tmp_path / "cache")


def test_no_image_is_opened(tmp_path, load):
    examples = as_examples(load(write_csv(tmp_path / "t.csv", ROWS)))  # none of the files exists
    assert sum(len(part) for part in examples.values()) == 3


# --- annotation


def annotation_item(number: int, **changes) -> dict:
    item = {
        "id": f"dicom{number}",
        "subject_id": 10 + number // 2,
        "study_id": 500 + number,
        "findings": "The lungs are clear.",
        "findings_factual_serialization": ["lungs clear"],
        "indication_pure": "Cough.",
        "history_pure": "",
        "anchor_scan": {"image_path": [f"p1/{number}.jpg", "other.jpg"], "view_position": ["AP", "PA"]},
        "prior_study": None,
        "auxiliary_references": {"unused": [1, 2, {"deep": "]}"}]},
    }
    return {**item, **changes}


def test_published_annotation(tmp_path, load):
    latest = {"latest_study": {"image_path": "p1/0.jpg", "view_position": "LATERAL"}, "older": {}}
    content = {
        "train": [
            annotation_item(0),
            annotation_item(1, prior_study=latest),
            annotation_item(
                1, id="second", prior_study=latest, anchor_scan={"image_path": ["z.jpg"], "view_position": ["LL"]}
            ),
            annotation_item(2, findings_factual_serialization=[]),
        ],
        "val": [annotation_item(4)],
        "test": [annotation_item(6, anchor_scan={})],
    }
    path = tmp_path / "priorrg_mimic_cxr_annotation.json"
    path.write_text(json.dumps(content))
    problems = []
    splits = load(path, image_root="/films", problems=problems)
    assert {name: part["study_id"] for name, part in splits.items()} == {
        "train": ["500", "501"],
        "validation": ["504"],
    }
    row = splits["train"][1]
    assert [entry["view"] for entry in row["images"]] == ["AP", "LL"]
    assert row["prior"]["image"]["path"] == "/films/p1/0.jpg" and row["prior"]["view"] == "LATERAL"
    assert (row["indication"], row["history"]) == ("Cough.", None)
    assert as_examples(splits)["train"]["example_id"] == ["10_500_dicom0", "10_501_dicom1", "10_501_second"]
    assert problems[0][0].endswith("test[0]") and problems[0][1].field == "anchor_scan"
    assert by_id(load(tmp_path, require_factual_serialization=False)).keys() >= {"502"}


def test_items_of_one_study_with_different_priors_stay_apart(tmp_path, load):
    def prior(name):
        return {"latest_study": {"image_path": name, "view_position": "AP"}}

    items = [annotation_item(0, prior_study=prior("a.jpg")), annotation_item(0, id="x", prior_study=prior("b.jpg"))]
    (tmp_path / "a.json").write_text(json.dumps({"test": items}))
    examples = as_examples(load(tmp_path / "a.json"))["test"]
    assert [entry["path"].rsplit("/")[-1] for entry in examples["prior_image"]] == ["a.jpg", "b.jpg"]
    assert len(set(examples["example_id"])) == 2


def test_annotation_is_read_in_pieces(tmp_path, monkeypatch):
    from priorrg_hf.data.readers import annotation

    monkeypatch.setattr(annotation, "_CHUNK", 7)
    content = {"train": [annotation_item(n) for n in range(5)], "test": [], "val": [annotation_item(9)]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content, indent=2))
    assert [item for _, _, item in iter_items(path)] == content["train"] + content["val"]
    for broken in (path.read_text()[:-40], "[1, 2]", '{"train": [1]}'):
        path.write_text(broken)
        with pytest.raises(ValueError, match="a.json"):
            list(iter_items(path))


# --- MIMIC-CXR

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with
 a cough  // pneumonia?

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  Heart: normal.
 Lines: none.

 IMPRESSION:

 No acute process.
"""


def write_mimic(folder, zipped: bool):
    suffix, opener = (".csv.gz", gzip.open) if zipped else (".csv", open)
    images = [
        ("d3", "10000001", "50000002", "PA", "21800510", "91513.062"),
        ("d1", "10000001", "50000001", "LATERAL", "21800506", "213014.531"),
        ("d2", "10000001", "50000001", "AP", "21800506", "213014.531"),
        ("d4", "10000009", "50000009", "", "", ""),
    ]
    names = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    rows = [{**dict(zip(names, image, strict=True)), "Rows": 1} for image in images]
    write_csv(folder / f"mimic-cxr-2.0.0-metadata{suffix}", rows, opener)
    splits = [
        {
            "dicom_id": image[0],
            "study_id": image[2],
            "subject_id": image[1],
            "split": "validate" if image[1][-1] == "9" else "test",
        }
        for image in images
    ]
    write_csv(folder / f"mimic-cxr-2.0.0-split{suffix}", splits, opener)
    labels = [{"subject_id": "10000001", "study_id": "50000001", "Edema": "1.0", "Pneumonia": "-1.0", "Fracture": ""}]
    write_csv(folder / f"mimic-cxr-2.0.0-chexpert{suffix}", labels, opener)
    reports = {
        "files/p10/p10000001/s50000001.txt": REPORT,
        "files/p10/p10000001/s50000002.txt": "FINAL REPORT\n FINDINGS: Edema.",
    }
    if zipped:
        with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w") as archive:
            for name, text in reports.items():
                archive.writestr(name, text)
    else:
        for name, text in reports.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


@pytest.mark.parametrize("zipped", [False, True])
def test_raw_mimic_cxr(tmp_path, load, zipped):
    write_mimic(tmp_path, zipped)
    assert detect_reader(tmp_path)[0] == "mimic-cxr"
    splits = load(tmp_path)
    assert {name: len(part) for name, part in splits.items()} == {"validation": 1, "test": 2}
    studies = by_id(splits)
    first, second = studies["50000001"], studies["50000002"]
    assert first["acquired"] == "2180-05-06T21:30:14.531000" and second["acquired"] == "2180-05-10T09:15:13.062000"
    assert first["findings"] == "The lungs are clear. Heart: normal. Lines: none."
    assert first["indication"] == "___ year old woman with a cough // pneumonia?" and first["comparison"] == "None."
    assert first["impression"] == "No acute process." and first["history"] is None
    assert first["labels"] == [{"name": "Edema", "value": 1.0}, {"name": "Pneumonia", "value": -1.0}]
    expected = tmp_path / "files/p10/p10000001/s50000001/d1.jpg"
    assert first["images"][0]["image"]["path"] == str(expected)
    assert second["prior"]["study_id"] == "50000001" and second["prior"]["view"] == "AP"  # the frontal one
    assert second["prior"]["days_before"] == pytest.approx(3.489566, abs=1e-6)
    assert studies["50000009"]["findings"] is None and studies["50000009"]["acquired"] is None
    assert as_examples(splits["test"])["example_id"][0] == "10000001_50000001_d1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS AND IMPRESSION:\nNo edema.", {"findings": "No edema.", "impression": "No edema."}),
        ("IMPRESSION:  1.  No edema.\n\n2.  Stable.", {"impression": "1. No edema. 2. Stable."}),
        ("REASON FOR EXAM: fever\nCLINICAL HISTORY: smoker\n", {"indication": "fever", "history": "smoker"}),
        (
            "Clinical information: pain\nFindings: clear\nImpression: normal",
            {"history": "pain", "findings": "clear", "impression": "normal"},
        ),
        (
            "PA AND LATERAL VIEWS OF THE CHEST:  Clear lungs.\nIMPRESSION: Normal.",
            {"findings": "Clear lungs.", "impression": "Normal."},
        ),
        ("CHEST, PORTABLE AP: Tube in place.", {"findings": "Tube in place."}),
        ("FINDINGS: Clear.\nNOTIFICATION: called at 10:30.\n", {"findings": "Clear."}),
        ("FINDINGS: Clear.\nRECOMMENDATION(S):  CT.", {"findings": "Clear."}),
        ("FINDINGS\nClear.\nIMPRESSION\nNormal.", {"findings": "Clear.", "impression": "Normal."}),
        (
            "WET READ: ___ 9:12 PM\n FINDINGS: preliminary\n______\n FINAL REPORT\n FINDINGS: final",
            {"findings": "final"},
        ),
        (
            "FINDINGS: At 10:30 the tube ends\nhigh: 5 cm above.",
            {"findings": "At 10:30 the tube ends high: 5 cm above."},
        ),
        ("FINDINGS: One.\nTECHNIQUE: AP.\nFINDINGS: Two.", {"findings": "One. Two."}),
        ("FINDINGS:\r\n Clear.\r\nIMPRESSION:\r\n", {"findings": "Clear."}),
        ("As compared to the previous radiograph, no change.", {}),
        ("", {}),
    ],
)
def test_report_sections(text, expected):
    assert report_sections(text) == expected


# --- IU X-ray, DICOM, Hub


def test_iu_xray(tmp_path, load):
    reports = [
        {
            "uid": "1",
            "Problems": "Cardiomegaly;Edema",
            "indication": "Pain",
            "comparison": "None.",
            "findings": "Large heart.",
            "impression": "Big.",
        },
        {
            "uid": "2",
            "Problems": "normal",
            "indication": "",
            "comparison": "",
            "findings": "",
            "impression": "Normal.",
        },
        {"uid": "3", "Problems": "", "indication": "", "comparison": "", "findings": "x", "impression": ""},
    ]
    write_csv(tmp_path / "indiana_reports.csv", reports)
    views = [("1", "1_l.png", "Lateral"), ("1", "1_f.png", "Frontal"), ("2", "2.png", "Frontal")]
    write_csv(
        tmp_path / "indiana_projections.csv",
        [dict(zip(("uid", "filename", "projection"), v, strict=True)) for v in views],
    )
    (tmp_path / "images" / "images_normalized").mkdir(parents=True)
    problems = []
    studies = by_id(load(tmp_path, problems=problems))
    assert [entry["view"] for entry in studies["1"]["images"]] == ["FRONTAL", "LATERAL"]
    assert studies["1"]["images"][0]["image"]["path"] == str(tmp_path / "images/images_normalized/1_f.png")
    assert studies["1"]["findings"] == "Large heart." and {x["name"] for x in studies["1"]["labels"]} == {
        "Cardiomegaly",
        "Edema",
    }
    assert studies["2"]["findings"] is None and [error.study for _, error in problems] == ["3"]


def write_dicom(path, study, patient, date, view, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = build(StudyInstanceUID=study, PatientID=patient, StudyDate=date, ViewPosition=view, **tags)
    dataset.SOPInstanceUID = f"1.2.{abs(hash(path.name)) % 10**8}"
    path.write_bytes(file_bytes(dataset))


def test_dicom_folder(tmp_path, load, monkeypatch):
    folder = tmp_path / "scans"
    write_dicom(folder / "a" / "x" / "one", "1.2.3", "P", "20210301", "AP", ImageLaterality="L")
    write_dicom(folder / "b" / "two.dcm", "1.2.4", "P", "20210305", "PA", ReasonForTheRequestedProcedure="Cough.")
    write_dicom(folder / "b" / "deep" / "three.dcm", "1.2.4", "P", "20210305", "LL")
    write_dicom(folder / "c" / "four.dcm", "1.2.5", None, "20210305", "PA")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.dcm").write_bytes(b"not DICOM at all")
    assert detect_reader(folder)[0] == "dicom"
    problems = []
    studies = by_id(load(folder, problems=problems, split="test"))
    assert set(studies) == {"1.2.3", "1.2.4"}
    assert [entry["view"] for entry in studies["1.2.4"]["images"]] == ["LL", "PA"]
    assert studies["1.2.3"]["images"][0]["laterality"] == "L" and studies["1.2.4"]["indication"] == "Cough."
    assert studies["1.2.4"]["acquired"] == "2021-03-05T10:05:30"
    assert studies["1.2.4"]["prior"]["study_id"] == "1.2.3" and studies["1.2.4"]["prior"]["days_before"] == 4
    assert {where for where, _ in problems} == {"broken.dcm", "c/four.dcm"}

    from priorrg_hf.data.readers import dicom

    read = []
    header = dicom._header
    monkeypatch.setattr(dicom, "_header", lambda path: read.append(path.name) or header(path))
    write_dicom(folder / "new.dcm", "1.2.9", "Q", "20210305", "PA")
    (folder / "a" / "x" / "one").unlink()
    assert set(by_id(load(folder, split="test"))) == {"1.2.4", "1.2.9"}
    assert read == ["new.dcm"]  # the others are remembered


def test_a_hand_in_the_folder_is_named_by_the_reader(tmp_path, load):
    write_dicom(tmp_path / "chest.dcm", "1.2.3", "P", "20210301", "AP")
    write_dicom(tmp_path / "hand.dcm", "1.2.3", "P", "20210301", "AP", BodyPartExamined="HAND")
    write_dicom(tmp_path / "ct.dcm", "1.2.4", "P", "20210301", "AP", Modality="CT")
    problems = []
    studies = by_id(load(tmp_path, problems=problems))
    assert set(studies) == {"1.2.3"} and len(studies["1.2.3"]["images"]) == 1
    assert {where: error.problem.split("'")[1] for where, error in problems} == {"hand.dcm": "HAND", "ct.dcm": "CT"}


def test_saved_data_sets(tmp_path, load):
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a", "b"):
        Image.new("L", (4, 4)).save(films / f"{name}.png")
    splits = load(write_csv(tmp_path / "t.csv", ROWS[:2]), image_root=films)
    splits.save_to_disk(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again["train"]["study_id"] == splits["train"]["study_id"]
    assert again["train"][0]["images"][0]["image"]["bytes"][:4] == b"\x89PNG"  # `save_to_disk` takes the files along
    (tmp_path / "shards").mkdir()
    splits["train"].to_parquet(tmp_path / "shards" / "train-00000-of-00001.parquet")
    assert load(tmp_path / "shards")["train"][0]["prior"] == splits["train"][0]["prior"]


def test_a_hub_name_goes_to_load_dataset(monkeypatch, load):
    asked = []
    parts = {
        "val": datasets.Dataset.from_list(
            [
                {
                    "study_id": "1",
                    "patient_id": "p",
                    "images": [
                        {"image": {"bytes": b"x", "path": None}, "view": "PA", "image_id": None, "laterality": None}
                    ],
                }
            ]
        )
    }
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *args, **options: asked.append((args, options)) or datasets.DatasetDict(parts)
    )
    splits = load("someone/some-studies", revision="v1")
    assert asked == [(("someone/some-studies",), {"revision": "v1"})] and splits["validation"]["study_id"] == ["1"]


def test_a_hub_name_that_does_not_exist(monkeypatch, load):
    def missing(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("no such repository")

    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(ValueError, match="no file or folder here"):
        load("someone/nothing")


def test_unknown_sources_say_what_was_expected(tmp_path, load):
    with pytest.raises(ValueError, match=r"does not exist. Expected one of(.|\n)*table: a CSV"):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"was not recognised(.|\n)*mimic-cxr"):
        load(tmp_path)
    with pytest.raises(ValueError, match="unknown format 'excel'"):
        load(tmp_path, format="excel")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.csv", format="table")


@needs("data/cxr_longitudinal/studies.jsonl")
def test_real_longitudinal_set(load):
    splits = load(SHARED / "data" / "cxr_longitudinal")
    assert {name: len(part) for name, part in splits.items()} == {"train": 181, "validation": 50, "test": 40}
    rows = by_id(splits)
    assert sum(row["prior"] is not None for row in rows.values()) == 113
    assert rows["17_03"]["prior"]["days_before"] == 6 and rows["17_03"]["prior"]["view"] == "AP"
    assert sum(row["findings"] is not None for row in rows.values()) == 170
