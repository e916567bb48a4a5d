"""Sections of a free-text radiology report by its headers, as they occur in practice.

Headers are known words before a colon or a dash at the start of a line (`FINDINGS:`, `Findings -`, `2. **Clinical history:**`, `FINDINGS AND
IMPRESSION:`), alone on a line (`IMPRESSION`), or, where the line breaks are lost, within a line (`Cough. Findings: Clear.`). A title
of views (`PA AND LATERAL VIEWS OF THE CHEST:`) stands for FINDINGS where no other header does and text follows it.

Three rules keep the answer out of the question, for what the model reads must not hold what it shall write:

- indication, history and comparison end with their paragraph, at any line that looks like a header, and at a sentence that reads like a report;
- a paragraph without a header belongs to no section. A report without any findings header has no findings;
- wet reads, preliminary reads, addenda and signatures are left out.

The names of the headers are in `report_headers.py`.
"""

import re
import unicodedata
from dataclasses import dataclass

from .report_headers import (
    ADDENDUM,
    CONTEXT,
    PRELIMINARY,
    VIEW_WORD,
    Header,
    find_header,
    has_anatomy,
    is_label,
    is_view_title,
)


# What may stand before a header: "## ", "2. ", "**", "> ". Leading blanks are one at most by then; bounds keep the time linear.
_PREFIX = r"[ (#>*•·‣–—=~+_\[\]<|`-]{0,8}(?:\(?(?:\d{1,2}|[ivxIVX]{1,4}|[A-Na-n])[.)][ ]{0,4})?[*_\[`]{0,3}"
# A line's start up to a colon. The words themselves are judged by `find_header`.
_LINE_HEADER = re.compile(
    rf"^{_PREFIX}([A-Za-z(][^:\n]{{0,90}}?)[ ]?[*_\]=`]{{0,4}}[ ]{{0,4}}:+(?:(?!___)[*_\]=`-]){{0,4}}[ ]*(?=(.?))",
    re.MULTILINE,
)
_LATER_COLON = re.compile(
    rf"^{_PREFIX}([A-Za-z(][^\n]{{0,90}}?)[ ]?[*_\]=`]{{0,4}}:+(?!\d)(?:(?!___)[*_\]=`-]){{0,4}}[ ]*", re.MULTILINE
)
# "FINDINGS - Clear", "FINDINGS. Clear", "FINDINGS   Clear" and, in capitals before a sentence, "FINDINGS The lungs are clear"
_LINE_DASH = re.compile(
    rf"^{_PREFIX}([A-Za-z][A-Za-z0-9 ,/&+#()_-]{{2,50}}?)[*_]{{0,3}}(?:[ ]{{1,3}}[-–—]{{1,3}}|[-–—]{{1,3}}(?=[ ]))[*_]{{0,3}}[ ]+(?=\S)",
    re.MULTILINE,
)
_VIEWS_BEHIND = re.compile(
    r"(?:(?:chest|thorax|pa|ap|lateral|lat|and|portable|x-?ray|cxr|radiograph|2|two|views?)\b[ ]?)+(?:[ ]{0,3}[-–—:]+[ ]*|(?=\n(?-i:(?![ ]*[a-z])))|\Z)",
    re.IGNORECASE,
)
_LINE_CAPITALS = re.compile(
    rf"^{_PREFIX}([A-Z]{{4,20}}(?:(?:[ ]?[/&][ ]?|[ ])[A-Z]{{2,20}}){{0,5}}(?:\(S\))?)[*_\]]{{0,3}}"
    r"(?:[.;]|(?=[ ]{2})|(?=[ ][A-Z][a-z]|[ ]___|[ ]\d))[ ]+(?=\S)",
    re.MULTILINE,
)
# "**FINDINGS** Clear", "== Findings == Clear"
_LINE_MARKED = re.compile(r"^[ ]?([*_=]{2,3})[ ]?([A-Za-z][A-Za-z0-9 ,/&+#()_-]{1,60}?)[ ]?\1[ ]+(?=\S)", re.MULTILINE)
_LINE_ALONE = re.compile(
    rf"^({_PREFIX})([A-Za-z][A-Za-z0-9 ,/&+()#_-]{{1,70}}?)[ ]?[*_\]=`#>|.–—-]{{0,6}}[ ]*$", re.MULTILINE
)
_INLINE = re.compile(
    r"(?<=[A-Za-z0-9%\"'/*.?!:;,)_])[ ]+(?:\*\*|__|\(?\d{1,2}[.)][ ]+|[-–—|•][ ]+)?"
    r"((?:[A-Za-z]{1,20}(?:\([Ss]\))?)(?:(?:,?[ ]|[ ]?[/&-][ ]?)[A-Za-z]{1,20}(?:\([Ss]\))?){0,4}(?:[ ](?:\([\w ]{1,12}\)|#[ ]?\d{1,2}|_{3}))?)[ ]*(?:\*{2,3}|__)?[ ]*:+(?:\*\*|__(?!_))?"
)
# the views within a line, as where line breaks are lost; without a full stop before them only in capitals
_INLINE_VIEWS = re.compile(
    rf"(?:(?<=[.?!;:_])[ ]+|[ ](?=[A-Z]{{2,}} |A |[A-Z-]+:)|^[ ]?)((?i:{VIEW_WORD})(?:(?:,?[ ]|,?\n[ ]?|[ ]?[&/-][ ]?)(?i:{VIEW_WORD})\b){{1,11}})[ ]?:(?!\d)[ ]*",
    re.MULTILINE,
)
_NOT_BEFORE = re.compile(
    r"\b(?:other|additional|incidental|associated|further|ancillary|secondary|significant|skeletal|cardiac|extrapulmonary)[ ]$",
    re.IGNORECASE,
)
_VIEWS_LEFT = re.compile(rf"\b{VIEW_WORD}$", re.IGNORECASE)
# In capitals, or alone on its line: "Final report was discussed with ..." is a sentence.
_FINAL = re.compile(
    r"(?:^[ ]*[*#_= -]*|(?<=______)[ ]+)(?:FINAL[ ]+(?:RADIOLOGY[ ]+)?(?:REPORT|EXAMINATION)\b|(?i:FINAL[ ]+(?:RADIOLOGY[ ]+)?(?:REPORT|EXAMINATION))(?=[ .:*_=-]*$))"
    r"(?:[ ]+FINAL[ ]+REPORT\b)?"
    r"[ .:*_=-]*",
    re.MULTILINE,
)
_RULE = re.compile(r"^[ ]*[_=*~-](?:[ ]?[_=*~-]){4,}[ ]*$", re.MULTILINE)
_RULE_WITHIN = re.compile(r"[_=-]{6,}")
_SIGNATURE = re.compile(
    r"^[ ]*(?:electronically (?:signed|approved|verified)|(?:dictated|signed|read|reported|reviewed|interpreted|verified|approved|transcribed|finalized"
    r"|authenticated)(?: and \w+)?(?: electronically)? (?:by|on|at)\b(?! dr\b.* (?:with|at the))|end of (?:the )?(?:report|addendum|impression)"
    r"|i,? (?:have |the )?(?:personally|attending|undersigned|certify)|as the attending\b|attending physician\b|the attending radiologist\b.*reviewed"
    r"|\*{3}.*\*{3}[ ]*$|(?:dr\.? )?(?:_{3}|[A-Z][\w.'-]+)(?:,? (?:_{3}|[A-Z][\w.'-]+)){0,3},? (?:M\.?D|D\.?O|MBBS|FRCR|Ph\.?D)\b[^a-z\n]{0,30}$"
    r"|(?:Dr\.? )(?:_{3}|[A-Z][\w.'-]+)(?: (?:_{3}|[A-Z][\w.'-]+)){0,2}[ ]*$)",
    re.MULTILINE | re.IGNORECASE,
)
_PAGE = re.compile(
    r"^[ ]*(?:\((?:over|cont(?:inued|'d|\.)?)\)|page \d+(?: of \d+)?)[ ]*$", re.MULTILINE | re.IGNORECASE
)
_SPACE = re.compile(r"\s+")
# "top-" at the end of a line, "normal" at the start of the next; not "pre-" and "and"
_HYPHEN_WRAP = re.compile(r"(?<=[A-Za-z])-\n[ ]?(?=[a-z])(?!(?:and|or|to)\b)")
_BLANK = re.compile(r"\n[ ]*\n")
_TAG = re.compile(r"</?(?P<name>b|strong|u|i|em|br|p|div|span|h[1-6]|li|ul)\b[^<>\n]{0,60}>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.?!:;])[ \n]+|\n[ ]*")

