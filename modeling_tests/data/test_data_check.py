"""`priorrg data check` and `priorrg data convert`, as functions and as commands."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from dicom_builders import build, file_bytes
from PIL import Image
from typer.testing import CliRunner

from priorrg_hf.cli import app
from priorrg_hf.data import check_studies, convert_studies, load_studies, study_features
from priorrg_hf.data import convert as convert_module


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    for row in rows:
        name = row.get("image")
        if name and not (folder / name).exists() and name != "missing.png":
            Image.new("L", (8, 8), hash(name) % 200).save(folder / name)
    path = folder / "studies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def good_rows(count: int = 6) -> list[dict]:
    return [
        {
            "study_id": f"s{n}",
            "patient_id": f"p{n // 2}",
            "image": f"{n}.png",
            "view": "PA",
            "acquired": f"2021-03-{n + 1:02}",
            "indication": "Cough." if n % 2 else None,
            "findings": f"Made-up text {n}.",
        }
        for n in range(count)
    ]


def bad_table(folder):
    rows = good_rows()
    rows[0].update(split="train")
    rows[1].update(split="test")  # the same patient
    rows[2].update(image="missing.png")
    rows[3].update(prior={"image": "2.png", "acquired": "2021-04-01"})  # later
    rows[4].update(image="half.png")
    rows[5].update(acquired="last week")
    rows += [
        {**rows[0], "study_id": "s0"},  # a duplicate, not next to the first
        {
            **good_rows()[0],
            "study_id": "other",
            "image": "o.png",
            "patient_id": "p9",
            "prior": {"study_id": "s4", "image": "4.png"},
        },
    ]
    path = write(folder, rows)
    Image.effect_noise((64, 64), 50).save(folder / "half.png")
    content = (folder / "half.png").read_bytes()
    (folder / "half.png").write_bytes(content[: len(content) // 2])
    Image.new("L", (8, 8)).save(folder / "4.png")
    return path


def test_a_good_table_has_counts_and_no_errors(tmp_path):
    report = check_studies(write(tmp_path / "t", good_rows()))
    assert report.ok and not report.warnings
    assert report.counts["patients"] == 3 and report.counts["studies"] == 6 and report.counts["images"] == 6
    assert report.counts["with prior"] == 3 and report.counts["with context"] == 3
    assert report.views == {"PA": 6}


def test_every_fault_is_counted_and_named(tmp_path):
    report = check_studies(bad_table(tmp_path / "t"))
    kinds = {issue.kind: str(issue) for issue in report.errors}
    assert set(kinds) == {"split", "missing file", "prior", "unreadable image", "rejected", "duplicate"}
    counts = report.counts
    assert (counts["missing files"], counts["unreadable images"], counts["duplicates"], counts["rejected"]) == (
        1,
        1,
        1,
        1,
    )
    assert counts["patients in two splits"] == 1 and counts["impossible priors"] == 2
    assert "line 2 (study s1)" in kinds["split"] and "line 7 (study s0)" in kinds["duplicate"]
    assert "line 3 (study s2)" in kinds["missing file"] and "missing.png" in kinds["missing file"]
    assert "half.png" in kinds["unreadable image"] and "line 6" in kinds["rejected"]
    priors = [str(issue) for issue in report.errors if issue.kind == "prior"]
    assert any("line 4" in text and "isn't earlier" in text for text in priors)
    assert any("line 8" in text and "another patient" in text for text in priors)


def test_the_report_prints_as_text(tmp_path):
    report = check_studies(bad_table(tmp_path / "t"))
    lines = str(report).splitlines()
    assert lines[0].startswith("read as table") and lines[-1] == "7 error(s)" and "  view PA" in str(report)
    assert sum(line.startswith("error: [") for line in lines) == 7
    assert "... and 5 more" in report.as_text(show=2)


def test_images_can_be_left_closed(tmp_path):
    path = bad_table(tmp_path / "t")
    kinds = {mode: {issue.kind for issue in check_studies(path, images=mode).errors} for mode in ("exists", "skip")}
    assert "missing file" in kinds["exists"] and "unreadable image" not in kinds["exists"]
    assert "missing file" not in kinds["skip"]


def test_a_damaged_dicom_file_is_unreadable(tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "whole.dcm").write_bytes(file_bytes(build()))
    (tmp_path / "scans" / "half.dcm").write_bytes(file_bytes(build(SOPInstanceUID="1.2.3"))[:-2000])
    report = check_studies(tmp_path / "scans")
    assert [issue.kind for issue in report.errors] == ["unreadable image"] and "half.dcm" in str(report.errors[0])


def test_check_command(tmp_path):
    runner = CliRunner()
    good = runner.invoke(app, ["data", "check", "-d", str(write(tmp_path / "good", good_rows()))])
    assert good.exit_code == 0 and "read as table" in good.output and "no errors" in good.output
    bad = runner.invoke(app, ["data", "check", "-d", str(bad_table(tmp_path / "bad")), "-o", str(tmp_path / "r.json")])
    assert bad.exit_code == 1 and "studies.jsonl line 3 (study s2)" in bad.output
    assert json.loads((tmp_path / "r.json").read_text())["counts"]["missing files"] == 1
    some = runner.invoke(app, ["data", "check", "-d", str(bad_table(tmp_path / "bad")), "--max-errors", "2"])
    every = runner.invoke(app, ["data", "check", "-d", str(bad_table(tmp_path / "bad")), "--max-errors", "0"])
    assert some.output.count("error: [") == 2 and "--max-errors 0" in some.output and "more" in some.output
    assert (
        every.output.count("error: [") == 7 and "--max-errors 0" not in every.output and "7 error(s)" in every.output
    )
    unknown = runner.invoke(app, ["data", "check", "-d", str(tmp_path / "none")])
    assert unknown.exit_code == 2 and "Expected one of" in unknown.output
    wrong = runner.invoke(app, ["data", "check", "-d", str(tmp_path), "--column", "findings"])
    assert wrong.exit_code == 2 and "FIELD=COLUMN" in wrong.output


def test_columns_on_the_command_line(tmp_path):
    rows = good_rows()
    for row in rows:
        row["REPORT_TEXT"] = row.pop("findings")
    table = write(tmp_path / "t", rows)
    runner = CliRunner()
    assert "6 studies have no findings" in runner.invoke(app, ["data", "check", "-d", str(table)]).output
    mapped = runner.invoke(app, ["data", "check", "-d", str(table), "--column", "findings=REPORT_TEXT"])
    assert mapped.exit_code == 0 and "no findings" not in mapped.output


@pytest.mark.parametrize("to", ["parquet", "arrow"])
@pytest.mark.parametrize("embed_images", [False, True])
def test_convert_keeps_every_study(tmp_path, to, embed_images):
    source = write(tmp_path / "t", good_rows())
    result = convert_studies(source, tmp_path / "out", to=to, embed_images=embed_images, shard_size=2, split="train")
    assert result.studies == {"train": 6} and result.written == 3 and not result.problems
    before, after = load_studies(source, split="train")["train"], load_studies(tmp_path / "out")["train"]
    assert after.features == study_features()
    for one, other in zip(before, after, strict=True):
        if embed_images:
            path = one["images"][0]["image"]["path"]
            assert other["images"][0]["image"]["bytes"] == Path(path).read_bytes()
            assert (other["prior"] is None) == (one["prior"] is None)
            assert other["prior"] is None or other["prior"]["image"]["bytes"]
        else:
            assert one == other
    if to == "parquet":
        plain = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "plain"))
        assert plain.features == study_features() and len(plain) == 6


def test_an_interrupted_conversion_goes_on(tmp_path, monkeypatch):
    source, out = write(tmp_path / "t", good_rows()), tmp_path / "out"
    write_shard, calls = convert_module._write_shard, []

    def interrupted(part, rows, path, *rest):
        calls.append(path.name)
        if len(calls) == 3:
            path.with_name(f".{path.name}.0123456789abcdef.tmp").write_bytes(b"half a shard")
            raise KeyboardInterrupt
        return write_shard(part, rows, path, *rest)

    monkeypatch.setattr(convert_module, "_write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_studies(source, out, shard_size=1, split="train")
    shards = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(shards) == 2 and not json.loads((out / "conversion.json").read_text())["complete"]
    for path in out.glob("*.parquet"):
        pq.read_table(path)
    monkeypatch.setattr(convert_module, "_write_shard", write_shard)
    result = convert_studies(source, out, shard_size=1, split="train")
    assert (result.reused, result.written) == (2, 4)
    assert all((out / name).stat().st_mtime_ns == time for name, time in shards.items())
    assert not list(out.glob(".*")) and json.loads((out / "conversion.json").read_text())["complete"]
    assert load_studies(out)["train"]["study_id"] == [f"s{n}" for n in range(6)]


def test_another_conversion_is_not_overwritten_unasked(tmp_path):
    first, second = write(tmp_path / "a", good_rows()), write(tmp_path / "b", good_rows(4))
    convert_studies(first, tmp_path / "out")
    with pytest.raises(FileExistsError, match="overwrite"):
        convert_studies(second, tmp_path / "out")
    convert_studies(second, tmp_path / "out", overwrite=True)
    assert sum(len(part) for part in load_studies(tmp_path / "out").values()) == 4


def test_a_missing_file_costs_one_study_when_embedding(tmp_path):
    rows = good_rows()
    rows[0]["image"] = "missing.png"
    source = write(tmp_path / "t", rows)
    result = convert_studies(source, tmp_path / "out", embed_images=True, split="train")
    assert {error.study for _, error in result.problems} == {
        "s0",
        "s1",
    }  # the study and the one that it is the prior of
    assert result.studies == {"train": 4}
    assert load_studies(tmp_path / "out")["train"]["study_id"] == ["s2", "s3", "s4", "s5"]
    with pytest.raises(ValueError, match="study 's0'"):
        convert_studies(source, tmp_path / "strict", embed_images=True, split="train", strict=True)


def test_convert_command(tmp_path):
    source = write(tmp_path / "t", good_rows())
    arguments = [
        "data",
        "convert",
        "-d",
        str(source),
        "-o",
        str(tmp_path / "out"),
        "--split",
        "train",
        "--shard-size",
        "4",
    ]
    runner = CliRunner()
    assert "2 shards written, 0 found" in runner.invoke(app, arguments).output
    assert "0 shards written, 2 found" in runner.invoke(app, arguments).output
    again = runner.invoke(app, [*arguments, "--to", "arrow"])
    assert again.exit_code == 2 and "--overwrite" in again.output


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom priorrg_hf.cli import app\n"
        "assert 'convert' in CliRunner().invoke(app, ['data', '--help']).output\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'transformers', 'pydicom'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
