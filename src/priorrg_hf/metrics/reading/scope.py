"""Step 5: presence, side and severity of each mention: what negates it, what hedges it, and how far each reaches.

After the ConText idea: a trigger looks forward or back, over the members of a list, and ends at a new statement; pseudo-triggers ("no
change", "not only", "cannot be excluded") are phrases of their own in the table and so never reach here.
"""

from .clauses import Clause, Event, Mention, Part
from .organs import judge_organs
from .tokens import Chunk


_SKIP_TO_CHANGE = frozenset(("ADV", "V", "ART", "W", "NOW", "PREP"))


def settle_presence(clause: Clause) -> None:
    """Sets `presence` of all mentions, and `denied` of the change words that a negation is about."""
    _deny_changes(clause)
    for mention in clause.mentions:
        if mention.kind == "organ":
            mention.presence = None
    _hedge_forward(clause)
    _versus(clause)
    _negate_forward(clause)
    _look_back(clause)
    judge_organs(clause)


# ---- denied changes ----


def _deny_changes(clause: Clause) -> None:
    chunks = clause.chunks
    for index, chunk in enumerate(chunks):
        if chunk.tag not in ("NEG", "NOT", "NEGCHG"):
            continue
        position = index + 1
        while position < len(chunks) and (
            chunks[position].tag in _SKIP_TO_CHANGE
            and not _stops_denial(chunks[position])
            or chunks[position].tag == "CMPW"
            or chunks[position].tag == "VSEEN"
            and chunk.tag == "NOT"
        ):
            position += 1
        while (
            position < len(chunks)
            and chunks[position].tag == "SEV"
            and position + 1 < len(chunks)
            and chunks[position + 1].tag == "CHG"
        ):
            position += 1
        if position >= len(chunks) or chunks[position].tag != "CHG":
            continue
        _deny(chunks, position)


def _stops_denial(chunk: Chunk) -> bool:
    return chunk.tag == "W" and chunk.text not in ("been", "significantly", "really", "acute", "apparently", "clearly", "convincingly", "obviously", "evidence", "sign", "signs", "of", "been", "at", "all", "to")  # fmt: skip


def _deny(chunks: list[Chunk], position: int) -> None:
    """Denies a change word and those joined to it ("neither cleared nor enlarged", "no new or increasing ...")."""
    chunks[position].denied = True
    position += 1
    while position < len(chunks) and (
        chunks[position].tag in ("CONJ", "COMMA", "ADV") or chunks[position].value == "nor"
    ):
        position += 1
    joined = position - 1 >= 0 and chunks[position - 1].tag in ("CONJ", "COMMA", "ADV", "NEG")
    if joined and position < len(chunks) and chunks[position].tag == "CHG":
        _deny(chunks, position)


# ---- negation ----


def _negate_forward(clause: Clause) -> None:
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "SIDE" and "neg" in chunk.flags and not any(m.index > index for m in clause.mentions):
            for mention in subjects_before(clause, index):  # "is seen on neither side"
                mention.presence, mention.presence_chunk = "absent", chunk
                mention.sides = mention.sides or [chunk.value]
            continue
        if chunk.tag not in ("NEG", "NOT", "ASSERT", "NEGCHG") and "neg" not in chunk.flags:
            continue
        if chunk.tag == "NOT" and not _not_reaches(clause, index):
            continue
        if chunk.tag == "NEGCHG" or (chunk.value == "nor" and any(c.text == "neither" for c in clause.chunks[:index])):
            continue
        covered = _covered(clause, index, chunk)
        if not covered:
            _negate_subject(clause, index, chunk)
        if (
            covered
            and (chunk.text in ("neither", "none of", "no", "not any") or chunk.tag == "SIDE")
            and _denies_predicate(clause, covered, chunk)
        ):
            continue
        if (
            covered
            and chunk.text.startswith(("no sign", "no evidence", "no indication"))
            and _denies_course(clause, covered[-1])
        ):
            continue
        for mention in covered:
            if chunk.tag == "ASSERT":
                mention.presence = "present"
            elif chunk.value == "nor" and _nor_has(clause, index):
                mention.events.append(Event("unchanged", False, chunk))  # "has not grown, nor has the effusion"
            elif not _denied_change_of(clause, index, mention):
                mention.presence, mention.presence_chunk = "absent", chunk
                _was_known(clause, mention, chunk)
                _nothing_left(clause, mention, chunk)


