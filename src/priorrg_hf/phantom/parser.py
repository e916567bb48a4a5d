"""Reads structured facts back from any report text, by rules: no model, no download, the same answer everywhere.

The text is cut into sentences and clauses. In a clause, every mention of a finding takes the side, severity, change, hedge and
negation that apply to it; a cause ("due to heart failure", "likely pneumonia") belongs to the mention before it. The parser is exact on the phantom
grammar and handles ordinary radiology prose: negated lists, "bilateral", both sides in one sentence, "no longer seen", "no change
in", hedges, "pneumonia" as a finding of its own. It is no substitute for a clinical labeller on real reports.
"""

import re
from dataclasses import dataclass, replace

from .facts import CAUSES, FINDINGS, SIDES, Facts, FindingFact, site_of


def _words(*alternatives: str) -> re.Pattern:
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")\b")


_MENTIONS = {
    "cardiomegaly": (
        r"cardiomegaly",
        r"(?:enlarge(?:d|ment)(?: of)?(?: the)?|big(?:ger)?|prominent) (?:heart|cardiac silhouette|cardiomediastinal silhouette|cardiac size)",
        r"(?:heart|cardiac silhouette|cardiac size|heart size)(?: size)?(?: is| remains| appears)?(?: again| still)?"
        r"(?: minimally| mildly| moderately| severely| markedly| borderline)? ?(?:enlarged|big)",
        r"cardiac enlargement",
    ),
    "effusion": (r"(?:pleural )?effusions?", r"pleural fluid", r"hydrothora(?:x|ces)"),
    "consolidation": (
        r"(?:airspace |air space |lung |parenchymal |patchy |focal )?(?:consolidations?|consolidative change|opacit(?:y|ies)|opacifications?|infiltrates?)",
        r"airspace disease",
        r"pneumonia",
        r"pulmonary contusions?",
    ),
    "atelectasis": (r"atelectas[ie]s", r"atelectatic (?:change|band)s?", r"plate-?like (?:opacit(?:y|ies)|bands?)"),
    "edema": (r"(?:pulmonary |interstitial |alveolar )?o?edema", r"(?:pulmonary )?vascular congestion"),
    "pneumothorax": (r"(?:hydro)?pneumothora(?:x|ces)", r"ptx"),
}
_MENTION = re.compile(
    r"\b(?:" + "|".join(f"(?P<{name}>{'|'.join(forms)})" for name, forms in _MENTIONS.items()) + r")(?![\w-])"
)
# Said of an organ as a whole, these deny findings.
_NORMAL = (
    (
        _words(
            r"(?:heart|cardiac silhouette|cardiac size|cardiomediastinal silhouette)(?: size)?(?: and [a-z ]+?)? (?:is|are|appears|remains)"
            r"(?: within normal limits| normal| not enlarged| unremarkable)",
            r"normal (?:heart|cardiac) (?:size|silhouette)",
        ),
        ("cardiomegaly",),
    ),
    (
        _words(r"lungs (?:are|appear|remain)(?: well expanded and)?(?: otherwise)? clear", r"clear lungs"),
        ("consolidation", "atelectasis", "edema"),
    ),
)

_SEVERITY = (
    ("minimal", _words("minimal(?:ly)?", "tiny", "trace", "subtle", "borderline", "slight(?:ly)?", "minute")),
    ("mild", _words("mild(?:ly)?", "small", "minor")),
    ("moderate", _words("moderate(?:ly)?(?:[ -]sized)?", "medium(?:[ -]sized)?")),
    ("severe", _words("severe(?:ly)?", "marked(?:ly)?", "large", "extensive", "massive", "gross(?:ly)?", "dense")),
)