# How sentences of a report begin or what they say, and those of a clinical question hardly ever.
_REPORT_START = re.compile(
    r"(?:as compared|in comparison|compared (?:to|with)|comparison (?:to|with|(?:is |was )?made)\b|(?:in the )?interval\b|since (?:the|_|prior|previous|last|yesterday's)|(?:again|once again)\b"
    r"|there (?:is|are|has|have|was|were) (?!concern|a? ?history|question|suspicion|clinical)"
    r"|no (?:evidence|acute|focal|new|pneumothorax|pleural|effusions?|consolidation|infiltrate|significant|change|relevant|other|previous|large|free|radiograph\w*)"
    r"|(?:the )?(?:monitoring|support) (?:and|devices?)|(?:the )?(?:endotracheal|nasogastric|enteric|feeding|tracheostomy|et|ng) tubes?\b.{0,40}"
    r"\b(?:is|are|in|has|ends|terminates|tip|lies|remains|projects)\b"
    r"|low lung volumes|stable (?:app|card|pos|post|left|right|bilat|size|mild|moder)|unchanged|unremarkable|normal (?:heart|card|chest|lung|size|app|exam|study)"
    r"|(?:the )?patient has taken\b|(?:the )?patient (?:has been|was|is|is now|remains) (?:ex|in)tubated|tips? of (?:the|an?)\b"
    r"|(?:new|small|moderate|large|mild|minimal|increased|decreased|worsening|improved|persistent|bibasilar|bilateral|patchy|subtle)\b.{0,50}\b(?:is|are|has|have) )",
    re.IGNORECASE,
)
# an organ; a clinical question may begin so as well
_ORGAN_START = re.compile(
    r"(?:the |both )?(?:lungs?|lung (?:volumes?|fields?)|heart|cardiac|cardio\w+|cardiomediastinal|mediastin\w+|hilar|hila|pulmonary vascul\w+|trachea"
    r"|osseous|bony|bones|visualized|imaged|pleura\w*|costophrenic|aorta|(?:left|right|bilateral)(?:[- ]sided)? (?:pleural|lower|upper|middle|lung|hemi\w+|basal|basilar"
    r"|perihilar|apical)\S*)\b(?! (?:ca|cancer|transplant|mass|nodules?\b(?=\.?$)|failure|surgery|disease|nodule follow|attack|cath\w*|arrest|block|tube\b(?=\.?$)))",
    re.IGNORECASE,
)
# what an examination was; in a comparison it may stand
_VIEWS_START = re.compile(
    r"(?:a |an |the )?(?:single|portable|frontal|upright|supine|semi\w*|ap|pa|two|one|lateral)\b.{0,60}\b(?:views?|radiographs?|images?|film|chest)\b",
    re.IGNORECASE,
)
_VIEWS_TAKEN = re.compile(
    _VIEWS_START.pattern
    + r".{0,30}\b(?:(?:is|are|was|were) (?:obtained|provided|submitted|acquired|performed|reviewed)|shows?|demonstrates?|reveals?)\b",
    re.IGNORECASE,
)
_REPORT_CLAIM = re.compile(
    r"\b(?:(?:is|are|was|were|has|have|remains?|appears?)(?: been| slightly| again| now| also| mildly| not| otherwise| essentially| grossly){0,2} "
    r"(?:unchanged|stable|clear|normal|enlarged|grown|increas\w+|decreas\w+|worse\w*|improv\w+|resolved|unremarkable|seen|noted|present|visible|visualized|demonstrated"
    r"|identified|intact|removed|placed|low|within)|within normal limits|in (?:unchanged|standard|satisfactory|appropriate) position"
    r"|(?:tip|tube|catheter|line|lead)s? (?:projects?|terminates?|ends?|lies|is in|are in|overl\w+)|silhouette|no (?:pneumothorax|focal consolidation|pleural effusions?)"
    r"|cardiomediastinal|costophrenic|well[- ](?:expanded|inflated|aerated))\b",
    re.IGNORECASE,
)
# "Lung bases: dry." behind a sentence; what a clinician writes so is not cut
_OTHER_LABEL = re.compile(
    r"(?!(?:allerg|symptom|question|hx\b|pmh|meds?\b|medication|concern|rule out|r/o|eval|assess|onset|duration|risk|dx\b|diagnos|note|hpi|please|history|temp|wbc"
    r"|vitals?|exam\b|location|side|date))[A-Z][A-Za-z]+(?:[ ][A-Za-z()#]+){0,3}[ ]?:",
    re.IGNORECASE,
)
# A line of its own that says something about somebody's films, not about the person: "Right PICC terminates in the SVC."
_STATEMENT = re.compile(
    r"(?!(?:(?:the |this |a )?(?:patient|pt|he|she|man|woman|male|female|mother|father)\b|_|\d|there (?:is|was) (?:a )?(?:concern|history|question)|who\b|(?:clinical )?concern"
    r"|symptoms|pain|cough|fever))(?:[\w'/-]+,? ){1,12}?(?:is|are|was|were|has|have|remains?|persists?|shows?|demonstrates?|reveals?|appears?|ends?|terminates?|projects?|lies|could|may|might|cannot|would|should)\b",
    re.IGNORECASE,
)
_COMPARES = re.compile(r"(?:in comparison|as compared|there (?:is|are|has|have))\b", re.IGNORECASE)
# what a clinician heard or did: "Lungs with crackles at both bases.", "Chest tube was placed on ___."
_EXAMINED = re.compile(
    r"\b(?:crackles|rales|wheez\w+|rhonchi|on (?:physical )?exam\b|auscultation|auscultated|breath sounds)"
    r"|^(?:(?:recent|prior|previous|outside|an?|the|last) )*(?:CT|CTA|MRI|PET|echo\w*|e[ck]g|ultrasound|bronchoscopy)\b.* (?:was|were|showed|revealed|demonstrated|reported|with)\b"
    r"|\b(?:tube|line|catheter|drain|picc|stent|pacemaker) (?:was|were) (?:\w+ )?"
    r"(?:placed|removed|inserted|pulled|attempted)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\s*(?:\?|//|r/o\b|rule out|evaluate (?:for|of|the)|evaluation for|eval\b|please (?:eval|assess|rule)|assess (?:for|the|position|interval)|query\b|s/p\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Mark:
    """A header in the text: from `start` to `end`, where what it opens begins."""

    start: int
    end: int
    header: Header


def report_sections(text: str) -> dict[str, str]:
    """The sections found: any of `findings`, `impression`, `indication`, `history`, `comparison`, with white space collapsed.

    A section that occurs twice is joined in order; `FINDINGS AND IMPRESSION` counts as both. De-identification marks (`___`) stay;
    findings and impressions without a letter (`___.`) are left out.
    """
    text = _plain(text)
    # the last wrapper with a report behind it: some systems write the words at the end as well
    parts = [text[match.end() :] for match in _FINAL.finditer(text)][::-1]
    for part in [*parts, text]:
        marks = _resolved(part, _marks(part))
        if any(mark.header.sections for mark in marks) or (part is not text and len(part.split()) > 8):
            return _bodies(part, marks)
    return {}


def reads_like_report(text: str) -> bool:
    """Whether a clinical context holds sentences that rather belong to a report, such as "The lungs are clear."."""
    text = _plain(text)
    return any(
        bool(_REPORT_CLAIM.search(sentence))
        and bool(_REPORT_START.match(sentence) or _ORGAN_START.match(sentence) or _VIEWS_START.match(sentence))
        for sentence in map(str.strip, _SENTENCE_END.split(text))
    )


def _plain(text: str) -> str:
    """One kind of line end and of space; without invisible characters, tags, page marks; letters of `F I N D I N G S` joined."""
    text = re.sub("\r+\n", "\n", text)
    text = re.sub("\n\r+|\r|\x0b|\x0c|\x85|\u2028|\u2029", "\n", text)
    text = "".join(
        " " if character == "\t" or unicodedata.category(character) == "Zs" else character
        for character in text.replace("：", ":").replace("﹕", ":")
        if character == "\n" or character == "\t" or unicodedata.category(character) not in ("Cf", "Cc")
    )
    text = _TAG.sub(_untagged, text)
    text = re.sub(
        r"^([ ]*)((?:[A-Z] ){4,}[A-Z])(?=[ ]*:|[ ]*$)",
        lambda match: match[1] + match[2].replace(" ", ""),
        text,
        flags=re.MULTILINE,
    )
    return re.sub(r"^[ ]+", " ", _PAGE.sub("", text), flags=re.MULTILINE)


def _untagged(match: re.Match) -> str:
    name = match["name"].lower()
    if name[0] == "h":
        return "\n" if match[0].startswith("</") else "\n## "
    return "\n" if name in ("br", "p", "div", "li", "ul") else ""


# --- headers ------------------------------------------------------------------------------------------------------------


def _marks(text: str) -> list[_Mark]:
    """Each header of the text, in order, the earlier and the longer first where two overlap."""
    marks: list[_Mark] = []
    for pattern in (_LINE_HEADER, _LATER_COLON):
        for match in pattern.finditer(text):
            time_of_day = match.re is _LINE_HEADER and match[2].isdigit()
            header = find_header(match[1], exact=time_of_day)
            if time_of_day and match[1][-1].isdigit() and not (header and header.kind in (PRELIMINARY, ADDENDUM)):
                continue  # "Recommendation was given on ___ at 07:30."
            if header is not None and not _is_wrapped_prose(text, match, header) and not _runs_into_label(match[1]):
                marks.append(_Mark(match.start(), match.end(), header))
    for match in _LINE_DASH.finditer(text):
        header = find_header(match[1], exact=match[1].islower())
        is_title = header is not None and header.kind == "weak" and match[1].isupper() and is_view_title(match[1])
        if header is not None and (is_title or header.kind not in ("label", "weak")):
            views = _VIEWS_BEHIND.match(text, match.end())  # "FINDINGS - CHEST"
            marks.append(_Mark(match.start(), views.end() if views else match.end(), header))
    for match in _LINE_MARKED.finditer(text):
        header = find_header(match[2])
        if header is not None and header.kind not in ("label", "weak"):
            marks.append(_Mark(match.start(), match.end(), header))
    for match in _LINE_CAPITALS.finditer(text):
        header = find_header(match[1], exact=True)
        ended = "." if text[match.end(1) : match.end(1) + 1] == "." else ""
        if _ends_open(text, match.start()) or _NO_HEADER.search(match[1] + ended):
            continue
        if header is not None and not match[1].startswith(
            ("COMPARED", "COMPARISON TO", "COMPARISON WITH", "COMPARISON IS", "PRIOR", "PREVIOUS")
        ):  # "COMPARED WITH ___" is a sentence
            marks.append(_Mark(match.start(), match.end(), header))
    marks += _marks_alone(text)
    marks += _marks_within(text)
    marks += [
        _Mark(match.start(), match.end(), Header(("findings",), "weak"))
        for match in _INLINE_VIEWS.finditer(text)
        if is_view_title(match[1])
    ]
    marks += [_Mark(match.start(), match.end(), Header((), "end")) for match in _FINAL.finditer(text)]
    marks += [_Mark(match.start(), match.end(), Header((), "end")) for match in _SIGNATURE.finditer(text)]
    marks += [_Mark(match.start(), match.end(), Header((), "rule")) for match in _RULE.finditer(text)]
    kept: list[_Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.header.kind == "label", -mark.end)):
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return kept


