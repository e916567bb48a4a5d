"""METEOR 1.5 (Denkowski & Lavie, 2014) through its Java program, as shipped with pycocoevalcap.

pycocoevalcap's own wrapper talks to the program line by line and blocks for ever when a report holds a line break or when the
program dies. Here the pairs go in as one stream to processes with a time limit, the texts are made safe for the line protocol,
and what comes back are the *match statistics* of each pair. METEOR of a corpus is computed from summed statistics, not from averaged
scores, with the program's English parameters; equality with the program's own `EVAL` answer is tested.

Reading its table of five million paraphrases costs the program more than a thousand alignments. It is given only the entries whose words all occur
in the texts at hand, read once for all processes; no other entry can match, so no value changes (tested against the whole table).

Java missing is an error of its own (`MeteorUnavailableError`), never a silent change to another flavour: NLTK's METEOR tokenises,
matches and weighs differently, and is offered under its own name, `meteor_nltk`.
"""

import functools
import gzip
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .statistics import ReportStatistics, check_pairs, mean_statistics, safe_ratio


METEOR_VERSION = "1.5"
JAR_NAME = "meteor-1.5.jar"
PARAPHRASES = "data/paraphrase-en.gz"
# English defaults of METEOR 1.5 ("rank" task, -l en), in the order exact, stem, synonym, paraphrase.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])

_LENGTHS = ("test_length", "reference_length", "test_function_words", "reference_function_words")
_STAGES = ("exact", "stem", "synonym", "paraphrase")
_SIDES = ("test_content", "reference_content", "test_function", "reference_function")
COLUMNS = (
    *_LENGTHS,
    *(f"{stage}_{side}" for stage in _STAGES for side in _SIDES),
    "chunks",
    "test_matches",
    "reference_matches",
)

# A pair takes milliseconds; starting the program takes a second, on a busy machine many. Generous, but finite.
STARTUP_SECONDS = 120.0
SECONDS_PER_PAIR = 0.5
SECONDS_PER_WORD = 0.01
SMALLEST_SHARE = 200
# What the program can align within its 2 GiB; beyond, it runs for minutes and dies. Both were tried up to here. A report of 300 words has
# some thousand equal words with another one.
MOST_WORDS = 10_000
MOST_EQUAL_WORDS = 50_000


class MeteorUnavailableError(RuntimeError):
    """METEOR cannot be computed: no Java, no jar, or a pair too long for the program. The message says which, and what to do."""


def find_jar() -> Path | None:
    """The METEOR jar inside the installed pycocoevalcap, or `None`."""
    spec = importlib.util.find_spec("pycocoevalcap")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        jar = Path(folder) / "meteor" / JAR_NAME
        if jar.is_file():
            return jar
    return None


def meteor_unavailable_reason() -> str | None:
    """Why METEOR cannot run on this machine, or `None` when it can."""
    if find_jar() is None:
        return "METEOR needs pycocoevalcap, which carries its Java program: pip install 'priorrg-hf[metrics]'"
    if shutil.which("java") is None:
        return "METEOR needs Java (8 or newer) on the PATH, e.g. apt-get install default-jre-headless"
    return None


@functools.lru_cache(maxsize=1)
def java_version() -> str | None:
    """First line of `java -version`, or `None` without Java."""
    if shutil.which("java") is None:
        return None
    try:
        answer = subprocess.run(
            ["java", "-version"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (answer.stderr or answer.stdout).decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if "version" in line), None)


def _one_line(text: str) -> str:
    # "|||" separates fields of the protocol; as pycocoevalcap does with predictions it is taken out, and the double space it leaves is
    # folded. In a reference, too: there pycocoevalcap lets it through, and the program reads two references.
    text = text.replace("|||", "").replace("  ", " ")
    return re.sub(r"[\r\n\0]+", " ", text)


_FRAGMENT = re.compile(rb"[a-z0-9]+")
_READ_BYTES = 1 << 21


