"""Prior linking: for each study the latest earlier study of the same patient.

The rules:

- a prior is a study of the same patient with a strictly earlier time; a bare date (and a whole `day`) stands for the
  whole day, so two studies of one day are linked only when both have a time of day, and never in a circle;
- records with the same study id are one study and never each other's prior;
- calendar times (`acquired`) are compared with calendar times, days on a patient's own line (`day`) with days;
- a study that the source declares as prior wins, if it can be one;
- of the studies that remain, `same_view` decides which: see `link_priors`;
- of the prior's images the one with the same view is shown, else one of the same view family, else a frontal one, else the first.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .schema import StudyError, cache_options, parse_time, study_features, view_family


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


SAME_VIEW_CHOICES = ("prefer", "image", "require", "ignore")
_DAY = 86400.0
_FAMILIES = {None: 1, "frontal": 2, "lateral": 4, "oblique": 8}


def anchor_index(views: Sequence[str | None]) -> int:
    """Which image stands for a study: the first frontal one, else the first."""
    return next((index for index, view in enumerate(views) if view_family(view) == "frontal"), 0)


def prior_image_index(
    views: Sequence[str | None], current_views: Sequence[str | None], same_view: str = "prefer"
) -> int:
    """Which of the prior's images to show beside a current study with `current_views`."""
    if same_view == "ignore":
        return anchor_index(views)
    wanted = current_views[anchor_index(current_views)]
    family = view_family(wanted)
    for matches in (lambda v: wanted is not None and v == wanted, lambda v: family and view_family(v) == family):
        found = next((index for index, view in enumerate(views) if matches(view)), None)
        if found is not None:
            return found
    return anchor_index(views)


def _day_interval(day: float | None) -> tuple[float, float]:
    """A whole number is the whole day, like a bare date; a fraction is a moment."""
    if day is None:
        return float("nan"), float("nan")
    return day * _DAY, (day + 1.0 if float(day).is_integer() else day) * _DAY


@dataclass(frozen=True)
class PriorLinks:
    """`rows[i]` is the row of the prior of row i, or -1; `days[i]` the time between them in days (NaN where unknown)."""

    rows: np.ndarray
    days: np.ndarray
    problems: list[StudyError]


