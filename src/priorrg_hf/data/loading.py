"""`load_studies`: any source to a `DatasetDict` of studies, streamed through Arrow files so that memory stays flat.

The rows of a reader are validated one by one and written to memory-mapped Arrow files in the cache, one a split; then priors are
linked. A second call with the same source and options finds the files and reads nothing.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .file_writing import explain_full_disk
from .linking import link_priors
from .progress import progress_bar
from .readers import Reader, ReaderOptions, open_reader
from .readers.base import Row
from .readers.hub import normalized, usable_studies
from .schema import (
    DEFAULT_FRACTIONS,
    SCHEMA_VERSION,
    StudyError,
    assign_split,
    check_patient_disjoint,
    example_ids,
    normalize_split,
    study_features,
    validate_row,
)


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


logger = logging.getLogger(__name__)

_BATCH = 500
_BATCH_BYTES = 64 * 2**20
_LOGGED = 10
_ABANDONED_SECONDS = 86400
# problem and remedy
REPEATED_STUDY = (
    "the study stands in an earlier row already; rows of a study are joined where they follow each other",
    "Sort the table by study_id, or give every image its image_id",
)
REPEATED_IMAGE = ("several of its images have one image_id; only the first of them is taken", "Remove the copies")


def load_studies(
    source: str | os.PathLike,
    *,
    format: str | None = None,
    image_root: str | os.PathLike | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    link: bool | None = None,
    same_view: str = "prefer",
    max_days: float | None = None,
    reports: str | os.PathLike | None = None,
    require_factual_serialization: bool = True,
    revision: str | None = None,
    date_order: str | None = None,
    allow_outside_image_root: bool = False,
    allow_urls: bool = False,
    strict: bool = False,
    problems: list[tuple[str, StudyError]] | None = None,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = False,
) -> "DatasetDict":
    """Reads studies from any supported source into the schema of `study_features()`. Opens no image.

    Args:
        source (`str` or path): a table, an annotation file, a folder, a `save_to_disk` folder, or a Hub data set's name.
        format (`str`, *optional*): `"table"`, `"dicom"`, `"annotation"`, `"r2gen"`, `"mimic-cxr"`, `"iu-xray"` or `"hub"`; by default
            it is detected and logged.
        image_root (path, *optional*): folder of relative image paths; by default the folder of the source.
        columns (mapping, *optional*): field -> column name, e.g. `{"findings": "REPORT_TEXT"}`.
        split (`str`, *optional*): if the source has splits, only this one is given; if not, all studies get this name. By
            default a source without splits is split 80/10/10 by a hash of the patient id.
        fractions, seed: of that split, see `assign_split`. `fractions` given explicitly override splits of the source.
        link (`bool`, *optional*): whether to link priors by time. By default only where the source gives no priors of its own: as
            soon as one study declares a prior, a study that declares none has none.
        same_view, max_days: see `link_priors`.
        reports (path, *optional*): folder or zip of MIMIC-CXR reports.
        require_factual_serialization (`bool`, defaults to `True`): of published annotations, see `ReaderOptions`.
        revision (`str`, *optional*): of a Hub data set.
        date_order (`str`, *optional*): `"day-first"` or `"month-first"`: what a date like `03/04/2021` means. Without it such dates are
            errors.
        allow_outside_image_root (`bool`, defaults to `False`): read images that lie outside of the image root, or to which links lead
            out of it. By default such studies are left out and named.
        allow_urls (`bool`, defaults to `False`): let images be http and https addresses.
        strict (`bool`, defaults to `False`): raise at the first study that can't be used. By default it is left out, logged and
            counted.
        problems (`list`, *optional*): receives `(place, StudyError)` of each study that was left out.
        cache_dir (path, *optional*): by default `priorrg` in the cache of `datasets`.
        progress (`bool`, defaults to `False`): show progress bars.

    Returns:
        `DatasetDict`: studies by split, memory-mapped.

    Raises:
        `StudyError`: with `strict`, and always when a patient is in two splits. `ValueError` for a source of no known format or
        a wrong column mapping, `FileNotFoundError` for a missing source.
    """
    study_features()  # says what to install where datasets is missing
    folder = cache_folder(cache_dir)
    options = ReaderOptions(
        image_root=None if image_root is None else os.path.abspath(image_root),
        columns=dict(columns or {}),
        reports=None if reports is None else os.path.abspath(reports),
        require_factual_serialization=require_factual_serialization,
        revision=revision,
        date_order=date_order,
        allow_outside_image_root=allow_outside_image_root,
        allow_urls=allow_urls,
        cache_dir=str(folder),
        progress=progress,
    )
    reader, reason = open_reader(source, format, options)
    logger.info("%s is read as %s: %s", source, reader.name, reason)
    found: list[tuple[str, StudyError]] = []
    with _datasets_progress(progress):
        if reader.name == "hub":
            studies = _from_hub(reader, split, fractions, seed, found, strict)
        else:
            studies = _from_rows(reader, folder, split, fractions, seed, found, strict, progress)
        studies = _with_priors(studies, link, same_view, max_days, strict, found)
    for note in reader.notes:
        logger.info("%s: %s", source, note)
    _report(found, source)
    if problems is not None:
        problems.extend(found)
    if not studies:
        reasons = "; ".join([*(str(error) for _, error in found[:1]), *reader.notes])
        raise ValueError(f"{source} ({reader.name}) holds no usable study" + (f": {reasons}" if reasons else ""))
    return studies


def read_rows(reader: Reader) -> Iterator[Row]:
    """The reader's rows in storage form: each is `(place, row)` or `(place, StudyError)`. Fills `reader.notes`."""
    places, date_order = reader.image_places(), reader.options.date_order
    for where, row in reader.rows():
        if isinstance(row, StudyError):
            yield where, row
            continue
        try:
            row = validate_row(row, where=where, date_order=date_order, changes=reader.changes)
            places.check_row(row)
        except StudyError as error:
            yield where, error
        else:
            yield where, row
    reader.notes.extend(reader.changes.lines())


