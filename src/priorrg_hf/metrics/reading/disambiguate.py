"""Step 2b: words that mean one thing or another by what stands beside them ("both", "mildly", "remains possible")."""

from .tokens import Chunk


_NOUNS = frozenset(("increase", "decrease", "reduction", "improvement", "change", "changes", "growth", "progression", "worsening", "increases", "decreases", "reductions", "clearing", "difference", "deterioration", "enlargement", "regression", "diminution", "increment", "lessening", "resolution", "accumulation", "reaccumulation", "re accumulation", "development", "evolution", "extension", "increase in size", "decrease in size", "reduction in size", "increase in extent", "decrease in extent", "clearance"))  # fmt: skip
_ADJECTIVES = frozenset(("hilar", "mediastinal", "cardiac", "aortic", "consolidated", "collapsed", "atelectatic", "emphysematous", "cardiomediastinal", "fractured"))  # fmt: skip
_GRADING = frozenset(("mildly", "slightly", "minimally", "moderately", "markedly", "severely", "massively", "grossly", "extensively", "subtly", "faintly"))  # fmt: skip
_TECHNICAL = frozenset(("technique", "technical", "projection", "projectional", "positioning", "position", "rotation", "inspiration", "apparent", "magnification", "exposure", "angulation", "differences", "technically", "portable", "supine", "penetration", "artefactual", "artifactual", "factors", "positional"))  # fmt: skip


def disambiguate(chunks: list[Chunk]) -> list[Chunk]:
    """The chunks of a sentence with ambiguous ones settled, in place."""
    chunks = _numbered(_one_place(chunks))
    chunks = _greater_than(chunks)
    chunks = _put_in(chunks)
    for index, chunk in enumerate(chunks):
        settle = _RULES.get(chunk.tag)
        if settle is not None:
            settle(chunks, index)
    _partial_resolution(chunks)
    _not_any_longer(chunks)
    _apparent_changes(chunks)
    return [c for c in chunks if c.tag != "PSEUDO"]


def _one_place(chunks: list[Chunk]) -> list[Chunk]:
    """ "right middle lobe" and "left lingula" name one place; "hilar" in "hilar mass" is an adjective."""
    result: list[Chunk] = []
    for index, chunk in enumerate(chunks):
        before = result[-1] if result else None
        if (
            chunk.tag == "SIDE"
            and before is not None
            and before.tag == "SIDE"
            and before.value == chunk.value
            and chunk.text in ("middle lobe", "lingula", "lingular")
        ):
            result[-1] = Chunk("SIDE", chunk.value, "", f"{before.text} {chunk.text}", before.start, chunk.end)
            continue
        following = chunks[index + 1] if index + 1 < len(chunks) else None
        if (
            chunk.tag == "FIND"
            and "bronchogram" in chunk.text
            and before is not None
            and before.tag in ("WITH", "CONJ")
        ):
            result.pop()  # "consolidation with air bronchograms in the left base" is one finding
            continue
        if chunk.text in ("line", "tube") and chunk.tag == "W" and before is not None and before.tag == "SIDE":
            chunk.tag, chunk.flags = "FIND", "device"
            chunk.value = "central_line" if chunk.text == "line" else "chest_tube"
        if chunk.tag == "FIND" and chunk.flags in ("organ", "other") and _is_place_noun(result):
            chunk.tag = "W"  # "a mass in the right hilum"
        if chunk.tag == "FIND" and chunk.text in _ADJECTIVES and following is not None and following.tag == "FIND":
            chunk.tag = "W"
        result.append(chunk)
    return result


def _numbered(chunks: list[Chunk]) -> list[Chunk]:
    """ "number one ... number two ...": a dictated list."""
    result: list[Chunk] = []
    for index, chunk in enumerate(chunks):
        if chunk.text == "number" and index + 1 < len(chunks) and chunks[index + 1].text in ("one", "two", "three", "four", "five", "six", "1", "2", "3", "4", "5", "6"):  # fmt: skip
            chunk.tag, chunk.value = "SEP", ";"
            chunk.text = ";"
            chunks[index + 1].tag = "PSEUDO"
        result.append(chunk)
    return result


_MORE = frozenset(("greater", "larger", "bigger", "more", "worse", "smaller", "less", "denser", "more extensive", "more marked", "more prominent", "more pronounced", "less extensive", "less marked"))  # fmt: skip