def _behind(text: str, position: int) -> str:
    """What stands before a position, without blanks at its end; a window of it, which is enough to judge by."""
    return text[max(0, position - 60) : position].rstrip(" ")


def _runs_into_label(words: str) -> bool:
    """`FINDINGS - BONES:` and `FINDINGS. CHEST, PA AND LATERAL:`, of which the part before the mark is the header."""
    match = re.match(r"(.*?)( - |\. |$)(.*)", words, re.DOTALL)
    if match is None:  # it matches every text
        return False
    head, mark, rest = match.groups()
    if mark == ". ":
        return head.isupper() and len(head) > 3 and find_header(head, exact=True) is not None
    return bool(mark) and has_anatomy(rest) and not has_anatomy(head)


def _is_wrapped_prose(text: str, match: re.Match, header: Header) -> bool:
    """Whether a line that begins with one word in small letters goes on with a sentence of the line before."""
    words = match[1]
    plain = not text[match.start() : match.start(1)].strip()
    alone = text[match.end() : match.end() + 1] == "\n"
    if header.kind == "label" or not words[0].islower() or not plain or alone:
        return False
    is_time = (
        words[-1:].isdigit() and text[match.end() : match.end() + 1].isdigit()
    )  # "discussed with Dr. ___ at 10:40"
    if " " in words.strip() and header.kind != "weak" and not is_time:
        return False
    before = _behind(text, match.start()).rstrip("\n").rstrip(" ")
    line = before.rpartition("\n")[2]
    if is_time and before[-1:] not in (*".?!", ""):
        return True
    return (
        not _behind(text, match.start()).endswith(("\n\n", "\n \n"))
        and bool(line)
        and line[-1] not in ".?!:;_"
        and ":" not in line
        and not line.isupper()
    )


