"""Step 5: presence, side and severity of each mention: what negates it, what hedges it, and how far each reaches.

After the ConText idea: a trigger looks forward or back, over the members of a list, and ends at a new statement; pseudo-triggers ("no
change", "not only", "cannot be excluded") are phrases of their own in the table and so never reach here.
"""

from .clauses import Clause, Event, Mention, Part
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
    _organs(clause)


# ---- denied changes ----


def _deny_changes(clause: Clause) -> None:
    chunks = clause.chunks
    for index, chunk in enumerate(chunks):
        if chunk.tag not in ("NEG", "NOT", "NEGCHG"):
            continue
        position = index + 1
        while position < len(chunks) and (chunks[position].tag in _SKIP_TO_CHANGE and not _stops_denial(chunks[position]) or chunks[position].tag == "CMPW" or chunks[position].tag == "VSEEN" and chunk.tag == "NOT"):
            position += 1
        while position < len(chunks) and chunks[position].tag == "SEV" and position + 1 < len(chunks) and chunks[position + 1].tag == "CHG":
            position += 1
        if position >= len(chunks) or chunks[position].tag != "CHG":
            continue
        if chunk.tag == "NEG" and _phrase_before_finding(chunks, index, position):
            continue
        _deny(chunks, position)


def _stops_denial(chunk: Chunk) -> bool:
    return chunk.tag == "W" and chunk.text not in ("been", "significantly", "really", "apparently", "clearly", "convincingly", "obviously", "evidence", "sign", "signs", "of", "been", "at", "all", "to")  # fmt: skip


def _phrase_before_finding(chunks: list[Chunk], negation: int, position: int) -> bool:
    return False


def _deny(chunks: list[Chunk], position: int) -> None:
    """Denies a change word and those joined to it ("neither cleared nor enlarged", "no new or increasing ...")."""
    chunks[position].denied = True
    position += 1
    while position < len(chunks) and (chunks[position].tag in ("CONJ", "COMMA", "ADV") or chunks[position].value == "nor"):
        position += 1
    joined = position - 1 >= 0 and chunks[position - 1].tag in ("CONJ", "COMMA", "ADV", "NEG")
    if joined and position < len(chunks) and chunks[position].tag == "CHG":
        _deny(chunks, position)


# ---- negation ----


def _negate_forward(clause: Clause) -> None:
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag not in ("NEG", "NOT", "ASSERT", "NEGCHG") and "neg" not in chunk.flags:
            continue
        if chunk.tag == "NOT" and not _not_reaches(clause, index):
            continue
        if chunk.tag == "NEGCHG" or (chunk.value == "nor" and any(c.text == "neither" for c in clause.chunks[:index])):
            continue
        covered = _covered(clause, index, chunk)
        if not covered:
            _negate_subject(clause, index, chunk)
        if covered and (chunk.text in ("neither", "none of", "no", "not any") or chunk.tag == "SIDE") and _denies_predicate(clause, covered, chunk):
            continue
        for mention in covered:
            if chunk.tag == "ASSERT":
                mention.presence = "present"
            elif not _denied_change_of(clause, index, mention):
                mention.presence, mention.presence_chunk = "absent", chunk
                _was_known(clause, mention, chunk)


def _was_known(clause: Clause, mention: Mention, chunk: Chunk) -> None:
    """ "No evidence of the previously described pneumothorax.": what was there is gone."""
    words = clause.chunks[mention.first : mention.index]
    known = any(c.tag == "CMPW" and c.text in ("previously", "formerly", "earlier", "previous", "prior") for c in words)
    if known and (any(c.text in ("the", "of the") for c in words) or chunk.tag == "NEGPOST"):
        mention.events.append(Event("resolved", False, chunk))


