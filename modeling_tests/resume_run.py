"""A training run that can kill itself, run in a process of its own by test_resume.py."""

import hashlib
import json
import os
import signal
from pathlib import Path

import torch
from training_helpers import (
    contrastive_trainer,
    example_rows,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
)
from transformers import TrainerCallback

from priorrg_hf.training.checkpointing import last_complete_checkpoint


class KillAtStep(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_while_saving(trainer, step: int) -> None:
    save = trainer._save_optimizer_and_scheduler

    def killed(output_dir):
        if trainer.state.global_step == step:
            Path(output_dir, "optimizer.pt").write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
        save(output_dir)

    trainer._save_optimizer_and_scheduler = killed


def train(output: Path, settings: dict) -> None:
    torch.set_num_threads(1)
    processor, config = processor_and_config(output / "processor")
    config.text_config.hidden_dropout_prob = 0.1
    config.decoder_config.resid_pdrop = 0.1
    rows = example_rows(10)
    arguments = {
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 4,
        # Waits for the falling loss to rise, so that the learning rates drop at every second evaluation.
        "lr_scheduler_kwargs": {"mode": "max", "factor": 0.5, "patience": 1},
        "early_stopping_patience": 0,
        "augmentation": True,
        "prior_dropout": 0.3,
        "load_best_model_at_end": False,
        **settings["arguments"],
    }
    if settings["stage"] == 1:
        trainer = contrastive_trainer(output / "run", stage_1_model(config), processor, rows, rows[:4], **arguments)
    else:
        trainer = report_trainer(
            output / "run", stage_2_model(config), processor, rows, rows[:4], predict_with_generate=False, **arguments
        )
    if settings.get("kill_at_step"):
        trainer.add_callback(KillAtStep(settings["kill_at_step"]))
    if settings.get("kill_while_saving"):
        kill_while_saving(trainer, settings["kill_while_saving"])
    resume_from = last_complete_checkpoint(output / "run") if settings.get("resume") else None
    trainer.train(resume_from_checkpoint=resume_from)

    digest = hashlib.sha256()
    for name, tensor in sorted(trainer.model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    result = {
        "parameters": digest.hexdigest(),
        "losses": {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry},
        "evaluations": {e["step"]: e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e},
        "learning_rates": trainer.learning_rates(),
        "resumed_from": resume_from and Path(resume_from).name,
    }
    (output / "result.json").write_text(json.dumps(result), encoding="utf-8")
