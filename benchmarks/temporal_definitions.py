"""Three definitions of a temporal score on the same labelled texts: where they differ, and on how many each is right.

    python benchmarks/temporal_definitions.py FILE.jsonl

The published definition is keyword temporal F1, as in Libra (Zhang et al., arXiv 2411.19378) and, adopted from it, in RadEval
(2025): the set of words of a fixed list (that of BioViL-T, Bannur et al., arXiv 2301.04558) that a report uses, and the F1 of the two sets,
averaged over reports; 1 where both are empty. Libra's and RadEval's programs also ask a neural tagger for observations, but keep of its
answers only words of the list, which whole-word matching has found already; so the list alone gives the same sets. RadEval's differs in that
a report may have several references, whose sets are joined.
"""

import argparse
import json
import re
from pathlib import Path

from priorrg_hf.metrics import temporal_scores
from priorrg_hf.metrics.reading import read_facts


# The list as published, by meaning rather than in its order.
KEYWORDS = frozenset(
    [
        "change",
        "constant",
        "persistence",
        "persistent",
        "persisting",
        "stability",
        "stable",
        "stably",
        "unaltered",
        "unchanged",
        "new",
        "bigger",
        "elevated",
        "elevation",
        "enlarged",
        "enlargement",
        "enlarging",
        "expanded",
        "greater",
        "growing",
        "increase",
        "increased",
        "increasing",
        "larger",
        "progression",
        "progressive",
        "worse",
        "worsen",
        "worsened",
        "worsening",
        "unfolded",
        "cleared",
        "decrease",
        "decreased",
        "decreasing",
        "improved",
        "improvement",
        "improving",
        "reduced",
        "removal",
        "resolution",
        "resolved",
        "resolving",
        "smaller",
    ]
)
# (prediction, reference): what a reader of reports would say of them, and the two scores.
PAIRS = (
    ("Left effusion is larger.", "Left effusion is larger.", "the same"),
    ("Left effusion is larger.", "Left effusion has increased.", "the same in other words"),
    ("Left effusion is not larger.", "Left effusion is larger.", "the opposite of the claim"),
    ("The right effusion is larger.", "The left effusion is larger.", "the other side"),
    ("The pneumothorax is larger.", "The effusion is larger.", "another finding"),
    ("No new effusion. Stable opacity.", "New effusion. Stable opacity.", "denied against asserted"),
    ("Effusion is smaller, edema is worse.", "Effusion is worse, edema is smaller.", "both turned round"),
    ("Increased interstitial markings.", "Clear lungs.", "a description that sounds like a change"),
    ("Follow-up to confirm resolution.", "Small effusion.", "advice"),
)


def keywords(text):
    """Words of the list in a report."""
    return set(re.findall(r"\w+", text.lower().replace("_", " "))) & KEYWORDS


def keyword_f1(prediction, reference):
    """F1 of the two sets for one pair of reports, 1 where both are empty."""
    said, true = keywords(prediction), keywords(reference)
    return 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0


def changes(facts):
    return {(f["finding"], f["side"], f["change"]) for f in facts if f["change"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="labelled texts, one JSON object a line")
    items = [json.loads(line) for line in parser.parse_args().file.read_text(encoding="utf-8").splitlines()]
    seen = {"keywords": 0, "reader": 0}
    exact = heard = told = 0
    for item in items:
        true, read = changes(item["facts"]), changes(read_facts(item["text"])["facts"])
        words = keywords(item["text"])
        seen["keywords"] += bool(words) == bool(true)
        seen["reader"] += bool(read) == bool(true)
        exact += read == true
        told += not true and bool(words)
        heard += bool(true) and not words
    print(f"{len(items)} texts, {sum(bool(changes(i['facts'])) for i in items)} with a change")
    print(
        f"whether there is a change: keywords right on {seen['keywords']} ({told} false alarms, {heard} missed), reader on {seen['reader']}"
    )
    print(f"which change of which finding on which side: reader right on {exact}; keywords do not say")
    print(f"\n{'prediction':38} {'reference':38} {'keyword F1':>10} {'change F1':>10}")
    for prediction, reference, what in PAIRS:
        ours = temporal_scores([prediction], [reference])["change_f1"]
        print(f"{prediction:38} {reference:38} {keyword_f1(prediction, reference):10.2f} {ours:10.2f}  {what}")


if __name__ == "__main__":
    main()
