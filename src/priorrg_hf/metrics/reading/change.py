"""Step 6: which change belongs to which mention, by grammar.

A change word is an adjective of the noun that it stands before, a noun with the finding after "in" or "of", a verb or predicate said of
the finding before it, or, with nothing before it, said of the finding after it ("again seen is ..."). What belongs to no mention is
handed back: it may be about a finding of the sentence before, or about the chest as a whole.
"""

from .clauses import PLACES, Clause, Event, Mention, Part
from .scope import side_after, subjects_before
from .tokens import MONTHS, Chunk


_FORWARD = frozenset(
    (
        *PLACES,
        "regarding",
        "with respect to",
        "with regard to",
        "as regards",
        "in respect of",
        "in terms of",
        "concerning",
    )
)
_NOT_PLACED = frozenset(("suitably", "suitable", "satisfactory", "good", "centrally", "ideally", "inappropriately", "incorrectly", "badly", "too", "suboptimally", "safely", "well", "appropriately", "satisfactorily", "correctly", "adequately", "properly", "recently", "high", "low", "newly placed", "optimally", "poorly", "previously"))  # fmt: skip
_EARLIER = frozenset(("initial", "initially", "having", "had", "earlier", "original", "first", "after", "following", "despite", "once", "at first", "originally", "temporary", "transient", "brief", "transiently"))  # fmt: skip
_ORDER = {"subtle": 0, "trace": 0, "small": 1, "mild": 1, "moderate": 2, "large": 3, "severe": 3}


def label_of(chunk: Chunk) -> tuple[str | None, bool]:
    """The change that a change word tells, after denial, and whether it is weak (says only that the finding is still there)."""
    value, denied = chunk.value, chunk.denied
    if value == "change":
        return ("unchanged", False) if denied else (None, False)
    if value == "asmuch":
        return ("decreased", False) if denied else ("unchanged", False)
    if value == "size":
        return None, False
    if denied:
        if value in ("increased", "decreased"):
            return "unchanged", "weak" in chunk.note
        if value == "resolved":
            return "unchanged", True
        if value == "new":
            return ("unchanged", True) if chunk.flags and "n" not in chunk.flags else (None, False)
        return None, False
    return value, "w" in chunk.flags


def attach_changes(clause: Clause) -> list[tuple[int, Event]]:
    """Gives each change word to mentions of the clause; returns those that belong to none, with their place in it."""
    left: list[tuple[int, Event]] = []
    for index, chunk in enumerate(clause.chunks):
        if chunk.tag == "MOVE":
            _move(clause, index, chunk)
        elif chunk.tag == "DEVSTATE":
            _device_state(clause, index, chunk)
        elif chunk.tag == "CHG" and chunk.value != "size":
            left += _attach(clause, index, chunk)
    _so_has(clause)
    _further_enlargement(clause)
    _compare_sizes(clause)
    _compare_measures(clause)
    return left


def _move(clause: Clause, index: int, chunk: Chunk) -> None:
    """ "advanced", "has not moved"."""
    still = chunk.denied or any(c.tag in ("NOT", "NEG") for c in clause.chunks[max(0, index - 2) : index])
    for mention in subjects_before(clause, index) or clause.mentions[:1]:
        mention.compares = True
        if still:
            mention.events.append(Event("unchanged", False, chunk))


def _attach(clause: Clause, index: int, chunk: Chunk) -> list[tuple[int, Event]]:
    label, weak = label_of(chunk)
    targets, side = _targets(clause, index, chunk)
    if "d" in chunk.flags and not (
        chunk.note == "forward" and targets and not any(m.is_device for m in clause.mentions)
    ):
        targets = _devices(clause, index, chunk, targets)
        if not targets and clause.mentions:
            return []
    described = side is not None and _compares_sides(clause, chunk, targets)
    if described or _compares_zones(clause, index, chunk, targets):
        return []
    for mention in targets:
        mention.compares = True
        if chunk.denied and (chunk.value == "new" and "v" in chunk.flags or chunk.note == "reaccum"):
            mention.presence, mention.presence_chunk, label = "absent", chunk, None
    if label is None:
        return []
    if _is_noun(chunk) and targets and all(m.finding == "lung_volumes" and m.last < index for m in targets):
        targets = []  # "poor inspiration, with radiological progression" is about the chest
    event = Event(label, weak, chunk, side, _is_earlier(clause, index), _is_step(clause, index))
    for mention in targets:
        _give(clause, mention, event, index)
    return [] if targets else [(index, event)]


