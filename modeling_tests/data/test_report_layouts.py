"""Report sections on made-up reports in hundreds of layouts, on the examples of the bug reports, and on hostile input."""

import time

import pytest
from report_layouts import layout, leaks

from priorrg_hf.data.readers.report_sections import report_sections


@pytest.mark.parametrize("part", ["developed", "second", "third", "unseen"])
def test_sections_of_many_layouts(part):
    exact, leaking = 0, []
    for seed in range(500):
        report = layout(seed, part)
        sections = report_sections(report.text)
        exact += sections == report.sections
        leaking += leaks(report, sections)
    assert not leaking
    assert exact >= 495


def test_the_generator_notices_a_leak():
    report = next(report for report in map(layout, range(100)) if "loose" in report.traits)
    assert leaks(report, {"indication": "Cough. " + report.answer[-1]}) and not leaks(report, {"indication": "Cough."})


EXAMPLES = {
    "a paragraph without header behind the indication": (
        " FINAL REPORT\n INDICATION:  Evaluation of line.\n\n As compared to the previous radiograph, the left pleural effusion has grown.\n",
        {"indication": "Evaluation of line."},
    ),
    "the same without an empty line": (
        "INDICATION: Evaluation of line.\nThe left pleural effusion has grown.\nIMPRESSION: Effusion.",
        {"indication": "Evaluation of line.", "impression": "Effusion."},
    ),
    "a title with a date": (
        "CHEST 1 VIEW: 4/12/2008\n\nCLINICAL HISTORY: Line.\n\nIMPRESSION: Tip in the SVC.",
        {"history": "Line.", "impression": "Tip in the SVC."},
    ),
    "unusual spaces": ("\u00a0\u2003FINDINGS\u2009:\u3000Clear.\n\u200bIMPRESSION:\u00a0Normal.", {"findings": "Clear.", "impression": "Normal."}),
    "marks within headers": ("COMPARISON ___: None.\nFINDINGS #1: Clear.\nIMPRESSION (___): Normal.", {"comparison": "None.", "findings": "Clear.", "impression": "Normal."}),
    "short capital lines inside the findings": ("FINDINGS: Clear.\nOTHER: none.\nBONES: intact.\nIMPRESSION: Normal.", {"findings": "Clear. OTHER: none. BONES: intact.", "impression": "Normal."}),
    "headers in a line in small letters": ("Indication: cough. Findings: clear lungs. Impression: normal.", {"indication": "cough.", "findings": "clear lungs.", "impression": "normal."}),
    "Markdown": ("## Findings\n\nClear.\n\n**Impression:** Normal.", {"findings": "Clear.", "impression": "Normal."}),
    "no empty line is missed between organs": ("INDICATION: Cough.\nLungs: Clear.\nHeart: Normal.", {"indication": "Cough."}),
    "an empty indication before the report": ("INDICATION:\n\nThe lungs are clear. There is no effusion.", {}),
    "a findings header without text": ("FINDINGS: ___.\nIMPRESSION: Normal.", {"impression": "Normal."}),
    "a misspelt header": ("INDICATION: Cough.\nFINDNGS: Clear.\nIMPRESSON: Normal.", {"indication": "Cough.", "findings": "Clear.", "impression": "Normal."}),
    "report in older words": ("REASON FOR THIS EXAMINATION:\n  eval for chf\n______________________________\n   FINAL REPORT\n HISTORY: Dyspnea.\n\n FINDINGS: Edema.\n                                (Over)\n", {"history": "Dyspnea.", "findings": "Edema."}),
    "a clinical question in two paragraphs": ("INDICATION: Fever.\n\nRule out pneumonia.\n\nFINDINGS: Clear.", {"indication": "Fever. Rule out pneumonia.", "findings": "Clear."}),
    "two headers in a line": ("INDICATION: Cough.  COMPARISON: ___.\nFINDINGS: Clear.", {"indication": "Cough.", "comparison": "___.", "findings": "Clear."} | {}),
    "impression with recommendation": ("IMPRESSION AND RECOMMENDATION: Nodule. CT.", {"impression": "Nodule. CT."}),
    "a preliminary of both": ("PROVISIONAL FINDINGS IMPRESSION (PFI): Edema.\n______\nFINAL REPORT\nFINDINGS: Clear.", {"findings": "Clear."}),
    "nobody's report": ("EXAMINATION: CHEST\n\nThe lungs are clear.", {}),
}  # fmt: skip


@pytest.mark.parametrize("symptom", EXAMPLES)
def test_examples(symptom):
    text, expected = EXAMPLES[symptom]
    assert report_sections(text) == expected


@pytest.mark.parametrize(
    "text",
    ["_" * 300_000, "A " * 150_000, "A: " * 100_000, "\n" * 300_000, "- " * 150_000, "FINDINGS: " * 30_000, "*" * 300_000, "INDICATION: " + "word. " * 50_000,
     "(((" * 100_000, "a\n\n" * 100_000, "\x00\ufffe\u2028" * 100_000, "x" * 300_000, "HISTORY: " + "the lungs and " * 20_000, "1. " * 100_000],
    ids=range(14),
)  # fmt: skip
def test_hostile_texts_take_linear_time(text):
    begin = time.perf_counter()
    report_sections(text)
    assert time.perf_counter() - begin < 5
