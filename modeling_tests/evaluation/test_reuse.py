"""Reports are taken over only if all that made them agrees; whatever differs, nothing of another table or model gets in."""

import copy
import json
import os
import shutil

import numpy as np
import pytest
import torch
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1
from PIL import Image

from priorrg_hf.data.file_writing import OutputError
from priorrg_hf.data.locking import LockedError, exclusive
from priorrg_hf.evaluation.dry_run import plan_reports
from priorrg_hf.evaluation.fingerprints import RowFingerprints, processor_fingerprint, settings_fingerprint
from priorrg_hf.evaluation.generation import generate_reports
from priorrg_hf.evaluation.report_file import ReportRow, read_reports
from priorrg_hf.evaluation.reuse import OtherReportsError, info_path, partial_path, skipped_path


SETTINGS = {"max_length": 8, "num_beams": 1, "progress": False, "batch_size": 2}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (30, 32), dtype=np.uint8)


def save(path, seed):
    Image.fromarray(pixels(seed)).save(path, format="BMP")  # of equal size whatever the content
    return str(path)


@pytest.fixture()
def rows(tmp_path):
    (tmp_path / "images").mkdir()
    return [
        {
            "example_id": f"e{i}",
            "study_id": f"s{i}",
            "patient_id": f"p{i // 2}",
            "image": save(tmp_path / "images" / f"{i}.bmp", i),
            "prior_image": save(tmp_path / "images" / f"prior{i}.bmp", 50 + i) if i % 2 else None,
            "view_position": "PA",
            "prior_view_position": "AP" if i % 2 else None,
            "indication": "cough" if i != 2 else None,
            "history": None,
            "findings": f"Lungs are clear {i}." if i != 3 else None,
        }
        for i in range(5)
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_file_keeping_size_and_time(path, seed):
    before = os.stat(path)
    save(path, seed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def other_image(rows):
    rows[1]["image"] = rows[4]["image"]


def other_bytes_under_the_same_name(rows):
    change_file_keeping_size_and_time(rows[1]["image"], 77)


def other_prior(rows):
    rows[1]["prior_image"] = rows[3]["prior_image"]


def other_prior_bytes(rows):
    change_file_keeping_size_and_time(rows[1]["prior_image"], 78)


def no_prior(rows):
    rows[1]["prior_image"] = rows[1]["prior_view_position"] = None


def a_prior_more(rows):
    rows[2]["prior_image"], rows[2]["prior_view_position"] = rows[1]["prior_image"], "AP"


def other_view(rows):
    rows[1]["view_position"] = "AP"


def other_prior_view(rows):
    rows[1]["prior_view_position"] = "LATERAL"


def other_indication(rows):
    rows[1]["indication"] = "fever"


def no_indication(rows):
    rows[1]["indication"] = None


def moved_to_history(rows):
    rows[1]["indication"], rows[1]["history"] = None, rows[1]["indication"]


def other_reference(rows):
    rows[1]["findings"] = "Effusion."


def no_reference(rows):
    rows[1]["findings"] = None


def other_patient(rows):
    rows[1]["patient_id"] = "q"


CHANGES = {
    other_image: "image", other_bytes_under_the_same_name: "image", other_prior: "prior image", other_prior_bytes: "prior image",
    no_prior: "prior image", a_prior_more: "prior image", other_view: "views", other_prior_view: "views",
    other_indication: "indication or history", no_indication: "indication or history",
    moved_to_history: "indication or history", other_reference: "reference", no_reference: "reference",
    other_patient: "study or patient id",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("streamed", [False, True])
def test_whatever_changes_is_named_refused_or_written_anew(model, processor, rows, tmp_path, change, streamed):
    output = tmp_path / "out" / "a.jsonl"
    generate_reports(model, processor, rows, output, **SETTINGS)
    before, made = contents(output.parent), lines(output)
    change(rows)
    with pytest.raises(OtherReportsError, match=rf"1 made of other data: e[12] \(.*{CHANGES[change]}"):
        generate_reports(model, processor, iter(rows) if streamed else rows, output, **SETTINGS)
    if streamed:  # what a stream holds is known only as it comes; the reports are untouched
        assert output.read_bytes() == before[str(output)]
    else:
        assert contents(output.parent) == before
    fresh = lines(generate_reports(model, processor, rows, tmp_path / "fresh.jsonl", **SETTINGS).output)
    summary = generate_reports(
        model, processor, iter(rows) if streamed else rows, output, on_mismatch="rewrite", **SETTINGS
    )
    assert (summary.resumed, summary.generated, summary.rewritten) == (4, 1, 1)
    assert lines(output) == fresh != made
    again = generate_reports(model, processor, rows, output, **SETTINGS)
    assert (again.resumed, again.generated) == (5, 0)


def test_half_finished_files_with_rows_of_both(model, processor, rows, tmp_path):
    others = copy.deepcopy(rows)
    for index, row in enumerate(others):
        row["image"] = save(tmp_path / "images" / f"other{index}.bmp", 200 + index)
    fresh = lines(generate_reports(model, processor, others, tmp_path / "fresh.jsonl", **SETTINGS).output)
    output = tmp_path / "a.jsonl"
    generate_reports(model, processor, rows, output, **SETTINGS)
    # as an earlier version left them: a finished file of one table, an interrupted one of another, with their last line cut
    shutil.copy(tmp_path / "fresh.jsonl", partial_path(output))
    content = partial_path(output).read_bytes().splitlines(keepends=True)
    partial_path(output).write_bytes(b"".join(content[:2]) + content[2][:30])
    with pytest.raises(OtherReportsError, match="3 made of other data: e2 .image., e3"):
        generate_reports(model, processor, others, output, **SETTINGS)
    summary = generate_reports(model, processor, others, output, on_mismatch="rewrite", **SETTINGS)
    assert (summary.resumed, summary.rewritten) == (2, 3) and lines(output) == fresh


def test_a_finished_file_is_not_shrunk_silently(model, processor, rows, tmp_path):
    output = tmp_path / "a.jsonl"
    generate_reports(model, processor, rows, output, **SETTINGS)
    before = output.read_bytes()
    for table in (rows[:3], iter(rows[:3])):
        with pytest.raises(OtherReportsError, match="2 of studies that the table does not have: e3, e4"):
            generate_reports(model, processor, table, output, **SETTINGS)
        assert output.read_bytes() == before
    grown = [*rows, {**rows[0], "example_id": "e9"}]
    assert generate_reports(model, processor, grown, output, **SETTINGS).generated == 1
    summary = generate_reports(model, processor, rows[:3], output, on_mismatch="rewrite", **SETTINGS)
    assert (summary.resumed, summary.dropped) == (3, 3) and "3 earlier reports of other studies dropped" in str(
        summary
    )
    fewer = generate_reports(model, processor, rows[:2], output, resume=False, **SETTINGS)
    assert (fewer.generated, fewer.dropped) == (2, 1) and "1 earlier reports" in str(fewer)


def other_weights(model, processor):
    model = copy.deepcopy(model)
    with torch.no_grad():
        next(model.decoder.parameters()).view(-1)[0] += 1e-3
    return model, processor, {}, "weights"


def other_configuration(model, processor):
    model = copy.deepcopy(model)
    model.config.decoder_start_token_id = 5
    return model, processor, {}, "model configuration"


def other_dtype(model, processor):
    return copy.deepcopy(model).to(torch.bfloat16), processor, {}, "dtype"


def other_report_length(model, processor):
    processor = copy.deepcopy(processor)
    processor.max_report_length = 30
    return model, processor, {}, "processor or tokenizer"


def other_image_mean(model, processor):
    processor = copy.deepcopy(processor)
    processor.image_processor.image_mean = [0.4, 0.4, 0.4]
    return model, processor, {}, "processor or tokenizer"


def other_tokenizer(model, processor):
    processor = copy.deepcopy(processor)
    processor.tokenizer.add_tokens(["effusion"])
    return model, processor, {}, "processor or tokenizer"


def other_beams(model, processor):
    return model, processor, {"num_beams": 2}, "num_beams"


def other_length(model, processor):
    return model, processor, {"max_length": 6}, "max_length"


def other_default(model, processor):
    model = copy.deepcopy(model)
    model.generation_config.repetition_penalty = 1.7
    return model, processor, {}, "repetition_penalty"


@pytest.mark.parametrize(
    "change",
    [other_weights, other_configuration, other_dtype, other_report_length, other_image_mean, other_tokenizer, other_beams, other_length,
     other_default],
)  # fmt: skip
def test_reports_of_another_model_or_setting_are_refused(model, processor, rows, tmp_path, change):
    output = tmp_path / "a.jsonl"
    generate_reports(model, processor, rows, output, **SETTINGS)
    other, other_processor, settings, words = change(model, processor)
    with pytest.raises(OtherReportsError, match=rf"5 of another model or of other settings \(.*{words}"):
        generate_reports(other, other_processor, rows, output, **{**SETTINGS, **settings})
    before = lines(output)
    summary = generate_reports(other, other_processor, rows, output, on_mismatch="rewrite", **{**SETTINGS, **settings})
    assert summary.rewritten == 5 and lines(output) != before
    # also where a foreign info file claims otherwise
    shutil.copy(info_path(output), tmp_path / "info")
    generate_reports(model, processor, rows, output, on_mismatch="rewrite", **SETTINGS)
    shutil.copy(tmp_path / "info", info_path(output))
    with pytest.raises(OtherReportsError):
        generate_reports(other, other_processor, rows, output, **{**SETTINGS, **settings})


def test_the_dry_run_tells_the_same(model, processor, rows, tmp_path):
    from datasets import Dataset

    from priorrg_hf.data.schema import example_features

    def table(rows):
        return Dataset.from_list(
            [{**row, "image": {"path": row["image"], "bytes": None},
              "prior_image": row["prior_image"] and {"path": row["prior_image"], "bytes": None}} for row in rows]
        )  # fmt: skip

    assert example_features()
    output = tmp_path / "a.jsonl"
    generate_reports(model, processor, table(rows), output, **SETTINGS)
    rows[0]["indication"] = "pain"
    plan = plan_reports(model, processor, table(rows[:4]), output, batch_size=2, max_length=8, num_beams=1)
    assert (plan["done"], plan["of_other_data_or_model"], plan["of_absent_studies"]) == (3, 1, 1)


# ---- fingerprints ----


def test_images_of_every_kind_count_by_their_content(tmp_path):
    array = pixels(1)
    path = save(tmp_path / "a.bmp", 1)
    content = (tmp_path / "a.bmp").read_bytes()

    def image_of(source):
        return RowFingerprints().of({"image": source})["image"]

    assert (
        image_of(path) == image_of(tmp_path / "a.bmp") == image_of(content) == image_of({"path": path, "bytes": None})
    )
    assert image_of({"path": None, "bytes": content}) == image_of(path)
    assert image_of(f"file://{path}") == image_of(path)
    assert image_of(Image.fromarray(array)) == image_of(Image.fromarray(array.copy()))
    assert image_of(torch.from_numpy(array)) == image_of(array)
    kinds = [array, array[::-1], array.astype(np.uint16), array.reshape(32, 30), Image.fromarray(array), path]
    kinds += [Image.fromarray(array).convert("RGB"), "https://example.org/1.png", "https://example.org/2.png"]
    assert len({image_of(source) for source in kinds}) == len(kinds)
    assert "unreadable" in image_of(tmp_path / "none.png")
    assert RowFingerprints().of({"image": path, "prior_image": None})["prior"] is None


def test_an_image_that_several_rows_have_is_read_once(tmp_path, monkeypatch):
    from pathlib import Path

    path = save(tmp_path / "a.bmp", 1)
    os.utime(path, (1, 1))
    reads = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: (reads.append(self), read(self))[1])
    monkeypatch.setattr("priorrg_hf.training.feature_cache._SETTLED_NS", 0)
    fingerprints = RowFingerprints()
    for _ in range(3):
        fingerprints.of({"image": path, "prior_image": path})
    assert len(reads) == 1


def test_missing_and_empty_texts_and_their_places_differ():
    def of(**row):
        return tuple(RowFingerprints().of({"image": pixels(0), **row}).values())

    rows = [{}, {"indication": ""}, {"indication": "a"}, {"history": "a"}, {"findings": "a"}, {"findings": ""}]
    rows += [{"indication": "a", "history": "b"}, {"indication": "ab"}, {"study_id": "1"}, {"patient_id": "1"}]
    assert len({of(**row) for row in rows}) == len(rows)
    assert of(study_id=1) == of(study_id="1")


def test_what_a_call_leaves_in_the_tokenizer_does_not_count(processor):
    before = processor_fingerprint(processor)
    processor(images=[Image.fromarray(pixels(0))], indication=["a" * 200])
    processor.encode_reports(["a" * 200], "generation")
    assert processor_fingerprint(processor) == before


def test_tensors_in_settings_count_by_content():
    first, second = torch.zeros(5000), torch.zeros(5000)
    second[2500] = 1
    assert settings_fingerprint({"a": first}) != settings_fingerprint({"a": second})
    assert settings_fingerprint({"a": first}) == settings_fingerprint({"a": first.clone()})


def test_lone_surrogates_do_not_end_a_run(model, processor, rows, tmp_path):
    rows[1]["findings"] = "broken \ud83e emoji"
    summary = generate_reports(model, processor, rows, tmp_path / "a.jsonl", **SETTINGS)
    assert summary.generated + len(summary.skipped) == 5
    assert len(read_reports(tmp_path / "a.jsonl")) == summary.generated
    row = ReportRow("e", "p \ud83e", fingerprints={"image": "1"})
    assert json.loads(row.to_json().encode("utf-8"))["prediction"] == "p \ud83e"


# ---- outputs ----


def test_outputs_of_others_are_left_alone(model, processor, rows, tmp_path):
    table = tmp_path / "studies.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    notes = tmp_path / "notes.jsonl"
    notes.write_text('{"example_id": "e0", "prediction": "of another tool"}\n')
    (tmp_path / "link.jsonl").symlink_to(notes)
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(table)
    for name in ("studies.jsonl", "notes.jsonl", "link.jsonl", "pipe.jsonl", "hard.jsonl", "images", "images/0.bmp"):
        before = contents(tmp_path)
        for resume in (True, False):
            with pytest.raises(OutputError):
                generate_reports(
                    model, processor, rows, tmp_path / name, sources=[table], on_mismatch="rewrite", resume=resume, **SETTINGS
                )  # fmt: skip
        assert contents(tmp_path) == before
    with pytest.raises(OutputError, match="input"):
        generate_reports(model, processor, rows, tmp_path / "hard.jsonl", sources=[table], overwrite=True, **SETTINGS)
    generate_reports(model, processor, rows, notes, overwrite=True, on_mismatch="rewrite", **SETTINGS)
    assert len(lines(notes)) == 5


@pytest.mark.parametrize("beside", [partial_path, info_path, skipped_path])
def test_files_beside_the_output_are_left_alone_too(model, processor, rows, tmp_path, beside):
    output = tmp_path / "a.jsonl"
    beside(output).write_text("somebody's")
    with pytest.raises(OutputError, match="a.jsonl"):
        generate_reports(model, processor, rows, output, **SETTINGS)
    beside(output).unlink()
    (tmp_path / "victim").write_text("precious")
    beside(output).symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="symbolic link"):
        generate_reports(model, processor, rows, output, **SETTINGS)
    assert (tmp_path / "victim").read_text() == "precious" and not output.exists()


def test_one_run_a_file(model, processor, rows, tmp_path):
    output = tmp_path / "a.jsonl"
    failures = []

    def second():
        yield rows[0]
        yield rows[1]
        import threading

        def run():
            try:
                generate_reports(model, processor, rows, output, **SETTINGS)
            except LockedError as error:
                failures.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        yield from rows[2:]

    assert generate_reports(model, processor, second(), output, **SETTINGS).generated == 5
    assert len(failures) == 1 and f"process {os.getpid()}" in failures[0]
    with exclusive(output, "x", folder=False):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "a.jsonl.info.json", "images"]