# "COMPARISON STUDY OF / ___ IS REVIEWED.", "Recommendations as before."
_NO_HEADER = re.compile(
    r"\b(?:of|is|are|was|were|the|for|from|by|at|on|in|made|an?)$|^(?:recommend\w+|addend\w+|wet|prelim\w*) (?!read|report|interpretation)\w.*\.$",
    re.IGNORECASE,
)


def _ends_open(text: str, position: int) -> bool:
    """Whether the line before is one in capitals that a sentence runs over."""
    before = _behind(text, position)
    line = before[:-1].rpartition("\n")[2].rstrip(" ")
    return bool(line) and line.isupper() and len(line.split()) > 2 and line[-1] not in ".?!:;_-="


def _marks_alone(text: str) -> list[_Mark]:
    """Words alone on their line. Not in capitals only where no sentence runs across them, for "impression" may be wrapped prose."""
    marks = []
    for match in _LINE_ALONE.finditer(text):
        marked: re.Match[str] | str | None = re.search(r"[#*_=<|\[]", match[1])
        words = match[2]
        if re.search(r"--| -|- ", words):
            continue  # text stands on the line
        behind = text[match.end() : match.end() + 60].lstrip(" \n")
        # "## Findings", "Findings -", or underlined
        marked = marked or re.match(r"[=~-]{3}", behind) or match[0][match.end(2) - match.start() :].strip(" .")
        header = find_header(words, exact=not words.isupper() and not marked)
        if header is None or header.kind == "label" or (header.kind == "weak" and not words.isupper()):
            continue  # capitals without a colon are text as well: "COPD"
        if not match[1].strip() and _NO_HEADER.search(words + match[0][match.end(2) - match.start() :].rstrip()):
            continue
        if not match[1].strip() and re.match(r"compar\w+ (?:is|was|made|to|with)\b", words, re.IGNORECASE):
            continue  # "Comparison is made with chest radiograph ___."
        if "," in words and header.kind != "weak" and find_header(words, exact=True) is None:
            continue  # "PRIOR RADIOGRAPH ___, CT ___."
        if header.kind == "weak" and not re.search(r"[-–—][ ]*$", match[0]):
            header = Header((), "title")
        if words.isupper() and match[0].rstrip().endswith(".") and _ends_open(text, match.start()):
            continue  # "WITH ALTERED MENTAL / STATUS."
        if not words.isupper():
            before = _behind(text, match.start())
            opened = (
                before.endswith("\n\n") or before.endswith("\n \n") or before.rstrip(" \n")[-1:] in ("", *".?!:;_")
            )
            goes_on = behind[:1].islower() or not (
                opened or marked or behind[:1].isupper() or behind[:1] in "_?0123456789"
            )
            if not (words[0].isupper() or marked) or (goes_on and not marked):
                continue
        marks.append(_Mark(match.start(), match.end(), header))
    return marks


