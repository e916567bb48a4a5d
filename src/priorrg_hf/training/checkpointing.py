"""Checkpoints that a kill cannot half-write, and resuming that restores every weight.

Written against transformers 5.18 to 5.23. Two things of `Trainer` are replaced:
- It writes into `checkpoint-N` directly, so a kill while saving leaves a folder that looks complete and is not. Here the folder is
  written under another name and renamed once it is whole.
- It loads weights with `load_state_dict(strict=False)` from file names, while DINOv2 and others store their parameters under other
  names than they have in memory (since 5.18). Those weights would silently keep their initial values. Here checkpoints are read
  through `from_pretrained`, and a parameter that is not found is an error.
"""

import errno
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints
from transformers.utils import logging


logger = logging.get_logger(__name__)

STAGING_FOLDER = ".checkpoint-being-written"
REPLACED_SUFFIX = ".replaced"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message names the folder, the cause and what is still there."""


def last_complete_checkpoint(output_dir: str | os.PathLike) -> str | None:
    """The newest complete checkpoint under `output_dir`, or None. Leftovers of an interrupted save are never returned."""
    found = []
    for folder in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = folder.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
        if step.isdigit() and (folder / TRAINER_STATE_NAME).is_file():
            found.append((int(step), str(folder)))
    return max(found)[1] if found else None


def recover_interrupted_saves(output_dir: str | os.PathLike) -> None:
    """Removes half-written checkpoints and puts back one whose replacement was interrupted between two renames."""
    output_dir = Path(output_dir)
    shutil.rmtree(output_dir / STAGING_FOLDER, ignore_errors=True)
    for replaced in output_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*{REPLACED_SUFFIX}"):
        original = replaced.with_name(replaced.name.removesuffix(REPLACED_SUFFIX))
        if original.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(original)


def publish_folder(staged: Path, final: Path) -> None:
    """Moves a finished folder into its place by renaming, replacing an older one of the same name."""
    replaced = final.with_name(final.name + REPLACED_SUFFIX)
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    staged.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)


def disk_is_full(error: BaseException) -> bool:
    """Whether an exception means that the disk, a quota or a file size limit is exhausted."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        return True
    # torch.save reports a failed write without the cause.
    if "PytorchStreamWriter failed writing" in str(error):
        return True
    return any(f"os error {code}" in str(error) or os.strerror(code) in str(error) for code in full)


def load_exactly(model: PreTrainedModel, folder: str) -> None:
    """Copies every parameter and buffer of the checkpoint in `folder` into `model`; raises if one of them is missing."""
    stored, info = type(model).from_pretrained(
        folder, config=model.config, dtype=model.dtype, output_loading_info=True, local_files_only=True
    )
    problems = {
        kind: sorted(map(str, info[kind]))
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    if problems:
        raise CheckpointError(f"the checkpoint {folder} does not fit the model: {problems}")
    model.load_state_dict(stored.state_dict(), strict=True)
    model.tie_weights()


class WholeCheckpointsMixin:
    """For a `Trainer` subclass: atomic checkpoints, exact loading of the last and the best one."""

    _staging: Path | None = None

    def _get_output_dir(self, trial) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, STAGING_FOLDER) if self._staging is not None else folder

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # Uploads run in the background: start them once the folder has its final name.
        if self._staging is None:
            super()._push_from_checkpoint(checkpoint_folder)

    def _save_checkpoint(self, model, trial) -> None:
        run_folder = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._staging = run_folder / STAGING_FOLDER
        staged, final = self._staging / name, run_folder / name
        if self.args.should_save:
            shutil.rmtree(self._staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                if self.state.best_model_checkpoint == str(staged):
                    self.state.best_model_checkpoint = str(final)
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(self._staging, ignore_errors=True)
            if not disk_is_full(error):
                raise
            last = last_complete_checkpoint(run_folder)
            raise CheckpointError(
                f"no space left to write {name} in {run_folder} ({error}). "
                + (f"The last complete checkpoint is {last}. " if last else "There is no earlier checkpoint. ")
                + "Free some space (or lower save_total_limit), then resume with resume_from_checkpoint=True."
            ) from error
        finally:
            self._staging = None
        # Every process has written its random state by now; only then does the folder get its name.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            publish_folder(staged, final)
            shutil.rmtree(staged.parent, ignore_errors=True)
            rotate_checkpoints(
                output_dir=str(run_folder),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )
        self.accelerator.wait_for_everyone()
        # The other processes saw the staged name.
        if self.state.best_model_checkpoint == str(staged):
            self.state.best_model_checkpoint = str(final)
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(final))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As `Trainer.save_model`; a full disk is a [`CheckpointError`] that names what is still there."""
        try:
            super().save_model(output_dir, _internal_call)
        except (OSError, SafetensorError, RuntimeError) as error:
            # Inside a checkpoint, `_save_checkpoint` clears up and explains.
            if _internal_call or self._staging is not None or not disk_is_full(error):
                raise
            folder = output_dir or self.args.output_dir
            last = last_complete_checkpoint(self.args.output_dir)
            raise CheckpointError(
                f"no space left to write the model into {folder} ({error}); what lies there is incomplete. "
                + (f"The last complete checkpoint is {last}. " if last else "There is no checkpoint. ")
                + "Free some space, then resume with resume_from_checkpoint=True."
            ) from error

    def _loads_exactly(self) -> bool:
        # FSDP and DeepSpeed shard the weights and PEFT stores adapters only: their own loaders know how.
        return isinstance(self.model, PreTrainedModel) and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if not self._loads_exactly():
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        logger.info(f"Loading model from {resume_from_checkpoint}.")
        load_exactly(self.model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if not self._loads_exactly():
            return super()._load_best_model()
        logger.info(f"Loading best model from {self.state.best_model_checkpoint} (score: {self.state.best_metric}).")
        load_exactly(self.model, self.state.best_model_checkpoint)


__all__ = ["CheckpointError", "WholeCheckpointsMixin", "last_complete_checkpoint"]
