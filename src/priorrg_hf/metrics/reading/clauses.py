"""Steps 3 and 4: clauses, the noun phrases of findings in them, and how one phrase stands to the next.

A clause is a list of chunks between strong boundaries ("but", "while", a semicolon). Each finding in it gets a noun phrase: what stands
before it back to the last verb, preposition or joint, and the place that follows it ("in the left base"). What lies between two phrases
tells their relation: a list, an explanation, company, or a new statement. In run-on dictation without any mark between two findings,
what stands between them is divided by grammar: a change word belongs to the finding that has none yet.
"""

from dataclasses import dataclass, field

from . import tables
from .tokens import Chunk


# Chunks that can stand before a finding in its noun phrase.
MODIFIERS = frozenset(("SIDE", "SEV", "ADV", "ART", "W", "LUNG", "NUM", "ADJACENT", "CMPW", "BACKREF", "NOW", "ABN", "NORMAL", "STRUCT", "VSEEN"))  # fmt: skip
# What may stand between two findings without making a new statement of the second.
JOINTS = frozenset(("COMMA", "CONJ", "DASH", "PAREN", "STOP"))
PLACES = frozenset(("in", "of", "at", "on", "within", "throughout", "along", "over", "into", "across", "for", "to", "in the", "at the", "on the", "of the", "about", "under", "up to"))  # fmt: skip
_NO_ADJECTIVES = frozenset(("there", "we", "i", "please", "note", "made", "yes", "evidence", "then", "so", "thus", "therefore", "because", "if", "when", "as", "by", "hence", "than", "not", "see", "patient", "found", "both", "demonstrating", "showing", "revealing", "leaving", "displaying", "means", "but", "only", "explain", "explains", "account", "accounts", "accounting"))  # fmt: skip


_NOUN_FORMS = frozenset(("increase", "decrease", "change", "changes", "reduction", "difference", "increases", "decreases", "reductions", "improves", "improve"))  # fmt: skip


@dataclass(slots=True)
class Event:
    """A change told of a mention: the label, whether it only says that the finding is still there, its words, and the side it is told of."""

    label: str
    weak: bool
    chunk: Chunk
    side: str | None = None
    earlier: bool = False  # told as an earlier step ("after initial clearing")
    step: bool = False  # marked as the latest step ("unchanged today")


@dataclass(slots=True)
class Part:
    """What is said of one side of a mention ("large left and small right effusions")."""

    side: str
    severity: Chunk | None = None
    events: list[Event] = field(default_factory=list)
    presence: str | None = None
    presence_chunk: Chunk | None = None


@dataclass(slots=True, eq=False)
class Mention:
    """A finding named in a clause. `first` and `last` bound its noun phrase in the chunks of the clause."""

    finding: str
    kind: str
    chunk: Chunk
    index: int
    first: int
    last: int
    sides: list[str] = field(default_factory=list)
    side_chunks: list[Chunk] = field(default_factory=list)
    severity: Chunk | None = None
    presence: str | None = "present"
    presence_chunk: Chunk | None = None
    events: list[Event] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    relation: str = "start"  # to the mention before: list, cause, explain, versus, with, near, after, break
    group: int = 0
    head: bool = True
    compares: bool = False
    definite: bool = False  # "the effusion"
    explains: bool = False  # what another finding may be or is due to
    rest: bool = False  # "the rest of the nodules"
    trails: bool = False  # dictated with the size behind: "edema severe effusions moderate"

    @property
    def is_device(self) -> bool:
        return self.kind == "device"


@dataclass(slots=True, eq=False)
class Clause:
    """Chunks between strong boundaries, and the mentions among them."""

    chunks: list[Chunk]
    mentions: list[Mention] = field(default_factory=list)

    def between(self, first: int, last: int) -> list[Chunk]:
        return self.chunks[first:last]


def split_clauses(chunks: list[Chunk]) -> list[list[Chunk]]:
    """The sentence cut at strong boundaries, and where a side takes up the finding before it ("..., the right is smaller")."""
    parts: list[list[Chunk]] = [[]]
    subordinate = False
    for index, chunk in enumerate(chunks):
        if chunk.tag == "COMMA" and subordinate and any(c.tag in ("FIND", "CHG") for c in parts[-1]):
            parts.append([])
            subordinate = False
        elif chunk.tag == "SEP":
            subordinate = (
                chunk.text in ("while", "whereas", "although", "though", "whilst") and not parts[-1] and index == 0
            )
            if _joins_adjectives(chunks, index):
                parts[-1].append(Chunk("CONJ", "and", "", chunk.text, chunk.start, chunk.end))
                continue
            parts.append([])
        elif chunk.tag in ("COMMA", "CONJ", "STOP", "DASH") and (
            _side_takes_up(chunks, index)
            or (_new_sentence(chunks, index) and _says_something(parts[-1]))
            or _next_subject(chunks, index, parts)
            or _full_sentence(chunks, index, parts)
        ):
            parts.append([])
        else:
            parts[-1].append(chunk)
    return [part for part in parts if part]