_CHANGE = (
    ("resolved", _words(r"resolution of", r"(?:has|have|had) (?:now |completely |since )?(?:resolved|cleared)", "resolved",
                        r"no longer (?:seen|visible|present|identified|evident|apparent)", r"disappeared", "clearing of")),
    ("unchanged", _words("unchanged", "stable", "SAMECHANGE", r"similar to (?:the )?(?:prior|previous)\w*", "persist(?:s|ent|ing)?",
                         r"(?:again|still) (?:seen|noted)", "constant", "as before")),
    ("worsened", _words("worsen(?:ed|ing)", "worse", "increas(?:ed|ing|es?)", "progress(?:ed|ing|ion)", "larger", "enlarging", "greater than before",
                        "more (?:extensive|severe|prominent|pronounced)", "grown")),
    ("improved", _words("improv(?:ed|ing|ement)", "decreas(?:ed|ing|es?)", "smaller", "better", "diminish(?:ed|ing)", "less (?:extensive|severe|prominent|pronounced)",
                        "regress(?:ed|ing|ion)", "partial(?:ly)? resol(?:ved|ution)", "reduc(?:ed|tion)", "receded")),
    ("new", _words("new", "newly", "(?:interval )?development of", "(?:has|have) (?:now )?(?:developed|appeared)", "developing", "interval appearance")),
)  # fmt: skip

_NOT_NEGATION = (
    # Negated changes: "no significant change in", "has not changed", "without interval change", "no increase in".
    (
        re.compile(
            r"\b(?:no|without|not?)(?: (?:any|significant(?:ly)?|definite|appreciable|substantial(?:ly)?|relevant|interval|further|much|other))* "
            r"(?:change[ds]?|increased?|decreased?|worsen(?:ing|ed)|improve(?:ment|d)|progress(?:ion|ed))\b"
        ),
        " SAMECHANGE ",
    ),
)
_NEGATION = _words(
    "no", "without", "not", "negative for", "free of", "absence of", "absent", "denies", "ruled out", "neither", "nor", "resolved without",
)  # fmt: skip
_NEGATED_AFTER = re.compile(
    r"^[\w ]{0,30}?\b(?:(?:is|are|was|were) (?:absent|excluded|ruled out|not (?:seen|present|identified|evident|visible|detected))"
    r"|(?:has|have) been (?:excluded|ruled out)|not (?:seen|identified|present|evident))\b"
)
_HEDGE = _words(
    "possible", "possibly", "may", "might", "could", "questionable", "equivocal", "suspected", "cannot be excluded", "can not be excluded",
    "cannot be ruled out", "cannot exclude", "not excluded", "uncertain", "versus", "vs", "query", "suspicious for", "perhaps",
)  # fmt: skip
_HEDGED_NEGATION = re.compile(
    r"\b(?:cannot|can not|can't|not)(?: be)?(?: entirely| completely| definitely)? (?:excluded?|ruled? out)\b"
)
# What begins a statement of its own after a comma, so that a negation before it ends.
_AFFIRMS = re.compile(
    r"^\s*(?:(?:but|however|although|though|while|whereas|and|with|there (?:is|are)|a|an|the) )*"
    r"(?:new|stable|unchanged|worsening|improving|increas\w+|decreas\w+|minimal|tiny|trace|subtle|mild|small|moderate|severe|large|extensive|marked"
    r"|persistent|there (?:is|are)|but|however|although|though|while|whereas|heart|cardiac|lungs?)\b"
)

_CAUSE_LEAD = (
    r"(?:(?:most |very )?(?:likely|probably)(?: (?:due|secondary|related) to| from| representing| reflecting)?"
    r"|(?:due|secondary|related|attributable) to|consistent with|compatible with|in keeping with|representing|reflecting|suggest(?:ing|ive of)"
    r"|concerning for|after|because of|from|caused by|indicating|which (?:likely )?represents?)"
)
_CAUSE_TERMS = {
    "pneumonia": r"pneumonia|infection|an infectious process",
    "atelectasis": r"(?:post-?operative )?atelectasis|volume loss",
    "contusion": r"(?:pulmonary |lung )?contusions?",
    "heart_failure": r"(?:congestive |left |cardiac )?heart failure|cardiogenic|cardiac (?:failure|decompensation)|chf",
    "fluid_overload": r"(?:fluid|volume) overload|renal failure|kidney (?:failure|disease)",
    "malignancy": r"malignan(?:cy|t)|cancer|lymphangitic spread|metasta(?:sis|ses|tic disease)|tumou?r",
    "procedure": r"(?:recent |the )?thoracentesis|procedure related|procedure-related|the procedure|iatrogenic",
    "emphysema": r"(?:a )?ruptured (?:bulla|bleb)|(?:bullous )?emphysema",
}
_CAUSE = re.compile(
    rf"\b{_CAUSE_LEAD} (?:the |a |an |underlying |known )?(?:"
    + "|".join(f"(?P<{name}>{terms})" for name, terms in _CAUSE_TERMS.items())
    + r")\b"
)

