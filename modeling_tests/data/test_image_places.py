"""Only files of the image root are read, given away, or fetched from the network: the same rule in every reader and command."""

import csv
import json
import os
import threading

import datasets
import pyarrow.parquet as pq
import pytest
from PIL import Image

from priorrg_hf.data import check_studies, convert_studies, load_studies
from priorrg_hf.data.image_files import ImagePlaces, image_file_content
from priorrg_hf.model.image_loading_priorrg import ImageLoadingError, file_url_to_path, load_image


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A folder with a picture, beside one with a secret and a picture that isn't for sharing."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "images").mkdir(parents=True)
    outside.mkdir()
    for path in (root / "images" / "a.png", outside / "b.png"):
        Image.new("L", (8, 8), 90).save(path)
    (outside / "secret.txt").write_text("root:x:0")
    (root / "images" / "link.png").symlink_to(outside / "b.png")
    (root / "linked").symlink_to(outside)
    (root / "images" / "text.png").write_text("no picture")
    os.mkfifo(root / "images" / "pipe.png")
    return root


def table(folder, *images, name="t.csv"):
    path = folder / name
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "patient_id", "image", "findings"])
        writer.writerows([f"s{n}", f"p{n}", image, "Clear."] for n, image in enumerate(images))
    return path


INSIDE = [
    "images/a.png",
    "./images/../images/a.png",
    "images\\a.png",
    "{root}/images/a.png",
    "file://{root}/images/a.png",
]
OUTSIDE = ["../outside/b.png", "/etc/hostname", "images/link.png", "linked/b.png", "linked/secret.txt", "file:///etc/hostname", "{root}/../outside/b.png",
           "..\\outside\\b.png", "images/../../outside/b.png", "file://elsewhere/etc/hostname", "C:\\films\\a.png"]  # fmt: skip
ADDRESSES = ["http://127.0.0.1:1/a.png", "https://example.org/a.png", "HTTP://example.org/a.png"]
SCHEMES = ["ftp://example.org/a.png", "s3://bucket/a.png", "data://x", "gopher://x/y"]


def rejected(source, **options):
    problems = []
    try:
        load_studies(source, problems=problems, **options)
    except ValueError as error:
        assert "no usable study" in str(error)
    return {error.study: error for _, error in problems}


def test_what_lies_in_the_image_root_is_read(films):
    rows = [path.format(root=films) for path in INSIDE]
    splits = load_studies(table(films, *rows), strict=True, split="test")
    assert {entry["images"][0]["image"]["path"] for entry in splits["test"]} == {str(films / "images" / "a.png")}


def test_what_lies_elsewhere_is_refused_unless_asked_for(films):
    rows = [path.format(root=films) for path in OUTSIDE]
    problems = rejected(table(films, *rows))
    assert len(problems) == len(rows)
    remedies = [error.remedy for error in problems.values()]
    assert sum("--allow-outside-image-root" in remedy for remedy in remedies) >= len(rows) - 2
    report = check_studies(films / "t.csv", images="skip")
    assert report.counts["rejected"] == len(rows)
    allowed = rejected(films / "t.csv", allow_outside_image_root=True)
    assert set(allowed) == {"s9", "s10"}  # another machine's file, a drive of Windows
    assert not rejected(table(films, "b.png", name="u.csv"), image_root=films.parent / "outside")


@pytest.mark.parametrize("kind", ["annotation", "r2gen", "shards", "examples", "prior", "dicom link"])
def test_the_same_rule_in_every_reader(films, kind):
    outside = str(films.parent / "outside" / "b.png")
    study = {"study_id": "s", "patient_id": "p", "images": [{"image": outside, "view": "PA"}], "findings": "x"}
    if kind == "annotation":
        item = {"id": "d", "subject_id": 1, "study_id": "s", "findings": "x", "findings_factual_serialization": ["x"]}
        item["anchor_scan"] = {"image_path": ["../outside/b.png"], "view_position": ["PA"]}
        source = films / "a.json"
        source.write_text(json.dumps({"train": [item]}))
    elif kind == "r2gen":
        source = films / "annotation.json"
        source.write_text(json.dumps({"train": [{"id": "s", "report": "x", "image_path": ["../../outside/b.png"]}]}))
    elif kind == "prior":
        source = films / "t.jsonl"
        study["images"] = [{"image": "images/a.png"}]
        source.write_text(json.dumps({**study, "prior": {"image": outside}}))
    elif kind == "dicom link":
        pytest.importorskip("pydicom")
        from dicom_builders import build, file_bytes

        (films.parent / "outside" / "x.dcm").write_bytes(file_bytes(build(PatientID="p", StudyInstanceUID="1.2")))
        source = films / "scans"
        source.mkdir()
        (source / "x.dcm").symlink_to(films.parent / "outside" / "x.dcm")
    else:
        from priorrg_hf.data import as_examples, studies_to_dataset

        rows = studies_to_dataset([study])
        rows = as_examples(rows) if kind == "examples" else rows
        source = films / "set"
        source.mkdir()
        pq.write_table(rows.with_format("arrow")[:], source / "train-00000-of-00001.parquet")
    problems = rejected(source)
    assert len(problems) == 1 and "outside of the image root" in next(iter(problems.values())).problem
    assert not rejected(source, allow_outside_image_root=True)