def _next_subject(chunks: list[Chunk], index: int, parts: list[list[Chunk]]) -> bool:
    """ "..., the left has vanished, and the heart is ...": after a side with a predicate another finding begins."""
    current = parts[-1]
    if (
        len(parts) < 2
        or any(c.tag == "FIND" for c in current)
        or not any(c.tag in ("CHG", "NEGPOST") for c in current)
    ):
        return False
    if not any(c.tag == "SIDE" for c in current):
        return False
    position = index + 1
    while position < len(chunks) and (chunks[position].tag in MODIFIERS or chunks[position].tag == "CONJ"):
        position += 1
    return position < len(chunks) and chunks[position].tag == "FIND"


def _full_sentence(chunks: list[Chunk], index: int, parts: list[list[Chunk]]) -> bool:
    """ ", and the right effusion has returned": a subject and a verb of its own, after a statement that has both."""
    rest = chunks[index + 1 : index + 10]
    if chunks[index].tag != "COMMA" or len(rest) < 3 or rest[0].text != "and":
        return False
    named = len(parts) > 1 or any(c.tag == "FIND" for c in parts[-1])
    if not named or not any(c.tag in ("V", "CHG", "NEGCHG") for c in parts[-1]):
        return False
    position = 1
    while position < len(rest) and (rest[position].tag in MODIFIERS or rest[position].tag == "NEG" and position == 1):
        position += 1
    if position + 1 >= len(rest) or rest[position].tag != "FIND":
        return False
    said = next((c for c in rest[position + 1 :] if c.tag not in ("NOW", "ADV")), rest[position])
    return said.tag in ("V", "NOT", "NEGCHG", "HEDGEPOST", "NEGPOST") or (
        said.tag == "CHG" and "v" in said.flags and rest[1].text == "the"
    )


def _joins_adjectives(chunks: list[Chunk], index: int) -> bool:
    """ "stable but extensive opacities": two adjectives before one noun, no boundary."""
    if (
        chunks[index].text == ";"
        or index == 0
        or chunks[index - 1].tag not in ("CHG", "SEV")
        or "a" not in chunks[index - 1].flags + "a"
    ):
        return False
    before = index - 1
    while before > 0 and chunks[before - 1].tag in ("ADV", "ART", "SEV", "CHG"):
        before -= 1
    if before > 0 and chunks[before - 1].tag not in ("NEG", "W") and not (chunks[before - 1].tag == "V" and not any(c.tag == "FIND" for c in chunks[:before])):  # fmt: skip
        return False
    after = index + 1
    while after < len(chunks) and chunks[after].tag in ("ADV", "SEV", "SIDE", "W", "LUNG", "CHG"):
        after += 1
    return after < len(chunks) and chunks[after].tag == "FIND"


def _side_takes_up(chunks: list[Chunk], index: int) -> bool:
    """Whether after this joint a side without a finding has a predicate of its own."""
    position = index + 1
    if position < len(chunks) and chunks[position].tag == "CONJ":
        position += 1
    start = position
    while (
        position < len(chunks)
        and (chunks[position].tag in ("ART", "ADV", "PREP") or chunks[position].text == "one")
        and position - start < 4
    ):
        position += 1
    if (
        position >= len(chunks)
        or (chunks[position].tag != "SIDE" and chunks[position].value != "other")
        or "compare" in chunks[position].flags
    ):
        return False
    if not any(c.tag in ("FIND", "SIDE") for c in chunks[:index]):
        return False
    position += 1
    while position < len(chunks) and (chunks[position].tag in ("LUNG", "ADV", "COMMA") or chunks[position].text in ("there", "one", "ones", "component", "sided")):  # fmt: skip
        position += 1
    if position >= len(chunks):
        return False
    chunk = chunks[position]
    if chunk.text == "from" and position + 1 < len(chunks) and chunks[position + 1].tag == "SEV":
        return True
    said = chunk.tag in ("V", "CHG", "SEV", "NEGPOST", "CLEAR", "NOT", "NOW", "NEGCHG") and not (
        chunk.tag == "CHG" and chunk.flags == "n"
    )
    rest = chunks[position + 1 :]
    return (
        said
        and not _finding_in_phrase(chunks, position)
        and (chunk.tag != "CLEAR" or not any(c.tag == "LUNG" for c in rest))
    )