_COMPARATIVES = frozenset(("worse", "larger", "bigger", "greater", "smaller", "less", "more", "denser", "thicker", "heavier", "more extensive", "more prominent", "more pronounced", "more marked", "more severe", "more confluent", "less marked", "less extensive", "less prominent", "less pronounced", "more dense", "more conspicuous", "lesser", "fuller"))  # fmt: skip


def _compares_sides(clause: Clause, chunk: Chunk, targets: list[Mention]) -> bool:
    """ "At both bases, worse on the left" compares one side with the other, unless an earlier study is spoken of."""
    if chunk.text not in _COMPARATIVES or any(
        c.tag in ("CMP", "NOW") or c.text in ("interval", "previously", "yesterday", "since") for c in clause.chunks
    ):
        return False
    if any(
        c is not chunk and c.tag == "CHG" and c.text not in _COMPARATIVES and "w" not in c.flags for c in clause.chunks
    ):
        return False
    return any("bilateral" in m.sides for m in targets)


def _compares_zones(clause: Clause, index: int, chunk: Chunk, targets: list[Mention]) -> bool:
    """ "Opacities, less dense at the apices" describes where they are, unless an earlier study is spoken of."""
    if (
        not (chunk.text in _COMPARATIVES or chunk.text.startswith(("more ", "less ", "greater ")))
        or chunk.denied
        or any(
            c.tag in ("CMP", "NOW") or c.text in ("interval", "previously", "yesterday", "since")
            for c in clause.chunks
        )
    ):
        return False
    if chunk.note == "zone":
        return True
    rest = clause.chunks[index + 1 : index + 4]
    zone = rest and rest[0].tag == "PREP" and any(c.tag == "LUNG" or c.text in _ZONES for c in rest[1:])
    one_side = any(c.tag == "SIDE" for c in rest)
    if chunk.text.startswith(("more ", "less ")) and rest and rest[0].tag == "PREP" and one_side:
        return bool(targets)
    return bool(zone) and bool(targets) and not one_side


_ZONES = frozenset(("lower lobes", "upper lobes", "lower zones", "upper zones", "mid zones", "periphery", "lower lungs", "upper lungs", "lower lung", "upper lung", "perihilar", "middle", "lower lobe", "upper lobe", "lung apices", "centrally", "peripherally"))  # fmt: skip


def _compare_measures(clause: Clause) -> None:
    """ "now measures 15 mm, previously 9 mm": two lengths tell a change."""
    chunks = clause.chunks
    lengths = [i for i, c in enumerate(chunks[:-1]) if c.tag == "NUM" and chunks[i + 1].text in ("mm", "cm")]
    if len(lengths) != 2 or len(clause.mentions) != 1 or clause.mentions[0].events or clause.mentions[0].is_device:
        return
    one, two = lengths
    then = [
        i
        for i, c in enumerate(chunks)
        if c.tag == "CMPW" or c.text in ("was", "formerly", "from") or c.text.endswith("from")
    ]
    if chunks[two - 1].tag == "PAREN" and any(_tells_when(c) for c in chunks[two + 2 : two + 6]):
        then.append(two - 1)
    first_is_old = any(i < one for i in then) and not any(one < i < two for i in then)
    if not then:
        return
    sizes = [float(chunks[i].text.replace(" ", "")) * (10 if chunks[i + 1].text == "cm" else 1) for i in lengths]
    old, new = sizes if first_is_old else sizes[::-1]
    if old != new:
        clause.mentions[0].events.append(
            Event("increased" if new > old else "decreased", False, chunks[two if first_is_old else one])
        )


def _tells_when(chunk: Chunk) -> bool:
    return (
        chunk.tag in ("CMP", "CMPW") or chunk.text in MONTHS or chunk.text[:2] in ("19", "20") and len(chunk.text) == 4
    )


