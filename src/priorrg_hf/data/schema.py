"""The one study schema: typed records, Arrow features, validation, flat example rows, patient-disjoint splits.

A *study* is one examination of one patient: its images, its texts, and at most one prior study. Every reader gives this schema,
and everything behind it (collators, pipeline, evaluation) consumes either studies or the flat *example rows* of `as_examples`,
one per current image. Images stay paths or encoded bytes until the processor opens them.

`datasets` is imported only by the functions that need it, so that the records can be used without it.
"""

import dataclasses
import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .values import Changes, is_missing, is_placeholder, normalize_id, normalize_time, normalize_view, parse_time


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features


# another number where the same source is read into other values
SCHEMA_VERSION = 2
TEXT_FIELDS = ("indication", "history", "findings", "impression", "comparison")
EXAMPLE_FIELDS = (
    "example_id",
    "study_id",
    "patient_id",
    "image",
    "prior_image",
    "view_position",
    "prior_view_position",
    "indication",
    "history",
    "findings",
)
SPLIT_ALIASES = {"val": "validation", "valid": "validation", "validate": "validation", "dev": "validation"}

_LATERAL_WORDS = {"LATERAL", "LAT", "LL", "RL", "XTABLE", "SWIMMERS", "L"}
_OBLIQUE_WORDS = {"OBLIQUE", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO"}
_FRONTAL_WORDS = {"AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "LORDOTIC", "LLD", "RLD", "DECUBITUS"}


class StudyError(ValueError):
    """A study that cannot be used. The message names the study, the field and the remedy.

    Attributes:
        study (`str`): id of the study, or the place in the source where it stands.
        field (`str`): name of the offending field.
        problem (`str`): what is wrong with it.
        remedy (`str`): what to do about it.
    """

    def __init__(self, study: str, field: str, problem: str, remedy: str):
        self.study, self.field, self.problem, self.remedy = str(study), field, problem, remedy
        super().__init__(f"study {self.study!r}, field {field!r}: {problem}. {remedy}")

    def __reduce__(self):
        return type(self), (self.study, self.field, self.problem, self.remedy)


# An image is a path or URL, or what `datasets` stores for an undecoded image: {"bytes": ..., "path": ...}.
ImageLike = str | os.PathLike | Mapping[str, Any]


@dataclass
class StudyImage:
    """One image of a study.

    Args:
        image (`str` or `dict`): path or URL, or `{"bytes": encoded file, "path": name or None}`. Never decoded here.
        view (`str`, *optional*): view position as the source spells it, e.g. `"AP"`, `"PA"`, `"LATERAL"`.
        image_id (`str`, *optional*): id of the image within the study (MIMIC: the DICOM id).
        laterality (`str`, *optional*): `"L"`, `"R"` or `"B"` where the source states a body side.
    """

    image: ImageLike
    view: str | None = None
    image_id: str | None = None
    laterality: str | None = None


@dataclass
class PriorStudy:
    """The earlier study that a report may compare with: one image and when it was taken.

    Args:
        image (`str` or `dict`): as in `StudyImage`.
        study_id (`str`, *optional*): id of the earlier study, where the source tells it.
        view (`str`, *optional*): view position of the prior image.
        acquired (`str`, *optional*): ISO 8601 date or date-time.
        days_before (`float`, *optional*): days from the prior to the current study; zero for the same day.
    """

    image: ImageLike
    study_id: str | None = None
    view: str | None = None
    acquired: str | None = None
    days_before: float | None = None


@dataclass
class Study:
    """One examination.

    Args:
        study_id (`str`): unique in the data set.
        patient_id (`str`): the same for all studies of a patient; splits never share one.
        images (`list[StudyImage]`): at least one.
        acquired (`str`, *optional*): ISO 8601 date or date-time, e.g. `"2021-03-04T10:05:00"`.
        day (`float`, *optional*): day on a time line of the patient's own, for sources without calendar dates. May be negative.
        indication, history, findings, impression, comparison (`str`, *optional*): report sections; an empty text becomes `None`.
        labels (`dict[str, float]`, *optional*): labels by name, as CheXpert writes them: 1 present, 0 absent, -1 uncertain.
        prior (`PriorStudy`, *optional*): the prior study.
        split (`str`, *optional*): `"train"`, `"validation"` or `"test"`.
    """

    study_id: str
    patient_id: str
    images: list[StudyImage]
    acquired: str | None = None
    day: float | None = None
    indication: str | None = None
    history: str | None = None
    findings: str | None = None
    impression: str | None = None
    comparison: str | None = None
    labels: dict[str, float] | None = None
    prior: PriorStudy | None = None
    split: str | None = None

    def to_row(self) -> dict[str, Any]:
        """Checks the record and returns it as a row of `study_features()`. Raises `StudyError`."""
        row = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return validate_row(row)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Study":
        """The record of a schema row (validated on the way). Raises `StudyError`."""
        row = validate_row(row)
        row["images"] = [StudyImage(**item) for item in row["images"]]
        row["prior"] = None if row["prior"] is None else PriorStudy(**row["prior"])
        row["labels"] = None if row["labels"] is None else {x["name"]: x["value"] for x in row["labels"]}
        return cls(**row)


def study_features() -> "Features":
    """The Arrow features of a study row; images are `Image(decode=False)`, i.e. `{"bytes", "path"}`."""
    try:
        from datasets import Features, Image, List, Value
    except ImportError as error:
        raise ImportError("data sets of studies need the library datasets: pip install 'priorrg-hf[data]'") from error

    text = Value("string")
    return Features(
        {
            "study_id": text,
            "patient_id": text,
            "images": List({"image": Image(decode=False), "view": text, "image_id": text, "laterality": text}),
            "acquired": text,
            "day": Value("float64"),
            **dict.fromkeys(TEXT_FIELDS, text),
            "labels": List({"name": text, "value": Value("float32")}),
            "prior": {
                "study_id": text,
                "image": Image(decode=False),
                "view": text,
                "acquired": text,
                "days_before": Value("float64"),
            },
            "split": text,
        }
    )


def example_features() -> "Features":
    """The Arrow features of an example row, see `as_examples`."""
    from datasets import Features, Image, Value

    images = ("image", "prior_image")
    return Features({name: Image(decode=False) if name in images else Value("string") for name in EXAMPLE_FIELDS})


# --- values ---------------------------------------------------------------------------------------------------------


def view_family(view: str | None) -> str | None:
    """`"frontal"`, `"lateral"`, `"oblique"`, or `None` for a view that is missing or says neither.

    Understands DICOM codes (AP, PA, LL, RL, LLO, ...) and the longer names of the public data sets ("AP_SUPINE", "AP AXIAL",
    "XTABLE LATERAL", "Frontal"). Decubitus films are frontal: the beam runs front to back, the patient lies.
    """
    words = set((normalize_view(view) or "").split())
    if words & _OBLIQUE_WORDS:
        return "oblique"
    if words & _FRONTAL_WORDS:
        return "frontal"
    return "lateral" if words & _LATERAL_WORDS else None


def normalize_split(name: str | None) -> str | None:
    """`"val"`, `"valid"`, `"validate"` and `"dev"` become `"validation"`; other names only lose case and blanks."""
    if name is None or not str(name).strip():
        return None
    name = str(name).strip().lower()
    return SPLIT_ALIASES.get(name, name)


@dataclass(frozen=True)
class _Rules:
    """How the values of a source are read: where changes are counted, and what a date with slashes means."""

    changes: Changes | None = None
    date_order: str | None = None


def _text(value: Any, study: str, name: str) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, (Mapping, list, tuple, bytes, bytearray)):
        raise StudyError(study, name, f"is a {type(value).__name__}, no text", "Give plain text or leave it empty")
    text = str(value).strip().replace("\r\n", "\n")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        problem = f"holds half a character (a lone surrogate, at position {error.start})"
        raise StudyError(study, name, problem, "Export the text again, as UTF-8") from None
    return text or None


def _identifier(value: Any, study: str, name: str, rules: _Rules = _Rules()) -> str | None:
    return normalize_id(_text(value, study, name) if not isinstance(value, (int, float)) else value, rules.changes)


def _number(value: Any, study: str, name: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise StudyError(study, name, f"{value!r} is not a number", "Give a number or leave it empty") from None
    if math.isinf(number):
        raise StudyError(study, name, "is infinite", "Give a number or leave it empty")
    return None if math.isnan(number) else number


def _labels(value: Any, study: str) -> list[dict[str, Any]] | None:
    if is_missing(value):
        return None
    if isinstance(value, Mapping):
        value = [{"name": name, "value": number} for name, number in value.items()]
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(x, Mapping) and {"name", "value"} <= set(x) for x in value
    ):
        raise StudyError(study, "labels", "aren't labels by name", 'Write them like {"Edema": 1, "Pneumonia": 0}')
    return [
        {"name": _text(x["name"], study, "labels"), "value": _number(x["value"], study, "labels")} for x in value
    ] or None


def _time(value: Any, study: str, name: str, rules: _Rules) -> str | None:
    try:
        return normalize_time(value, rules.date_order)
    except ValueError as error:
        raise StudyError(study, name, str(error), "Write it like 2021-03-04 or 2021-03-04T10:05:00") from None


def _view(value: Any, study: str, name: str, rules: _Rules) -> str | None:
    return normalize_view(_text(value, study, name), rules.changes)


def _image(value: Any, study: str, name: str) -> dict[str, Any]:
    """The undecoded storage form of an image. Never opens the file."""
    remedy = "Give a path, a URL, or {'bytes': the encoded file}"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and value.strip():
        return {"bytes": None, "path": _text(value, study, name)}
    if isinstance(value, (bytes, bytearray)) and value:
        return {"bytes": bytes(value), "path": None}
    if isinstance(value, Mapping) and value.get("bytes"):
        # Without its name: `datasets` drops the bytes of an image whose path happens to name a file in the working folder.
        return {"bytes": bytes(value["bytes"]), "path": None}
    if isinstance(value, Mapping) and value.get("path"):
        return {"bytes": None, "path": _text(os.fspath(value["path"]), study, name)}
    if value is None or isinstance(value, (str, bytes, bytearray, Mapping)):
        raise StudyError(study, name, "no image is given", remedy)
    raise StudyError(study, name, f"a {type(value).__name__} is not an undecoded image", remedy)


def _fields_of(item: Any, cls: type, study: str, name: str) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(cls)]
    if isinstance(item, cls):
        return {key: getattr(item, key) for key in names}
    if not isinstance(item, Mapping):
        raise StudyError(
            study, name, f"expected a mapping, got {type(item).__name__}", f"Use the keys {', '.join(names)}"
        )
    unknown = set(item) - set(names)
    if unknown:
        raise StudyError(study, name, f"unknown keys {sorted(map(str, unknown))}", f"Use the keys {', '.join(names)}")
    return {key: item.get(key) for key in names}


