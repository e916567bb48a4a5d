"""Prior linking."""

import random

import pytest
from datasets import DatasetDict

from priorrg_hf.data import StudyError, link_priors, studies_to_dataset
from priorrg_hf.data.linking import PriorIndex, prior_image_index


def row(study_id: str, acquired=None, views=("PA",), patient="p", **more) -> dict:
    images = [{"image": f"/{study_id}_{number}.png", "view": view} for number, view in enumerate(views)]
    return {"study_id": study_id, "patient_id": patient, "images": images, "acquired": acquired, **more}


def priors(rows: list[dict], **options) -> dict[str, tuple[str, float] | None]:
    linked = link_priors(studies_to_dataset(rows), **options)
    assert linked["study_id"] == [entry["study_id"] for entry in rows]
    return {entry["study_id"]: entry["prior"] and entry["prior"]["study_id"] for entry in linked}


def test_the_latest_earlier_study_whatever_the_order_of_rows():
    rows = [
        row("c", "2021-03-09"),
        row("a", "2021-03-01"),
        row("x", "2021-03-08", patient="q"),
        row("b", "2021-03-04T12:00:00"),
    ]
    linked = link_priors(studies_to_dataset(rows))
    assert [entry and entry["study_id"] for entry in linked["prior"]] == ["b", None, None, "a"]
    assert linked[0]["prior"] == {
        "study_id": "b",
        "image": {"bytes": None, "path": "/b_0.png"},
        "view": "PA",
        "acquired": "2021-03-04T12:00:00",
        "days_before": 4.5,
    }


def test_never_the_same_time_and_never_a_circle():
    assert priors([row("a", "2021-03-01T10:00:00"), row("b", "2021-03-01T10:00:00")]) == {"a": None, "b": None}
    assert priors([row("a", "2021-03-01"), row("b", "2021-03-01")]) == {"a": None, "b": None}
    assert priors([row("a", "2021-03-01"), row("b", "2021-03-01T10:00:00")]) == {"a": None, "b": None}
    assert priors([row("a", "2021-03-01T09:00:00"), row("b", "2021-03-01T10:00:00")]) == {"a": None, "b": "a"}
    assert priors([row("a"), row("b", "2021-03-01")]) == {"a": None, "b": None}


def test_records_of_one_study_are_not_each_others_prior():
    rows = [row("a", "2021-03-01T09:00:00"), row("a", "2021-03-01T09:05:00"), row("b", "2021-03-02")]
    linked = link_priors(studies_to_dataset(rows))
    assert [entry and entry["study_id"] for entry in linked["prior"]] == [None, None, "a"]


def test_days_of_the_patients_own_line():
    rows = [row("a", day=-2), row("b", day=3), row("c", day=3), row("d", day=4.5), row("e", "2021-03-01")]
    assert priors(rows) == {"a": None, "b": "a", "c": "a", "d": "c", "e": None}
    assert link_priors(studies_to_dataset(rows))[1]["prior"]["days_before"] == 5


VIEWS = [
    row("frontal", "2021-03-01", ("AP",)),
    row("lateral", "2021-03-02", ("LATERAL",)),
    row("now", "2021-03-03", ("LATERAL", "PA")),
]


@pytest.mark.parametrize(
    ("same_view", "prior"),
    [("prefer", "frontal"), ("image", "lateral"), ("require", "frontal"), ("ignore", "lateral")],
)
def test_view_family(same_view, prior):
    assert priors(VIEWS, same_view=same_view)["now"] == prior


def test_without_a_study_of_the_family():
    rows = [row("lateral", "2021-03-02", ("LATERAL",)), row("now", "2021-03-03", ("PA",))]
    assert priors(rows)["now"] == "lateral"
    assert priors(rows, same_view="require")["now"] is None


def test_image_of_the_prior():
    views = ["LATERAL", "AP", "PA"]
    assert prior_image_index(views, ["PA"]) == 2
    assert prior_image_index(views, ["AP_SUPINE"]) == 1
    assert prior_image_index(views, ["LL"]) == 0
    assert prior_image_index(views, [None]) == 1
    assert prior_image_index(views, ["LL"], "ignore") == 1


def test_max_days():
    rows = [row("a", "2021-01-01"), row("b", "2021-03-01"), row("c", "2021-03-05")]
    assert priors(rows, max_days=30) == {"a": None, "b": None, "c": "b"}


def test_splits_are_linked_apart():
    parts = {"train": studies_to_dataset(VIEWS), "test": studies_to_dataset([row("t", "2022-01-01", patient="t")])}
    linked = link_priors(DatasetDict(parts))
    assert linked["test"][0]["prior"] is None and linked["train"][2]["prior"]["study_id"] == "frontal"


def test_declared_priors_are_resolved_and_impossible_ones_dropped():
    def named(study_id, prior, acquired=None, patient="p"):
        return row(study_id, acquired, patient=patient, prior={"study_id": prior})

    rows = [
        named("later", "early", "2021-03-05"),
        row("early", "2021-03-01"),
        named("before", "later", "2021-03-02"),
        named("gone", "nothing"),
        named("other", "early", patient="q"),
        named("x", "y"),
        named("y", "x"),
    ]
    problems: list[StudyError] = []
    linked = link_priors(studies_to_dataset(rows), problems=problems)
    found = {entry["study_id"]: entry["prior"] and entry["prior"]["study_id"] for entry in linked}
    assert found["later"] == "early" and linked[0]["prior"]["days_before"] == 4
    assert {key for key, value in found.items() if value is None} >= {"before", "gone", "other"}
    assert (found["x"] is None) != (found["y"] is None)  # the circle is cut once
    messages = {error.study: error.problem for error in problems}
    assert "isn't earlier" in messages["before"] and "isn't in the source" in messages["gone"]
    assert "another patient" in messages["other"] and "circle" in (messages.get("x") or messages.get("y"))
    with pytest.raises(StudyError):
        link_priors(studies_to_dataset(rows), strict=True)


def test_against_the_rule_written_plainly():
    """500 random studies; the rule as a search over all pairs."""
    rng = random.Random(0)
    views = ["PA", "AP", "LATERAL", None]
    rows = []
    for number in range(500):
        minute = rng.randrange(0, 60 * 24 * 40, 60)
        acquired = f"2021-0{1 + minute // 43200}-{1 + minute // 1440 % 28:02}T{minute // 60 % 24:02}:00:00"
        rows.append(row(f"s{number}", acquired, (rng.choice(views),), patient=f"p{rng.randrange(60)}"))
    found = priors(rows)
    family = {"PA": "frontal", "AP": "frontal", "LATERAL": "lateral", None: None}
    for current in rows:
        earlier = [
            other
            for other in rows
            if other["patient_id"] == current["patient_id"] and other["acquired"] < current["acquired"]
        ]
        wanted = family[current["images"][0]["view"]]
        same = [other for other in earlier if wanted and family[other["images"][0]["view"]] == wanted]
        latest = max((other["acquired"] for other in same or earlier), default=None)
        prior = found[current["study_id"]]
        assert (prior is None) == (latest is None)
        if prior is not None:
            assert next(other["acquired"] for other in (same or earlier) if other["study_id"] == prior) == latest


def test_unknown_choice():
    with pytest.raises(ValueError, match="same_view"):
        PriorIndex().link("always")