def _further_enlargement(clause: Clause) -> None:
    """ "Enlargement of the heart" describes; "interval enlargement of the heart" compares."""
    for mention in clause.mentions:
        words = clause.chunks[mention.first : mention.index]
        if mention.chunk.text.startswith(("enlargement of", "widening of")) and not mention.events:
            mark = next((c for c in words if c.text in ("interval", "further", "in the interval")), None)
            if mark is not None:
                mention.events.append(Event("increased", False, mark))
                mention.compares = True


def _so_has(clause: Clause) -> None:
    """ "Effusions have cleared and so has the edema." """
    for one, two in zip(clause.mentions, clause.mentions[1:], strict=False):
        words = [c.text for c in clause.chunks[one.last : two.first]]
        for word, verb in zip(words, words[1:], strict=False):
            if (
                word in ("so", "as", "likewise")
                and verb in ("has", "have", "is", "are", "did", "does", "do")
                and not two.events
            ):
                two.events += one.events


def _compare_sizes(clause: Clause) -> None:
    """ "previously small, now moderate", "from large to small": two sizes tell a change."""
    chunks = clause.chunks
    sizes = [i for i, c in enumerate(chunks) if c.tag == "SEV"]
    _having_been(clause, sizes)
    _little_of(clause, sizes)
    if len(sizes) == 1 and sizes[0] and chunks[sizes[0] - 1].tag == "NOW" and chunks[sizes[0]].value != "moderate":
        only = chunks[sizes[0]]
        for mention in subjects_before(clause, sizes[0]):
            if not mention.events and not mention.is_device and mention.presence == "present":
                mention.events.append(
                    Event("increased" if only.value in ("large", "severe") else "decreased", False, only)
                )
    for one, two in zip(sizes, sizes[1:], strict=False):
        from_to = chunks[one - 1].text.endswith("from") and chunks[two - 1].text == "to" if one else False
        led = next((c for c in reversed(chunks[:one]) if c.tag != "ART"), None)
        then_now = (
            led is not None
            and (led.tag == "CMPW" or led.text in ("was", "were"))
            and any(c.tag == "NOW" for c in chunks[one:two])
        )
        then_now = then_now or (
            any(c.tag == "V" and c.text.startswith("becom") or c.text == "become" for c in chunks[one:two])
        )
        now_then = (chunks[two - 1].tag == "CMPW" and (two - one) < 8) or (
            chunks[two - 1].text in ("was", "were", "had been") and chunks[one - 1].tag == "NOW"
        )
        held = any(m.first <= one < m.index for m in clause.mentions) and chunks[two - 1].tag == "NOW"
        then_now = then_now or held or (one > 0 and chunks[one - 1].tag == "NOW" and chunks[two - 1].tag == "NOW")
        if not (from_to or then_now or now_then):
            continue
        order = _ORDER[chunks[two].value] - _ORDER[chunks[one].value]
        order = -order if now_then and not then_now else order
        targets = (
            next(([m] for m in clause.mentions if m.first <= one < m.index), None)
            or subjects_before(clause, one)
            or (subjects_before(clause, two) if then_now else [])
            or [m for m in clause.mentions if m.index > two][:1]
        )
        for mention in targets:
            gone = (
                mention.events
                and mention.events[-1].label == "resolved"
                and mention.events[-1].chunk.start < chunks[one].start
            )
            if order and (not mention.events or gone):
                mention.events.append(Event("increased" if order > 0 else "decreased", False, chunks[two]))


def _little_of(clause: Clause, sizes: list[int]) -> None:
    """ "Only a trace remains of the large effusion": the size of now stands first."""
    for index in sizes:
        rest = clause.chunks[index + 1 : index + 3]
        if [c.tag for c in rest] != ["CHG", "PREP"] or rest[0].text not in _LEFT or not rest[1].text.startswith("of"):
            continue
        mention = next((m for m in clause.mentions if m.index > index), None)
        if mention is not None:
            mention.severity = clause.chunks[index]
            mention.events = [Event("decreased", False, clause.chunks[index])]
            mention.compares = True


