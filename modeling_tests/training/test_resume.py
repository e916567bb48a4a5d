"""A killed run, resumed, ends with bit-identical parameters and losses; a kill while saving loses nothing."""

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import resume_run
import torch
from training_helpers import contrastive_trainer, example_rows, processor_and_config, stage_1_model

from priorrg_hf.training.checkpointing import CheckpointError, last_complete_checkpoint, load_exactly, publish_folder


# A clean process that has imported everything is forked for each run: real processes, without paying the imports every time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["resume_run"])


def start(folder: Path, **settings):
    folder.mkdir(exist_ok=True)
    process = PROCESSES.Process(target=resume_run.train, args=(folder, settings))
    process.start()
    return process


def finish(process, expected: int = 0) -> None:
    process.join(timeout=240)
    assert process.exitcode == expected


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        (1, {"freeze_vision": False, "train_sampling_strategy": "group_by_length"}),
        (1, {"freeze_vision": True}),
        (
            2,
            {
                "freeze_vision": True,
                "dataloader_num_workers": 1,
                "dataloader_persistent_workers": True,
                "save_steps": 3,
            },
        ),
        (2, {"freeze_vision": False, "load_best_model_at_end": True, "save_steps": 1, "save_total_limit": 2}),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, stage, arguments):
    """Shuffling, augmentation, dropout, plateau, two learning rates, frozen and trained vision encoder; SIGKILL in mid-epoch."""
    settings = {"stage": stage, "arguments": arguments}
    whole = start(tmp_path / "whole", **settings)
    finish(start(tmp_path / "killed", **settings, kill_at_step=5), -signal.SIGKILL)
    finish(start(tmp_path / "killed", **settings, resume=True))
    finish(whole)
    expected, found = result(tmp_path / "whole"), result(tmp_path / "killed")
    # 10 studies make 3 steps: checkpoint 3 lies at the end of the first epoch, checkpoint 4 in the middle of the second
    assert found.pop("resumed_from") == ("checkpoint-3" if arguments.get("save_steps") == 3 else "checkpoint-4")
    assert expected.pop("resumed_from") is None
    assert len(expected["losses"]) == 6 and expected == found
    assert expected["learning_rates"][0] < 1e-2, "the plateau was never reached, so its state was not tested"


def test_kill_while_saving_loses_nothing(tmp_path):
    settings = {"stage": 1, "arguments": {"freeze_vision": True, "save_steps": 2}}
    finish(start(tmp_path, **settings, kill_while_saving=4), -signal.SIGKILL)
    run = tmp_path / "run"
    assert last_complete_checkpoint(run).endswith("checkpoint-2") and not (run / "checkpoint-4").exists()
    assert any(run.rglob("optimizer.pt")), "the kill must have come in the middle of a save"
    finish(start(tmp_path, **settings, resume=True))
    assert result(tmp_path)["resumed_from"] == "checkpoint-2"
    assert last_complete_checkpoint(run).endswith("checkpoint-6")
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_replacing_a_checkpoint_of_the_same_step(tmp_path):
    for name, text in (("staged", "new"), ("checkpoint-1", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text(text)
    publish_folder(tmp_path / "staged", tmp_path / "checkpoint-1")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    assert (tmp_path / "checkpoint-1" / "trainer_state.json").read_text() == "new"


def test_trained_vision_weights_come_back_and_a_missing_one_is_an_error(tmp_path):
    processor, config = processor_and_config(tmp_path)
    model = stage_1_model(config)
    model.save_pretrained(tmp_path / "saved")
    other = stage_1_model(config, seed=1)
    load_exactly(other, str(tmp_path / "saved"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name

    state = {k: v for k, v in model.state_dict().items() if "query" not in k and "q_proj" not in k}
    model.save_pretrained(tmp_path / "broken", state_dict=state)
    with pytest.raises(CheckpointError, match="missing_keys"):
        load_exactly(other, str(tmp_path / "broken"))


def test_resume_without_a_checkpoint_says_so(tmp_path):
    processor, config = processor_and_config(tmp_path)
    trainer = contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, example_rows(4))
    with pytest.raises(ValueError, match="No valid checkpoint"):
        trainer.train(resume_from_checkpoint=True)