def cache_folder(cache_dir: str | os.PathLike | None) -> Path:
    """`cache_dir`, or the folder for studies in the cache of `datasets`."""
    if cache_dir is None:
        import datasets

        cache_dir = Path(datasets.config.HF_DATASETS_CACHE) / "priorrg"
    return Path(os.path.abspath(cache_dir))


@contextlib.contextmanager
def _datasets_progress(shown: bool):
    """Turns the bars of `datasets` off while it works for a caller who asked for none."""
    import datasets

    before = datasets.are_progress_bars_disabled()
    if not shown:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown and not before:
            datasets.enable_progress_bars()


def _from_hub(reader: Any, split, fractions, seed, found, strict) -> "DatasetDict":
    import datasets

    studies, places, date_order = {}, reader.image_places(), reader.options.date_order
    for name, part in reader.load().items():
        part, problems = usable_studies(part, name, places, date_order)
        if strict and problems:
            raise problems[0][1]
        found.extend(problems)
        if len(part):
            studies[normalize_split(name)] = normalized(part, reader.changes, date_order)
    reader.notes.extend(reader.changes.lines())
    studies = datasets.DatasetDict(studies)
    if not studies:
        return studies
    if split is not None:
        name = normalize_split(split)
        if name not in studies:
            raise ValueError(f"{reader.repo_id} has no split {split!r}, it has {', '.join(studies)}")
        studies = datasets.DatasetDict({name: studies[name]})
    if fractions is not None:
        from .schema import split_by_patient

        studies = split_by_patient(
            datasets.concatenate_datasets(list(studies.values())), fractions=fractions, seed=seed
        )
    check_patient_disjoint(studies)
    return studies


def _from_rows(reader, folder, split, fractions, seed, found, strict, progress) -> "DatasetDict":
    import datasets

    place = folder / _cache_key(reader, split, fractions, seed)
    summary = _read_summary(place) if reader.files() else None
    if summary is None or (strict and summary["problems"]):
        with explain_full_disk(place, "This is the cache of tables as they were read; the source is unchanged."):
            summary = _write_splits(reader, place, split, fractions, seed, strict, progress)
    found.extend((where, StudyError(*fields)) for where, fields in summary["problems"])
    reader.notes = summary["notes"]
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_file(str(place / file)) for name, file in summary["splits"].items()}
    )


