"""The report parser: exact on the phantom grammar, right on ordinary radiology prose."""

import pytest

from priorrg_hf.phantom import has_comparison, make_patient, parse_report, write_findings, write_texts
from priorrg_hf.phantom.facts import SITES, Facts, FindingFact
from priorrg_hf.phantom.random_stream import RandomStream


def test_generated_reports_are_read_back_exactly():
    for index in range(700):
        patient = make_patient(11, index)
        for visit in range(len(patient.visits)):
            text = write_texts(patient, visit)["findings"]
            assert parse_report(text).asserted() == patient.facts(visit).asserted(), text


def test_every_single_fact_is_read_back_in_every_wording():
    for site in SITES:
        for change in (None, "new", "worsened", "improved", "unchanged", "resolved"):
            for draw in range(12):
                fact = (
                    FindingFact("present", "mild", change)
                    if change != "resolved"
                    else FindingFact("absent", change=change)
                )
                facts = Facts({site: fact})
                text = write_findings(facts, RandomStream(draw, len(site)))
                assert parse_report(text).asserted() == facts.asserted(), text


def test_reports_without_prior_hold_no_comparison():
    for index in range(400):
        text = write_texts(make_patient(12, index), 0)["findings"]
        assert not has_comparison(text), text


def facts(text):
    """`site status severity change cause`, as short strings, for the tables below."""
    found = parse_report(text).findings
    return {
        site: " ".join(
            part for part in (f.status if f.status != "present" else "", f.severity, f.change, f.cause) if part
        )
        for site, f in found.items()
    }


