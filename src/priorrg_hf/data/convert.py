"""Writes any source to shards in the schema. Behind `priorrg data convert`; an interrupted run goes on where it stopped."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .file_writing import (
    OutputError,
    explain_full_disk,
    read_json_object,
    replace_file,
    temporary_beside,
    write_text_whole,
)
from .image_files import ImagePlaces, image_file_content, scheme_of
from .loading import load_studies
from .locking import exclusive
from .progress import progress_bar
from .readers import ReaderOptions, open_reader
from .schema import SCHEMA_VERSION, StudyError, example_features, study_features


if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict


STATE_FILE = "conversion.json"
FORMATS = ("parquet", "arrow")
_ROWS_AT_ONCE = 100
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.(parquet|arrow)")


@dataclass
class Conversion:
    """What `convert_studies` wrote: studies by split, shards written now and found from before, and what was left out."""

    out: Path
    studies: dict[str, int]
    written: int
    reused: int
    problems: list[tuple[str, StudyError]]


def convert_studies(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    to: str = "parquet",
    embed_images: bool = False,
    shard_size: int = 5000,
    overwrite: bool = False,
    strict: bool = False,
    progress: bool = False,
    **options: Any,
) -> Conversion:
    """Reads `source` and writes `out/{split}-{i}-of-{n}.parquet`, which `load_studies`, `datasets.load_dataset` and the Hub read.

    Each shard appears whole or not at all. Run again after an interruption, with the same arguments, only missing shards are
    written; the reading itself is cached as well.

    Args:
        source, options: as in `load_studies`.
        out (path): folder to write to.
        to (`str`, defaults to `"parquet"`): or `"arrow"` (larger, memory-mapped without a copy).
        embed_images (`bool`, defaults to `False`): put the image files into the shards instead of their paths, unchanged. Only regular
            files that decode as a picture or DICOM and lie in the image root (or anywhere, with `allow_outside_image_root`). Mind
            whose images they are before they leave your machine.
        shard_size (`int`, defaults to 5000): studies a shard.
        overwrite (`bool`, defaults to `False`): replace another conversion in `out`, and write a finished one anew (an interrupted
            one goes on).
        strict (`bool`, defaults to `False`): stop at the first study that can't be used.

    Returns:
        `Conversion`.

    Raises:
        `OutputError` (a `FileExistsError`): `out` holds something else and `overwrite` isn't given, holds shards that no conversion wrote,
            or is where the studies are read from. `LockedError`, `DiskFullError` (both `OSError`). Otherwise as `load_studies`.
    """
    if to not in FORMATS:
        raise ValueError(f"to is one of {', '.join(FORMATS)}, got {to!r}")
    if shard_size < 1:
        raise ValueError(f"shard_size is at least 1, got {shard_size}")
    out = Path(out)
    _check_place(source, out)
    problems: list[tuple[str, StudyError]] = []
    studies = load_studies(source, strict=strict, problems=problems, progress=progress, **options)
    key = _key(studies, to, embed_images, shard_size)
    root, allow_outside = _image_root(source, options), bool(options.get("allow_outside_image_root"))
    places = ImagePlaces(root, allow_outside, bool(options.get("allow_urls"))) if embed_images else None
    # Whoever reads the shards on this machine finds the images where this source had them.
    state = _state(key, None if embed_images else os.sep if allow_outside else root)
    with exclusive(out, "priorrg data convert", folder=True):
        _prepare(out, state, overwrite)
        return _write_shards(studies, out, state, problems, to, places, shard_size, strict, progress)


def _check_place(source: str | os.PathLike, out: Path) -> None:
    """Raises `OutputError` where the shards would come to lie in, or in place of, what is read."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"{out} is a link or a file, not a folder; name a folder for the shards")
    place = Path(str(source))
    if not place.exists():  # a Hub id
        return
    folder = (place if place.is_dir() else place.parent).resolve()
    if out.resolve() == folder and (place.is_dir() or place.suffix in (".parquet", ".arrow")):
        raise OutputError(f"{out} is where the studies are read from; name another folder for the shards")


