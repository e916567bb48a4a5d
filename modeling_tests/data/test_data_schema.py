"""Study schema: records, features, validation, splits, example rows."""

import subprocess
import sys

import pytest
from datasets import Dataset, DatasetDict, Image

from priorrg_hf.data import (
    PriorStudy,
    Study,
    StudyError,
    StudyImage,
    as_examples,
    assign_split,
    check_patient_disjoint,
    split_by_patient,
    studies_to_dataset,
    studies_to_dataset_dict,
    study_features,
    view_family,
)
from priorrg_hf.data.schema import EXAMPLE_FIELDS, normalize_time, parse_time, validate_row


def study(number: int = 0, **changes) -> Study:
    values = {
        "study_id": f"s{number}",
        "patient_id": f"p{number // 2}",
        "images": [StudyImage(f"/nowhere/{number}.png", "PA")],
        "findings": "The lungs are clear.",
    }
    return Study(**{**values, **changes})


def test_a_record_survives_storage(tmp_path):
    record = study(
        1,
        images=[StudyImage("/nowhere/a.png", "AP", "d1", "L"), StudyImage({"bytes": b"png", "path": None}, "LATERAL")],
        acquired="2021-03-04T10:05:00",
        day=3.0,
        indication="Cough.",
        labels={"Edema": 1.0, "Fracture": -1.0},
        prior=PriorStudy("/nowhere/0.png", "s0", "PA", "2021-03-01", 3.0),
        split="test",
    )
    dataset = studies_to_dataset([record, study(2)])
    assert dataset.features == study_features()
    dataset.to_parquet(tmp_path / "saved.parquet")
    loaded = Dataset.from_parquet(str(tmp_path / "saved.parquet"), cache_dir=str(tmp_path))
    assert loaded.features == study_features()
    again = Study.from_row(loaded[0])
    assert (
        again.images[0].image == {"bytes": None, "path": "/nowhere/a.png"} and again.images[1].image["bytes"] == b"png"
    )
    assert again.prior.image["path"] == "/nowhere/0.png" and again.labels == record.labels
    assert (again.acquired, again.day, again.indication, again.split) == (record.acquired, 3.0, "Cough.", "test")
    assert loaded[1]["prior"] is None and loaded[1]["indication"] is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"study_id": " "}, "study_id"),
        ({"patient_id": None}, "patient_id"),
        ({"images": []}, "images"),
        ({"images": [{"view": "PA"}]}, "images[0].image"),
        ({"images": [{"image": 5}]}, "images[0].image"),
        ({"images": [{"image": "a.png", "angle": 1}]}, "images[0]"),
        ({"acquired": "yesterday"}, "acquired"),
        ({"day": "Monday"}, "day"),
        ({"prior": {"image": "a.png", "days_before": -1}}, "prior.days_before"),
        ({"prior": {"image": "a.png", "study_id": "s0"}}, "prior.study_id"),
        ({"prior": {"view": "PA"}}, "prior.image"),
        ({"prior": {"image": "a.png", "acquired": "2021-03-05"}, "acquired": "2021-03-04"}, "prior.acquired"),
        (
            {"prior": {"image": "a.png", "acquired": "2021-03-04T10:00"}, "acquired": "2021-03-04T10:00"},
            "prior.acquired",
        ),
        ({"report": "text"}, "report"),
    ],
)
def test_errors_name_study_field_and_remedy(changes, field):
    row = {"study_id": "s0", "patient_id": "p0", "images": [{"image": "a.png"}], **changes}
    with pytest.raises(StudyError) as caught:
        validate_row(row, where="line 3")
    assert caught.value.field == field and caught.value.remedy
    assert repr(field) in str(caught.value) and ("'s0'" in str(caught.value) or "line 3" in str(caught.value))


def test_values_are_brought_into_one_form():
    row = validate_row({"study_id": 7, "patient_id": 8, "images": [{"image": "a.png", "view": " "}], "findings": " "})
    assert (row["study_id"], row["patient_id"], row["findings"]) == ("7", "8", None)
    assert row["images"][0]["view"] is None
    assert validate_row({**row, "split": "val", "history": float("nan")})["split"] == "validation"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("20210304", "2021-03-04"),
        ("20210304100530.5", "2021-03-04T10:05:30.500000"),
        ("2021/03/04", "2021-03-04"),
        ("2021-03-04 10:05", "2021-03-04 10:05"),
        ("2180-05-06T21:30:14Z", "2180-05-06T21:30:14Z"),
        ("", None),
        (float("nan"), None),
    ],
)
def test_times(value, text):
    assert normalize_time(value) == text