def _greater_than(chunks: list[Chunk]) -> list[Chunk]:
    """ "Right effusion greater than left", "the right effusion is larger than that on the left", "the left larger than the right": both have it."""
    if not any(c.text == "than" for c in chunks):
        return chunks
    result: list[Chunk] = []
    index = 0
    while index < len(chunks):
        chunk = chunks[index]
        rest = [c for c in chunks[index + 1 : index + 7] if c.tag not in ("ART", "PREP", "REL", "PRON")]
        if chunk.text in _MORE and result and len(rest) > 1 and rest[0].text == "than" and rest[1].tag == "SIDE":
            start = len(result)
            while start and result[start - 1].tag in ("V", "NOW", "ADV"):
                start -= 1
            before = result[start - 1] if start else None
            if before is not None and before.tag == "SIDE" and before.value != rest[1].value:
                start -= 1
                while start and result[start - 1].tag == "ART":
                    start -= 1
            if before is not None and before.tag in ("FIND", "LUNG", "SIDE") and before.value != rest[1].value:
                last = chunks.index(rest[1])
                del result[start:]
                text = f"{chunk.text} than {rest[1].text}"
                result.append(Chunk("SIDE", "bilateral", "compare", text, chunk.start, rest[1].end))
                index = last + 1
                continue
        result.append(chunk)
        index += 1
    return result


def _put_in(chunks: list[Chunk]) -> list[Chunk]:
    """Words left out: "neither the right effusion nor the left [effusion] has altered", "the right [lung] is clear"; and "favour A over B"."""
    result: list[Chunk] = []
    favoured = False
    for index, chunk in enumerate(chunks):
        rest = [c for c in chunks[index + 1 : index + 4] if c.tag not in ("ADV", "ART")]
        result.append(chunk)
        if chunk.tag == "SIDE" and "compare" not in chunk.flags and rest and "neg" not in chunk.flags:
            nor = any(c.text == "nor" for c in chunks[max(0, index - 3) : index])
            named = next((c for c in reversed(chunks[:index]) if c.tag == "FIND"), None)
            if nor and named is not None and rest[0].tag in ("V", "CHG", "NOT"):
                result.append(Chunk("FIND", named.value, named.flags, named.text, chunk.start, chunk.end, named.note))
            says = rest[0].tag == "V" and rest[0].text in ("is", "remains", "appears", "was") and len(rest) > 1
            if says and rest[1].tag == "CLEAR" and chunk.value in ("left", "right"):
                result.append(Chunk("LUNG", "lung", "", "lung", chunk.start, chunk.end))
        favoured = (
            favoured or chunk.tag == "HEDGE" and chunk.text.startswith(("favor", "favour", "would favo", "i favo"))
        )
        if favoured and chunk.text == "over" and chunk.tag == "PREP":
            after = next((c for c in chunks[index + 1 :] if c.tag not in ("ART", "ADV", "SEV", "W")), None)
            if after is not None and after.tag == "FIND" and any(c.tag == "FIND" for c in chunks[:index]):
                chunk.tag, chunk.value = "VERSUS", "uncertain"
                favoured = False
    return result


def _is_place_noun(before: list[Chunk]) -> bool:
    index = len(before) - 1
    while index >= 0 and before[index].tag in ("ART", "SIDE", "W", "SEV"):
        index -= 1
    return (
        index > 0
        and before[index].tag == "PREP"
        and before[index - 1].tag == "FIND"
        and before[index - 1].flags in ("finding", "device", "descriptive")
    )


def _next(chunks: list[Chunk], index: int, skip: tuple[str, ...] = ()) -> Chunk | None:
    index += 1
    while index < len(chunks) and chunks[index].tag in skip:
        index += 1
    return chunks[index] if index < len(chunks) else None


def _both(chunks: list[Chunk], index: int) -> None:
    following = _next(chunks, index, ("ART", "SEV", "ADV", "W", "LUNG", "CHG"))
    near = _next(chunks, index)
    if near is not None and near.tag in ("V",):
        chunks[index].tag = "PRON"
    elif (
        following is not None
        and following.tag == "FIND"
        and following.text.endswith(("s", "ces", "ae"))
        and not following.text.endswith(("sis", "ss"))
    ) or (
        near is not None
        and (near.tag in ("LUNG", "SIDE", "ART") or (near.tag == "W" and _ANATOMY & set(near.text.split())))
        and not (following is not None and following.tag == "FIND")
    ):
        chunks[index].tag, chunks[index].value = "SIDE", "bilateral"
    elif near is not None and near.tag in ("CHG", "NOT", "ADV", "VSEEN", "NEGPOST", "SEV"):
        chunks[index].tag = "PRON"
    else:
        chunks[index].tag = "PSEUDO"