def _not_reaches(clause: Clause, index: int) -> bool:
    """ "not" denies a finding only through a verb of showing or directly ("not a pneumothorax", "is not pneumonia")."""
    following = clause.chunks[index + 1 : index + 4]
    if following and following[0].tag == "V" and following[0].text not in ("be", "been"):
        return True
    for chunk in following:
        if chunk.tag == "FIND":
            return True
        if chunk.tag not in ("ART", "SIDE", "SEV", "ADV", "W") or chunk.text == "necessarily":
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
        if relation in ("list", "versus") and not _own_statement(clause, mention, between, later[position:]):
            covered.append(mention)
        elif relation == "explain" and any(c.text in ("suggest", "suggestive of", "suggesting", "concerning for", "suspicious for", "worrisome for") for c in between):
            covered.append(mention)
        elif relation == "cause" and any(c.text in ("to suggest", "to indicate", "indicative of", "indicate", "consistent with", "compatible with", "diagnostic of") for c in between):
            covered.append(mention)
        elif relation == "near" and any(c.text in ("to suggest", "to indicate", "of") for c in between):
            covered.append(mention)
        else:
            break
    return covered


def _ends_scope(chunk: Chunk, negation: Chunk) -> bool:
    if chunk.tag in ("EXCEPT", "WITH", "CAUSE", "AFTER", "REL", "PRON", "COLON", "ASSERT", "ADVICE", "CLEAR", "NORMAL"):
        return chunk.tag != "WITH" or negation.text != "no"
    if chunk.tag == "COMMA":
        return True
    if chunk.tag == "V":
        return negation.tag == "NEG"
    return chunk.tag == "HEDGEPOST"


def _own_statement(clause: Clause, mention: Mention, between: list[Chunk], rest: list[Mention]) -> bool:
    """Whether a listed phrase starts a statement of its own: "no effusion, small left pneumothorax"."""
    if any(c.tag == "CONJ" and c.value == "or" for c in between) or any(c.value == "nor" for c in between):
        return False
    words = clause.chunks[mention.first : mention.index]
    own = any(c.tag == "SEV" or (c.tag == "CHG" and not c.denied and c.value != "new" and "g" not in c.flags) or (c.tag == "ART" and c.text in ("a", "an", "the")) for c in words)
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
    denied = [(i, c) for i, c in enumerate(clause.chunks[index + 1 : mention.index], start=index + 1) if c.tag == "CHG" and c.denied]
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
        if not tight and not verb and not any(
            c.tag == "CONJ" for m, n in zip(members[start:], members[start + 1 :], strict=False) for c in clause.chunks[m.last : n.first]
        ):
            break
        start -= 1
    return members[start:]


def _look_back(clause: Clause) -> None:
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "NEGPOST":
            value = "absent"
        elif chunk.tag in ("HEDGEPOST", "HEDGEPOST2") or (chunk.tag == "QUERY" and chunk.value == "post"):
            value = "uncertain"
        elif chunk.tag in ("HEDGE",) and _hedges_back(clause, index):
            value = "uncertain"
        else:
            continue
        if value == "absent" and _about_tip(clause, index):
            continue
        if value == "absent" and (side := _side_after(clause, index)) in ("left", "right") and _absent_on(clause, index, side, chunk):
            continue
        if chunk.tag == "HEDGEPOST2" and index + 1 < len(clause.chunks) and clause.chunks[index + 1].tag == "W":
            continue  # "considered typical"
        if chunk.tag == "HEDGEPOST2" and not _stands_after_verb(clause, index):
            continue
        targets = subjects_before(clause, index)
        last = next((m for m in reversed(clause.mentions) if m.last <= index), None)
        if last is not None and not last.head and last.last == index and value == "uncertain":
            targets = [last]
        elif last is not None and value == "uncertain" and not last.head and last.presence != "absent" and not any(c.tag in ("COMMA", "CONJ") for c in clause.chunks[last.last : index]) and _explains(clause, last):
            targets = [last]
        if not targets and chunk.tag in ("NEGPOST", "HEDGEPOST"):
            targets = _first_listed(clause, index)
        whole = any(c.tag == "VERSUS" or (c.tag == "CONJ" and c.value == "or") for c in clause.chunks) and value == "uncertain"
        for mention in targets:
            if mention.presence == "absent" and value == "uncertain" and not whole:
                continue
            mention.presence, mention.presence_chunk = value, chunk
            if value == "absent":
                _was_known(clause, mention, chunk)


def _about_tip(clause: Clause, index: int) -> bool:
    """ "PICC, tip not seen": the line is there."""
    return any(c.text in ("tip", "tips", "lead", "leads", "port", "side port", "distal end") for c in clause.chunks[max(0, index - 3) : index])


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
    return any(c.tag in ("V", "FIND", "SIDE", "PSEUDO", "NOT", "LUNG") or c.text in ("be", "remains", "remain") for c in before)