_LEFT, _RIGHT = re.compile(r"\bleft\b|\bleft-sided\b"), re.compile(r"\bright\b|\bright-sided\b")
_SIDE = re.compile(
    r"\b(?P<both>bilateral(?:ly)?|both|bibasilar|bibasal|biapical)\b|\b(?P<left>left)\b|\b(?P<right>right)\b"
)
_SIDE_NOISE = re.compile(
    r"\b(?:right|left) (?:atri(?:um|al)|ventric\w+|main(?:stem)? bronchus|heart border|internal jugular|subclavian|ij|picc|upper extremity|hip|ribs?)"
    r"(?: and ventricle)?\b"
)

_DEVICE_NAMES = {
    "endotracheal_tube": _words("endotracheal tube", "et tube", "ett", "endotracheal tubes?"),
    "central_line": _words(
        r"central (?:venous )?(?:line|catheter)", r"(?:internal jugular|ij|subclavian|picc|port-?a-?cath)(?: venous)?(?: line| catheter)?", "cvc", "picc"
    ),
    "pacemaker": _words("pacemaker", "pacer", "pacing device", "cardiac device", "aicd", "icd"),
}  # fmt: skip
_DEVICE_POSITIONS = {
    "endotracheal_tube": (
        ("low", _words("low", "right main(?:stem)? bronchus", "at the carina", "into the right")),
        ("high", _words("high", "thoracic inlet", "above the clavicles")),
        ("appropriate", _words("appropriate", "satisfactory", "good position", "standard position", "well above the carina", "above the carina")),
    ),
    "central_line": (
        ("right_atrium", _words("right atrium", "cavoatrial junction")),
        ("brachiocephalic_vein", _words("brachiocephalic(?: vein)?", "innominate vein")),
        ("superior_vena_cava", _words("superior vena cava", "svc")),
    ),
    "pacemaker": (
        ("right_atrium_and_ventricle", _words("right atrium and (?:right )?ventricle", "dual[ -](?:chamber|lead)", "two leads", "right atrial and (?:right )?ventricular")),
        ("right_ventricle", _words("right ventric(?:le|ular)", "single[ -](?:chamber|lead)")),
    ),
}  # fmt: skip
_DEVICE_REMOVED = _words("removed", "removal of", "no", "without", "has been (?:taken out|extubated)")

_COMPARISON = _words(
    "unchanged", "stable", "new", "newly", "worsen(?:ed|ing)", "worse", "increas(?:ed|ing)", "decreas(?:ed|ing)", "improv(?:ed|ing|ement)",
    "resolved", "resolution", "interval", "prior", "previous(?:ly)?", "compar(?:ed|ison)", "no longer", "again seen", "persist(?:s|ent|ing)?",
    "progress(?:ed|ing|ion)", "larger", "smaller", "since the", "development of", "than before", "as before", "SAMECHANGE",
)  # fmt: skip


@dataclass
class _Mention:
    finding: str
    start: int
    end: int
    sides: tuple[str | None, ...] = ()
    fact: FindingFact = FindingFact("present")


def has_comparison(text: str) -> bool:
    """Whether a text compares with an earlier examination anywhere."""
    return _COMPARISON.search(_prepare(text)) is not None


