"""Seconds per text metric on as many synthetic reports as the published test set has, bootstrap included.

    python benchmarks/text_metrics.py [--reports 3852] [--replicates 1000]

Reports are written by the phantom grammar, two visits in one, so that they are as long as real ones (about 52 words); the prediction of a
study is that of another one with some sentences exchanged for its own. Every line is measured in one run of one process; METEOR
uses two Java processes. `evaluate` is the whole card: both reference protocols, errors, subsets, intervals, plots and the page of the worst.
"""

import argparse
import os
import random
import resource
import tempfile
import time

from priorrg_hf.evaluation.card import evaluate_reports
from priorrg_hf.evaluation.report_file import ReportRow
from priorrg_hf.metrics import bootstrap_intervals, meteor_java, prepare_text, reading, temporal, text_metrics
from priorrg_hf.phantom import make_patient, write_texts


def write_reports(count: int) -> list[ReportRow]:
    draw = random.Random(0)
    texts, index = [], 0
    while len(texts) < count + 1:
        patient = make_patient(0, index)
        for visit in range(len(patient.visits)):
            other = make_patient(1, index)
            both = [write_texts(p, min(visit, len(p.visits) - 1))["findings"] for p in (patient, other)]
            texts.append((" ".join(both), f"p{index}", visit > 0))
        index += 1
    rows = []
    for place in range(count):
        (reference, patient_id, prior), (other, _, _) = texts[place], texts[place + 1]
        own = reference.split(". ")
        mixed = [draw.choice(own) if draw.random() < 0.4 else sentence for sentence in other.split(". ")]
        cut = " ".join(reference.split()[:75])
        rows.append(ReportRow(str(place), ". ".join(mixed), reference, str(place), patient_id, prior, True, "AP", cut))
    return rows


def processor_seconds() -> float:
    """Of this process and of the Java processes that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(entry.ru_utime + entry.ru_stime for entry in usage)


def timed(work):
    start, used = time.perf_counter(), processor_seconds()
    result = work()
    return (time.perf_counter() - start, processor_seconds() - used), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=3852)
    parser.add_argument("--replicates", type=int, default=1000)
    arguments = parser.parse_args()
    rows = write_reports(arguments.reports)
    predictions, references = [row.prediction for row in rows], [row.reference for row in rows]
    prepared = [prepare_text(text) for text in predictions], [prepare_text(text) for text in references]
    words = sum(len(text.split()) for text in references) / len(references)
    load = os.getloadavg()[0]
    print(f"{len(rows)} reports of {words:.0f} words, {os.cpu_count()} cores, load before the run {load:.1f}\n")

    lines = []
    for name, work in (
        ("BLEU-1..4", lambda: text_metrics.bleu_statistics(*prepared, prepare=False)),
        ("ROUGE-L", lambda: text_metrics.rouge_l_statistics(*prepared, prepare=False)),
        ("CIDEr-D", lambda: text_metrics.cider_statistics(*prepared, prepare=False)),
    ):
        lines.append((name, timed(work)[0]))
    reason = meteor_java.meteor_unavailable_reason()
    if reason is None:
        lines.append(("METEOR 1.5", timed(lambda: meteor_java.meteor_statistics(*prepared))[0]))
    else:
        print(reason)
    seconds, statistics = timed(lambda: text_metrics.text_overlap_statistics(predictions, references))
    lines.append(("all text metrics, at once", seconds))
    bootstrap, _ = timed(lambda: bootstrap_intervals(statistics, replicates=arguments.replicates))
    lines.append((f"{arguments.replicates} bootstrap replicates of all", bootstrap))
    lines.append(("all text metrics with intervals", tuple(map(sum, zip(seconds, bootstrap, strict=True)))))
    reading.clear_cache()
    lines.append(
        ("change, presence, attributes", timed(lambda: temporal.temporal_statistics(predictions, references))[0])
    )
    with tempfile.TemporaryDirectory() as folder:
        lines.append(
            (
                "evaluate: the whole card",
                timed(lambda: evaluate_reports(rows, folder, replicates=arguments.replicates))[0],
            )
        )
    whole = seconds[0] + bootstrap[0]
    print("| | seconds | processor seconds | share of all text metrics with intervals |\n|---|---|---|---|")
    for name, (value, used) in lines:
        print(f"| {name} | {value:.2f} | {used:.2f} | {100 * value / whole:.0f} % |")
    print("\nProcessor seconds are summed over cores; on a busy machine they tell more than seconds do.")


if __name__ == "__main__":
    main()