def _marks_within(text: str) -> list[_Mark]:
    """Headers in the middle of a line: in capitals, or behind the end of a sentence."""
    marks = []
    for match in _INLINE.finditer(text):
        starts = [0, *(space.end() for space in re.finditer(r"[ ]", match[1]))]
        for start in starts:  # "year old man FINDINGS" ends in a header
            tail = match[1][start:]
            if (
                start
                and _NOT_BEFORE.search(match[1][:start])
                or tail.upper() == "VIEWS"
                and _VIEWS_LEFT.search(_behind(text, match.start(1) + start))
            ):
                continue  # "OTHER FINDINGS:", "CHEST, TWO VIEWS:"
            header = find_header(tail, exact=True)
            if header is None or header.kind == "label":
                continue
            before = _behind(text, match.start() + 1 if not start else match.start(1) + start)
            if tail.upper().startswith("COMPARED") and before.rstrip("* ")[-1:] not in (*".?!:;_", ""):
                continue  # "AP CHEST COMPARED TO ___:"
            if tail.isupper() or (header.kind != "weak" and start == 0 and before[-1:] in (".", "?", "!", ";", "_")):
                blanks = len(match[0]) - len(
                    match[0].lstrip(" ")
                )  # they may belong to a header without text before this one
                first = match.start() + blanks if not start else match.start(1) + start
                marks.append(_Mark(first, match.end(), header))
                break
    return marks


