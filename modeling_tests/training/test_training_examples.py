"""The worked examples as scripts: fine-tuning on an own CSV, with all weights and with adapters, and one report."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from hub_helpers import tiny_tokenizer
from shared_files import SHARED, needs
from training_helpers import example_rows, processor_and_config, stage_2_model

from priorrg_hf import PriorRGForReportGeneration, PriorRGProcessor
from priorrg_hf.publishing.conversion import convert_checkpoint
from priorrg_hf.training.report_metrics import ReportMetrics, priors_shown


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run_example(name: str, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A report generator's folder, as `priorrg convert` makes it."""
    folder = tmp_path_factory.mktemp("converted")
    processor, config = processor_and_config(folder / "source")
    stage_2_model(config).save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    rows = example_rows(12, image_folder=folder / "images")
    with (folder / "mine.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["accession", "mrn", "FILE", "projection", "REPORT_TEXT", "why", "split"])
        for index, row in enumerate(rows):
            split = ("train", "train", "train", "train", "validation", "test")[index // 2]
            image = Path(row["image"]).relative_to(folder)
            writer.writerow(
                [row["study_id"], row["patient_id"], image, row["view_position"], row["findings"], "cough", split]
            )
    return folder / "mine.csv"


COLUMNS = {
    "study_id": "accession", "patient_id": "mrn", "image": "FILE", "view": "projection", "findings": "REPORT_TEXT",
    "indication": "why",
}  # fmt: skip


@pytest.mark.parametrize("lora", [False, True])
def test_finetune_on_own_csv(converted, table, tmp_path, monkeypatch, lora):
    run_example(
        "finetune_own_csv.py", monkeypatch, "--model", converted, "--csv", table,
        "--column", *(f"{field}={column}" for field, column in COLUMNS.items()),
        "--output_dir", tmp_path, "--num_train_epochs", 1, "--per_device_train_batch_size", 4, "--use_cpu",
        "--learning_rate", 0.01, "--generation_max_length", 20, "--disable_tqdm", "true",
        *(["--lora", "--lora_rank", 2] if lora else []),
    )  # fmt: skip
    before = PriorRGForReportGeneration.from_pretrained(converted).state_dict()
    if lora:
        assert (tmp_path / "adapter_model.safetensors").is_file() and not (tmp_path / "model.safetensors").exists()
    folder = tmp_path / "merged" if lora else tmp_path
    after = PriorRGForReportGeneration.from_pretrained(folder).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any("vision_model" in name for name in changed)
    if lora:
        assert all(name.startswith("decoder.") for name in changed)
    PriorRGProcessor.from_pretrained(folder)


@needs("reference")
@needs("data/cxr_longitudinal")
def test_finetune_a_converted_checkpoint_on_real_studies(tmp_path, monkeypatch):
    """The published system's own (tiny) checkpoint and a CSV of patients' studies with priors, none in two splits."""
    reference, data = SHARED / "reference", SHARED / "data/cxr_longitudinal"
    meta = json.loads((reference / "meta.json").read_text())
    parts = ("hidden_size", "vision_config", "text_config", "decoder_config")
    model = convert_checkpoint(
        reference / "stage2_reference.ckpt", tmp_path / "converted", tokenizer=reference / "tokenizer",
        view_positions=meta["view2id"], config={name: meta[name] for name in parts},
    )  # fmt: skip
    rows = [json.loads(line) for line in (data / "studies.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = {row["patient_id"]: row for row in rows if row["prior"] and row["findings"]}
    split_of = dict(zip(chosen, ["train"] * 8 + ["validation"] * 2, strict=False))
    names = ["study_id", "patient_id", "image", "view", "day", "prior", "indication", "history", "findings", "split"]
    with (tmp_path / "own.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        # The checkpoint knows no supine view of its own.
        writer.writerows(
            {**row, "view": row["view"].removesuffix("_SUPINE"), "split": split_of[row["patient_id"]]}
            for row in rows
            if row["patient_id"] in split_of
        )
    run_example(
        "finetune_own_csv.py", monkeypatch, "--model", model, "--csv", tmp_path / "own.csv", "--image_root", data,
        "--output_dir", tmp_path / "run", "--max_steps", 2, "--per_device_train_batch_size", 4, "--use_cpu",
        "--generation_max_length", 20, "--disable_tqdm", "true",
    )  # fmt: skip
    report = json.loads((tmp_path / "run/training_report.json").read_text())
    assert report["status"] == "finished" and report["steps"] == 2 and not report["studies_left_out"]
    before = PriorRGForReportGeneration.from_pretrained(model).state_dict()
    after = PriorRGForReportGeneration.from_pretrained(tmp_path / "run").state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_generate_report(converted, table, monkeypatch, capsys):
    image = table.parent / "images" / "current-0.png"
    run_example(
        "generate_report.py", monkeypatch, "--model", converted, "--image", image, "--prior_image", image,
        "--indication", "cough", "--max_length", 12,
    )  # fmt: skip
    assert len(capsys.readouterr().out.strip().splitlines()) <= 1


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_stage_script(table, tmp_path, monkeypatch, stage):
    tiny_tokenizer(tmp_path / "tokenizer")
    (tmp_path / "columns.json").write_text(json.dumps({"columns": COLUMNS}))
    run_example(
        "train.py", monkeypatch, stage, tmp_path / "columns.json", "--data", table, "--output_dir", tmp_path / "out", "--model", "tiny",
        "--tokenizer", tmp_path / "tokenizer", "--max_steps", 1, "--use_cpu", "--disable_tqdm", "true",
        *(["--generation_max_length", 10] if stage == "finetune" else []),
    )  # fmt: skip
    if stage == "finetune":
        report = json.loads((tmp_path / "out" / "training_report.json").read_text(encoding="utf-8"))
        assert "eval_unsupported_comparisons" in report["last_evaluation"]  # two validation studies, none with a prior
    assert (tmp_path / "out" / "training_report.json").is_file() and (tmp_path / "out" / "model.safetensors").is_file()


def test_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 120, path.name


def test_report_metrics_with_and_without_clinical_scores(converted):
    processor = PriorRGProcessor.from_pretrained(converted)
    predictions, references = ["the lungs are clear .", "no effusion ."], ["the lungs are clear .", "an effusion ."]
    clinical = {"chexbert_14_micro_f1": 0.5, "radgraph_partial_f1": 0.25}
    with_clinical = ReportMetrics(processor, clinical_scorer=lambda p, r: clinical).scores(predictions, references)
    assert with_clinical["rcb"] == pytest.approx(with_clinical["bleu_4"] + 0.75)
    assert with_clinical["rcb_is_fallback"] == 0.0
    metrics = ReportMetrics(processor, clinical_scorer=lambda p, r: {})
    without = metrics.scores(predictions, references)
    assert (
        without["rcb"] == pytest.approx(without["bleu_4"] + without["rouge_l"]) and without["rcb_is_fallback"] == 1.0
    )

    class Evaluation:
        predictions = processor.encode_reports(["Clear.", "Nothing."])["labels"].numpy()
        label_ids = processor.encode_reports(["Clear.", "Nothing."])["labels"].numpy()

    Evaluation.label_ids[1] = -100  # a study that could not be read
    assert metrics(Evaluation)["bleu_1"] == pytest.approx(1.0, abs=1e-6)


def test_report_metrics_count_comparisons_without_a_prior(converted):
    processor = PriorRGProcessor.from_pretrained(converted)
    texts = ["The effusion is unchanged.", "Clear lungs.", "The opacity has improved.", "Nothing."]

    class Evaluation:
        predictions = processor.encode_reports(texts)["labels"].numpy()
        label_ids = processor.encode_reports(["Small effusion.", "Clear lungs.", "The opacity has improved.", "x"])[
            "labels"
        ].numpy()

    Evaluation.label_ids[3] = -100  # a study that could not be read, with a prior
    rows = [{"prior_image": None}, {"prior_image": None}, {"prior_image": "film.png"}, {"prior_image": "film.png"}]
    assert priors_shown(rows) == [False, False, True, True]
    metrics = ReportMetrics(processor, clinical_scorer=lambda p, r: {}, has_prior=priors_shown(rows))
    scores = metrics(Evaluation)
    assert scores["unsupported_comparisons"] == 0.5
    assert scores["change_f1"] == 1.0  # the change said without a prior is no matter of F1
    plain = ReportMetrics(processor, clinical_scorer=lambda p, r: {})
    assert "unsupported_comparisons" not in plain(Evaluation) and plain(Evaluation)["change_f1"] < 1.0
    other = ReportMetrics(processor, clinical_scorer=lambda p, r: {}, has_prior=[True])
    assert "unsupported_comparisons" not in other(Evaluation)
