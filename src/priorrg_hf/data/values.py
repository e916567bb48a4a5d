"""One form for each kind of value, whatever the source wrote: ids, views, dates, placeholders of texts. All readers use these.

What was changed on the way is counted (`Changes`), so that `priorrg data check` can say it.
"""

import math
import re
from collections import Counter
from datetime import datetime
from typing import Any


DATE_ORDERS = ("day-first", "month-first")


class Changes(Counter):
    """What the normalisation of a source changed: (kind, as it stood, as it is read) -> how often."""

    _TITLES = {
        "view": "views are read in one spelling",
        "id": "ids are read as whole numbers",
        "path": "backslashes in image paths are read as slashes",
        "placeholder": "texts that stand for no report are left out",
    }
    _NAMED = 6

    def note(self, kind: str, before: Any, after: Any) -> None:
        """Counts a change; of ids and paths only how many there were, with the first as an example."""
        if kind in ("id", "path"):
            key = next((key for key in self if key[0] == kind), (kind, str(before), str(after)))
        else:
            key = (kind, str(before), str(after))
        self[key] += 1

    def lines(self) -> list[str]:
        """One sentence for each kind that occurred."""
        result = []
        for kind, title in self._TITLES.items():
            found = [(before, after, count) for (name, before, after), count in self.most_common() if name == kind]
            named = [f"{before!r} as {after!r} ({count:,})" for before, after, count in found[: self._NAMED]]
            more = f" and {len(found) - self._NAMED} more" if len(found) > self._NAMED else ""
            if found:
                result.append(f"{title}: {', '.join(named)}{more}")
        return result


def is_missing(value: Any) -> bool:
    """`None` and the not-a-number of table libraries."""
    return value is None or (isinstance(value, float) and math.isnan(value))


# --- ids ----------------------------------------------------------------------------------------------------------------

_DECIMAL_ID = re.compile(r"([+-]?\d+)\.0+")
_SCIENTIFIC_ID = re.compile(r"\d\.\d+[eE]\+?\d{1,2}")


def normalize_id(value: Any, changes: Changes | None = None) -> str | None:
    """An id as text. A table library that met an empty cell turns whole numbers into floats: `126.0`, also as text, is `126`.

    Leading zeros stay: `007` and `7` may be two patients. `None` for an empty value.
    """
    if is_missing(value):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if (match := _DECIMAL_ID.fullmatch(text)) is not None:
        text = match[1]
    elif _SCIENTIFIC_ID.fullmatch(text) and float(text).is_integer():
        text = str(int(float(text)))
    if changes is not None and text and text != str(value).strip():
        changes.note("id", value, text)
    return text or None


# --- views --------------------------------------------------------------------------------------------------------------

