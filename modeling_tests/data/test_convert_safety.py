"""Conversions: one run a folder, nothing of others deleted, changed images never taken for the old ones, a full disk told."""

import errno
import json
import os
import threading

import datasets
import pyarrow.parquet as pq
import pytest
from PIL import Image

from priorrg_hf.data import convert as convert_module
from priorrg_hf.data import convert_studies, load_studies
from priorrg_hf.data.file_writing import DiskFullError, OutputError
from priorrg_hf.data.locking import LockedError, exclusive


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def table(folder, count=6, findings="Made-up text"):
    folder.mkdir(exist_ok=True)
    rows = []
    for n in range(count):
        Image.new("L", (8, 8), 10 * n).save(folder / f"{n}.bmp")
        rows.append(
            {
                "study_id": f"s{n}",
                "patient_id": f"p{n}",
                "image": f"{n}.bmp",
                "view": "PA",
                "findings": f"{findings} {n}.",
            }
        )
    (folder / "studies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "studies.jsonl"


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_is_told_who_is_writing(tmp_path):
    source, failures = table(tmp_path / "t"), []

    def second():
        try:
            convert_studies(source, tmp_path / "out")
        except LockedError as error:
            failures.append(str(error))

    with exclusive(tmp_path / "out", "priorrg data convert", folder=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failures) == 1 and f"(process {os.getpid()} on" in failures[0]
    second()
    assert len(failures) == 1 and not [path for path in (tmp_path / "out").iterdir() if "lock" in path.name]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["mine.parquet", "train.arrow", "conversion.json", "conversion.json="])
def test_files_of_others_are_never_deleted(tmp_path, name, overwrite):
    source, out = table(tmp_path / "t"), tmp_path / "out"
    out.mkdir()
    (out / "mine.partial").write_text("mine")
    (out / name.rstrip("=")).write_text("[]" if name.endswith("=") else "mine")
    before = contents(out)
    with pytest.raises(OutputError, match=name.rstrip("=")):
        convert_studies(source, out, overwrite=overwrite)
    assert contents(out) == before


def test_neighbours_of_our_own_shards_stay(tmp_path):
    out = tmp_path / "out"
    convert_studies(table(tmp_path / "a"), out)
    (out / "notes.txt").write_text("mine")
    (out / "half.partial").write_text("mine")
    convert_studies(table(tmp_path / "b", findings="Another text"), out, overwrite=True)
    assert (out / "notes.txt").read_text() == (out / "half.partial").read_text() == "mine"
    (out / "train-mine.parquet").write_text("mine")
    with pytest.raises(OutputError, match="train-mine.parquet"):
        convert_studies(table(tmp_path / "c", findings="A third"), out, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_source_is_not_where_shards_go(tmp_path, overwrite):
    convert_studies(table(tmp_path / "t"), tmp_path / "shards")
    before = contents(tmp_path / "shards")
    (tmp_path / "way").symlink_to(tmp_path / "shards", target_is_directory=True)
    shard = next((tmp_path / "shards").glob("*.parquet"))
    for source, out in (
        (tmp_path / "shards", tmp_path / "shards"),
        (tmp_path / "shards", tmp_path / "t" / ".." / "shards"),
        (tmp_path / "way", tmp_path / "shards"),
        (tmp_path / "shards", tmp_path / "way"),
        (shard, tmp_path / "shards"),
    ):
        with pytest.raises(OutputError):
            convert_studies(source, out, overwrite=overwrite, to="arrow")
    assert contents(tmp_path / "shards") == before


def test_embedded_images_that_changed_are_not_taken_from_before(tmp_path):
    source, out = table(tmp_path / "t"), tmp_path / "out"
    convert_studies(source, out, embed_images=True, split="train")
    before = os.stat(tmp_path / "t" / "3.bmp")
    Image.new("L", (8, 8), 222).save(tmp_path / "t" / "3.bmp")
    os.utime(tmp_path / "t" / "3.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(FileExistsError, match="source has changed"):
        convert_studies(source, out, embed_images=True, split="train")
    convert_studies(source, out, embed_images=True, split="train", overwrite=True)
    row = next(row for row in load_studies(out)["train"] if row["study_id"] == "s3")
    assert row["images"][0]["image"]["bytes"] == (tmp_path / "t" / "3.bmp").read_bytes()


def test_images_inside_the_source_count_by_content(tmp_path):
    source = table(tmp_path / "t")
    for colour, name in ((1, "a"), (2, "b")):
        Image.new("L", (8, 8), colour).save(tmp_path / "t" / "0.bmp")
        convert_studies(source, tmp_path / name, embed_images=True, split="train")
    convert_studies(tmp_path / "a", tmp_path / "out")
    with pytest.raises(FileExistsError):
        convert_studies(tmp_path / "b", tmp_path / "out")


def test_a_table_changed_under_its_size_and_time_is_read_anew(tmp_path):
    source = table(tmp_path / "t", findings="Text one")
    assert load_studies(source, split="train")["train"]["findings"][0] == "Text one 0."
    before = os.stat(source)
    source.write_text(source.read_text().replace("Text one", "Text two"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(source).st_size == before.st_size
    assert load_studies(source, split="train")["train"]["findings"][0] == "Text two 0."


def test_a_full_disk_keeps_the_shards_before_and_says_how_to_go_on(tmp_path, monkeypatch):
    source, out = table(tmp_path / "t"), tmp_path / "out"
    replace, calls = convert_module.replace_file, []

    def full(temporary, path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(temporary, path)

    monkeypatch.setattr(convert_module, "replace_file", full)
    with pytest.raises(DiskFullError, match=r"00002-of-00006\.parquet.*before it are complete.*run the same command"):
        convert_studies(source, out, shard_size=1, split="train")
    assert len(list(out.glob("*.parquet"))) == 2 and not list(out.glob(".*"))
    monkeypatch.setattr(convert_module, "replace_file", replace)
    result = convert_studies(source, out, shard_size=1, split="train")
    assert (result.reused, result.written) == (2, 4)


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/proc/mounts"), reason="mounts a tiny file system")
def test_a_disk_that_is_really_full(tmp_path):
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("cannot mount here")
    try:
        folder = tmp_path / "t"
        folder.mkdir()
        rows = []
        for n in range(8):
            (folder / f"{n}.bmp").write_bytes(Image.effect_noise((300, 300), 90).tobytes())
            Image.effect_noise((300, 300), 90).save(folder / f"{n}.bmp")
            rows.append(
                {"study_id": f"s{n}", "patient_id": f"p{n}", "image": f"{n}.bmp", "view": "PA", "findings": "Text."}
            )
        (folder / "studies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        out = small / "out"
        with pytest.raises(DiskFullError, match="no space left to write .*small/out/.*Free some space"):
            convert_studies(folder / "studies.jsonl", out, shard_size=1, embed_images=True, split="train")
        kept = sorted(out.glob("*.parquet"))
        assert kept and all(pq.read_table(path).num_rows == 1 for path in kept)
        assert not list(out.glob(".*"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)  # a file of the failed write may be open still


@pytest.mark.parametrize("mask", [0o077, 0o027])
def test_shards_honour_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        convert_studies(table(tmp_path / "t"), tmp_path / "out", embed_images=True)
    finally:
        os.umask(before)
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path
