"""A second author's made-up reports with known sections, written without sight of the parser or of the first generator.

Each report is put together from a preamble, a context, a body and a tail, each drawn from many kinds, and then printed in one of many
ways (wrapping, indentation, line ends, spaces, case). What a layout leaves open (such as whether "AP chest compared to ___:" opens a
section) is kept out of `expected`, and the leak check still covers it.
"""

import random
import re
from dataclasses import dataclass, field

from report_headings_second import (
    HEADS,
    SECOND_HEADS,
    THIRD_HEADS,
    head_bare_line,
    head_bold_line,
    head_dot,
    head_h3,
    head_line_dash,
    head_markdown,
    head_plain,
    head_rules,
    head_underlined,
)
from report_words_second import FIRST, FOURTH, SECOND, THIRD


@dataclass
class MadeReport:
    text: str
    layout: str
    expected: dict
    body: list = field(default_factory=list)  # sentences of the report proper, which no context may hold


TECHNIQUES = (
    "Chest PA and lateral.",
    "Portable AP upright.",
    "Single frontal view of the chest.",
    "Frontal and lateral radiographs of the chest.",
)


class Draft:
    """Paragraphs of a report in order; each is a list of (header, sentences) that are printed without a blank line between."""

    def __init__(self, rng, words, style):
        self.rng, self.words, self.style = rng, words, style
        self.paragraphs, self.expected, self.body = [], {}, []
        self.number, self.loose = 0, set()

    def pick(self, pool, low=1, high=1):
        return self.rng.sample(pool, min(len(pool), self.rng.randint(low, high)))

    def put(self, header, text, join=False):
        (self.paragraphs[-1] if join and self.paragraphs else self.new()).append((header, text))

    def new(self):
        self.paragraphs.append([])
        return self.paragraphs[-1]

    def section(self, name, header, sentences, proper=None, join=False):
        """A section whose text is `sentences`; `name` None leaves it out of what is expected, a tuple counts for several."""
        text = " ".join(sentences)
        for each in (name,) if isinstance(name, str) else name or ():
            self.expected[each] = f"{self.expected[each]} {text}" if each in self.expected else text
        if proper or (proper is None and name not in ("indication", "history", "comparison", None)):
            self.body += sentences
        self.put(header, text, join)

    def more(self, name, sentences):
        """Another paragraph of the section before."""
        self.section(name, None, sentences, proper=True)

    def free(self, sentences, join=False):
        self.body += sentences
        self.loose.add(" ".join(sentences))
        self.put(None, " ".join(sentences), join)

    def name(self, section):
        return self.rng.choice(self.words.headers[section])

    # context ---------------------------------------------------------------------------------------------------------

    def reason(self):
        rng, words = self.rng, self.words
        kind = rng.randrange(6)
        start = f"{rng.choice(words.persons)} with {rng.choice(words.complaints)}"
        if kind == 0:
            return [start + rng.choice((".", ""))]
        if kind == 1:
            return [start + ".", rng.choice(words.questions)]
        if kind == 2:
            return [start + ".", rng.choice(words.background), rng.choice(words.questions)]
        if kind == 3:
            question = rng.choice([q for q in words.questions if q[0].isalpha()])
            return [f"{start}, {question[0].lower()}{question[1:]}"]
        if kind == 4:
            complaint = rng.choice(words.complaints)
            return [complaint[0].upper() + complaint[1:] + ".", rng.choice(words.questions)]
        return [rng.choice(words.questions)]

    # body ------------------------------------------------------------------------------------------------------------

    def describe(self, low=2, high=6, opening=0.5, trap=0.25):
        sentences = self.pick(self.words.findings, low, high)
        if self.rng.random() < trap:
            sentences.insert(self.rng.randint(1, len(sentences)), self.rng.choice(self.words.traps))
        if self.rng.random() < opening:
            sentences.insert(0, self.rng.choice(self.words.openings))
        return sentences

    def conclude(self):
        sentences = self.pick(self.words.impressions, 1, 3)
        if len(sentences) > 1 and self.rng.random() < 0.5:
            mark = self.rng.choice(("{}. ", "{}) ", "{}.  "))
            sentences = [" ".join((mark.format(i + 1) + s).split()) for i, s in enumerate(sentences)]
        return sentences


