"""Data sets that have the schema already: from the Hub, from `save_to_disk`, or the Parquet folders of `priorrg data convert`."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..image_files import ImagePlaces
from ..schema import EXAMPLE_FIELDS, StudyError, study_features
from ..values import Changes, normalize_id, normalize_time, normalize_view
from .base import Reader, Row, check_columns, check_fields


_SHARD = re.compile(r"^(?P<split>[\w.]+)-\d{5}(-of-\d{5})?\.(parquet|arrow)$")


class HubReader(Reader):
    name = "hub"
    reads_options = frozenset({"revision"})
    maps_columns = True
    expects = "a Hub data set (owner/name), a save_to_disk folder, or a folder of train-00000.parquet shards"

    def __init__(self, source, options):
        super().__init__(source, options)
        self.repo_id = str(source)

    @classmethod
    def detect(cls, source: Path) -> str | None:
        if source.is_dir():
            if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
                return "the folder was written by save_to_disk"
            return "the folder holds shards of a converted data set" if _shards(source) else None
        looks_like_file = re.fullmatch(r"\.[A-Za-z]\w*", source.suffix)  # "v1.0" is no file's ending
        if not source.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and not looks_like_file:
            return "no such file, and the name looks like a Hub repository"
        return None

    @property
    def default_image_root(self) -> Path | None:
        return self.source if self.source.is_dir() else None

    def image_places(self) -> ImagePlaces:
        """Shards of `priorrg data convert` that keep the paths of their images say in `conversion.json` where these lay."""
        places = super().image_places()
        if not self.options.image_root and (root := converted_image_root(self.source)) is not None:
            places.add_root(root)
            self.notes.append(f"images may lie in {root}, as conversion.json says")
        return places

    def files(self) -> list[Path]:
        if not self.source.is_dir():
            return []
        return sorted(path for path in self.source.rglob("*") if path.suffix in (".parquet", ".arrow", ".json"))

    def load(self):
        """The `DatasetDict` itself, memory-mapped; checks the columns. Raises `StudyError`."""
        import datasets

        if not self.source.exists():
            loaded = self._from_hub()
        elif shards := _shards(self.source):
            loaded = self._from_shards(shards)
        else:
            loaded = datasets.load_from_disk(str(self.source))
        if not isinstance(loaded, dict):
            loaded = datasets.DatasetDict({str(loaded.split or "all"): loaded})
        return datasets.DatasetDict({name: self._in_schema(part) for name, part in loaded.items()})

    def _from_hub(self):
        import datasets

        try:
            return datasets.load_dataset(self.repo_id, revision=self.options.revision)
        except (OSError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.repo_id} is no file or folder here, and the Hub doesn't give such a data set ({error})"
            ) from error

    def _from_shards(self, shards: dict[str, list[Path]]):
        import datasets

        if all(path.suffix == ".arrow" for paths in shards.values() for path in paths):  # mapped where they are
            parts = {name: [datasets.Dataset.from_file(str(path)) for path in paths] for name, paths in shards.items()}
            return datasets.DatasetDict({name: datasets.concatenate_datasets(part) for name, part in parts.items()})
        files = {name: [str(path) for path in paths] for name, paths in shards.items()}
        return datasets.load_dataset("parquet", data_files=files, cache_dir=self.options.cache_dir)

    def _in_schema(self, dataset):
        from datasets import Image, Value

        features = study_features()
        check_fields(self.options.columns, dict.fromkeys([*features, *EXAMPLE_FIELDS]))
        check_columns(dataset.column_names, self.options.columns, self.repo_id)
        for name, column in self.options.columns.items():
            if name != column:
                dataset = dataset.remove_columns([name] if name in dataset.column_names else [])
                dataset = dataset.rename_column(column, name)
        if set(EXAMPLE_FIELDS) <= set(dataset.column_names):
            for name in ("image", "prior_image"):
                dataset = dataset.cast_column(name, Image(decode=False))
            return dataset
        missing = [name for name in ("study_id", "patient_id", "images") if name not in dataset.column_names]
        if missing:
            columns = ", ".join(dataset.column_names)
            raise StudyError(
                "every one", missing[0], f"{self.repo_id} has no such column, only {columns}", "Map it with --column"
            )
        dataset = dataset.remove_columns([name for name in dataset.column_names if name not in features])
        for name in features:
            if name not in dataset.column_names:
                kind = features[name]
                dataset = dataset.add_column(
                    name, [None] * len(dataset), feature=kind if isinstance(kind, Value) else None
                )
        dataset = dataset.select_columns(list(features))
        return dataset if dataset.features == features else dataset.cast(features)

    def count(self) -> int | None:
        return None

    def rows(self) -> Iterator[Row]:
        for split, part in self.load().items():
            for index in range(len(part)):
                row = part[index]
                row = dict(row) if "images" in row else _study_of_example(row)
                yield f"{split} row {index}", {**row, "split": row.get("split") or split}


def converted_image_root(folder: Path) -> str | None:
    """The image root that `priorrg data convert` wrote beside its shards, or `None`."""
    try:
        state = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    root = state.get("image_root") if isinstance(state, dict) else None
    return root if isinstance(root, str) and root else None


def _study_of_example(row: dict[str, Any]) -> dict[str, Any]:
    prior = {"image": row["prior_image"], "view": row["prior_view_position"]} if row["prior_image"] else None
    return {
        "images": [{"image": row["image"], "view": row["view_position"], "image_id": row["example_id"]}],
        "prior": prior,
        **{name: row[name] for name in ("study_id", "patient_id", "indication", "history", "findings")},
    }


def usable_studies(
    dataset, split: str, places: ImagePlaces, date_order: str | None = None
) -> tuple[Any, list[tuple[str, StudyError]]]:
    """The rows that have ids, an image, paths that may be opened and times that exist, and `(place, StudyError)` of those that haven't.

    Image bytes are not touched.
    """
    is_studies = "images" in dataset.column_names
    names = ["study_id", "patient_id", *(("images", "prior", "acquired") if is_studies else ("image", "prior_image"))]
    light, bad = dataset.select_columns(names).with_format("arrow"), []
    for start in range(0, len(light), 2000):
        batch = light[start : min(start + 2000, len(light))].combine_chunks()
        rows = _light_studies(batch) if is_studies else _light_examples(batch)
        for offset, row in enumerate(rows):
            try:
                _check_light(row, f"{split} row {start + offset}", places, date_order)
            except StudyError as error:
                bad.append((start + offset, error))
    if not bad:
        return dataset, []
    left_out = {index for index, _ in bad}
    dataset = dataset.select([index for index in range(len(dataset)) if index not in left_out])
    return dataset, [(f"{split} row {index}", error) for index, error in bad]


def _check_light(row: dict[str, Any], where: str, places: ImagePlaces, date_order: str | None) -> None:
    for name in ("study_id", "patient_id", "images" if "images" in row else "image"):
        if not row[name]:
            raise StudyError(row["study_id"] or where, name, "is missing", "Give it, or take the row out")
    places.check_row(row)
    for name, value in (
        ("acquired", row.get("acquired")),
        ("prior.acquired", (row.get("prior") or {}).get("acquired")),
    ):
        try:
            normalize_time(value, date_order)
        except ValueError as error:
            raise StudyError(row["study_id"], name, str(error), "Write it like 2021-03-04") from None


def _stored_images(column) -> list[dict[str, Any] | None]:
    """`{"bytes": whether there are any, "path": text}` of a column of images."""
    import pyarrow.compute as pc

    given = pc.is_valid(pc.struct_field(column, "bytes")).to_pylist()
    paths = pc.struct_field(column, "path").to_pylist()
    return [
        None if not has_bytes and path is None else {"bytes": b"..." if has_bytes else None, "path": path}
        for has_bytes, path in zip(given, paths, strict=True)
    ]


def _light_studies(batch) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc

    images = batch["images"].combine_chunks()
    lengths = pc.list_value_length(images).to_pylist()
    stored = _stored_images(pc.struct_field(pc.list_flatten(images), "image"))
    prior = batch["prior"].combine_chunks()
    prior_images, prior_times = (
        _stored_images(pc.struct_field(prior, "image")),
        pc.struct_field(prior, "acquired").to_pylist(),
    )
    columns = [batch[name].to_pylist() for name in ("study_id", "patient_id", "acquired")]
    position = 0
    for study, patient, acquired, length, image, time in zip(
        *columns, lengths, prior_images, prior_times, strict=True
    ):
        own = stored[position : position + (length or 0)]
        position += length or 0
        yield {
            "study_id": study,
            "patient_id": patient,
            "acquired": acquired,
            "images": [{"image": entry} for entry in own],
            "prior": {"image": image, "acquired": time},
        }


def _light_examples(batch) -> Iterator[dict[str, Any]]:
    columns = [batch[name].to_pylist() for name in ("study_id", "patient_id")]
    images = [_stored_images(batch[name].combine_chunks()) for name in ("image", "prior_image")]
    for study, patient, image, prior in zip(*columns, *images, strict=True):
        yield {"study_id": study, "patient_id": patient, "image": image, "prior_image": prior}


def normalized(dataset, changes: Changes, date_order: str | None = None):
    """The data set with ids, views and times in one form. Nothing is copied where all have it already, as in converted sets."""
    studies = "images" in dataset.column_names
    ids, views = (
        (["study_id", "patient_id"], [])
        if studies
        else (["study_id", "patient_id"], ["view_position", "prior_view_position"])
    )
    needed = _is_uneven(dataset, ids, views, studies, date_order)
    if not needed:
        return dataset

    def one_form(row: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {
            **{name: normalize_id(row[name], changes) for name in ids},
            **{name: normalize_view(row[name], changes) for name in views},
        }
        if studies:
            result["images"] = [
                {
                    **entry,
                    "view": normalize_view(entry["view"], changes),
                    "image_id": normalize_id(entry["image_id"], changes),
                }
                for entry in row["images"]
            ]
            result["acquired"] = normalize_time(row["acquired"], date_order)
            prior = row["prior"]
            if prior is not None:
                view, study, time = (
                    normalize_view(prior["view"], changes),
                    normalize_id(prior["study_id"], changes),
                    prior["acquired"],
                )
                result["prior"] = {
                    **prior,
                    "view": view,
                    "study_id": study,
                    "acquired": normalize_time(time, date_order),
                }
        return result

    return dataset.map(one_form, features=dataset.features, desc="ids and views", keep_in_memory=False)


def _is_uneven(dataset, ids: list[str], views: list[str], studies: bool, date_order: str | None) -> bool:
    import pyarrow.compute as pc

    light = dataset.select_columns([*ids, *views, *(("images", "prior", "acquired") if studies else ())]).with_format(
        "arrow"
    )
    for start in range(0, len(light), 2000):
        batch = light[start : min(start + 2000, len(light))].combine_chunks()
        columns: list[tuple[Any, Callable[[Any], str | None]]] = [(batch[name], normalize_id) for name in ids]
        columns += [(batch[name], normalize_view) for name in views]
        if studies:
            images, prior = pc.list_flatten(batch["images"].combine_chunks()), batch["prior"].combine_chunks()
            columns += [(pc.struct_field(part, "view"), normalize_view) for part in (images, prior)]
            columns += [
                (pc.struct_field(images, "image_id"), normalize_id),
                (pc.struct_field(prior, "study_id"), normalize_id),
            ]
            times = (batch["acquired"], pc.struct_field(prior, "acquired"))
            columns += [(column, lambda value: normalize_time(value, date_order)) for column in times]
        for column, function in columns:
            if any(function(value) != value for value in pc.unique(column).to_pylist() if value is not None):
                return True
    return False


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Split -> its Parquet files, in `folder` or its `data` folder."""
    for place in (folder, folder / "data"):
        found: dict[str, list[Path]] = {}
        for path in sorted((*place.glob("*.parquet"), *place.glob("*.arrow"))):
            match = _SHARD.match(path.name)
            if match:
                found.setdefault(match["split"], []).append(path)
        if found:
            return found
    return {}
