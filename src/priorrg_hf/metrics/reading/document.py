"""Step 7: the document. Sections, what an opening comparison governs, what "it" and "the right one" stand for, and one fact a side."""

from dataclasses import dataclass, field

from . import tables
from .attributes import settle_sides
from .change import attach_changes, latest
from .clauses import Clause, Event, Mention, Part, find_mentions, split_clauses
from .disambiguate import disambiguate
from .passages import verb_first, with_verb, without_scopes
from .scope import settle_presence
from .statement import OVERALL, Statement, Trigger
from .tokens import Chunk, Sentence, sentences


_PLURAL = frozenset(("they", "these", "those", "both", "all", "all of these", "both of these", "these findings", "the findings", "these changes", "neither of these", "none of these", "neither of them", "both of them"))  # fmt: skip
_SURE_COMPARISONS = frozenset(("previously", "yesterday", "interval", "interim", "overnight", "the interval", "earlier", "formerly", "the day before", "until yesterday", "most recent", "hitherto", "heretofore", "former"))  # fmt: skip
_NONE = frozenset(("none", "no", "nil", "not available", "unavailable", "n/a", "na", "not", "without"))
_OPPOSITE = {"left": "right", "right": "left"}


_ADVISED = frozenset(("suggested", "requested", "proposed", "planned", "considered", "indicated"))
_STEPS = 12  # of a course told in a report, the last; so that reading stays linear in the length of the text


@dataclass(slots=True, eq=False)
class Fact:
    """What is known so far of one finding on one side."""

    finding: str
    side: str | None
    presence: str | None = None
    severity: Chunk | None = None
    events: list[Event] = field(default_factory=list)
    opened: Event | None = None
    presence_chunk: Chunk | None = None
    side_chunk: Chunk | None = None
    places: list[tuple[int, int]] = field(default_factory=list)
    organ: bool = False
    words: str = ""
    explains: bool = False