_ANATOMY = frozenset(("lobes", "lobe", "zones", "zone", "hila", "apices", "hemithoraces", "sides", "regions", "fields", "spaces", "cavities", "hilar", "basal", "perihilar", "lungs", "bases", "upper", "lower", "mid", "middle", "apical", "basilar", "hemithorax", "perihila"))  # fmt: skip


def _is_month(chunks: list[Chunk], index: int) -> bool:
    before, after = chunks[index - 1], chunks[index + 1] if index + 1 < len(chunks) else None
    dated = before.tag == "NUM" or before.text in ("in", "since", "of", "from", "on", "until", "early", "late", "mid")
    return dated or (
        after is not None and after.tag == "NUM" and before.text in ("from", "on", "since", "of", "dated")
    )


def _hedge(chunks: list[Chunk], index: int) -> None:
    chunk = chunks[index]
    if chunk.text == "may" and index and _is_month(chunks, index):
        chunk.tag, chunk.value = "W", "word"
    elif chunk.text == "either":
        place = next((i for i in range(index + 1, len(chunks)) if chunks[i].tag == "FIND"), None)
        after = chunks[place + 1 :] if place is not None else []
        if (
            place is not None
            and place - index <= 2
            and not any(c.tag == "CONJ" and c.value == "or" for c in after[:4])
        ):
            chunk.tag, chunk.value = "SIDE", "bilateral"
    elif chunk.text in ("may", "might", "could", "would"):
        following = _next(chunks, index, ("ADV", "W"))
        if chunk.text == "would" and not (following is not None and following.text in ("suggest", "favor", "favour")):
            chunk.tag = "W"
    elif chunk.text in ("raised", "borderline") and _next(chunks, index) is None:
        chunk.tag = "HEDGEPOST"


def _severity(chunks: list[Chunk], index: int) -> None:
    chunk = chunks[index]
    following = _next(chunks, index, ("ADV",))
    if chunk.text.endswith("ly") and index and chunks[index - 1].tag == "CHG" and "w" not in chunks[index - 1].flags:
        chunk.tag = "ADV"
    if following is None:
        return
    adverb = chunk.text in _GRADING
    if following.text == "enlargement" and any(c.tag == "FIND" and c.flags == "organ" for c in chunks):
        return
    if following.tag == "CHG":
        size = following.note == "size" or following.text in ("enlarged", "widened")
        noun = following.text in _NOUNS or (following.flags and not set(following.flags) & set("apv"))
        if size and adverb:
            return
        slight = (
            chunk.text in ("slight", "minor", "mild", "minimal")
            and following.value in ("increased", "decreased")
            and "g" not in following.flags
            and not _reaches_finding(chunks, index)
        )
        if adverb or noun or slight or (slight and following.value == "change"):
            chunk.tag = "ADV"
    elif (
        adverb
        and following.tag == "W"
        and following.text.endswith("ed")
        or following.tag == "W"
        and following.text in ("displaced", "angulated", "comminuted", "impacted", "tortuous", "rotated", "kyphotic")
    ):
        chunk.tag = "ADV"


def _reaches_finding(chunks: list[Chunk], index: int) -> bool:
    """Whether only adjectives stand between here and a finding."""
    for chunk in chunks[index + 1 :]:
        if chunk.tag == "FIND":
            return True
        if chunk.tag not in ("CHG", "ADV", "SIDE", "SEV", "W", "LUNG", "ART"):
            return False
    return False