_LEFT = frozenset(("remains", "remain", "remained", "persists", "persist", "is left"))


def _having_been(clause: Clause, sizes: list[int]) -> None:
    """ "is large, having been small": the size after "having been" is that of before."""
    for one, two in zip(sizes, sizes[1:], strict=False):
        words = [c.text for c in clause.chunks[max(0, two - 3) : two]]
        former = "having" in words or words[-2:] == ["had", "been"] or words[-1:] == ["had been"]
        order = _ORDER[clause.chunks[one].value] - _ORDER[clause.chunks[two].value]
        for mention in subjects_before(clause, one) if former and order else []:
            mention.severity = clause.chunks[one]
            mention.events = [e for e in mention.events if not e.weak]
            mention.events.append(Event("increased" if order > 0 else "decreased", False, clause.chunks[one]))


def _device_state(clause: Clause, index: int, chunk: Chunk) -> None:
    mention = next(m for m in clause.mentions if m.index == index)
    denied = any(c.tag in ("NOT", "NEG") for c in clause.chunks[max(0, index - 3) : index])
    if denied and chunk.flags == "resolved":
        mention.presence = "present"
        return
    if chunk.flags == "absent":
        mention.presence = "absent"
        return
    mention.events.append(Event(chunk.flags, False, chunk))


def _devices(clause: Clause, index: int, chunk: Chunk, targets: list[Mention]) -> list[Mention]:
    """The devices that a word like "removed" or "placed" is about."""
    before = clause.chunks[index - 1] if index else None
    if before is not None and chunk.value == "new" and before.text in _NOT_PLACED:
        return []
    if (
        chunk.value == "new"
        and "n" in chunk.flags
        and before is not None
        and before.tag in ("W", "FIND")
        and any(c.tag == "AFTER" for c in clause.chunks[max(0, index - 4) : index])
    ):
        return []
    following = [
        m for m in clause.mentions if m.is_device and m.last == index and chunk.value == "new" and "n" in chunk.flags
    ]
    if following and any(c.tag == "AFTER" for c in clause.chunks[max(0, following[0].first - 2) : following[0].first]):
        return []  # "after catheter insertion" tells when, not what is new
    devices = [m for m in targets if m.is_device]
    if devices:
        return devices
    earlier = [m for m in clause.mentions if m.is_device and m.index < index]
    if (
        not earlier
        and index > 1
        and before is not None
        and before.tag == "V"
        and clause.chunks[index - 2].tag in ("W", "FIND")
    ):
        return []  # "the balloon is out, and the ET tube remains"
    return earlier[-1:] or [m for m in clause.mentions if m.is_device and m.index > index][:1]


def _told_of_before(clause: Clause, index: int) -> bool:
    """ "Cleared yesterday, the opacity is ...": a participle at the start tells of an earlier step."""
    if index > 1 or "v" not in clause.chunks[index].flags and "p" not in clause.chunks[index].flags:
        return False
    rest = clause.chunks[index + 1 : index + 7]
    comma = next((i for i, c in enumerate(rest) if c.tag == "COMMA"), None)
    if not comma or comma + 1 >= len(rest) or rest[comma + 1].text not in ("the", "this"):
        return False
    lead = rest[:comma]
    return any(c.tag == "CMPW" and c.text != "since" or c.text.startswith("on ") for c in lead) and all(
        c.tag in ("CMPW", "CMP", "NOW", "ADV", "PREP", "ART", "W") for c in lead
    )


def _is_earlier(clause: Clause, index: int) -> bool:
    if _told_of_before(clause, index):
        return True
    before = clause.chunks[max(0, index - 3) : index]
    after = clause.chunks[index + 1 : index + 3]
    if any(c.text in ("was", "were", "had", "had been") for c in before) and any(
        c.text
        in (
            "yesterday",
            "initially",
            "earlier",
            "previously",
            "then",
            "last week",
            "before",
            "at first",
            "on the last",
            "on prior",
            "on the prior",
            "on the previous",
        )
        for c in after
    ):
        return True
    for position, chunk in enumerate(before):
        if chunk.text in _EARLIER and not any(
            c.tag in ("COMMA", "FIND", "CONJ", "NOW", "SEP", "CHG", "V") for c in before[position + 1 :]
        ):
            return True
    return False


