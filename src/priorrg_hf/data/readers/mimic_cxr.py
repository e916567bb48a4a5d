"""Raw MIMIC-CXR-JPG: the metadata, split and CheXpert tables and the report texts, without anybody's derived JSON.

Expected below the source folder, plain or gzipped:

- `mimic-cxr-2.0.0-metadata.csv` (needed), `mimic-cxr-2.0.0-split.csv`, `mimic-cxr-2.0.0-chexpert.csv`;
- images at `files/p10/p10000032/s50414267/<dicom_id>.jpg` (or below `image_root`);
- reports at `files/p10/p10000032/s50414267.txt` in the source folder, in `reports`, or inside the zip that `reports` names
  (`mimic-cxr-reports.zip` as published; it is found by itself beside the tables).

The tables go through a temporary SQLite file, so the memory stays flat and the rows may stand in any order.
"""

import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...model.dicom_priorrg import dicom_time
from ..schema import StudyError, normalize_split
from ..values import normalize_id
from .base import Reader, Row, read_csv
from .report_sections import report_sections


class MimicCxrReader(Reader):
    name = "mimic-cxr"
    reads_options = frozenset({"reports"})
    expects = (
        "a folder with mimic-cxr-2.0.0-metadata.csv(.gz), -split.csv(.gz), -chexpert.csv(.gz) and the report texts"
    )

    @classmethod
    def detect(cls, source: Path) -> str | None:
        found = _table(source if source.is_dir() else source.parent, "metadata")
        if found is None or (source.is_file() and source != found):
            return None
        return f"the folder holds {found.name}"

    def __init__(self, source, options):
        super().__init__(source, options)
        if self.source.is_file():
            self.source = self.source.parent
        self.root = self.source if (self.source / "files").is_dir() else _files_folder(self.source)

    @property
    def default_image_root(self) -> Path:
        return self.root

    def files(self) -> list[Path]:
        tables = [_table(self.source, kind) for kind in ("metadata", "split", "chexpert")]
        reports = self._reports_place()
        return [path for path in (*tables, reports) if path is not None]

    def rows(self) -> Iterator[Row]:
        metadata = _table(self.source, "metadata")
        if metadata is None:
            raise FileNotFoundError(f"{self.source} has no mimic-cxr-*-metadata.csv or .csv.gz")
        with tempfile.TemporaryDirectory(prefix="priorrg-mimic-") as folder:
            database = sqlite3.connect(Path(folder) / "tables.sqlite")
            self.has_split = _table(self.source, "split") is not None
            self.studies = self.without_report = self.without_date = 0
            try:
                self._fill(database, metadata)
                with _Reports(self._reports_place(), self.root) as reports:
                    for images in _studies(database):
                        yield self._study(database, images, reports)
            finally:
                database.close()
        if self.without_report:
            self.notes.append(
                f"{self.without_report:,} of {self.studies:,} studies have no report text (--reports says where they are)"
            )
        if self.without_date:
            self.notes.append(
                f"{self.without_date:,} of {self.studies:,} studies have no date that can be read: they have no prior by time"
            )
        if not self.has_split:
            self.notes.append("there is no split table: patients are placed by a hash of their id")

    def _reports_place(self) -> Path | None:
        if self.options.reports:
            place = Path(self.options.reports)
            if not place.exists():
                raise FileNotFoundError(f"reports: {place} does not exist")
            return place
        archive = self.source / "mimic-cxr-reports.zip"
        return archive if archive.is_file() else None

    def _fill(self, database: sqlite3.Connection, metadata: Path) -> None:
        wanted = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
        database.execute("CREATE TABLE image (dicom TEXT, subject TEXT, study TEXT, view TEXT, date TEXT, time TEXT)")
        # ViewPosition is empty for some images whose coded view is not
        images = self._values(metadata, wanted, {"ViewPosition": "ViewCodeSequence_CodeMeaning"})
        database.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?)", images)
        database.execute("CREATE INDEX image_order ON image (subject, study, dicom)")
        # the split table is by image, and all images of a study have the same
        database.execute("CREATE TABLE split (study TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
        if split := _table(self.source, "split"):
            database.executemany(
                "INSERT OR IGNORE INTO split VALUES (?, ?)", self._values(split, ("study_id", "split"))
            )
        database.execute("CREATE TABLE label (study TEXT, name TEXT, value TEXT)")
        if chexpert := _table(self.source, "chexpert"):
            database.executemany("INSERT INTO label VALUES (?, ?, ?)", self._labels(chexpert))
            database.execute("CREATE INDEX label_study ON label (study)")

    def _study(self, database: sqlite3.Connection, images: list[tuple], reports: "_Reports") -> Row:
        _, subject, study, _, date, time = images[0]
        where = f"subject {subject} study {study}"
        try:
            text = reports.read(subject, study)
        except (OSError, UnicodeDecodeError, zipfile.BadZipFile, KeyError) as error:
            return where, StudyError(
                study, "findings", f"its report can't be read ({error})", "Repair or remove the file"
            )
        split = database.execute("SELECT name FROM split WHERE study = ?", (study,)).fetchone()
        if self.has_split and split is None:
            remedy = (
                "Add it to the split table, or take that table away, so that patients are placed by a hash of their id"
            )
            return where, StudyError(study, "split", "the study isn't in the split table", remedy)
        acquired = dicom_time(date, time)
        self.studies += 1
        self.without_report += text is None
        self.without_date += acquired is None
        labels = database.execute("SELECT name, value FROM label WHERE study = ?", (study,)).fetchall()
        folder = f"files/p{subject[:2]}/p{subject}/s{study}"
        row: dict[str, Any] = {
            "study_id": study,
            "patient_id": subject,
            "images": [
                {
                    "image": self.image_path(f"{folder}/{dicom}.jpg"),
                    "view": view or None,
                    "image_id": dicom,
                }
                for dicom, _, _, view, _, _ in images
            ],
            "acquired": acquired,
            "labels": dict(labels) or None,
            "split": normalize_split(split[0]) if split else None,
        }
        sections = report_sections(text) if text else {}
        row.update(
            {name: sections.get(name) for name in ("indication", "history", "findings", "impression", "comparison")}
        )
        return where, row

    def _values(
        self, path: Path, names: tuple[str, ...], otherwise: dict[str, str] | None = None
    ) -> Iterator[tuple[str, ...]]:
        for line, record in read_csv(path, names):
            for name, other in (otherwise or {}).items():
                record[name] = record[name].strip() or record.get(other, "")
            for name in ("subject_id", "study_id"):
                if name in names:
                    record[name] = normalize_id(record[name], self.changes) or ""
                    if not record[name].isdigit():
                        raise ValueError(f"{path} line {line}: {name} {record[name]!r} is no whole number")
            yield tuple(record[name].strip() for name in names)

    def _labels(self, path: Path) -> Iterator[tuple[str, str, str]]:
        for _, record in read_csv(path, ("study_id",)):
            study = normalize_id(record["study_id"], self.changes) or ""
            for name, value in record.items():
                if name not in ("", "subject_id", "study_id") and value:
                    yield study, name, value


def _table(folder: Path, kind: str) -> Path | None:
    found = [*sorted(folder.glob(f"mimic-cxr-*-{kind}.csv")), *sorted(folder.glob(f"mimic-cxr-*-{kind}.csv.gz"))]
    return found[0] if found else None


def _files_folder(source: Path) -> Path:
    """`source`, or the folder below it that holds `files` (as `physionet.org/files/mimic-cxr-jpg/2.1.0` has)."""
    return next((path.parent for path in sorted(source.glob("*/files")) if path.is_dir()), source)


def _studies(database: sqlite3.Connection) -> Iterator[list[tuple]]:
    """Images of one study after the other; frontal ones first, as the main image is the first frontal one anyway."""
    group: list[tuple] = []
    for row in database.execute("SELECT * FROM image ORDER BY subject, study, dicom"):
        if group and row[1:3] != group[0][1:3]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


class _Reports:
    """Report texts by subject and study, from a folder or from the published zip."""

    def __init__(self, place: Path | None, root: Path):
        self.folder, self.archive = root if place is None else place, None
        if place is not None and place.is_file():
            try:
                self.archive = zipfile.ZipFile(place)
            except zipfile.BadZipFile as error:
                raise ValueError(f"the reports {place} can't be read: {error}") from None
            self.names = {name.rsplit("/", 1)[-1]: name for name in self.archive.namelist() if name.endswith(".txt")}

    def __enter__(self) -> "_Reports":
        return self

    def __exit__(self, *_) -> None:
        if self.archive is not None:
            self.archive.close()

    def read(self, subject: str, study: str) -> str | None:
        if self.archive is not None:
            name = self.names.get(f"s{study}.txt")
            return self.archive.read(name).decode("utf-8", "replace") if name else None
        for below in (
            f"files/p{subject[:2]}/p{subject}/s{study}.txt",
            f"p{subject[:2]}/p{subject}/s{study}.txt",
            f"s{study}.txt",
        ):
            path = self.folder / below
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace")
        return None
