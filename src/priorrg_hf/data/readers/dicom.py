"""A folder of DICOM files, nested in any way: studies, times, views and sides from the tags.

Only headers are read. They go into a SQLite index in the cache folder, so that a second run, or one after an interruption, reads only
what is new, and memory stays flat however many files there are.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from ...model.dicom_priorrg import DicomError, is_dicom, read_dicom_metadata
from ..progress import progress_bar
from ..schema import StudyError
from .base import Reader, Row


# another number where the content of the index changes its meaning
_INDEX_VERSION = 3
_SKIPPED = {"DICOMDIR", ".DS_Store"}
_COLUMNS = (
    "path, size, modified, patient, study, acquired, view, laterality, image, modality, indication, history, error"
)


class DicomReader(Reader):
    name = "dicom"
    expects = "a DICOM file or a folder with DICOM files in any nesting"

    @classmethod
    def detect(cls, source: Path) -> str | None:
        if source.is_file():
            return "the file is DICOM" if is_dicom(source) else None
        if source.is_dir():
            for number, path in enumerate(_walk(source)):
                if is_dicom(path):
                    return f"{path.relative_to(source)} is DICOM"
                if number >= 1000:
                    break
        return None

    def files(self) -> list[Path]:
        return []  # the index knows each file's size and time

    def rows(self) -> Iterator[Row]:
        database = self._open_index()
        try:
            with self.lock:
                self._update(database)
            yield from self._studies(database)
        finally:
            database.close()

    def _open_index(self) -> sqlite3.Connection:
        folder = Path(self.options.cache_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(f"{_INDEX_VERSION}:{os.path.abspath(self.source)}".encode()).hexdigest()[:16]
        self.lock = FileLock(folder / f"dicom-index-{key}.lock")
        database = sqlite3.connect(folder / f"dicom-index-{key}.sqlite", timeout=60)
        database.execute("PRAGMA journal_mode=WAL")  # one process may bring it up to date while another reads it
        database.execute(f"CREATE TABLE IF NOT EXISTS file ({_COLUMNS}, seen INTEGER, PRIMARY KEY (path))")
        database.execute("CREATE INDEX IF NOT EXISTS file_order ON file (patient, study, path)")
        return database

    def _update(self, database: sqlite3.Connection) -> None:
        run = 1 + (database.execute("SELECT MAX(seen) FROM file").fetchone()[0] or 0)
        paths = _walk(self.source) if self.source.is_dir() else iter([self.source])
        with progress_bar(paths, description="DICOM headers", unit="files", shown=self.options.progress) as bar:
            for number, path in enumerate(bar):
                status = path.stat()
                key = (str(path), status.st_size, status.st_mtime_ns)
                known = database.execute(
                    "UPDATE file SET seen = ? WHERE path = ? AND size = ? AND modified = ?", (run, *key)
                )
                if known.rowcount == 0 and is_dicom(path):
                    database.execute(
                        f"INSERT OR REPLACE INTO file VALUES ({', '.join('?' * 14)})", (*key, *_header(path), run)
                    )
                if number % 500 == 499:
                    database.commit()  # what is read stays read
        database.execute("DELETE FROM file WHERE seen != ?", (run,))
        database.commit()

    def _studies(self, database: sqlite3.Connection) -> Iterator[Row]:
        root = self.source if self.source.is_dir() else self.source.parent
        query = f"SELECT {_COLUMNS} FROM file"
        for row in database.execute(f"{query} WHERE error IS NOT NULL ORDER BY path"):
            where = os.path.relpath(row[0], root)
            yield where, StudyError(where, "image", row[-1], "Repair or remove the file")
        group: list[tuple] = []
        for row in database.execute(f"{query} WHERE error IS NULL ORDER BY patient, study, path"):
            if group and (row[3], row[4]) != (group[0][3], group[0][4]):
                yield _study(group, root)
                group = []
            group.append(row)
        if group:
            yield _study(group, root)


def _walk(folder: Path) -> Iterator[Path]:
    """All files, in an order that doesn't depend on the file system."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if name not in _SKIPPED and path.is_file():
                yield path


def _header(path: Path) -> tuple:
    try:
        tags = read_dicom_metadata(path)
    except (DicomError, OSError) as error:
        return (*[None] * 9, str(error))
    if tags.refusal:
        return (*[None] * 9, tags.refusal)
    missing = next((name for name in ("patient_id", "study_id") if getattr(tags, name) is None), None)
    if missing or tags.rows is None:
        name = {"patient_id": "PatientID", "study_id": "StudyInstanceUID"}.get(missing or "", "Rows (no picture)")
        return (*[None] * 9, f"the tag {name} is missing")
    return (
        tags.patient_id,
        tags.study_id,
        tags.acquired,
        tags.view,
        tags.laterality,
        tags.image_id,
        tags.modality,
        tags.indication,
        tags.history,
        None,
    )


def _study(files: list[tuple], root: Path) -> Row:
    """Files of one study, in order of their paths; the earliest time of the study counts."""
    first = files[0]
    times = sorted(row[5] for row in files if row[5])
    return os.path.relpath(first[0], root), {
        "study_id": first[4],
        "patient_id": first[3],
        "images": [
            {"image": os.path.abspath(row[0]), "view": row[6], "laterality": row[7], "image_id": row[8]}
            for row in files
        ],
        "acquired": times[0] if times else None,
        "indication": next((row[10] for row in files if row[10]), None),
        "history": next((row[11] for row in files if row[11]), None),
    }