def test_ids_twice_in_one_table(model, processor, rows, tmp_path):
    from priorrg_hf.evaluation.evaluate import check_unique
    from priorrg_hf.evaluation.retrieval import retrieval_of_examples

    double = [*rows, {**rows[0], "findings": "Another."}]
    with pytest.raises(ValueError, match="'e0' is there twice"):
        generate_reports(model, processor, double, tmp_path / "a.jsonl", **SETTINGS)
    with pytest.raises(ValueError, match="1 example ids are there twice, e.g. 7"):
        check_unique(["7", 7, "8"], "table")

    class Table(list):
        def __getitem__(self, key):
            return [row[key] for row in self] if isinstance(key, str) else list.__getitem__(self, key)

    stage_1 = tiny_stage_1(tiny_config(processor.tokenizer))
    with pytest.raises(ValueError, match="twice"):
        retrieval_of_examples(stage_1, processor, Table(double), tmp_path / "r", progress=False)


@pytest.mark.parametrize("failing", ["batch", "end"])
def test_a_full_disk_keeps_what_was_written(model, processor, rows, tmp_path, monkeypatch, failing):
    from priorrg_hf.data.file_writing import DiskFullError

    output = tmp_path / "a.jsonl"
    whole = lines(generate_reports(model, processor, rows, tmp_path / "whole.jsonl", **SETTINGS).output)
    calls = []
    fsync = os.fsync

    def full(descriptor):
        calls.append(descriptor)
        # 1: info, 2: empty partial, 3 to 5: batches, 6: the file itself
        if len(calls) == (4 if failing == "batch" else 6):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"written so far are in .*a\.jsonl\.partial.*run the same command again"):
        generate_reports(model, processor, rows, output, **SETTINGS)
    monkeypatch.setattr(os, "fsync", fsync)
    summary = generate_reports(model, processor, rows, output, **SETTINGS)
    assert summary.resumed >= 2 and lines(output) == whole