# preambles -----------------------------------------------------------------------------------------------------------


def pre_final(d):
    d.put(None, "FINAL REPORT")


def pre_final_title(d):
    d.put(None, "FINAL REPORT")
    d.put(None, d.rng.choice(d.words.titles), join=d.rng.random() < 0.5)


def pre_title(d):
    d.put(None, d.rng.choice(d.words.titles))


def pre_none(d):
    pass


def pre_wet(d):
    d.section(None, "WET READ", [f"___ ___ ___ {d.rng.randint(1, 12)}:{d.rng.randint(10, 59)} PM"])
    d.free(d.pick(d.words.impressions, 1, 2), join=True)
    d.put(None, "_" * 78, join=d.rng.random() < 0.7)
    d.put(None, "FINAL REPORT")


def pre_addendum(d):
    d.section(None, "ADDENDUM", d.pick(d.words.impressions, 1, 1), proper=True)
    d.put(None, "_" * 78)
    d.put(None, "FINAL REPORT", join=True)


# contexts ------------------------------------------------------------------------------------------------------------


def ctx_indication(d):
    d.section("indication", d.name("indication"), d.reason())


def ctx_history(d):
    d.section("history", d.name("history"), d.reason())


def ctx_both(d):
    ctx_history(d)
    d.section("indication", d.name("indication"), d.reason(), join=d.rng.random() < 0.3)


def compare(d, join=False):
    d.section("comparison", d.name("comparison"), [d.rng.choice(d.words.comparisons)], join=join)


def technique(d, join=False):
    d.section(None, d.name("technique"), [d.rng.choice(TECHNIQUES)], join=join)


def ctx_full(d):
    ctx_indication(d)
    technique(d)
    compare(d)


def ctx_tight(d):
    ctx_indication(d)
    compare(d, join=True)
    if d.rng.random() < 0.5:
        technique(d, join=True)


def ctx_comparison_first(d):
    compare(d)
    d.section("indication", d.name("indication"), d.reason(), join=d.rng.random() < 0.4)


def ctx_comparison_only(d):
    compare(d)


def ctx_none(d):
    pass


# bodies --------------------------------------------------------------------------------------------------------------


def body_usual(d):
    d.section("findings", d.name("findings"), d.describe())
    d.section("impression", d.name("impression"), d.conclude())


def body_paragraphs(d):
    d.section("findings", d.name("findings"), d.describe(1, 3))
    d.more("findings", d.describe(1, 3, 0, 0.3))
    if d.rng.random() < 0.4:
        d.more("findings", d.describe(1, 2, 0, 0))
    d.section("impression", d.name("impression"), d.conclude())
    if d.rng.random() < 0.4:
        d.more("impression", d.pick(d.words.findings, 1, 2))


def body_inner_headers(d):
    d.section("findings", "FINDINGS", d.describe(0, 2, 0.5, 0) or ["The lungs are clear."])
    for each in d.pick(d.words.inner, 2, 4):
        d.section("findings", None, [each], proper=True, join=d.rng.random() < 0.7)
    d.section("impression", "IMPRESSION", d.conclude())


