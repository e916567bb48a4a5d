"""What a resumed run must share with the run that wrote the checkpoint, and what of its settings has no effect.

The settings travel in `trainer_state.json`, as the state of a callback. Checkpoints without them are resumed unchecked.
"""

import json
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.utils import logging


logger = logging.get_logger(__name__)

# A change of these makes the resumed run pass over other studies than those that were seen.
_ORDER = {
    "global_batch_size": "studies in an update (per_device_train_batch_size x gradient_accumulation_steps x processes)",
    "training_examples": "training examples",
    "seed": "seed of the order",
}
# The optimizer and the schedule come from the checkpoint, whatever is typed.
_RESTORED = ("learning_rate", "encoder_learning_rate", "weight_decay", "lr_scheduler_type", "optim")


class RunSettings(TrainerCallback, ExportableState):
    """Keeps the settings of a run in its checkpoints."""

    def __init__(self, trainer: Any = None):
        self.trainer = trainer

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"settings": run_settings(self.trainer) if self.trainer is not None else {}}}


def run_settings(trainer: Any) -> dict[str, Any]:
    """The settings of a trainer that matter when its run is resumed, as plain values."""
    args, dataset = trainer.args, trainer.train_dataset
    settings = {name: getattr(args, name, None) for name in _RESTORED}
    settings = {name: getattr(value, "value", value) for name, value in settings.items()}
    return {
        **settings,
        "global_batch_size": args.per_device_train_batch_size
        * max(1, args.n_gpu)
        * args.gradient_accumulation_steps
        * args.world_size,
        "training_examples": len(dataset) if hasattr(dataset, "__len__") else None,
        "seed": args.data_seed if args.data_seed is not None else args.seed,
    }


def check_resumed_settings(trainer: Any, folder: str | os.PathLike) -> None:
    """Compares a trainer with the run that wrote the checkpoint `folder`.

    Raises `ValueError` where the resumed run would repeat and skip studies; warns of settings that the checkpoint overrules.
    """
    try:
        state = json.loads((Path(folder) / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        stored = state["stateful_callbacks"]["RunSettings"]["attributes"]["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    now = run_settings(trainer)
    for name, title in _ORDER.items():
        if stored.get(name) is not None and now[name] is not None and stored[name] != now[name]:
            raise ValueError(
                f"{folder} was written by a run with {stored[name]} {title}, this one has {now[name]}: it would repeat some studies "
                "and skip others. Resume with the same, or start a new run from the checkpoint's weights."
            )
    for name in _RESTORED:
        if name in stored and stored[name] != now[name]:
            logger.warning(
                f"{name}={now[name]} has no effect: the resumed run goes on with the optimizer and the schedule of {folder}, where it is "
                f"{stored[name]}. To change it, start a new run from the checkpoint's weights."
            )