def _cache_key(reader: Reader, split, fractions, seed) -> str:
    """Changes with the source files, the options and the schema."""
    options = {key: value for key, value in vars(reader.options).items() if key not in ("cache_dir", "progress")}
    files = []
    for path in reader.files():
        status = path.stat()
        # The time of the last change of any kind as well: size and modification time can be put back.
        files.append([os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    identity = [SCHEMA_VERSION, reader.name, os.path.abspath(reader.source), options, files]
    identity += [normalize_split(split), None if fractions is None else list(fractions.items()), seed]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def _read_summary(place: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if all((place / file).is_file() for file in summary["splits"].values()) else None


class _SplitWriter:
    """One Arrow stream file of studies, written in batches."""

    def __init__(self, path: Path):
        import pyarrow as pa

        self.path, self.size = path, 0
        self.rows: list[dict[str, Any]] = []
        self.schema = study_features().arrow_schema
        self.file = pa.OSFile(str(path), "wb")
        self.stream = pa.ipc.new_stream(self.file, self.schema)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        images = [entry["image"] for entry in row["images"]] + [row["prior"] and row["prior"]["image"]]
        self.size += sum(len(image["bytes"] or b"") for image in images if image)
        if len(self.rows) >= _BATCH or self.size > _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self.rows:
            self.stream.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.rows, self.size = [], 0

    def close(self) -> None:
        self.flush()
        self.stream.close()
        self.file.close()


def _write_splits(reader, place, split, fractions, seed, strict, progress) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    for leftover in place.glob("writing-*"):  # of a run that was killed; a younger one may be at work
        if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
    home: dict[str, str] = {}
    seen: set[int] = set()  # hashes of example ids: 270,000 of them take some 20 MB
    found: list[tuple[str, StudyError]] = []
    wanted = normalize_split(split)
    declared = False
    with tempfile.TemporaryDirectory(dir=place, prefix="writing-") as scratch, contextlib.ExitStack() as stack:
        writers: dict[str, _SplitWriter] = {}
        rows = stack.enter_context(
            progress_bar(read_rows(reader), total=reader.count(), description=f"reading {reader.name}", shown=progress)
        )
        for where, row in rows:
            row, error = (None, row) if isinstance(row, StudyError) else _first_of_its_id(row, seen)
            if error is not None:
                if strict:
                    raise error
                found.append((where, error))
            if row is None:
                continue
            declared = declared or row["split"] is not None
            name = None if fractions is not None else row["split"]
            name = (
                name
                or home.get(row["patient_id"])
                or (wanted if not declared else None)
                or assign_split(row["patient_id"], fractions=fractions, seed=seed)
            )
            if home.setdefault(row["patient_id"], name) != name:
                check_patient_disjoint({home[row["patient_id"]]: [row["patient_id"]], name: [row["patient_id"]]})
            row["split"] = name
            if wanted is not None and name != wanted:
                continue
            if name not in writers:
                writers[name] = _SplitWriter(Path(scratch) / f"{_file_stem(name)}.arrow")
            writers[name].add(row)
        for writer in writers.values():
            writer.close()
        files = {name: f"{_file_stem(name)}.arrow" for name in _ordered(writers)}
        for file in files.values():
            os.replace(Path(scratch) / file, place / file)  # other processes may read the same source just now
        summary = {
            "source": str(reader.source),
            "splits": files,
            "problems": [(where, (e.study, e.field, e.problem, e.remedy)) for where, e in found],
            "notes": reader.notes,
        }
        partial = Path(scratch) / "summary.json"
        partial.write_text(json.dumps(summary, indent=1), encoding="utf-8")
        os.replace(partial, place / "summary.json")
    return summary


def _first_of_its_id(row: dict[str, Any], seen: set[int]) -> tuple[dict[str, Any] | None, StudyError | None]:
    """The row without what has an example id of before, and what is wrong with it: such reports could not be told apart."""
    keys = [hash(name) for name in example_ids(row)]
    if seen.intersection(keys):
        return None, StudyError(row["study_id"], "study_id", *REPEATED_STUDY)
    seen.update(keys)
    images: dict[int, dict[str, Any]] = {}
    for key, entry in zip(keys, row["images"], strict=True):
        images.setdefault(key, entry)
    if len(images) == len(keys):
        return row, None
    return {**row, "images": list(images.values())}, StudyError(row["study_id"], "images", *REPEATED_IMAGE)


def _file_stem(split: str) -> str:
    """A name of letters for files; distinct splits keep distinct names."""
    plain = "".join(character if character.isalnum() or character in "-_" else "_" for character in split)
    return plain if plain == split else f"{plain}-{hashlib.sha256(split.encode()).hexdigest()[:6]}"


def _ordered(names) -> list[str]:
    return [*(name for name in DEFAULT_FRACTIONS if name in names), *(n for n in names if n not in DEFAULT_FRACTIONS)]


def _with_priors(studies: "DatasetDict", link, same_view, max_days, strict, found) -> "DatasetDict":
    if link is False or not studies:
        return studies
    if any("images" not in part.column_names for part in studies.values()):
        return studies  # example rows carry their priors
    states = [_prior_state(part) for part in studies.values()]
    named = any("named" in state for state in states)
    if link is None and not named and any("complete" in state for state in states):
        return studies
    dropped: list[StudyError] = []
    studies = link_priors(
        studies,
        same_view=same_view,
        max_days=max_days,
        declared_only=link is None and named,
        strict=strict,
        problems=dropped,
    )
    found.extend((f"study {error.study}", error) for error in dropped)
    return studies


def _prior_state(dataset: "Dataset") -> set[str]:
    """Which kinds of prior occur: "complete" (with image), "named" (a study id only)."""
    import pyarrow.compute as pc

    state: set[str] = set()
    part = dataset.select_columns(["prior"]).with_format("arrow")
    for start in range(0, len(part), 2000):
        prior = part[start : min(start + 2000, len(part))]["prior"].combine_chunks()
        image = pc.struct_field(prior, "image")
        has_image = pc.or_(pc.is_valid(pc.struct_field(image, "path")), pc.is_valid(pc.struct_field(image, "bytes")))
        named = pc.and_(pc.is_valid(pc.struct_field(prior, "study_id")), pc.invert(has_image))
        state |= {"complete"} if pc.any(has_image).as_py() else set()
        state |= {"named"} if pc.any(named).as_py() else set()
        if len(state) == 2:
            break
    return state


def _report(found: list[tuple[str, StudyError]], source: Any) -> None:
    for where, error in found[:_LOGGED]:
        logger.warning("left out, %s: %s", where, error)
    if found:
        logger.warning("%s: %d problem(s); `priorrg data check` names them all", source, len(found))