# Codes of the DICOM view sequence (CID 4010), as SNOMED CT and SNOMED RT numbers.
_VIEW_CODES = {
    "399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-40888": "PA", "R-10214": "PA", "399173006": "LL", "R-10236": "LL", "399198007": "RL",
    "R-10232": "RL", "399067008": "LATERAL", "R-102CD": "LATERAL", "399033003": "FRONTAL", "R-10202": "FRONTAL", "399135007": "LAO", "R-10220": "LAO",
    "399356000": "RAO", "R-40985": "RAO", "399006002": "LPO", "R-10212": "LPO", "399038007": "RPO", "R-10210": "RPO",
}  # fmt: skip
_NO_VIEW = {
    "",
    "UNK",
    "UNKNOWN",
    "NONE",
    "NAN",
    "NULL",
    "NA",
    "N A",
    "OTHER",
    "UNSPECIFIED",
    "UNDEFINED",
    "NOT SPECIFIED",
    "MISSING",
}
# in this order: the longer phrase first
_VIEW_PHRASES = [
    (re.compile(rf"\b{pattern}\b"), name)
    for pattern, name in (
        ("LEFT LATERAL DECUB(?:ITUS)?|LT LAT(?:ERAL)? DECUB(?:ITUS)?", "LLD"), ("RIGHT LATERAL DECUB(?:ITUS)?|RT LAT(?:ERAL)? DECUB(?:ITUS)?", "RLD"),
        ("LEFT ANTERIOR OBLIQUE", "LAO"), ("RIGHT ANTERIOR OBLIQUE", "RAO"), ("LEFT POSTERIOR OBLIQUE", "LPO"), ("RIGHT POSTERIOR OBLIQUE", "RPO"),
        ("LEFT LATERAL OBLIQUE", "LLO"), ("RIGHT LATERAL OBLIQUE", "RLO"), ("(?:CROSS|X) TABLE|CROSSTABLE|XTABLE", "XTABLE"), ("ANTERO ?POSTERIOR", "AP"),
        ("POSTERO ?ANTERIOR", "PA"), ("A P", "AP"), ("P A", "PA"), ("SWIMMER S|SWIMMERS?", "SWIMMERS"), ("LEFT LAT(?:ERAL)?|LT LAT(?:ERAL)?|L LAT(?:ERAL)?", "LL"),
        ("RIGHT LAT(?:ERAL)?|RT LAT(?:ERAL)?|R LAT(?:ERAL)?", "RL"), ("LAT", "LATERAL"), ("DECUB", "DECUBITUS"), ("OBL", "OBLIQUE"), ("FRONT", "FRONTAL"),
    )
]  # fmt: skip
# they say nothing about the projection
_VIEW_FILLERS = {
    "CHEST",
    "THORAX",
    "CXR",
    "VIEW",
    "VIEWS",
    "PROJECTION",
    "XR",
    "XRAY",
    "RADIOGRAPH",
    "FILM",
    "IMAGE",
    "POSITION",
    "PROJ",
}
_PROJECTIONS = (
    "AP",
    "PA",
    "XTABLE",
    "SWIMMERS",
    "LL",
    "RL",
    "LATERAL",
    "LAO",
    "RAO",
    "LPO",
    "RPO",
    "LLO",
    "RLO",
    "OBLIQUE",
    "FRONTAL",
)


def normalize_view(view: Any, changes: Changes | None = None) -> str | None:
    """One spelling of a view position: capitals, blanks between words, the projection first, in the words of DICOM and MIMIC-CXR.

    `pa`, `P.A.`, `Postero-anterior`, `PA view`, `272479007` are `"PA"`; `Lateral`, `LAT` are `"LATERAL"`, `Left lateral` is `"LL"`;
    `AP_SUPINE`, `supine AP` are `"AP SUPINE"`. A word that nobody knows stays, in capitals. `None` for an empty or unknown view.
    """
    if is_missing(view):
        return None
    before = str(view).strip()
    name = _VIEW_CODES.get(before.upper().removesuffix(".0"))
    if name is None:
        text = " ".join(re.sub(r"[^\w]+|_+", " ", before.upper()).split())
        if text in _NO_VIEW:
            return None
        for pattern, replacement in _VIEW_PHRASES:
            text = pattern.sub(replacement, text)
        words = [word for word in dict.fromkeys(text.split()) if word not in _VIEW_FILLERS]
        words.sort(key=lambda word: _PROJECTIONS.index(word) if word in _PROJECTIONS else len(_PROJECTIONS))
        name = " ".join(words) or None
    if changes is not None and name is not None and name != before:
        changes.note("view", before, name)
    return name


# --- dates --------------------------------------------------------------------------------------------------------------

_NUMBERS_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T,]+(\S.*))?")
_WORDS_DATE = re.compile(
    r"(?:(\d{1,2})[ .-]+([A-Za-z]{3,9})\.?|([A-Za-z]{3,9})\.?[ ]+(\d{1,2}),?)[ ,-]+(\d{4})(?:[ T,]+(\S.*))?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?[ ]?([AaPp])?\.?(?:[Mm]\.?)?")


