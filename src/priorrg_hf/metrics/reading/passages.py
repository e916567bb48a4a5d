"""Step 7a: passages that say nothing of their own (history, advice, missing studies), and clauses that leave out what the one before said."""

from .tokens import Chunk


def without_scopes(chunks: list[Chunk]) -> list[Chunk]:
    """The sentence without history, questions and advice, and without what says that there is nothing to compare with."""
    if not any(c.tag in ("HISTORY", "ADVICE", "FOLLOW", "NOCMP") for c in chunks):
        return chunks
    chunks = _without_missing_studies(chunks)
    result: list[Chunk] = []
    skipping: str | None = None
    named = ended = False  # a finding of the scope has been named; its phrase has ended
    advice = any(c.tag == "ADVICE" for c in chunks)
    for index, chunk in enumerate(chunks):
        following = chunks[index + 1] if index + 1 < len(chunks) else None
        if chunk.tag in ("HISTORY", "ADVICE") or (chunk.tag == "FOLLOW" and advice):
            if chunk.tag != "HISTORY" and not any(c.tag in ("FIND", "LUNG") for c in result[-12:]):
                result = [c for c in result if c.tag != "CHG"]
            kind = "advice" if chunk.tag != "HISTORY" else chunk.value
            skipping = kind if skipping is None or kind == "forward" else skipping
            named = ended = False
            continue
        if skipping is not None and _scope_ends(chunk, following):
            skipping = None
        if skipping == "forward":
            # In run-on dictation the history ends where the next finding begins without a joint.
            ended = ended or (named and chunk.tag not in ("CONJ", "COMMA", "FIND"))
            if (chunk.tag == "FIND" and chunk.flags == "organ") or (ended and chunk.tag in ("FIND", "NEG")):
                skipping = None
                result += _start_of_phrase(chunks, index)
            named = (named or chunk.tag == "FIND") and chunk.tag not in ("CONJ", "COMMA")
            ended = ended and named
        elif skipping == "procedure":
            if named and chunk.tag in ("SIDE", "SEV", "ART", "NEG", "FIND", "COMMA", "WITH", "NOW"):
                skipping = None
            named = named or chunk.tag in ("W", "FIND", "DEVSTATE")
        if skipping is None or (skipping == "advice" and _still_there(chunks, index)):
            result.append(chunk)
    return result


def _without_missing_studies(chunks: list[Chunk]) -> list[Chunk]:
    """ "No prior for comparison" as a mark, so that it denies nothing else."""
    result: list[Chunk] = []
    for index, chunk in enumerate(chunks):
        if chunk.tag == "NOCMP":
            result.append(Chunk("COMMA", ",", "", ",", chunk.start, chunk.end))
        elif not (chunk.tag == "CMP" and any(c.tag == "NOCMP" for c in chunks[max(0, index - 3) : index])):
            result.append(chunk)
    return result


def _start_of_phrase(chunks: list[Chunk], index: int) -> list[Chunk]:
    """The modifiers right before a finding at which a scope ends."""
    start = index
    while start > 0 and chunks[start - 1].tag in ("SIDE", "SEV", "ART", "CHG"):
        start -= 1
    return chunks[start:index]


def _scope_ends(chunk: Chunk, following: Chunk | None) -> bool:
    if chunk.tag == "SEP":
        return True
    return (
        chunk.tag == "COMMA"
        and following is not None
        and (following.tag in ("NOW", "V", "NEG") or following.text in ("the", "there"))
    )


def _still_there(chunks: list[Chunk], index: int) -> bool:
    """What advice names as known is there: "to check that the consolidation has gone", "to ensure resolution of the effusion"."""
    if chunks[index].tag in ("CHG", "NEGPOST", "NEG", "CMP", "CMPW", "NOW", "DEVSTATE", "MOVE", "NOT", "HEDGE"):
        return False
    for chunk in chunks[index::-1]:
        if chunk.text in ("the", "this", "these", "of the", "in the") or chunk.tag == "CHG":
            break
        if chunk.tag in ("ADVICE", "HISTORY", "FOLLOW"):
            return False
    return True


def verb_first(chunks: list[Chunk]) -> bool:
    """ "... but has returned since the drain was clamped": the subject is left out, and a finding is named only in what follows."""
    if chunks[0].text not in ("has", "have", "is", "are", "was", "were", "has been", "have been"):
        return False
    find = next((i for i, c in enumerate(chunks) if c.tag == "FIND"), None)
    change = next((i for i, c in enumerate(chunks) if c.tag == "CHG"), None)
    if find is None or change is None or change > find:
        return False
    return any(c.tag == "AFTER" or c.text in ("since", "when", "as", "because") for c in chunks[change + 1 : find])


def with_verb(chunks: list[Chunk], before: list[Chunk]) -> list[Chunk]:
    """ "The right effusion has cleared, the left one has not [cleared].": the verb of the clause before is taken up."""
    end = len(chunks)
    while end and chunks[end - 1].tag in ("STOP", "COMMA"):
        end -= 1
    denies = end > 1 and chunks[end - 1].tag == "NOT" and (chunks[end - 1].text != "not" or chunks[end - 2].tag == "V")
    if not denies or any(c.tag == "CHG" for c in chunks[:end]):
        return chunks
    told = next((c for c in before if c.tag == "CHG" and set(c.flags) & set("vp") and not c.denied), None)
    if told is None:
        return chunks
    place = chunks[end - 1]
    again = Chunk("CHG", told.value, told.flags, told.text, place.start, place.end, told.note)
    return [*chunks[:end], again, *chunks[end:]]


__all__ = ["verb_first", "with_verb", "without_scopes"]
