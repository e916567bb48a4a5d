"""Step 5b: organs that reports name whether or not anything is wrong with them: abnormal, normal, or neither."""

from .clauses import Clause, Event, Mention
from .tokens import Chunk


def judge_organs(clause: Clause) -> None:
    """An organ that is named is abnormal, normal, or neither: "the heart is enlarged", "heart size is normal", "heart size stable"."""
    for number, mention in enumerate(clause.mentions):
        if mention.kind != "organ":
            continue
        before = clause.chunks[mention.first : mention.index]
        if (
            mention.first > 1
            and clause.chunks[mention.first - 1].tag == "PREP"
            and clause.chunks[mention.first - 2].tag in ("NORMAL", "ABN")
        ):
            before = clause.chunks[mention.first - 2 : mention.index]  # "a normal size of the heart"
        limit = clause.mentions[number + 1].first if number + 1 < len(clause.mentions) else len(clause.chunks)
        shared = (
            number + 1 < len(clause.mentions)
            and clause.mentions[number + 1].kind in ("organ", "other")
            and clause.mentions[number + 1].relation == "list"
        )
        if shared:
            limit = clause.mentions[number + 2].first if number + 2 < len(clause.mentions) else len(clause.chunks)
        after = clause.chunks[mention.last : limit]
        while after and after[-1].tag in ("NEG", "COMMA", "CONJ", "ADV", "ART", "HEDGE"):
            after = after[:-1]  # of the next finding
        words = [*before, *after]
        _judge_organ(clause, mention, words)


def _judge_organ(clause: Clause, mention: Mention, words: list[Chunk]) -> None:
    negated = mention.presence == "absent" or any(
        c.tag in ("NOT", "NEG")
        and not (i + 1 < len(words) and words[i + 1].tag == "CHG" and words[i + 1].note != "size")
        for i, c in enumerate(words)
    )
    normal = next((c for c in words if c.tag == "NORMAL"), None)
    if mention.severity is not None and mention.severity.value in ("large", "small"):
        mention.severity = None
    big = next(
        (
            c
            for c in words
            if c.tag == "ABN"
            or (c.tag == "CHG" and (c.note == "size" or c.value in ("increased", "decreased")))
            or (c.tag == "SEV" and c.value in ("large",))
        ),
        None,
    )
    hedge = next((c for c in words if c.tag in ("HEDGE", "HEDGEPOST", "HEDGEPOST2")), None)
    if big is not None and big.tag == "CHG" and (big.note == "size" or "enlarge" in big.text):
        if big.value == "resolved":
            return
        led = words.index(big) and words[words.index(big) - 1].tag == "CMPW"
        if led and normal is not None and not negated:  # "previously enlarged, now normal"
            mention.presence, mention.presence_chunk, big.value = "absent", normal, "size"
            mention.events.append(Event("resolved", False, normal))
            return
        if big.denied or negated:
            mention.presence, mention.presence_chunk, big.value = "absent", big, "size"
            return
        mention.presence, mention.presence_chunk = "uncertain" if hedge else "present", big
        if not _became(clause, big):
            big.value = "size"
    elif big is not None and big.text in ("increased", "increased in size") and not _became(clause, big) and not negated and not any(c.tag in ("CMP", "CMPW", "NOW") for c in clause.chunks):  # fmt: skip
        mention.presence, mention.presence_chunk, big.value = "uncertain" if hedge else "present", big, "size"
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
    return any(
        c.text in ("has", "have", "had", "become", "became", "becomes", "more", "increasingly", "newly", "getting")
        for c in before
    ) or chunk.text in ("enlarging",)


__all__ = ["judge_organs"]
