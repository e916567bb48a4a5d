"""Processes with workers, to be killed by test_worker_processes.py: `python worker_run.py KIND FOLDER`."""

import sys
import time
from pathlib import Path

import torch

from priorrg_hf.data.worker_processes import end_with_parent


class LargeItems(torch.utils.data.Dataset):
    """Larger than a pipe: the workers hang in writing, where torch's own watch does not help."""

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return "x" * 3_000_000


def load(folder: Path, context: str) -> None:
    loader = torch.utils.data.DataLoader(
        LargeItems(), batch_size=None, num_workers=2, prefetch_factor=4, worker_init_fn=end_with_parent,
        multiprocessing_context=context,
    )  # fmt: skip
    next(iterator := iter(loader))
    (folder / "ready").touch()
    time.sleep(120)
    del iterator


def draw(folder: Path) -> None:
    from priorrg_hf.phantom import make_phantom_cohort

    (folder / "ready").touch()
    make_phantom_cohort(5000, 0, 224, num_proc=2, cache_dir=str(folder / "cache"))


def train(folder: Path) -> None:
    from training_helpers import contrastive_trainer, example_rows, processor_and_config, stage_1_model
    from transformers import TrainerCallback

    class Ready(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            (folder / "ready").touch()

    torch.set_num_threads(1)
    processor, config = processor_and_config(folder / "processor")
    trainer = contrastive_trainer(
        folder / "run", stage_1_model(config), processor, example_rows(24), max_steps=100_000, dataloader_num_workers=2,
        save_strategy="steps", save_steps=10, save_total_limit=2,
    )  # fmt: skip
    trainer.add_callback(Ready())
    trainer.train()


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    if kind == "train":
        train(place)
    elif kind == "draw":
        draw(place)
    else:
        load(place, kind)