def _prior(value: Any, study: str, rules: _Rules) -> dict[str, Any] | None:
    if value is None:
        return None
    prior = _fields_of(value, PriorStudy, study, "prior")
    if all(entry is None for entry in prior.values()):
        return None  # some writers store an absent struct as a struct of nulls
    prior["study_id"] = _identifier(prior["study_id"], study, "prior.study_id", rules)
    prior["view"] = _view(prior["view"], study, "prior.view", rules)
    named_only = not _has_image(prior["image"]) and prior["study_id"] is not None
    if named_only:
        prior["image"] = None  # another study of the source, resolved by `link_priors`
    else:
        prior["image"] = _image(prior["image"], study, "prior.image")
    prior["acquired"] = _time(prior["acquired"], study, "prior.acquired", rules)
    prior["days_before"] = _number(prior["days_before"], study, "prior.days_before")
    return prior


def _check_prior_order(row: dict[str, Any]) -> None:
    study, prior = row["study_id"], row["prior"]
    remedy = "A prior must be an earlier study of the same patient; drop it or correct the times"
    if prior["study_id"] is not None and prior["study_id"] == study:
        raise StudyError(study, "prior.study_id", "the study names itself as its prior", remedy)
    # Zero stands for the same day, where only the source knows the order.
    if prior["days_before"] is not None and prior["days_before"] < 0:
        problem = f"the prior lies {-prior['days_before']:g} days after the study"
        raise StudyError(study, "prior.days_before", problem, remedy)
    if prior["acquired"] and row["acquired"]:
        prior_time, time = parse_time(prior["acquired"]), parse_time(row["acquired"])
        # Two bare dates, or a date against a time of the same day, leave the order open: only a known fault is an error.
        if prior_time[0] >= time[1]:
            problem = f"{prior['acquired']} isn't earlier than the study's own time {row['acquired']}"
            raise StudyError(study, "prior.acquired", problem, remedy)


