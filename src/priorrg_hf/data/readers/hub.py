"""Data sets that have the schema already: from the Hub, from `save_to_disk`, or the Parquet folders of `priorrg data convert`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..schema import EXAMPLE_FIELDS, StudyError, study_features
from .base import Reader, Row, check_columns, check_fields


_SHARD = re.compile(r"^(?P<split>[\w.]+)-\d{5}(-of-\d{5})?\.(parquet|arrow)$")


class HubReader(Reader):
    name = "hub"
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
                row = row if "images" in row else _study_of_example(row)
                yield f"{split} row {index}", {**row, "split": row.get("split") or split}


def _study_of_example(row: dict[str, Any]) -> dict[str, Any]:
    prior = {"image": row["prior_image"], "view": row["prior_view_position"]} if row["prior_image"] else None
    return {
        "images": [{"image": row["image"], "view": row["view_position"], "image_id": row["example_id"]}],
        "prior": prior,
        **{name: row[name] for name in ("study_id", "patient_id", "indication", "history", "findings")},
    }


def usable_studies(dataset, split: str) -> tuple[Any, list[tuple[str, StudyError]]]:
    """The rows that have ids and an image, and `(place, StudyError)` of those that haven't. Reads only these columns."""
    import pyarrow.compute as pc

    is_studies = "images" in dataset.column_names
    names = ["study_id", "patient_id", "images" if is_studies else "image"]
    light, bad = dataset.select_columns(names).with_format("arrow"), []
    for start in range(0, len(light), 2000):
        batch = light[start : min(start + 2000, len(light))]
        filled = {name: pc.is_valid(batch[name]).to_pylist() for name in names}
        if is_studies:
            filled["images"] = [bool(length) for length in pc.list_value_length(batch["images"]).to_pylist()]
        for offset, values in enumerate(zip(*filled.values(), strict=True)):
            missing = [name for name, value in zip(names, values, strict=True) if not value]
            if missing:
                study = batch["study_id"][offset].as_py() or f"{split} row {start + offset}"
                remedy = "Give it, or take the row out"
                bad.append((start + offset, StudyError(study, missing[0], "is missing", remedy)))
    if not bad:
        return dataset, []
    left_out = {index for index, _ in bad}
    dataset = dataset.select([index for index in range(len(dataset)) if index not in left_out])
    return dataset, [(f"{split} row {index}", error) for index, error in bad]


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
