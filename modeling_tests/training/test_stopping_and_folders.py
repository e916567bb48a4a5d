"""Signals leave a report, two runs never share a folder, a folder that holds a run is not replaced unasked, a full disk is told."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training_helpers import (
    contrastive_trainer,
    example_rows,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
    write_study_table,
)
from transformers import TrainerCallback

from priorrg_hf.data.file_writing import OutputError
from priorrg_hf.data.locking import LockedError, exclusive
from priorrg_hf.training import runs
from priorrg_hf.training.checkpointing import CheckpointError, is_finished, seal
from priorrg_hf.training.interruption import TrainingTerminated
from priorrg_hf.training.training_args import PriorRGContrastiveTrainingArguments


SCRIPT = Path(__file__).parents[1] / "worker_run.py"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return processor_and_config(tmp_path_factory.mktemp("processor"))


def report_of(folder: Path) -> dict:
    return json.loads((folder / "training_report.json").read_text())


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, None)])
def test_a_signal_leaves_a_report_and_the_proper_exit_code(tmp_path, sent, code):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "train", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # A suite that a shell runs in the background hands on an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    error = process.stderr.read().decode()
    process.wait(timeout=60)
    report = report_of(tmp_path / "run")
    assert report["status"] == "stopped" and report["steps"] >= 1
    if code is not None:
        assert process.returncode == code, error
        assert report["error"] == f"TrainingTerminated: stopped by {sent.name}" and "Traceback" not in error
    assert not [p.name for p in (tmp_path / "run").iterdir() if "lock" in p.name]


class Kill(TrainerCallback):
    def __init__(self, number):
        self.number = number

    def on_step_end(self, args, state, control, **kwargs):
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("stage", [1, 2])
def test_both_stages_and_handlers_come_back(tmp_path, parts, stage):
    processor, config = parts
    make, model = (contrastive_trainer, stage_1_model) if stage == 1 else (report_trainer, stage_2_model)
    trainer = make(tmp_path, model(config), processor, example_rows(8), max_steps=5)
    trainer.add_callback(Kill(signal.SIGTERM))
    with pytest.raises(TrainingTerminated) as stopped:
        trainer.train()
    assert stopped.value.code == 143 and report_of(tmp_path)["status"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_was_ignored_stays_ignored(tmp_path, parts):
    processor, config = parts
    trainer = contrastive_trainer(tmp_path, stage_1_model(config), processor, example_rows(8), max_steps=2)
    trainer.add_callback(Kill(signal.SIGHUP))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        trainer.train()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert report_of(tmp_path)["status"] == "finished"


# ---- nothing to learn ----


@pytest.mark.parametrize(
    ("rows", "arguments", "words"),
    [
        (8, {"per_device_train_batch_size": 1}, "batch of one study"),
        (8, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}, "batch of one study"),
        (8, {"per_device_train_batch_size": 1, "gradient_cache": True}, "batch of one study"),
        (1, {}, "a single one"),
        (8, {"per_device_eval_batch_size": 1, "evaluate": True}, "per_device_eval_batch_size"),
    ],
)
def test_stage_1_is_refused_where_nothing_would_be_learned(tmp_path, parts, rows, arguments, words):
    processor, config = parts
    arguments = {"gradient_accumulation_steps": 1, **arguments}
    evaluate = example_rows(4) if arguments.pop("evaluate", False) else None
    trainer = contrastive_trainer(
        tmp_path / "run", stage_1_model(config), processor, example_rows(rows), evaluate, **arguments
    )
    with pytest.raises(ValueError, match=words):
        trainer.train()
    assert not (tmp_path / "run" / "training_report.json").exists()


def test_views_of_one_study_are_one_study(tmp_path, parts):
    processor, config = parts
    rows = [{**row, "study_id": "s", "patient_id": "p"} for row in example_rows(4)]
    trainer = contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows)
    with pytest.raises(ValueError, match="a single one"):
        trainer.train()


def test_batches_of_one_with_cached_gradients_learn(tmp_path, parts):
    processor, config = parts
    trainer = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, example_rows(4), per_device_train_batch_size=1, max_steps=1,
        gradient_accumulation_steps=4, gradient_cache=True, freeze_batch_norm=True,
    )  # fmt: skip
    trainer.train()
    assert report_of(tmp_path)["last_loss"] > 0
    one = report_trainer(
        tmp_path / "two", stage_2_model(config), processor, example_rows(2), per_device_train_batch_size=1, max_steps=1
    )
    one.train()  # stage 2 learns from single studies


# ---- folders ----


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_study_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def start(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("start")
    stage_1_model(parts[1]).save_pretrained(folder)
    parts[0].save_pretrained(folder)
    return folder


def pretrain(table, start, output, **arguments):
    training = PriorRGContrastiveTrainingArguments(
        output_dir=str(output), max_steps=1, per_device_train_batch_size=4, per_device_eval_batch_size=4, use_cpu=True,
        disable_tqdm=True, eval_strategy="no", lr_scheduler_type="constant", load_best_model_at_end=False,
        metric_for_best_model=None, save_strategy="steps", save_steps=1, loss_plot=False, **arguments,
    )  # fmt: skip
    return runs.run_pretraining(runs.DataArguments(data=str(table)), runs.ModelArguments(model=str(start)), training)


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_a_run_is_not_replaced_unasked(tmp_path, table, start):
    output = tmp_path / "run"
    assert pretrain(table, start, output)["status"] == "finished"
    before = contents(output)
    with pytest.raises(OutputError, match="holds a training run already"):
        pretrain(table, start, output)
    assert contents(output) == before
    assert pretrain(table, start, output, resume_from_checkpoint="auto")["status"] == "finished"
    (output / "checkpoint-1").rename(output / "checkpoint-90")
    pretrain(table, start, output, overwrite_output_dir=True)
    assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-1"], "none of the old run is left"


@pytest.mark.parametrize("name", ["config.json", "training_report.json", "README.md", "checkpoint-7/notes"])
def test_files_of_others_in_the_output_folder(tmp_path, table, start, name):
    output = tmp_path / "run"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    if name == "README.md":  # which no run writes
        pretrain(table, start, output)
    else:
        before = contents(output)
        with pytest.raises(OutputError):
            pretrain(table, start, output)
        assert contents(output) == before
    assert (output / name).read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_model_is_not_trained_over_itself(table, start, overwrite):
    before = contents(start)
    with pytest.raises(OutputError):
        pretrain(table, start, start, overwrite_output_dir=overwrite)
    assert contents(start) == before


def test_two_runs_in_one_folder(tmp_path, table, start):
    import threading

    failures = []

    def second():
        for run in (
            lambda: pretrain(table, start, tmp_path / "run"),
            lambda: pretrain(table, start, tmp_path / "run", resume_from_checkpoint="auto"),
        ):
            try:
                run()
            except LockedError as error:
                failures.append(str(error))

    with exclusive(tmp_path / "run", "priorrg finetune", folder=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failures) == 2 and f"priorrg finetune (process {os.getpid()}" in failures[0]


def test_the_trainer_itself_locks_too(tmp_path, parts):
    processor, config = parts
    trainer = contrastive_trainer(tmp_path, stage_1_model(config), processor, example_rows(8), max_steps=1)
    import threading

    failures = []

    def second():
        try:
            trainer.train()
        except LockedError as error:
            failures.append(error)

    with exclusive(tmp_path, "another", folder=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert failures


# ---- a full disk ----


@pytest.mark.parametrize("where", ["log", "report"])
def test_a_full_disk_outside_of_checkpoints(tmp_path, parts, monkeypatch, where):
    processor, config = parts
    trainer = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, example_rows(8), max_steps=2, save_strategy="steps", save_steps=1
    )

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "log":

        class Full(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                if state.global_step == 2:
                    full()

        trainer.add_callback(Full())
    else:
        monkeypatch.setattr("priorrg_hf.training.callbacks.write_text_whole", full)
    words = "checkpoint-1" if where == "log" else "No space"
    with pytest.raises((CheckpointError, OSError), match=words) as found:
        trainer.train()
    if where == "log":
        assert "resume" in str(found.value) and str(tmp_path) in str(found.value)


# ---- finished models of demo and ablations ----


def test_a_finished_model_that_was_changed_is_not_taken_for_it(tmp_path, parts):
    processor, config = parts
    trainer = contrastive_trainer(tmp_path, stage_1_model(config), processor, example_rows(8), max_steps=1)
    assert not is_finished(tmp_path)
    trainer.train()
    trainer.save_model()
    assert not is_finished(tmp_path), "not sealed"
    seal(tmp_path)
    assert is_finished(tmp_path)
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100:] = bytes(100)
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not what was written"):
        is_finished(tmp_path)


@pytest.mark.parametrize("saving", ["checkpoint", "model"])
@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # tokenizers
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 773056 vs 772944"),  # torch.save
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ],
)
def test_a_full_disk_in_every_way_that_libraries_say_it(tmp_path, parts, monkeypatch, saving, error):
    processor, config = parts
    trainer = contrastive_trainer(
        tmp_path, stage_1_model(config), processor, example_rows(8), max_steps=2, save_strategy="steps", save_steps=1
    )
    if saving == "model":
        trainer.train()
    calls = []
    save = type(processor).save_pretrained

    def full(self, folder, **kwargs):
        calls.append(folder)
        if saving == "model" or len(calls) == 2:
            raise error
        return save(self, folder, **kwargs)

    monkeypatch.setattr(type(processor), "save_pretrained", full)
    last = "checkpoint-1" if saving == "checkpoint" else "checkpoint-2"
    with pytest.raises(CheckpointError, match=f"no space left.*The last complete checkpoint is .*{last}.*resume"):
        trainer.train() if saving == "checkpoint" else trainer.save_model()