def validate_row(
    row: Mapping[str, Any], *, where: str | None = None, date_order: str | None = None, changes: Changes | None = None
) -> dict[str, Any]:
    """A study row in the schema's storage form: ids as text, views in one spelling, empty texts as `None`, times as ISO, images undecoded.

    Args:
        row (mapping): the study; keys as in `Study`, absent ones are taken as `None`. `labels` may be a dict or a list of
            `{name, value}`.
        where (`str`, *optional*): place in the source, named in errors while the study id is unknown.
        date_order (`str`, *optional*): `"day-first"` or `"month-first"`, for dates like `03/04/2021`, which are errors without it.
        changes (`Changes`, *optional*): counts the values that were brought into another form.

    Raises:
        `StudyError`: naming study, field and remedy.
    """
    names, rules = [f.name for f in dataclasses.fields(Study)], _Rules(changes, date_order)
    study_id = _identifier(row.get("study_id"), where or "without id", "study_id", rules)
    study = study_id or where or "without id"
    unknown = set(row) - set(names)
    if unknown:
        raise StudyError(study, sorted(map(str, unknown))[0], "is no field of a study", f"Use {', '.join(names)}")
    if study_id is None:
        raise StudyError(study, "study_id", "is missing", "Give every study an id that is unique in the data set")
    patient_id = _identifier(row.get("patient_id"), study, "patient_id", rules)
    if patient_id is None:
        raise StudyError(
            study, "patient_id", "is missing", "Without it neither priors nor patient-disjoint splits exist"
        )
    images = row.get("images")
    if not isinstance(images, (list, tuple)) or not images:
        raise StudyError(study, "images", "no image is given", "Give at least one {image, view}")

    entries: list[dict[str, Any]] = []
    result: dict[str, Any] = {"study_id": study_id, "patient_id": patient_id, "images": entries}
    for index, item in enumerate(images):
        entry = _fields_of(item, StudyImage, study, f"images[{index}]")
        entry["image"] = _image(entry["image"], study, f"images[{index}].image")
        entry["view"] = _view(entry["view"], study, f"images[{index}].view", rules)
        entry["laterality"] = _text(entry["laterality"], study, f"images[{index}].laterality")
        entry["image_id"] = _identifier(entry["image_id"], study, f"images[{index}].image_id", rules)
        entries.append(entry)
    result["acquired"] = _time(row.get("acquired"), study, "acquired", rules)
    result["day"] = _number(row.get("day"), study, "day")
    for name in TEXT_FIELDS:
        result[name] = _text(row.get(name), study, name)
    result["labels"] = _labels(row.get("labels"), study)
    result["prior"] = _prior(row.get("prior"), study, rules)
    result["split"] = normalize_split(_text(row.get("split"), study, "split"))
    if result["prior"] is not None:
        _check_prior_order(result)
    return result