def _hedges_back(clause: Clause, index: int) -> bool:
    """An adjective of doubt with no finding after it says it of the one before: "effusion is possible", "pneumothorax, probable"."""
    chunk = clause.chunks[index]
    if chunk.flags not in ("adj", "adv") and "prepost" not in chunk.value:
        return False
    rest = clause.chunks[index + 1 :]
    if rest and rest[0].tag == "W" and "adv" in chunk.flags:
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
    if any(c.tag in ("COMMA", "NEG", "SEP", "EXCEPT", "COLON", "STOP", "AFTER", "NEAR", "NEGPOST", "DASH", "WITH") or c.text in ("explain", "explains", "account", "exaggerate", "accentuate", "exaggerating") for c in gap):
        return []
    if any(c.tag == "CAUSE" for c in gap) and "adv" not in chunk.flags and "modal" not in chunk.flags and any(c.tag == "CHG" for c in gap):
        return []
    inside = clause.chunks[max(index + 1, first.first) : first.index]
    if _hedges_the_change(clause, index, chunk, gap, inside):
        return []
    covered = [first]
    for position, mention in enumerate(later[1:], start=1):
        between = clause.chunks[later[position - 1].last : mention.first]
        if mention.relation == "versus" or (mention.relation == "list" and not _parts_hedge(clause, mention, between, later[position:])):
            covered.append(mention)
        else:
            break
    return covered


def _parts_hedge(clause: Clause, mention: Mention, between: list[Chunk], rest: list[Mention]) -> bool:
    if any(c.tag == "CONJ" and c.value == "or" for c in between):
        return False
    if any(c.tag == "COMMA" for c in between) and not any(c.tag == "CONJ" for c in between):
        return not _ends_in_or(clause, rest)
    words = clause.chunks[mention.first : mention.index]
    return any(c.tag in ("SEV", "CHG", "SIDE") or c.text in ("a", "an", "the") for c in words)


def _hedges_the_change(clause: Clause, index: int, chunk: Chunk, gap: list[Chunk], inside: list[Chunk]) -> bool:
    """A hedge right before a change word is about the change, and the finding stays present: "probably slightly larger"."""
    following = next((c for c in clause.chunks[index + 1 :] if c.tag not in ("ADV", "V", "CMPW", "SEV", "NOW")), None)
    if following is None or following.tag not in ("CHG", "MOVE"):
        return False
    if following in inside:
        return "adv" in chunk.flags and following.value != "new" and bool([m for m in clause.mentions if m.index < index] or "g" not in following.flags)
    return True


def _versus(clause: Clause) -> None:
    """All alternatives of a differential are uncertain."""
    for one, two in zip(clause.mentions, clause.mentions[1:], strict=False):
        between = clause.chunks[one.last : two.first]
        if any(c.tag == "CHG" and c.denied and c.value != "new" for c in clause.chunks[: one.index]):
            continue
        mark = next((c for c in between if c.tag == "VERSUS"), None)
        either = next((c for c in between if c.tag == "CONJ" and c.value == "or" and c.text == "or"), None)
        if two.relation == "versus" and (mark or either) is not None:
            _doubt(one, mark or either), _doubt(two, mark or either)
        elif two.relation == "list" and either is not None:
            _doubt(one, either), _doubt(two, either)
            index = clause.mentions.index(one)
            while clause.mentions[index].relation == "list" and index:
                index -= 1
                _doubt(clause.mentions[index], either)


def _doubt(mention: Mention, chunk: Chunk) -> None:
    mention.presence, mention.presence_chunk = "uncertain", mention.presence_chunk or chunk


# ---- organs ----


def _organs(clause: Clause) -> None:
    """An organ that is named is abnormal, normal, or neither: "the heart is enlarged", "heart size is normal", "heart size stable"."""
    for number, mention in enumerate(clause.mentions):
        if mention.kind != "organ":
            continue
        before = clause.chunks[mention.first : mention.index]
        if mention.first > 1 and clause.chunks[mention.first - 1].tag == "PREP" and clause.chunks[mention.first - 2].tag in ("NORMAL", "ABN"):
            before = clause.chunks[mention.first - 2 : mention.index]  # "a normal size of the heart"
        limit = clause.mentions[number + 1].first if number + 1 < len(clause.mentions) else len(clause.chunks)
        shared = number + 1 < len(clause.mentions) and clause.mentions[number + 1].kind == "organ" and clause.mentions[number + 1].relation == "list"
        if shared:
            limit = clause.mentions[number + 2].first if number + 2 < len(clause.mentions) else len(clause.chunks)
        after = clause.chunks[mention.last : limit]
        while after and after[-1].tag in ("NEG", "COMMA", "CONJ", "ADV", "ART", "HEDGE"):
            after = after[:-1]  # of the next finding
        words = [*before, *after]
        _judge_organ(clause, mention, words)


