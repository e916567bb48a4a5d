"""The report reader on annotated sentences and on phantom reports with known truth; the temporal scores."""

import json
import math
from pathlib import Path

import pytest

from priorrg_hf.metrics import temporal
from priorrg_hf.metrics.reading import has_comparison, read_report, tables


SENTENCES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures" / "temporal_sentences.jsonl").read_text(encoding="utf-8").splitlines()
]  # fmt: skip


# The sentences were annotated in coarser words than the reader's: one name a family of findings, four grades of severity, and sides of
# those findings alone of which there are two. The apparent enlargement of h061, due to technique, counts as a change in them.
NAMES = {"nodule": "lung_lesion", "interstitial_disease": "consolidation", "pulmonary_artery_catheter": "central_line"}
CHANGE_WORDS = {"worse": "increased", "improved": "decreased"}
UNSIDED = {"edema", "central_line", "pacemaker", "hilar_enlargement"}


def coarse_sites(statement) -> set[str]:
    row = tables.findings().get(statement.finding)
    family = row.family if row else statement.finding
    if family == "mediastinum" and "cardiomediastinal" in (statement.words or ""):
        family = "cardiomegaly"
    if family in UNSIDED:
        return {family}
    return {family + site[len(statement.finding) :] for site in statement.sites}


def gold_site(site: str) -> str:
    name, _, side = site.partition(":")
    return NAMES.get(name, name) + (f":{side}" if side else "")


def gold_change(site: str, change: str) -> str:
    if site == "lung_volumes":  # better volumes are larger ones
        return {"worse": "decreased", "improved": "increased"}.get(change, change)
    return CHANGE_WORDS.get(change, change)


def read_coarsely(text: str, field: str) -> set[tuple[str, str]]:
    statements = [s for s in read_report(text) if s.finding != "emphysema"]
    value = {"changes": lambda s: s.change, "severities": lambda s: s.grade}[field]
    told = {(site, value(s)) for s in statements if value(s) and s.presence != "uncertain" for site in coarse_sites(s)}
    # What another finding of the family may be tells no course of its own: "increased opacity, possibly developing pneumonia".
    known = {site for site, _ in told}
    return told | {
        (site, value(s))
        for s in statements
        if value(s) and s.presence == "uncertain"
        for site in coarse_sites(s)
        if site not in known
    }


def precision_and_recall(part: str, field: str) -> tuple[float, float]:
    hits = predicted = expected = 0
    for row in SENTENCES:
        if row["part"] == part:
            found = read_coarsely(row["text"], field)
            change = gold_change if field == "changes" else lambda site, value: value
            gold = {(gold_site(site), change(site, value)) for site, value in row[field].items()}
            hits, predicted, expected = hits + len(found & gold), predicted + len(found), expected + len(gold)
    return hits / predicted, hits / expected


def test_the_annotated_set_is_large_and_covers_every_change():
    assert len(SENTENCES) >= 150
    for part in ("development", "held_out"):
        changes = {change for row in SENTENCES if row["part"] == part for change in row["changes"].values()}
        assert changes == {"new", "worse", "improved", "unchanged", "resolved"}


@pytest.mark.parametrize(
    ("part", "field", "precision", "recall"),
    [
        # What was measured, rounded down. The reader was tuned on the development half only.
        ("development", "changes", 1.0, 1.0),
        ("held_out", "changes", 0.99, 0.97),
        ("development", "severities", 1.0, 1.0),
        ("held_out", "severities", 0.96, 0.96),
    ],
)
def test_precision_and_recall_on_annotated_sentences(part, field, precision, recall):
    measured = precision_and_recall(part, field)
    assert measured[0] >= precision and measured[1] >= recall, measured


def test_prepared_text_reads_the_same():
    from priorrg_hf.metrics import prepare_text

    for row in SENTENCES:
        assert read_report(prepare_text(row["text"])) == read_report(row["text"]), row["text"]