def _finding_in_phrase(chunks: list[Chunk], position: int) -> bool:
    """Whether the noun phrase that `position` stands in ends in a finding."""
    if chunks[position].tag in ("V", "NOT", "NEGCHG"):
        return False
    while position < len(chunks) and (
        chunks[position].tag in MODIFIERS or chunks[position].tag in ("CHG", "CONJ", "HEDGE")
    ):
        position += 1
    return position < len(chunks) and chunks[position].tag == "FIND"


def _says_something(part: list[Chunk]) -> bool:
    """ "On the left, it has resolved": a place alone is no statement."""
    return any(c.tag in ("FIND", "CHG", "V", "CLEAR", "NEGPOST", "DEVSTATE", "LUNG") for c in part)


def _new_sentence(chunks: list[Chunk], index: int) -> bool:
    """ ", and there is ...", ", it has ...", "and has been extubated" after a finding: a statement of its own."""
    rest = chunks[index + 1 : index + 4]
    if rest and rest[0].tag == "CONJ":
        rest = rest[1:]
    if not rest:
        return False
    if rest[0].text in ("there", "we") or (rest[0].tag == "CHG" and rest[0].note == "therenow"):
        return True
    return rest[0].tag == "PRON" and len(rest) > 1 and rest[1].tag in ("V", "CHG", "NOT", "ADV", "MOVE")


# ---- noun phrases ----


def find_mentions(clause: Clause) -> None:
    """Fills `clause.mentions` with the findings, their noun phrases and their relations."""
    known = tables.findings()
    chunks = clause.chunks
    places = [i for i, c in enumerate(chunks) if c.tag in ("FIND", "DEVSTATE")]
    previous: Mention | None = None
    for number, index in enumerate(places):
        chunk = chunks[index]
        limit = places[number + 1] if number + 1 < len(places) else len(chunks)
        kind = known[chunk.value].kind if chunk.tag == "DEVSTATE" or chunk.flags == "descriptive" else chunk.flags
        mention = Mention(chunk.value, kind, chunk, index, index, _phrase_end(chunks, index, limit))
        if previous is None:
            mention.first = _phrase_start(chunks, index, 0)
        else:
            _divide(chunks, previous, mention)
        clause.mentions.append(mention)
        previous = mention
    for earlier, later in zip(clause.mentions, clause.mentions[1:], strict=False):
        later.relation = _relation(clause, earlier, later)
    _alternatives(clause)
    group, head, before = 0, True, None
    for mention in clause.mentions:
        if mention.relation in ("start", "break"):
            group, head = group + 1, True
        elif mention.relation != "list":
            head = False
        mention.group, mention.head = group, head
        listed = mention.relation == "list" and before is not None and before.explains
        mention.explains = listed or mention.relation in ("cause", "explain", "versus")
        before = mention


# Findings told by a participle before the place: "the collapsed right upper lobe", "fractured left ribs".
_PARTICIPLES = frozenset(
    ("collapsed", "partially collapsed", "fractured", "consolidated", "atelectatic", "opacified", "emphysematous")
)
_UNSPECIFIC = frozenset(("opacity", "consolidation"))


def _alternatives(clause: Clause) -> None:
    """ "opacity, atelectasis versus pneumonia": the alternatives explain the opacity."""
    mentions = clause.mentions
    for one, two, three in zip(mentions, mentions[1:], mentions[2:], strict=False):
        if (
            two.relation != "list"
            or one.finding not in _UNSPECIFIC
            or any(c.tag == "NEG" for c in clause.chunks[: one.index])
        ):
            continue
        joint = clause.chunks[one.last : two.first]
        either = three.relation == "list" and any(
            c.tag == "CONJ" and c.value == "or" for c in clause.chunks[two.last : three.first]
        )
        if (
            any(c.tag == "COMMA" for c in joint)
            and not any(c.tag == "CONJ" for c in joint)
            and (three.relation == "versus" or either)
        ):
            two.relation = "explain"
            if either:
                three.relation = "versus"