def body_inner_only(d):
    inner = d.pick(d.words.inner, 2, 4)
    d.section("findings", "FINDINGS", [inner[0]])
    for each in inner[1:]:
        d.section("findings", None, [each], proper=True, join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_combined(d):
    d.section(("findings", "impression"), d.name("both"), d.describe())
    if d.rng.random() < 0.3:
        d.more(("findings", "impression"), d.conclude())


def body_free_impression(d):
    d.free(d.describe(opening=0.8))
    if d.rng.random() < 0.4:
        d.free(d.describe(1, 2, 0))
    d.section("impression", d.name("impression"), d.conclude())


def body_free(d):
    d.free(d.describe(opening=0.9))
    if d.rng.random() < 0.5:
        d.free(d.describe(1, 3, 0.2))


def body_glued(d):
    """No blank line between the context and the free text."""
    openings = [
        o
        for o in d.words.openings[:2] + d.words.openings[4:9]
        if not re.match(r"Status post|The patient is status post", o)
    ]  # a clinician's words too
    d.free([d.rng.choice(openings), *d.pick(d.words.findings, 1, 4)], join=True)
    if d.rng.random() < 0.6:
        d.section("impression", "IMPRESSION", d.conclude())


def body_impression_only(d):
    d.section("impression", d.name("impression"), d.conclude())


def body_compared_impression(d):
    d.section(
        "impression",
        "IMPRESSION",
        [d.rng.choice(("AP chest compared to ___:", "PA and lateral chest compared to ___ through ___:"))],
    )
    d.more("impression", d.pick(d.words.findings, 2, 4))


def body_findings_only(d):
    d.section("findings", "FINDINGS", d.describe())


def body_views(d):
    d.section("findings", d.rng.choice(d.words.view_headers), d.describe(2, 5, 0, 0.3))
    d.section("impression", d.name("impression"), d.conclude())


def body_title_then_impression(d):
    d.put(None, d.rng.choice(d.words.titles))
    d.section("impression", "IMPRESSION", d.conclude())


def body_empty_impression(d):
    d.section("findings", "FINDINGS", d.describe())
    d.section(None, "IMPRESSION", ["___."])


def body_comparison_after(d):
    d.section("findings", "FINDINGS", d.describe())
    if "comparison" not in d.expected:
        compare(d)
    d.section("impression", "IMPRESSION", d.conclude())


def body_impression_first(d):
    d.section("impression", d.name("impression"), d.conclude())
    d.section("findings", "FINDINGS", d.describe())


# tails ---------------------------------------------------------------------------------------------------------------


def tail_none(d):
    pass


def tail_notice(d):
    d.section(None, d.rng.choice(("NOTIFICATION", "NOTIFICATIONS")), [d.rng.choice(d.words.notices)])


def tail_advice(d):
    header = d.rng.choice(("RECOMMENDATION", "RECOMMENDATIONS", "RECOMMENDATION(S)"))
    d.section(None, header, [d.rng.choice(d.words.advice)], join=d.rng.random() < 0.3)


def tail_addendum(d):
    d.section(None, "ADDENDUM", d.pick(d.words.findings, 1, 2), proper=True)


def tail_signature(d):
    d.put(
        None,
        d.rng.choice(
            (
                "Electronically signed by: ___, MD",
                "Dictated by: ___",
                "SIGNED BY: ___ ___, M.D.",
                "APPROVED BY: DR. ___",
                "Reported by: Dr. ___",
            )
        ),
    )


PREAMBLES = (pre_final, pre_final, pre_final_title, pre_final_title, pre_title, pre_none, pre_wet, pre_addendum)
CONTEXTS = (
    ctx_indication,
    ctx_history,
    ctx_both,
    ctx_full,
    ctx_full,
    ctx_tight,
    ctx_comparison_first,
    ctx_comparison_only,
    ctx_none,
)
BODIES = (
    body_usual, body_usual, body_paragraphs, body_inner_headers, body_inner_only, body_combined, body_free_impression, body_free, body_glued,
    body_impression_only, body_compared_impression, body_findings_only, body_views, body_title_then_impression, body_empty_impression,
    body_comparison_after, body_impression_first,
)  # fmt: skip
TAILS = (tail_none, tail_none, tail_none, tail_notice, tail_advice, tail_addendum, tail_signature)


# second batch: other words, other parts ------------------------------------------------------------------------------


def pre_wet_two(d):
    """A preliminary read with lines of its own, closed by a rule."""
    d.put(
        d.rng.choice(("PRELIMINARY REPORT", "PFI", "WET READ VERSION #1", "PROVISIONAL FINDINGS IMPRESSION (PFI)")),
        "___ ___ 7:12 AM",
    )
    d.free(d.describe(1, 2, 0, 0), join=True)
    d.put(None, "_" * 70)
    d.put(None, "FINAL REPORT")
    d.put(None, d.rng.choice(d.words.titles))


def pre_exam_date(d):
    d.put(None, "FINAL REPORT")
    d.put("EXAMINATION", d.rng.choice(("CHEST (PA AND LAT)", "Chest radiograph", "CHEST (PORTABLE AP)")))
    d.put("DATE", "___", join=True)


def ctx_examination(d):
    d.put("EXAMINATION", d.rng.choice(("Chest, PA and lateral", "CHEST (SINGLE VIEW)", "Portable chest radiograph")))
    ctx_full(d)


def ctx_two_reasons(d):
    """A request that is repeated in the report: both count, in order."""
    d.section("indication", "REASON FOR THIS EXAMINATION", d.reason())
    d.section("indication", "INDICATION", d.reason())


def ctx_everything(d):
    technique(d)
    ctx_history(d)
    compare(d)
    d.section("indication", d.name("indication"), d.reason())


def ctx_technique_comparison(d):
    technique(d)
    compare(d, join=d.rng.random() < 0.5)


def ctx_empty_indication(d):
    d.put("INDICATION", "")
    compare(d, join=True)


def ctx_deidentified(d):
    d.section("indication", d.name("indication"), ["___"])


def body_free_between(d):
    """Free text before a findings header belongs to nobody."""
    d.free([d.rng.choice(d.words.openings)])
    body_usual(d)


def body_findings_title(d):
    """A title of views at the start of the findings is part of them."""
    view = d.rng.choice(d.words.view_headers)
    d.section("findings", "FINDINGS", [f"{view}:", *d.describe(2, 3, 0, 0)])
    d.section("impression", "IMPRESSION", d.conclude())


def body_list_impression(d):
    d.section("findings", "FINDINGS", d.describe(2, 4))
    sentences = d.pick(d.words.impressions, 2, 4)
    d.section("impression", d.name("impression"), ["1. " + sentences[0]])
    for number, sentence in enumerate(sentences[1:], 2):
        d.section("impression", None, [f"{number}. {sentence}"], proper=True, join=d.rng.random() < 0.8)


def body_wrapped_inner(d):
    d.section("findings", "FINDINGS", d.describe(1, 2))
    for each in d.pick(d.words.inner, 1, 3):
        d.section("findings", None, [each, *d.pick(d.words.findings, 0, 2)], proper=True)
    d.section("impression", "IMPRESSION", d.conclude())


def body_two_findings(d):
    d.section("findings", "FINDINGS", d.describe(1, 3))
    d.section("impression", "IMPRESSION", d.conclude())
    d.section("findings", "FINDINGS", d.describe(1, 3))


def body_empty_findings(d):
    d.put("FINDINGS", d.rng.choice(("___", "___.", "")))
    d.section("impression", "IMPRESSION", d.conclude())


def body_glued_plain(d):
    """Free text right behind the context's line that begins like any finding."""
    claims = [f for f in d.words.findings if re.search(r" (?:is|are|has|have) ", f)]
    d.free([d.rng.choice(claims), *d.pick(d.words.findings, 1, 3)], join=True)
    d.section("impression", "IMPRESSION", d.conclude())


def tail_both(d):
    tail_advice(d)
    tail_notice(d)


def tail_radiologist(d):
    d.put(d.rng.choice(("RADIOLOGIST", "ATTENDING RADIOLOGIST", "RESIDENT")), "___, MD")


SECOND_PARTS = (
    (pre_final, pre_final_title, pre_title, pre_none, pre_wet_two, pre_exam_date),
    (ctx_examination, ctx_two_reasons, ctx_everything, ctx_technique_comparison, ctx_empty_indication, ctx_deidentified, ctx_indication,
     ctx_full, ctx_tight, ctx_comparison_first),
    (body_free_between, body_findings_title, body_list_impression, body_wrapped_inner, body_two_findings, body_empty_findings, body_glued_plain,
     body_free, body_free_impression, body_usual, body_views, body_combined, body_compared_impression),
    (tail_none, tail_none, tail_both, tail_radiologist, tail_signature, tail_notice, tail_addendum),
)  # fmt: skip


# third batch -----------------------------------------------------------------------------------------------------------


def pre_record(d):
    for header in d.pick(("PATIENT NAME", "MRN", "ACCESSION NUMBER", "DOB", "REFERRING PHYSICIAN"), 2, 4):
        d.put(header, "___", join=bool(d.paragraphs))
    if d.rng.random() < 0.6:
        d.put(None, "FINAL REPORT")


def pre_two_titles(d):
    for title in d.pick(d.words.titles, 2, 2):
        d.put(None, title, join=bool(d.paragraphs) and d.rng.random() < 0.6)


def ctx_slashes(d):
    """`___ year old man with cough  // eval for pneumonia`, as an order form prints it."""
    reason = f"{d.rng.choice([p for p in d.words.persons if ':' not in p])} with {d.rng.choice(d.words.complaints)} // {d.rng.choice(d.words.questions)}"
    d.section("indication", "INDICATION", [reason])
    if d.rng.random() < 0.7:
        technique(d)
        compare(d)


def ctx_terse(d):
    """A word or two that a report could begin with as well."""
    word = d.rng.choice((
        "Pleural effusion.", "Lung cancer.", "Interval change.", "Pneumothorax.", "Cardiac surgery.", "Chest tube removal", "Normal pregnancy.", "Effusions.", "Line.",
        "Right-sided chest tube.", "Heart transplant.", "Lung nodule.", "Edema", "Tube placement.", "Small pneumothorax, follow up.", "Rib pain.",
    ))  # fmt: skip
    name = d.rng.choice(("indication", "history"))
    d.section(name, d.name(name), [word])
    if d.rng.random() < 0.5:
        compare(d, join=d.rng.random() < 0.5)


def ctx_history_after(d):
    compare(d)
    technique(d)
    ctx_history(d)


def body_trap_paragraphs(d):
    """Each paragraph of the findings begins with a word that is also a header."""
    d.section("findings", d.name("findings"), d.describe(1, 2))
    for trap in d.pick(d.words.traps, 1, 2):
        d.more("findings", [trap, *d.pick(d.words.findings, 0, 2)])
    d.section("impression", d.name("impression"), d.conclude())


def body_free_traps(d):
    d.free([d.rng.choice(d.words.openings), d.rng.choice(d.words.traps)])
    d.free(d.pick(d.words.findings, 1, 2) + [d.rng.choice(d.words.traps)])
    d.section("impression", d.name("impression"), d.conclude())


def body_numbered_findings(d):
    items = [f"{i}. {each}" for i, each in enumerate(d.pick(d.words.inner, 2, 4), 1)]
    d.section("findings", "FINDINGS", [items[0]])
    for item in items[1:]:
        d.section("findings", None, [item], proper=True, join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_late_wet_read(d):
    body_usual(d)
    d.section(None, d.rng.choice(("WET READ", "PRELIMINARY READ")), d.pick(d.words.impressions, 1, 2), proper=True)


def body_advice_between(d):
    d.section("impression", "IMPRESSION", d.conclude())
    tail_advice(d)
    d.section("findings", "FINDINGS", d.describe(1, 3))


def body_impression_then_paragraph(d):
    d.free(d.describe(1, 2))
    d.section("impression", d.name("impression"), d.conclude())
    d.more("impression", ["The rest is unchanged.", *d.pick(d.words.findings, 0, 1)])


THIRD_PARTS = (
    (pre_final, pre_final_title, pre_record, pre_two_titles, pre_none, pre_wet, pre_exam_date),
    (ctx_slashes, ctx_slashes, ctx_terse, ctx_terse, ctx_history_after, ctx_full, ctx_tight, ctx_both, ctx_examination, ctx_none, ctx_comparison_first),
    (body_trap_paragraphs, body_free_traps, body_numbered_findings, body_late_wet_read, body_advice_between, body_impression_then_paragraph, body_free,
     body_usual, body_views, body_combined, body_findings_title, body_glued, body_free_impression, body_inner_headers),
    (tail_none, tail_both, tail_signature, tail_addendum, tail_radiologist),
)  # fmt: skip


# fourth batch ----------------------------------------------------------------------------------------------------------


def pre_two_finals(d):
    d.put(None, "FINAL REPORT")
    d.put(None, "FINAL REPORT", join=d.rng.random() < 0.5)


def pre_prelim_headers(d):
    """A preliminary read with sections of its own."""
    d.section(None, "WET READ", d.pick(d.words.impressions, 1, 1), proper=True)
    d.section(None, "IMPRESSION", d.pick(d.words.impressions, 1, 1), proper=True, join=True)
    d.put(None, "_" * 60)
    d.put(None, "FINAL REPORT")


def ctx_same_line(d):
    """Headers that follow each other in one paragraph."""
    ctx_history(d)
    d.section("indication", d.name("indication"), d.reason(), join=True)
    compare(d, join=True)
    technique(d, join=True)


def ctx_long(d):
    d.section(
        "indication",
        d.name("indication"),
        [*d.reason()[:1], *d.pick(d.words.background, 2, 4), d.rng.choice(d.words.questions)],
    )
    if d.rng.random() < 0.5:
        compare(d)


def ctx_history_then_technique(d):
    ctx_history(d)
    technique(d)


def body_labels_only(d):
    """Labels without a findings header belong to nobody and end the context."""
    inner = d.pick(d.words.inner, 2, 4)
    d.free([inner[0]])
    for each in inner[1:]:
        d.free([each], join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_labels_glued(d):
    for each in d.pick(d.words.inner, 2, 3):
        d.free([each], join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_numbered_free(d):
    d.free([f"{i}. {each}" for i, each in enumerate(d.pick(d.words.findings, 2, 4), 1)])


def body_fragments(d):
    for _ in range(d.rng.randint(2, 3)):
        d.free(d.pick(d.words.findings, 1, 2))
    if d.rng.random() < 0.7:
        d.section("impression", d.name("impression"), d.conclude())


def tail_closing(d):
    d.put(
        None,
        d.rng.choice(
            ("END OF REPORT", "CC: Dr. ___", "JOB ID: ___", "DICTATED BY: ___", "Transcribed by: ___", "Dr. ___ ___")
        ),
    )


FOURTH_PARTS = (
    (pre_two_finals, pre_prelim_headers, pre_final, pre_final_title, pre_title, pre_none),
    (ctx_same_line, ctx_long, ctx_long, ctx_history_then_technique, ctx_full, ctx_terse, ctx_both, ctx_indication, ctx_everything),
    (body_labels_only, body_labels_glued, body_numbered_free, body_fragments, body_free_impression, body_free, body_usual, body_paragraphs, body_trap_paragraphs,
     body_combined, body_views, body_inner_headers, body_list_impression),
    (tail_closing, tail_none, tail_both, tail_addendum),
)  # fmt: skip


# printing ------------------------------------------------------------------------------------------------------------


def wrap(text, width):
    if not width:  # a line for each sentence
        return re.sub(r"(?<=[a-z][.?]) (?=[A-Z])", "\n", text).split("\n")
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def print_report(d, head, rng, widths=(48, 64, 70, 76, 82, 10_000)):
    width = rng.choice(widths)
    indent = rng.choice(("", " ", " ", " ", "    ", "\t"))
    gap = rng.choice(("", " ", " ", " \n ", "\n"))
    flat, free = False, d.loose
    pieces = []
    for paragraph in d.paragraphs:
        lines = []
        for header, text in paragraph:
            before = head(d, header) if header else ""
            *own, last = before.split("\n")
            lines += own + (wrap(last + text, width) if text or last else [])
        pieces.append("\n".join(indent + line if line else line for line in lines))
    text = ("\n" + gap + "\n").join(pieces) + rng.choice(("", "\n"))
    # without line breaks nothing tells where a context ends and free text starts
    if (
        head is head_plain
        and rng.random() < 0.08
        and not any(header is None and text in free for p in d.paragraphs for header, text in p)
    ):
        flat = True
        text = " ".join(text.split())
    return text, flat


def finish(text, d, rng):
    """Case, line ends and spaces; what is expected follows the case."""
    expected = {name: " ".join(value.split()) for name, value in d.expected.items()}
    body = list(d.body)
    if rng.random() < 0.06:
        text, expected, body = text.upper(), {k: v.upper() for k, v in expected.items()}, [b.upper() for b in body]
    change = rng.random()
    if change < 0.12:
        text = text.replace("\n", "\r\n")
    elif change < 0.2:
        odd = rng.choice("\u00a0\u2009\u2002\u3000\u202f")
        text = re.sub(" ", lambda m: odd if rng.random() < 0.3 else " ", text)
    elif change < 0.22:
        text = "\ufeff" + text
    expected = {k: v for k, v in expected.items() if k not in ("findings", "impression") or re.search("[A-Za-z]", v)}
    return text, expected, body


def sensible(context, body):
    """Flattened or glued free text needs a context before it, else the layout says nothing new."""
    bare = (
        ctx_none,
        ctx_comparison_only,
        ctx_technique_comparison,
        ctx_empty_indication,
        ctx_deidentified,
        ctx_examination,
        ctx_full,
        ctx_tight,
    )
    return not (body is body_glued_plain and context in bare) and not (
        body is body_glued and context in (ctx_none, ctx_comparison_only)
    )


FIRST_PARTS = (PREAMBLES, CONTEXTS, BODIES, TAILS)


BATCHES = {
    "first": (FIRST, FIRST_PARTS, HEADS),
    "second": (SECOND, SECOND_PARTS, SECOND_HEADS),
    "third": (THIRD, THIRD_PARTS, THIRD_HEADS),
    "fourth": (FOURTH, FOURTH_PARTS, (*HEADS, *THIRD_HEADS)),
}
ALL_PARTS = tuple(
    tuple(dict.fromkeys(part for parts in each for part in parts))
    for each in zip(FIRST_PARTS, SECOND_PARTS, THIRD_PARTS, FOURTH_PARTS, strict=True)
)
BATCHES["mixed"] = (None, ALL_PARTS, (*HEADS, *SECOND_HEADS, *THIRD_HEADS))  # words of any batch


def make_report(seed, batch="first"):
    rng = random.Random(seed)
    words, parts, heads = BATCHES[batch]
    words = words or rng.choice((FIRST, SECOND, THIRD, FOURTH))
    while True:
        pre, context, body, tail = (rng.choice(pool) for pool in parts)
        head = rng.choice(heads)
        if sensible(context, body):
            break
    d = Draft(rng, words, head)
    for part in (pre, context, body, tail):
        part(d)
    text, flat = print_report(d, head, rng, *([(0, 56, 68, 74, 90)] if batch in ("third", "fourth", "mixed") else []))
    text, expected, sentences = finish(text, d, rng)
    if batch in ("third", "fourth", "mixed") and rng.random() < 0.08:
        text = text.replace("\r", "").replace("\n", rng.choice(("\u2028", "\r", "\u200b\n", "\x0b")))
    layout = " ".join(p.__name__ for p in (pre, context, body, tail, head)) + (" flat" if flat else "")
    open_sections = set()
    if flat and body in (body_free_impression, body_free, body_glued, body_title_then_impression):
        # Without line breaks nothing tells where a comparison ends and free text starts.
        open_sections.add("comparison")
    if body is body_views and head in (
        head_bare_line,
        head_bold_line,
        head_underlined,
        head_markdown,
        head_h3,
        head_dot,
        head_rules,
        head_line_dash,
    ):
        open_sections.add("findings")  # without a colon it may as well be the title of the examination
    if body is body_glued and context in (
        ctx_full,
        ctx_tight,
        ctx_examination,
        ctx_technique_comparison,
        ctx_empty_indication,
    ):
        open_sections.add("comparison")  # "Portable AP chest radiograph, ___." may belong to it
    report = MadeReport(text, layout, expected, sentences)
    report.open = open_sections
    return report