def _judge_organ(clause: Clause, mention: Mention, words: list[Chunk]) -> None:
    negated = mention.presence == "absent" or any(
        c.tag in ("NOT", "NEG") and not (i + 1 < len(words) and words[i + 1].tag == "CHG" and words[i + 1].note != "size")
        for i, c in enumerate(words)
    )
    normal = next((c for c in words if c.tag == "NORMAL"), None)
    if mention.severity is not None and mention.severity.value in ("large", "small"):
        mention.severity = None
    big = next((c for c in words if c.tag == "ABN" or (c.tag == "CHG" and (c.note == "size" or c.value in ("increased", "decreased"))) or (c.tag == "SEV" and c.value in ("large",))), None)
    hedge = next((c for c in words if c.tag in ("HEDGE", "HEDGEPOST", "HEDGEPOST2")), None)
    if big is not None and big.tag == "CHG" and (big.note == "size" or "enlarge" in big.text):
        if big.value == "resolved":
            return
        if big.denied or negated:
            mention.presence, mention.presence_chunk, big.value = "absent", big, "size"
            return
        mention.presence, mention.presence_chunk = "uncertain" if hedge else "present", big
        if not _became(clause, big):
            big.value = "size"
    elif normal is not None and not (negated and not normal.text.startswith("not")):
        mention.presence, mention.presence_chunk = "absent", normal
    elif big is not None:
        mention.presence = "absent" if negated and big.tag != "CHG" else "uncertain" if hedge else "present"
        mention.presence_chunk = big
    elif hedge is not None and hedge.text == "borderline":
        mention.presence, mention.presence_chunk = "uncertain", hedge
    elif normal is not None:
        mention.presence, mention.presence_chunk = "present", normal
    else:
        mention.presence = None


def _became(clause: Clause, chunk: Chunk) -> bool:
    """ "has enlarged", "has become enlarged", "more enlarged": a change; "is enlarged" is none."""
    index = clause.chunks.index(chunk)
    before = clause.chunks[max(0, index - 3) : index]
    return any(c.text in ("has", "have", "had", "become", "became", "becomes", "more", "increasingly", "newly", "getting") for c in before) or chunk.text in ("enlarging",)


# ---- side and severity ----


def settle_sides(clause: Clause) -> None:
    """Sets side and severity of all mentions from their noun phrases, and one part a side where the two differ."""
    for mention in clause.mentions:
        before = clause.chunks[mention.first : mention.index]
        after = clause.chunks[mention.index + 1 : mention.last]
        groups = _groups(before)
        if len(groups) > 1:
            mention.parts = groups
            continue
        if mention.finding in ("diaphragm_elevation", "hilar_enlargement"):
            mention.sides += [w for w in mention.chunk.text.split() if w in ("left", "right")]
        lobes = _lobe_parts(before) or _lobe_parts(after, mention.finding == "fracture")
        mention.parts = lobes or mention.parts
        if lobes:
            mention.severity = _first_severity(before)
            continue
        if mention.is_device and any(c.text in ("tip", "terminates", "terminating", "ending", "ends", "lead", "leads") for c in after):
            after = []
        if mention.is_device and any(c.tag == "FIND" for c in after):
            after = []
        for chunk in [*before, *after]:
            if chunk.tag == "SIDE" and not (mention.is_device and chunk in after and _tip(clause, mention, chunk)):
                mention.sides.append(chunk.value)
                mention.side_chunks.append(chunk)
            elif chunk.tag == "BACKREF":
                mention.sides.append(f"@{chunk.value}")
                mention.side_chunks.append(chunk)
        if not mention.sides and mention.is_device:
            mention.side_chunks = _access(clause, mention) or _on_side(clause, mention)
            mention.sides = [c.value for c in mention.side_chunks]
        if not mention.sides and not mention.is_device:
            mention.side_chunks = _stated_place(clause, mention)
            mention.sides = [c.value if c.tag == "SIDE" else f"@{c.value}" for c in mention.side_chunks]
        mention.severity = _first_severity(before) or _first_severity(after)
    _trailing_side(clause)
    _share_sides(clause)
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "SEV":
            _predicate_severity(clause, index, chunk)