def parse_time(value: str) -> tuple[float, float]:
    """The interval `(start, end)` in seconds that an ISO 8601 text stands for; `start == end` for a date with a time.

    A bare date stands for the whole day, so that nothing on the same day counts as earlier than it. A time zone is converted to
    UTC; a text without one is taken as it stands. Raises `ValueError`.
    """
    text = value.strip()
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    offset = moment.utcoffset()
    seconds = (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    if offset is not None:
        seconds -= offset.total_seconds()
    return (seconds, seconds + 86400.0) if len(text) <= 10 else (seconds, seconds)


def normalize_time(value: Any, date_order: str | None = None) -> str | None:
    """ISO text of a date or time.

    Args:
        value: ISO text, `datetime`/`date`, `YYYYMMDD` or `YYYYMMDDHHMMSS[.f]`, a date with the month as an English word, or
            `03/04/2021` if `date_order` says what that means. `00000000` and `0000-00-00` are unknown, as an empty value.
        date_order (`str`, *optional*): `"day-first"` or `"month-first"`. Never guessed, not even for `25/03/2021`.

    Raises:
        `ValueError`: no such day or time, another form, or a date of two meanings without `date_order`.
    """
    if date_order is not None and date_order not in DATE_ORDERS:
        raise ValueError(f"date_order is one of {', '.join(DATE_ORDERS)}, got {date_order!r}")
    if is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return None if text in ("NaT", "nan") else text
    text = str(value).strip()
    if (
        not text
        or text.lower() in ("nan", "nat", "none", "null", "<na>")
        or re.fullmatch(r"0{8}(?:0{6})?|0{4}([-/])0{2}\1?0{2}", text)
    ):
        return None
    try:
        text = _iso_text(text, date_order)
        parse_time(text)
    except ValueError as error:
        hint = f" ({error})" if "date_order" in str(error) else ""
        raise ValueError(f"{value!r} is not an ISO 8601 date or date-time{hint}") from None
    return text


def _iso_text(text: str, date_order: str | None) -> str:
    digits, _, fraction = text.partition(".")
    if digits.isdigit() and len(digits) in (8, 12, 14):
        iso = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
        if len(digits) > 8:
            iso += f"T{digits[8:10]}:{digits[10:12]}:{digits[12:14] or '00'}"
            iso += f".{fraction[:6]:0<6}" if fraction.isdigit() and fraction.strip("0") else ""
        return iso
    if (match := _NUMBERS_DATE.fullmatch(text)) is not None:
        if date_order is None:
            raise ValueError('day or month first? Say date_order="day-first" or "month-first", --date-order')
        first, second, year, clock = match.groups()
        day, month = (first, second) if date_order == "day-first" else (second, first)
        return f"{year}-{int(month):02}-{int(day):02}" + _iso_clock(clock)
    if (match := _WORDS_DATE.fullmatch(text)) is not None:
        word = (match[2] or match[3]).lower()
        month = next((number for number, name in enumerate(_MONTHS, 1) if word.startswith(name)), 0)
        return f"{match[5]}-{month:02}-{int(match[1] or match[4]):02}" + _iso_clock(match[6])
    return text.replace("/", "-") if text[4:5] == "/" else text


def _iso_clock(text: str | None) -> str:
    if text is None:
        return ""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time of day")
    hour, half = int(match[1]), (match[5] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(f"{text!r} is no time of day")
    hour = hour % 12 + (12 if half == "p" else 0) if half else hour
    return f"T{hour:02}:{match[2]}:{match[3] or '00'}" + (f".{match[4]:0<6}" if (match[4] or "").strip("0") else "")


# --- texts --------------------------------------------------------------------------------------------------------------

_MASKS = re.compile(r"\b[xX]{2,}\b|_+|\[[^\]]{0,40}\*\*[^\]]{0,80}\]|\*+|<unk>|\[deleted\]", re.IGNORECASE)
_PLACEHOLDERS = {
    "", "n a", "na", "none", "nan", "nil", "null", "not available", "not applicable", "unavailable", "no report", "no report available", "not reported",
    "unknown", "empty", "missing", "no findings available", "report not available", "tbd", "pending", "see report", "see impression", "as above", "see above",
    "no text", "no data", "deleted", "redacted", "findings", "not given", "no findings section", "none given", "not provided",
}  # fmt: skip


def is_placeholder(text: str | None) -> bool:
    """Whether a text is no report: empty, without a letter, masked as a whole (`___`, `XXXX.`), or a word such as `N/A`, `nan`."""
    if text is None:
        return True
    words = re.sub(r"[^\w]+|_", " ", _MASKS.sub(" ", text)).lower().split()
    return not any(character.isalpha() for word in words for character in word) or " ".join(words) in _PLACEHOLDERS
