"""The headers of radiology reports: which words open which section. Behind `report_sections.py`."""

import difflib
import re
from dataclasses import dataclass


CONTEXT = ("indication", "history", "comparison")
PRELIMINARY, ADDENDUM = "preliminary", "addendum"


@dataclass(frozen=True)
class Header:
    """What a header opens.

    Args:
        sections (`tuple[str, ...]`): the sections that follow it; none where it only ends the one before.
        kind (`str`): `"weak"` for a title that may stand for FINDINGS, `"title"` for one that stands alone, `"label"` for capitals or organs that end a clinical context and
            belong to the text of a report, `"technique"`, `"preliminary"`, `"addendum"`, `"rule"`, `"end"`, or empty.
    """

    sections: tuple[str, ...]
    kind: str = ""


_SECTION_WORDS = {
    "findings": ("findings", "finding", "findings are as follows", "report findings"),
    "impression": (
        "impression", "impressions", "imp", "conclusion", "conclusions", "opinion", "summary", "diagnosis", "radiological diagnosis",
        "assessment", "conclusion impression",
    ),
    "indication": (
        "indication", "indications", "clinical indication", "clinical indications", "reason", "clinical question", "question", "chief complaint",
        "presenting complaint", "symptoms", "signs and symptoms", "signs symptoms", "ordering diagnosis", "order reason", "exam reason",
        "study indication", "exam indication", "ind",
    ),
    "history": (
        "history", "clinical history", "medical history", "past medical history", "clinical information", "clinical info", "clinical data",
        "patient history", "clinical details", "clinical detail", "clinical", "clinical context", "clinical statement", "clinical background",
        "clinical diagnosis", "clinical problem", "clinical notes", "clinical note", "clinical summary", "clinical findings", "brief history",
        "relevant history", "pertinent history", "relevant clinical history", "relevant clinical information", "pertinent clinical history",
        "hx", "clinical hx", "hpi", "pmh", "pmhx", "history of present illness", "underlying medical condition", "medical condition",
        "admitting diagnosis", "working diagnosis", "patient clinical information", "history and physical", "interval history",
    ),
    "comparison": (
        "comparison", "comparisons", "compared to", "compared with", "prior studies", "prior study", "prior exams", "prior exam", "prior examinations",
        "prior examination", "priors", "previous studies", "previous study", "previous exams", "previous exam", "prior imaging", "previous imaging",
        "relevant prior studies", "comp", "comparative study",
    ),
}  # fmt: skip
# they may stand for FINDINGS, where nothing else does
_WEAK = (
    "report",
    "interpretation",
    "description",
    "observation",
    "observations",
    "narrative",
    "radiology report",
    "report text",
)
_PRELIMINARY = (
    "wet read", "wetread", "wet reading", "preliminary report", "preliminary read", "preliminary reading", "preliminary interpretation", "prelim",
    "preliminary", "preliminary findings", "preliminary impression", "provisional findings impression", "provisional findings", "pfi",
    "provisional impression", "prelim read", "resident read", "ed read", "ed wet read",
)  # fmt: skip
_ADDENDA = (
    "addendum",
    "addenda",
    "addendum report",
    "revised report",
    "amended report",
    "correction",
    "addendum to report",
)
_TECHNIQUE = (
    "technique", "techniques", "technical factors", "technical information", "imaging technique", "examination technique", "views", "views obtained",
    "number of views", "projection", "projections", "protocol", "procedure comments",
)  # fmt: skip
# known, and nobody's findings
_OTHER = (
    "exam", "exams", "examination", "examinations", "exam type", "study", "studies", "procedure", "procedures", "type of examination", "type of exam",
    "type of study", "study type", "date", "time", "exam date", "date of exam", "date of study", "study date", "date of examination",
    "date of service", "exam time", "recommendation", "recommendations", "recs", "follow up", "followup", "follow up recommendations", "plan",
    "notification", "notifications", "communication", "communications", "critical result", "critical results", "critical finding", "critical findings",
    "critical value", "results communication", "communication of critical results", "discussion", "references", "reference", "signed", "signature",
    "dictated by", "dictated", "dictating", "transcribed by", "transcriptionist", "attending", "attending radiologist", "attending physician", "resident",
    "radiologist", "fellow", "reading physician", "interpreting physician", "reviewed by", "read by", "reported by", "verified by", "approved by",
    "signed by", "electronically signed by", "electronically signed", "finalized by", "interpreted by", "authenticated by", "ordering physician",
    "ordering provider", "referring physician", "requesting physician", "referring provider", "patient", "patient name", "name", "mrn", "dob", "date of birth",
    "sex", "age", "gender", "accession", "accession number", "medical record number", "account number", "location", "institution", "department", "status",
    "report status", "order", "order number", "cpt", "cpt code", "icd", "icd code", "code", "codes", "billing", "disclaimer", "dose", "radiation dose",
    "contrast", "medication", "medications", "contraindications for iv contrast", "contraindications", "final report", "final examination", "cc",
    "dictation date", "transcription date", "report date", "date dictated", "date transcribed", "job", "job number", "attestation", "teaching statement",
    "physician attestation", "quality assurance", "ed notification", "note",
)  # fmt: skip