def _write_shards(
    studies: "DatasetDict", out: Path, state: dict[str, Any], problems: list, to: str, places: ImagePlaces | None, shard_size: int,
    strict: bool, progress: bool,
) -> Conversion:  # fmt: skip
    plan = {name: -(-len(part) // shard_size) for name, part in studies.items()}
    result = Conversion(out, dict.fromkeys(studies, 0), 0, 0, problems)
    with progress_bar(total=sum(map(len, studies.values())), description="converting", shown=progress) as bar:
        for name, part in studies.items():
            for number in range(plan[name]):
                rows = range(number * shard_size, min((number + 1) * shard_size, len(part)))
                path = out / f"{name}-{number:05d}-of-{plan[name]:05d}.{to}"
                if path.exists():
                    result.reused += 1
                    bar.update(len(rows))
                else:
                    problems.extend(_write_shard(part, rows, path, to, places, strict, bar.update))
                    result.written += 1
                result.studies[name] += _rows_in(path)
    _write_json(out / STATE_FILE, {**state, "complete": True, "studies": result.studies})
    return result


def _key(studies, to: str, embed_images: bool, shard_size: int) -> str:
    """Changes with the content of the studies, images in the source included, and the form of the output.

    Of image files that are to be embedded size, times and place on the disk count: any change of a file changes one of them.
    """
    identity: list[Any] = [to, embed_images, shard_size]
    for name, part in studies.items():
        digest = hashlib.sha256()
        for batch in part.with_format("arrow").iter(2000):
            for field, column in _leaves(batch):
                for value in column:
                    content = value.as_py()
                    if isinstance(content, bytes):
                        digest.update(len(content).to_bytes(8, "big") + content)
                        continue
                    digest.update(json.dumps(content).encode() + b"\n")
                    if embed_images and field == "path" and content is not None:
                        digest.update(json.dumps(_stamp(content)).encode())
        identity.append([name, len(part), digest.hexdigest()])
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _leaves(table: "pa.Table") -> Iterator[tuple[str, "pa.ChunkedArray"]]:
    """All columns, the fields of structs and the elements of lists with their names, and the lengths of lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(zip(table.column_names, table.columns, strict=True))
    while columns:
        name, column = columns.pop()
        if pa.types.is_struct(column.type):
            fields = [column.type.field(index).name for index in range(column.type.num_fields)]
            columns += [(field, pc.struct_field(column, index)) for index, field in enumerate(fields)]
        elif pa.types.is_list(column.type):
            columns += [("", pc.list_value_length(column)), (name, pc.list_flatten(column))]
        else:
            yield name, column


def _image_root(source: str | os.PathLike, options: dict[str, Any]) -> str | None:
    """Folder of the source's images, as `load_studies` takes it; of shards without one of their own, the one they name."""
    given = options.get("image_root")
    reader, _ = open_reader(source, options.get("format"), ReaderOptions(image_root=given and os.path.abspath(given)))
    return None if reader.image_root is None else os.path.realpath(reader.image_root)


def _state(key: str, image_root: str | None) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "key": key, "image_root": image_root, "complete": False}


def _prepare(out: Path, new_state: dict[str, Any], overwrite: bool) -> None:
    key = new_state["key"]
    shards = [path for path in out.iterdir() if path.suffix in (".parquet", ".arrow")]
    try:
        state = read_json_object(out / STATE_FILE)
    except FileNotFoundError:
        state = {}
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{error}; it is no record of a conversion. Choose another folder, or remove the file"
        ) from None
    ours = {"schema_version", "key"} <= set(state)
    foreign = [path for path in shards if not (ours and _SHARD.fullmatch(path.name))]
    if (state and not ours) or foreign:
        # Not even with `overwrite`: what no conversion wrote is never deleted.
        what = foreign[0].name if foreign else STATE_FILE
        raise OutputError(f"{out / what} was not written by a conversion; choose another folder, or remove the file")
    for leftover in out.glob(".*.tmp"):  # under our lock: of a run that was killed
        if _SHARD.match(leftover.name[1:]):
            leftover.unlink()
    same, complete = state.get("key") == key, bool(state.get("complete"))
    if shards and (not same or (complete and overwrite)):
        if not overwrite:
            raise OutputError(
                f"{out} holds {len(shards)} shards of another conversion (or the source has changed since). "
                "Choose another folder, or overwrite it (overwrite=True, --overwrite)"
            )
        for path in shards:
            path.unlink()
        complete = False
    if not same or not complete:
        _write_json(out / STATE_FILE, new_state)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text_whole(path, json.dumps(content, indent=1) + "\n")


