"""Memory and speed of reading studies: does it stay flat up to the size of MIMIC-CXR?

Generates study tables (CSV, priors to be linked by time) of growing size, and for each size runs, in processes of their own, reading
with prior linking, flattening to examples with one pass over all rows, conversion to Parquet, and the check. Prints the peak resident
memory of each process, and the part of it that isn't a file mapped into memory (`private`), which is what the machine must really
hold. The paths in the tables name no files: that reading opens no image is part of what is shown.

    python benchmarks/stream_studies.py --sizes 1000 30000 90000 270000
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path


STEPS = ("import", "read", "examples", "convert", "check")


def write_table(path: Path, studies: int) -> None:
    """About four studies a patient and 900 characters of text a study, in a random order of patients' visits."""
    rng = random.Random(0)
    sentence = "the heart is normal lungs are clear without effusion or pneumothorax no focal consolidation seen today"
    words = sentence.split(" ")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "patient_id", "image", "view", "acquired", "indication", "history", "findings"])
        for number in range(studies):
            patient = rng.randrange(max(1, studies // 4))
            moment = datetime(2100, 1, 1) + timedelta(minutes=rng.randrange(5_000_000))
            texts = [" ".join(rng.choices(words, k=count)) for count in (12, 20, 120)]
            view = rng.choice(("AP", "PA", "LATERAL"))
            writer.writerow([f"s{number}", f"p{patient}", f"images/{number}.jpg", view, moment.isoformat(), *texts])


def run_step(step: str, folder: Path) -> dict:
    """One step in this process; its time and its memory."""
    peak_private = [0]
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            peak_private[0] = max(peak_private[0], _status("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    table, cache = folder / "studies.csv", folder / "cache"
    os.environ["HF_DATASETS_CACHE"] = str(cache / "datasets")
    from priorrg_hf.data.check import check_studies
    from priorrg_hf.data.convert import convert_studies
    from priorrg_hf.data.loading import load_studies
    from priorrg_hf.data.schema import as_examples, study_features

    study_features()  # imports datasets and pyarrow, whose memory doesn't depend on the size
    import pyarrow.parquet  # noqa: F401

    watcher.start()
    begin, rows = time.perf_counter(), 0
    if step == "read":
        rows = sum(len(part) for part in load_studies(table, cache_dir=cache).values())
    elif step == "examples":
        for part in as_examples(load_studies(table, cache_dir=cache)).values():
            for batch in part.iter(500):
                rows += len(batch["example_id"])
    elif step == "convert":
        rows = sum(convert_studies(table, folder / "out", cache_dir=cache).studies.values())
    elif step == "check":
        rows = check_studies(table, images="skip", cache_dir=cache).counts["studies"]
    seconds = time.perf_counter() - begin
    peak_private[0] = max(peak_private[0], _status("RssAnon"))
    stop.set()
    return {"rows": rows, "seconds": seconds, "peak": _status("VmHWM"), "private": peak_private[0]}


def _status(name: str) -> int:
    """A field of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 30_000, 90_000, 270_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(run_step(arguments.step, arguments.folder)))
        return
    print(
        f"{'studies':>9} {'table MB':>9} {'step':<10} {'seconds':>8} {'studies/s':>10} {'peak MB':>8} {'private MB':>11}"
    )
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="priorrg-stream-") as folder:
            table = Path(folder) / "studies.csv"
            write_table(table, size)
            for step in STEPS:
                command = [sys.executable, __file__, "--step", step, "--folder", folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                result = json.loads(done.stdout.splitlines()[-1])
                rate = f"{result['rows'] / result['seconds']:,.0f}" if result["rows"] else "-"
                print(
                    f"{size:>9,} {table.stat().st_size / 2**20:>9.1f} {step:<10} {result['seconds']:>8.1f} {rate:>10} "
                    f"{result['peak'] / 1024:>8.0f} {result['private'] / 1024:>11.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