def test_addresses_are_refused_unless_asked_for(films):
    assert len(rejected(table(films, *ADDRESSES, *SCHEMES))) == len(ADDRESSES + SCHEMES)
    refused = rejected(films / "t.csv", allow_urls=True)
    assert set(refused) == {f"s{n}" for n in range(len(ADDRESSES), len(ADDRESSES + SCHEMES))}


def test_only_pictures_are_given_away(films, tmp_path):
    rows = [
        "images/a.png",
        "images/text.png",
        "images/pipe.png",
        "images/link.png",
        "/etc/hostname",
        "../outside/secret.txt",
    ]
    result = convert_studies(table(films, *rows), tmp_path / "out", embed_images=True, split="test")
    assert result.studies == {"test": 1} and len(result.problems) == 5
    stored = load_studies(tmp_path / "out")["test"][0]["images"][0]["image"]
    assert stored["bytes"] == (films / "images" / "a.png").read_bytes()
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"root:x:0" not in written and b"no picture" not in written


def test_links_that_change_after_the_reading_are_seen(films, tmp_path, monkeypatch):
    source = table(films, "images/a.png", "images/swap.png")
    Image.new("L", (8, 8)).save(films / "images" / "swap.png")
    load_studies(source, split="test")  # in the cache now, as good
    (films / "images" / "swap.png").unlink()
    (films / "images" / "swap.png").symlink_to(films.parent / "outside" / "b.png")
    result = convert_studies(source, tmp_path / "out", embed_images=True, split="test")
    assert result.studies == {"test": 1} and result.problems[0][1].study == "s1"


def test_converted_paths_are_found_again_on_this_machine(films, tmp_path):
    convert_studies(table(films, "images/a.png"), tmp_path / "out", split="test")
    assert load_studies(tmp_path / "out", strict=True)["test"][0]["images"][0]["image"]["path"] == str(
        films / "images" / "a.png"
    )
    with pytest.raises(ValueError, match="outside of the image root"):  # but not given away unasked
        convert_studies(tmp_path / "out", tmp_path / "shared", embed_images=True, strict=True)
    again = convert_studies(tmp_path / "out", tmp_path / "shared", embed_images=True, image_root=films)
    assert again.studies == {"test": 1}


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe", "folder", "socket"])
def test_what_is_no_file_is_refused_at_once(tmp_path, path):
    if path == "pipe":
        os.mkfifo(tmp_path / path)
    if path == "folder":
        (tmp_path / path).mkdir()
    if path == "socket":
        import socket

        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / path))
    name = path if path.startswith("/") else str(tmp_path / path)
    for suffix in ("", ".dcm"):
        if suffix and not path.startswith("/"):
            os.symlink(name, name + suffix)
            name += suffix
        for read in (load_image, image_file_content):
            found = []

            def attempt(read=read, name=name, found=found):
                try:
                    read(name)
                except Exception as error:
                    found.append(error)

            thread = threading.Thread(target=attempt, daemon=True)
            thread.start()
            thread.join(10)
            assert found and isinstance(found[0], (ImageLoadingError, OSError)), (name, read, found)


def test_file_urls():
    assert (
        file_url_to_path("file:///films/a%20b.png")
        == file_url_to_path("file://localhost/films/a%20b.png")
        == "/films/a b.png"
    )
    with pytest.raises(ImageLoadingError, match="another machine"):
        file_url_to_path("file://server/films/a.png")


def test_the_root_itself_may_be_a_link(films, tmp_path):
    (tmp_path / "way").symlink_to(films)
    places = ImagePlaces(tmp_path / "way")
    assert places.problem(str(tmp_path / "way" / "images" / "a.png")) is None
    assert places.problem(str(films / "images" / "a.png")) is None
    assert places.problem(str(films) + "more/a.png") is not None
