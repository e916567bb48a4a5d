"""Step 5c: side and severity of each mention, from its noun phrase and from what is said of it."""

from .clauses import Clause, Mention, Part
from .scope import side_after, subjects_before
from .tokens import Chunk


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
        if mention.is_device and any(
            c.text in ("tip", "terminates", "terminating", "ending", "ends", "lead", "leads") for c in after
        ):
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
    """ "Drain in situ on the right.", "pacemaker projecting over the left chest wall"."""
    after = clause.chunks[mention.last : mention.last + 7]
    if mention.finding == "pacemaker" or mention.chunk.text.startswith("port"):
        for position, chunk in enumerate(after):
            if chunk.tag in ("COMMA", "SEP", "WITH", "FIND", "CONJ", "STOP"):
                break
            if chunk.text in ("chest wall", "chest", "pectoral", "hemithorax", "axilla", "pectoral region", "thorax"):
                return [c for c in after[:position] if c.tag == "SIDE"][-1:]
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
        if (
            chunk.tag == "PRON"
            and chunk.text == "both"
            and len(clause.mentions) == 1
            and clause.mentions[0].index < index
        ):
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
        while follows < len(chunks) and (chunks[follows].tag in ("LUNG", "NUM") or chunks[follows].tag in ("W", "PREP") and clause.mentions[:1] and clause.mentions[0].finding == "fracture"):  # fmt: skip
            follows += 1
        ends = follows >= len(chunks) or chunks[follows].tag in ("COMMA", "STOP", "PAREN", "DASH")
        if before < 0 or chunks[before].tag not in ("COMMA", "PAREN", "DASH", "SEV") or not ends:
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
        if (
            (chunk.tag in ("V", "VSEEN", "ADV", "ANYLONGER", "CMPW") and chunk.value != "place")
            or (chunk.tag == "W" and not placed)
            or (chunk.tag == "CHG" and "w" in chunk.flags and not placed)
        ):
            seen = seen or chunk.tag in ("V", "VSEEN") or chunk.text.endswith("ed")
        elif (chunk.tag == "PREP" and seen) or (chunk.tag == "VSEEN" and chunk.value == "place"):
            seen = placed = True
        elif chunk.tag in ("HEDGE", "HEDGEPOST", "HEDGEPOST2") and seen and not placed and chunk.value != "pre":
            pass
        elif (
            chunk.tag == "CHG"
            and "v" in chunk.flags
            and not placed
            and [c.text for c in chunks[position + 1 : position + 3]]
            in (["to", "involve"], ["to", "involving"], ["to", "include"])
        ):
            seen, placed, position = True, True, position + 2
        elif (
            chunk.tag == "CHG"
            and chunk.value == "new"
            and "v" in chunk.flags
            and not placed
            and any(c.tag == "BACKREF" for c in chunks[position + 1 : position + 4])
        ):
            seen = True  # "has developed on that side"
        elif chunk.tag in ("SIDE", "BACKREF") and seen and "compare" not in chunk.flags:
            found.append(chunk)
        elif (
            placed
            and chunk.tag in ("ART", "LUNG", "W", "NUM", "STRUCT")
            or (chunk.tag == "CONJ" and found and _side_follows(chunks, position))
        ):
            pass
        else:
            break
        position += 1
    if position < len(chunks) and chunks[position].tag in ("FIND", "DEVSTATE"):
        return []
    return found


def _side_follows(chunks: list[Chunk], position: int) -> bool:
    rest = chunks[position + 1 : position + 4]
    return any(c.tag == "SIDE" for c in rest) and not any(
        c.tag in ("V", "CHG", "FIND", "SEV") for c in chunks[position + 1 :]
    )


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
    if (
        ribs
        and len(sides) == 2
        and before[sides[0]].value != before[sides[1]].value
        and any(c.tag == "CONJ" for c in before)
    ):
        return [Part(before[i].value) for i in sides]
    if len(sides) != 2 or before[sides[0]].value == before[sides[1]].value:
        return []
    named = [
        before[i].text.endswith("lobe")
        or i == sides[0]
        and i + 1 < len(before)
        and before[i + 1].text in ("upper", "lower", "mid", "middle")
        or i + 1 < len(before)
        and before[i + 1].text.split()[-1] in ("lobe", "zone", "lobes")
        for i in sides
    ]
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
    return [
        Part(side[0], next((c for c in part if c.tag == "SEV"), None)) for side, part in zip(sides, parts, strict=True)
    ]