def _paraphrases_of(table: Path, lines: Sequence[str]) -> bytes:
    """The entries (three lines each: probability, phrase, paraphrase) whose words all occur in `lines`.

    Words are compared by their runs of ASCII letters and digits, because the program cuts and lower-cases texts before it looks
    them up; what differs only in punctuation or other letters is kept, so that never too little is.
    """
    known = frozenset(_FRAGMENT.findall("\n".join(lines).lower().encode("utf-8", errors="replace"))).issuperset
    kept: list[bytes] = []
    unpacker, rest, phrase, occurs = zlib.decompressobj(zlib.MAX_WBITS | 16), b"", None, False
    with open(table, "rb") as file:
        while packed := file.read(_READ_BYTES):
            rows = (rest + unpacker.decompress(packed)).split(b"\n")
            whole = (len(rows) - 1) // 3 * 3
            rest = b"\n".join(rows[whole:])
            for place in range(1, whole, 3):
                if rows[place] != phrase:  # entries of a phrase stand together
                    phrase = rows[place]
                    occurs = known(_FRAGMENT.findall(phrase))
                if occurs and known(_FRAGMENT.findall(rows[place + 1])):
                    kept += rows[place - 1 : place + 2]
    return b"".join(row + b"\n" for row in kept)


def _check_lengths(predictions: Sequence[str], references: Sequence[str]) -> None:
    for index, texts in enumerate(zip(predictions, references, strict=True)):
        counts = [Counter(text.lower().split()) for text in texts]
        longest = max(counts[0].total(), counts[1].total())
        equal = (
            sum(times * counts[1][word] for word, times in counts[0].items()) if longest > MOST_EQUAL_WORDS**0.5 else 0
        )
        if longest > MOST_WORDS or equal > MOST_EQUAL_WORDS:
            raise MeteorUnavailableError(
                f"METEOR's program cannot align report {index}: {counts[0].total()} words against {counts[1].total()} of the reference, "
                f"{equal} pairs of equal words; it manages {MOST_WORDS} words and {MOST_EQUAL_WORDS} such pairs. Remove or repair that report."
            )


def _run(jar: Path, lines: list[str], timeout: float, paraphrases: Path) -> list[str]:
    # One collector thread: the processes themselves share the cores.
    options = ["-Dfile.encoding=UTF-8", "-XX:+UseSerialGC", "-Xmx2G"]
    command = ["java", *options, "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm", "-a", str(paraphrases)]
    payload = ("\n".join(lines) + "\n").encode("utf-8", errors="replace")
    try:
        answer = subprocess.run(
            command, cwd=jar.parent, input=payload, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"METEOR did not answer within {timeout:.0f} s for {len(lines)} pairs; it was stopped"
        ) from error
    except OSError as error:
        raise MeteorUnavailableError(f"Java could not be started: {error}") from error
    rows = answer.stdout.decode("utf-8", errors="replace").split("\n")[: len(lines)]
    if answer.returncode != 0 or len(rows) < len(lines) or not rows[-1].strip():
        tail = answer.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(f"the METEOR program failed (exit code {answer.returncode}): {' / '.join(tail)}")
    return rows