def _resolved(text: str, marks: list[_Mark]) -> list[_Mark]:
    """The marks with titles told from headers, and without what stands in a wet read or an addendum."""
    marks = _without_asides(text, marks)
    has_findings = any("findings" in mark.header.sections and mark.header.kind != "weak" for mark in marks)
    result: list[_Mark] = []
    for number, mark in enumerate(marks):
        if mark.header.kind == "weak":
            end = marks[number + 1].start if number + 1 < len(marks) else len(text)
            context_follows = any(
                set(later.header.sections) & {"indication", "history"} or later.header.kind == "technique"
                for later in marks[number + 1 :]
            )
            if result and "impression" in result[-1].header.sections and not text[result[-1].end : mark.start].strip():
                mark = _Mark(mark.start, mark.end, Header((), "title"))  # "IMPRESSION: AP CHEST:"
            elif has_findings or context_follows or not _says_something(text[mark.end : end]):
                mark = _Mark(mark.start, mark.end, Header((), "title" if has_findings else "end"))
        result.append(mark)
    return result


def _without_asides(text: str, marks: list[_Mark]) -> list[_Mark]:
    """Without the headers inside a preliminary read, which a rule closes, and inside an addendum behind the report."""
    result: list[_Mark] = []
    closed_at = 0
    for number, mark in enumerate(marks):
        if mark.start < closed_at:
            continue
        if mark.header.kind == PRELIMINARY:
            rules = (later.start for later in marks[number + 1 :] if later.header.kind == "rule")
            closing = next(rules, None)
            if closing is not None and any(later.header.sections for later in marks if later.start > closing):
                closed_at = closing
        seen = any(set(earlier.header.sections) & {"findings", "impression"} for earlier in result)
        if mark.header.kind == ADDENDUM and seen:
            result.append(_Mark(mark.start, len(text), Header((), "end")))
            break
        result.append(mark)
    return result