def test_positions_point_at_the_mention():
    text = "Heart is normal. There is a new small left pleural effusion. Tip 4.5 cm above the carina."
    statement = next(s for s in read_report(text) if s.finding == "pleural_effusion")
    assert text[statement.start : statement.end].lower() == "pleural effusion"


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        ("No left pleural effusion.", "absent"),
        ("Left pleural effusion is not seen.", "absent"),
        ("There is a left pleural effusion.", "present"),
        ("A small left pleural effusion cannot be excluded.", "uncertain"),
        ("Possible left pleural effusion.", "uncertain"),
        ("The left pleural effusion has resolved.", "absent"),
    ],
)
def test_presence(text, presence):
    assert [s.presence for s in read_report(text) if s.finding == "pleural_effusion"] == [presence]


@pytest.mark.parametrize(
    ("text", "compares"),
    [
        ("Small left effusion. Lungs are clear.", False),
        ("No new consolidation.", True),
        ("Unchanged left effusion.", True),
        ("Compared to the prior study, lungs are clear.", True),
        ("Tip of the tube is 4.5 cm above the carina.", False),
        ("", False),
    ],
)
def test_has_comparison(text, compares):
    assert has_comparison(text) is compares


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("Bilateral consolidations, more prominent in the left lung.", {}),
        ("Opacity more prominent on the left than on the prior film.", {"opacity:left": "increased"}),
        ("Progressive right consolidation. Left lung remains clear.", {"consolidation:right": "increased"}),
        (
            "Left effusion is larger. The right is smaller.",
            {"pleural_effusion:left": "increased", "pleural_effusion:right": "decreased"},
        ),
        ("Lung volumes have increased.", {"lung_volumes": "increased"}),
        ("Poor inspiration, with radiological progression.", {"overall": "increased"}),
        ("Left effusion, with interval improvement.", {"pleural_effusion:left": "decreased"}),
        ("There has been symptomatic improvement.", {}),
        ("Opacities with greater involvement of the apices than before.", {"opacity": "increased"}),
        ("Follow-up radiographs in six weeks to document resolution.", {}),
    ],
)
def test_changes_that_were_once_read_wrongly(text, changes):
    assert temporal.changes_of(text) == changes


def test_reading_never_fails():
    import random

    draw = random.Random(0)
    words = " ".join(row["text"] for row in SENTENCES).split()
    for _ in range(1500):
        read_report(" ".join(draw.choices(words, k=draw.randint(0, 30))))
    for text in ("no " + "left effusion and " * 2000, "a" * 50_000, "." * 5000, "4 . 5 " * 3000, "\ud800 肺"):
        read_report(text)


# ---- scores ----


def test_scores_of_a_worked_example():
    references = [
        "The left pleural effusion has increased. Small right apical pneumothorax is unchanged.",
        "Lungs are clear.",
    ]
    predictions = ["Left pleural effusion has decreased. Right apical pneumothorax, unchanged.", "Stable heart size."]
    scores = temporal.temporal_scores(predictions, references, has_prior=[True, False])
    assert scores["change_precision"] == scores["change_recall"] == scores["change_f1"] == 0.5
    assert scores["direction_reversals"] == 1.0
    assert scores["unsupported_comparisons"] == 1.0 and scores["unsupported_comparisons_in_references"] == 0.0
    assert scores["attribute_dropped"] == 1.0 and scores["attribute_recall"] == 0.0
    assert scores["presence_f1"] == 1.0
    assert temporal.direction_reversals(predictions[0], references[0]) == [
        ("pleural_effusion:left", "decreased", "increased")
    ]


def test_identical_reports_score_one_and_nothing_to_score_is_nan():
    texts = ["New small left pleural effusion.", "Mild cardiomegaly is stable."]
    scores = temporal.temporal_scores(texts, texts, has_prior=[True, True])
    assert scores["change_f1"] == scores["presence_f1"] == scores["attribute_f1"] == scores["attribute_kept"] == 1.0
    assert scores["direction_reversals"] == 0.0
    assert math.isnan(scores["unsupported_comparisons"])
    empty = temporal.temporal_scores(["Clear lungs."], [""])
    assert math.isnan(empty["change_f1"])