def _on_side(clause: Clause, mention: Mention) -> list[Chunk]:
    """ "Drain in situ on the right." """
    after = clause.chunks[mention.last : mention.last + 7]
    for position, chunk in enumerate(after):
        if chunk.tag == "PREP" and chunk.text in ("on", "on the"):
            return [c for c in after[position + 1 : position + 3] if c.tag == "SIDE"][:1]
        if chunk.tag not in ("V", "VSEEN", "ADV", "PREP", "CHG") and chunk.text not in ("situ", "place", "position"):
            break
    return []


def _trailing_side(clause: Clause) -> None:
    """ "Effusion: trace, left.", "pacemaker, unchanged, on the left", "opacities, the right worse than the left", "effusions, both small"."""
    chunks = clause.chunks
    for index, chunk in enumerate(chunks):
        if chunk.tag == "PRON" and chunk.text == "both" and len(clause.mentions) == 1 and clause.mentions[0].index < index:
            mention = clause.mentions[0]
            if not mention.sides and not mention.parts and mention.chunk.text.endswith("s"):
                mention.sides, mention.side_chunks = ["bilateral"], [chunk]
            continue
        if chunk.tag != "SIDE" or any(m.first <= index < m.last for m in clause.mentions):
            continue
        before = index - 1
        while before >= 0 and chunks[before].tag in ("ART", "PREP"):
            before -= 1
        follows = index + 1
        while follows < len(chunks) and chunks[follows].tag == "LUNG":
            follows += 1
        ends = follows >= len(chunks) or chunks[follows].tag in ("COMMA", "STOP", "PAREN", "DASH")
        if before < 0 or chunks[before].tag not in ("COMMA", "PAREN", "DASH") or not ends:
            continue
        if any(c.text in ("tip", "terminates", "ending", "terminating", "lead", "leads") for c in chunks[:index]):
            continue
        for mention in subjects_before(clause, before):
            if not mention.sides and not mention.parts:
                mention.sides, mention.side_chunks = [chunk.value], [chunk]


def _access(clause: Clause, mention: Mention) -> list[Chunk]:
    """The side by which a device enters: "via the right internal jugular vein", "from a left subclavian approach"."""
    after = clause.chunks[mention.index + 1 : mention.index + 8]
    for position, chunk in enumerate(after):
        if chunk.text in ("via", "from", "through", "by"):
            return [c for c in after[position + 1 : position + 4] if c.tag == "SIDE"][:1]
        if chunk.tag in ("COMMA", "SEP", "CONJ", "STOP", "FIND", "WITH"):
            break
    return []


def _stated_place(clause: Clause, mention: Mention) -> list[Chunk]:
    """The side in "is seen in the left base", "are scattered throughout both lungs", "is present on the right"."""
    chunks, position, placed = clause.chunks, mention.last, False
    seen = False
    found: list[Chunk] = []
    while position < len(chunks):
        chunk = chunks[position]
        if (chunk.tag in ("V", "VSEEN", "ADV", "ANYLONGER", "CMPW") and chunk.value != "place") or (chunk.tag == "W" and not placed) or (chunk.tag == "CHG" and "w" in chunk.flags and not placed):
            seen = seen or chunk.tag in ("V", "VSEEN") or chunk.text.endswith("ed")
        elif (chunk.tag == "PREP" and seen) or (chunk.tag == "VSEEN" and chunk.value == "place"):
            seen = placed = True
        elif chunk.tag in ("HEDGE", "HEDGEPOST", "HEDGEPOST2") and seen and not placed and chunk.value != "pre":
            pass
        elif chunk.tag == "CHG" and "v" in chunk.flags and not placed and [c.text for c in chunks[position + 1 : position + 3]] in (["to", "involve"], ["to", "involving"], ["to", "include"]):
            seen, placed, position = True, True, position + 2
        elif chunk.tag in ("SIDE", "BACKREF") and seen and "compare" not in chunk.flags:
            found.append(chunk)
        elif placed and chunk.tag in ("ART", "LUNG", "W", "NUM", "STRUCT") or (chunk.tag == "CONJ" and found and _side_follows(chunks, position)):
            pass
        else:
            break
        position += 1
    if position < len(chunks) and chunks[position].tag in ("FIND", "DEVSTATE"):
        return []
    return found