_TITLE_WORDS = re.compile(
    r"\b(?:\d[\d/.:-]*|_+|jan\w*|feb\w*|mar(?:ch)?|apr\w*|may|june?|july?|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*|at|on|of|and|the|a\.?m\.?|p\.?m\.?|hours?|hrs?|dated?"
    r"|performed|views?|ap|pa|portable|upright|supine|erect|frontal|lateral|single|one|two|three|chest|radiographs?|x-?rays?|films?|exam\w*|study|time|"
    r"(?:\d+(?:st|nd|rd|th)))\b\.?",
    re.IGNORECASE,
)


def _says_something(body: str) -> bool:
    """Whether a title is followed by text, and not only by a date, a time or the views; what stands on its own line decides."""
    line = body.partition("\n")[0]
    return bool(re.search(r"[A-Za-z]{3,}", _TITLE_WORDS.sub(" ", line if line.strip() else body)))


# --- bodies -------------------------------------------------------------------------------------------------------------


def _bodies(text: str, marks: list[_Mark]) -> dict[str, str]:
    sections: dict[str, list[str]] = {}
    current: tuple[str, ...] = ()
    pieces: list[tuple[tuple[str, ...], int, int]] = []  # (sections, start, end)
    for number, mark in enumerate(marks):
        end = marks[number + 1].start if number + 1 < len(marks) else len(text)
        in_report = bool(set(current) & {"findings", "impression"})
        is_empty = bool(pieces) and not text[pieces[-1][1] : mark.start].strip()
        if (mark.header.kind in ("label", "title") and in_report) or (
            mark.header.kind == "title" and current and is_empty
        ):
            pieces[-1] = (current, pieces[-1][1], end)  # "OTHER: none." inside the findings belongs to them
            continue
        if mark.header.kind == "rule" and current and is_empty:
            pieces[-1] = (current, mark.end, end)  # a header that is underlined
            continue
        current = mark.header.sections
        pieces.append((current, mark.end, end))
    reported = any(set(names) & {"findings", "impression"} for names, _, _ in pieces)
    for names, start, end in pieces:
        body = text[start:end]
        if set(names) & set(CONTEXT):
            body = _context_body(body, reported, views="comparison" in names)
        body = _HYPHEN_WRAP.sub("-", body)
        body = _SPACE.sub(" ", _RULE_WITHIN.sub(" ", body)).strip()
        body = body[2:] if body[:2] == "- " and " - " not in body else body  # "FINDINGS: - Clear" is no list
        body = re.sub(r"^(?:\*\*|__(?!_))[ ]*|[ ]*(?<!_)(?:\*\*|__)$", "", body)
        for name in names:
            if body and (name in CONTEXT or re.search(r"[^\W\d_]", body)):
                sections.setdefault(name, []).append(body)
    return {name: " ".join(parts) for name, parts in sections.items()}