def _nothing_left(clause: Clause, mention: Mention, chunk: Chunk) -> None:
    """ "No trace of the effusion remains", "there is now no effusion": it was there."""
    if chunk in clause.chunks and (index := clause.chunks.index(chunk)):
        before = clause.chunks[index - 1]
        if before.text == "now" or before.note == "therenow":
            mention.events.append(Event("resolved", False, chunk))
            return
    after = [c for c in clause.chunks[mention.last : mention.last + 3] if c.tag not in ("ADV", "PREP", "SIDE")]
    if after and after[0].text in _REMAINS and not (len(after) > 1 and after[1].tag in ("VSEEN", "NEGPOST", "CHG")):
        mention.events.append(Event("resolved", False, chunk))


_REMAINS = frozenset(("remains", "remain", "remained", "persists", "persist", "persisted", "lingers", "linger"))


def _was_known(clause: Clause, mention: Mention, chunk: Chunk) -> None:
    """ "No evidence of the previously described pneumothorax.": what was there is gone."""
    words = clause.chunks[mention.first : mention.index]
    known = any(
        c.tag == "CMPW" and c.text in ("previously", "formerly", "earlier", "previous", "prior") for c in words
    )
    if chunk.tag == "NEGPOST" and chunk in clause.chunks:
        after = clause.chunks[mention.last : clause.chunks.index(chunk)]
        told = next((i for i, c in enumerate(after) if c.tag in ("VSEEN", "W")), None)
        if told is not None and any(c.tag in ("CMPW", "CMP") for c in after[told + 1 : told + 4]):
            mention.events.append(Event("resolved", False, chunk))  # "the one described yesterday is not seen"
            return
    if known and (any(c.text in ("the", "of the") for c in words) or chunk.tag == "NEGPOST"):
        mention.events.append(Event("resolved", False, chunk))


def _not_reaches(clause: Clause, index: int) -> bool:
    """ "not" denies a finding only through a verb of showing or directly ("not a pneumothorax", "is not pneumonia")."""
    following = clause.chunks[index + 1 : index + 4]
    if following and following[0].tag == "V" and following[0].text not in ("be", "been"):
        return True
    for chunk in clause.chunks[index + 1 : index + 7]:
        if chunk.tag == "FIND":
            return True
        if chunk.tag not in ("ART", "SIDE", "SEV", "ADV", "W", "LUNG") or chunk.text == "necessarily":
            return False
    return False


def _covered(clause: Clause, index: int, chunk: Chunk) -> list[Mention]:
    """The mentions in the forward scope of the negation at `index`."""
    later = [m for m in clause.mentions if m.index > index]
    if not later:
        return []
    first = later[0]
    gap = clause.chunks[index + 1 : first.index]
    if any(_ends_scope(c, chunk) for c in gap):
        return []
    covered = [first]
    for position, mention in enumerate(later[1:], start=1):
        relation = mention.relation
        between = clause.chunks[later[position - 1].last : mention.first]
        if any(c.tag in ("EXCEPT", "NEGPOST", "ASSERT") for c in between):
            break
        if (
            relation in ("list", "versus")
            and not _own_statement(clause, mention, between, later[position:])
            or relation == "explain"
            and any(
                c.text
                in ("suggest", "suggestive of", "suggesting", "concerning for", "suspicious for", "worrisome for")
                for c in between
            )
            or relation == "cause"
            and any(
                c.text
                in (
                    "to suggest",
                    "to indicate",
                    "indicative of",
                    "indicate",
                    "consistent with",
                    "compatible with",
                    "diagnostic of",
                )
                for c in between
            )
            or relation == "near"
            and any(c.text in ("to suggest", "to indicate", "of") for c in between)
        ):
            covered.append(mention)
        else:
            break
    return covered


