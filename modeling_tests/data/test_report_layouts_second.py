"""Report sections on made-up reports of a second author, each batch written before the parser was mended for it."""

import time

import pytest
from report_layouts_second import BATCHES, make_report
from report_scoring_second import SECTIONS, score

from priorrg_hf.data.readers.report_sections import report_sections


@pytest.mark.parametrize("batch", BATCHES)
def test_sections_of_a_second_author(batch):
    reports = [make_report(seed, batch) for seed in range(7000, 7500)]
    exact, whole, leaks, _ = score(report_sections, reports)
    assert not leaks
    assert whole >= 0.99
    assert all(exact[section] >= 0.99 for section in SECTIONS)


def test_the_score_notices_leaks_and_lost_sections():
    reports = [make_report(seed, "first") for seed in range(100)]
    exact, whole, leaks, wrong = score(lambda text: {"indication": " ".join(text.split())}, reports)
    assert len(leaks) > 80 and len(wrong) == 100 and whole == 0 and exact["findings"] < 0.6
    assert score(lambda text: {}, reports)[1] < 0.05


# What the batches found, in the shortest form.
EXAMPLES = {
    "a time at the end of a sentence": ("FINDINGS: Clear. These findings were\ndiscussed with Dr. ___ at 10:40.", {"findings": "Clear. These findings were discussed with Dr. ___ at 10:40."}),
    "a sentence that begins like a wet read": ("FINDINGS: Clear.\nWet read was concordant.\nIMPRESSION: Normal.", {"findings": "Clear. Wet read was concordant.", "impression": "Normal."}),
    "a title in small letters": ("Indication: Cough.\n\nSingle AP view of the chest: Clear lungs.", {"indication": "Cough.", "findings": "Clear lungs."}),
    "a title over two lines": ("PORTABLE UPRIGHT RADIOGRAPH OF THE\nCHEST: Lungs are clear.", {"findings": "Lungs are clear."}),
    "a title that runs into a header": ("CHEST RADIOGRAPH INDICATION: Cough. FINDINGS: Clear.", {"indication": "Cough.", "findings": "Clear."}),
    "a title at the start of the impression": ("IMPRESSION: AP CHEST COMPARED TO ___:\n\nEDEMA HAS CLEARED.", {"impression": "AP CHEST COMPARED TO ___: EDEMA HAS CLEARED."}),
    "an indication in capitals over a line break": ("INDICATION: KNOWN LEFT\nPLEURAL EFFUSION.\n\nFINDINGS: CLEAR.", {"indication": "KNOWN LEFT PLEURAL EFFUSION.", "findings": "CLEAR."}),
    "a comparison that is a sentence": ("COMPARISON:\nComparison is made with chest radiograph ___.\n\nHeart is enlarged.", {"comparison": "Comparison is made with chest radiograph ___."}),
    "a mark right behind the colon": ("INDICATION:___ M with cough.\nFINDINGS:Clear.", {"indication": "___ M with cough.", "findings": "Clear."}),
    "only a mark, then free text": ("REASON FOR STUDY:___\n\nHardware is partly imaged.", {"indication": "___"}),
    "a report behind an open line": ("INDICATION: Man with night sweats\nPneumomediastinum is decreasing.\nIMPRESSION: As above.", {"indication": "Man with night sweats", "impression": "As above."}),
    "a paragraph that begins like a question": ("INDICATION: Cough.\n\nEvaluation of the bases is limited.\n\nIMPRESSION: Normal.", {"indication": "Cough.", "impression": "Normal."}),
    "a lobectomy is no question": ("INDICATION: Cough.\n\nStatus post lobectomy with volume loss.\n\nIMPRESSION: Normal.", {"indication": "Cough.", "impression": "Normal."}),
    "what a clinician heard": ("INDICATION: Fever. Lungs with crackles at both bases on exam. Pneumonia?\n\nFINDINGS: Clear.", {"indication": "Fever. Lungs with crackles at both bases on exam. Pneumonia?", "findings": "Clear."}),
    "a question over a line break": ("INDICATION: Effusion. Interval\nchange?\n\nFINDINGS: Clear.", {"indication": "Effusion. Interval change?", "findings": "Clear."}),
    "other findings are not the findings": ("FINDINGS: 1. OTHER FINDINGS: None. 2. LINES: Port.", {"findings": "1. OTHER FINDINGS: None. 2. LINES: Port."}),
    "swapped letters": ("HISTROY: Cough.\nFINDINGS: Clear.", {"history": "Cough.", "findings": "Clear."}),
    "no text before the next header": ("INDICATION: COMPARISON: None. FINDINGS: Clear.", {"comparison": "None.", "findings": "Clear."}),
}  # fmt: skip


@pytest.mark.parametrize("symptom", EXAMPLES)
def test_examples_of_a_second_author(symptom):
    text, expected = EXAMPLES[symptom]
    assert report_sections(text) == expected


@pytest.mark.parametrize(
    "text",
    ["INDICATION: " + "Woman with cough\n" * 6_000, "INDICATION: " + "LEFT EFFUSION\nIS IT " * 6_000, "AP AND LATERAL " * 6_000, "CHEST, \n" * 10_000,
     "INDICATION: " + "___\n" * 12_000, "HISTORY: " + "Recent CT showed " * 6_000],
    ids=range(6),
)  # fmt: skip
def test_long_texts_take_linear_time(text):
    begin = time.perf_counter()
    report_sections(text)
    assert time.perf_counter() - begin < 5
