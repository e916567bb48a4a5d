"""The phantom's state model, films and what can be guessed of them."""

import hashlib

import numpy as np
import pytest

from priorrg_hf.phantom import make_patient, render_visit, write_texts
from priorrg_hf.phantom.cohort import LEVEL_CENTRES, LEVEL_SPREAD, LEVEL_TRANSITIONS, change_between
from priorrg_hf.phantom.counting import (
    best_cause_accuracy_without_context,
    best_change_accuracy_without_prior,
    change_distribution,
)
from priorrg_hf.phantom.facts import SEVERITIES, SITES, Facts, FindingFact, split_site
from priorrg_hf.phantom.random_stream import RandomStream
from priorrg_hf.phantom.scoring import (
    cause_accuracy,
    change_accuracy,
    comparison_without_prior_rate,
    presence_scores,
    score_reports,
    severity_accuracy,
)


# Pixels and texts of three studies, recorded on x86-64 with numpy 2.4. A change here is a change of what every seed means: raise
# `dataset.GENERATOR_VERSION` with it.
RECORDED = {
    (0, 0, None, 112): ("c98651d9c6e099e4", "11ae6a652b26b4d3"),
    (1, 0, "LATERAL", 150): ("d2fa9be7f8d8b905", "678abbaca213af6e"),
    (6, 0, None, 224): ("d865e008a43dbac4", "24a33d4261da6ba6"),
}
STREAM_INTEGERS = [670, 111, 511, 356, 704, 479]
STREAM_NOISE = [0.623529, 0.356863, -0.662745]


def patients(count, seed=5):
    return [make_patient(seed, index) for index in range(count)]


# --- determinism ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", list(RECORDED))
def test_pixels_and_texts_are_the_recorded_ones(place):
    index, visit, view, size = place
    patient = make_patient(0, index)
    pixels = render_visit(patient, visit, view=view, image_size=size).pixels
    text = "|".join(str(value) for value in write_texts(patient, visit).values())
    digests = tuple(hashlib.sha256(data).hexdigest()[:16] for data in (pixels.tobytes(), text.encode()))
    assert digests == RECORDED[place]


def test_random_stream_is_the_recorded_one():
    stream = RandomStream(1, 2, 3)
    assert [stream.integer(1000) for _ in range(6)] == STREAM_INTEGERS
    assert stream.noise(3).tolist() == pytest.approx(STREAM_NOISE)


def test_cutting_a_course_short_changes_nothing_before():
    whole, cut = make_patient(0, 15), make_patient(0, 15, max_visits=2)
    assert whole.visits[:2] == cut.visits
    assert np.array_equal(render_visit(whole, 1).pixels, render_visit(cut, 1).pixels)


def test_other_seeds_groups_and_patients_differ():
    courses = [make_patient(seed, index, group=group).visits[0] for seed, index, group in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]  # fmt: skip
    assert len({visit.acquired for visit in courses}) == 4


# --- the course of findings -----------------------------------------------------------------------------------------


def test_transitions_are_symmetric_distributions():
    between = np.array([row[1:] for row in LEVEL_TRANSITIONS])
    assert np.allclose(between, between.T)
    assert np.allclose([sum(row) for row in LEVEL_TRANSITIONS], 1.0)


def test_visits_are_ordered_and_consistent_with_the_truth():
    for patient in patients(200):
        times = [visit.acquired for visit in patient.visits]
        assert times == sorted(set(times)) and 1 <= len(times) <= 5
        for number, visit in enumerate(patient.visits):
            truth = patient.facts(number)
            assert truth.present_sites() == set(visit.levels)
            before = patient.visits[number - 1].levels if number else None
            for site in SITES:
                fact = truth.findings.get(site)
                if before is None:
                    assert fact is None or fact.change is None
                else:
                    change = change_between(before.get(site, 0), visit.levels.get(site, 0))
                    assert (fact.change if fact else None) == change
            for site, level in visit.levels.items():
                fact = truth.findings[site]
                assert fact.severity == SEVERITIES[level - 1]
                assert abs(fact.value - LEVEL_CENTRES[level - 1]) <= LEVEL_SPREAD + 1e-4


def test_everything_the_cohort_promises_occurs():
    seen = {"changes": set(), "causes": set(), "devices": set(), "visits": set(), "views": set(), "sites": set()}
    for patient in patients(400):
        seen["visits"].add(len(patient.visits))
        for number, visit in enumerate(patient.visits):
            truth = patient.facts(number)
            seen["changes"] |= set(truth.changes().values())
            seen["causes"] |= set(truth.causes().values())
            seen["devices"] |= set(truth.devices.items())
            seen["views"].add(visit.view)
            seen["sites"] |= truth.present_sites()
    assert {name: len(values) for name, values in seen.items()} == {
        "changes": 5,
        "causes": 8,
        "devices": 8,
        "visits": 5,
        "views": 2,
        "sites": len(SITES),
    }


# --- what can be guessed --------------------------------------------------------------------------------------------


def test_change_cannot_be_guessed_from_the_current_state():
    assert best_change_accuracy_without_prior(2500)["bound"] < 0.30
    shares = change_distribution(2500)
    for level, expected in ((1, 1 / 3), (2, 1 / 4), (3, 1 / 4), (4, 1 / 3)):
        assert all(abs(share - expected) < 0.05 for share in shares[level].values()), shares[level]


def test_cause_cannot_be_guessed_from_the_images():
    assert best_cause_accuracy_without_context(2500)["bound"] < 0.42