def _ends_scope(chunk: Chunk, negation: Chunk) -> bool:
    if chunk.tag in (
        "EXCEPT",
        "WITH",
        "CAUSE",
        "AFTER",
        "REL",
        "PRON",
        "COLON",
        "ASSERT",
        "ADVICE",
        "CLEAR",
        "NORMAL",
    ):
        return chunk.tag != "WITH" or negation.text != "no"
    if chunk.tag == "COMMA":
        return True
    if chunk.tag == "V":
        return negation.tag == "NEG" and negation.value != "nor"
    return chunk.tag == "HEDGEPOST"


def _own_statement(clause: Clause, mention: Mention, between: list[Chunk], rest: list[Mention]) -> bool:
    """Whether a listed phrase starts a statement of its own: "no effusion, small left pneumothorax"."""
    if any(c.tag == "CONJ" and c.value == "or" for c in between) or any(c.value == "nor" for c in between):
        return False
    after = clause.chunks[mention.last : mention.last + 2]
    if mention.kind == "organ" and any(c.tag in ("NORMAL", "ABN") for c in after):
        return True  # "no effusion heart normal"
    words = clause.chunks[mention.first : mention.index]
    own = any(
        c.tag == "SEV"
        or (c.tag == "CHG" and not c.denied and c.value != "new" and "g" not in c.flags)
        or (c.tag == "ART" and c.text in ("a", "an", "the"))
        for c in words
    )
    own = own or any(c.tag == "CHG" for c in words) and not any(c.tag == "CONJ" for c in between)
    if not own and any(c.tag == "SIDE" for c in words) and not any(c.tag == "CONJ" for c in between):
        own = not _ends_in_or(clause, rest)
        first = clause.mentions[clause.mentions.index(mention) - 1]
        if any(c.tag == "SIDE" for c in clause.chunks[first.first : first.index]):
            return False
    if own and _ends_in_or(clause, rest):
        return any(c.tag == "ART" for c in words)
    if not own:
        after = clause.chunks[mention.last : mention.last + 3]
        if after and after[0].tag == "CHG" and not after[0].denied and after[0].value != "resolved":
            return True
        if len(after) > 1 and after[0].tag == "V" and after[1].tag in ("CHG", "SEV", "ADV"):
            return not any(c.tag == "NEG" for c in after)
    return own


def _ends_in_or(clause: Clause, rest: list[Mention]) -> bool:
    for one, two in zip(rest, rest[1:], strict=False):
        if two.relation != "list":
            return False
        if any(c.tag == "CONJ" and c.value == "or" for c in clause.chunks[one.last : two.first]):
            return True
    return False


def _nor_has(clause: Clause, index: int) -> bool:
    rest = clause.chunks[index + 1 :]
    return (
        len(rest) > 1
        and rest[0].text in ("has", "have", "is", "are", "did", "does", "do")
        and rest[1].text != "there"
        and not any(c.tag in ("CHG", "NEGPOST", "VSEEN") for c in rest)
        and any(c.tag == "CHG" and c.denied and c.value != "new" for c in clause.chunks[:index])
    )


def _denies_course(clause: Clause, last: Mention) -> bool:
    """ "no sign of the effusion resolving" """
    following = next((c for c in clause.chunks[last.last :] if c.tag != "ADV"), None)
    if following is None or following.tag != "CHG" or "g" not in following.flags:
        return False
    following.denied = last.compares = True
    return True


def _denies_predicate(clause: Clause, covered: list[Mention], negation: Chunk) -> bool:
    """ "neither A nor B has enlarged": the change is denied, the findings are there. But "no effusion has developed" denies the finding."""
    last = covered[-1]
    rest = clause.chunks[last.last : last.last + 6]
    verb = next((i for i, c in enumerate(rest) if c.tag == "V"), None)
    if verb is None or any(c.tag in ("COMMA", "CONJ", "NEG") for c in rest[:verb]):
        return False
    change = next((c for c in rest[verb:] if c.tag in ("CHG", "MOVE", "COMMA", "NEG", "FIND")), None)
    if change is None or change.tag not in ("CHG", "MOVE") or change.text in ("any longer", "any more", "anymore"):
        return False
    if change.value == "new" and "d" not in change.flags:
        return False
    change.denied = True
    for chunk in clause.chunks:
        if chunk.tag == "CHG" and chunk.start > change.start:
            chunk.denied = True
    return True


