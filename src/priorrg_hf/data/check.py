"""Checks a source of studies in one pass: counts, and every fault with its place. Behind `priorrg data check`."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .linking import PriorIndex
from .loading import REPEATED_IMAGE, REPEATED_STUDY, cache_folder, read_rows
from .progress import progress_bar
from .readers import ReaderOptions, open_reader
from .readers.report_sections import reads_like_report
from .schema import StudyError, example_ids
from .values import is_placeholder


IMAGE_CHECKS = ("open", "exists", "skip")
_CHUNK = 256


@dataclass(frozen=True)
class Issue:
    """One fault: where it stands, what it concerns, what is wrong and what to do."""

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class CheckReport:
    """Result of `check_studies`. `ok` is false when there is any error; warnings don't count."""

    format: str
    detected: str
    counts: dict[str, int] = field(default_factory=dict)
    views: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors

    def as_text(self, show: int | None = 50) -> str:
        """The report in lines, as `priorrg data check` and `print` show it; of the errors the first `show`, all with `None`."""
        lines = [f"read as {self.format} ({self.detected})"]
        counted = dict(self.counts)
        for title, counts in (("split", self.splits), ("view", self.views)):
            counted.update({f"{title} {name}": value for name, value in counts.items()})
        lines += [f"  {name:<24} {value:>10,}" for name, value in counted.items()]
        lines += [f"warning: {issue.message}" for issue in self.warnings]
        named = self.errors[:show]
        lines += [f"error: [{issue.kind}] {issue}" for issue in named]
        if len(named) < len(self.errors):
            lines.append(f"... and {len(self.errors) - len(named)} more")
        lines.append(f"{len(self.errors)} error(s)" if self.errors else "no errors")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.as_text()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "format": self.format,
            "detected": self.detected,
            "ok": self.ok,
            "counts": self.counts,
            "views": self.views,
            "splits": self.splits,
            "errors": [vars(issue) for issue in self.errors],
            "warnings": [vars(issue) for issue in self.warnings],
        }


def check_studies(
    source: str | os.PathLike,
    *,
    format: str | None = None,
    images: str = "open",
    same_view: str = "prefer",
    max_days: float | None = None,
    workers: int = 2,
    progress: bool = False,
    cache_dir: str | os.PathLike | None = None,
    **options: Any,
) -> CheckReport:
    """Reads a source from end to end and reports what is in it and what is wrong with it.

    Errors are: studies that can't be read, missing files, unreadable images, duplicates, patients in two splits, priors that aren't
    earlier than their study or belong to another patient ("impossible priors"). Warnings are: studies without findings, findings that are
    none (`___`, `N/A`), a context that repeats sentences of the findings or reads like a report, images without view, patient ids that
    differ in leading zeros only, and whatever the reader brought into another form (views, ids, paths).

    Args:
        source, format: as in `load_studies`.
        images (`str`, defaults to `"open"`): `"open"` decodes every image once, `"exists"` only looks for the files, `"skip"` does
            neither.
        same_view, max_days: how priors are linked for the counts where the source gives none, see `link_priors`.
        workers (`int`, defaults to 2): threads that open images.
        progress (`bool`, defaults to `False`): show a bar.
        options: further fields of `ReaderOptions`.

    Returns:
        `CheckReport`.
    """
    if images not in IMAGE_CHECKS:
        raise ValueError(f"images is one of {', '.join(IMAGE_CHECKS)}, got {images!r}")
    for name in ("image_root", "reports"):
        if options.get(name) is not None:
            options[name] = os.path.abspath(options[name])
    settings = ReaderOptions(cache_dir=str(cache_folder(cache_dir)), progress=progress, **options)
    reader, reason = open_reader(source, format, settings)
    checker = _Checker(CheckReport(reader.name, reason), images, workers)
    with progress_bar(read_rows(reader), total=reader.count(), description="checking", shown=progress) as rows:
        checker.read(rows)
    checker.report.warnings.extend(Issue("source", "all", note) for note in reader.notes)
    checker.finish(same_view, max_days)
    return checker.report


