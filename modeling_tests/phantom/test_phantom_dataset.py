"""Phantom cohorts as data sets: schema, splits, priors, retrieval split."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from priorrg_hf.data import as_examples, check_patient_disjoint
from priorrg_hf.data.schema import Study, parse_time, study_features
from priorrg_hf.phantom import (
    RETRIEVAL_CLASSES,
    facts_by_study,
    facts_of,
    make_patient,
    make_phantom_cohort,
    make_retrieval_split,
    parse_report,
    render_visit,
    study_rows,
)
from priorrg_hf.phantom.dataset import _plan


pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_phantom_cohort(60, seed=3, image_size=48, cache_dir=str(tmp_path_factory.mktemp("phantom")))


def test_sizes_and_splits(cohort):
    assert {name: len(part) for name, part in cohort.items()} == {"train": 48, "validation": 6, "test": 6}
    check_patient_disjoint(cohort)
    assert all(set(part["split"]) == {name} for name, part in cohort.items())


@pytest.mark.parametrize("size", [16, 17, 99, 1000])
def test_plans_give_exactly_the_number_asked_for(size):
    plan = _plan(size, 0, {"train": 0.8, "validation": 0.1, "test": 0.1})
    assert sum(code % 8 for codes in plan.values() for code in codes) == size
    assert all(codes for codes in plan.values())
    everyone = [code // 8 for codes in plan.values() for code in codes]
    assert len(everyone) == len(set(everyone))


def test_rows_follow_the_schema(cohort):
    assert set(study_features()) | {"facts"} == set(cohort["train"].features)
    for row in cohort["train"]:
        truth = facts_of(row)
        study = Study.from_row({key: value for key, value in row.items() if key != "facts"})
        assert study.findings and parse_report(study.findings).asserted() == truth.asserted()
        assert study.images[0].view in ("AP", "PA")
        assert all(image.view == "LATERAL" for image in study.images[1:])
        assert study.labels["Edema"] == float("edema" in truth.present_sites())


def test_priors_are_the_latest_earlier_frontal_film(cohort):
    by_id = {row["study_id"]: row for row in cohort["train"]}
    with_prior = 0
    for row in cohort["train"]:
        prior = row["prior"]
        number = int(row["study_id"].rsplit("-", 1)[1])
        assert (prior is None or prior["image"] is None) == (number == 1)
        if number > 1:
            with_prior += 1
            earlier = by_id[prior["study_id"]]
            assert prior["study_id"] == row["study_id"][:-1] + str(number - 1)
            assert prior["image"] == earlier["images"][0]["image"] and prior["view"] == earlier["images"][0]["view"]
            assert parse_time(earlier["acquired"])[1] < parse_time(row["acquired"])[0] and prior["days_before"] > 0
    assert with_prior > 10


def test_images_are_undecoded_png_of_the_rendered_pixels(cohort):
    row = cohort["test"][0]
    stored = row["images"][0]["image"]
    assert stored["bytes"].startswith(b"\x89PNG")
    patient, number = row["patient_id"], int(row["study_id"].rsplit("-", 1)[1])
    pixels = render_visit(make_patient(3, int(patient.split("-")[1])), number - 1, image_size=48).pixels
    assert np.array_equal(np.array(Image.open(io.BytesIO(stored["bytes"]))), pixels)


def test_examples_and_truth_meet_by_study_id(cohort):
    examples = as_examples(cohort["test"], include_views="frontal")
    truths = facts_by_study(cohort["test"])
    assert len(examples) == 6 and all(row["study_id"] in truths for row in examples)


def test_the_same_request_is_read_from_the_cache(tmp_path):
    first = make_phantom_cohort(16, seed=1, image_size=32, cache_dir=str(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.arrow")}
    second = make_phantom_cohort(16, seed=1, image_size=32, cache_dir=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.arrow")} == files
    assert first["train"][:] == second["train"][:]
    other = make_phantom_cohort(16, seed=2, image_size=32, cache_dir=str(tmp_path))
    assert other["train"]["patient_id"] != first["train"]["patient_id"]


@pytest.mark.parametrize(
    "request_, message",
    [
        ({"num_studies": 15}, "num_studies"),
        ({"num_studies": 100_001}, "num_studies"),
        ({"num_studies": 16, "image_size": 8}, "image_size"),
        ({"num_studies": 16, "seed": -1}, "seed"),
        ({"num_studies": 16, "fractions": {"train": 0.5, "test": 0.1}}, "sum to 1"),
    ],
)
def test_impossible_requests_are_refused(request_, message):
    with pytest.raises(ValueError, match=message):
        make_phantom_cohort(**request_)


def test_retrieval_split(tmp_path):
    split = make_retrieval_split(0, image_size=32, per_class=4, cache_dir=str(tmp_path))
    assert Counter(split["retrieval_class"]) == dict.fromkeys(RETRIEVAL_CLASSES, 4)
    assert len(set(split["patient_id"])) == 20
    for row in split:
        positive = [entry["name"] for entry in row["labels"] if entry["value"] == 1.0]
        assert [name for name in positive if name != "Support Devices"] == [row["retrieval_class"]]


def test_later_visits_can_be_drawn_alone():
    patient = next(p for p in (make_patient(0, i) for i in range(50)) if len(p.visits) == 5)
    whole = list(study_rows(patient, image_size=32, laterals=False))
    late = list(study_rows(patient, image_size=32, laterals=False, first=3))
    assert late == whole[3:]