def _context_body(body: str, reported: bool, views: bool) -> str:
    """The first paragraph, up to a sentence that reads like a report.

    Args:
        body (`str`): everything up to the next header.
        reported (`bool`): whether the report text has a header of its own elsewhere.
        views (`bool`): whether it may begin a sentence with the views of an examination.
    """
    paragraphs = [paragraph for paragraph in _BLANK.split(body) if re.search(r"\w|\?", paragraph)]
    if not paragraphs:
        return ""
    first, behind_header = paragraphs[0].strip(), not re.match(r"[ ]*\n[ ]*\n", body)
    if not behind_header and not reported and len(first.split()) > 40:
        return ""
    kept = _before_report(first, behind_header, views, reported)
    if kept != first:
        return kept
    for paragraph in map(str.strip, paragraphs[1:]):
        goes_on = (
            kept.rstrip()[-1:] not in ".?!:"
            and paragraph.lstrip()[:1].islower()
            and any(map(str.isupper, kept + body))
        )
        if (
            not (goes_on or _QUESTION.match(paragraph))
            or not reported
            or _before_report(paragraph, False, views, reported) != paragraph
        ):
            break
        kept += "\n" + paragraph
    return kept


def _breaks_early(paragraph: str, start: int) -> bool:
    """Whether the line before had room for the first word here: its break is no wrapping."""
    first = max(0, start - 600)  # a window, for long texts
    lines = paragraph[first:start].rstrip("\n ").split("\n")
    header = 24 if len(lines) == 1 else 0  # what may stand before the paragraph on its line
    word = paragraph[start : start + 60].split(" ")[0].split("\n")[0]
    longest = max(map(len, paragraph[first : start + 400].split("\n")))
    return "\n" in paragraph[max(0, start - 3) : start] and len(lines[-1].strip()) + header + 1 + len(word) < longest


def _asks(paragraph: str, start: int) -> bool:
    """Whether the sentence that begins here, over its line breaks, ends in a question mark."""
    return re.match(r"[^.?!:;]{0,200}\?", paragraph[start : start + 201]) is not None


def _before_report(paragraph: str, keep_first: bool, views: bool, reported: bool) -> str:
    """The sentences before the first that reads like a report; the first itself is believed where it stands behind its header."""
    paragraph = paragraph.strip()
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(paragraph))]
    ends = 0  # of sentences, so far
    capitals = paragraph.isupper()
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(paragraph)
        before = paragraph[max(0, start - 60) : start]
        ended = start == 0 or before.rstrip()[-1:] in ".?!:;"
        ends += start > 0 and before.rstrip()[-1:] in ".?!"
        sentence = _SPACE.sub(" ", paragraph[start : end + 120]).strip()  # a line may end before its first words do
        whole = _SPACE.sub(" ", paragraph[start:end]).strip()
        if (number == 0 and keep_first) or not sentence or _asks(paragraph, start):
            continue
        early = not ended and _breaks_early(paragraph, start)
        # in capitals a new line says nothing about where sentences begin, unless the one before had room left
        if not ended and not (early if capitals else sentence[0].isupper()):
            continue
        over_lines = _SPACE.sub(" ", re.split(r"[.?!]", paragraph[start : start + 300], maxsplit=1)[0])
        if _EXAMINED.search(over_lines):
            continue
        claims = _REPORT_CLAIM.search(over_lines if ended else whole) is not None
        if is_label(sentence) or (ended and claims):
            return paragraph[:start]
        if not ended and _VIEWS_TAKEN.match(sentence):
            return paragraph[:start]
        if ends == 0 and views and not _COMPARES.match(sentence) and not (early and _STATEMENT.match(sentence)):
            continue  # "No relevant priors.", "PA and lateral chest of ___."
        doubtful = number == 0 and reported and not claims  # "Heart failure" may be the whole question
        if (
            _REPORT_START.match(sentence)
            or _VIEWS_START.match(sentence)
            or (_ORGAN_START.match(sentence) and not doubtful)
        ):
            return paragraph[:start]
        if ended and start and _OTHER_LABEL.match(sentence):
            return paragraph[:start]
        if (ends or not ended) and "\n" in before[-3:] and _STATEMENT.match(sentence):
            return paragraph[:start]
    return paragraph