def _write_shard(
    part: "Dataset",
    rows: range,
    path: Path,
    to: str,
    places: ImagePlaces | None,
    strict: bool,
    advance: Callable[[int], Any],
) -> list[tuple[str, StudyError]]:
    import pyarrow as pa

    features = study_features() if "images" in part.column_names else example_features()
    schema, lost = features.arrow_schema, []
    temporary = temporary_beside(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            explain_full_disk(path, "The shards written before it are complete, and will be taken over.")
        )
        stack.callback(temporary.unlink, missing_ok=True)
        sink = stack.enter_context(_writer(temporary, schema, to))
        for start in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, rows.stop)
            if places is not None:
                kept = []
                for row in part.select(range(start, stop)):
                    try:
                        kept.append(_embedded(row, places))
                    except StudyError as error:
                        if strict:
                            raise
                        lost.append((f"study {error.study}", error))
                table = pa.Table.from_pylist(kept, schema=schema)
            else:
                table = part.with_format("arrow")[start:stop].select(schema.names).cast(schema)
            sink.write_table(table)
            advance(stop - start)
        sink.close()
        replace_file(temporary, path)
    return lost


def _writer(path: Path, schema, to: str):
    import pyarrow as pa
    import pyarrow.parquet as pq

    return (
        pq.ParquetWriter(path, schema, compression="zstd") if to == "parquet" else pa.ipc.new_stream(str(path), schema)
    )


def _rows_in(path: Path) -> int:
    import pyarrow.parquet as pq
    from datasets import Dataset

    return pq.ParquetFile(path).metadata.num_rows if path.suffix == ".parquet" else len(Dataset.from_file(str(path)))


def _embedded(row: dict[str, Any], places: ImagePlaces) -> dict[str, Any]:
    """The row with every image's file in place of its path. Raises `StudyError` for a file that can't be read."""
    study = row["study_id"]
    if "images" in row:
        images = [
            {**entry, "image": _file_content(entry["image"], study, "images", places)} for entry in row["images"]
        ]
        prior = row["prior"]
        if prior is not None:
            prior = {**prior, "image": _file_content(prior["image"], study, "prior.image", places)}
        return {**row, "images": images, "prior": prior}
    names = ("image", "prior_image")
    return {**row, **{name: row[name] and _file_content(row[name], study, name, places) for name in names}}


def _file_content(image: dict[str, Any] | None, study: str, name: str, places: ImagePlaces) -> dict[str, Any] | None:
    if image is None or image["bytes"] is not None or image["path"] is None:
        return image
    path, remedy = image["path"], "Run `priorrg data check` on the source"
    problem = places.problem(path)  # once more: links may have changed since the source was read
    if problem is not None:
        raise StudyError(study, name, *problem)
    try:
        if scheme_of(path) is None:
            return {"bytes": image_file_content(path), "path": None}
        from ..model.image_loading_priorrg import fetch_url, load_image

        content = fetch_url(path)
        load_image(content)
    except (ValueError, OSError, ImportError) as error:
        raise StudyError(study, name, f"the file can't be embedded ({error})", remedy) from None
    return {"bytes": content, "path": None}
