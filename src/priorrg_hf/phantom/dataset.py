"""Phantom cohorts as `datasets`: studies in the package's schema, with the truth in one more column, `facts`."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.file_writing import (
    OutputError,
    explain_full_disk,
    json_file_with,
    read_json_object,
    replace_file,
    temporary_beside,
    write_text_whole,
)
from ..data.locking import claimed
from ..data.schema import PriorStudy, Study, StudyImage, study_features
from ..data.worker_processes import forks_end_with_us
from .cohort import Patient, make_patient
from .facts import Facts, split_site
from .grammar import write_texts
from .rendering import MAX_IMAGE_SIZE, MIN_IMAGE_SIZE, render_visit


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features


# Raised whenever the same seed gives other studies than before, so that caches are not mistaken for each other.
GENERATOR_VERSION = 2
COHORT_NAME = "_cohort.json"

MIN_STUDIES, MAX_STUDIES = 16, 100_000
SPLIT_FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
DEFAULT_IMAGE_SIZE = 112

# The names that CheXpert gives these findings.
LABEL_NAMES = {
    "cardiomegaly": "Cardiomegaly",
    "effusion": "Pleural Effusion",
    "consolidation": "Consolidation",
    "atelectasis": "Atelectasis",
    "edema": "Edema",
    "pneumothorax": "Pneumothorax",
}
RETRIEVAL_CLASSES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


def phantom_features() -> "Features":
    """The schema's features and `facts`, the truth as JSON (`Facts.from_json`)."""
    from datasets import Features, Value

    return Features({**study_features(), "facts": Value("string")})


def facts_of(row: Mapping[str, Any]) -> Facts:
    """The truth of a phantom study row."""
    return Facts.from_json(row["facts"])


def facts_by_study(dataset: "Dataset | Iterable[Mapping[str, Any]]") -> dict[str, Facts]:
    """Study id -> truth, without touching the images. Example rows and generated reports carry the study id to look it up by."""
    if hasattr(dataset, "select_columns"):
        dataset = dataset.select_columns(["study_id", "facts"])
    return {row["study_id"]: facts_of(row) for row in dataset}