def _side_follows(chunks: list[Chunk], position: int) -> bool:
    rest = chunks[position + 1 : position + 4]
    return any(c.tag == "SIDE" for c in rest) and not any(c.tag in ("V", "CHG", "FIND", "SEV") for c in chunks[position + 1 :])


def _tip(clause: Clause, mention: Mention, chunk: Chunk) -> bool:
    words = [c.text for c in clause.chunks[mention.index + 1 : clause.chunks.index(chunk)]]
    return any(w in ("to", "into", "up to") for w in words)


def _first_severity(chunks: list[Chunk]) -> Chunk | None:
    """The severity that stands before the noun; of "mild to moderate" the first. "Previously small, now moderate" is moderate."""
    levels = [(i, c) for i, c in enumerate(chunks) if c.tag == "SEV"]
    if not levels:
        return None
    now = [c for i, c in levels if i and chunks[i - 1].tag == "NOW"]
    current = [c for i, c in levels if not (i and chunks[i - 1].tag == "CMPW")]
    return now[0] if now else current[0] if current else None


def _lobe_parts(before: list[Chunk], ribs: bool = False) -> list[Part]:
    """ "RUL and LLL nodules": a lobe of each side is named, which makes two findings."""
    sides = [i for i, c in enumerate(before) if c.tag == "SIDE"]
    if ribs and len(sides) == 2 and before[sides[0]].value != before[sides[1]].value and any(c.tag == "CONJ" for c in before):
        return [Part(before[i].value) for i in sides]
    if len(sides) != 2 or before[sides[0]].value == before[sides[1]].value:
        return []
    named = [before[i].text.endswith("lobe") or i + 1 < len(before) and before[i + 1].text.split()[-1] in ("lobe", "zone", "lobes") for i in sides]
    if not all(named) or not any(c.tag in ("CONJ", "COMMA") for c in before[sides[0] : sides[1]]):
        return []
    return [Part(before[i].value) for i in sides]


def _groups(before: list[Chunk]) -> list[Part]:
    """The modifiers cut at a joint between two sides that each have a severity or change of their own."""
    parts: list[list[Chunk]] = [[]]
    for chunk in before:
        if chunk.tag in ("CONJ", "COMMA"):
            parts.append([])
        else:
            parts[-1].append(chunk)
    parts = [p for p in parts if p]
    if len(parts) != 2:
        return []
    sides = [[c.value for c in part if c.tag == "SIDE"] for part in parts]
    if not all(len(s) == 1 for s in sides) or sides[0] == sides[1] or "bilateral" in (sides[0][0], sides[1][0]):
        return []
    if not any(c.tag in ("SEV", "CHG") for c in parts[1]):
        return []
    return [Part(side[0], next((c for c in part if c.tag == "SEV"), None)) for side, part in zip(sides, parts, strict=True)]