class Document:
    """Reads sentence by sentence; `statements()` tells what stands at the end, `compares` whether an earlier study is spoken of."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str | None], Fact] = {}
        self.compares = False
        self.opening: Event | None = None
        self.opens: Event | None = None  # governs from the next sentence on
        self.overall: list[Event] = []
        self.heads: list[Mention] = []  # of the last group
        self.all_heads: list[Mention] = []  # of the last sentence that names findings
        self.named: list[Mention] = []  # so far in this sentence
        self.side: str | None = None
        self.heading: list[Chunk] = []
        self.lung_sides: list[str] | None = None

    # ---- sentences ----

    def read(self, sentence: Sentence) -> None:
        self.opening = self.opens
        if sentence.section == "skip":
            return
        if sentence.section == "comparison":
            self.compares = self.compares or _names_a_study(sentence.chunks)
            return
        chunks = without_scopes(disambiguate(list(sentence.chunks)))
        chunks = self._under_heading(sentence, chunks)
        self._note_comparisons(chunks)
        named: list[Mention] = []
        before: list[Chunk] = []
        self.named = named
        for number, part in enumerate(split_clauses(chunks)):
            part = with_verb(part, before)
            named += self._read_clause(part, number)
            before = part
        if named:
            self.all_heads = [m for m in named if m.head] or named

    def _under_heading(self, sentence: Sentence, chunks: list[Chunk]) -> list[Chunk]:
        self.compares = self.compares or any(c.tag == "CMP" for c in sentence.heading)
        if sentence.heading is self.heading or not sentence.heading:
            self.heading = sentence.heading
            return chunks
        self.heading = sentence.heading
        known = tables.findings()
        subject = [c for c in sentence.heading if c.tag in ("FIND", "LUNG", "SIDE", "CONJ", "SEV", "CHG")]
        findings = [
            c for c in subject if c.tag == "FIND" and known[c.value].kind != "other" and c.value != "support_devices"
        ]
        subject = [c for c in subject if c.tag != "FIND" or c in findings]
        if not findings and any(c.tag in ("CHG", "HEDGEPOST", "NEGPOST") for c in sentence.heading):
            end = sentence.heading[-1].end  # "Unchanged: left effusion, cardiomegaly."
            return [*disambiguate(list(sentence.heading)), Chunk("COLON", ":", "", ":", end, end), *chunks]
        if not findings and not any(c.tag == "LUNG" for c in subject):
            return chunks
        named = {c.value for c in chunks if c.tag == "FIND" and c.flags != "other"}
        if findings and (named & {c.value for c in findings} or (named and all(c.flags == "organ" for c in findings))):
            return chunks
        if len(findings) > 1 and named:
            return chunks
        if findings and not named and _starts_with_side(chunks):
            self.heads = [Mention(c.value, c.flags, c, 0, 0, 1) for c in findings]
            self.all_heads = self.heads
            return chunks
        end = sentence.heading[-1].end
        return [*subject, Chunk("V", "be", "", "colon", end, end), *chunks]

    def _note_comparisons(self, chunks: list[Chunk]) -> None:
        for index, chunk in enumerate(chunks):
            if (
                chunk.tag in ("CMP", "MOVE")
                or chunk.note == "compares"
                or (chunk.tag == "CMPW" and _surely_compares(chunks, index))
            ):
                self.compares = True
            elif chunk.tag == "FOLLOW" and not any(c.text in _ADVISED for c in chunks[index + 1 :]):
                self.compares = self.compares or any(c.tag == "V" for c in chunks[index + 1 :])

    def _default_side(self) -> str | None:
        return next((c.value for c in self.heading if c.tag == "SIDE"), None)

    # ---- clauses ----

    def _read_clause(self, chunks: list[Chunk], number: int) -> list[Mention]:
        chunks = self._with_antecedent(chunks, number)
        clause = Clause(chunks)
        find_mentions(clause)
        for mention in clause.mentions:
            mention.rest = any(
                c.value == "rest"
                or c.text
                in ("rest", "other", "others", "remaining", "remainder", "another", "additional", "second", "further")
                for c in chunks[max(0, mention.first - 3) : mention.index]
            )
            mention.definite = any(
                c.text in ("the", "this", "that", "of the", "in the")
                for c in chunks[max(0, mention.first - 1) : mention.index]
            )
        settle_presence(clause)
        settle_sides(clause)
        self._leading_side(clause)
        self._explained_side(clause)
        started = bool(self.facts)
        left = attach_changes(clause)
        self._open(clause, left, started, number)
        self._clear_lungs(clause)
        for mention in clause.mentions:
            self._record(mention)
        real = [m for m in clause.mentions if m.kind != "other"]
        if real:
            last = real[-1].group
            heads = [m for m in real if m.group == last and m.head] or real[-1:]
            self.heads = heads
        return real

    def _with_antecedent(self, chunks: list[Chunk], number: int) -> list[Chunk]:
        """A clause that speaks of an earlier finding without naming it gets that finding put in its place."""
        elided = number and bool(self.heads) and verb_first(chunks)
        if not elided and any(c.tag in ("FIND", "DEVSTATE") for c in chunks) or not self.heads:
            pronoun = next((i for i, c in enumerate(chunks[:2]) if c.tag == "PRON"), None)
            if pronoun is None or not self.heads or not any(c.tag == "FIND" for c in chunks):
                return chunks
            following = chunks[pronoun + 1 :]
            if not following or following[0].tag not in ("V", "CHG", "NOT", "ADV", "HEDGE"):
                return chunks
        if any(c.tag == "LUNG" for c in chunks) and any(c.tag == "CLEAR" for c in chunks):
            return chunks
        said = [
            i
            for i, c in enumerate(chunks)
            if c.tag in ("CHG", "SEV", "NEGPOST", "HEDGEPOST", "MOVE", "HEDGEPOST2", "NOT", "NEGCHG", "HEDGE")
        ]
        pronoun = next((i for i, c in enumerate(chunks) if c.tag == "PRON"), None)
        side = next((i for i, c in enumerate(chunks) if c.tag == "SIDE" or c.value == "other"), None)
        if pronoun is not None and chunks[pronoun].text == "one" and side is not None:
            said = said or [side]
        if not said or (pronoun is None and side is None and not self._goes_on(chunks, number)):
            return chunks
        antecedents = self._antecedents(chunks[pronoun] if pronoun is not None else None, chunks)
        if not antecedents:
            return chunks
        place = pronoun if pronoun is not None and not elided else 0
        if elided:
            pronoun = side = None
        if pronoun is None and side is not None and side < said[0]:
            place = _after_side(chunks, side)
        stand_ins: list[Chunk] = []
        for mention in antecedents:
            if stand_ins:
                stand_ins.append(Chunk("CONJ", "and", "", "and", chunks[0].start, chunks[0].start))
            spot = chunks[place] if pronoun is not None else chunks[0]
            known = (
                _one_side(self._resolved_sides(mention))
                if side is None and not mention.parts and tables.findings()[mention.finding].sided
                else None
            )
            if (
                pronoun is not None
                and chunks[pronoun].text in ("the former", "the latter")
                and len(mention.parts) == 2
            ):
                known = mention.parts[0 if chunks[pronoun].text == "the former" else 1].side
            if known is not None and (pronoun is not None or place == 0):
                stand_ins.append(Chunk("SIDE", known, "", "@", chunks[0].start, chunks[0].start))
            another = any(c.text in ("one", "ones") for c in chunks) and not any(
                c.tag in ("NEG", "NOT") for c in chunks
            )
            presence = "present" if another else mention.presence or ""  # "no large effusion, but a small one"
            stand_ins.append(Chunk("FIND", mention.finding, mention.kind, "@", spot.start, spot.end, f"@{presence}"))
        rest = chunks[place + 1 :] if pronoun is not None else chunks[place:]
        return [*chunks[:place], *stand_ins, *rest]

    def _goes_on(self, chunks: list[Chunk], number: int) -> bool:
        """Whether a clause without any subject goes on about the finding before it: "..., but has increased", "Now smaller."."""
        first = chunks[0]
        if any(c.tag == "W" and c.text in ("chest", "examination", "exam", "study", "film", "appearance", "appearances", "radiograph", "lungs", "picture", "findings", "overall") for c in chunks):  # fmt: skip
            return False
        if any(c.tag == "ADV" and c.text in ("overall", "otherwise") for c in chunks):
            return False
        strange = [
            c for c in chunks if c.tag == "W" and c.text not in tables.whole_chest() and not c.text.endswith("ly")
        ]
        if number:
            return first.tag in ("V", "CHG", "ADV", "NOT", "SEV", "NOW", "NEGPOST", "HEDGE", "HEDGEPOST", "HEDGEPOST2", "NEG", "REL", "NEGCHG", "CMPW", "CMP", "MOVE", "CONJ", "W", "PREP") and not (first.tag == "W" and strange)  # fmt: skip
        change = next((c for c in chunks if c.tag in ("CHG", "SEV")), None)
        if first.tag == "NEGPOST" and any(
            m.presence_chunk is not None and m.presence_chunk.tag == "QUERY" for m in self.heads
        ):
            return True  # "Pneumothorax? None seen."
        if change is None or strange:
            return False
        nounlike = change.tag == "CHG" and ("n" in change.flags and not change.text.endswith("ed"))
        return not nounlike and first.tag in ("CHG", "ADV", "NOW", "V", "SEV", "NOT", "HEDGE", "CMPW", "CMP")

    def _antecedents(self, pronoun: Chunk | None, chunks: list[Chunk]) -> list[Mention]:
        placed = [m for m in self.heads if m.kind != "other"]
        if pronoun is not None:
            everything = [m for m in self.all_heads if m.kind != "other"] or placed
            if pronoun.text in _PLURAL or pronoun.text == "both":
                here = [m for m in self.named if m.kind != "other"]
                everything = here if pronoun.text == "both" and len(_distinct(here)) == 2 else everything
                group = placed if len(placed) > 1 else everything if len(everything) > 1 else placed
                alive = [m for m in group if m.presence != "absent"]
                return _distinct(alive or group)
            if pronoun.text == "the former":
                return everything[:1]
            if pronoun.text == "the latter":
                return everything[-1:]
            return placed[-1:]
        devices = any("d" in c.flags for c in chunks if c.tag == "CHG")
        if devices and not any(m.is_device for m in placed):
            return []
        alive = [m for m in placed if m.presence != "absent"] or placed
        return _distinct(alive)

    def _explained_side(self, clause: Clause) -> None:
        """ "Right basal opacity. Pneumonia is likely.": an explanation takes the side of what it explains."""
        for mention in clause.mentions[:1]:
            explained = [m for m in self.heads if m.finding in ("opacity", "consolidation")]
            if (
                mention.finding in ("pneumonia", "atelectasis")
                and mention.presence == "uncertain"
                and not mention.sides
                and explained
            ):
                side = _one_side(self._resolved_sides(explained[-1]))
                mention.sides = [side] if side else []

    def _leading_side(self, clause: Clause) -> None:
        """ "On the left, there is ...", "Right lung: ...": a side that stands before all findings is theirs."""
        if not clause.mentions:
            return
        first = min(m.first for m in clause.mentions)
        leading = [c for c in clause.chunks[:first] if c.tag in ("SIDE", "BACKREF")]
        side = None
        if (
            len({c.value for c in leading}) == 1
            and _is_place(clause.chunks, leading[0])
            and not any(c.tag == "COLON" for c in clause.chunks[:first])
        ):
            side = leading[0]
        default = self._default_side()
        for mention in clause.mentions:
            if mention.sides or mention.parts or mention.is_device:
                continue
            words = clause.chunks[mention.first : mention.index]
            if mention is clause.mentions[0] and any(c.tag == "ADJACENT" for c in words):
                mention.sides = ["@same"]
                continue
            if side is not None and not any(
                c.tag in ("CONJ", "CLEAR")
                for c in clause.chunks[clause.chunks.index(side) : mention.first]
                if mention is clause.mentions[0]
            ):
                mention.sides, mention.side_chunks = [side.value if side.tag == "SIDE" else f"@{side.value}"], [side]
            elif default is not None:
                mention.sides = [default]

    # ---- opening comparisons ----

    def _open(self, clause: Clause, left: list[tuple[int, Event]], started: bool, number: int) -> None:
        """A change word that belongs to no finding is about the chest; what it says governs the findings after it."""
        for index, event in left:
            if event.label not in ("unchanged", "decreased", "increased") or "d" in event.chunk.flags:
                if event.label in ("new", "resolved"):
                    self.compares = True
                continue
            before = clause.chunks[:index]
            comma = max((i for i, c in enumerate(before) if c.tag == "COMMA"), default=-1)
            before = before[comma + 1 :]  # "AP portable, no change"
            if event.weak or any(m.index < index and m.finding != "lung_volumes" for m in clause.mentions):
                continue
            if any(c.tag == "FIND" and c.value != "lung_volumes" for c in before) or any(
                c.tag == "W" and c.text not in tables.whole_chest() for c in before
            ):
                self.compares = True
                continue
            limit = min((m.first for m in clause.mentions if m.index > index), default=len(clause.chunks))
            after = clause.chunks[index + 1 : limit]
            stop = next(
                (i for i, c in enumerate(after) if c.tag in ("COMMA", "WITH", "COLON", "SEP", "DASH")), len(after)
            )
            after = after[:stop]
            elsewhere = any(c.tag == "PREP" for c in after) and any(
                c.tag == "SIDE" and c.value != "bilateral" or c.text in ("base", "apex", "zone") for c in after
            )
            if elsewhere or any(
                c.tag == "W" and c.text not in tables.whole_chest() and not c.text.isdigit() for c in after[:3]
            ):
                self.compares = True
                continue
            self.compares = True
            self.overall.append(event)
            self.opens = event
            if event.label == "unchanged":
                self.opening = event

    # ---- clear lungs ----

    def _clear_lungs(self, clause: Clause) -> None:
        for index, chunk in enumerate(clause.chunks):
            if chunk.tag == "LUNG":
                self.lung_sides = self._lung_sides(clause, index)
            if chunk.tag != "CLEAR":
                continue
            if any(
                c.tag in ("NOT", "HEDGE") or "neg" in c.flags.split() or c.text == "neither"
                for c in clause.chunks[max(0, index - 3) : index]
            ):
                continue
            lung = self._lung_of(clause, index)
            if lung is None:
                continue
            if (
                index
                and clause.chunks[index - 1].text in ("was", "were", "had been")
                and any(c.tag == "NOW" for c in clause.chunks[index + 1 :])
            ):
                continue  # "which was clear, now shows consolidation"
            side = _one_side(lung)
            if any(c.tag in ("NOW", "CHG") for c in clause.chunks[max(0, index - 3) : index]):
                self.compares = True
            for finding in ("consolidation", "opacity"):
                key = (finding, side)
                fact = self.facts.get(key)
                if fact is None or fact.presence is None:
                    fact = self.facts.setdefault(key, Fact(finding, side))
                    fact.presence, fact.presence_chunk = "absent", chunk
                    fact.places.append((chunk.start, chunk.end))

    def _lung_sides(self, clause: Clause, index: int) -> list[str]:
        sides = []
        for chunk in clause.chunks[max(0, index - 2) : index + 1]:
            if chunk.tag == "SIDE":
                sides.append(chunk.value)
            elif chunk.tag == "BACKREF" and self.side in _OPPOSITE:
                sides.append(_OPPOSITE[self.side] if chunk.value == "other" else self.side)
        default = self._default_side()
        return sides or ([default] if default else [])

    def _lung_of(self, clause: Clause, index: int) -> list[str] | None:
        """The sides of the lungs that are called clear, or `None` where something else is."""
        chunks = clause.chunks
        before = [
            i
            for i, c in enumerate(chunks[:index])
            if c.tag == "LUNG"
            or (c.tag == "SIDE" and (_is_lung_phrase(c) or c.text.endswith("lobe")))
            or c.tag == "BACKREF"
            or (i and c.text in _LOBES and chunks[i - 1].tag == "SIDE")
        ]
        after = [i for i, c in enumerate(chunks[index + 1 : index + 3], start=index + 1) if c.tag == "LUNG"]
        sides = (
            [c.value for c in chunks[index + 1 :] if c.tag == "SIDE"][:1]
            if not any(c.tag == "FIND" for c in chunks[index + 1 :])
            else []
        )
        if chunks[index].text == "clear bilaterally":
            sides = ["bilateral"]
        if before:
            between = chunks[before[-1] : index]
            if any(c.tag == "FIND" and c.flags != "other" for c in between):
                return None
            return self._lung_sides(clause, before[-1]) or sides
        if after or chunks[index].text == "clear lungs":
            return sides
        if self.lung_sides is not None and not any(c.tag == "FIND" for c in chunks[:index]):
            return self.lung_sides or sides
        if index == 0 and (default := self._default_side()):
            return [default]  # "Left: clear."
        named = [c.value for c in chunks[:index] if c.tag == "SIDE"]
        if named and not any(c.tag == "FIND" for c in chunks[:index]):
            return named
        return None

    # ---- facts ----

    def _record(self, mention: Mention) -> None:
        if mention.kind == "other":
            return
        row = tables.findings()[mention.finding]
        stand_in = mention.chunk.note.startswith("@") and mention.chunk.text == "@"
        if mention.compares:
            self.compares = True
        if (
            mention.presence is None
            and mention.kind == "organ"
            and row.in_facts
            and any(e.label in ("increased", "decreased") for e in mention.events)
        ):
            mention.presence = "present"  # "increase in the size of the heart"
        sides = self._resolved_sides(mention) if row.sided else []
        if stand_in:
            self._update_earlier(mention, sides)
            return
        base = _one_side(sides)
        if mention.parts and row.sided:
            named = {part.side for part in mention.parts}
            if len(mention.parts) == 1 and base in (None, "bilateral"):
                other = _OPPOSITE[mention.parts[0].side]
                if base == "bilateral":
                    self._put(mention, other, mention.severity, mention.events)
            elif len(mention.parts) == 1 and base != mention.parts[0].side:
                self._put(mention, base, mention.severity, mention.events)
            for part in mention.parts:
                self._put(
                    mention, part.side, part.severity or mention.severity, [*mention.events, *part.events], part=part
                )
            self.side = mention.parts[-1].side if len(named) == 1 else self.side
            return
        if base is not None:
            self.side = base
        self._put(mention, base, mention.severity, mention.events)

    def _resolved_sides(self, mention: Mention) -> list[str]:
        sides = []
        for side in mention.sides:
            if side == "@same":
                sides += [self.side] if self.side else []
            elif side == "@other":
                sides += [_OPPOSITE[self.side]] if self.side in _OPPOSITE else []
            else:
                sides.append(side)
        return sides

    def _update_earlier(self, mention: Mention, sides: list[str]) -> None:
        """A stand-in adds to the facts of its finding: those of its side, or the last ones named."""
        side = _one_side(sides)
        if mention.parts:
            for part in mention.parts:
                self._put(
                    mention,
                    part.side,
                    part.severity or mention.severity,
                    [*mention.events, *part.events],
                    follows=True,
                    part=part,
                )
            return
        if side is not None:
            self._put(mention, side, mention.severity, mention.events, follows=True)
            return
        source = next((m for m in reversed(self.heads) if m.finding == mention.finding), None)
        keys: list[str | None] = (
            [_one_side(self._resolved_sides(source))]
            if source is not None and tables.findings()[mention.finding].sided
            else [None]
        )
        if source is not None and source.parts:
            keys = [part.side for part in source.parts]
        if source is not None and source.chunk.text == "@" and not source.sides:
            keys = [f.side for f in self.facts.values() if f.finding == mention.finding][-1:] or keys
        for key in keys:
            self._put(mention, key, mention.severity, mention.events, follows=True)
        mention.sides = [key for key in keys if key]

    def _put(
        self,
        mention: Mention,
        side: str | None,
        severity: Chunk | None,
        events: list[Event],
        follows: bool = False,
        part: Part | None = None,
    ) -> None:
        told = part if part is not None and part.presence is not None else mention
        keys = self._keys(mention, side, bool(events or severity), follows)
        for key in keys:
            fact = self.facts.get(key)
            if fact is None:
                fact = self.facts[key] = Fact(mention.finding, key[1], told.presence)
                fact.presence_chunk = told.presence_chunk
                fact.opened, fact.organ = self.opening, mention.kind == "organ"
                fact.words, fact.explains = mention.chunk.text, True
                if follows:
                    fact.presence = mention.chunk.note[1:] or "present"
                    fact.presence_chunk = None
            fact.explains = fact.explains and mention.explains
            said = told.presence_chunk is not None
            if follows:
                if said:
                    fact.presence, fact.presence_chunk = told.presence, told.presence_chunk
            elif told.presence is not None or fact.presence is None:
                fact.presence, fact.presence_chunk = told.presence, told.presence_chunk
            if (
                events
                and fact.presence == "absent"
                and not said
                and any(e.label != "resolved" and not e.weak for e in events)
            ):
                fact.presence = "present"
            _take_events(fact, events)
            if severity is not None:
                fact.severity = severity
            if mention.side_chunks and mention.side_chunks[0].text != "@":
                fact.side_chunk = mention.side_chunks[0]
            fact.places.append((mention.chunk.start, mention.chunk.end))

    def _keys(self, mention: Mention, side: str | None, tells: bool, follows: bool) -> list[tuple[str, str | None]]:
        """The facts that a mention is about. Without a side it takes up a fact with one; a side of a bilateral fact that differs parts it."""
        finding = mention.finding
        known = [key for key in self.facts if key[0] == finding]
        if (finding, side) in self.facts or not known:
            return [(finding, side)]
        if side is None and not mention.rest:
            sided = [key for key in known if key[1] is not None and self.facts[key].presence != "absent"]
            if mention.presence == "absent" and not mention.events and not follows:
                return [(finding, None)]
            if sided and (len(sided) == 1 or follows or mention.chunk.text.endswith("s")):
                return sided if follows or len(sided) == 1 else sided
            return [(finding, None)]
        if side is None:
            return [(finding, None)]
        if side in _OPPOSITE and (finding, "bilateral") in self.facts and tells:
            whole = self.facts.pop((finding, "bilateral"))
            for one in ("left", "right"):
                self.facts[(finding, one)] = Fact(finding, one, whole.presence, whole.severity, list(whole.events), whole.opened, whole.presence_chunk, whole.side_chunk, list(whole.places))  # fmt: skip
            return [(finding, side)]
        if (
            side in _OPPOSITE
            and (finding, "bilateral") in self.facts
            and mention.presence == self.facts[(finding, "bilateral")].presence
        ):
            return [(finding, "bilateral")]
        if (
            (finding, None) in self.facts
            and self.facts[(finding, None)].presence == mention.presence
            and mention.presence != "absent"
            and (mention.definite or follows)
        ):
            place = list(self.facts)
            fact = self.facts[(finding, None)]
            fact.side = side
            renamed = {((finding, side) if key == (finding, None) else key): self.facts[key] for key in place}
            self.facts.clear()
            self.facts.update(renamed)
        return [(finding, side)]

    # ---- the end ----

    def statements(self) -> list[Statement]:
        result = []
        for event in self.overall[-1:]:
            chunk = event.chunk
            trigger = Trigger("change", chunk.text, chunk.start, chunk.end)
            result.append(
                Statement(
                    OVERALL,
                    change=event.label,
                    start=chunk.start,
                    end=chunk.end,
                    triggers=(trigger,),
                    mentions=((chunk.start, chunk.end),),
                )
            )
        return result + [self._statement(fact) for fact in self.facts.values()]

    def _statement(self, fact: Fact) -> Statement:
        presence = fact.presence
        event = latest(fact.events)
        device = tables.findings()[fact.finding].kind == "device"
        if (
            event is None
            and presence == "present"
            and fact.opened is not None
            and (not device or fact.opened.label == "unchanged")
        ):
            event = fact.opened
        change = event.label if event is not None else None
        if change == "resolved":
            presence = "absent"
        elif presence == "absent" and not (change == "unchanged" and fact.organ):
            change = None
        severity = fact.severity if presence != "absent" and not device else None
        triggers = []
        for part, chunk in (("side", fact.side_chunk if fact.side else None), ("presence", fact.presence_chunk), ("severity", severity), ("change", event.chunk if event is not None and change else None)):  # fmt: skip
            if chunk is not None:
                triggers.append(Trigger(part, chunk.text, chunk.start, chunk.end))
        places = [p for p in fact.places if p[1] > p[0]] or [(0, 0)]
        named = places[0]
        return Statement(
            fact.finding,
            fact.side,
            presence,
            severity.value if severity is not None else None,
            change,
            named[0],
            named[1],
            fact.words,
            fact.explains,
            tuple(triggers),
            tuple(dict.fromkeys(places)),
        )


def _take_events(fact: Fact, events: list[Event]) -> None:
    later_sentence = bool(fact.events)
    for event in events:
        if later_sentence and not event.weak and event.label == "unchanged":
            event = Event(event.label, False, event.chunk, event.side, event.earlier, True)
        gone = any(e.label == "resolved" for e in fact.events)
        if gone and event.weak and event.label == "unchanged" and "again" in event.chunk.text.split():
            event = Event("new", False, event.chunk, event.side, event.earlier, event.step)
        if event.chunk.note == "reaccum" and any(e.label == "resolved" for e in fact.events):
            event = Event("new", event.weak, event.chunk, event.side, event.earlier, event.step)
        fact.events.append(event)
    del fact.events[:-_STEPS]


def _distinct(mentions: list[Mention]) -> list[Mention]:
    return list({m.finding: m for m in mentions}.values())


def _one_side(sides: list[str]) -> str | None:
    kinds = set(sides)
    if not kinds:
        return None
    if "bilateral" in kinds or {"left", "right"} <= kinds:
        return "bilateral"
    return sides[0]


def _after_side(chunks: list[Chunk], side: int) -> int:
    place = side + 1
    while place < len(chunks) and chunks[place].text in ("one", "ones", "component", "side", "sided"):
        place += 1
    return place


_LOBES = frozenset(("upper lobe", "lower lobe", "upper zone", "lower zone", "mid zone", "upper lung", "lower lung", "mid lung"))  # fmt: skip


def _is_lung_phrase(chunk: Chunk) -> bool:
    return (
        chunk.text.split()[-1]
        in (
            "lung",
            "lungs",
            "base",
            "bases",
            "apices",
            "apex",
            "hemithorax",
            "hemithoraces",
            "zones",
            "fields",
            "lobe",
            "lobes",
            "side",
            "sides",
        )
        and chunk.value == "bilateral"
    )


def _starts_with_side(chunks: list[Chunk]) -> bool:
    """ "Effusions: the left has resolved, the right persists." """
    body = [c for c in chunks if c.tag != "ART"][:2]
    return len(body) == 2 and body[0].tag == "SIDE" and body[1].tag in ("V", "CHG")


_PLACE_WORDS = frozenset(("upper lobe", "lower lobe", "mid zone", "upper zone", "lower zone", "upper", "lower", "mid", "costophrenic", "chest", "hemithorax", "side", "upper lobes", "lower lobes", "apical", "basal", "perihilar", "lateral", "upper lung", "lower lung", "mid lung"))  # fmt: skip


def _is_place(chunks: list[Chunk], chunk: Chunk) -> bool:
    """Whether a side before the findings tells where they are: "on the right", "the right lung contains", "right: ..."."""
    index = chunks.index(chunk)
    following = chunks[index + 1] if index + 1 < len(chunks) else None
    before = chunks[max(0, index - 2) : index]
    return (
        index < 2
        or any(c.tag == "PREP" for c in before)
        or (following is not None and (following.tag == "LUNG" or following.text in _PLACE_WORDS))
    )


def _names_a_study(chunks: list[Chunk]) -> bool:
    words = [w for c in chunks for w in c.text.split()]
    if not any(w.isalnum() for w in words):
        return False
    return not (
        any(c.tag in ("NOCMP", "NEGPOST", "NEG", "NOT") for c in chunks) or words[0] in _NONE or "unavailable" in words
    )


def _surely_compares(chunks: list[Chunk], index: int) -> bool:
    chunk = chunks[index]
    following = chunks[index + 1] if index + 1 < len(chunks) else None
    if chunk.text in _SURE_COMPARISONS:
        return True
    if chunk.text in ("prior", "previous", "last", "preceding", "earlier") and (
        following is None or following.tag in ("STOP", "COMMA", "NUM", "V", "SEP", "PAREN")
    ):
        return chunk.text in ("prior", "previous", "last", "preceding")
    if chunk.text == "before":
        return following is None or following.tag in ("STOP", "COMMA", "CONJ", "SEP", "WITH", "PAREN")
    return False


def read_document(text: str) -> Document:
    """Reads a text to its end."""
    document = Document()
    for sentence in sentences(text):
        document.read(sentence)
    return document


__all__ = ["Document", "read_document"]
