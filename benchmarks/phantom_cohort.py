"""How fast phantom studies are drawn, and that memory stays flat: one table from one run.

python benchmarks/phantom_cohort.py --studies 500 5000
"""

import argparse
import resource
import sys
import tempfile
import time

from priorrg_hf.phantom import make_patient, make_phantom_cohort, parse_report, render_visit, write_texts


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def per_item(work, items) -> float:
    """CPU milliseconds an item, so that other programs on the machine do not count."""
    started = time.process_time()
    for item in items:
        work(*item)
    return 1000 * (time.process_time() - started) / len(items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100, help="films drawn for each size")
    parser.add_argument("--studies", type=int, nargs="+", default=[200, 1000], help="cohort sizes")
    parser.add_argument("--image-size", type=int, default=112)
    args = parser.parse_args()

    visits = [
        (patient, n) for patient in (make_patient(0, i) for i in range(args.films)) for n in range(len(patient.visits))
    ]
    visits = visits[: args.films]
    print("| work | CPU ms |\n|---|---|")
    for size in (112, 224, 518):
        print(
            f"| film of {size} x {size} | {per_item(lambda p, n, s=size: render_visit(p, n, image_size=s), visits):.1f} |"
        )
    print(f"| texts of a study | {per_item(write_texts, visits):.2f} |")
    reports = [(write_texts(*visit)["findings"],) for visit in visits]
    print(f"| facts of a report | {per_item(parse_report, reports):.2f} |")
    print("\n| studies | CPU s | studies/s | peak memory so far, MiB |\n|---|---|---|---|")
    for studies in sorted(args.studies):
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            make_phantom_cohort(studies, 0, args.image_size, cache_dir=folder)
            seconds = time.process_time() - started
        print(f"| {studies} | {seconds:.1f} | {studies / seconds:.0f} | {peak_mib():.0f} |")


if __name__ == "__main__":
    main()