def _is_modifier(chunk: Chunk) -> bool:
    if chunk.tag == "CHG":
        return "a" in chunk.flags and chunk.text not in _NOUN_FORMS
    if chunk.tag == "HEDGE":
        return "adj" in chunk.flags
    if chunk.tag == "W":
        return chunk.text not in _NO_ADJECTIVES
    if chunk.tag == "VSEEN":
        return chunk.text == "visible"
    return chunk.tag in MODIFIERS or chunk.tag in ("BOTH", "QUERY")


def _phrase_start(chunks: list[Chunk], index: int, floor: int) -> int:
    """Where the noun phrase of the finding at `index` begins, not before `floor`."""
    start = index
    while start > floor:
        chunk = chunks[start - 1]
        if _is_modifier(chunk) or (chunk.tag == "VSEEN" and start - 1 > floor and chunks[start - 2].tag == "CMPW"):
            start -= 1
            continue
        compound = (
            start == index
            and " " in chunks[index].text
            and chunks[start - 2].text in ("interstitial", "alveolar", "pulmonary", "cardiac", "mediastinal")
            if start >= 2
            else False
        )
        if (start < index or compound) and start - 1 > floor and _joins_modifiers(chunks, start - 1, floor):
            start -= 1
            continue
        break
    return start


def _joins_modifiers(chunks: list[Chunk], joint: int, floor: int) -> bool:
    """Whether the joint stands between modifiers of one noun: "left and right", "mild to moderate", "small, stable"."""
    before, after = chunks[joint - 1], chunks[joint + 1]
    if chunks[joint].tag == "COMMA" and after.text in ("the", "a", "an"):
        return False  # "no larger, the oedema no better"
    if before.tag == "SEV" and after.tag == "SEV" and (chunks[joint].text in ("to", "or", "/", "-", "–") or chunks[joint].tag == "DASH"):  # fmt: skip
        return True
    if (
        chunks[joint].tag not in ("CONJ", "COMMA")
        or before.tag not in ("SIDE", "SEV", "CHG", "W", "LUNG")
        or not _is_modifier(before)
    ):
        return False
    start = joint
    while start > floor and _is_modifier(chunks[start - 1]):
        start -= 1
    if chunks[joint].tag == "COMMA" and before.tag == "SEV" and _size_follows(chunks, joint):
        return False
    if not any(c.tag in ("SIDE", "SEV", "CHG") for c in chunks[start:joint]) and chunks[joint].tag == "COMMA":
        return False
    if start == 0:
        return True
    if start == floor:
        return False
    stop = chunks[start - 1]
    if (
        stop.tag == "V"
        and before.tag in ("CHG", "SEV")
        and floor > 0
        and not (start > 1 and chunks[start - 2].text == "there")
    ):
        return False
    if stop.tag == "PREP":
        return start >= 2 and chunks[start - 2].tag not in ("FIND", "VSEEN", "LUNG", "W")
    return stop.tag in ("V", "NEG", "WITH", "HEDGE", "CAUSE", "COLON", "AFTER", "ASSERT", "VSEEN", "STOP") and not (stop.tag == "V" and chunks[joint].tag == "COMMA" and before.tag == "CHG")  # fmt: skip


def _size_follows(chunks: list[Chunk], joint: int) -> bool:
    for chunk in chunks[joint + 1 :]:
        if chunk.tag == "SEV":
            return True
        if chunk.tag not in ("ART", "ADV", "NOW"):
            return False
    return False


def _phrase_end(chunks: list[Chunk], index: int, limit: int) -> int:
    """The end of the noun phrase: places that follow the finding ("in the left base", "on the right")."""
    end = index + 1
    while end < limit:
        chunk = chunks[end]
        if chunk.tag == "PREP" and chunk.text in PLACES:
            reach = _place_end(chunks, end + 1, limit)
            if reach == end + 1:
                break
            end = reach
        elif (
            (chunk.tag == "SIDE" and (_bare_place(chunks, end, limit) or chunks[index].text in _PARTICIPLES))
            or chunk.tag == "BACKREF"
            or (
                chunk.text
                in ("only", "mostly", "largely", "mainly", "predominantly", "solely", "chiefly", "primarily")
                and end + 1 < limit
                and chunks[end + 1].tag == "PREP"
                and any(c.tag == "SIDE" for c in chunks[end + 2 : end + 4])
            )
        ):
            end += 1
        elif chunk.tag in ("COMMA", "PAREN") and end + 1 < limit and chunks[end + 1].tag == "SIDE" and "compare" in chunks[end + 1].flags:  # fmt: skip
            end += 2
        elif chunk.tag in ("COMMA", "PAREN", "DASH") and end + 1 < limit and chunks[end + 1].tag == "SIDE" and _ends_after(chunks, _past_place(chunks, end + 2)):  # fmt: skip
            end = min(limit, _past_place(chunks, end + 2))
        elif chunk.tag == "LUNG" and end > index + 1 and chunks[end - 1].tag == "SIDE":
            end += 1
        else:
            break
    return end


