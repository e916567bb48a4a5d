"""Checkpoints that a kill cannot half-write, and resuming that restores every weight and nothing else.

Each checkpoint has a manifest with name, size and SHA-256 of its files. Before a run goes on from a checkpoint all of it is compared; a
damaged one is named and left out. (Hashing takes about a second a gigabyte with the SHA instructions of today's processors, and two to
three without; `optimizer.pt` is usually twice the size of the trained weights.)

Written against transformers 5.18 to 5.24. Two things of `Trainer` are replaced:
- It writes into `checkpoint-N` directly, so a kill while saving leaves a folder that looks complete and is not. Here the folder is
  written under another name and renamed once it is whole.
- It loads weights with `load_state_dict(strict=False)` from file names, while DINOv2 and others store their parameters under other
  names than they have in memory (since 5.18). Those weights would silently keep their initial values. Here checkpoints are read
  through `from_pretrained`, and a parameter that is not found is an error.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints
from transformers.utils import logging

from ..data.file_writing import disk_is_full, read_json_object, write_text_whole
from .callbacks import REPORT_NAME


logger = logging.get_logger(__name__)

STAGING_FOLDER = ".checkpoint-being-written"
REPLACED_SUFFIX = ".replaced"
# Set aside under this name a damaged checkpoint neither counts as the newest nor makes rotation delete a sound one.
DAMAGED_PREFIX = "damaged-"
MANIFEST_NAME = "checkpoint_manifest.json"
MANIFEST_FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message names the folder, the cause and what is still there."""


# ---- manifests ----


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: str | os.PathLike, paths: Iterable[Path] | None = None, **facts) -> None:
    """Writes the manifest of a complete checkpoint, or of some of a folder's files; `facts` are kept in it."""
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*") if paths is None else paths)
        if path.is_file() and path.name != MANIFEST_NAME
    }
    write_text_whole(
        folder / MANIFEST_NAME, json.dumps({"format": MANIFEST_FORMAT, **facts, "files": files}, indent=1) + "\n"
    )


def damage_of(folder: str | os.PathLike, contents: bool = True, needed: str | None = TRAINER_STATE_NAME) -> str | None:
    """What is wrong with a checkpoint, or None.

    Args:
        folder (`str`): the checkpoint.
        contents (`bool`, defaults to `True`): compare hashes too; without them names and sizes only.
        needed (`str`, *optional*): a file that the manifest must have.
    """
    folder = Path(folder)
    try:
        manifest = read_json_object(folder / MANIFEST_NAME)
    except FileNotFoundError:
        return f"{MANIFEST_NAME} is missing, so that nothing vouches for it"
    except (OSError, ValueError) as error:
        return f"{MANIFEST_NAME} cannot be read ({error})"
    files = manifest.get("files")
    if manifest.get("format") != MANIFEST_FORMAT or not isinstance(files, dict) or (needed and needed not in files):
        return f"{MANIFEST_NAME} is damaged, or of another version"
    for name, expected in files.items():
        path = folder / name
        try:
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["size"]:
                return f"{name} has {path.stat().st_size} bytes instead of {expected['size']}"
            if contents and _sha256(path) != expected["sha256"]:
                return f"{name} is not what was written (another SHA-256)"
        except (OSError, KeyError, TypeError) as error:
            return f"{name} cannot be read ({error})"
    return None