_KNOWN: dict[str, Header] = {
    **{words: Header((section,)) for section, group in _SECTION_WORDS.items() for words in group},
    **dict.fromkeys(_WEAK, Header(("findings",), "weak")),
    **dict.fromkeys(_PRELIMINARY, Header((), PRELIMINARY)),
    **dict.fromkeys(_ADDENDA, Header((), ADDENDUM)),
    **dict.fromkeys(_TECHNIQUE, Header((), "technique")),
    **dict.fromkeys(_OTHER, Header((), "end")),
}
# such words are prose too often to be a header in the middle of a line
_RARELY_INLINE = {
    "reason", "question", "symptoms", "clinical", "note", "plan", "time", "date", "name", "age", "sex", "status",
    "code", "job", "order", "dose", "study", "studies", "location", "patient", "ind", "comp", "reference", "correction",
    "contrast", "cc", "discussion", "prelim", "preliminary", "projection", "fellow", "resident", "attending", "report", "follow up",
}  # fmt: skip

_PATTERNS = [
    (re.compile(pattern), header)
    for pattern, header in (
        (r"(?:reasons?|indications?) for (?:the |this |today's |current )?(?:\w+ )?(?:exam\w*|study|x ?ray|radiograph\w*|procedure|order|referral|visit|request"
         r"|test|imaging|film|chest|cxr|consult\w*|scan|evaluation|ordering)(?: \w+)?", Header(("indication",))),
        (r"comparisons? (?:exam\w*|stud(?:y|ies)|films?|dates?|dated|radiographs?|images?|imaging|is made (?:to|with)|made (?:to|with)|with|to)(?: \w+){0,2}",
         Header(("comparison",))),
        (r"(?:prior|previous) (?:\w+ )?(?:films?|radiographs?|imaging|exams?|stud(?:y|ies)|comparisons?)(?: for comparison)?", Header(("comparison",))),
        (r"(?:chest|cxr|xray|x ray|radiographic|radiologic|radiological|imaging|final|pa and lateral|portable|frontal|overall|radiology)"
         r"(?: (?:chest|cxr|xray|x ray|radiograph|radiographic|imaging))? findings?", Header(("findings",))),
        (r"(?:chest|cxr|xray|x ray|radiographic|radiologic|radiological|imaging|final|overall|radiology|diagnostic)(?: (?:chest|xray|x ray))? (?:impressions?"
         r"|conclusions?|opinion)", Header(("impression",))),
        (r"findings? (?:chest|on chest|of the chest|in the chest|on (?:the )?(?:current|this) (?:exam\w*|study))(?: (?:x ray|xray|radiograph|film))?",
         Header(("findings",))),
        (r"note to .+|notif\w+ .+|communicat\w+ .+|discussed with.*|results? (?:were )?(?:called|communicated|discussed).*|recommend\w+ .+|critical .+"
         r"|(?:electronic(?:ally)?|digital(?:ly)?) (?:sign\w+|approv\w+|verif\w+).*|(?:dictat|transcri|sign|finali[sz]|approv|verif)\w* (?:by|on|at|date).*",
         Header((), "end")),
        (r"(?:wet read|preliminary (?:report|read\w*)|prelim) (?:version|by|from|of|on)? ?.*", Header((), PRELIMINARY)),
        (r"addend(?:um|a) .+", Header((), ADDENDUM)),
        (r"(?:job|report|document|dictation|transcription|order|accession|case|visit|encounter|patient|requisition|voice|episode|history|file) (?:id|ids|number"
         r"|num|no|code|status)", Header((), "end")),
        (r"(?:imaging|radiographic|x ray|chest|exam\w*) techniques?", Header((), "technique")),
    )
]  # fmt: skip

