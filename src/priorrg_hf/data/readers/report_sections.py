"""Sections of a free-text radiology report by its headers, as they occur in practice.

Headers are words before a colon at the start of a line: `FINDINGS:`, `Findings :`, `CLINICAL HISTORY:`, `FINDINGS AND IMPRESSION:`,
`PA AND LATERAL VIEWS OF THE CHEST:`; words alone on a line (`IMPRESSION`); or, where the line breaks are lost, the main headers in
capitals within a line (`Cough. FINDINGS: Clear.`). What precedes the final report (wet reads, addenda) is left out, and so are addenda behind
it. A report without any findings header has no findings: its free text is not passed off as such.
"""

import re


_KNOWN = {
    "findings": "findings",
    "finding": "findings",
    "chest findings": "findings",
    "report": "findings",
    "impression": "impression",
    "impressions": "impression",
    "imp": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "indication": "indication",
    "indications": "indication",
    "clinical indication": "indication",
    "reason": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for study": "indication",
    "reason for the exam": "indication",
    "reason for this exam": "indication",
    "reason for this examination": "indication",
    "history": "history",
    "clinical history": "history",
    "medical history": "history",
    "past medical history": "history",
    "clinical information": "history",
    "clinical data": "history",
    "patient history": "history",
    "clinical details": "history",
    "comparison": "comparison",
    "comparisons": "comparison",
    "comparison exam": "comparison",
    "comparison study": "comparison",
    "comparison studies": "comparison",
    "compared to": "comparison",
    "comparison is made to": "comparison",
    "prior studies": "comparison",
    # known, and nobody's findings
    "technique": "",
    "technical factors": "",
    "exam": "",
    "examination": "",
    "exam type": "",
    "study": "",
    "procedure": "",
    "type of examination": "",
    "date": "",
    "wet read": "",
    "recommendation": "",
    "recommendations": "",
    "recommendation(s)": "",
    "notification": "",
    "notifications": "",
    "addendum": "",
    "discussion": "",
    "references": "",
    "signed": "",
    "dictated by": "",
    "attending": "",
}
# "PA AND LATERAL VIEWS OF THE CHEST:", "CHEST, PORTABLE AP:", "FRONTAL RADIOGRAPH OF THE CHEST:" stand where FINDINGS would
_VIEW_HEADER = re.compile(
    r"^(?=.*\b(?:CHEST|THORAX)\b)(?=.*\b(?:VIEWS?|AP|PA|PORTABLE|FRONTAL|LATERAL|RADIOGRAPHS?|UPRIGHT|SUPINE|SINGLE)\b)"
    r"[A-Z0-9 ,/&().-]+$"
)
# structured findings have lines such as "LUNGS AND PLEURA:"
_ANATOMY = re.compile(
    r"\b(?:LUNGS?|PLEURAL?|HEART|CARDI\w+|MEDIASTIN\w+|HIL(?:A|AR|UM)|BON(?:ES?|Y)|OSSEOUS|SKELET\w+|SPINE|RIBS?|CHEST WALL"
    r"|SOFT TISSUES?|LINES?|TUBES?|DEVICES?|CATHETERS?|HARDWARE|AIRWAYS?|TRACHEA\w*|DIAPHRAGM\w*|ABDOM\w+|VESSELS"
    r"|VASCUL\w+|PULMONARY|PNEUMOTHORAX|EFFUSIONS?)\b"
)
_HEADER = re.compile(r"^[ \t]*([A-Za-z][A-Za-z0-9 ,/&().'-]{1,70}?)[ \t]*:[ \t]*", re.MULTILINE)
# "IMPRESSION" alone on its line, without a colon; not in capitals only behind an empty line, for "impression" may also be wrapped prose
_BARE = re.compile(
    r"^[ \t]*(FINDINGS|IMPRESSION|INDICATION|HISTORY|COMPARISON|CONCLUSION|TECHNIQUE|ADDENDUM)[ \t]*\.?[ \t]*$"
    r"|(?:\A|\n[ \t]*\n)[ \t]*(Findings|Impression|Indication|History|Comparison|Conclusion|Technique|Addendum)[ \t]*$",
    re.MULTILINE,
)
_MAIN = r"(?:FINDINGS|IMPRESSION|INDICATION|COMPARISON|TECHNIQUE|CONCLUSION|RECOMMENDATIONS?|(?:CLINICAL )?HISTORY)"
_INLINE = re.compile(rf"(?<=\S)[ \t]+({_MAIN}(?:(?: AND |[ ]?/[ ]?){_MAIN})?)[ \t]*:[ \t]*")
# In capitals, or alone on its line: "Final report was discussed with ..." is a sentence.
_FINAL = re.compile(
    r"^[ \t]*(?:FINAL (?:RADIOLOGY )?(?:REPORT|EXAMINATION)\b|(?i:FINAL (?:RADIOLOGY )?(?:REPORT|EXAMINATION))[ \t.:]*$)",
    re.MULTILINE,
)
_RULE = re.compile(r"[_=-]{6,}")
_SPACE = re.compile(r"\s+")