def _past_place(chunks: list[Chunk], position: int) -> int:
    """After the words of a lung, lobe or zone that follow a side."""
    while position < len(chunks) and (
        chunks[position].tag == "LUNG"
        or chunks[position].text
        in ("upper lobe", "lower lobe", "mid zone", "upper zone", "lower zone", "basal", "apical", "apex")
    ):
        position += 1
    return position


def _ends_after(chunks: list[Chunk], position: int) -> bool:
    return position >= len(chunks) or chunks[position].tag in ("COMMA", "PAREN", "STOP", "DASH", "V")


def _bare_place(chunks: list[Chunk], position: int, limit: int) -> bool:
    """A side right after the finding belongs to it unless the next finding follows without a mark."""
    while position < limit and chunks[position].tag in ("SIDE", "LUNG", "W", "ADV", "ART"):
        position += 1
    return not (position == limit and limit < len(chunks))


_POSITIONS = frozenset(("mid", "middle", "upper", "lower", "peripheral", "posterior", "anterior", "medial", "lateral", "basal", "apical", "inferior", "superior", "central", "perihilar", "region", "area", "areas"))  # fmt: skip


def _place_end(chunks: list[Chunk], position: int, limit: int) -> int:
    noun = False
    start = position
    while position < limit:
        chunk = chunks[position]
        if chunk.tag == "CONJ" and noun and _place_goes_on(chunks, position + 1):
            noun = False
        elif chunk.tag in ("LUNG", "W", "STRUCT", "BACKREF") and chunk.text not in _NO_ADJECTIVES:
            noun = True
        elif chunk.tag == "SIDE":
            before = chunks[position - 1]
            if (
                noun
                and "compare" not in chunk.flags
                and (
                    before.tag in ("LUNG", "SIDE") or (before.tag == "W" and before.text.split()[0] not in _POSITIONS)
                )
            ):
                break
            noun = True
        elif chunk.tag == "PREP" and chunk.text in PLACES and noun:
            noun = False
        elif not (chunk.tag in ("ART", "ADV", "NUM", "CMPW", "BOTH") and not noun):
            break
        position += 1
    return position if noun or position > start else start


def _place_goes_on(chunks: list[Chunk], position: int) -> bool:
    """Whether after "and" another place follows, and no finding or predicate of its own."""
    seen = False
    while position < len(chunks) and chunks[position].tag in ("ART", "W", "LUNG", "SIDE", "PREP", "ADV", "CONJ"):
        seen = seen or chunks[position].tag in ("LUNG", "SIDE")
        position += 1
    return seen and (position >= len(chunks) or chunks[position].tag in ("COMMA", "SEP", "STOP", "V", "PAREN", "CHG", "WITH", "DASH", "HEDGE", "VSEEN", "CAUSE", "NEGPOST", "REL"))  # fmt: skip


def _divide(chunks: list[Chunk], previous: Mention, mention: Mention) -> None:
    """Divides what stands between two findings into the end of the one phrase and the start of the other."""
    start = _phrase_start(chunks, mention.index, previous.last)
    if start == previous.last and start < mention.index:
        # No mark or verb between them: run-on dictation.
        own = any(c.tag == "CHG" for c in chunks[previous.first : previous.index])
        denied = previous.first > 0 and chunks[previous.first - 1].tag == "NEG"
        changes = [i for i in range(start, mention.index) if chunks[i].tag == "CHG"]
        if changes and (len(changes) > 1 or not (own or denied)):
            cut = changes[0] + 1
            while cut < mention.index and (
                chunks[cut].tag in ("NOW", "CMPW", "CMP") or "compare" in chunks[cut].flags
            ):
                cut += 1
            start = cut
        elif not changes:
            if previous.trails and chunks[start].tag == "SEV":
                start += 1
            if _trails(chunks, previous, start, mention):
                mention.first, mention.trails = mention.index, True
                return
            whole = [
                i
                for i in range(start, mention.index)
                if chunks[i].tag == "SIDE" and ("compare" in chunks[i].flags or " " in chunks[i].text)
            ]
            start = whole[-1] + 1 if whole else start
            previous.last = max(previous.last, start)
    if previous.kind == "organ" and start == previous.last:
        said = [i for i in range(start, mention.index) if chunks[i].tag in ("NORMAL", "ABN", "CLEAR")]
        start = said[-1] + 1 if said else start
    mention.first = start