# "PA AND LATERAL VIEWS OF THE CHEST:", "CHEST, PORTABLE AP:", "FRONTAL RADIOGRAPH OF THE CHEST:" stand where FINDINGS would
_VIEW_TITLE = re.compile(
    r"^(?!.*\b(?:WALL|COMPARED)\b)(?=.*\b(?:CHEST|THORAX|CXR)\b)(?=.*\b(?:VIEWS?|AP|PA|PORTABLE|FRONTAL|LATERAL|LAT|RADIOGRAPHS?|RADIOGRAPHY|X-?RAYS?|FILMS?|UPRIGHT|SUPINE|SINGLE|CXR|"
    r"TWO|ONE|\d)\b)[A-Z0-9 ,/&().#_'-]+$"
)
# the words of such a title in small letters, where a sentence must not pass for one
VIEW_WORD = (
    r"(?:chest|thorax|cxr|views?|ap|pa|and|portable|frontal|lateral|lat|radiographs?|x-?rays?|films?|upright|erect|supine|semi-?upright|semi-?erect"
    r"|single|one|two|2|1|a|an|the|of|bedside)"
)
_VIEW_WORDS = re.compile(rf"{VIEW_WORD}(?:[ ,&/()-]+{VIEW_WORD})+[ )]*", re.IGNORECASE)
_ANATOMY = re.compile(
    r"\b(?:LUNGS?|PLEURAL?|HEART|CARDI\w+|MEDIASTIN\w+|HIL(?:A|AR|UM)|BON(?:ES?|Y)|OSSEOUS|SKELET\w+|SPINE|RIBS?|CHEST WALL"
    r"|SOFT TISSUES?|LINES?|TUBES?|DEVICES?|CATHETERS?|HARDWARE|AIRWAYS?|TRACHEA\w*|DIAPHRAGM\w*|ABDOM\w+|VESSELS"
    r"|VASCUL\w+|PULMONARY|PNEUMOTHORAX|EFFUSIONS?|OTHER|MISCELLANEOUS|SUPPORT|AORTA)\b",
    re.IGNORECASE,
)
_MAIN_WORDS = (
    "findings",
    "impression",
    "indication",
    "comparison",
    "conclusion",
    "history",
    "technique",
    "examination",
    "recommendation",
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|shows?|showed|suggests?|should|would|could|may|agree[sd]?)\b")
_SPACE = re.compile(r"\s+")


def _normal(words: str) -> str:
    """Small letters without marks: `FINDING(S) #2 (___)` is `findings`, `FOLLOW-UP` is `follow up`."""
    words = re.sub(r"\((e?s)\)", r"\1", words.lower())
    while words.count(")") > words.count("("):  # "(FINDINGS):"
        words = words[::-1].replace(")", "", 1)[::-1]
    words = re.sub(
        r"\(\s*[_\d/.,: #apm-]*\s*\)|#\s*\d*|_+|\b\d{1,4}(?:[/.-]\d{1,2}){1,2}(?:[/.-]\d{2,4})?\b", " ", words
    )
    words = re.sub(r"[*`\[\]=~|>]", " ", words)
    words = re.sub(r"[-–—]+", " ", words)
    return _SPACE.sub(" ", words).strip(" .,;/&+")


