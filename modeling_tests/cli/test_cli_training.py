"""priorrg pretrain, finetune and precompute, on a made-up table and on the real data where it is present."""

import json
import os
import re
import subprocess
import sys

import pytest
from hub_helpers import tiny_tokenizer
from shared_files import SHARED, needs
from training_helpers import write_study_table
from typer.testing import CliRunner

from priorrg_hf import PriorRGForContrastivePretraining, PriorRGForReportGeneration, PriorRGProcessor
from priorrg_hf.cli import app
from priorrg_hf.training.runs import CONFIGS_FOLDER


QUICK = ["--use_cpu", "--disable_tqdm", "true", "--batch-size", "4", "--num-train-epochs", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    tiny_tokenizer(folder / "tokenizer")
    return write_study_table(folder)


@pytest.fixture(scope="module")
def stage_1(table, tmp_path_factory):
    output = tmp_path_factory.mktemp("stage1")
    result = run("pretrain", "-d", table, "-o", output, "tiny", "--tokenizer", table / "tokenizer", *QUICK)
    assert result.exit_code == 0, result.output
    assert "finished" in result.output
    return output


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_pretrain_makes_a_folder_that_loads(stage_1):
    model = PriorRGForContrastivePretraining.from_pretrained(stage_1)
    processor = PriorRGProcessor.from_pretrained(stage_1)
    assert model.config.view_positions == processor.view_positions and "PA" in processor.view_positions
    report = json.loads((stage_1 / "training_report.json").read_text())
    assert report["status"] == "finished" and report["stage"] == "alignment"
    assert report["arguments"]["per_device_train_batch_size"] == 4


def test_torchrun_starts_two_processes_that_train_one_model(table, tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *("-m", "priorrg_hf", "pretrain", "-d", table, "-o", tmp_path, "tiny"),
        *("--tokenizer", table / "tokenizer", *QUICK, "--ddp_backend", "gloo", "--max_steps", "2"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["status"] == "finished" and report["steps"] == 2
    assert report["processes"] == 2
    assert PriorRGForContrastivePretraining.from_pretrained(tmp_path).logit_scale.isfinite()


def test_finetune_from_stage_1_and_resume(table, stage_1, tmp_path):
    options = ["finetune", "-d", table, "-o", tmp_path, stage_1, *QUICK, "--generation_max_length", "20"]
    result = run(*options)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["last_evaluation"]["eval_rcb_is_fallback"] in (0.0, 1.0)
    assert report["watched_metric"] == "rcb" and report["best_metric"] == report["last_evaluation"]["eval_rcb"]
    assert report["learning_rates"] == [5e-5, 5e-6]
    PriorRGForReportGeneration.from_pretrained(tmp_path)

    again = run(*options, "--num-train-epochs", "2", "--resume")
    assert again.exit_code == 0, again.output
    resumed = json.loads((tmp_path / "training_report.json").read_text())
    assert resumed["epochs"] == 2 and resumed["log_history"][0] == report["log_history"][0]


def test_precompute_then_train_from_the_cache(table, tmp_path):
    model = ["tiny", "--tokenizer", table / "tokenizer"]
    for expected in ("13 computed now", " 0 computed now"):
        result = run("precompute", "-d", table, "-o", tmp_path / "cache", *model, "--layers", "all", "--verify")
        assert result.exit_code == 0 and expected in result.output, result.output
    for stage in ("pretrain", "finetune"):
        result = run(stage, "-d", table, "-o", tmp_path / stage, *model, *QUICK, "--feature-cache", tmp_path / "cache")
        assert result.exit_code == 0, result.output
    other_weights = run(
        "pretrain",
        "-d",
        table,
        "-o",
        tmp_path / "x",
        *model,
        *QUICK,
        "--feature-cache",
        tmp_path / "cache",
        "--seed",
        "1",
    )
    assert other_weights.exit_code == 2 and "another vision encoder" in other_weights.output


def test_config_file_and_options(table, tmp_path):
    config = {
        "data": str(table),
        "model": "tiny",
        "tokenizer": str(table / "tokenizer"),
        "max_steps": 5,
        "use_cpu": True,
        "disable_tqdm": True,
        "lr_scheduler_kwargs": {"mode": "min", "patience": 3},
    }
    (tmp_path / "run.json").write_text(json.dumps(config))
    result = run("pretrain", "--config", tmp_path / "run.json", "-o", tmp_path / "out", "--max_steps", "1")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "training_report.json").read_text())["steps"] == 1
    (tmp_path / "run.yaml").write_text("learning_rat: 0.1\n")
    result = run("pretrain", "--config", tmp_path / "run.yaml", "-o", tmp_path / "out")
    assert result.exit_code == 2 and "did you mean 'learning_rate'" in result.output
    result = run("pretrain", "-o", tmp_path / "out", "--wieght_decay", "0.1")
    assert result.exit_code == 2 and "Did you mean --weight-decay?" in result.output


@pytest.mark.parametrize("name", [path.name for path in sorted(CONFIGS_FOLDER.glob("*.json"))])
def test_argument_files_of_the_examples_parse(name):
    from priorrg_hf import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments
    from priorrg_hf.training.runs import parse_run_arguments, read_argument_file

    stage = PriorRGContrastiveTrainingArguments if name.startswith("pretrain") else PriorRGReportTrainingArguments
    values = {**read_argument_file(CONFIGS_FOLDER / name), "use_cpu": True}
    _, _, training = parse_run_arguments(stage, values)
    total = training.per_device_train_batch_size * training.gradient_accumulation_steps
    if "2cores" not in name:
        studies = total * (8 if "8gpu" in name else 1)
        assert studies == (64 if stage is PriorRGContrastiveTrainingArguments else 32), (
            "batch x accumulation of the recipe"
        )


def test_errors_name_the_problem(table, stage_1, tmp_path):
    new = ["tiny", "--tokenizer", table / "tokenizer", *QUICK]
    assert "no output folder" in run("pretrain", "-d", table, *new).output
    assert "no studies given" in run("pretrain", "-o", tmp_path, *new).output

    report_model = tmp_path / "stage2"
    PriorRGForReportGeneration.from_pretrained(stage_1).save_pretrained(report_model)
    PriorRGProcessor.from_pretrained(stage_1).save_pretrained(report_model)
    result = run("pretrain", "-d", table, "-o", tmp_path / "out", report_model, *QUICK)
    assert result.exit_code == 2 and re.search(r"is a\s+stage-2 model", result.output)

    shared_patient = write_study_table(tmp_path / "shared")
    splits = json.loads((shared_patient / "splits.json").read_text())
    splits["validation"].append(splits["train"][0])
    (shared_patient / "splits.json").write_text(json.dumps(splits))
    result = run("pretrain", "-d", shared_patient, "-o", tmp_path / "out", *new)
    assert result.exit_code == 2 and "patient" in result.output and "split" in result.output


def test_table_without_validation_split(table, tmp_path):
    result = run(
        "pretrain", "-d", table, "-o", tmp_path, "tiny", "--tokenizer", table / "tokenizer", *QUICK,
        "--validation_split", "nowhere",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["last_evaluation"] is None and report["steps"] == 1


@needs("data/cxr_longitudinal")
@needs("gpt2_tokenizer")
def test_both_stages_on_the_real_data(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    common = [
        "--disable_tqdm",
        "true",
        "--max_steps",
        "2",
        "--max_train_studies",
        "16",
        "--max_validation_studies",
        "4",
    ]
    common += ["-d", str(SHARED / "data/cxr_longitudinal"), "--batch-size", "8"]
    stage_1, stage_2 = str(tmp_path / "1"), str(tmp_path / "2")
    done = subprocess.run(
        [sys.executable, "-m", "priorrg_hf", "pretrain", "tiny", "-o", stage_1, *common]
        + ["--tokenizer", str(SHARED / "gpt2_tokenizer")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "63 examples of split 'train' have no findings" in done.stdout + done.stderr
    result = run("finetune", stage_1, "-o", stage_2, *common, "--generation_max_length", "10", "--use_cpu")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "2" / "training_report.json").read_text())["steps"] == 2
