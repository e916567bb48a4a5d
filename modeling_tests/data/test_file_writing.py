"""Files whole or not at all, with the permissions they had, never in place of what is not ours; a full disk is told."""

import errno
import json
import os
import resource
import signal
import stat

import pytest

from priorrg_hf.data.file_writing import (
    MARKER_NAME,
    DiskFullError,
    OutputError,
    check_output_file,
    claim_folder,
    explain_full_disk,
    json_file_with,
    read_json_object,
    replace_file,
    write_bytes_whole,
    write_output,
    write_text_whole,
)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture()
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644), (0o002, 0o664)])
def test_new_files_and_folders_honour_the_umask(tmp_path, umask, mask, expected):
    umask(mask)
    write_text_whole(tmp_path / "new" / "a.txt", "a")
    assert mode(tmp_path / "new" / "a.txt") == expected
    assert mode(tmp_path / "new") == 0o777 & ~mask
    narrow = tmp_path / "narrow"
    narrow.touch(0o600)
    replace_file(narrow, tmp_path / "b.bin")
    assert mode(tmp_path / "b.bin") == expected


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o444, 0o666])
def test_an_existing_file_keeps_its_mode(tmp_path, umask, kept):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(kept)
    write_text_whole(path, "new")
    assert (mode(path), path.read_text()) == (kept, "new")
    other = tmp_path / "b"
    other.write_text("newer")
    replace_file(other, path)
    assert (mode(path), path.read_text()) == (kept, "newer")


def test_a_file_that_leads_to_another_is_no_wider(tmp_path, umask):
    (tmp_path / "a.jsonl").touch(0o600)
    write_text_whole(tmp_path / "a.jsonl.partial", "patients", mode_like=tmp_path / "a.jsonl")
    assert mode(tmp_path / "a.jsonl.partial") == 0o600