def _denied_change_of(clause: Clause, index: int, mention: Mention) -> bool:
    """Whether the negation is about a change of the mention, which is then there: "no increase in the effusion", "no worsening edema"."""
    if clause.chunks[index].text == "no new or":
        mention.compares = True
        return False
    denied = [
        (i, c)
        for i, c in enumerate(clause.chunks[index + 1 : mention.index], start=index + 1)
        if c.tag == "CHG" and c.denied
    ]
    if not denied:
        return False
    mention.compares = True
    if any(c.value == "new" for _, c in denied):
        return False
    inside = [c for i, c in denied if i >= mention.first]
    if len(inside) == len(denied):  # an adjective of it
        return all("g" in c.flags and c.value in ("increased", "decreased") for c in inside)
    return True


def _negate_subject(clause: Clause, index: int, chunk: Chunk) -> None:
    """A negation with nothing after it denies what stands before: "Pneumothorax: no", "effusion - none"."""
    if chunk.tag != "NEG" or chunk.text not in ("no", "negative for", "absent", "absence of"):
        return
    rest = clause.chunks[index + 1 :]
    if any(c.tag not in ("STOP", "COMMA", "PAREN") for c in rest):
        return
    for mention in subjects_before(clause, index):
        mention.presence, mention.presence_chunk = "absent", chunk


# ---- what is said after the finding ----


def subjects_before(clause: Clause, index: int, verb: bool | None = None) -> list[Mention]:
    """The findings that a predicate at `index` is said of: the last head and what is listed with it."""
    before = [m for m in clause.mentions if m.last <= index]
    if not before:
        return []
    group = before[-1].group
    members = [m for m in before if m.group == group and m.head]
    if not members:
        members = [before[-1]]
    relative = any(c.tag == "REL" for c in clause.chunks[before[-1].last : index])
    if relative and before[-1].relation not in ("explain", "versus"):
        return [before[-1]]
    if len(before) > 1 and not before[-1].head and before[-1].last == index and _stands_apart(clause, before):
        return [before[-1]]
    if len(members) < 2:
        return members
    between = clause.chunks[members[-1].last : index]
    if verb is None:
        verb = any(c.tag == "V" and c.value == "be" and c.text != "colon" for c in between)
    # Without a verb a comma parts: "cardiomegaly, effusion unchanged" says it of the last; "effusion and opacity unchanged" of both.
    start = len(members) - 1
    while start > 0:
        joint = clause.chunks[members[start - 1].last : members[start].first]
        tight = any(c.tag == "CONJ" for c in joint)
        if (
            not tight
            and not verb
            and not any(
                c.tag == "CONJ"
                for m, n in zip(members[start:], members[start + 1 :], strict=False)
                for c in clause.chunks[m.last : n.first]
            )
        ):
            break
        start -= 1
    return members[start:]


def _stands_apart(clause: Clause, before: list[Mention]) -> bool:
    """ "Collapse, with the left effusion unaltered": the word right after the last finding is said of it alone."""
    last = before[-1]
    if last.relation not in ("with", "near"):
        return False
    joint = clause.chunks[before[-2].last : last.first]
    words = clause.chunks[last.first : last.index]
    comma = max((i for i, c in enumerate(joint) if c.tag == "COMMA"), default=None)
    if last.relation == "near":
        return comma == len(joint) - 1  # "ETT above the carina, left PICC unchanged"
    return comma is not None or any(c.text == "the" for c in words)