def png_bytes(pixels) -> bytes:
    """A grayscale PNG. The pixels are the same everywhere; the compressed bytes depend on the zlib that Pillow was built with."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels, mode="L").save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def study_rows(
    patient: Patient,
    *,
    image_size: int = DEFAULT_IMAGE_SIZE,
    laterals: bool = True,
    split: str | None = None,
    first: int = 0,
) -> Iterator[dict[str, Any]]:
    """The study rows of a patient's visits, in order of time; each image is rendered once.

    Args:
        patient (`Patient`): from `make_patient`.
        image_size (`int`, defaults to 112): height and width of the images in pixels.
        laterals (`bool`, defaults to `True`): whether visits that have a lateral image show it.
        split (`str`, *optional*): written into the rows.
        first (`int`, defaults to 0): visits before this one appear as prior only.
    """
    prior: dict[str, Any] | None = None
    for number, visit in enumerate(patient.visits):
        study_id = patient.study_id(number)
        needed = number >= first - 1
        image: dict[str, Any] | None = None
        if needed:
            pixels = render_visit(patient, number, image_size=image_size).pixels
            image = {"bytes": png_bytes(pixels), "path": f"{study_id}_frontal.png"}
        if image is not None and number >= first:
            images = [StudyImage(image, visit.view, image_id="frontal")]
            if laterals and visit.has_lateral:
                pixels = render_visit(patient, number, view="LATERAL", image_size=image_size).pixels
                lateral = {"bytes": png_bytes(pixels), "path": f"{study_id}_lateral.png"}
                images.append(StudyImage(lateral, "LATERAL", image_id="lateral"))
            facts, texts = patient.facts(number), write_texts(patient, number)
            row = Study(
                study_id=study_id,
                patient_id=patient.patient_id,
                images=images,
                acquired=visit.acquired,
                prior=PriorStudy(**prior, days_before=_days_between(prior["acquired"], visit.acquired))
                if prior
                else None,
                labels=chexpert_labels(facts),
                split=split,
                indication=texts["indication"],
                history=texts["history"],
                findings=texts["findings"],
            ).to_row()
            yield {**row, "facts": facts.to_json()}
        prior = {"study_id": study_id, "image": image, "view": visit.view, "acquired": visit.acquired}


def _days_between(earlier: str, later: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() / 86400


def chexpert_labels(facts: Facts) -> dict[str, float]:
    """1 for present and 0 for absent, by CheXpert name, with `"Support Devices"` and `"No Finding"`."""
    present = {split_site(site)[0] for site in facts.present_sites()}
    labels = {name: float(finding in present) for finding, name in LABEL_NAMES.items()}
    return {**labels, "Support Devices": float(bool(facts.devices)), "No Finding": float(not present)}


def _plan(num_studies: int, seed: int, fractions: Mapping[str, float]) -> dict[str, list[int]]:
    """Split -> patients as `8 * index + visits to keep`. The last patient of a split loses visits to give the exact number of studies."""
    sizes = {name: max(1, round(num_studies * share)) for name, share in list(fractions.items())[1:] if share > 0}
    sizes = {next(iter(fractions)): num_studies - sum(sizes.values()), **sizes}
    plan: dict[str, list[int]] = {}
    index = 0
    for name, size in sizes.items():
        plan[name] = []
        while size > 0:
            visits = min(len(make_patient(seed, index).visits), size)
            plan[name].append(8 * index + visits)
            size -= visits
            index += 1
    return plan


def _generate(patients: list[int], seed: int, image_size: int, laterals: bool, split: str) -> Iterator[dict[str, Any]]:
    for code in patients:
        patient = make_patient(seed, code // 8, max_visits=code % 8)
        yield from study_rows(patient, image_size=image_size, laterals=laterals, split=split)


def make_phantom_cohort(
    num_studies: int,
    seed: int = 0,
    image_size: int = DEFAULT_IMAGE_SIZE,
    *,
    fractions: Mapping[str, float] | None = None,
    laterals: bool = True,
    num_proc: int | None = None,
    cache_dir: str | None = None,
) -> "DatasetDict":
    """A synthetic longitudinal cohort with known truth.

    Args:
        num_studies (`int`): studies in all splits together, 16 to 100,000.
        seed (`int`, defaults to 0): another seed gives other patients. The same seed gives the same studies and pixels anywhere.
        image_size (`int`, defaults to 112): height and width of the images in pixels, 32 to 2048.
        fractions (mapping, *optional*): share of the studies in each split, by default train 0.8, validation 0.1, test 0.1. No
            two splits share a patient.
        laterals (`bool`, defaults to `True`): draw the lateral images that about a third of the studies have.
        num_proc (`int`, *optional*): processes that draw at the same time.
        cache_dir (`str`, *optional*): where the Arrow files go; by default the cache of `datasets`. A second call with the same
            arguments reads them from there.

    Returns:
        `DatasetDict`: studies in the package's schema with images as undecoded PNG, and the column `facts`. Written in pieces, so that
        memory stays flat at every size.
    """
    from datasets import Dataset, DatasetDict

    _check_request(num_studies, seed, image_size)
    fractions = dict(fractions or SPLIT_FRACTIONS)
    if abs(sum(fractions.values()) - 1.0) > 1e-6 or min(fractions.values()) < 0:
        raise ValueError(f"the split fractions must be non-negative and sum to 1, got {fractions}")
    parts = {}
    for split, patients in _plan(num_studies, seed, fractions).items():
        # Workers, and the manager that `datasets` starts for them, must not outlive us.
        key = f"{GENERATOR_VERSION}:{seed}:{image_size}:{laterals}:{split}:{patients}"
        with forks_end_with_us():
            parts[split] = Dataset.from_generator(
                _generate,
                features=phantom_features(),
                gen_kwargs={
                    "patients": patients,
                    "seed": seed,
                    "image_size": image_size,
                    "laterals": laterals,
                    "split": split,
                },
                num_proc=min(num_proc, len(patients)) if num_proc else None,
                cache_dir=cache_dir,
                split=split,
                fingerprint=hashlib.sha256(key.encode()).hexdigest()[:24],
                writer_batch_size=200,
            )
    return DatasetDict(parts)


def write_phantom_cohort(
    folder: str | os.PathLike,
    num_studies: int,
    seed: int = 0,
    image_size: int = 224,
    *,
    overwrite: bool = False,
    **options,
) -> None:
    """Writes a cohort to `{split}-00000-of-00001.parquet` files with embedded images, which `load_studies` reads.

    Args:
        folder (`str`): made if need be. A cohort that it holds is written anew if it is the same one.
        overwrite (`bool`, defaults to `False`): replace another cohort, or files of others.
        num_studies, seed, image_size, options: as for `make_phantom_cohort`.

    Raises:
        OutputError: the folder holds another cohort, or Parquet files of others.
    """
    folder = Path(folder)
    request = {"num_studies": num_studies, "seed": seed, "image_size": image_size, "version": GENERATOR_VERSION}
    request.update({name: value for name, value in options.items() if name in ("fractions", "laterals")})
    _check_request(num_studies, seed, image_size)
    recognised = json_file_with("num_studies", "seed", "version")(folder / COHORT_NAME)
    files = ("*.parquet", COHORT_NAME)
    with claimed(
        folder, "phantom cohort", files, "priorrg phantom", overwrite=overwrite, recognised=recognised, mark=False
    ):
        if not overwrite and recognised and read_json_object(folder / COHORT_NAME) != request:
            raise OutputError(
                f"{folder} holds another phantom cohort ({COHORT_NAME}). Choose another folder, or overwrite it (overwrite=True, "
                "--overwrite)."
            )
        cohort = make_phantom_cohort(num_studies, seed, image_size, **options)
        write_text_whole(folder / COHORT_NAME, json.dumps(request) + "\n")
        for split, studies in cohort.items():
            path = folder / f"{split}-00000-of-00001.parquet"
            temporary = temporary_beside(path)
            with explain_full_disk(path, "The splits written before it are complete."):
                try:
                    studies.to_parquet(str(temporary), batch_size=200)
                    replace_file(temporary, path)
                finally:
                    temporary.unlink(missing_ok=True)


def _check_request(num_studies: int, seed: int, image_size: int) -> None:
    if not MIN_STUDIES <= num_studies <= MAX_STUDIES:
        raise ValueError(f"num_studies must be {MIN_STUDIES} to {MAX_STUDIES}, got {num_studies}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size must be {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}, got {image_size}")


def _only_class(facts: Facts) -> str | None:
    """The retrieval class of a study that has this finding and no other."""
    present = {split_site(site)[0] for site in facts.present_sites()}
    name = LABEL_NAMES[next(iter(present))] if len(present) == 1 else None
    return name if name in RETRIEVAL_CLASSES else None


def _generate_retrieval(visits: list[tuple[int, int]], seed: int, image_size: int) -> Iterator[dict[str, Any]]:
    for index, number in visits:
        patient = make_patient(seed, index, group=1, max_visits=number + 1)
        for row in study_rows(patient, image_size=image_size, laterals=False, split="test", first=number):
            yield {**row, "retrieval_class": _only_class(facts_of(row))}


def make_retrieval_split(
    seed: int = 0, image_size: int = DEFAULT_IMAGE_SIZE, *, per_class: int = 200, cache_dir: str | None = None
) -> "Dataset":
    """The 5x200 retrieval split: studies that show one of five finding classes and no other, as many of each.

    Args:
        seed (`int`, defaults to 0): the patients are others than those of any cohort, also of the same seed.
        image_size (`int`, defaults to 112): pixels.
        per_class (`int`, defaults to 200): studies of each class; at most one per patient.
        cache_dir (`str`, *optional*): as in `make_phantom_cohort`.

    Returns:
        `Dataset`: study rows with `facts` and `retrieval_class`, one of `RETRIEVAL_CLASSES`.
    """
    from datasets import Dataset, Features, Value

    _check_request(MIN_STUDIES, seed, image_size)
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    chosen: dict[str, list[tuple[int, int]]] = {name: [] for name in RETRIEVAL_CLASSES}
    index = 0
    while any(len(visits) < per_class for visits in chosen.values()):
        patient = make_patient(seed, index, group=1)
        for number in range(len(patient.visits)):
            name = _only_class(patient.facts(number))
            if name is not None and len(chosen[name]) < per_class:
                chosen[name].append((index, number))
                break
        index += 1
    visits = sorted(place for places in chosen.values() for place in places)
    key = f"retrieval:{GENERATOR_VERSION}:{seed}:{image_size}:{visits}"
    return Dataset.from_generator(
        _generate_retrieval,
        features=Features({**phantom_features(), "retrieval_class": Value("string")}),
        gen_kwargs={"visits": visits, "seed": seed, "image_size": image_size},
        cache_dir=cache_dir,
        split="test",
        fingerprint=hashlib.sha256(key.encode()).hexdigest()[:24],
        writer_batch_size=200,
    )


__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "RETRIEVAL_CLASSES",
    "chexpert_labels",
    "facts_by_study",
    "facts_of",
    "make_phantom_cohort",
    "make_retrieval_split",
    "phantom_features",
    "study_rows",
    "write_phantom_cohort",
]