def test_a_time_zone_is_taken_into_account():
    assert (
        parse_time("2021-03-04T10:00:00+02:00")
        == parse_time("2021-03-04T08:00:00Z")
        == parse_time("2021-03-04T08:00:00")
    )


@pytest.mark.parametrize(
    ("view", "family"),
    [
        ("PA", "frontal"),
        ("AP_SUPINE", "frontal"),
        ("AP AXIAL", "frontal"),
        ("Frontal", "frontal"),
        ("LLD", "frontal"),
        ("LL", "lateral"),
        ("XTABLE LATERAL", "lateral"),
        ("LAO", "oblique"),
        ("unk", None),
        (None, None),
    ],
)
def test_view_families(view, family):
    assert view_family(view) == family


def test_splits_share_no_patient_and_depend_on_nothing_but_the_patient():
    studies = [study(number) for number in range(2000)]
    splits = studies_to_dataset_dict(studies)
    check_patient_disjoint(splits)
    shares = {name: len(part) / 2000 for name, part in splits.items()}
    assert list(shares) == ["train", "validation", "test"] and abs(shares["train"] - 0.8) < 0.03
    fewer = studies_to_dataset_dict(studies[1000:][::-1])
    assert set(fewer["test"]["patient_id"]) <= set(splits["test"]["patient_id"])
    assert [assign_split(f"p{n}") for n in range(8)] == [assign_split(f"p{n}") for n in range(8)]
    assert assign_split("p1", fractions={"a": 0.0, "b": 1.0}) == "b"
    with pytest.raises(ValueError, match="sum to 1"):
        assign_split("p1", fractions={"a": 0.5})


def test_hash_split_is_the_same_on_every_machine():
    assert [assign_split(patient) for patient in ("10000032", "p12", "p14")] == ["train", "validation", "train"]


def test_given_splits_are_kept_and_a_patient_in_two_is_an_error():
    given = [study(0, split="test"), study(1, split="test"), study(2, split="val")]
    assert {name: len(part) for name, part in studies_to_dataset_dict(given).items()} == {"validation": 1, "test": 2}
    with pytest.raises(StudyError, match="patient 'p0' is in 'train' and in 'test'"):
        studies_to_dataset_dict([study(0, split="test"), study(1, split="train")])
    with pytest.raises(StudyError):
        check_patient_disjoint(DatasetDict({"a": studies_to_dataset([study(0)]), "b": studies_to_dataset([study(1)])}))
    assert set(split_by_patient(studies_to_dataset(given), fractions={"only": 1.0})) == {"only"}


def test_examples_one_per_image():
    prior = PriorStudy("/nowhere/p.png", view="AP", days_before=2)
    records = [
        study(0),
        study(
            1, images=[StudyImage("/a.png", "PA"), StudyImage("/b.png", "LATERAL")], prior=prior, indication="Cough."
        ),
        study(2, images=[StudyImage("/c.png", None, "d9")], findings=None),
    ]
    examples = as_examples(studies_to_dataset(records))
    assert tuple(examples.column_names) == EXAMPLE_FIELDS
    assert examples["example_id"] == ["s0", "s1_0", "s1_1", "p1_s2_d9"]
    assert examples[0]["prior_image"] is None and examples[0]["prior_view_position"] is None
    assert examples[2]["prior_image"] == {"bytes": None, "path": "/nowhere/p.png"}
    assert (examples[2]["view_position"], examples[2]["prior_view_position"], examples[2]["indication"]) == (
        "LATERAL",
        "AP",
        "Cough.",
    )
    assert examples.features["image"] == Image(decode=False)
    assert as_examples(examples) is examples


def test_examples_by_view_and_with_findings_only():
    records = [
        study(0, images=[StudyImage("/a.png", "PA"), StudyImage("/b.png", "LATERAL")]),
        study(1, images=[StudyImage("/c.png", "AP_SUPINE")], findings=None),
        study(2, images=[StudyImage("/d.png")]),
    ]
    splits = DatasetDict({"train": studies_to_dataset(records)})
    assert as_examples(splits, include_views="frontal")["train"]["example_id"] == ["s0_0", "s1"]
    assert as_examples(splits, include_views={"AP_SUPINE", "lateral"})["train"]["example_id"] == ["s0_1", "s1"]
    assert as_examples(splits, include_views="frontal", require_findings=True)["train"]["example_id"] == ["s0_0"]


def test_importing_the_data_package_loads_nothing():
    code = (
        "import sys, priorrg_hf.data\n"
        "from priorrg_hf.data import Study\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'transformers', 'pydicom'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
