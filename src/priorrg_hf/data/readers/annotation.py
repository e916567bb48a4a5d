"""The published PriorRG annotation files of MIMIC-CXR and MIMIC-ABN, with the folder of their images.

The file is one JSON object `{"train": [...], "val": [...], "test": [...]}` with an item for each image. It is read as a stream, an item
at a time, because with its retrieval fields it takes gigabytes. Items of a study that follow each other and agree in everything
but the image become one study; their example ids are `{subject_id}_{study_id}_{id}`, as published.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..schema import StudyError, normalize_split
from .base import Reader, Row


_CHUNK = 1 << 20
_NEEDED = ("id", "subject_id", "study_id", "findings", "anchor_scan")
_OPTIONAL = ("indication_pure", "history_pure", "prior_study")


class AnnotationReader(Reader):
    name = "annotation"
    reads_options = frozenset({"require_factual_serialization"})
    expects = "an annotation .json of split -> items with id, subject_id, study_id, findings, anchor_scan, prior_study"

    def __init__(self, source, options):
        super().__init__(source, options)
        if self.source.is_dir():
            self.source = _annotation_in(self.source) or self.source / "annotation.json"

    @classmethod
    def detect(cls, source: Path) -> str | None:
        if source.is_dir():
            found = _annotation_in(source)
            return f"the folder holds {found.name}" if found else None
        return "the name ends in .json" if source.is_file() and source.suffix == ".json" else None

    def rows(self) -> Iterator[Row]:
        group: tuple[str, dict[str, Any]] | None = None
        left_out = 0
        absent: Counter[str] = Counter()
        for split, number, item in iter_items(self.source):
            where = f"{self.source.name} {split}[{number}]"
            absent.update(name for name in _OPTIONAL if name not in item)
            try:
                self._check_keys(item)
                if self.options.require_factual_serialization and not item["findings_factual_serialization"]:
                    left_out += 1
                    continue
                study = self._study(split, item)
            except StudyError as error:
                yield where, error
                continue
            if group is not None and _without_images(group[1]) == _without_images(study):
                group[1]["images"] += study["images"]
                continue
            if group is not None:
                yield group
            group = (where, study)
        if group is not None:
            yield group
        for name, count in absent.items():
            self.notes.append(f"{count:,} items have no key {name!r}: it is taken as empty")
        if left_out:
            self.notes.append(
                f"{left_out:,} items with an empty findings_factual_serialization are left out (--all-items keeps them)"
            )

    def _check_keys(self, item: dict[str, Any]) -> None:
        """A key that isn't there is another fault than an empty value: the file is of another kind, or damaged."""
        needed = [
            *_NEEDED,
            *(["findings_factual_serialization"] if self.options.require_factual_serialization else []),
        ]
        missing = [name for name in needed if name not in item]
        if missing:
            study, keys = str(item.get("study_id", item.get("id", "without id"))), ", ".join(map(str, item)) or "none"
            remedy = "Name the format if it is another one (r2gen, table)"
            if missing == ["findings_factual_serialization"]:
                remedy = "Read all items (require_factual_serialization=False, --all-items)"
            raise StudyError(study, missing[0], f"the key is missing; the item has {keys}", remedy)

    def _study(self, split: str, item: dict[str, Any]) -> dict[str, Any]:
        study_id = str(item.get("study_id", "without id"))
        scan = item.get("anchor_scan")
        image = self._image(scan, study_id, "anchor_scan")
        prior = item.get("prior_study")
        prior = prior.get("latest_study") if isinstance(prior, dict) else prior
        prior = self._image(prior, study_id, "prior_study.latest_study") if prior else None
        return {
            "study_id": item.get("study_id"),
            "patient_id": item.get("subject_id"),
            "images": [{**image, "image_id": item.get("id")}],
            "indication": item.get("indication_pure"),
            "history": item.get("history_pure"),
            "findings": item.get("findings"),
            "prior": prior,
            "split": normalize_split(split),
        }

    def _image(self, scan: Any, study: str, name: str) -> dict[str, Any]:
        """`{"image_path": p or [p], "view_position": v or [v]}`; of lists the first entry counts."""
        if not isinstance(scan, dict) or not scan.get("image_path"):
            raise StudyError(
                study, name, "has no image_path", 'Expected {"image_path": [...], "view_position": [...]}'
            )
        path, view = scan["image_path"], scan.get("view_position")
        path = path[0] if isinstance(path, list) else path
        view = (view[0] if view else None) if isinstance(view, list) else view
        return {"image": self.image_path(path), "view": view}


def _without_images(study: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in study.items() if key != "images"}


def _annotation_in(folder: Path) -> Path | None:
    found = sorted(folder.glob("*annotation*.json"))
    return found[0] if len(found) == 1 else None


def iter_items(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(split, position, item) of an object of arrays, holding one item at a time.

    Entries of the object that are no arrays are passed over. Raises `ValueError` for anything else, and where no array is found.
    """
    decoder = json.JSONDecoder()
    with open(path, encoding="utf-8-sig") as file:
        stream = _Buffer(file, path)
        stream.expect("{")
        found = False
        while stream.peek() != "}":
            split = stream.value(decoder)
            stream.expect(":")
            if stream.peek() != "[":
                stream.value(decoder)
                stream.separator("}")
                continue
            stream.expect("[")
            found, number = True, 0
            while stream.peek() != "]":
                item = stream.value(decoder)
                if not isinstance(item, dict) or not isinstance(split, str):
                    raise ValueError(
                        f"{path}: expected split -> list of items, found {type(item).__name__} in {split!r}"
                    )
                yield split, number, item
                number += 1
                stream.separator("]")
            stream.expect("]")
            stream.separator("}")
        if not found:
            raise ValueError(f"{path} isn't an annotation file: it has no list of items")


class _Buffer:
    """A window of a text file that grows only until the next JSON value is complete."""

    def __init__(self, file, path: Path):
        self.file, self.path, self.text, self.position, self.ended = file, path, "", 0, False

    def _more(self, size: int = _CHUNK) -> bool:
        chunk = self.file.read(size)
        self.text, self.position = self.text[self.position :] + chunk, 0
        self.ended = not chunk
        return bool(chunk)

    def peek(self) -> str:
        while True:
            while self.position < len(self.text) and self.text[self.position] in " \t\r\n":
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._more():
                raise ValueError(f"{self.path} isn't a complete annotation file: it ends early")

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"{self.path} isn't an annotation file: expected {character!r}, found {self.peek()!r}")
        self.position += 1

    def separator(self, closing: str) -> None:
        if self.peek() != closing:
            self.expect(",")

    def value(self, decoder: json.JSONDecoder) -> Any:
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.position)
            except ValueError as error:
                # An error in the middle of the text may only mean that the value goes on behind it.
                if not self._more(max(_CHUNK, len(self.text))):
                    raise ValueError(f"{self.path} isn't valid JSON: {error}") from None
                continue
            self.position = end
            return value
