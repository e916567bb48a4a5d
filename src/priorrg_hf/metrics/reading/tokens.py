"""Steps 1 and 2: tokens, sentences and headings, abbreviations, and the chunks that the tables know.

Positions are characters of the text as it was given. Everything here goes through the text once.
"""

import re
from dataclasses import dataclass, field

from . import tables


LONGEST_SENTENCE = (
    120  # tokens; a run-on text without full stops is cut there, so that reading stays linear in its length
)

_SHORT = r"b/l|w/o|w/|c/w|s/p|r/o|h/o|d/t|2/2"
_TOKEN = re.compile(
    rf"(?<![a-z0-9])(?:{_SHORT})(?![a-z0-9])|\d+(?:\s?\.\s?\d+)?(?=\s*(?:cm|mm|ml|cc)\b)|\d+\.\d+|\d{{1,2}}:\d\d|\d+"
    r"|[a-z]+?n't(?![a-z])|[a-z]+(?:'s(?=\W|$))?|\.\.+|[.,;:?!()/<>=&+#~→↑↓*]|--+|[–—-]|\n",
)
# A full stop after these ends no sentence.
_NO_STOP = frozenset(
    (
        "vs",
        "versus",
        "dr",
        "approx",
        "e.g",
        "i.e",
        "st",
        "prob",
        "poss",
        "fig",
        "viz",
        "mr",
        "mrs",
        "ca",
        "esp",
        "int",
        "dev",
    )
)
# Adjectives that are written short with a full stop: what they belong to follows.
_SHORTENED = frozenset(("moderate", "small", "minimal", "severe", "large", "possible", "probable", "trace", "slight"))  # fmt: skip
_HEADING_WORDS = 7
MONTHS = frozenset(("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"))  # fmt: skip


@dataclass(slots=True)
class Token:
    """A word, number or mark, in lower case, with its place in the text."""

    text: str
    start: int
    end: int
    glued: bool = False  # stands against the word before it


@dataclass(slots=True)
class Chunk:
    """The longest phrase of the tables at a place, or one unknown word (tag `W`)."""

    tag: str
    value: str
    flags: str
    text: str
    start: int
    end: int
    note: str = ""
    denied: bool = False


@dataclass(slots=True)
class Sentence:
    """The chunks of a sentence, with the heading that it stands under.

    `section` is `"body"`, `"skip"` or `"comparison"`; `heading` holds the chunks of a heading that is itself a subject ("Right lung:").
    """

    chunks: list[Chunk]
    section: str = "body"
    heading: list[Chunk] = field(default_factory=list)
    start: int = 0
    new_line: bool = False


# Marks that are spoken: "no effusion comma no pneumothorax period".
_DICTATED = {"comma": ",", "period": ".", "colon": ":", "semicolon": ";"}


_SPOKEN = re.compile(r"\b(?:comma|period|full stop)\b")


def tokenize(text: str) -> list[Token]:
    """Tokens of a text with abbreviations expanded; a full stop in prepared text ("4 .5", "clear .") is one as elsewhere."""
    known = tables.abbreviations()
    lowered = text.lower()
    if len(lowered) != len(text):  # some capitals of other alphabets grow
        lowered = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
    lowered = lowered.replace("\u2019", "'")
    tokens: list[Token] = []
    for match in _TOKEN.finditer(lowered):
        word, start, end = match.group(), match.start(), match.end()
        if word.endswith("'s"):
            word = word[:-2]
            if word in ("there", "it", "that"):
                word += "'s"
        glued = bool(tokens) and tokens[-1].end == start
        if word in _DICTATED and tokens:
            tokens.append(Token(_DICTATED[word], start, end, True))
            continue
        if word == "stop" and tokens and tokens[-1].text == "full":
            tokens[-1] = Token(".", tokens[-1].start, end, True)
            continue
        if (
            word in ("paragraph", "line")
            and tokens
            and tokens[-1].text in ("new", "next")
            and (word == "paragraph" or tokens[-1].text == "next" or _SPOKEN.search(lowered))
        ):
            tokens[-1] = Token(".", tokens[-1].start, end, True)
            continue
        if word == "ct" and (
            (tokens and tokens[-1].text in ("l", "r", "left", "right", "apical", "basal"))
            or re.match(
                r"\s+(?:out|removed|in situ|in place|remains|pulled|removal|placement|insertion)\b",
                lowered[end : end + 14],
            )
        ):
            tokens += [Token("chest", start, end, glued), Token("tube", start, end, glued)]
            continue
        if word == "cm" and not _number_near(lowered, start, start) and text[start:end] == "CM":
            word = "cardiomegaly"
        long = known.get(word)
        if long is not None and not (word in ("dec", "min") and _number_near(lowered, start, end)):
            tokens += [Token(part, start, end, glued) for part in long]
        else:
            tokens.append(Token(word, start, end, glued))
    return tokens