def meteor_match_statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    processes: int | None = None,
    timeout: float | None = None,
) -> np.ndarray:
    """Match statistics of each pair, float64 of shape `(pairs, 23)`; columns as in `COLUMNS`.

    Args:
        predictions, references (`list[str]`): prepared texts, see [`prepare_text`].
        processes (`int`, *optional*): Java processes at once, each up to 2 GiB. By default two, where there are two cores.
        timeout (`float`, *optional*): seconds after which the program is stopped. By default growing with the text, at least 120.

    Raises:
        `MeteorUnavailableError`: no Java or no jar, or a pair beyond `MOST_WORDS` or `MOST_EQUAL_WORDS`, named by its position.
        `RuntimeError`: the program failed or ran into the time limit.
    """
    reason = meteor_unavailable_reason()
    if reason is not None:
        raise MeteorUnavailableError(reason)
    _check_lengths(predictions, references)
    lines = [
        f"SCORE ||| {_one_line(reference)} ||| {_one_line(prediction)}"
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    if timeout is None:
        words = sum(line.count(" ") for line in lines)
        timeout = STARTUP_SECONDS + SECONDS_PER_PAIR * len(lines) + SECONDS_PER_WORD * words
    if processes is None:
        processes = min(2, os.cpu_count() or 1)
    jar = find_jar()
    if jar is None:
        raise MeteorUnavailableError("there is no METEOR program")
    # A pair is aligned once: reports collapse to a few texts, and both reference protocols share most pairs.
    distinct = list(dict.fromkeys(lines))
    shares = max(1, min(processes, len(distinct) // SMALLEST_SHARE))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(shares) as pool:
        paraphrases = Path(folder) / "paraphrases.gz"
        paraphrases.write_bytes(gzip.compress(_paraphrases_of(jar.parent / PARAPHRASES, distinct), compresslevel=1))
        parts = list(
            pool.map(
                lambda share: _run(jar, share, timeout, paraphrases), [distinct[i::shares] for i in range(shares)]
            )
        )
    statistics = np.empty((len(distinct), len(COLUMNS)), dtype=np.float64)
    for index, rows in enumerate(parts):
        statistics[index::shares] = [[float(value) for value in row.split()] for row in rows]
    # A pair that matches whole, in one piece, is not fragmented: the program leaves its one chunk out of sums.
    stages = statistics[:, 4:20].reshape(-1, 4, 4).sum(axis=1)
    whole = (stages[:, 0] + stages[:, 2] == statistics[:, 0]) & (stages[:, 1] + stages[:, 3] == statistics[:, 1])
    statistics[whole & (statistics[:, 20] == 1), 20] = 0.0
    place = {line: index for index, line in enumerate(distinct)}
    return statistics[[place[line] for line in lines]]


def meteor_from_statistics(sums: np.ndarray) -> np.ndarray:
    """METEOR of summed match statistics of shape `(..., 23)`: the program's score of a corpus, or of one report."""
    sums = np.asarray(sums, dtype=np.float64)
    lengths, stages = sums[..., :4], sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, test_matches, reference_matches = sums[..., 20], sums[..., 21], sums[..., 22]
    weighted = (stages * MODULE_WEIGHTS[:, None]).sum(axis=-2)  # (..., 4): content/function of test/reference
    test_content, reference_content = lengths[..., 0] - lengths[..., 2], lengths[..., 1] - lengths[..., 3]

    precision = np.nan_to_num(
        safe_ratio(
            DELTA * weighted[..., 0] + (1 - DELTA) * weighted[..., 2],
            DELTA * test_content + (1 - DELTA) * lengths[..., 2],
        )
    )
    recall = np.nan_to_num(
        safe_ratio(
            DELTA * weighted[..., 1] + (1 - DELTA) * weighted[..., 3],
            DELTA * reference_content + (1 - DELTA) * lengths[..., 3],
        )
    )
    f_mean = np.nan_to_num(safe_ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall))
    fragmentation = np.nan_to_num(safe_ratio(chunks, (test_matches + reference_matches) / 2))
    return f_mean * (1 - GAMMA * fragmentation**BETA)


def meteor_statistics(predictions: Sequence[str], references: Sequence[str], **options) -> ReportStatistics:
    """Summable METEOR statistics of prepared texts; see [`meteor_match_statistics`] for options and errors."""
    values = meteor_match_statistics(predictions, references, **options)
    return ReportStatistics(
        values,
        lambda sums: {"meteor": meteor_from_statistics(sums)},
        {"meteor": meteor_from_statistics(values)},
        COLUMNS,
    )


def meteor_nltk(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """NLTK's METEOR (its own defaults, mean over reports): **not comparable** with METEOR 1.5, hence its own name.

    Returns:
        `{"meteor_nltk": float}`.

    Raises:
        `ImportError`: NLTK is not installed, or its WordNet corpus (`nltk.download("wordnet")`) is not there.
    """
    return meteor_nltk_statistics(predictions, references).corpus()


def meteor_nltk_statistics(predictions: Sequence[str], references: Sequence[str]) -> ReportStatistics:
    """As [`meteor_nltk`], summable."""
    predictions, references = check_pairs(predictions, references)
    try:
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError as error:
        raise ImportError(
            "meteor_nltk needs NLTK: pip install nltk, then python -c \"import nltk; nltk.download('wordnet')\""
        ) from error
    try:
        scores = [
            single_meteor_score(reference.split(), prediction.split())
            for prediction, reference in zip(predictions, references, strict=True)
        ]
    except LookupError as error:
        raise ImportError(
            "meteor_nltk needs NLTK's WordNet: python -c \"import nltk; nltk.download('wordnet')\""
        ) from error
    return mean_statistics({"meteor_nltk": np.array(scores)})


__all__ = [
    "METEOR_VERSION",
    "MeteorUnavailableError",
    "java_version",
    "meteor_from_statistics",
    "meteor_nltk",
    "meteor_statistics",
    "meteor_unavailable_reason",
]