LEFT, RIGHT = "effusion:left", "effusion:right"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("No pleural effusion.", {LEFT: "absent", RIGHT: "absent"}),
        ("There is no left pleural effusion.", {LEFT: "absent"}),
        (
            "No effusion, pneumothorax, or consolidation.",
            {
                LEFT: "absent",
                RIGHT: "absent",
                "pneumothorax:left": "absent",
                "pneumothorax:right": "absent",
                "consolidation:left": "absent",
                "consolidation:right": "absent",
            },
        ),
        ("No pulmonary edema but a small left effusion.", {"edema": "absent", LEFT: "mild"}),
        ("No edema, small right effusion.", {"edema": "absent", RIGHT: "mild"}),
        ("Pulmonary edema is not seen.", {"edema": "absent"}),
        ("Edema has been excluded.", {"edema": "absent"}),
        ("Lungs are clear without consolidation.", {"edema": "absent", "atelectasis": "absent", "consolidation:left": "absent", "consolidation:right": "absent"}),
        ("The heart is not enlarged.", {"cardiomegaly": "absent"}),
        ("Heart size is normal.", {"cardiomegaly": "absent"}),
        ("The heart is moderately enlarged.", {"cardiomegaly": "moderate"}),
        ("Free of edema.", {"edema": "absent"}),
        ("No new consolidation.", {"consolidation:left": "absent", "consolidation:right": "absent"}),
    ],
)  # fmt: skip
def test_negations(text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Small bilateral pleural effusions.", {LEFT: "mild", RIGHT: "mild"}),
        ("Pleural effusions on both sides.", {LEFT: "", RIGHT: ""}),
        ("Moderate left and right effusions.", {LEFT: "moderate", RIGHT: "moderate"}),
        ("Left-sided effusion.", {LEFT: ""}),
        ("Large effusion on the right.", {RIGHT: "severe"}),
        ("Small left effusion and large right effusion.", {LEFT: "mild", RIGHT: "severe"}),
        ("Small right pleural effusion with mild pulmonary edema.", {RIGHT: "mild", "edema": "mild"}),
        ("Bilateral effusions have resolved.", {LEFT: "absent resolved", RIGHT: "absent resolved"}),
        ("Small left effusion. No right effusion.", {LEFT: "mild", RIGHT: "absent"}),
        ("On the left, there is a moderate effusion and a small pneumothorax.", {LEFT: "moderate", "pneumothorax:left": "mild"}),
        ("Pacemaker with leads in the right atrium and ventricle. Left effusion.", {LEFT: ""}),
    ],
)  # fmt: skip
def test_unions_and_sides(text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Possible small left effusion.", {LEFT: "uncertain mild"}),
        ("A left effusion cannot be excluded.", {LEFT: "uncertain"}),
        ("There may be a small right pneumothorax.", {"pneumothorax:right": "uncertain mild"}),
        ("Questionable left opacity.", {"consolidation:left": "uncertain"}),
        ("Possible edema. No effusion.", {"edema": "uncertain", LEFT: "absent", RIGHT: "absent"}),
    ],
)
def test_hedges(text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The left effusion has increased.", {LEFT: "worsened"}),
        ("Interval decrease of the right effusion.", {RIGHT: "improved"}),
        ("No change in the small left effusion.", {LEFT: "mild unchanged"}),
        ("Left effusion without significant change.", {LEFT: "unchanged"}),
        ("The moderate left effusion has not significantly changed.", {LEFT: "moderate unchanged"}),
        ("No increase in the right effusion.", {RIGHT: "unchanged"}),
        ("Left effusion is no longer seen.", {LEFT: "absent resolved"}),
        ("Left effusion has partially resolved.", {LEFT: "improved"}),
        ("Small left effusion. It has worsened.", {LEFT: "mild worsened"}),
        ("The left effusion is smaller than before.", {LEFT: "improved"}),
        ("New moderate edema, stable cardiomegaly.", {"edema": "moderate new", "cardiomegaly": "unchanged"}),
        ("The edema and the left effusion have improved.", {"edema": "improved", LEFT: "improved"}),
        ("Unchanged edema and cardiomegaly.", {"edema": "unchanged", "cardiomegaly": "unchanged"}),
    ],
)
def test_changes(text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Left lung opacity, likely pneumonia.", {"consolidation:left": "pneumonia"}),
        ("Right airspace opacity, consistent with atelectasis.", {"consolidation:right": "atelectasis"}),
        ("Left lower lobe pneumonia.", {"consolidation:left": "pneumonia"}),
        ("Moderate edema due to congestive heart failure.", {"edema": "moderate heart_failure"}),
        ("Left opacity and mild atelectasis.", {"consolidation:left": "", "atelectasis": "mild"}),
        ("Right effusion, likely malignant, has increased.", {RIGHT: "worsened malignancy"}),
        ("No opacity to suggest pneumonia.", {"consolidation:left": "absent", "consolidation:right": "absent"}),
    ],
)
def test_causes(text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ET tube tip 4.5 cm above the carina.", {"endotracheal_tube": "appropriate"}),
        ("Endotracheal tube in the right main bronchus.", {"endotracheal_tube": "low"}),
        ("Right PICC tip in the SVC, dual lead pacemaker.", {"central_line": "superior_vena_cava", "pacemaker": "right_atrium_and_ventricle"}),
        ("The endotracheal tube has been removed.", {}),
        ("Central line.", {"central_line": None}),
    ],
)  # fmt: skip
def test_devices(text, expected):
    assert dict(parse_report(text).devices) == expected


@pytest.mark.parametrize(
    "text", ["", None, ".", "12 34 ,,,", "<|endoftext|>", "no no no", "effusion effusion no effusion"]
)
def test_odd_texts_are_survived(text):
    parse_report(text)


@pytest.mark.parametrize(
    "text", ["Unchanged edema.", "Compared to the prior study.", "Edema, no longer seen.", "No interval change."]
)
def test_comparisons_are_noticed(text):
    assert has_comparison(text)


@pytest.mark.parametrize("text", ["Mild edema.", "The lungs are clear.", "No pneumothorax."])
def test_plain_statements_are_no_comparison(text):
    assert not has_comparison(text)