def parse_report(text: str | None) -> Facts:
    """The facts that a report states.

    Args:
        text (`str`, *optional*): the findings section, in English, in any order. `None` counts as empty.

    Returns:
        [`Facts`]: sites that the text negates have status `"absent"`, hedged ones `"uncertain"`; a sided finding that is
        mentioned without a side is taken as bilateral. Where a text contradicts itself, what is present outweighs what is absent.
    """
    findings: dict[str, FindingFact] = {}
    devices: dict[str, str | None] = {}
    last: list[str] = []
    for sentence in _sentences(text or ""):
        for pattern, denied in _NORMAL:
            if pattern.search(sentence):
                _merge(findings, [(finding, (None,), FindingFact("absent")) for finding in denied])
        _read_devices(sentence, devices)
        mentions = _read_sentence(_SIDE_NOISE.sub(_blank, sentence))
        if mentions:
            last = _merge(findings, [(m.finding, m.sides, m.fact) for m in mentions])
        elif re.match(r"(?:it|they|this|these|those|both) ", sentence):
            _continue(sentence, findings, last)
    return Facts(findings, devices)


def _prepare(text: str) -> str:
    text = " ".join(text.lower().split())
    text = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    for pattern, replacement in _NOT_NEGATION:
        text = pattern.sub(replacement, text)
    return text


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[.;:!?]+(?:\s|$)|\n", _prepare(text)) if part.strip()]


def _blank(match: re.Match) -> str:
    return " " * len(match.group())


def _take_causes(sentence: str) -> tuple[str, list[tuple[int, str]]]:
    """Blanks the phrases that name a cause, so that their words are no mentions, and returns them with their places.

    A phrase is a cause only behind a finding that it can explain; "consistent with pneumonia" at the start of a sentence is not.
    """
    causes: list[tuple[int, str]] = []
    for match in _CAUSE.finditer(sentence):
        cause = match.lastgroup or ""  # every alternative of both patterns has a name
        before = list(_MENTION.finditer(sentence[: match.start()]))
        if any(cause in CAUSES.get(m.lastgroup or "", ()) for m in before):
            causes.append((match.start(), cause))
            sentence = sentence[: match.start()] + _blank(match) + sentence[match.end() :]
    return sentence, causes


def _read_sentence(sentence: str) -> list[_Mention]:
    sentence, causes = _take_causes(sentence)
    mentions = [_Mention(m.lastgroup or "", m.start(), m.end()) for m in _MENTION.finditer(sentence)]
    for number, mention in enumerate(mentions):
        mention.sides = _sides_of(sentence, mentions, number)
        mention.fact = _fact_of(sentence, mentions, number)
    for place, cause in causes:
        fitting = [
            m for m in mentions if m.end <= place and cause in CAUSES.get(m.finding, ()) and m.fact.status != "absent"
        ]
        for mention in fitting[-1:]:
            mention.fact = replace(mention.fact, cause=cause)
    for mention in mentions:
        # Findings that name their own cause.
        word = sentence[mention.start : mention.end]
        own = "pneumonia" if word == "pneumonia" else "contusion" if "contusion" in word else None
        if own and mention.fact.status == "present" and mention.fact.cause is None:
            mention.fact = replace(mention.fact, cause=own)
    return mentions


def _sides_of(sentence: str, mentions: list[_Mention], number: int) -> tuple[str | None, ...]:
    mention = mentions[number]
    if not FINDINGS[mention.finding]:
        return (None,)
    floor = mentions[number - 1].end if number else 0
    ceiling = mentions[number + 1].start if number + 1 < len(mentions) else len(sentence)
    before = list(_SIDE.finditer(sentence[floor : mention.start]))
    if before:
        if len(before) > 1 and re.fullmatch(
            r"(?:-sided)? (?:and|or) ", sentence[floor + before[-2].end() : floor + before[-1].start()]
        ):
            return SIDES
        return SIDES if before[-1].group("both") else (before[-1].lastgroup,)
    after = _SIDE.search(sentence[mention.end : ceiling])
    # "effusion on the right", but not "effusion and right pneumothorax", whose side belongs to what follows.
    if after and not re.search(r",|\b(?:and|or|with)\b", sentence[mention.end : mention.end + after.start()]):
        return SIDES if after.group("both") else (after.lastgroup,)
    if number and mentions[number - 1].sides != (None,):
        return mentions[number - 1].sides
    anywhere = list(_SIDE.finditer(sentence[: mention.start]))
    if anywhere:
        return SIDES if anywhere[-1].group("both") else (anywhere[-1].lastgroup,)
    return SIDES