def _checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """Folders that are called checkpoints, newest first."""
    found = []
    for folder in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = folder.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
        if step.isdigit() and folder.is_dir():
            found.append((int(step), folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def last_complete_checkpoint(output_dir: str | os.PathLike, *, contents: bool = True) -> str | None:
    """The newest sound checkpoint under `output_dir`, or None if there is no checkpoint at all.

    Damaged ones are named in a warning and left out. With `contents=False` only names and sizes are compared.

    Raises:
        [`CheckpointError`]: there are checkpoints, and none is sound.
    """
    damaged: dict[str, str] = {}
    for folder in _checkpoints(output_dir):
        damage = damage_of(folder, contents)
        if damage is None:
            for name, reason in damaged.items():
                logger.warning(f"{name} is damaged and left out: {reason}. Going on from {folder}.")
            return str(folder)
        damaged[str(folder)] = damage
    if damaged:
        raise CheckpointError(
            f"no sound checkpoint is left in {os.fspath(output_dir)}: "
            + "; ".join(f"{name}: {reason}" for name, reason in damaged.items())
            + ". Nothing missing is made up: restore one of them from a copy, or train from the start in another folder."
        )
    return None


def complete_checkpoint_in_words(output_dir: str | os.PathLike) -> str:
    """For a message about something else, so that no failure of its own may come in between."""
    try:
        last = last_complete_checkpoint(output_dir, contents=False)
    except (CheckpointError, OSError):
        last = None
    return f"The last complete checkpoint is {last}." if last else "There is no complete checkpoint."


def resumable_checkpoint(resume_from: str | os.PathLike | bool | None, output_dir: str | os.PathLike) -> str | None:
    """The checkpoint that a run goes on from, compared with its manifest.

    Args:
        resume_from: a folder; `True` for the newest sound one of `output_dir`; `None` or `False` for none.
        output_dir (`str`): of the run.

    Raises:
        [`CheckpointError`]: the named folder is damaged, or none is sound.
    """
    if resume_from is None or resume_from is False:
        return None
    if resume_from is True:
        found = last_complete_checkpoint(output_dir)
        if found is None:
            raise ValueError(f"No valid checkpoint found in output directory ({os.fspath(output_dir)})")
        _check_parts(Path(found))
        return found
    folder = Path(resume_from)
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint {folder}")
    damage = damage_of(folder)
    if damage is not None:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged: {damage}. Resume with True (--resume) to go on from the newest sound one, or "
            "name another."
        )
    _check_parts(folder)
    return str(folder)


def _check_parts(folder: Path) -> None:
    """A checkpoint may be sound and yet hold too little: one saved with `save_only_model`."""
    names = {path.name for path in folder.rglob("*")}
    has_optimizer = any(name.startswith(("optimizer", "global_step", "rank")) for name in names)
    missing = [] if has_optimizer else ["optimizer state"]
    missing += (
        [] if "scheduler.pt" in names or any(n.startswith("global_step") for n in names) else ["scheduler state"]
    )
    missing += [] if any(name.startswith("rng_state") for name in names) else ["random state"]
    if missing:
        raise CheckpointError(
            f"the checkpoint {folder} was saved without {', '.join(missing)} (save_only_model?): training cannot go on from it as it "
            "was. Pass the folder as model to start a new run from its weights."
        )


def check_best(folder: str | os.PathLike) -> None:
    """Raises [`CheckpointError`] when the best checkpoint, to be loaded at the end of the run that goes on from `folder`, is no more."""
    best = read_json_object(Path(folder) / TRAINER_STATE_NAME).get("best_model_checkpoint")
    if not best or Path(best) == Path(folder):
        return
    damage = damage_of(best) if Path(best).is_dir() else "it is gone"
    if damage is not None:
        raise CheckpointError(
            f"the best checkpoint so far, {best}, would have to be loaded at the end, but {damage}. Put it back from a copy, or go on "
            "with load_best_model_at_end=False, to end with the last weights."
        )


def has_checkpoints(output_dir: str | os.PathLike) -> bool:
    """Whether there is a checkpoint, sound or not."""
    return bool(_checkpoints(output_dir))


def set_damaged_aside(output_dir: str | os.PathLike, newer_than: str | os.PathLike) -> None:
    """Renames the checkpoints newer than the one a run goes on from: they would count as the newest, and rotation would delete sound ones."""
    for folder in _checkpoints(output_dir):
        if folder.name == Path(newer_than).name:
            return
        if damage_of(folder) is not None:
            aside = folder.with_name(DAMAGED_PREFIX + folder.name)
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            logger.warning(f"the damaged checkpoint {folder} is now called {aside.name}; it may be deleted")


# ---- finished models ----


def _model_files(folder: Path) -> list[Path]:
    patterns = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def model_files_digest(folder: str | os.PathLike) -> str:
    """One SHA-256 over weights and configuration of a model folder."""
    parts = [f"{path.name}:{_sha256(path)}" for path in _model_files(Path(folder))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def seal(folder: str | os.PathLike) -> None:
    """Writes a manifest of the finished model in an output folder, for [`is_finished`]."""
    write_manifest(folder, _model_files(Path(folder)))


def is_finished(folder: str | os.PathLike) -> bool:
    """Whether a training run ended in this folder, with its model sealed.

    Raises:
        [`CheckpointError`]: it did, but the model is no longer what it was.
    """
    folder = Path(folder)
    try:
        finished = read_json_object(folder / REPORT_NAME).get("status") == "finished"
    except (OSError, ValueError):
        return False
    if not finished or not (folder / MANIFEST_NAME).is_file():
        return False
    damage = damage_of(folder, needed="config.json")
    if damage is not None:
        raise CheckpointError(
            f"the finished model in {folder} is damaged: {damage}. Delete the folder to train it again."
        )
    return True


# ---- saving ----


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


# ---- loading ----


def load_exactly(model: PreTrainedModel, folder: str) -> None:
    """Copies every parameter and buffer of the checkpoint in `folder` into `model`; raises if one of them is missing."""
    try:
        loaded: Any = type(model).from_pretrained(
            folder, config=model.config, dtype=model.dtype, output_loading_info=True, local_files_only=True
        )
        stored, info = loaded
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the weights of the checkpoint {folder} cannot be read ({error})") from error
    problems = {
        kind: sorted(map(str, info[kind]))
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    if problems:
        raise CheckpointError(f"the checkpoint {folder} does not fit the model: {problems}")
    model.load_state_dict(stored.state_dict(), strict=True)
    model.tie_weights()


if TYPE_CHECKING:  # what the mixins stand before
    from transformers import Trainer as _TrainerBase
else:
    _TrainerBase = object


class WholeCheckpointsMixin(_TrainerBase):
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
            # Every process has written its random state by now.
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                if self.state.best_model_checkpoint == str(staged):
                    self.state.best_model_checkpoint = str(final)
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
                write_manifest(staged, step=self.state.global_step, processes=self.args.world_size)
        except Exception as error:  # the tokenizers library raises bare ones
            shutil.rmtree(self._staging, ignore_errors=True)
            if not disk_is_full(error):
                raise
            raise CheckpointError(
                f"no space left to write {name} in {run_folder} ({error}). {complete_checkpoint_in_words(run_folder)} "
                "Free some space (or lower save_total_limit), then resume with resume_from_checkpoint=True."
            ) from error
        finally:
            self._staging = None
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
        except Exception as error:  # the tokenizers library raises bare ones
            # Inside a checkpoint, `_save_checkpoint` clears up and explains.
            if _internal_call or self._staging is not None or not disk_is_full(error):
                raise
            folder = output_dir or self.args.output_dir
            raise CheckpointError(
                f"no space left to write the model into {folder} ({error}); what lies there is incomplete. "
                f"{complete_checkpoint_in_words(self.args.output_dir or '')} Free some space, then resume with resume_from_checkpoint=True."
            ) from error

    def _loads_exactly(self) -> bool:
        # FSDP and DeepSpeed shard the weights and PEFT stores adapters only: their own loaders know how.
        return isinstance(self.model, PreTrainedModel) and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if not self._loads_exactly():
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        logger.info(f"Loading model from {resume_from_checkpoint}.")
        load_exactly(cast(PreTrainedModel, self.model), resume_from_checkpoint)

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint or ""
        damage = damage_of(best) if Path(best).is_dir() else "it is gone"
        if damage is not None:
            raise CheckpointError(
                f"the best checkpoint {best} cannot be loaded at the end: {damage}. "
                f"{complete_checkpoint_in_words(self.args.output_dir or '')} Train with load_best_model_at_end=False to end with the last "
                "weights, which that checkpoint holds."
            )
        if not self._loads_exactly():
            return super()._load_best_model()
        logger.info(f"Loading best model from {self.state.best_model_checkpoint} (score: {self.state.best_metric}).")
        load_exactly(cast(PreTrainedModel, self.model), best)


__all__ = ["CheckpointError", "WholeCheckpointsMixin", "damage_of", "last_complete_checkpoint", "resumable_checkpoint"]
