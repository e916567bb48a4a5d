"""IU X-ray (Open-i): `indiana_reports.csv`, `indiana_projections.csv` and the folder of PNG images.

The set has neither patients nor dates: each report counts as a patient of its own, so there are no priors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..schema import StudyError, view_family
from ..values import is_placeholder, normalize_id
from .base import Reader, Row, read_csv


_FOLDERS = ("images/images_normalized", "images_normalized", "images", "")


class IUXrayReader(Reader):
    name = "iu-xray"
    expects = "a folder with indiana_reports.csv and indiana_projections.csv"

    @classmethod
    def detect(cls, source: Path) -> str | None:
        folder = source if source.is_dir() else source.parent
        if source.is_file() and source.name != "indiana_reports.csv":
            return None
        found = (folder / "indiana_reports.csv").is_file() and (folder / "indiana_projections.csv").is_file()
        return "the folder holds indiana_reports.csv and indiana_projections.csv" if found else None

    def __init__(self, source, options):
        super().__init__(source, options)
        if self.source.is_file():
            self.source = self.source.parent

    def files(self) -> list[Path]:
        return [self.source / "indiana_reports.csv", self.source / "indiana_projections.csv"]

    @property
    def default_image_root(self) -> Path:
        return next(self.source / name for name in _FOLDERS if (self.source / name).is_dir())

    def rows(self) -> Iterator[Row]:
        images: dict[str, list[dict[str, Any]]] = {}
        for _, record in read_csv(self.source / "indiana_projections.csv", ("uid", "filename")):
            entry = {"image": self.image_path(record["filename"]), "view": record.get("projection")}
            images.setdefault(normalize_id(record["uid"]) or "", []).append(entry)
        for line, record in read_csv(self.source / "indiana_reports.csv", ("uid", "findings")):
            where, uid = f"indiana_reports.csv line {line}", normalize_id(record["uid"], self.changes) or ""
            if uid not in images:
                yield where, StudyError(uid, "images", "no projection is listed", "Add it to indiana_projections.csv")
                continue
            images_of_study = sorted(images[uid], key=lambda entry: view_family(entry["view"]) != "frontal")
            yield where, self._study(uid, record, images_of_study)

    def _study(self, uid: str, record: dict[str, str], images: list[dict[str, Any]]) -> dict[str, Any]:
        problems = [name.strip() for name in (record.get("Problems") or "").split(";") if name.strip()]
        texts = {name: record.get(name) for name in ("indication", "comparison", "findings", "impression")}
        for name in ("findings", "impression"):
            text = texts[name]
            if text and is_placeholder(text):  # "XXXX." is what anonymisation left of a report
                self.changes.note("placeholder", f"{name}: {text.strip()}", "empty")
                texts[name] = None
        return {
            "study_id": uid,
            "patient_id": uid,
            "images": images,
            **texts,
            "labels": dict.fromkeys(problems, 1.0) or None,
        }