# --- data sets ------------------------------------------------------------------------------------------------------


def studies_to_dataset(studies: Iterable[Study | Mapping[str, Any]]) -> "Dataset":
    """A `Dataset` in memory from records or rows. For more than some thousand studies use a file and `load_studies`.

    Raises:
        `StudyError`: at the first study that is no valid record.
    """
    from datasets import Dataset

    features = study_features()
    rows = [study.to_row() if isinstance(study, Study) else validate_row(study) for study in studies]
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def studies_to_dataset_dict(
    studies: Iterable[Study | Mapping[str, Any]], *, fractions: Mapping[str, float] | None = None, seed: int = 0
) -> "DatasetDict":
    """A patient-disjoint `DatasetDict` in memory: by the studies' own `split` where all have one, else by `assign_split`."""
    return split_by_patient(studies_to_dataset(studies), fractions=fractions, seed=seed)


DEFAULT_FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def assign_split(patient_id: str, *, fractions: Mapping[str, float] | None = None, seed: int = 0) -> str:
    """The split of a patient, from a hash of its id: the same on every machine and for every order and size of the data.

    Args:
        patient_id (`str`): the patient.
        fractions (mapping from name to share, *optional*): shares of the splits, summing to 1. By default 80/10/10.
        seed (`int`, defaults to 0): another number gives another partition.
    """
    fractions = fractions or DEFAULT_FRACTIONS
    if abs(sum(fractions.values()) - 1.0) > 1e-6 or min(fractions.values()) < 0:
        raise ValueError(f"the split fractions must be non-negative and sum to 1, got {dict(fractions)}")
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    bound = 0.0
    for name, share in fractions.items():
        bound += share
        if position < bound:
            return name
    return name