def _number_near(text: str, start: int, end: int) -> bool:
    return bool(re.match(r"[\s.]*\d", text[end : end + 4]) or re.search(r"\d\s?$", text[max(0, start - 4) : start]))


def split_sentences(text: str) -> list[tuple[int, str]]:
    """Sentences of a text with their start, without the closing mark."""
    pieces = []
    for tokens in _sentences(tokenize(text), text):
        start, end = tokens[0].start, tokens[-1].end
        if tokens[-1].text in (".", "!", "?", "\n") and len(tokens) > 1:
            end = tokens[-2].end if tokens[-1].text != "?" else end
        pieces.append((start, text[start:end]))
    return pieces


def _ends(tokens: list[Token], index: int, text: str) -> bool:
    """Whether the mark at `index` ends a sentence."""
    token = tokens[index]
    if token.text in ("!", "?"):
        follows = tokens[index + 1] if index + 1 < len(tokens) else None
        return token.text == "!" or (token.glued and (follows is None or text[follows.start].isupper()))
    if token.text == ".":
        before = tokens[index - 1].text if index else ""
        if before in _NO_STOP and index + 1 < len(tokens) and not text[tokens[index + 1].start].isupper():
            return False
        follows = tokens[index + 1] if index + 1 < len(tokens) else None
        if follows is not None and follows.glued and not (before.isalpha() and text[follows.start].isupper()):
            return False
        return not (len(before) == 1 and before in "eig" and follows is not None and follows.text in "ge")
    if token.text == "\n":
        return _line_ends(tokens, index, text)
    return False


def _shortens(tokens: list[Token], index: int, text: str) -> bool:
    """Whether the full stop belongs to a word written short, with what it describes to follow."""
    if index == 0 or index + 1 == len(tokens):
        return False
    before, following = tokens[index - 1], tokens[index + 1]
    if before.text not in _SHORTENED or before.end - before.start == len(before.text):
        return False
    word = text[following.start : following.end]
    return word.islower() or len(word) == 1 or (word.isupper() and word != "NO")


def _line_ends(tokens: list[Token], index: int, text: str) -> bool:
    """A line break ends a sentence unless the line was full and the next goes on in small letters: reports are often wrapped."""
    here = tokens[index].start
    line = here - (text.rfind("\n", 0, here) + 1)
    following = text[here + 1 : here + 80].lstrip(" \t")
    if not following or following[0] in "\n-*•·" or line < 40:
        return True
    return following[0].isupper() and (line < 55 or bool(re.match(r"[A-Za-z /]{2,40}:", following)))


def _sentences(tokens: list[Token], text: str) -> list[list[Token]]:
    sentences: list[list[Token]] = []
    current: list[Token] = []
    for index, token in enumerate(tokens):
        if token.text == "." and _shortens(tokens, index, text):
            continue  # "mod. L eff."
        ends = token.text in ".!?\n" and _ends(tokens, index, text)
        if token.text != "\n" or (ends and current):
            current.append(token)
        if (ends or len(current) >= LONGEST_SENTENCE) and current:
            sentences.append(current)
            current = []
    if current:
        sentences.append(current)
    return [s for s in sentences if any(t.text.isalnum() for t in s)]


def chunk(tokens: list[Token]) -> list[Chunk]:
    """The longest phrases of the tables, left to right. Hyphens between words are blanks; a phrase spans no other mark."""
    tree = tables.phrases()
    words = [t for t in tokens if not (t.text == "-" and t.glued) and t.text != "*"]
    chunks: list[Chunk] = []
    index = 0
    while index < len(words):
        branch, found, length, reach = tree, None, 0, index
        while reach < len(words) and words[reach].text in branch:
            branch = branch[words[reach].text]
            reach += 1
            if "" in branch:
                found, length = branch[""], reach - index
        if found is not None:
            first, last = words[index], words[index + length - 1]
            text = first.text if length == 1 else " ".join([w.text for w in words[index : index + length]])
            chunks.append(Chunk(found.tag, found.value, found.flags, text, first.start, last.end, found.note))
            index += length
            continue
        chunks.append(_mark_or_word(words, index))
        index += 1
    return chunks


_MARKS = {",": "COMMA", ";": "SEP", ".": "STOP", "!": "STOP", "(": "PAREN", ")": "PAREN", ":": "COLON", "/": "CONJ"}