class PriorIndex:
    """Collects what linking needs, some 60 bytes a study, in one pass over any number of studies."""

    def __init__(self) -> None:
        self._patients: dict[str, int] = {}
        self._study_ids: list[str] = []
        self._patient = array("q")
        self._start, self._end = array("d"), array("d")  # seconds; NaN without a time
        self._line = array("b")  # 0: calendar, 1: days of the patient's own line
        self._families, self._anchor = array("b"), array("b")
        self._named: dict[int, str] = {}
        self._rows_by_id: dict[str, int] = {}
        self._indexed = -1

    @property
    def has_named_priors(self) -> bool:
        """Whether the source declares priors by study id alone."""
        return bool(self._named)

    def __len__(self) -> int:
        return len(self._study_ids)

    def add(
        self,
        patient_id: str,
        study_id: str,
        acquired: str | None,
        day: float | None,
        views: Sequence[str | None],
        prior_study_id: str | None = None,
    ) -> None:
        """Adds the next row. `prior_study_id` names a prior that the source itself declares."""
        if prior_study_id is not None:
            self._named[len(self)] = prior_study_id
        self._study_ids.append(study_id)
        self._patient.append(self._patients.setdefault(patient_id, len(self._patients)))
        start, end = parse_time(acquired) if acquired else _day_interval(day)
        self._start.append(start)
        self._end.append(end)
        self._line.append(0 if acquired else 1)
        families = [_FAMILIES[view_family(view)] for view in views] or [1]
        self._families.append(int(np.bitwise_or.reduce(families)))
        self._anchor.append(families[anchor_index(views)] if views else 1)

    def link(
        self, same_view: str = "prefer", max_days: float | None = None, declared_only: bool = False
    ) -> PriorLinks:
        """Finds the prior of every row; arguments as in `link_priors`. Declared priors win over found ones."""
        if same_view not in SAME_VIEW_CHOICES:
            raise ValueError(f"same_view is one of {', '.join(SAME_VIEW_CHOICES)}, got {same_view!r}")
        rows = np.full(len(self), -1, dtype=np.int64)
        patient, line = np.asarray(self._patient), np.asarray(self._line)
        start, end = np.asarray(self._start), np.asarray(self._end)
        timed = np.flatnonzero(~np.isnan(start)) if not declared_only else np.empty(0, dtype=np.int64)
        # Ties are broken by row, so that the same data give the same links on every machine.
        order = timed[np.lexsort((timed, start[timed], line[timed], patient[timed]))]
        if order.size:
            breaks = np.flatnonzero(np.diff(patient[order]) | np.diff(line[order])) + 1
            for group in np.split(order, breaks):
                if len(group) > 1:
                    self._link_group(group.tolist(), start, end, rows, same_view, max_days)
        problems = self._apply_named(rows)
        days = np.full(len(self), np.nan)
        linked = np.flatnonzero(rows >= 0)
        linked = linked[
            (line[linked] == line[rows[linked]]) & ~np.isnan(start[linked]) & ~np.isnan(start[rows[linked]])
        ]
        days[linked] = np.round((start[linked] - start[rows[linked]]) / _DAY, 6)
        return PriorLinks(rows, days, problems)

    def _link_group(self, group, start, end, rows, same_view, max_days) -> None:
        """One patient's studies on one time line, in time order."""
        present = int(np.bitwise_or.reduce([self._families[row] for row in group]))
        for position, row in enumerate(group):
            wanted = self._anchor[row] if same_view in ("prefer", "require") else 0
            if wanted == 1 or not present & wanted:
                wanted = -1 if same_view == "require" else 0
            best = -1
            for candidate in reversed(group[:position]):
                if max_days is not None and start[row] - start[candidate] > max_days * _DAY:
                    break
                if end[candidate] > start[row] or start[candidate] >= start[row]:
                    continue  # the same time, or the same day without a time of day
                if self._study_ids[candidate] == self._study_ids[row]:
                    continue
                if wanted == 0 or (wanted > 0 and self._families[candidate] & wanted):
                    best = candidate
                    break
                if best < 0 and same_view == "prefer":
                    best = candidate
            rows[row] = best

    def prior_problem(self, row: int, prior_study_id: str) -> str | None:
        """What is wrong with a prior that the source declares for a row, or `None`."""
        prior = self._row_of(prior_study_id)
        name = f"study {prior_study_id!r}"
        if prior < 0:
            return f"{name} isn't in the source"
        if prior_study_id == self._study_ids[row]:
            return "the study names itself as its prior"
        if self._patient[prior] != self._patient[row]:
            return f"{name} belongs to another patient"
        start, end = self._start, self._end  # NaN compares false: without times nothing is known to be wrong
        same_line = self._line[prior] == self._line[row]
        if same_line and (start[prior] >= end[row] or start[prior] == start[row] == end[row]):
            return f"{name} isn't earlier"
        return None

    def _row_of(self, study_id: str) -> int:
        if self._indexed != len(self):
            self._rows_by_id = {}
            for row, name in enumerate(self._study_ids):
                self._rows_by_id.setdefault(name, row)
            self._indexed = len(self)
        return self._rows_by_id.get(study_id, -1)

    def _apply_named(self, rows: np.ndarray) -> list[StudyError]:
        """Resolves the priors that the source names by study id; impossible ones are dropped and reported."""
        problems: list[StudyError] = []
        remedy = "A prior must be an earlier study of the same patient; correct it or leave it empty"
        for row, name in self._named.items():
            problem = self.prior_problem(row, name)
            rows[row] = self._row_of(name) if problem is None else -1
            if problem is not None:
                problems.append(StudyError(self._study_ids[row], "prior.study_id", problem, remedy))
        for row in self._named:  # without times a circle is possible
            seen, current = {row}, int(rows[row])
            while current >= 0 and current not in seen:
                seen.add(current)
                current = int(rows[current])
            if current == row:
                rows[row] = -1
                problems.append(StudyError(self._study_ids[row], "prior.study_id", "its priors form a circle", remedy))
        return problems