def _change(chunks: list[Chunk], index: int) -> None:
    chunk = chunks[index]
    before = chunks[index - 1] if index else None
    following = _next(chunks, index, ("ADV",))
    if (
        "w" in chunk.flags
        and following is not None
        and following.tag in ("HEDGE", "HEDGEPOST", "HEDGEPOST2", "VERSUS")
    ):
        chunk.tag = "PSEUDO"
    elif (
        chunk.value == "new"
        and chunk.text == "developing"
        and following is not None
        and following.tag not in ("FIND", "SIDE", "SEV", "W", "LUNG")
    ):
        chunk.flags = "vp"
    elif chunk.text in ("recur", "reappear", "develop", "re accumulate"):
        if not any(c.tag in ("NOT", "NEG") for c in chunks[max(0, index - 3) : index]):
            chunk.tag = "W"
    elif (
        chunk.text
        in (
            "up",
            "down",
            "out",
            "more",
            "higher",
            "lower",
            "longer",
            "deeper",
            "settled",
            "spread",
            "progress",
            "expanded",
            "even",
            "up to",
        )
        and not _degree_stands(chunks, index, before, following)
        or chunk.text == "better"
        and following is not None
        and following.tag == "LUNG"
    ):
        chunk.tag = "W"
    elif chunk.text == "clearing":
        noun = (
            following is not None
            and following.tag == "PREP"
            or before is not None
            and before.tag in ("NEG", "CMPW", "WITH", "ART")
        )
        chunk.value, chunk.flags = (
            ("resolved", "n")
            if noun
            and not (
                before is not None
                and before.text in ("is", "are", "was", "were", "be", "been", "being", "has been", "have been")
            )
            else ("decreased", "apg")
        )
    elif chunk.text == "back" and not (
        following is None
        or following.tag in ("COMMA", "STOP", "CONJ", "SEP", "NOW", "FIND", "SIDE", "NEG", "SEV", "PREP")
        and following.text != "to"
    ):
        chunk.tag = "W"


def _degree_stands(chunks: list[Chunk], index: int, before: Chunk | None, following: Chunk | None) -> bool:
    text = chunks[index].text
    if text == "spread":
        return (
            before is not None
            and before.text in ("has", "have", "had", "to")
            or (
                before is not None and before.tag == "FIND" and not (following is not None and following.tag == "LUNG")
            )
        )
    if text in ("up", "down", "out", "settled", "expanded"):
        fits = before is None or before.tag in (
            "V",
            "FIND",
            "ADV",
            "COMMA",
            "SIDE",
            "LUNG",
            "NOW",
            "CONJ",
            "CHG",
            "DASH",
        )
        if text == "out" and before is not None and before.tag == "FIND":
            return True
        return fits and (
            following is None
            or following.tag not in ("W", "LUNG", "ART")
            and not (following.tag == "SIDE" and (before is None or before.tag != "FIND"))
        )
    if text in ("more", "higher", "lower", "longer", "deeper"):
        return following is not None and (
            following.tag == "FIND"
            or (following.tag == "SIDE" and text == "more")
            or (following.tag in ("CMP", "CMPW", "STOP") and text == "more")
        )
    return True


def _clear(chunks: list[Chunk], index: int) -> None:
    """ "failed to clear", "has not cleared": the verb."""
    before = chunks[max(0, index - 2) : index]
    verb = any(
        c.text in ("to", "failed to", "yet to", "did not", "not") or (c.tag == "NOT" and c.text.endswith("to"))
        for c in before
    )
    if verb and (any(c.text.endswith("to") for c in before) or not any(c.tag == "LUNG" for c in chunks[:index])):
        chunks[index].tag, chunks[index].value, chunks[index].flags = "CHG", "resolved", "pv"


def _look(chunks: list[Chunk], index: int) -> None:
    """ "none" and "negative" with a finding after them deny it; "no longer" with an adjective of size ends it."""
    chunk = chunks[index]
    if chunk.text in ("none", "negative", "nil", "absent"):
        following = _next(chunks, index, ("PREP",))
        if (
            following is not None
            and following.tag == "FIND"
            and chunk.text == "absent"
            and not any(c.tag == "FIND" for c in chunks[:index])
        ):
            chunk.tag, chunk.value = "NEG", "pre"


_PARTIAL = frozenset(("partially", "partly", "partial", "incompletely", "incomplete", "nearly", "near", "almost", "mostly", "largely", "virtually", "subtotal", "substantially", "substantial", "somewhat", "further", "continued", "essentially", "much", "progressive", "significantly", "slowly", "gradually", "slow", "gradual", "beginning", "early", "some", "mild", "slight", "moderate", "considerable", "modest", "minimal"))  # fmt: skip