def _mark_or_word(words: list[Token], index: int) -> Chunk:
    token = words[index]
    text = token.text
    if text in _MARKS:
        return Chunk(_MARKS[text], "or" if text == "/" else text, "", text, token.start, token.end)
    if text == "?":
        return Chunk("QUERY", "post" if token.glued else "pre", "", text, token.start, token.end)
    if text in ("--", "---", "–", "—", "-", "..", "...", "....", "→"):
        return Chunk("DASH", text, "", text, token.start, token.end)
    if text[0].isdigit():
        return Chunk("NUM", text, "", text, token.start, token.end)
    if text in ("l", "r"):
        side = {"l": "left", "r": "right"}[text]
        following = words[index + 1].text if index + 1 < len(words) else ""
        if not following[:1].isdigit():
            return Chunk("SIDE", side, "", text, token.start, token.end)
    return Chunk("W", text, "", text, token.start, token.end)


def sentences(text: str) -> list[Sentence]:
    """All sentences of a text, chunked, each under its section. History and the like are marked, not dropped: positions stay whole."""
    result: list[Sentence] = []
    section, heading, left = "body", [], None
    pieces = [piece for tokens in _sentences(tokenize(text), text) for piece in _at_headings(tokens, text)]
    later_body = [False] * (len(pieces) + 1)
    for index in range(len(pieces) - 1, -1, -1):
        later_body[index] = later_body[index + 1] or pieces[index][0] in ("body", "subject")
    for index, (kind, head, body) in enumerate(pieces):
        if kind is not None:
            section = "body" if kind == "subject" else kind
            heading = chunk(head) if kind == "subject" else []
            # Without a later heading, what is under "History:" is one sentence.
            left = 1 if section != "body" and not later_body[index + 1] else None
        if body:
            result.append(Sentence(chunk(body), section, heading, body[0].start))
        elif kind == "subject":
            result.append(Sentence([], section, heading, head[0].start))
        if left is not None and body:
            left -= 1
            if left == 0:
                section, heading, left = "body", [], None
    return result


def _at_headings(tokens: list[Token], text: str) -> list[tuple[str | None, list[Token], list[Token]]]:
    """A sentence cut before headings inside it ("Lungs: clear Heart: normal"): `(kind, heading, body)` each."""
    known = tables.headings()
    cuts: list[tuple[int, int, str]] = []  # start of the heading, its colon, kind
    for index, token in enumerate(tokens):
        if token.text not in (":", "–", "—", "--", "-") or (token.text == "-" and token.glued):
            continue
        if index == 0:
            continue
        start = _heading_start(tokens, index, text, cuts[-1][1] + 1 if cuts else 0, token.text == ":")
        if start is None:
            continue
        words = tuple(t.text for t in tokens[start:index] if t.text.isalnum())
        kind = known.get(words)
        if token.text != ":" and (kind is None or start != 0):
            continue
        cuts.append((start, index, kind or "subject"))
    if not cuts:
        return [(None, [], tokens)]
    result: list[tuple[str | None, list[Token], list[Token]]] = []
    if cuts[0][0] > 0:
        result.append((None, [], tokens[: cuts[0][0]]))
    for number, (start, colon, kind) in enumerate(cuts):
        end = cuts[number + 1][0] if number + 1 < len(cuts) else len(tokens)
        result.append((kind, tokens[start:colon], tokens[colon + 1 : end]))
    return result


def _heading_start(tokens: list[Token], colon: int, text: str, first: int, is_colon: bool) -> int | None:
    """Where the heading before a colon begins: at the start of the sentence, or at a capital after a mark; `None` if it is no heading."""
    start = colon
    while start > first and colon - start < _HEADING_WORDS:
        token = tokens[start - 1]
        if not (token.text.isalnum() or token.text in "/&,-()"):
            break
        start -= 1
        if start == first:
            break
    known = tables.headings()
    for begin in range(start, colon):  # a known heading inside the sentence: "... clear IMPRESSION: ..."
        words = tuple(t.text for t in tokens[begin:colon] if t.text.isalnum())
        capital = text[tokens[begin].start].isupper() and not text[tokens[begin - 1].start].isupper()
        if words in known and (begin == first or capital):
            return begin
    if not is_colon:
        return None
    if start == first and colon - start < _HEADING_WORDS:
        return start
    for begin in range(max(start, colon - 3), colon):
        if text[tokens[begin].start].isupper() and tokens[begin - 1].text in ",;.":
            return begin
    return None


__all__ = ["Chunk", "Sentence", "Token", "chunk", "sentences", "split_sentences", "tokenize"]