def _light_rows(dataset: "Dataset", batch_size: int = 2000) -> Iterator[tuple]:
    """patient_id, study_id, acquired, day, views, declared prior id; image bytes are not touched."""
    import pyarrow.compute as pc

    light = dataset.select_columns(["patient_id", "study_id", "acquired", "day", "images", "prior"]).with_format(
        "arrow"
    )
    for start in range(0, len(light), batch_size):
        table = light[start : min(start + batch_size, len(light))].combine_chunks()
        images = table["images"].combine_chunks()
        lengths = pc.list_value_length(images).to_pylist()
        views = pc.struct_field(pc.list_flatten(images), "view").to_pylist()
        prior = table["prior"].combine_chunks()
        prior_ids = pc.struct_field(prior, "study_id").to_pylist()
        prior_image = pc.struct_field(prior, "image")
        has_image = pc.or_kleene(
            pc.is_valid(pc.struct_field(prior_image, "path")), pc.is_valid(pc.struct_field(prior_image, "bytes"))
        ).to_pylist()
        position = 0
        columns = [table[name].to_pylist() for name in ("patient_id", "study_id", "acquired", "day")]
        for *values, length, prior_id, complete in zip(*columns, lengths, prior_ids, has_image, strict=True):
            yield (*values, views[position : position + (length or 0)], None if complete else prior_id)
            position += length or 0


def _attach_batch(
    batch: dict[str, list], indices: list[int], *, source, rows, days, same_view: str, declared_only: bool
) -> dict[str, list]:
    wanted = sorted({int(rows[index]) for index in indices if rows[index] >= 0})
    found = source[wanted] if wanted else {}
    place = {row: number for number, row in enumerate(wanted)}
    result = []
    for number, index in enumerate(indices):
        if rows[index] < 0:
            given = batch["prior"][number] if declared_only else None
            result.append(given if given is not None and given["image"] is not None else None)
            continue
        at = place[int(rows[index])]
        images = found["images"][at]
        current_views = [image["view"] for image in batch["images"][number]]
        image = images[prior_image_index([image["view"] for image in images], current_views, same_view)]
        gap = float(days[index])
        result.append(
            {
                "study_id": found["study_id"][at],
                "image": image["image"],
                "view": image["view"],
                "acquired": found["acquired"][at],
                "days_before": None if np.isnan(gap) or gap < 0 else gap,
            }
        )
    return {"prior": result}


def link_priors(
    dataset: "Dataset | DatasetDict",
    *,
    same_view: str = "prefer",
    max_days: float | None = None,
    declared_only: bool = False,
    strict: bool = False,
    problems: list[StudyError] | None = None,
) -> "Dataset | DatasetDict":
    """Sets `prior` of every study to the latest earlier study of the same patient. Reads no image.

    Priors by study id alone (declared by the source, not yet resolved) are resolved instead. Complete priors are replaced, unless
    `declared_only` is given.

    Args:
        dataset (`Dataset` or `DatasetDict`): studies in the schema. Splits are linked apart: they share no patient.
        same_view (`str`, defaults to `"prefer"`): `"prefer"` takes the latest earlier study that has an image of the view family of
            the study's main image, and without one the latest of any view; `"image"` always takes the latest study and prefers the
            family among its images only; `"require"` takes only studies with that family; `"ignore"` pays no heed to views.
            The main image is the first frontal one, else the first.
        max_days (`float`, *optional*): studies further back are no priors.
        declared_only (`bool`, defaults to `False`): only resolve the priors that the source names by study id; complete priors stay,
            and a study without a declared prior has none.
        strict (`bool`, defaults to `False`): raise at a declared prior that can't be, instead of dropping it.
        problems (`list`, *optional*): receives the `StudyError` of each declared prior that was dropped.

    Returns:
        The same studies in the same order with `prior` set and `prior.days_before` filled in.
    """
    from datasets import DatasetDict

    if isinstance(dataset, dict):
        options: dict[str, Any] = {
            "same_view": same_view,
            "max_days": max_days,
            "declared_only": declared_only,
            "strict": strict,
            "problems": problems,
        }
        return DatasetDict({name: link_priors(part, **options) for name, part in dataset.items()})
    index: Any = PriorIndex()
    for row in _light_rows(dataset):
        index.add(*row)
    links = index.link(same_view, max_days, declared_only)
    if strict and links.problems:
        raise links.problems[0]
    if problems is not None:
        problems.extend(links.problems)
    return dataset.map(
        _attach_batch,
        batched=True,
        batch_size=500,
        with_indices=True,
        input_columns=None,
        features=study_features(),
        fn_kwargs={
            "source": dataset.select_columns(["study_id", "images", "acquired"]),
            "rows": links.rows,
            "days": links.days,
            "same_view": same_view,
            "declared_only": declared_only,
        },
        desc="prior links",
        **cache_options(dataset, f"priors-{same_view}-{max_days}-{declared_only}", None),
    )