def _is_negated(sentence: str, mentions: list[_Mention], number: int) -> bool:
    mention = mentions[number]
    ceiling = mentions[number + 1].start if number + 1 < len(mentions) else len(sentence)
    if _NEGATED_AFTER.search(sentence[mention.end : ceiling]):
        return True
    negations = list(_NEGATION.finditer(_HEDGED_NEGATION.sub(_blank, sentence)[: mention.start]))
    if not negations:
        return False
    between = sentence[negations[-1].end() : mention.start]
    # A negation governs the list that follows it and ends where something is affirmed.
    if re.search(r"\b(?:but|however|although|though|while|whereas|except|there (?:is|are))\b", between):
        return False
    return not any(_AFFIRMS.match(part) for part in between.split(",")[1:])


def _clause(sentence: str, mentions: list[_Mention], number: int) -> tuple[str, str]:
    """What stands before a mention and behind it, as far as it can be said of this mention."""
    mention = mentions[number]
    before = sentence[mentions[number - 1].end if number else 0 : mention.start]
    after = sentence[mention.end : mentions[number + 1].start if number + 1 < len(mentions) else len(sentence)]
    if number + 1 < len(mentions):
        # Words in front of the next mention are that one's, unless a verb or a comma says otherwise.
        cut = re.search(r"\b(?:and|or|with|but|while)\b|,", after)
        after = after[: cut.start()] if cut else after
    if number:
        cut = re.search(r"\b(?:and|or|with|but|while)\b|,", before)
        before = before[cut.end() :] if cut else ""
    return before, after


def _fact_of(sentence: str, mentions: list[_Mention], number: int) -> FindingFact:
    before, after = _clause(sentence, mentions, number)
    mention = mentions[number]
    own = sentence[mention.start : mention.end]
    change = _change_of(before, after)
    if change is None and number + 1 < len(mentions):
        change = _shared_change(sentence, mentions, number)
    if (
        change is None
        and number
        and re.fullmatch(r"[\s,]*(?:and|or)?[\s\w,-]*", sentence[mentions[number - 1].end : mention.start])
    ):
        # "Unchanged effusion and consolidation": said of the first, meant for both, unless the second has its own words.
        earlier = mentions[number - 1].fact
        joined = re.fullmatch(
            r",? (?:and|or) (?:(?:left|right|bilateral) )?", sentence[mentions[number - 1].end : mention.start]
        )
        if joined and earlier is not None and earlier.status == "present":
            change = earlier.change
    if change == "resolved":
        return FindingFact("absent", change="resolved")
    if _is_negated(sentence, mentions, number):
        return FindingFact("absent")
    hedged = _HEDGE.search(_clause_text(sentence, mentions, number)) or _HEDGED_NEGATION.search(after)
    severity = _severity_of(before, own, after)
    if hedged:
        return FindingFact("uncertain", severity, change)
    return FindingFact("present", severity, change)


def _clause_text(sentence: str, mentions: list[_Mention], number: int) -> str:
    start = sentence.rfind(",", 0, mentions[number].start) + 1
    end = sentence.find(",", mentions[number].end)
    return sentence[start : len(sentence) if end < 0 else end]