def test_temporary_names_cannot_be_foreseen_and_nothing_is_left(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (seen.append(os.path.basename(old)), replace(old, new)))
    for _ in range(3):
        write_bytes_whole(tmp_path / "a", b"x")
    assert len(set(seen)) == 3 and [path.name for path in tmp_path.iterdir()] == ["a"]

    def fails(old, new):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="input/output"):
        write_bytes_whole(tmp_path / "a", b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"x"


def test_lone_surrogates_are_written_as_json_escapes(tmp_path):
    write_text_whole(tmp_path / "a.json", json.dumps({"text": "a\ud83eb"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"text": "a\ud83eb"}


# ---- what may be written over ----


def make_fifo(path):
    os.mkfifo(path)


def make_link(path):
    (path.parent / "precious.txt").write_text("precious")
    path.symlink_to("precious.txt")


def make_dangling_link(path):
    path.symlink_to("nowhere")


def make_device_link(path):
    path.symlink_to("/dev/null")


def make_folder(path):
    path.mkdir()


def make_notes(path):
    path.write_text("my notes")


@pytest.mark.parametrize(
    ("make", "words", "overwritable"),
    [
        (make_fifo, "a pipe", False),
        (make_link, "symbolic link to precious.txt", False),
        (make_dangling_link, "symbolic link to nowhere", False),
        (make_device_link, "symbolic link", False),
        (make_folder, "a folder", False),
        (make_notes, "was not written by this command", True),
    ],
)
def test_what_is_not_ours_is_refused(tmp_path, make, words, overwritable):
    path = tmp_path / "out.json"
    make(path)
    before = {p.name: (p.lstat().st_mode, p.lstat().st_size) for p in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=words):
        write_output(path, "new")
    if overwritable:
        write_output(path, "new", overwrite=True)
        assert path.read_text() == "new"
    else:
        with pytest.raises(OutputError, match=words):
            write_output(path, "new", overwrite=True)
        assert {p.name: (p.lstat().st_mode, p.lstat().st_size) for p in tmp_path.iterdir()} == before


def test_an_empty_file_is_nobodys_and_our_own_is_replaced(tmp_path):
    path = tmp_path / "out.json"
    path.touch()
    ours = json_file_with("counts", "ok")
    write_output(path, '{"counts": 1, "ok": true}', ours=ours)
    write_output(path, '{"counts": 2, "ok": true}', ours=ours)
    assert read_json_object(path)["counts"] == 2
    for foreign in ("[1]", "{", '{"counts": 1}', "\x00\xff"):
        path.write_text(foreign)
        with pytest.raises(OutputError):
            write_output(path, "{}", ours=ours)


def names_of(source, tmp_path):
    """The source under other names."""
    (tmp_path / "link.csv").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to(source.parent, target_is_directory=True)
    yield source
    yield tmp_path / "link.csv"
    yield tmp_path / "folder" / ".." / source.name
    yield tmp_path / "way" / source.name


def test_the_input_is_never_written_over_under_no_name(tmp_path, monkeypatch):
    source = tmp_path / "studies.csv"
    source.write_text("study_id\n1\n")
    monkeypatch.chdir(tmp_path)
    for path in [*names_of(source, tmp_path), "studies.csv", "./folder/../studies.csv"]:
        with pytest.raises(OutputError, match="input"):
            check_output_file(path, sources=[source], overwrite=True, ours=lambda path: True)
        with pytest.raises(OutputError, match="input"):
            check_output_file(path, sources=[f"file://{source}"], overwrite=True)
        with pytest.raises(OutputError, match="input"):  # a folder of tables is the input with all its files
            check_output_file(path, sources=[tmp_path], overwrite=True)
    assert check_output_file("new.csv", sources=[source, "owner/name", "https://example.org/x"])


def test_a_folder_is_ours_by_its_marker_and_else_only_where_no_name_is_taken(tmp_path):
    folder = tmp_path / "out"
    claim_folder(folder, "card", ["card.json", "*.png"])
    (folder / "card.json").write_text("{}")
    claim_folder(folder, "card", ["card.json", "*.png"])
    with pytest.raises(OutputError, match="card.json"):  # of another command
        claim_folder(folder, "sweep", ["card.json"])
    claim_folder(folder, "sweep", ["sweep.json"])
    assert read_json_object(folder / MARKER_NAME)["kinds"] == ["card", "sweep"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("x")
    claim_folder(foreign, "card", ["card.json"])  # notes are not in the way
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        claim_folder(tmp_path / "file", "card", [])
    with pytest.raises(OutputError, match="in"):
        claim_folder(folder, "card", ["card.json"], sources=[folder / "card.json"], overwrite=True)


def test_links_in_our_own_folder_are_refused_too(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    folder = claim_folder(tmp_path / "out", "card", ["card.json"])
    (folder / "card.json").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(OutputError, match="symbolic link"):
        claim_folder(folder, "card", ["card.json"], overwrite=True)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{", "", "[" * 100_000, '"a"'])
def test_json_that_is_no_object_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json"):
        read_json_object(tmp_path / "a.json")


# ---- a full disk ----


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_path_what_is_kept_and_how_to_go_on(tmp_path, monkeypatch, code):
    (tmp_path / "a").write_text("old")

    def full(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DiskFullError, match=r"a \(.*\)\. The earlier file is unchanged\. Free some space, then"
    ) as found:
        write_text_whole(tmp_path / "a", "new")
    assert found.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"
    for message in (
        f"I/O error: No space left on device (os error {errno.ENOSPC})",
        "PytorchStreamWriter failed writing",
    ):
        with pytest.raises(DiskFullError, match="half is kept"), explain_full_disk("x", "half is kept."):
            raise RuntimeError(message)
    with pytest.raises(KeyError), explain_full_disk("x"):
        raise KeyError("another error stays what it is")


def test_a_real_limit_of_file_size(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskFullError):
            write_bytes_whole(tmp_path / "a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