def _is_step(clause: Clause, index: int) -> bool:
    """Whether it is marked as the latest step: "then the same", "unchanged today"."""
    near = [*clause.chunks[max(0, index - 3) : index], *clause.chunks[index + 1 : index + 3]]
    return any(c.tag == "NOW" or c.text == "since" for c in near)


def _targets(clause: Clause, index: int, chunk: Chunk) -> tuple[list[Mention], str | None]:
    """The mentions that the change word at `index` is about, and the one side of them that it names."""
    for mention in clause.mentions:
        if mention.first <= index < mention.index:
            return _attributive(clause, index, mention), None
        if mention.index < index < mention.last:
            return [mention], None
    if chunk.note in ("forward", "swap"):
        return _exchanged(clause, index, chunk), None
    if _is_noun(chunk):
        target = _after_noun(clause, index)
        if target is not None:
            _former_size(clause, chunk, target)
            return [target, *_listed_after(clause, target, noun=True), *_of_others(clause, target)], None
    before = [m for m in clause.mentions if m.last <= index]
    if not before:
        target = _inverted(clause, index)
        if target is not None:
            return [target, *_listed_after(clause, target, noun=True)], None
        return [], side_after(clause, index)
    side = side_after(clause, index)
    if any(
        (c.tag == "PRON" or c.tag == "SIDE") and c.text in ("both", "all", "all of these", "both of these", "each")
        for c in clause.chunks[max(0, index - 3) : index]
    ):
        return [m for m in before if m.presence != "absent"], side
    subjects = subjects_before(clause, index)
    if chunk.text in ("any longer", "any more", "anymore"):
        return subjects, side
    if (
        before[-1].is_device
        and before[-1].last == index
        and chunk.text.endswith(("in place", "in situ", "in position"))
    ):
        return before[-1:], None
    alive = [
        m for m in subjects if m.presence != "absent" or m.presence_chunk is None or m.presence_chunk.tag == "NEGPOST"
    ]
    if not alive and all(m.presence_chunk is not None and m.presence_chunk.tag == "NEG" for m in subjects):
        later = [m for m in clause.mentions if m.first > index]
        if later and not any(c.tag in ("COMMA", "CONJ", "V") for c in clause.chunks[index + 1 : later[0].first]):
            return later[:1], None
    return alive or subjects, side


def _exchanged(clause: Clause, index: int, chunk: Chunk) -> list[Mention]:
    """What came: "replaced by", "exchanged for", "has given way to" name it after, "has taken the place of" before."""
    after = [m for m in clause.mentions if m.index > index][:1]
    before = [m for m in clause.mentions if m.last <= index][-1:]
    devices = any(m.is_device or m.finding == "tracheostomy" for m in [*before, *after])
    if devices:
        _taken_out(clause, index, chunk)
    elif before and (not after or after[0].finding != before[0].finding):
        before[0].events.append(Event("resolved", False, chunk))
    return after if chunk.note == "forward" else [m for m in before if m.is_device]


def _taken_out(clause: Clause, index: int, chunk: Chunk) -> None:
    """Of two devices that were exchanged, the one that is out, where the two can be told apart by name or side."""
    one = next((m for m in reversed(clause.mentions) if m.last <= index and m.is_device), None)
    two = next((m for m in clause.mentions if m.index > index and (m.is_device or m.finding == "tracheostomy")), None)
    if one is None or two is None or (one.finding, one.sides) == (two.finding, two.sides):
        return
    if one.finding == two.finding and not (one.sides and two.sides):
        return
    out = one if chunk.note == "forward" else two
    out.events.append(Event("resolved", False, chunk))


def _former_size(clause: Clause, chunk: Chunk, mention: Mention) -> None:
    """ "Near-complete resolution of the moderate effusion": the size is that of before."""
    partial = chunk.value == "decreased" and any(w in chunk.text for w in ("resol", "clear", "gone", "disappear"))
    if partial and mention.definite:
        mention.severity = None