def test_cause_follows_from_the_context_text_alone():
    """The same words of the context always mean the same cause, so the context suffices."""
    for patient in patients(150):
        for number, visit in enumerate(patient.visits):
            texts = write_texts(patient, number)
            assert (texts["indication"] is None) == (visit.background.acute is None)
            assert (texts["history"] is None) == (visit.background.chronic is None)
            for site, fact in patient.facts(number).findings.items():
                told = texts["indication"] if split_site(site)[0] == "consolidation" else texts["history"]
                if fact.present and split_site(site)[0] not in ("cardiomegaly", "atelectasis"):
                    assert (fact.cause is None) == (told is None)


# --- films ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 112, 150, 224])
def test_films_have_any_size_and_use_the_range(size):
    patient = make_patient(2, 3)
    for view in (None, "LATERAL"):
        pixels = render_visit(patient, 0, view=view, image_size=size).pixels
        assert pixels.shape == (size, size) and pixels.dtype == np.uint8
        assert pixels.std() > 30 and np.percentile(pixels, 2) < 40 and np.percentile(pixels, 98) > 150


@pytest.mark.parametrize("size", [0, 31, 4096])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="image_size"):
        render_visit(make_patient(0, 0), 0, image_size=size)


def with_values(patient, visit, values, devices=None):
    """The same film with other findings and nothing else changed."""
    from dataclasses import replace

    levels = {
        site: int(np.argmin([abs(value - centre) for centre in LEVEL_CENTRES])) + 1 for site, value in values.items()
    }
    visits = list(patient.visits)
    visits[visit] = replace(visits[visit], levels=levels, values=values, devices=devices or {})
    return replace(patient, visits=visits)


@pytest.mark.parametrize("site", SITES)
def test_each_finding_shows_on_its_side_and_grows_with_severity(site):
    for index in range(4):
        patient = make_patient(4, index)
        normal = render_visit(with_values(patient, 0, {}), 0, image_size=112).pixels.astype(int)
        shown = [
            np.abs(render_visit(with_values(patient, 0, {site: value}), 0, image_size=112).pixels.astype(int) - normal)
            for value in LEVEL_CENTRES
        ]
        # Noise is drawn after some findings' texture: strong differences only.
        areas = [(difference > 12).sum() for difference in shown]
        assert areas[0] > 25 and areas[3] > 1.5 * areas[0], areas
        side = split_site(site)[1]
        if side:
            columns = np.nonzero((shown[3] > 12).sum(axis=0) > 3)[0].mean()
            # The patient's left is on the image's right.
            assert (columns > 56) == (side == "left")


def test_ap_films_magnify_the_heart():
    from dataclasses import replace

    patient = with_values(make_patient(4, 1), 0, {})
    widths = {}
    for view in ("PA", "AP"):
        visits = [replace(patient.visits[0], view=view), *patient.visits[1:]]
        film = render_visit(replace(patient, visits=visits), 0, image_size=224, with_coverage=True)
        widths[view] = (film.coverage["heart"] > 0.5).any(axis=0).sum()
    assert widths["AP"] > 1.06 * widths["PA"]


# --- scores ---------------------------------------------------------------------------------------------------------


def test_scores_of_true_reports_are_perfect_and_broken_reports_lose():
    studies = [(patient, visit) for patient in patients(60) for visit in range(len(patient.visits))]
    truths = [patient.facts(visit) for patient, visit in studies]
    reports = [write_texts(patient, visit)["findings"] for patient, visit in studies]
    has_prior = [visit > 0 for _, visit in studies]
    scores = score_reports(reports, truths, has_prior)
    assert scores.pop("comparison_without_prior_rate") == 0.0
    assert set(scores.values()) == {1.0}
    # Sentences may begin with their side.
    mirrored = [r.lower().replace("left", "LEFT").replace("right", "left").replace("LEFT", "right") for r in reports]
    assert score_reports(mirrored, truths)["presence_f1"] < 0.8
    assert change_accuracy(reports[1:] + reports[:1], truths) < 0.4


def test_scores_by_hand():
    truth = Facts(
        {
            "edema": FindingFact("present", "mild", "new", "heart_failure"),
            "effusion:left": FindingFact("present", "severe", "worsened", "malignancy"),
            "atelectasis": FindingFact("absent", change="resolved"),
        }
    )
    said = ["New mild edema, due to malignancy. Small right effusion. Unchanged cardiomegaly."]
    scores = presence_scores(said, [truth])
    assert scores["presence_precision"] == pytest.approx(1 / 3) and scores["presence_recall"] == 0.5
    assert severity_accuracy(said, [truth]) == 0.5
    assert change_accuracy(said, [truth]) == 0.25  # edema right; effusion and atelectasis missed; cardiomegaly made up
    assert cause_accuracy(said, [truth]) == 0.0
    assert comparison_without_prior_rate([said[0], "Mild edema.", said[0]], [False, False, True]) == 0.5


def test_scores_refuse_lists_of_different_length():
    with pytest.raises(ValueError, match="2 reports for 1 truths"):
        presence_scores(["", ""], [Facts()])


def test_facts_survive_json_and_foreign_json_is_refused():
    truth = make_patient(0, 3).facts(0)
    assert Facts.from_json(truth.to_json()) == truth
    for text in ("{}", '{"findings": {"tail": {"status": "present"}}, "devices": {}}', "[]"):
        with pytest.raises(ValueError):
            Facts.from_json(text)
