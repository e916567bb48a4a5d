"""R2Gen's `annotation.json`, the commonest file of the field: `{split: [{id, report, image_path, split}, ...]}`.

Two variants are read. That of IU X-ray has an item for each report, with a list of its images; the set has no patients, so each report
counts as one of its own. That of MIMIC-CXR has an item for each image, with `subject_id` and `study_id` beside the same keys: items of
a study that follow each other become one study. `report` holds the findings. There are no views, dates, contexts or priors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..schema import StudyError, normalize_split
from ..values import is_placeholder, normalize_id
from .annotation import iter_items
from .base import Reader, Row


class R2GenReader(Reader):
    name = "r2gen"
    expects = (
        "R2Gen's annotation.json of split -> items with id, report, image_path (MIMIC-CXR: also subject_id, study_id)"
    )

    def __init__(self, source, options):
        super().__init__(source, options)
        if self.source.is_dir():
            self.source = self.source / "annotation.json"

    @classmethod
    def detect(cls, source: Path) -> str | None:
        path = source / "annotation.json" if source.is_dir() else source
        if path.suffix != ".json" or not path.is_file():
            return None
        try:
            _, _, item = next(iter_items(path))
        except (ValueError, OSError, StopIteration):
            return None
        return "its items have report and image_path" if {"report", "image_path"} <= set(item) else None

    @property
    def default_image_root(self) -> Path:
        images = self.source.parent / "images"
        return images if images.is_dir() else self.source.parent

    def rows(self) -> Iterator[Row]:
        group: tuple[str, dict[str, Any]] | None = None
        for split, number, item in iter_items(self.source):
            where = f"{self.source.name} {split}[{number}]"
            try:
                study = self._study(split, item)
            except StudyError as error:
                yield where, error
                continue
            if group is not None and "study_id" in item and _same_but_images(group[1], study):
                group[1]["images"] += study["images"]
                continue
            if group is not None:
                yield group
            group = (where, study)
        if group is not None:
            yield group

    def _study(self, split: str, item: dict[str, Any]) -> dict[str, Any]:
        name = str(item.get("study_id", item.get("id", "without id")))
        of_patients = "subject_id" in item or "study_id" in item
        for key in ("id", "report", "image_path", *(("subject_id", "study_id") if of_patients else ())):
            if key not in item:
                problem = f"the key is missing; the item has {', '.join(map(str, item)) or 'none'}"
                raise StudyError(name, key, problem, "Repair the item, or name the format if it is another one")
        own_split = normalize_split(item.get("split"))
        if own_split is not None and own_split != normalize_split(split):
            raise StudyError(
                name, "split", f"the item stands in {split!r} and says {item['split']!r}", "Correct one of them"
            )
        paths = item["image_path"]
        paths = [paths] if isinstance(paths, str) else paths
        if (
            not isinstance(paths, list)
            or not all(isinstance(path, str) and path.strip() for path in paths)
            or not paths
        ):
            raise StudyError(
                name, "image_path", "is no path and no list of paths", 'Write it like ["CXR1/0.png", "CXR1/1.png"]'
            )
        findings = item["report"]
        if isinstance(findings, str) and findings.strip() and is_placeholder(findings):
            self.changes.note("placeholder", f"report: {findings.strip()}", "empty")
            findings = None
        image_id = normalize_id(item["id"]) if of_patients else None
        images = [
            {"image": self.image_path(path), "image_id": image_id if len(paths) == 1 else None} for path in paths
        ]
        return {
            "study_id": item["study_id"] if of_patients else item["id"],
            "patient_id": item["subject_id"] if of_patients else item["id"],
            "images": images,
            "findings": findings,
            "split": split,
        }


def _same_but_images(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in one if key != "images")