def _of_others(clause: Clause, mention: Mention) -> list[Mention]:
    """ "Placement of a line, tip in the SVC, and of a feeding tube." """
    result = []
    for later in clause.mentions[clause.mentions.index(mention) + 1 :]:
        before = [c for c in clause.chunks[max(0, later.first - 3) : later.first] if c.tag != "ART"][-2:]
        if [c.tag for c in before] == ["CONJ", "PREP"] and before[1].text in ("of", "in", "of the", "in the"):
            result.append(later)
    return result


def _is_noun(chunk: Chunk) -> bool:
    if "n" not in chunk.flags:
        return False
    word = chunk.text.split()[-1]
    return not word.endswith("ed") or chunk.flags.strip("dw") == "n"


def _attributive(clause: Clause, index: int, mention: Mention) -> list[Mention]:
    """An adjective goes to its noun, and to nouns listed after it that have no determiner of their own."""
    return [mention, *_listed_after(clause, mention)]


def _listed_after(clause: Clause, mention: Mention, noun: bool = False) -> list[Mention]:
    result = []
    start = clause.mentions.index(mention)
    previous = mention
    for later in clause.mentions[start + 1 :]:
        if later.relation != "list" or later.presence != mention.presence or _has_predicate(clause, later):
            break
        words = clause.chunks[later.first : later.index]
        own = any(c.tag == "CHG" for c in words) or any(c.text in ("a", "an") for c in words)
        if not noun:
            joint = clause.chunks[previous.last : later.first]
            own = (
                own
                or any(c.tag in ("ART", "NUM") for c in words)
                or not any(c.tag == "CONJ" for c in joint)
                and not _conj_follows(clause, later)
            )
        if own:
            break
        result.append(later)
        previous = later
    return result


def _conj_follows(clause: Clause, mention: Mention) -> bool:
    """Whether the list that the mention is in ends with "and" or "or"."""
    start = clause.mentions.index(mention)
    for one, two in zip(clause.mentions[start:], clause.mentions[start + 1 :], strict=False):
        if two.relation != "list":
            return False
        if any(c.tag == "CONJ" for c in clause.chunks[one.last : two.first]):
            return True
    return False


def _has_predicate(clause: Clause, mention: Mention) -> bool:
    """Whether something else is said of the mention right after it."""
    after = clause.chunks[mention.last : mention.last + 3]
    if not after:
        return False
    if after[0].tag == "CHG" and after[0].flags != "n":
        return True
    return after[0].tag == "V" and any(c.tag in ("CHG", "NEGPOST", "SEV") for c in after[1:])


def _after_noun(clause: Clause, index: int) -> Mention | None:
    """The finding after "increase in", "resolution of", "no change is seen in"."""
    chunks = clause.chunks
    position = index + 1
    placed = False
    while position < len(chunks):
        chunk = chunks[position]
        if chunk.tag == "FIND":
            break
        if chunk.tag == "PREP" and chunk.text in _FORWARD:
            placed = True
        elif chunk.tag in ("CONJ",) and position + 1 < len(chunks) and chunks[position + 1].tag in ("CHG", "ADV"):
            pass
        elif chunk.tag in ("COMMA", "SEP", "CONJ", "WITH", "STOP", "COLON", "HEDGE", "CAUSE", "AFTER", "REL", "PRON", "NEG", "EXCEPT", "DASH") and not placed or chunk.tag in ("SEP", "STOP", "WITH", "REL", "PRON", "EXCEPT", "AFTER", "CAUSE", "V"):  # fmt: skip
            return None
        position += 1
    if not placed or position >= len(chunks):
        return None
    target = next((m for m in clause.mentions if m.index == position), None)
    if target is None:
        return None
    between = chunks[index + 1 : target.first]
    if any(c.tag == "COMMA" for c in between) and not any(c.tag in ("CMP", "CMPW") for c in between):
        return None
    return target


