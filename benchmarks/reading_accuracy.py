"""How well the report reader reads labelled texts: counts by label, and the share of inverted meanings.

    python benchmarks/reading_accuracy.py modeling_tests/fixtures/reading_sentences.jsonl --part held_apart
    python benchmarks/reading_accuracy.py FILE.jsonl --name "..." --json > counts.json
    python benchmarks/reading_accuracy.py --join a.json b.json > src/priorrg_hf/metrics/reading/tables/measured.json

A line of a file is `{"id", "text", "facts": [{"finding", "side", "presence", "severity", "change"}], "comparison"}`. A fact is found again
by (finding, side); a label is right where its value is right too.
"""

import argparse
import json
from pathlib import Path


LABELS = {
    **{value: ("presence", value) for value in ("present", "absent", "uncertain")},
    "change": ("change", None),
    **{value: ("change", value) for value in ("new", "increased", "decreased", "unchanged", "resolved")},
    "severity": ("severity", None),
    "side": ("side", None),
}
DIRECTION = {"new": 1, "increased": 1, "decreased": -1, "resolved": -1}


def keys(facts, field, value):
    """Facts with a value in `field`, or with that value, as a set."""
    chosen = [f for f in facts if (f[field] == value if value else f[field] is not None)]
    return {(f["finding"], f["side"], f[field]) for f in chosen}


def inverted(true, read):
    """Facts whose meaning is turned round: present for absent, larger for smaller, resolved for present."""
    by_key = {(f["finding"], f["side"]): f for f in true}
    wrong = 0
    for fact in read:
        other = by_key.get((fact["finding"], fact["side"]))
        if other is None:
            continue
        presences = {fact["presence"], other["presence"]}
        turned = DIRECTION.get(fact["change"], 0) * DIRECTION.get(other["change"], 0) < 0
        wrong += presences == {"present", "absent"} or turned
    return wrong


def count(items, read_facts):
    """The counts that `priorrg_hf.metrics.reader_error.measured` describes."""
    counts = {label: [0, 0, 0] for label in (*LABELS, "comparison")}
    comparison, direction = [[0, 0], [0, 0]], [0, 0, 0]
    facts = wrong = exact = 0
    for item in items:
        answer = read_facts(item["text"])
        true, read = item["facts"], answer["facts"]
        facts += len(true)
        wrong += inverted(true, read)
        same = {tuple(f.values()) for f in true} == {tuple(f.values()) for f in read}
        exact += same and answer["comparison"] == item["comparison"]
        for label, (field, value) in LABELS.items():
            one, two = keys(true, field, value), keys(read, field, value)
            for place, number in enumerate((len(one), len(two), len(one & two))):
                counts[label][place] += number
        comparison[0 if item["comparison"] else 1][
            (0 if answer["comparison"] else 1) if item["comparison"] else (0 if answer["comparison"] else 1)
        ] += 1
        by_key = {(f["finding"], f["side"]): f for f in true}
        for fact in read:
            said = DIRECTION.get(fact["change"], 0)
            if said:
                other = DIRECTION.get(by_key.get((fact["finding"], fact["side"]), {}).get("change"), 0)
                direction[0 if said == other else 1 if other else 2] += 1
    (both, _), (alarm, _) = comparison
    counts["comparison"] = [sum(comparison[0]), both + alarm, both]
    return {"counts": counts, "comparison": comparison, "direction": direction, "facts": facts, "items": len(items), "exact": exact, "inverted": wrong}  # fmt: skip


def join(parts):
    """Several counts as one, with the sets that they come from."""
    total = {"sets": [entry for part in parts for entry in part["sets"]]}
    total["counts"] = {
        label: [sum(part["counts"][label][i] for part in parts) for i in range(3)] for label in parts[0]["counts"]
    }
    total["comparison"] = [[sum(part["comparison"][i][j] for part in parts) for j in range(2)] for i in range(2)]
    total["direction"] = [sum(part["direction"][i] for part in parts) for i in range(3)]
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--part", help="only items with this `part`")
    parser.add_argument("--name", help="of the set, for the stored counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--join", action="store_true", help="the files are counts: add them up")
    options = parser.parse_args()
    if options.join:
        total = join([json.loads(path.read_text(encoding="utf-8")) for path in options.files])
        print(json.dumps(total, indent=1))
        return
    from priorrg_hf.metrics.reading import read_facts

    items = [json.loads(line) for path in options.files for line in path.read_text(encoding="utf-8").splitlines()]
    items = [item for item in items if options.part is None or item.get("part") == options.part]
    result = count(items, read_facts)
    if options.json:
        told = {key: result.pop(key) for key in ("items", "facts", "exact", "inverted")}
        print(json.dumps({"sets": [{"name": options.name, **told}], **result}, indent=1))
        return
    print(f"{'':12} {'precision':>9} {'recall':>9} {'F1':>9} {'n':>6}")
    for label, (true, read, right) in result["counts"].items():
        scores = (right / max(read, 1), right / max(true, 1), 2 * right / max(true + read, 1))
        print(f"{label:12} {scores[0]:9.3f} {scores[1]:9.3f} {scores[2]:9.3f} {true:6}")
    for what, whole in (("exact", "items"), ("inverted", "facts")):
        print(f"{what}: {result[what]} of {result[whole]} {whole} ({100 * result[what] / result[whole]:.1f}%)")


if __name__ == "__main__":
    main()