def find_header(words: str, exact: bool = False) -> Header | None:
    """What the words before a colon (or alone on a line) open, or `None` if they are no header.

    Args:
        words (`str`): as they stand in the report.
        exact (`bool`): take known names only; no titles, labels and misspelt words. For places where prose is likely.
    """
    name = _normal(words)
    header = _named(name) if name else None
    if header is not None:
        return None if exact and name in _RARELY_INLINE and not words.isupper() else header
    if (
        words.count("(") == 1 and words.rstrip().endswith(")") and len(name) < 80
    ):  # "HISTORY (PER CHART)", "PROVISIONAL FINDINGS IMPRESSION (PFI)"
        header = _named(_normal(words.partition("(")[0]))
        if header is not None:
            return header
    if exact:
        return None
    capitals = words.isupper()
    if capitals:
        head, separator, rest = words.partition(",") if "," in words else words.partition(" - ")
        header = _named(_normal(head)) if separator and len(rest.split()) <= 5 else None
        if header is not None and header.kind != "weak":
            return header
    if capitals and (header := _behind_title(words)) is not None:
        return header
    if is_view_title(words):
        return Header(("findings",), "weak")
    if capitals and " " not in name and len(name) >= 6:
        swapped = [word for word in _MAIN_WORDS if word[0] == name[0] and sorted(word) == sorted(name)]  # "HISTROY"
        close = swapped or difflib.get_close_matches(name, _MAIN_WORDS, n=1, cutoff=0.86)
        if close and not _ANATOMY.search(words):
            return _named(close[0])
    return Header((), "label") if is_label(words + ":") else None


def is_view_title(words: str) -> bool:
    """Whether words name the views of an examination and nothing else: `PA AND LATERAL VIEWS OF THE CHEST`, `Portable chest radiograph`."""
    words = _SPACE.sub(" ", words).strip(" .*_")
    if not words.isupper():
        return _VIEW_WORDS.fullmatch(words) is not None and _VIEW_TITLE.match(words.upper()) is not None
    return _VIEW_TITLE.match(words) is not None and _behind_title(words) is None


def _behind_title(words: str) -> Header | None:
    """The header that a title runs into where line breaks are lost: `CHEST RADIOGRAPH COMPARISON`."""
    parts = words.split()
    for start in range(1, min(len(parts), 15)):
        head = " ".join(parts[:start])
        if parts[start] != "COMPARED" and re.search(
            r"\b(?:CHEST|THORAX|CXR|X-?RAYS?|RADIOGRAPHS?|REPORT)\b(?! WALL)", head
        ):
            name = _normal(" ".join(parts[start:]))
            header = None if name in _RARELY_INLINE else _named(name)
            if header is not None and header.sections and not header.kind:
                return header
    return None


def has_anatomy(words: str) -> bool:
    """Whether words name an organ or a device, as the labels within findings do."""
    return _ANATOMY.search(words) is not None


def is_label(line: str) -> bool:
    """Whether a line begins with a label as structured reports have them: `OTHER: none`, `Lungs and pleura: clear`."""
    words, colon, body = line.partition(":")
    words = words.strip()
    if (
        not colon
        or body[:1].isdigit()
        or not words
        or len(words) > 70
        or not words[0].isalpha()
        or len(words.split()) > 8
    ):
        return False
    if words.isupper():
        return len(words) > 2
    return words[0].isupper() and len(words.split()) <= 5 and _ANATOMY.search(words) is not None


def _named(name: str) -> Header | None:
    """The header of normalised words, alone or joined by "and", "/", "," or a blank."""
    if name in _KNOWN:
        return _KNOWN[name]
    parts = [part.strip() for part in re.split(r"\s*(?:/|&|\+|\band\b|\bor\b|,)\s*", name) if part.strip()]
    if (
        len(parts) == 1
        and len(words := name.split()) == 2
        and all(word in _KNOWN and _KNOWN[word].sections and not _KNOWN[word].kind for word in words)
    ):
        parts = words  # "FINDINGS IMPRESSION"
    if len(parts) > 1:
        found = [_KNOWN.get(part) or _by_pattern(part) for part in parts]
        headers = [header for header in found if header is not None]
        if len(headers) == len(found):
            sections = tuple(dict.fromkeys(section for header in headers for section in header.sections))
            kind = "" if sections else headers[0].kind
            if any(header.kind in (PRELIMINARY, ADDENDUM) for header in headers):
                return next(header for header in headers if header.kind in (PRELIMINARY, ADDENDUM))
            return Header(sections, kind)
    return _by_pattern(name)


def _by_pattern(name: str) -> Header | None:
    header = next((header for pattern, header in _PATTERNS if pattern.fullmatch(name)), None)
    if header is not None and name.startswith(("wet", "prelim", "addend", "recommend")) and _VERB.search(name):
        return None  # "Wet read was concordant."
    return header