def _partial_resolution(chunks: list[Chunk]) -> None:
    """Any resolution that is only partial or under way is a decrease."""
    for index, chunk in enumerate(chunks):
        if (
            chunk.tag != "CHG"
            or chunk.value != "resolved"
            or "d" in chunk.flags
            or chunk.text.startswith(("no longer", "not ", "complete", "full", "total"))
        ):
            continue
        before = index - 1
        while (
            before >= 0
            and (chunks[before].tag in ("ADV", "CMPW", "W", "SEV", "ART") or chunks[before].flags == "apvw")
            and index - before < 4
        ):
            word = chunks[before].text.split()[-1] if chunks[before].text else ""
            if word in _PARTIAL and not (
                word
                in (
                    "some",
                    "mild",
                    "slight",
                    "moderate",
                    "minimal",
                    "slow",
                    "gradual",
                    "slowly",
                    "gradually",
                    "much",
                    "early",
                )
                and chunk.text.endswith("ed")
            ):
                chunk.value = "decreased"
            before -= 1


def _not_any_longer(chunks: list[Chunk]) -> None:
    """ "not visible today", "is not seen any longer": it was there."""
    for index, chunk in enumerate(chunks):
        if chunk.tag != "NEGPOST":
            continue
        after = chunks[index + 1 : index + 3]
        current = any(c.tag == "NOW" for c in after)
        if (
            not current
            and any(c.tag in ("CMP", "CMPW") for c in after)
            and not chunk.text.startswith(("none", "ruled", "excluded"))
        ):
            chunk.tag, chunk.value, chunk.flags = "CHG", "new", "p"  # "was not there before"
            continue
        if after and after[0].tag == "ANYLONGER" or any(c.tag == "NOW" and c.text in ("now", "today", "currently", "at present", "presently", "at this time") for c in after[:1]) or any(c.text in ("today", "now") for c in after[:2]):  # fmt: skip
            chunk.tag, chunk.value, chunk.flags = "CHG", "resolved", "p"
    for index, chunk in enumerate(chunks):
        if chunk.tag == "NEGCHG" and _reaches_finding(chunks, index):
            chunk.tag, chunk.value, chunk.flags = "CHG", "resolved", "a"  # "no longer a left effusion"
    place = next((i for i, c in enumerate(chunks) if c.tag == "ANYLONGER"), None)
    if place is not None and any(c.tag == "NEG" and c.text == "no" for c in chunks[:place]):
        chunks[place].tag, chunks[place].value, chunks[place].flags = "CHG", "resolved", "p"


def _parenthetic(chunks: list[Chunk], index: int) -> None:
    """ "The effusion, however, is larger": no boundary between a finding and what is said of it."""
    chunk = chunks[index]
    if chunk.text not in (
        "however",
        "though",
        "nevertheless",
        "nonetheless",
        "in contrast",
        "on the other hand",
        "by contrast",
        "conversely",
    ):
        return
    before = chunks[index - 1] if index else None
    after = _next(chunks, index)
    if before is not None and before.tag == "COMMA" and after is not None and after.tag == "COMMA":
        following = _next(chunks, index + 1)
        if (
            following is not None
            and following.tag in ("V", "CHG", "NOT", "ADV", "NEGPOST")
            and index > 1
            and chunks[index - 2].tag in ("FIND", "SIDE", "LUNG", "W")
        ):
            before.tag = chunk.tag = after.tag = "PSEUDO"


def _device_in(chunks: list[Chunk], index: int) -> None:
    """ "Right line in." """
    chunk = chunks[index]
    following = _next(chunks, index)
    if (
        chunk.text == "in"
        and index
        and chunks[index - 1].tag == "FIND"
        and (following is None or following.tag in ("COMMA", "STOP", "SEP"))
    ):
        chunk.tag, chunk.value, chunk.flags = "CHG", "new", "pd"