def _change_of(before: str, after: str) -> str | None:
    """The change in the words around a mention; the nearer wins, and `resolved` outweighs the words it comes with."""
    found = []
    for rank, (change, pattern) in enumerate(_CHANGE):
        for text, offset in ((before, 0), (after, 1)):
            for match in pattern.finditer(text):
                distance = len(text) - match.end() if offset == 0 else match.start()
                if re.search(r"(?:partial(?:ly)?|not) $", text[: match.start()]) and change == "resolved":
                    continue
                if change == "new" and re.search(r"\b(?:no|without)(?: \w+)? $", text[: match.start()]):
                    continue  # "no new consolidation" denies, it does not compare
                found.append((change != "resolved", distance, rank, change))
    return min(found)[3] if found else None


def _shared_change(sentence: str, mentions: list[_Mention], number: int) -> str | None:
    """ "The effusion and the consolidation have worsened": the verb behind the last of joined mentions is said of each."""
    last = number
    while last + 1 < len(mentions) and re.fullmatch(
        r"(?:,| and|, and)(?: (?:the|a|an|left|right|bilateral|small|mild|moderate|large|severe|minimal|tiny|extensive|marked|subtle))* ",
        sentence[mentions[last].end : mentions[last + 1].start],
    ):
        last += 1
    if last == number:
        return None
    after = _clause(sentence, mentions, last)[1]
    return _change_of("", after) if re.match(r"\s*(?:have|are|remain)\b", after) else None


def _severity_of(before: str, own: str, after: str) -> str | None:
    found = []
    for severity, pattern in _SEVERITY:
        found += [(len(before) - m.end(), severity) for m in pattern.finditer(before)]
        found += [(0, severity) for m in pattern.finditer(own)]
    if not found:
        for severity, pattern in _SEVERITY:
            # Behind the mention only as its own predicate: "the effusion is small".
            match = re.match(rf"\s*(?:is|are|remains?|appears?) (?:\w+ )?(?:{pattern.pattern})", after)
            if match:
                found.append((match.end(), severity))
    return min(found)[1] if found else None


def _merge(findings: dict[str, FindingFact], said: list[tuple[str, tuple[str | None, ...], FindingFact]]) -> list[str]:
    """Adds facts; returns the sites they are about. An affirmed fact outweighs a denied one, and details are kept."""
    sites = []
    rank = {"absent": 0, "uncertain": 1, "present": 2}
    for finding, sides, fact in said:
        if FINDINGS[finding] and sides == (None,):
            sides = SIDES
        for side in sides if FINDINGS[finding] else (None,):
            site = site_of(finding, side)
            sites.append(site)
            old = findings.get(site)
            if old is None or (rank[fact.status], fact.change is not None) > (
                rank[old.status],
                old.change is not None,
            ):
                new, old = fact, old
            else:
                new, old = old, fact
            if old is not None and rank[old.status] == rank[new.status]:
                new = replace(
                    new,
                    severity=new.severity or old.severity,
                    change=new.change or old.change,
                    cause=new.cause or old.cause,
                )
            findings[site] = new
    return sites


def _continue(sentence: str, findings: dict[str, FindingFact], sites: list[str]) -> None:
    """ "It has increased since yesterday": said of the findings of the sentence before."""
    change = _change_of("", sentence)
    for site in sites:
        fact = findings[site]
        if change is not None and fact.status == "present":
            findings[site] = (
                FindingFact("absent", change=change) if change == "resolved" else replace(fact, change=change)
            )


def _read_devices(sentence: str, devices: dict[str, str | None]) -> None:
    found = sorted(
        (match.start(), match.end(), device)
        for device, pattern in _DEVICE_NAMES.items()
        for match in pattern.finditer(sentence)
    )
    for number, (start, end, device) in enumerate(found):
        stop = found[number + 1][0] if number + 1 < len(found) else len(sentence)
        first = found[number - 1][1] if number else 0
        if _DEVICE_REMOVED.search(sentence[first:start]) or _words("removed", "no longer").search(sentence[end:stop]):
            continue
        text = sentence[max(first, start - 16) : stop]
        position = next((name for name, pattern in _DEVICE_POSITIONS[device] if pattern.search(text)), None)
        if devices.get(device) is None:
            devices[device] = position


__all__ = ["has_comparison", "parse_report"]