def _inverted(clause: Clause, index: int) -> Mention | None:
    """The finding after a change word with no finding before it: "again seen is ...", "there remains ...", "unchanged left effusion"."""
    later = [m for m in clause.mentions if m.index > index]
    if not later:
        return None
    gap = clause.chunks[index + 1 : later[0].first]
    if clause.chunks[index].text.startswith(("previously", "formerly", "not ", "never ")) and not any(
        c.tag in ("SEP", "STOP", "NEG") for c in gap
    ):
        return later[0]
    if _told_of_before(clause, index):
        return later[0]
    if any(
        c.tag in ("COMMA", "WITH", "SEP", "EXCEPT", "AFTER", "REL", "PRON", "STOP", "NEG", "DASH", "CAUSE")
        for c in gap
    ):
        weak = "w" in clause.chunks[index].flags
        if not (weak and all(c.tag not in ("SEP", "STOP", "NEG", "COMMA", "EXCEPT") for c in gap)):
            return None
    if any(c.tag == "CONJ" for c in gap) and not any(c.tag == "CHG" for c in gap):
        return None
    if any(
        c.tag == "V"
        and c.text in ("shows", "show", "demonstrates", "reveals")
        or c.text in ("demonstrating", "showing", "revealing", "leaving", "displaying")
        for c in gap
    ):
        return None
    if clause.chunks[index].value == "change":
        return None
    return later[0]


_QUALITY = ("improv", "better", "worse", "deteriorat")


def _give(clause: Clause, mention: Mention, event: Event, index: int) -> None:
    if (
        mention.finding == "lung_volumes"
        and event.label in ("increased", "decreased")
        and event.chunk.text.startswith(_QUALITY)
    ):
        turned = {"increased": "decreased", "decreased": "increased"}[event.label]
        event = Event(turned, event.weak, event.chunk, event.side, event.earlier, event.step)
    if mention.is_device and event.label in ("increased", "decreased"):
        return
    if (
        mention.parts
        and mention.first <= index < mention.index
        and any(c.tag in ("SEV", "CHG") for c in clause.chunks[_joint(clause, mention) : mention.index])
    ):
        sides = [
            (i, c.value)
            for i, c in enumerate(clause.chunks[mention.first : mention.index], start=mention.first)
            if c.tag == "SIDE"
        ]
        own = next((side for i, side in sides if i > index), None) or (sides[-1][1] if sides else None)
        for part in mention.parts:
            if part.side == own:
                part.events.append(event)
        return
    if event.side == "bilateral":
        mention.sides = mention.sides or ["bilateral"]
        event = Event(event.label, event.weak, event.chunk, None, event.earlier, event.step)
    if event.side is not None and set(mention.sides) != {event.side} and (not mention.sides or "bilateral" in mention.sides or len(set(mention.sides)) > 1):  # fmt: skip
        found = next((p for p in mention.parts if p.side == event.side), None)
        if found is None:
            mention.parts.append(found := Part(event.side))
        found.events.append(event)
        return
    mention.events.append(event)


def _joint(clause: Clause, mention: Mention) -> int:
    """Where the second of two groups of modifiers begins."""
    joints = [i for i in range(mention.first, mention.index) if clause.chunks[i].tag in ("CONJ", "COMMA")]
    return joints[-1] if joints else mention.index


def latest(events: list[Event]) -> Event | None:
    """The change that stands in the end: of several steps the last, but "still there" and "not gone" take back no direction."""
    steps = [e for e in events if not e.earlier] or events
    strong = [e for e in steps if not e.weak]
    if not strong and steps and any(e.earlier and e.label in ("resolved", "decreased") for e in events):
        back = steps[-1]
        if "again" in back.chunk.text.split() or "once more" in back.chunk.text:
            return Event("new", False, back.chunk, back.side)  # "again present after clearing"
    if not strong:
        return steps[-1] if steps else None
    last = strong[-1]
    if last.chunk.note == "reaccum" and any(e.earlier and e.label == "resolved" for e in events):
        return Event("new", False, last.chunk, last.side)
    if last.label == "unchanged" and not last.step and len(strong) < 3:
        directed = [e for e in strong if e.label != "unchanged"]
        if directed:
            return directed[-1]
    return last


__all__ = ["attach_changes", "label_of", "latest"]
