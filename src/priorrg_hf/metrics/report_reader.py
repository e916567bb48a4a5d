"""Reads statements from free-text findings: finding, side, presence, severity, and change against the prior study. By rules.

A sentence is rewritten first (denied changes, side-to-side comparisons, recommendations), then cut into clauses at words such as "but"
and "while". In a clause each *change cue* is given to findings: to those it stands before ("new left effusion", "resolution of the
opacity"), or to those it is said of ("the effusions ... are smaller"), across coordinated findings. A clause that names a side but no
finding ("... while the right is smaller") takes the findings of the clause before. What is asked for, feared or unknown
("to ensure clearing", "whether it has changed") is no statement; a hedged change ("may be larger") is one.

Measured on hand-annotated sentences, see `docs/evaluation.md`. It is no substitute for a clinical labeller.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import report_lexicon as lexicon
from .report_lexicon import CHANGES, OVERALL, SEVERITIES, UNSIDED


LONGEST_SENTENCE = 600


@dataclass(frozen=True)
class Statement:
    """What a report says of one finding on one side.

    Args:
        finding (`str`): one of `report_lexicon.FINDINGS`, or `"overall"` for the chest as a whole.
        side (`str`, *optional*): `"left"`, `"right"`, or `None` where no side is given or the finding has none.
        status (`str`, *optional*): `"present"`, `"absent"`, `"uncertain"`, or `None` where the text names an organ without saying.
        severity (`str`, *optional*): one of `SEVERITIES`.
        change (`str`, *optional*): one of `CHANGES`.
        start, end (`int`): where the mention stands in the text, in characters; takes no part in comparisons.
    """

    finding: str
    side: str | None = None
    status: str | None = None
    severity: str | None = None
    change: str | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @property
    def site(self) -> str:
        """`"pleural_effusion:left"`, or the finding alone where there is no side."""
        return f"{self.finding}:{self.side}" if self.side else self.finding


@dataclass(eq=False)
class _Mention:
    finding: str
    start: int
    end: int
    text: str
    sides: tuple[str | None, ...] = (None,)
    severity: str | None = None
    status: str | None = "present"
    changes: dict[str | None, str] = field(default_factory=dict)  # side -> change; None: all sides of the mention
    has_cue: bool = False
    severities: dict[str, str] = field(default_factory=dict)  # side -> level, where each side has its own


@dataclass(eq=False)
class _Cue:
    label: str
    start: int
    end: int
    text: str


def split_sentences(text: str) -> list[tuple[int, str]]:
    """Sentences with their start. A full stop between digits ends none, also in prepared text ("4 .5 cm")."""
    sentences, start = [], 0
    for match in re.finditer(r"(?<!\d)\s*\.(?=\s|$)|(?<=\d)\s*\.(?!\d)(?=\s|$)|[!?\n]+|(?<=[a-z])\.(?=[A-Z])", text):
        if text[start : match.start()].strip():
            sentences.append((start, text[start : match.start()]))
        start = match.end()
    if text[start:].strip():
        sentences.append((start, text[start:]))
    return [piece for start, sentence in sentences for piece in _pieces(start, sentence)]


def _pieces(start: int, sentence: str) -> list[tuple[int, str]]:
    """A run-on text without full stops is cut at blanks, so that reading stays linear in its length."""
    pieces = []
    while len(sentence) > LONGEST_SENTENCE:
        cut = sentence.rfind(" ", 0, LONGEST_SENTENCE)
        cut = cut if cut > 0 else LONGEST_SENTENCE
        pieces.append((start, sentence[:cut]))
        start, sentence = start + cut, sentence[cut:]
    return [*pieces, (start, sentence)]


def _rewrite(sentence: str) -> str:
    """Lower case with the rewrites applied. Each is padded or cut to the length it replaces, so that positions stay."""
    text = sentence.lower()
    for pattern, replacement in lexicon.REWRITES:

        def same_length(match: re.Match, replacement: str = replacement) -> str:
            length = match.end() - match.start()
            return replacement[:length].ljust(length) if replacement.strip() else " " * length

        text = pattern.sub(same_length, text)
    return text


def _sides(text: str) -> tuple[str, ...]:
    """Sides named in a stretch of text, in order."""
    text = lexicon.NO_SIDE.sub(lambda match: " " * len(match.group()), text)
    found: dict[str, None] = {}
    for match in lexicon.SIDE.finditer(text):
        for side in ("left", "right") if match.lastgroup == "both" else (match.lastgroup,):
            found[side] = None
    return tuple(found)


def _level(text: str) -> str | None:
    """The severest level named in `text`, apart from words that qualify a change ("slightly improved", "mild improvement")."""
    levels = []
    for match in lexicon.SEVERITY.finditer(text):
        following = text[match.end() :].lstrip(" -")
        cue = lexicon.CUE.match(following) or re.match(r"(?:interval|significant)\b", following)
        if cue is None:
            levels.append(SEVERITIES.index(match.lastgroup))
    return SEVERITIES[max(levels)] if levels else None


_ELLIPSIS = re.compile(r"\s*(?:the )?(?:left|right)(?: side| one)? (?:is|has|appears|remains|also)\b")
_INTERPRETS = re.compile(
    r"\b(?:represent(?:s|ing)?|reflect(?:s|ing)?|suggest(?:s|ing|ive)?|(?:compatible|consistent) with|(?:due|secondary|related) to|concerning for"
    r"|in keeping with|likely(?: from)?|probabl[ey]|presumed|because of|caused by)\b"
)
_LEVEL_AND_SIDE = re.compile(r"\b(?P<level>[\w-]+) (?P<side>left|right)\b")


def _own_phrase(phrase: str) -> str:
    """The part of the text before a mention that belongs to its noun phrase: what follows the last verb, or a leading "on the right"."""
    verbs = list(lexicon.VERB.finditer(phrase))
    if not verbs or re.match(r"\s*(?:on|at|in) the (?:left|right)\b", phrase):
        return phrase
    return phrase[verbs[-1].end() :]


class _Clause:
    """A stretch between strong boundaries: its mentions, its cues, and who belongs to whom."""

    def __init__(self, text: str):
        self.text = text
        self.mentions = [
            _Mention(match.lastgroup, match.start(), match.end(), match.group())
            for match in lexicon.FINDING.finditer(text)
        ]
        self.cues = [
            _Cue(match.lastgroup, match.start(), match.end(), match.group())
            for match in lexicon.CUE.finditer(text)
            if not any(m.start < match.start() < m.end and m.text != match.group() for m in self.mentions)
        ]
        # "remains unchanged", "persistent but stable": one statement, the more telling word counts.
        self.cues = [
            cue
            for cue in self.cues
            if not (
                re.match(r"remain|still|continue", cue.text)
                and any(c is not cue and 0 <= c.start - cue.end < 30 for c in self.cues)
            )
        ]
        for mention in self.mentions:
            self._describe(mention)

    # ---- mentions ----

    def _neighbours(self, mention: _Mention) -> tuple[str, str]:
        """The text before the mention back to the last mention or boundary, and after it up to the next."""
        index = self.mentions.index(mention)
        before_start = self.mentions[index - 1].end if index else 0
        after_end = self.mentions[index + 1].start if index + 1 < len(self.mentions) else len(self.text)
        return self.text[before_start : mention.start], self.text[mention.end : after_end]

    def _describe(self, mention: _Mention) -> None:
        before, after = self._neighbours(mention)
        phrase = _own_phrase(re.split(r"[,;]|\b(?:with|and there)\b", before)[-1])
        near = re.split(r"[,;]|\b(?:and|with|or)\b", after)[0]
        mention.severities = {
            m["side"]: _level(m["level"])
            for m in _LEVEL_AND_SIDE.finditer(phrase)
            if lexicon.SEVERITY.fullmatch(m["level"])
        }
        if len(mention.severities) < 2:
            mention.severities = {}
        mention.severity = _level(phrase) or self._predicate_level(near, after)
        if mention.finding not in UNSIDED:
            sides = _sides(phrase + " " + mention.text)
            if not sides:
                # "effusion on the right", "consolidation at the left base": but not what a cue says of one side.
                cue = lexicon.CUE.search(near)
                sides = _sides(near[: cue.start()] if cue else near)
            if not sides:
                sides = self._shared_side(mention, before)
            mention.sides = sides or (None,)
        mention.status = self._status(mention, before, after)

    def _predicate_level(self, near: str, after: str) -> str | None:
        now = re.search(r"\bnow (?P<level>[\w-]+)", after)
        if now and lexicon.SEVERITY.fullmatch(now["level"]):
            return _level(now["level"])
        said = re.match(r"\s*(?:is|are|appears?|remains?)(?: \w+)? (?P<level>[\w-]+)", near)
        if said and lexicon.SEVERITY.fullmatch(said["level"]):
            following = near[said.end("level") :].lstrip()
            return None if lexicon.CUE.match(following) else _level(said["level"])
        return None

    def _shared_side(self, mention: _Mention, before: str) -> tuple[str, ...]:
        """The side of the coordinated finding before: "left effusion and adjacent atelectasis"."""
        index = self.mentions.index(mention)
        if index == 0 or not re.match(r"^\s*and (?:adjacent|associated|overlying|underlying|compressive)", before):
            return ()
        sides = self.mentions[index - 1].sides
        return () if sides == (None,) else sides

    def _status(self, mention: _Mention, before: str, after: str) -> str | None:
        head = self.text[: mention.start]
        hedged_negation = lexicon.HEDGED_NEGATION.search(self.text)
        if hedged_negation is None:
            negations = list(lexicon.NEGATION.finditer(head))
            if negations and not lexicon.NEGATION_ENDS.search(head[negations[-1].end() :]):
                return "absent"
            if lexicon.NEGATED_AFTER.search(after):
                return "absent"
        if lexicon.NEUTRAL_MENTION.match(mention.text):
            said = before.rsplit(",", 1)[-1] + " " + after
            if lexicon.NORMAL.search(said):
                return "absent"
            return "present" if lexicon.ABNORMAL.search(said) else None
        if self._is_interpretation(mention):
            return "uncertain"
        if hedged_negation or lexicon.HEDGE.search(before) or lexicon.HEDGE.search(after[:40]):
            return "uncertain"
        return "present"

    def _is_interpretation(self, mention: _Mention) -> bool:
        """Named as what another finding may be, or be due to: "opacity, likely pneumonia", "effusion due to fluid overload"."""
        index = self.mentions.index(mention)
        if not index:
            return False
        previous = self.mentions[index - 1]
        between = self._between(previous.end, mention.start)
        return bool(_INTERPRETS.search(between)) or (
            bool(re.match(r"\s*(?:,? or|,? versus|/|,? vs)\b", between)) and self._is_interpretation(previous)
        )

    # ---- cues ----

    def attach(self, earlier: "list[_Mention]", sentence_before: "list[_Mention]") -> list[_Mention]:
        """Gives each cue to mentions; returns mentions made for cues that belong to earlier mentions or to the chest as a whole."""
        extra: list[_Mention] = []
        for position, cue in enumerate(self.cues):
            targets = self._before_finding(cue) or self._after_finding(cue)
            side = self._side_of_cue(cue, position)
            if not targets:
                extra += self._without_finding(cue, side, earlier, sentence_before)
                continue
            if self._is_negated(cue):
                continue
            for mention in targets:
                self._give(cue, mention, side)
        for mention in self.mentions:
            self._compare_levels(mention)
        self._drop_interpretations()
        return extra

    def _drop_interpretations(self) -> None:
        """ "increased opacity, which may represent developing pneumonia" is one finding with one change, not two."""
        for index, mention in enumerate(self.mentions[1:], start=1):
            if mention.has_cue and self._is_interpretation(mention):
                same = [m for m in self.mentions[:index] if m.finding == mention.finding]
                if any(m.has_cue for m in same):
                    mention.changes.clear()
                elif same and mention.sides == (None,):
                    same[-1].changes, same[-1].has_cue = mention.changes, True
                    mention.changes = {}

    def _between(self, start: int, end: int) -> str:
        return self.text[start:end]

    def _is_negated(self, cue: _Cue) -> bool:
        """ "no new ...", "without new ...": the finding is denied, nothing is said of its course."""
        return bool(
            re.search(r"\b(?:no|without|nor|no evidence of|not)(?: (?:\w+))?\s*$", self.text[: cue.start])
        ) and (cue.label in ("new", "up", "worse", "unchanged", "resolved"))

    def _before_finding(self, cue: _Cue) -> list[_Mention]:
        following = [m for m in self.mentions if m.start >= cue.end or (m.start == cue.start and m.text == cue.text)]
        if not following:
            return []
        first = following[0]
        between = lexicon.ADJECTIVES_TOGETHER.sub(" ", self._between(cue.end, first.start))
        if lexicon.REPORTS.search(between):
            return []
        if not self.text[: cue.start].strip() and re.match(r"^ (?:is|are) (?:the|a|an) [\w -]*$", between):
            return [first]  # "No longer seen is the chest tube"
        if lexicon.VERB.search(between) or re.search(
            r"[,;]|\bthan\b|\bwith\b|\b(?:position|size|appearance) and\b|\band\b", between
        ):
            return []
        if re.search(r"\b(?:compared|from|since|to the prior|by|following|after|despite)\b", between):
            return []
        head = self.text[: cue.start]
        previous = [m for m in self.mentions if m.end <= cue.start]
        if previous:
            gap = self._between(previous[-1].end, cue.start)
            said_of_previous = lexicon.VERB.search(gap) and not re.search(
                r"[,;]|\b(?:and|with|there|represent|reflect)\b", gap
            )
            if (
                said_of_previous
                and not re.search(r"\b(?:a|an|by)\s*$", head)
                and re.search(r"\b(?:in|at|on)\b", between)
            ):
                return []
        return [first, *self._coordinated_after(first, following[1:])]

    def _coordinated_after(self, first: _Mention, rest: Sequence[_Mention]) -> list[_Mention]:
        group, last = [], first
        for mention in rest:
            between = self._between(last.end, mention.start)
            match = lexicon.COORDINATION.match(between)
            if (
                match is None
                or lexicon.OTHERS.match(between)
                or any(p.search(between) for p in (lexicon.CUE, lexicon.VERB, _INTERPRETS))
            ):
                break
            group.append(mention)
            last = mention
        # "new effusion and atelectasis are unchanged": the second has a cue of its own.
        if group:
            tail = self._between(group[-1].end, len(self.text))
            own = lexicon.CUE.search(tail)
            if (
                own
                and not re.search(r"[,;]|\band\b|\bwith\b", tail[: own.start()])
                and lexicon.VERB.search(tail[: own.start()])
            ):
                return group[:-1]
        return group

    def _after_finding(self, cue: _Cue) -> list[_Mention]:
        previous = [m for m in self.mentions if m.end <= cue.start]
        if not previous:
            return []
        nearest = previous[-1]
        gap = self._between(nearest.end, cue.start)
        if (
            lexicon.IMPERSONAL.search(gap)
            or lexicon.PRONOUN.match(gap.split(",")[-1].strip())
            and "which" not in gap
            and "both" not in gap
        ):
            return []
        if re.search(
            r",?\s+(?:and|with)\s+(?:the )?(?:left|right)(?:-sided)?(?: base| lung| side)?\s+(?:\w+ ){0,2}$", gap
        ):
            return []  # "... and the right is smaller"
        if nearest.has_cue and re.search(r"\bno\b", gap):
            return []
        if lexicon.WHOLE_CHEST.fullmatch(cue.text) and re.search(r"\bradio(?:logical|graphic)\s*$", gap):
            return []  # "low volumes, with radiological progression"
        group = [nearest]
        for mention in reversed(previous[:-1]):
            between = self._between(mention.end, group[0].start)
            match = lexicon.COORDINATION.match(between)
            if (
                match is None
                or lexicon.OTHERS.match(between)
                or mention.has_cue
                or lexicon.CUE.search(between)
                or lexicon.VERB.search(between)
            ):
                break
            group.insert(0, mention)
        return group

    def _side_of_cue(self, cue: _Cue, position: int) -> str | None:
        stop = self.cues[position + 1].start if position + 1 < len(self.cues) else len(self.text)
        match = lexicon.AFTER_CUE_SIDE.match(self.text[cue.end : stop].lstrip())
        return match["side"] if match and match["side"] in lexicon.SIDES else None

    def _give(self, cue: _Cue, mention: _Mention, side: str | None) -> None:
        if lexicon.DEVICE_ONLY.search(cue.text) and mention.finding not in lexicon.DEVICES:
            return
        change = _meaning(cue.label, mention.finding)
        if (
            side is not None
            and mention.finding not in UNSIDED
            and (len(mention.sides) > 1 or mention.sides == (None,))
        ):
            mention.changes.setdefault(side, change)
        elif mention.changes.get(None) in (None, "unchanged"):
            # "persistent effusion, slightly larger": of two cues the one that tells a change counts.
            mention.changes[None] = change
        mention.has_cue = True

    def _without_finding(
        self, cue: _Cue, side: str | None, earlier: list[_Mention], sentence_before: list[_Mention]
    ) -> list[_Mention]:
        own_start = max([m.end for m in self.mentions if m.end <= cue.start], default=0)
        clause_sides = _sides(self.text[own_start : cue.start])
        refers = lexicon.PRONOUN.match(self.text.strip())
        if not earlier and (refers or _ELLIPSIS.match(self.text)):
            earlier = sentence_before  # "It has not increased.", "The right is smaller."
        if earlier and (refers or clause_sides or side):
            sides = (side,) if side else clause_sides
            made = []
            for mention in earlier:
                if _is_no_device(cue, mention):
                    continue
                kept = sides if sides and mention.finding not in UNSIDED else mention.sides
                copy = _Mention(
                    mention.finding, cue.start, cue.end, cue.text, kept, None, mention.status, has_cue=True
                )
                copy.changes[None] = _meaning(cue.label, mention.finding)
                made.append(copy)
            return made
        whole = (
            cue.label == "unchanged" or lexicon.IMPERSONAL.search(self.text) or lexicon.WHOLE_CHEST.fullmatch(cue.text)
        )
        if whole and not lexicon.DEVICE_ONLY.search(cue.text) and cue.label != "new" and not clause_sides:
            if any(m.finding == OVERALL for m in earlier):
                return []
            made = _Mention(OVERALL, cue.start, cue.end, cue.text, (None,), None, None, has_cue=True)
            made.changes[None] = _meaning(cue.label, OVERALL)
            return [made]
        return []

    def _compare_levels(self, mention: _Mention) -> None:
        """ "was small and is now moderate", "moderate, previously large", "is now large": a change told by two levels."""
        if mention.has_cue:
            return
        before, after = self._neighbours(mention)
        now = re.search(r"\bnow (?:a |an )?(?P<level>[\w-]+)", after)
        then = re.search(r"\b(?:previously|formerly|before|was|were) (?:a |an )?(?P<level>[\w-]+)", after)
        if now and lexicon.SEVERITY.fullmatch(now["level"]):
            new = _level(now["level"])
            old = _level(then["level"]) if then else _level(before)
        elif then and lexicon.SEVERITY.fullmatch(then["level"]):
            new, old = _level(before), _level(then["level"])
        else:
            return
        if new is None:
            return
        if old is None:
            order = {"severe": 1, "minimal": -1, "mild": -1}.get(new, 0)
        else:
            order = SEVERITIES.index(new) - SEVERITIES.index(old)
        mention.severity = new
        if order:
            mention.changes[None] = _meaning("up" if order > 0 else "down", mention.finding)
            mention.has_cue = True


def _is_no_device(cue: _Cue, mention: _Mention) -> bool:
    return bool(lexicon.DEVICE_ONLY.search(cue.text)) and mention.finding not in lexicon.DEVICES


def _meaning(label: str, finding: str) -> str:
    """The change that a cue tells: "up" is worse for findings and better for lung volumes."""
    if label in CHANGES:
        return label
    good = "up" if finding == "lung_volumes" else "down"
    return "improved" if label == good else "worse"


def _clauses(sentence: str) -> list[tuple[int, str]]:
    parts, start = [], 0
    for match in lexicon.STRONG_BOUNDARY.finditer(sentence):
        if match.group() in ("but", "yet", "though", "although") and lexicon.CUE.fullmatch(
            sentence[start : match.start()].strip()
        ):
            continue  # "stable but extensive opacities": two adjectives, one clause
        parts.append((start, sentence[start : match.start()]))
        start = match.end()
    parts.append((start, sentence[start:]))
    return [(start, text) for start, text in parts if text.strip()]


@functools.lru_cache(maxsize=20_000)
def read_report(text: str) -> tuple[Statement, ...]:
    """All statements of a report, in order; a bilateral mention gives one for each side. Same text, same answer.

    Args:
        text (`str`): findings in English, as written or prepared by `prepare_text`.
    """
    text = re.sub(r"(?<=\d) \.(?=\d)", ". ", text)  # prepared "4 .5" at unchanged length
    text = re.sub(r"(?<=\d)\. (?=\d)", ".0", text)
    statements: list[Statement] = []
    previous_sentence: list[_Mention] = []
    for start, raw in split_sentences(text):
        sentence = _rewrite(raw)
        earlier: list[_Mention] = []
        mentioned: list[_Mention] = []
        for offset, clause_text in _clauses(sentence):
            clause = _Clause(clause_text)
            extra = clause.attach(earlier, previous_sentence)
            found = clause.mentions + extra
            statements += _statements(found, start + offset)
            if clause.mentions:
                earlier = clause.mentions
            mentioned += found
        if mentioned:
            previous_sentence = [m for m in mentioned if m.finding != OVERALL] or mentioned
    return tuple(statements)


def _statements(mentions: Sequence[_Mention], offset: int) -> list[Statement]:
    statements = []
    for mention in mentions:
        named = tuple(side for side in mention.changes if side is not None)
        sides = mention.sides if mention.sides != (None,) or not named else named
        for side in sides:
            change = mention.changes.get(side, mention.changes.get(None))
            status = mention.status
            if change == "resolved":
                status = "absent"
            elif status == "absent" and not lexicon.NEUTRAL_MENTION.match(mention.text):
                change = None  # of what is denied no course is told
            severity = mention.severities.get(side, mention.severity)
            statements.append(
                Statement(
                    mention.finding, side, status, severity, change, offset + mention.start, offset + mention.end
                )
            )
    return statements


def has_comparison(text: str) -> bool:
    """Whether a report compares with an earlier study at all: by a change statement or by words such as "no new", "previously"."""
    if any(statement.change is not None for statement in read_report(text)):
        return True
    return any(lexicon.COMPARATIVE.search(_rewrite(sentence)) for _, sentence in split_sentences(text))


__all__ = ["Statement", "has_comparison", "read_report", "split_sentences"]