def _apparent_changes(chunks: list[Chunk]) -> None:
    """A change said to be only apparent is none: "apparent increase, due to technique"."""
    if not any(c.tag == "CHG" for c in chunks):
        return
    words = {word for c in chunks for word in c.text.split()}
    if not words & _TECHNICAL:
        return
    seems = any(w in words for w in ("apparent", "apparently", "seeming", "seemingly", "likely", "probably", "projectional", "artefactual", "artifactual")) or words & {"due", "attributable", "related", "accounted", "explained", "reflects", "reflecting", "reflect", "secondary", "because"}  # fmt: skip
    if "only" in words and "apparent" in words:
        seems = True
    if not seems:
        return
    last = max(i for i, c in enumerate(chunks) if set(c.text.split()) & _TECHNICAL)
    for index, chunk in enumerate(chunks):
        near = {w for c in chunks[max(0, index - 4) : index] for w in c.text.split()}
        explained = any(
            set(c.text.split())
            & {
                "due",
                "attributable",
                "related",
                "accounted",
                "explained",
                "reflects",
                "reflecting",
                "secondary",
                "because",
            }
            for c in chunks[index:last]
        )
        if (
            chunk.tag == "CHG"
            and chunk.value in ("increased", "decreased", "new")
            and (
                "apparent" in near
                or "apparently" in near
                or (explained and index < last)
                or "only" in words
                and "apparent" in words
            )
        ):
            chunk.value = "unchanged"


def _deny_negation(chunks: list[Chunk], index: int) -> None:
    """ "It would be wrong to call the lungs free of nodules.": they are there."""
    for following in chunks[index + 1 : index + 8]:
        if following.tag in ("NEG", "CLEAR"):
            following.tag = "ASSERT"
            return
        if following.tag == "CHG":
            following.denied = True  # "It would be an error to call the effusion smaller."
            return


def _article(chunks: list[Chunk], index: int) -> None:
    """ "There is one at the right apex": one of what was named."""
    following = _next(chunks, index)
    if chunks[index].text == "one" and (following is None or following.tag in ("PREP", "V", "COMMA", "STOP", "CHG")):
        chunks[index].tag = "PRON"


_HARD = ("difficult", "hard", "impossible", "unable")


def _deny_clause(chunks: list[Chunk], index: int) -> None:
    """ "No evidence that the effusion has enlarged.": the change is denied."""
    for following in chunks[index + 1 :]:
        if following.tag == "CLEAR" and chunks[index].text == "failure of":
            following.tag, following.value, following.flags = "CHG", "resolved", "pv"
        if following.tag in ("CHG", "MOVE"):
            following.denied = True
            if chunks[index].text.endswith((" whether", " if")) or chunks[index].text.startswith(_HARD):
                following.tag = "PSEUDO"  # "it is difficult to say whether it has changed" tells no course
            return
        if following.tag == "SEP":
            break
    # Without a change the finding itself is denied or doubted: "I do not think that there is an effusion".
    doubts = any(
        word in chunks[index].text
        for word in ("unlikely", "doubt", "certain", "sure", "clear", "difficult", "hard", "impossible", "unable")
    )
    chunks[index].tag, chunks[index].value = ("HEDGE", "pre") if doubts else ("NEG", "pre")
    for following in chunks[index + 1 : index + 3]:
        if following.text in ("there", "is", "are", "there is", "there are"):
            following.tag = "PSEUDO"


def _verb(chunks: list[Chunk], index: int) -> None:
    """ "A small effusion appeared on the left": no more than a verb of seeming with something after it, else it is new."""
    following = _next(chunks, index)
    ends = following is None or following.tag in ("STOP", "COMMA", "CONJ", "CMPW", "SEP", "AFTER")
    ends = ends or (following is not None and following.text in ("on", "on the", "at the", "in the"))
    if chunks[index].text == "appeared" and index and ends:
        chunks[index].tag, chunks[index].value, chunks[index].flags = "CHG", "new", "vp"


def _role(chunks: list[Chunk], index: int) -> None:
    """What may only "contribute" or "explain" is doubted when it is named for the first time, not when it was told already."""
    chunk = chunks[index]
    before = chunks[:index]
    if chunk.note == "role" and (
        any(c.tag in ("REL", "PRON") for c in before[-3:]) or not before or before[0].text in ("the", "this", "these")
    ):
        chunk.tag = "PSEUDO"
    elif chunk.note == "technical" and any(c.tag == "CHG" for c in before):
        chunk.tag = "PSEUDO"  # "the apparent increase may be projectional" doubts the change


_RULES = {"V": _verb, "HEDGEPOST": _role, "NEGTHAT": _deny_clause, "DENYNEG": _deny_negation, "ART": _article, "BOTH": _both, "HEDGE": _hedge, "SEV": _severity, "CHG": _change, "CLEAR": _clear, "NEGPOST": _look, "SEP": _parenthetic, "PREP": _device_in}  # fmt: skip

__all__ = ["disambiguate"]