def _share_sides(clause: Clause) -> None:
    """Listed findings share the side said of the last ("effusion and atelectasis on the left") or, when bare, of the first."""
    mentions = clause.mentions
    for position in range(len(mentions) - 1, 0, -1):
        one, two = mentions[position - 1], mentions[position]
        beside = any(
            c.text in ("next to", "near", "beside", "alongside", "adjacent to", "close to")
            for c in clause.chunks[one.last : two.first]
        )
        either = one.presence == two.presence == "uncertain" and (two.relation in ("versus", "break", "explain"))
        either = either and not any(
            c.tag == "STOP" or (c.tag == "V" and two.relation != "versus") for c in clause.chunks[one.last : two.first]
        )
        if (
            two.relation != "list"
            and not either
            and not (two.relation == "near" and beside)
            and not (two.relation == "with" and any(c.tag == "ADJACENT" for c in clause.chunks[one.last : two.index]))
            or one.sides
            or one.parts
            or one.is_device
            or two.is_device
        ):
            continue
        after = [c for c in clause.chunks[two.index + 1 : two.last] if c.tag in ("SIDE", "BACKREF")]
        if after and two.sides and one.presence == two.presence:
            one.sides, one.side_chunks = list(two.sides), list(two.side_chunks)
    related: list[Mention] = []
    for one, two in zip(mentions, mentions[1:], strict=False):
        if two.sides or two.parts or two.is_device or not one.sides:
            continue
        between = clause.chunks[one.last : two.index]
        adjacent = any(c.tag == "ADJACENT" or c.text == "superimposed on" for c in between) and not one.is_device
        explains = two.relation in ("explain", "versus", "cause") and not one.is_device
        if any(c.tag == "REL" for c in between) and any(c.tag in ("HEDGE", "CAUSE") for c in between):
            explains = not one.is_device  # "opacities, which may be pneumonia"
            related.append(two)
        if explains and two.relation == "cause" and any(c.text in ("causing",) for c in between):
            explains = False
        bare = two.relation == "list" and not one.is_device and two.kind != "organ" and two.first == two.index and any(c.tag == "CONJ" for c in between) and one.last == one.index + 1  # fmt: skip
        if any("superimposed" in c.text for c in between) and not explains:
            adjacent = False
        if (
            one.kind in ("other", "organ")
            and two.relation in ("near", "cause")
            and any(c.text in ("by", "due to", "from", "because of", "secondary to") for c in between)
        ):
            adjacent = True
        if two.relation == "cause" and one.presence == "absent":
            explains = False
        doubted = (
            two.relation == "list"
            and two.presence == "uncertain"
            and two.finding in ("pneumonia", "atelectasis", "lung_lesion")
            and one.finding in ("opacity", "consolidation")
            and one.presence == "present"
        )
        if (
            adjacent
            or doubted
            or explains
            or bare
            or (two.relation == "list" and (one.relation in ("explain", "versus", "cause") or one in related))
        ):
            two.sides, two.side_chunks = list(one.sides), list(one.side_chunks)


def _predicate_severity(clause: Clause, index: int, chunk: Chunk) -> None:
    """ "is small", "now moderate", "moderate in size", "small on the right and moderate on the left"."""
    if (
        any(m.first <= index < m.last for m in clause.mentions)
        or _is_former(clause, index)
        or _grades_else(clause, index)
    ):
        return
    targets = subjects_before(clause, index)
    side = side_after(clause, index) or _side_before(clause, index, targets)
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


def _is_former(clause: Clause, index: int) -> bool:
    """The size of before ("was large", "from small", "formerly large"), or the second part of "mild to moderate"."""
    if index == 0:
        return False
    before = clause.chunks[index - 1]
    if before.text in ("was", "were", "had been") and any(c.tag == "NOW" for c in clause.chunks[:index]):
        return True
    if before.tag == "CMPW" or before.text == "formerly" or before.text.split()[-1] == "from":
        return True
    joint = before.tag in ("CONJ", "DASH", "PREP") and before.text in ("to", "or", "/", "-", "–")
    if not joint or index < 2 or clause.chunks[index - 2].tag != "SEV":
        return False
    return not (index > 2 and clause.chunks[index - 3].text.endswith("from"))


_AFTER_SIZE = frozenset(("sized", "size", "only", "volume", "amount", "today", "if", "when", "again"))


def _grades_else(clause: Clause, index: int) -> bool:
    """Whether the word grades what follows it: a noun that is no finding, a lung, a change."""
    if index + 1 >= len(clause.chunks):
        return False
    following = clause.chunks[index + 1]
    if following.tag == "W":
        return following.text not in _AFTER_SIZE and not following.text.endswith("ly")
    if following.tag == "CHG":
        return following.value != "size" and "n" in following.flags
    return following.tag in ("LUNG", "MOVE")


def _side_before(clause: Clause, index: int, targets: list[Mention]) -> str | None:
    """ "Effusions: left small, right moderate": the side right before, where another size follows."""
    if index == 0 or len(targets) != 1 or clause.chunks[index - 1].tag != "SIDE":
        return None
    rest = clause.chunks[index + 1 :]
    if rest and rest[0].tag in ("COMMA", "CONJ") and any(c.tag == "SEV" for c in rest):
        return clause.chunks[index - 1].value
    return None


__all__ = ["settle_sides"]