def _look_back(clause: Clause) -> None:
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "NEGPOST":
            value = "absent"
        elif (
            chunk.tag in ("HEDGEPOST", "HEDGEPOST2")
            or (chunk.tag == "QUERY" and chunk.value == "post")
            or chunk.tag in ("HEDGE",)
            and _hedges_back(clause, index)
        ):
            value = "uncertain"
        else:
            continue
        if value == "absent" and _about_tip(clause, index):
            continue
        if (
            value == "absent"
            and (side := side_after(clause, index)) in ("left", "right")
            and _absent_on(clause, index, side, chunk)
        ):
            continue
        if chunk.tag == "HEDGEPOST2" and index + 1 < len(clause.chunks) and clause.chunks[index + 1].tag == "W":
            continue  # "considered typical"
        if chunk.tag == "HEDGEPOST2" and not _stands_after_verb(clause, index):
            continue
        targets = subjects_before(clause, index)
        last = next((m for m in reversed(clause.mentions) if m.last <= index), None)
        if (
            last is not None
            and not last.head
            and last.last == index
            and value == "uncertain"
            or (
                last is not None
                and value == "uncertain"
                and not last.head
                and last.presence != "absent"
                and not any(c.tag in ("COMMA", "CONJ") for c in clause.chunks[last.last : index])
                and _explains(clause, last)
            )
        ):
            targets = [last]
        if not targets and chunk.tag in ("NEGPOST", "HEDGEPOST"):
            targets = _first_listed(clause, index)
        whole = (
            any(c.tag == "VERSUS" or (c.tag == "CONJ" and c.value == "or") for c in clause.chunks)
            and value == "uncertain"
        )
        for mention in targets:
            if mention.presence == "absent" and value == "uncertain" and not whole:
                continue
            if value == "absent" and mention.is_device and _about_tip(clause, mention.first):
                continue
            mention.presence, mention.presence_chunk = value, chunk
            if value == "absent":
                _was_known(clause, mention, chunk)


def _about_tip(clause: Clause, index: int) -> bool:
    """ "PICC, tip not seen": the line is there."""
    return any(
        c.text in ("tip", "tips", "lead", "leads", "port", "side port", "distal end")
        for c in clause.chunks[max(0, index - 3) : index]
    )


def _absent_on(clause: Clause, index: int, side: str, chunk: Chunk) -> bool:
    """ "Effusion: none on the right, small on the left." """
    targets = [m for m in subjects_before(clause, index) if set(m.sides) != {side}]
    for mention in targets:
        mention.parts.append(Part(side, presence="absent", presence_chunk=chunk))
    return bool(targets)


def _explains(clause: Clause, mention: Mention) -> bool:
    position = clause.mentions.index(mention)
    while position > 0 and clause.mentions[position].relation == "list":
        position -= 1
    return clause.mentions[position].relation in ("explain", "versus", "cause", "near")


def _first_listed(clause: Clause, index: int) -> list[Mention]:
    """ "Absent are pneumothorax and consolidation." """
    targets: list[Mention] = []
    for mention in clause.mentions:
        if mention.index > index and (not targets or mention.relation == "list"):
            targets.append(mention)
        elif targets:
            break
    return targets


def _stands_after_verb(clause: Clause, index: int) -> bool:
    before = clause.chunks[max(0, index - 3) : index]
    return any(
        c.tag in ("V", "FIND", "SIDE", "PSEUDO", "NOT", "LUNG") or c.text in ("be", "remains", "remain")
        for c in before
    )


def _hedges_back(clause: Clause, index: int) -> bool:
    """An adjective of doubt with no finding after it says it of the one before: "effusion is possible", "pneumothorax, probable"."""
    chunk = clause.chunks[index]
    if chunk.flags not in ("adj", "adv") and "prepost" not in chunk.value:
        return False
    rest = clause.chunks[index + 1 :]
    if rest and (rest[0].tag == "W" and "adv" in chunk.flags or rest[0].tag in ("WITH", "CAUSE")):
        return False  # "likely parapneumonic" doubts the kind, not the finding
    for following in rest:
        if following.tag in ("FIND", "CHG", "SEV", "MOVE"):
            return False
        if following.tag in ("COMMA", "CONJ", "STOP", "WITH", "SEP", "PAREN"):
            break
    return True


# ---- hedges ----


def _hedge_forward(clause: Clause) -> None:
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "QUERY" and chunk.value == "pre" or chunk.tag == "HEDGE":
            for mention in _hedged(clause, index, chunk):
                mention.presence, mention.presence_chunk = "uncertain", chunk