def report_sections(text: str) -> dict[str, str]:
    """The sections found: any of `findings`, `impression`, `indication`, `history`, `comparison`, with white space collapsed.

    A section that occurs twice is joined in order; `FINDINGS AND IMPRESSION` counts as both. De-identification marks (`___`) stay.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # the last wrapper with a report behind it: some systems write the words at the end as well
    parts = [text[match.end() :] for match in _FINAL.finditer(text)][::-1]
    text, marks = next(((part, marks) for part in [*parts, text] if _opens_any(marks := _marks(part))), (text, []))
    sections: dict[str, list[str]] = {}
    for number, (_, start, names) in enumerate(marks):
        end = marks[number + 1][0] if number + 1 < len(marks) else len(text)
        body = _SPACE.sub(" ", _RULE.sub(" ", text[start:end])).strip()
        for name in names:
            if name and body:
                sections.setdefault(name, []).append(body)
    return {name: " ".join(parts) for name, parts in sections.items()}


def _opens_any(marks: list[tuple[int, int, tuple[str, ...]]]) -> bool:
    return any(name for _, _, names in marks for name in names)


def _marks(text: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """(start, end, sections that it opens) of each header, in order."""
    marks: list[tuple[int, int, tuple[str, ...]]] = []
    for match in _HEADER.finditer(text):
        time_of_day = text[match.end() - 1] == ":" and text[match.end() : match.end() + 1].isdigit()
        names = _names(match[1], known_only=time_of_day)
        if names is not None:
            marks.append((match.start(), match.end(), names))
    covered = {position for start, end, _ in marks for position in range(start, end)}
    for match in _INLINE.finditer(text):
        names = _names(match[1], known_only=True)
        if names is not None and match.start(1) not in covered:
            marks.append((match.start(), match.end(), names))
    for match in _BARE.finditer(text):
        marks.append((match.start(), match.end(), (_KNOWN[(match[1] or match[2]).lower()],)))
    marks += [(match.start(), match.end(), ("",)) for match in _FINAL.finditer(text)]
    return sorted(marks)


def _names(header: str, known_only: bool = False) -> tuple[str, ...] | None:
    """Sections that a header opens; `("",)` for one that only ends the section before; `None` if it's no header."""
    words = _SPACE.sub(" ", header).strip(" .")
    known = _KNOWN.get(words.lower())
    if known is not None:
        return (known,)
    parts = [part.strip() for part in re.split(r"\s*(?:/|&|\band\b|,)\s*", words.lower()) if part.strip()]
    if len(parts) > 1 and all(_KNOWN.get(part) for part in parts):
        return tuple(dict.fromkeys(_KNOWN[part] for part in parts))
    if known_only:
        return None
    if _VIEW_HEADER.match(words):
        return ("findings",)
    # another line in capitals, such as "NOTE TO PHYSICIAN:", ends a section; "Lines:", "HEART:" belong to the text
    if _ANATOMY.search(words):
        return None
    return ("",) if words.isupper() and len(words) > 3 and len(words.split()) <= 6 else None