def _share_sides(clause: Clause) -> None:
    """Listed findings share the side said of the last ("effusion and atelectasis on the left") or, when bare, of the first."""
    mentions = clause.mentions
    for position in range(len(mentions) - 1, 0, -1):
        one, two = mentions[position - 1], mentions[position]
        beside = any(c.text in ("next to", "near", "beside", "alongside", "adjacent to", "close to") for c in clause.chunks[one.last : two.first])
        if two.relation != "list" and not (two.relation == "near" and beside) and not (two.relation == "with" and any(c.tag == "ADJACENT" for c in clause.chunks[one.last : two.index])) or one.sides or one.parts or one.is_device or two.is_device:
            continue
        after = [c for c in clause.chunks[two.index + 1 : two.last] if c.tag in ("SIDE", "BACKREF")]
        if after and two.sides and one.presence == two.presence:
            one.sides, one.side_chunks = list(two.sides), list(two.side_chunks)
    for one, two in zip(mentions, mentions[1:], strict=False):
        if two.sides or two.parts or two.is_device or not one.sides:
            continue
        between = clause.chunks[one.last : two.index]
        adjacent = any(c.tag == "ADJACENT" or c.text == "superimposed on" for c in between) and not one.is_device
        explains = two.relation in ("explain", "versus", "cause") and not one.is_device
        if explains and two.relation == "cause" and any(c.text in ("causing",) for c in between):
            explains = False
        bare = two.relation == "list" and not one.is_device and two.kind != "organ" and two.first == two.index and any(c.tag == "CONJ" for c in between) and one.last == one.index + 1  # fmt: skip
        if any("superimposed" in c.text for c in between) and not explains:
            adjacent = False
        if one.kind in ("other", "organ") and two.relation in ("near", "cause") and any(c.text in ("by", "due to", "from", "because of", "secondary to") for c in between):
            adjacent = True
        if two.relation == "cause" and one.presence == "absent":
            explains = False
        doubted = two.relation == "list" and two.presence == "uncertain" and two.finding in ("pneumonia", "atelectasis") and one.finding in ("opacity", "consolidation") and one.presence == "present"
        if adjacent or doubted or explains or bare or (two.relation == "list" and one.relation in ("explain", "versus", "cause")):
            two.sides, two.side_chunks = list(one.sides), list(one.side_chunks)


def _predicate_severity(clause: Clause, index: int, chunk: Chunk) -> None:
    """ "is small", "now moderate", "moderate in size", "small on the right and moderate on the left"."""
    if any(m.first <= index < m.last for m in clause.mentions):
        return
    before = clause.chunks[index - 1] if index else None
    if before is not None and before.text in ("was", "were", "had been") and any(c.tag == "NOW" for c in clause.chunks[:index]):
        return
    if before is not None and before.tag in ("CMPW",) or (before is not None and before.text in ("from", "formerly")):
        return
    if before is not None and before.tag in ("CONJ", "DASH", "PREP") and before.text in ("to", "or", "/", "-", "–") and index > 1 and clause.chunks[index - 2].tag == "SEV" and not (index > 2 and clause.chunks[index - 3].text.endswith("from")):  # fmt: skip
        return  # "mild to moderate" takes its first part
    targets = subjects_before(clause, index)
    if not targets:
        return
    if before is not None and "transition" in before.flags:
        return
    following = clause.chunks[index + 1] if index + 1 < len(clause.chunks) else None
    if following is not None and following.tag in ("W",) and following.text not in ("sized", "size", "only", "volume", "amount", "today", "if", "when", "again"):
        if not following.text.endswith("ly"):
            return
    if following is not None and (following.tag in ("CHG", "LUNG", "MOVE") and following.value != "size"):
        if following.tag != "CHG" or "n" in following.flags:
            return
    side = _side_after(clause, index)
    if before is not None and before.tag == "SIDE" and following is not None and following.tag in ("COMMA", "CONJ") and len(targets) == 1 and any(c.tag == "SEV" for c in clause.chunks[index + 1 :]):
        side = before.value
    for mention in targets:
        if side == "bilateral":
            mention.sides = mention.sides or [side]
            mention.severity = chunk
        elif side is not None and set(mention.sides) != {side}:
            part = next((p for p in mention.parts if p.side == side), None)
            if part is None:
                mention.parts.append(part := Part(side))
            part.severity = chunk
        elif mention.kind != "organ" or chunk.value not in ("large", "small"):
            mention.severity = chunk


def _side_after(clause: Clause, index: int) -> str | None:
    """The side in "... on the left" right after a predicate."""
    chunks = clause.chunks
    position = index + 1
    while position < len(chunks) and chunks[position].tag in ("CONJ", "CHG", "SEV", "ADV", "NOW"):
        position += 1
    if position < len(chunks) and chunks[position].tag == "PREP" and chunks[position].text in ("on", "at", "in", "on the", "at the", "in the"):
        position += 1
        while position < len(chunks) and chunks[position].tag in ("ART", "LUNG", "ADV"):
            position += 1
        if position < len(chunks) and chunks[position].tag == "SIDE" and "compare" not in chunks[position].flags:  # fmt: skip
            return chunks[position].value
    return None


__all__ = ["settle_presence", "settle_sides", "subjects_before"]
