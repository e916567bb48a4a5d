"""Example rows -> processor -> batch, for both training stages.

Unusual about it:
- Everything random (augmentation, dropout of prior and context) is a function of seed, epoch and example id alone. So worker
  processes, their number and an interrupted run change nothing: a resumed run sees bit-identical batches.
- A study whose image cannot be read never changes the shape of a batch: its place is taken by another study of the batch (with its
  report masked in stage 2, so that no report counts twice), because processes of different batch sizes would wait for each other.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from .augmentation import ChestXrayAugmentation


# Keys that the trainers take out of a batch before the model sees it.
BATCH_METADATA = "batch_metadata"


class UnreadableStudyError(ValueError):
    """A study could not be turned into model inputs; the message names the study, the reason and the remedy."""


def has_text(value: str | None) -> bool:
    """Whether a field of the clinical context says anything."""
    return bool(value and value.strip())


class PriorRGDataCollator:
    """Turns a list of example rows into a training batch.

    An example row is a flat mapping with `example_id, study_id, patient_id, image, prior_image, view_position,
    prior_view_position, indication, history, findings`; see `priorrg_hf.data.as_examples`. Images may be anything the processor
    opens.

    Args:
        processor ([`PriorRGProcessor`]): images and text to tensors.
        report_task (`str`): `"alignment"` (stage 1: `report_input_ids`, `study_ids`) or `"generation"` (stage 2: `labels`).
        augmentation ([`ChestXrayAugmentation`], *optional*): applied to current and prior images, each with its own draw.
        prior_dropout (`float`): probability of hiding an existing prior.
        context_dropout (`float`): probability of hiding indication and history.
        feature_cache ([`FeatureCache`], *optional*): take vision features from it instead of opening images.
        bad_study (`str`): `"skip"` fills the place of an unreadable study with another of the batch; `"raise"` stops.
        seed (`int`): seed of everything random here.
        training (`bool`): `False` switches augmentation and dropout off.
        with_reports (`bool`): `False` leaves the reports out, for rows that have none (prediction).

    Returns a dictionary of tensors, plus `batch_metadata` (example ids, which have a context, what was skipped and why).
    """

    def __init__(
        self,
        processor,
        report_task: str,
        *,
        augmentation: ChestXrayAugmentation | None = None,
        prior_dropout: float = 0.0,
        context_dropout: float = 0.0,
        feature_cache=None,
        bad_study: str = "skip",
        seed: int = 42,
        training: bool = True,
        with_reports: bool = True,
    ):
        if report_task not in ("alignment", "generation"):
            raise ValueError(f"report_task must be 'alignment' or 'generation', got {report_task!r}")
        if bad_study not in ("skip", "raise"):
            raise ValueError(f"bad_study must be 'skip' or 'raise', got {bad_study!r}")
        self.processor = processor
        self.report_task = report_task
        self.augmentation = augmentation
        self.prior_dropout = prior_dropout
        self.context_dropout = context_dropout
        self.feature_cache = feature_cache
        self.bad_study = bad_study
        self.seed = seed
        self.training = training
        self.with_reports = with_reports
        # Shared memory: persistent worker processes see the epoch that the trainer sets in the main process.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainers at the start of an epoch; changes what is drawn for each example."""
        self._epoch.fill_(epoch)

    def for_evaluation(self, with_reports: bool = True) -> "PriorRGDataCollator":
        """The same collator without augmentation and dropout; without the reports, if asked for."""
        return PriorRGDataCollator(
            self.processor,
            self.report_task,
            feature_cache=self.feature_cache,
            bad_study=self.bad_study,
            seed=self.seed,
            training=False,
            with_reports=with_reports,
        )

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        rows = [self._drop_inputs(dict(row)) for row in rows]
        batch, rows, problems = self._collate_readable(rows)
        masked = list(problems)
        if masked and "labels" in batch:
            batch["labels"][masked] = -100
        if self.training and self.augmentation is not None and "pixel_values" in batch:
            self._augment(batch, rows)
        batch[BATCH_METADATA] = {
            "example_ids": [str(row["example_id"]) for row in rows],
            "has_context": [has_text(row.get("indication")) or has_text(row.get("history")) for row in rows],
            "skipped": dict(problems.values()),
        }
        return batch

    def _generator(self, row: Mapping[str, Any], purpose: str) -> torch.Generator:
        key = f"{self.seed}\x00{self.epoch}\x00{row['example_id']}\x00{purpose}"
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1
        return torch.Generator().manual_seed(seed)

    def _drop_inputs(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self.training or not (self.prior_dropout or self.context_dropout):
            return row
        draw = torch.rand(2, generator=self._generator(row, "dropout"))
        if float(draw[0]) < self.prior_dropout:
            row["prior_image"] = row["prior_view_position"] = None
        if float(draw[1]) < self.context_dropout:
            row["indication"] = row["history"] = None
        return row

    def _collate(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        texts = {
            "indication": [row.get("indication") for row in rows],
            "history": [row.get("history") for row in rows],
            "view_positions": [row.get("view_position") for row in rows],
            "prior_view_positions": [
                row.get("prior_view_position") if row.get("prior_image") is not None else None for row in rows
            ],
            "reports": [row.get("findings") for row in rows] if self.with_reports else None,
            "report_task": self.report_task,
        }
        if self.report_task == "alignment":
            # Studies are the same when patient and study id match.
            texts["study_ids"] = [f"{row.get('patient_id')}/{row['study_id']}" for row in rows]
        if self.feature_cache is not None:
            return self.feature_cache.batch(self.processor, rows, texts)
        return dict(
            self.processor(
                images=[row["image"] for row in rows],
                prior_images=[row.get("prior_image") for row in rows],
                return_tensors="pt",
                **texts,
            )
        )

    def _collate_readable(self, rows):
        """The batch, its rows with the unreadable ones replaced, and what was replaced: place -> (example id, reason)."""
        problems: dict[int, tuple[str, str]] = {}
        sources, filled = list(range(len(rows))), list(rows)
        while True:
            try:
                return self._collate(filled), filled, problems
            except Exception as error:
                row = getattr(error, "row", None)
                place = None if row is None else sources[row]
                if place is None or place in problems:
                    raise  # no single study is at fault: a mistake in the call or the processor
                name, reason = str(rows[place].get("example_id")), f"{type(error).__name__}: {error}"
                if self.bad_study == "raise":
                    raise UnreadableStudyError(self._describe(name, reason)) from error
                problems[place] = (name, reason)
                if len(rows) > 1 and len(problems) == len(rows):
                    raise UnreadableStudyError(
                        f"no study of this batch can be read ({_hint(problems)}): "
                        + "; ".join(self._describe(*problem) for problem in problems.values())
                    ) from error
                sources, filled = self._fill(rows, problems)

    @staticmethod
    def _fill(rows, problems):
        readable = [index for index in range(len(rows)) if index not in problems]
        sources, filled = list(range(len(rows))), list(rows)
        for turn, place in enumerate(problems):
            if readable:
                sources[place] = readable[turn % len(readable)]
                filled[place] = rows[sources[place]]
            else:
                # A batch of one has no other study to borrow. A black image and an empty report stand in: masked in stage 2, and
                # in stage 1 the loss of a single study is zero.
                blank = dict.fromkeys(
                    ("prior_image", "prior_view_position", "view_position", "indication", "history"), None
                )
                filled[place] = {
                    **rows[place],
                    **blank,
                    "image": Image.new("L", (64, 64)),
                    "findings": "",
                    "is_blank": True,
                }
        return sources, filled

    @staticmethod
    def _describe(name: str, reason: str) -> str:
        return (
            f"study {name}: {reason}. Repair or remove it, or train with bad_study='skip' to leave such studies out."
        )

    def _augment(self, batch: dict[str, Any], rows) -> None:
        if self.augmentation is None:
            return
        for index, row in enumerate(rows):
            batch["pixel_values"][index] = self.augmentation(
                batch["pixel_values"][index], self._generator(row, "current")
            )
            if batch["prior_mask"][index]:
                batch["prior_pixel_values"][index] = self.augmentation(
                    batch["prior_pixel_values"][index], self._generator(row, "prior")
                )


def _hint(problems: dict[int, tuple[str, str]]) -> str:
    """What a whole batch of unreadable studies probably has in common."""
    if all(", reports:" in reason for _, reason in problems.values()):
        return "they have no findings: is the column mapped, --column findings=NAME?"
    return "is the image root right?"


class SkippedStudies:
    """Counts the studies that the collators of a run left out, and names each of them once in a warning."""

    def __init__(self):
        self.reasons: dict[str, str] = {}

    def add(self, skipped: Mapping[str, str]) -> None:
        for example_id, reason in skipped.items():
            if example_id not in self.reasons:
                self.reasons[example_id] = reason
                warnings.warn(f"study {example_id} is left out of training: {reason}", stacklevel=2)

    def __len__(self) -> int:
        return len(self.reasons)


__all__ = ["PriorRGDataCollator", "SkippedStudies", "UnreadableStudyError"]