def _trails(chunks: list[Chunk], previous: Mention, start: int, mention: Mention) -> bool:
    """ "edema severe effusions moderate": sizes stand behind."""
    if mention.index - start != 1 or chunks[start].tag != "SEV" or previous.first != previous.index:
        return False
    return mention.index + 1 < len(chunks) and chunks[mention.index + 1].tag == "SEV"


def _relation(clause: Clause, earlier: Mention, later: Mention) -> str:
    """How the later phrase stands to the earlier one, by what lies between them."""
    gap = clause.between(earlier.last, later.first)
    tags = {c.tag for c in gap}
    words = clause.between(later.first, later.index)
    if (
        "COMMA" in tags
        and tags <= {"COMMA", "W", "V", "ADV"}
        and gap[-1].tag == "COMMA"
        and words
        and words[0].text in ("the", "a", "an")
        and _leads_in(clause, earlier)
    ):
        return "break"
    if not gap:
        mixed = earlier.is_device != later.is_device
        return "break" if mixed or any(c.tag in ("CHG", "SEV", "SIDE", "HEDGE", "ART") for c in words) else "list"
    last = max((i for i, c in enumerate(gap) if c.tag in ("COMMA", "CONJ", "DASH", "STOP", "PAREN")), default=-1)
    tail = {c.tag for c in gap[last + 1 :]}
    predicate = any(_is_predicate(c) for c in gap[: last + 1])
    if "VERSUS" in tags:
        return "versus"
    if any(c.value == "nor" for c in gap) and not predicate:
        return "list"
    if tail & {"NEG"} or (tail & {"V", "W"} and any(c.text == "there" for c in gap)):
        return "break"
    if tags <= JOINTS and "CONJ" in tags and any(c.tag == "ADJACENT" for c in words):
        return "list"
    for tag, relation in (
        ("CAUSE", "cause"),
        ("HEDGE", "explain"),
        ("AFTER", "after"),
        ("NEAR", "near"),
        ("REL", "near"),
        ("WITH", "with"),
    ):
        if tag in tail or (tag in tags and not predicate and tag != "WITH"):
            goes_on = (
                last + 1 < len(gap)
                and gap[last + 1].tag in ("V", "HEDGE", "CAUSE")
                and any(c.tag == "CONJ" for c in gap)
            )
            return "break" if predicate and tag == "HEDGE" and not goes_on else relation
    if (
        any(c.tag == "HEDGE" for c in words)
        and not predicate
        and (("COMMA" in tags and not ("CONJ" in tags and any(c.tag == "ART" for c in words))) or tags == {"V"})
    ):
        return "explain"
    if any(c.tag == "ADJACENT" for c in words) and not predicate:
        return "with"
    if predicate or (
        tags & {"V", "CHG", "NEGPOST", "HEDGEPOST", "VSEEN"} and last >= 0 and not tail & {"V", "CHG", "PREP"}
    ):
        return "break"
    if tags <= JOINTS:
        return "list"
    if tags & {"V", "CHG", "NEGPOST"}:
        return "near" if "PREP" in tail or "V" in tail else "break"
    return "near" if "PREP" in tags else "list" if tags <= JOINTS | {"W", "ADV", "VSEEN", "LUNG", "ART"} else "break"


def _leads_in(clause: Clause, earlier: Mention) -> bool:
    """ "With removal of the drain, a pneumothorax has developed": what comes before the comma only introduces."""
    first = clause.chunks[0]
    return (
        earlier is clause.mentions[0]
        and (first.tag in ("WITH", "AFTER") or first.text in ("on", "upon", "since", "in addition to"))
        and (first.tag == "WITH" or any(c.tag == "CHG" and "n" in c.flags for c in clause.chunks[: earlier.first]))
    )


def _is_predicate(chunk: Chunk) -> bool:
    return chunk.tag in ("V", "CHG", "NEGPOST", "HEDGEPOST", "NORMAL", "CLEAR", "MOVE", "HEDGEPOST2", "NEGCHG")


__all__ = ["Clause", "Event", "Mention", "Part", "find_mentions", "split_clauses"]
