"""Damaged checkpoints are named and left out; nothing missing is made up."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_helpers import contrastive_trainer, example_rows, processor_and_config, stage_1_model, stage_2_model

from priorrg_hf import PriorRGForReportGeneration
from priorrg_hf.training.checkpointing import (
    MANIFEST_NAME,
    CheckpointError,
    damage_of,
    last_complete_checkpoint,
    load_exactly,
    resumable_checkpoint,
)


SETTINGS = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return processor_and_config(tmp_path_factory.mktemp("processor"))


def run(folder: Path, parts, resume=None, **changes):
    processor, config = parts
    trainer = contrastive_trainer(
        folder, stage_1_model(config), processor, example_rows(10), **{**SETTINGS, **changes}
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory, parts):
    """A run of three steps with the checkpoints 2 and 3."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder, parts)
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    return folder


@pytest.fixture()
def folder(tmp_path, finished):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero_a_part(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = len(content) // 2
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)


def flip_the_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "config.json")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in FILES for damage in (delete, cut, empty, zero_a_part, flip_the_last_bit)]
    + [(MANIFEST_NAME, damage) for damage in (delete, cut, empty, zero_a_part)],
)
def test_each_damage_is_seen_and_the_sound_one_before_is_taken(folder, name, damage, caplog):
    damage(folder / "checkpoint-3" / name)
    assert name in damage_of(folder / "checkpoint-3")
    with pytest.raises(CheckpointError, match="checkpoint-3 is damaged"):
        resumable_checkpoint(folder / "checkpoint-3", folder)
    assert Path(resumable_checkpoint(True, folder)).name == "checkpoint-2"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_resumed_run_ends_as_the_undamaged_one(folder, finished, parts, name):
    zero_a_part(folder / "checkpoint-3" / name)
    trainer = run(folder, parts, resume=True, save_total_limit=1)
    expected = run(folder.parent / "whole", parts)
    for key, value in expected.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[key]), key
    # set aside, so that rotation keeps the newest sound one
    assert (folder / "damaged-checkpoint-3").is_dir()
    assert Path(last_complete_checkpoint(folder)).name == "checkpoint-3"


def test_without_a_sound_checkpoint_nothing_is_trained(folder, parts):
    delete(folder / "checkpoint-3" / "scheduler.pt")
    cut(folder / "checkpoint-2" / "optimizer.pt")
    before = sorted(str(path) for path in folder.rglob("*"))
    for resume in (True, str(folder / "checkpoint-2")):
        with pytest.raises(CheckpointError, match="optimizer.pt has"):
            run(folder, parts, resume=resume)
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_a_checkpoint_without_optimizer_is_not_gone_on_from(tmp_path, parts):
    run(tmp_path / "run", parts, save_only_model=True)
    with pytest.raises(CheckpointError, match="without optimizer state"):
        run(tmp_path / "run", parts, resume=True, max_steps=4)


def test_a_lost_best_checkpoint_is_told_before_training_goes_on(tmp_path, parts):
    processor, config = parts
    settings = {**SETTINGS, "save_total_limit": 3, "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    settings["greater_is_better"] = True  # the loss falls: the first is called best
    settings.update(eval_strategy="steps", eval_steps=1, lr_scheduler_type="constant", early_stopping_patience=0)
    rows = example_rows(10)
    first = contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows, rows[:4], **settings)
    first.train()
    state = tmp_path / "run" / "checkpoint-3" / "trainer_state.json"
    best = json.loads(state.read_text())["best_model_checkpoint"]
    assert Path(best).name != "checkpoint-3"
    shutil.rmtree(best)
    again = contrastive_trainer(
        tmp_path / "run", stage_1_model(config), processor, rows, rows[:4], **{**settings, "max_steps": 5}
    )
    with pytest.raises(CheckpointError, match="it is gone"):
        again.train(resume_from_checkpoint=True)


def test_a_stage_2_that_began_from_stage_1_misses_nothing_silently(tmp_path, parts):
    """What stage 1 lacks may be new when the model is made, and must be there in its checkpoints."""
    _, config = parts
    stage_1_model(config).save_pretrained(tmp_path / "stage1")
    model = PriorRGForReportGeneration.from_pretrained(tmp_path / "stage1")
    stage_2_model(config).save_pretrained(tmp_path / "stage2")
    load_exactly(model, str(tmp_path / "stage2"))
    weights = tmp_path / "stage2" / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if ".h.0.ln_1." not in name}
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"decoder\.transformer\.h\.0\.ln_1"):
        load_exactly(model, str(tmp_path / "stage2"))