class _Checker:
    """Keeps per study only what later rows are compared with."""

    def __init__(self, report: CheckReport, images: str, workers: int):
        self.report, self.images, self.workers = report, images, workers
        self.count: Counter[str] = Counter()
        self.views: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.home: dict[str, str] = {}
        self.crossing: set[str] = set()
        self.study_patient: dict[str, str] = {}
        self.records: set[int] = set()
        self.example_ids: set[int] = set()
        self.seen_images: set[int] = set()
        self.index = PriorIndex()
        self.given_priors: list[tuple[str, int, str]] = []
        self.doubts: dict[str, list[str]] = {}

    def error(self, kind: str, where: str, message: str) -> None:
        self.report.errors.append(Issue(kind, where, message))

    def read(self, rows) -> None:
        with ThreadPoolExecutor(self.workers) as pool:
            batch: list[tuple[str, str, Any]] = []
            for where, row in rows:
                if isinstance(row, StudyError):
                    kind = "impossible priors" if row.field.startswith("prior.") else "rejected"
                    self.count[kind] += 1
                    self.error("prior" if kind != "rejected" else kind, where, str(row))
                    continue
                self._study(where, row)
                batch.extend(self._new_images(where, row))
                if len(batch) >= _CHUNK:
                    self._images(pool, batch)
                    batch = []
            self._images(pool, batch)

    def _study(self, where: str, row: dict[str, Any]) -> None:
        study, patient, place = row["study_id"], row["patient_id"], f"{where} (study {row['study_id']})"
        self.count["studies"] += 1
        self.count["images"] += len(row["images"])
        self.count["with findings"] += not is_placeholder(row["findings"])
        for kind in doubts_of(row):
            self.doubts.setdefault(kind, []).append(place)
        self.count["with context"] += row["indication"] is not None or row["history"] is not None
        self.count["with time"] += row["acquired"] is not None or row["day"] is not None
        for entry in row["images"]:
            self.views[entry["view"] or "unknown"] += 1
        if row["split"] is not None:
            self.splits[row["split"]] += 1
            if self.home.setdefault(patient, row["split"]) != row["split"]:
                self.count["studies of patients in two splits"] += 1
                self.crossing.add(patient)
                self.error(
                    "split",
                    place,
                    f"patient {patient!r} is in {row['split']!r} here and in {self.home[patient]!r} before",
                )
        else:
            self.home.setdefault(patient, "")
        if self.study_patient.setdefault(study, patient) != patient:
            self.count["duplicates"] += 1
            self.error("duplicate", place, f"the study id belongs to patient {self.study_patient[study]!r} as well")
        own: set[int] = set()
        for name, entry in zip(example_ids(row), row["images"], strict=True):
            key = hash((patient, study, entry["image_id"], entry["image"]["path"], entry["image"]["bytes"]))
            if key in self.records:
                self.count["duplicates"] += 1
                self.error("duplicate", place, f"the study has the image {_name(entry['image'])} twice")
            elif hash(name) in self.example_ids or hash(name) in own:
                self.count["duplicates"] += 1
                self.error("duplicate", place, ". ".join(REPEATED_IMAGE if hash(name) in own else REPEATED_STUDY))
            self.records.add(key)
            own.add(hash(name))
        self.example_ids |= own
        self._prior(place, row)

    def _prior(self, place: str, row: dict[str, Any]) -> None:
        prior = row["prior"]
        complete = prior is not None and _is_given(prior["image"])
        views = [entry["view"] for entry in row["images"]]
        named = prior["study_id"] if prior is not None and not complete else None
        self.index.add(row["patient_id"], row["study_id"], row["acquired"], row["day"], views, named)
        self.count["with prior"] += complete
        if complete and prior["study_id"] is not None:
            self.given_priors.append((place, len(self.index) - 1, prior["study_id"]))

    def _new_images(self, where: str, row: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
        images = [entry["image"] for entry in row["images"]]
        if row["prior"] is not None and _is_given(row["prior"]["image"]):
            images.append(row["prior"]["image"])
        for image in images:
            key = hash((image["path"], image["bytes"]))
            if self.images != "skip" and key not in self.seen_images:
                self.seen_images.add(key)
                yield where, row["study_id"], image

    def _images(self, pool: ThreadPoolExecutor, batch: list[tuple[str, str, Any]]) -> None:
        tests = pool.map(lambda entry: _image_problem(entry[2], self.images == "open"), batch)
        for (where, study, image), problem in zip(batch, tests, strict=True):
            if problem is not None:
                kind, message = problem
                self.count[f"{kind}s"] += 1
                self.error(kind, f"{where} (study {study})", f"{_name(image)}: {message}")

    def finish(self, same_view: str, max_days: float | None) -> None:
        given = self.count["with prior"]
        links = self.index.link(same_view, max_days, declared_only=bool(given) or self.index.has_named_priors)
        for error in links.problems:
            self.count["impossible priors"] += 1
            self.error("prior", f"study {error.study}", str(error))
        self.count["with prior"] += int((links.rows >= 0).sum())
        for place, row, prior in self.given_priors:
            problem = self.index.prior_problem(row, prior) if prior in self.study_patient else None
            if problem is not None:
                self.count["impossible priors"] += 1
                self.error("prior", place, f"its prior can't be: {problem}")
        count, report = self.count, self.report
        for kind, places in self.doubts.items():
            shown = ", ".join(places[:_SHOWN]) + (
                f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
            )
            report.warnings.append(Issue(kind, places[0], f"{_DOUBTS[kind]}: {len(places):,} studies, {shown}"))
        self._similar_ids()
        without = count["studies"] - count["with findings"]
        if without:
            report.warnings.append(
                Issue("findings", "all", f"{without} studies have no findings: no use for training")
            )
        if self.views["unknown"]:
            report.warnings.append(
                Issue(
                    "view",
                    "all",
                    f'{self.views["unknown"]} images have no view: include_views="frontal" leaves them out',
                )
            )
        if count["studies"] == 0:
            self.error("empty", "all", "the source holds no usable study")
        report.counts = {
            "patients": len(self.home),
            **{name: count[name] for name in _COUNTS},
            "patients in two splits": len(self.crossing),
        }
        report.views, report.splits = dict(self.views.most_common()), dict(self.splits)

    def _similar_ids(self) -> None:
        """Patients whose ids differ in leading zeros only may be one."""
        plain: dict[str, str] = {}
        for patient in self.home:
            other = plain.setdefault(patient.lstrip("0") if patient.isdigit() else patient, patient)
            if other != patient:
                message = f"the patients {other!r} and {patient!r} differ in leading zeros only; if they are one, write the id one way"
                self.report.warnings.append(Issue("patient", "all", message))
                return


_SHOWN = 5
_DOUBTS = {
    "context repeats findings": "the indication or history holds sentences of the findings, so that the model is shown the answer",
    "context reads like a report": "the indication or history reads like a report, so that the model may be shown the answer",
    "placeholder": "the findings are no report (no letter, ___, XXXX, N/A and the like) and are not used",
}


def doubts_of(row: dict[str, Any]) -> list[str]:
    """What makes the texts of a study suspicious: keys of the warnings of `data check`."""
    findings = row["findings"]
    if findings is not None and is_placeholder(findings):
        return ["placeholder"]
    context = " ".join(row[name] for name in ("indication", "history") if row[name])
    if not context:
        return []
    plain = _plain_words(context)
    if findings is not None and any(
        len(words.split()) >= 4 and f" {words} " in f" {plain} "
        for words in map(_plain_words, _SENTENCE.split(findings))
    ):
        return ["context repeats findings"]
    return ["context reads like a report"] if reads_like_report(context) else []


_SENTENCE = re.compile(r"(?<=[.?!])\s+|\n+")


def _plain_words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


_COUNTS = (
    "studies",
    "images",
    "with prior",
    "with context",
    "with findings",
    "with time",
    "rejected",
    "missing files",
    "unreadable images",
    "duplicates",
    "impossible priors",
)


def _is_given(image: dict[str, Any] | None) -> bool:
    return image is not None and (image["path"] is not None or image["bytes"] is not None)


def _name(image: dict[str, Any]) -> str:
    return image["path"] or "the embedded image"


def _image_problem(image: dict[str, Any], opened: bool) -> tuple[str, str] | None:
    path = image["path"]
    if image["bytes"] is None:
        if "://" in path:
            return None  # checking must not fetch; what may be opened was said where the row was read
        if not os.path.isfile(path):
            return "missing file", "there is no such file"
    if not opened:
        return None
    from ..model.image_loading_priorrg import load_image

    try:
        load_image(image)
    except (ValueError, OSError, ImportError) as error:
        return "unreadable image", str(error)
    return None
