"""Writes any source to shards in the schema. Behind `priorrg data convert`; an interrupted run goes on where it stopped."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .file_writing import write_text_whole
from .loading import load_studies
from .progress import progress_bar
from .schema import SCHEMA_VERSION, StudyError, example_features, study_features


if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset


STATE_FILE = "conversion.json"
FORMATS = ("parquet", "arrow")
_ROWS_AT_ONCE = 100


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
        embed_images (`bool`, defaults to `False`): put the image files into the shards instead of their paths, unchanged and
            undecoded. Mind whose images they are before they leave your machine.
        shard_size (`int`, defaults to 5000): studies a shard.
        overwrite (`bool`, defaults to `False`): replace another conversion in `out`, and write a finished one anew (an interrupted
            one goes on).
        strict (`bool`, defaults to `False`): stop at the first study that can't be used.

    Returns:
        `Conversion`.

    Raises:
        `FileExistsError`: `out` holds something else and `overwrite` isn't given. Otherwise as `load_studies`.
    """
    if to not in FORMATS:
        raise ValueError(f"to is one of {', '.join(FORMATS)}, got {to!r}")
    if shard_size < 1:
        raise ValueError(f"shard_size is at least 1, got {shard_size}")
    problems: list[tuple[str, StudyError]] = []
    studies = load_studies(source, strict=strict, problems=problems, progress=progress, **options)
    out = Path(out)
    plan = {name: -(-len(part) // shard_size) for name, part in studies.items()}
    key = _key(studies, to, embed_images, shard_size)
    _prepare(out, key, overwrite)
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
                    problems.extend(_write_shard(part, rows, path, to, embed_images, strict, bar.update))
                    result.written += 1
                result.studies[name] += _rows_in(path)
    _write_json(out / STATE_FILE, {**_state(key), "complete": True, "studies": result.studies})
    return result


def _key(studies, to: str, embed_images: bool, shard_size: int) -> str:
    """Changes with the content of the studies and the form of the output."""
    identity: list[Any] = [to, embed_images, shard_size]
    for name, part in studies.items():
        digest = hashlib.sha256()
        for batch in part.with_format("arrow").iter(2000):
            for column in _without_image_bytes(batch):
                digest.update(json.dumps(column.to_pylist()).encode())
        identity.append([name, len(part), digest.hexdigest()])
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def _without_image_bytes(table: "pa.Table") -> Iterator["pa.ChunkedArray"]:
    """All columns and struct fields; of embedded images the size stands for the content, which may be gigabytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(table.columns)
    while columns:
        column = columns.pop()
        if pa.types.is_struct(column.type):
            columns += [pc.struct_field(column, index) for index in range(column.type.num_fields)]
        elif pa.types.is_list(column.type):
            columns += [pc.list_value_length(column), pc.list_flatten(column)]
        else:
            yield pc.binary_length(column) if pa.types.is_binary(column.type) else column


def _state(key: str) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "key": key, "complete": False}


def _prepare(out: Path, key: str, overwrite: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob("*.partial"):
        leftover.unlink()
    shards = [path for path in out.iterdir() if path.suffix in (".parquet", ".arrow")]
    try:
        state = json.loads((out / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {}
    same, complete = state.get("key") == key, bool(state.get("complete"))
    if shards and (not same or (complete and overwrite)):
        if not overwrite:
            raise FileExistsError(
                f"{out} holds {len(shards)} shards of another conversion (or the source has changed since). "
                "Choose another folder, or overwrite it (overwrite=True, --overwrite)"
            )
        for path in shards:
            path.unlink()
        complete = False
    if not same or not complete:
        _write_json(out / STATE_FILE, _state(key))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text_whole(path, json.dumps(content, indent=1) + "\n")


def _write_shard(
    part: "Dataset", rows: range, path: Path, to: str, embed_images: bool, strict: bool, advance: Callable[[int], Any]
) -> list[tuple[str, StudyError]]:
    import pyarrow as pa

    features = study_features() if "images" in part.column_names else example_features()
    schema, lost = features.arrow_schema, []
    partial = path.with_name(path.name + ".partial")
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_writer(partial, schema, to))
        for start in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, rows.stop)
            if embed_images:
                kept = []
                for row in part.select(range(start, stop)):
                    try:
                        kept.append(_embedded(row))
                    except StudyError as error:
                        if strict:
                            raise
                        lost.append((f"study {error.study}", error))
                table = pa.Table.from_pylist(kept, schema=schema)
            else:
                table = part.with_format("arrow")[start:stop].select(schema.names).cast(schema)
            sink.write_table(table)
            advance(stop - start)
    os.replace(partial, path)
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


def _embedded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with every image's file in place of its path. Raises `StudyError` for a file that can't be read."""
    study = row["study_id"]
    if "images" in row:
        images = [{**entry, "image": _file_content(entry["image"], study, "images")} for entry in row["images"]]
        prior = row["prior"]
        if prior is not None:
            prior = {**prior, "image": _file_content(prior["image"], study, "prior.image")}
        return {**row, "images": images, "prior": prior}
    names = ("image", "prior_image")
    return {**row, **{name: row[name] and _file_content(row[name], study, name) for name in names}}


def _file_content(image: dict[str, Any] | None, study: str, name: str) -> dict[str, Any] | None:
    if image is None or image["bytes"] is not None or image["path"] is None:
        return image
    try:
        with open(image["path"], "rb") as file:
            return {"bytes": file.read(), "path": None}
    except OSError as error:
        raise StudyError(
            study, name, f"the file can't be read ({error})", "Run `priorrg data check` on the source"
        ) from None