def test_wrong_side_is_wrong():
    scores = temporal.temporal_scores(["New right pleural effusion."], ["New left pleural effusion."])
    assert scores["change_f1"] == 0.0 and scores["presence_f1"] == 0.0


def test_has_prior_must_pair_up():
    with pytest.raises(ValueError, match="has_prior"):
        temporal.temporal_scores(["a"], ["a"], has_prior=[True, False])


# ---- phantom reports, whose truth is known exactly ----

PHANTOM_NAMES = {"effusion": "pleural_effusion"}
PHANTOM_WORDS = {"opacity": "consolidation"}  # one finding in the phantom's grammar
WITHOUT_SIDES = {"cardiomegaly", "edema", "atelectasis"}


def truth_of(facts) -> dict:
    truth = {}
    for site, fact in facts.findings.items():
        finding, _, side = site.partition(":")
        truth[PHANTOM_NAMES.get(finding, finding) + (f":{side}" if side else "")] = fact
    return truth


def sites_of(statement) -> tuple[str, ...]:
    name = PHANTOM_WORDS.get(statement.finding, statement.finding)
    if name in WITHOUT_SIDES:
        return (name,)
    return tuple(name + site[len(statement.finding) :] for site in statement.sites)


PHANTOM_CHANGES = {"increased": "worsened", "decreased": "improved"}


@pytest.fixture(scope="module")
def phantom_visits():
    phantom = pytest.importorskip("priorrg_hf.phantom")
    visits = []
    for index in range(250):
        patient = phantom.make_patient(31, index)
        for visit in range(len(patient.visits)):
            visits.append((phantom.write_texts(patient, visit)["findings"], patient.facts(visit), visit > 0))
    return visits


def test_phantom_reports_are_read_as_their_exact_truth(phantom_visits):
    findings = {
        "pleural_effusion",
        "cardiomegaly",
        "edema",
        "atelectasis",
        "consolidation",
        "opacity",
        "pneumothorax",
        "overall",
    }
    changed = 0
    for text, facts, _ in phantom_visits:
        # What a finding is due to is the cause of it in the phantom's truth, no finding.
        statements = [s for s in read_report(text) if s.finding in findings and not s.explains]
        truth = truth_of(facts)
        true_changes = {site: fact.change for site, fact in truth.items() if fact.change}
        said = {site: PHANTOM_CHANGES.get(s.change, s.change) for s in statements if s.change for site in sites_of(s)}
        assert said == true_changes, text
        present = {site: fact.severity for site, fact in truth.items() if fact.present}
        assert {site: s.grade for s in statements if s.presence == "present" for site in sites_of(s)} == present, text
        assert has_comparison(text) is bool(true_changes), text
        changed += len(true_changes)
    assert changed > 200


def test_phantom_scores_equal_those_counted_from_the_truth(phantom_visits):
    # Each study is given the report of another one: the scores must be what the two truths say.
    with_prior = [entry for entry in phantom_visits if entry[2]]
    shifted = with_prior[1:] + with_prior[:1]
    scores = temporal.temporal_scores(
        [text for text, _, _ in shifted], [text for text, _, _ in with_prior], [True] * len(with_prior)
    )
    hits = predicted = expected = 0
    for (_, said, _), (_, true, _) in zip(shifted, with_prior, strict=True):
        # Bibasilar atelectasis counts on both sides in the metric, once in the truth.
        pairs = [{(s, f.change) for s, f in truth_of(facts).items() if f.change} for facts in (said, true)]
        hits, predicted, expected = (
            hits + len(pairs[0] & pairs[1]),
            predicted + len(pairs[0]),
            expected + len(pairs[1]),
        )
    assert scores["change_f1"] == pytest.approx(2 * hits / (predicted + expected), abs=0.02)