def _hedged(clause: Clause, index: int, chunk: Chunk) -> list[Mention]:
    later = [m for m in clause.mentions if m.index > index]
    if not later:
        return []
    first = later[0]
    gap = clause.chunks[index + 1 : first.first] if first.first > index else []
    if any(
        c.tag in ("COMMA", "NEG", "SEP", "EXCEPT", "COLON", "STOP", "AFTER", "NEAR", "NEGPOST", "DASH")
        or (c.tag == "WITH" and c is not gap[0])
        or c.text in ("explain", "explains", "account", "exaggerate", "accentuate", "exaggerating")
        for c in gap
    ):
        return []
    if (
        any(c.tag == "CAUSE" for c in gap)
        and "adv" not in chunk.flags
        and "modal" not in chunk.flags
        and any(c.tag == "CHG" for c in gap)
    ):
        return []
    inside = clause.chunks[max(index + 1, first.first) : first.index]
    if _hedges_the_change(clause, index, chunk, gap, inside):
        return []
    covered = [first]
    for position, mention in enumerate(later[1:], start=1):
        between = clause.chunks[later[position - 1].last : mention.first]
        if mention.relation == "versus" or (
            mention.relation == "list" and not _parts_hedge(clause, mention, between, later[position:])
        ):
            covered.append(mention)
        else:
            break
    return covered


def _parts_hedge(clause: Clause, mention: Mention, between: list[Chunk], rest: list[Mention]) -> bool:
    if any(c.tag == "CONJ" and c.value == "or" for c in between):
        return False
    if any(c.tag == "COMMA" for c in between) and not any(c.tag == "CONJ" for c in between):
        after = clause.chunks[mention.last : mention.last + 3]
        either = any(c.tag == "CONJ" and c.value == "or" for c in after)  # "edema, pneumonia, or both"
        return not (either or _ends_in_or(clause, rest))
    words = clause.chunks[mention.first : mention.index]
    return any(c.tag in ("SEV", "CHG", "SIDE") or c.text in ("a", "an", "the") for c in words)


def _hedges_the_change(clause: Clause, index: int, chunk: Chunk, gap: list[Chunk], inside: list[Chunk]) -> bool:
    """A hedge right before a change word is about the change, and the finding stays present: "probably slightly larger"."""
    following = next((c for c in clause.chunks[index + 1 :] if c.tag not in ("ADV", "V", "CMPW", "SEV", "NOW")), None)
    if following is None or following.tag not in ("CHG", "MOVE"):
        return False
    if following in inside:
        return (
            "adv" in chunk.flags
            and following.value != "new"
            and bool([m for m in clause.mentions if m.index < index] or "g" not in following.flags)
        )
    return True


def _versus(clause: Clause) -> None:
    """All alternatives of a differential are uncertain."""
    for one, two in zip(clause.mentions, clause.mentions[1:], strict=False):
        between = clause.chunks[one.last : two.first]
        if any(c.tag == "CHG" and c.denied and c.value != "new" for c in clause.chunks[: one.index]):
            continue
        mark = next((c for c in between if c.tag == "VERSUS"), None)
        either = next((c for c in between if c.tag == "CONJ" and c.value == "or" and c.text == "or"), None)
        sign = mark or either
        if two.relation == "versus" and sign is not None:
            _doubt(one, sign)
            _doubt(two, sign)
        elif two.relation == "list" and either is not None:
            _doubt(one, either)
            _doubt(two, either)
            index = clause.mentions.index(one)
            while clause.mentions[index].relation == "list" and index:
                index -= 1
                _doubt(clause.mentions[index], either)


def _doubt(mention: Mention, chunk: Chunk) -> None:
    mention.presence, mention.presence_chunk = "uncertain", mention.presence_chunk or chunk


def side_after(clause: Clause, index: int) -> str | None:
    """The side in "... on the left" right after a predicate."""
    chunks = clause.chunks
    position = index + 1
    while position < len(chunks) and chunks[position].tag in ("CONJ", "CHG", "SEV", "ADV", "NOW"):
        position += 1
    if (
        position < len(chunks)
        and chunks[position].tag == "PREP"
        and chunks[position].text in ("on", "at", "in", "on the", "at the", "in the")
    ):
        position += 1
        while position < len(chunks) and chunks[position].tag in ("ART", "LUNG", "ADV"):
            position += 1
        if position < len(chunks) and chunks[position].tag == "SIDE" and "compare" not in chunks[position].flags:  # fmt: skip
            return chunks[position].value
    return None


__all__ = ["settle_presence", "side_after", "subjects_before"]
