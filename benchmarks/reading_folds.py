"""Five folds of a labelled set of report texts, by a seeded hash of the item's id alone.

    python benchmarks/reading_folds.py FILE.jsonl FOLD [--rest] > part.jsonl

FOLD is 0 to 4. Rules are mended on the other four folds (`--rest`) and scored on the fifth before it is looked at. The
fold of an item depends on its id and the seed only, so that nobody needs to read a text in order to split.
"""

import argparse
import hashlib
import json
from pathlib import Path


SEED = "priorrg-reading-1"
FOLDS = 5


def fold_of(identifier):
    """Fold (0 to 4) of one item id."""
    digest = hashlib.sha256(f"{SEED}:{identifier}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % FOLDS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("fold", type=int, choices=range(FOLDS))
    parser.add_argument("--rest", action="store_true", help="the other four folds")
    options = parser.parse_args()
    for line in options.file.read_text(encoding="utf-8").splitlines():
        if line.strip() and (fold_of(json.loads(line)["id"]) == options.fold) != options.rest:
            print(line)


if __name__ == "__main__":
    main()
