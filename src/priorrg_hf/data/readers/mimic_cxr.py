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

from ..schema import StudyError, normalize_split
from .base import Reader, Row, read_csv
from .report_sections import report_sections


class MimicCxrReader(Reader):
    name = "mimic-cxr"
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
            try:
                self._fill(database, metadata)
                with _Reports(self._reports_place(), self.root) as reports:
                    for images in _studies(database):
                        yield self._study(database, images, reports)
            finally:
                database.close()

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
        database.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?)", _values(metadata, wanted))
        database.execute("CREATE INDEX image_order ON image (subject, study, dicom)")
        # the split table is by image, and all images of a study have the same
        database.execute("CREATE TABLE split (study TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
        if split := _table(self.source, "split"):
            database.executemany("INSERT OR IGNORE INTO split VALUES (?, ?)", _values(split, ("study_id", "split")))
        database.execute("CREATE TABLE label (study TEXT, name TEXT, value TEXT)")
        if chexpert := _table(self.source, "chexpert"):
            database.executemany("INSERT INTO label VALUES (?, ?, ?)", _labels(chexpert))
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
        labels = database.execute("SELECT name, value FROM label WHERE study = ?", (study,)).fetchall()
        folder = f"files/p{subject[:2]}/p{subject}/s{study}"
        row: dict[str, Any] = {
            "study_id": study,
            "patient_id": subject,
            "images": [
                {
                    "image": self.image_path(f"{folder}/{dicom}.jpg", self.root),
                    "view": view or None,
                    "image_id": dicom,
                }
                for dicom, _, _, view, _, _ in images
            ],
            "acquired": _timestamp(date, time),
            "labels": dict(labels) or None,
            "split": normalize_split(split[0]) if split else None,
        }
        sections = report_sections(text) if text else {}
        row.update(
            {name: sections.get(name) for name in ("indication", "history", "findings", "impression", "comparison")}
        )
        return where, row


def _table(folder: Path, kind: str) -> Path | None:
    found = [*sorted(folder.glob(f"mimic-cxr-*-{kind}.csv")), *sorted(folder.glob(f"mimic-cxr-*-{kind}.csv.gz"))]
    return found[0] if found else None


def _files_folder(source: Path) -> Path:
    """`source`, or the folder below it that holds `files` (as `physionet.org/files/mimic-cxr-jpg/2.1.0` has)."""
    return next((path.parent for path in sorted(source.glob("*/files")) if path.is_dir()), source)


def _values(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for _, record in read_csv(path, names):
        yield tuple(record[name].strip() for name in names)


def _labels(path: Path) -> Iterator[tuple[str, str, str]]:
    for _, record in read_csv(path, ("study_id",)):
        for name, value in record.items():
            if name not in ("", "subject_id", "study_id") and value:
                yield record["study_id"].strip(), name, value


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


def _timestamp(date: str, time: str) -> str | None:
    """`21800506` and `213014.531` (leading zeros may be lost: `91513.062` is 09:15:13)."""
    if len(date) != 8 or not date.isdigit():
        return None
    whole, _, fraction = time.partition(".")
    if not whole.isdigit() or len(whole) > 6:
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    whole = whole.zfill(6)
    text = f"{date[:4]}-{date[4:6]}-{date[6:]}T{whole[:2]}:{whole[2:4]}:{whole[4:]}"
    return text + (f".{fraction[:6]:0<6}" if fraction.strip("0").isdigit() else "")


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