def check_patient_disjoint(splits: Mapping[str, Iterable[str]]) -> None:
    """Raises `StudyError` when a patient is in two splits.

    Args:
        splits (mapping): split name -> patient ids, or a `DatasetDict` of studies or examples.
    """
    home: dict[str, str] = {}
    for name, patients in splits.items():
        ids: Iterable[str] = cast("Dataset", patients)["patient_id"] if hasattr(patients, "column_names") else patients
        for patient in set(ids):
            if home.setdefault(patient, name) != name:
                problem = f"patient {patient!r} is in {home[patient]!r} and in {name!r}"
                raise StudyError(
                    f"of patient {patient}", "split", problem, "Give all studies of a patient the same split"
                )


def split_by_patient(
    dataset: "Dataset", *, fractions: Mapping[str, float] | None = None, seed: int = 0
) -> "DatasetDict":
    """Splits studies (or examples) so that no patient is in two splits.

    The studies' own `split` is used where every study has one and no `fractions` are asked for; otherwise each patient is placed
    by `assign_split`. Empty splits are left out. Raises `StudyError` when the given splits share a patient.
    """
    from datasets import DatasetDict

    names = [normalize_split(name) for name in dataset["split"]] if "split" in dataset.column_names else []
    given = [name for name in names if name is not None]
    patients = list(dataset["patient_id"])
    if not given or fractions is not None or len(given) < len(names):
        given = [assign_split(patient, fractions=fractions, seed=seed) for patient in patients]
    rows: dict[str, list[int]] = {}
    for index, name in enumerate(given):
        rows.setdefault(name, []).append(index)
    order = [*(name for name in DEFAULT_FRACTIONS if name in rows), *(n for n in rows if n not in DEFAULT_FRACTIONS)]
    check_patient_disjoint({name: [patients[index] for index in rows[name]] for name in order})
    return DatasetDict({name: dataset.select(rows[name]) for name in order})


# --- example rows ---------------------------------------------------------------------------------------------------


def wants_view(view: str | None, include_views: str | Iterable[str] | None) -> bool:
    """Whether a view passes `include_views`: `None` or `"all"`, a family name such as `"frontal"`, or view names."""
    if include_views is None or include_views == "all":
        return True
    if isinstance(include_views, str):
        include_views = [include_views]
    # The spelling doesn't matter, on neither side.
    name = normalize_view(view)
    return any(
        view_family(view) == wanted or (name is not None and name == normalize_view(wanted))
        for wanted in include_views
    )


def _has_image(image: Any) -> bool:
    return image is not None and (not isinstance(image, Mapping) or bool(image.get("bytes") or image.get("path")))


def example_ids(study: Mapping[str, Any]) -> list[str]:
    """The example id of each image of a study row (see `as_examples`)."""
    ids, images = [], study["images"]
    for index, entry in enumerate(images):
        if entry.get("image_id") is not None:
            ids.append(f"{study['patient_id']}_{study['study_id']}_{entry['image_id']}")
        else:
            ids.append(study["study_id"] if len(images) == 1 else f"{study['study_id']}_{index}")
    return ids


def example_rows(study: Mapping[str, Any], include_views: str | Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The example rows of one study row, one per current image that passes `include_views` (see `as_examples`)."""
    prior = study.get("prior")
    if prior is not None and not _has_image(prior.get("image")):
        prior = None  # declared by id alone and never resolved
    rows = []
    for example_id, entry in zip(example_ids(study), study["images"], strict=True):
        if not wants_view(entry["view"], include_views):
            continue
        rows.append(
            {
                "example_id": example_id,
                "study_id": study["study_id"],
                "patient_id": study["patient_id"],
                "image": entry["image"],
                "prior_image": prior["image"] if prior else None,
                "view_position": entry["view"],
                "prior_view_position": prior["view"] if prior else None,
                **{name: study.get(name) for name in ("indication", "history", "findings")},
            }
        )
    return rows


def _examples_of_batch(batch: Mapping[str, list], include_views=None) -> dict[str, list]:
    columns: dict[str, list] = {name: [] for name in EXAMPLE_FIELDS}
    for values in zip(*batch.values(), strict=True):
        for row in example_rows(dict(zip(batch, values, strict=True)), include_views):
            for name in EXAMPLE_FIELDS:
                columns[name].append(row[name])
    return columns


def as_examples(
    dataset: "Dataset | DatasetDict",
    *,
    include_views: str | Iterable[str] | None = None,
    require_findings: bool = False,
    keep_in_memory: bool | None = None,
) -> "Dataset | DatasetDict":
    """Flat example rows of studies, one per current image: what collator, pipeline and evaluation consume.

    The columns are `example_id, study_id, patient_id, image, prior_image, view_position, prior_view_position, indication, history,
    findings`. No image is opened: `image` and `prior_image` are `{"bytes", "path"}`, `prior_image` is `None` without a prior. The rows are
    written once to the `datasets` cache and memory-mapped, so memory stays flat; a second call reuses them.

    `example_id` is `{patient_id}_{study_id}_{image_id}` where images have ids (as in the published annotation), otherwise the study
    id, with the position of the image behind it when the study has several.

    Args:
        dataset (`Dataset` or `DatasetDict`): studies in the schema. Rows that are examples already are returned as they are.
        include_views (`str` or list, *optional*): which current images become examples: a family (`"frontal"`, `"lateral"`),
            view names (`["AP", "PA"]`), or `None` for every image. An image whose view is unknown belongs to no family, so
            `"frontal"` leaves it out.
        require_findings (`bool`, defaults to `False`): leave out studies without findings (training, scoring); `___`, `XXXX`, `N/A` and
            the like are none.
        keep_in_memory (`bool`, *optional*): by default only studies that are themselves in memory stay there.
    """
    from datasets import DatasetDict

    if isinstance(dataset, (dict, DatasetDict)):
        options: dict[str, Any] = {
            "include_views": include_views,
            "require_findings": require_findings,
            "keep_in_memory": keep_in_memory,
        }
        return DatasetDict({name: as_examples(part, **options) for name, part in dataset.items()})
    if set(EXAMPLE_FIELDS) <= set(dataset.column_names):
        return dataset
    missing = {"study_id", "patient_id", "images"} - set(dataset.column_names)
    if missing:
        raise StudyError("every one", sorted(missing)[0], "the column is missing", "Read the source with load_studies")
    if include_views is not None and not isinstance(include_views, str):
        include_views = sorted(include_views)  # a set would give another cache key in every process
    if require_findings:
        dataset = dataset.filter(
            _has_text, input_columns=["findings"], **cache_options(dataset, "findings", keep_in_memory)
        )
    used = {"study_id", "patient_id", "images", "indication", "history", "findings", "prior"}
    dataset = dataset.remove_columns([name for name in dataset.column_names if name not in used])
    return dataset.map(
        _examples_of_batch,
        batched=True,
        batch_size=500,
        fn_kwargs={"include_views": include_views},
        remove_columns=dataset.column_names,
        features=example_features(),
        desc="examples",
        **cache_options(dataset, f"examples-{include_views}", keep_in_memory),
    )


def _has_text(text: str | None) -> bool:
    return not is_placeholder(text)


def cache_options(dataset: "Dataset", purpose: str, keep_in_memory: bool | None) -> dict[str, Any]:
    """Where `map` puts its result: next to the data set, or in the cache folder when the former cannot be written to."""
    import datasets

    if keep_in_memory is not None:
        return {"keep_in_memory": keep_in_memory}
    files = [entry["filename"] for entry in dataset.cache_files]
    if not files or os.access(os.path.dirname(os.path.abspath(files[0])), os.W_OK):
        return {}
    folder = os.path.join(datasets.config.HF_DATASETS_CACHE, "priorrg")
    os.makedirs(folder, exist_ok=True)
    # The fingerprint has no public name (datasets 4.4 to 5.2); it is what `map` itself names its cache files after.
    key = hashlib.sha256(f"{dataset._fingerprint}:{purpose}".encode()).hexdigest()[:24]
    return {"cache_file_name": os.path.join(folder, f"{key}.arrow")}
