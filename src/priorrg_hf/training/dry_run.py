"""What a run would do, found out without doing it: studies, updates, and a time measured on one batch of the run's own."""

import copy
import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import torch

from .runs import (
    DataArguments,
    ModelArguments,
    adapt_to_missing_validation,
    architecture_of,
    build_for_finetuning,
    build_for_pretraining,
    load_training_examples,
    views_of,
)
from .trainer import PriorRGContrastiveTrainer, PriorRGReportTrainer
from .training_args import PriorRGRecipeArguments


def plan_training(
    stage: str, data: DataArguments, model: ModelArguments, training: PriorRGRecipeArguments
) -> dict[str, Any]:
    """
    What `run_pretraining` or `run_finetuning` would do with these arguments. Writes nothing.

    Args:
        stage (`str`): `"pretrain"` or `"finetune"`.
        data, model, training: the arguments of the run.

    Returns:
        `dict`: `reads`, `train_studies`, `validation_studies`, `left_out`, `model`, `updates`, `writes`, and `seconds`, the time of all
        updates as measured on one batch (forward and backward). Evaluations and saving are not in it.

    Raises:
        `ValueError`: as the run itself would.
    """
    examples = load_training_examples(data)
    build = {"pretrain": build_for_pretraining, "finetune": build_for_finetuning}[stage]
    network, processor = build(model, views_of(examples["train"], examples["validation"]))
    trainer_class = {"pretrain": PriorRGContrastiveTrainer, "finetune": PriorRGReportTrainer}[stage]
    writes = training.output_dir
    training = copy.copy(training)
    training.fill_feature_cache = False
    adapt_to_missing_validation(training, examples["validation"])
    # The trainer makes its folder when it is made.
    with tempfile.TemporaryDirectory() as training.output_dir:
        trainer = trainer_class(
            model=network,
            args=training,
            train_dataset=examples["train"],
            eval_dataset=examples["validation"],
            processing_class=processor,
        )
        loader = trainer.get_train_dataloader()
        per_epoch = max(len(loader) // training.gradient_accumulation_steps, 1)
        updates = training.max_steps if training.max_steps > 0 else int(per_epoch * training.num_train_epochs)
        seconds = _seconds_of_a_batch(trainer, next(iter(loader)))
    return {
        "reads": data.data,
        "train_studies": len(examples["train"]),
        "validation_studies": 0 if examples["validation"] is None else len(examples["validation"]),
        "left_out": sum(examples["left_out"].values()),
        "model": f"{type(network).__name__}, {sum(p.numel() for p in network.parameters()):,} parameters, from {model.model}",
        "updates": updates,
        "seconds": seconds * updates * training.gradient_accumulation_steps,
        "writes": writes,
        "already_there": len(os.listdir(writes)) if writes and os.path.isdir(writes) else None,
    }


def _seconds_of_a_batch(trainer, batch: Mapping[str, Any]) -> float:
    """Forward and backward pass of a batch; the first pass warms up and is not counted."""
    model = trainer._wrap_model(trainer.model).to(trainer.args.device)
    model.train()
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, trainer._prepare_inputs(batch))
        loss.backward()
        model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return seconds


def plan_precompute(
    data: DataArguments,
    model: ModelArguments,
    folder: str | os.PathLike,
    *,
    batch_size: int = 16,
    device: str | None = None,
) -> dict[str, Any]:
    """What `run_precompute` would do, with the time of its images as measured on one batch. Writes nothing."""
    examples = load_training_examples(data)
    parts = [examples[name] for name in ("train", "validation") if examples[name] is not None]
    is_report_model = architecture_of(model.model) == "PriorRGForReportGeneration"
    build = build_for_finetuning if is_report_model else build_for_pretraining
    network, processor = build(model, views_of(*parts))
    vision = network.model.vision_model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    images = sum(sum(image is not None for image in part[name]) for part in parts for name in ("image", "prior_image"))
    side = processor.image_processor.crop_size["height"]
    pixels = torch.zeros(min(batch_size, images), 3, side, side, device=vision.device, dtype=vision.dtype)
    with torch.inference_mode():
        vision(pixels)
        started = time.perf_counter()
        vision(pixels)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / len(pixels) * images
    return {"reads": data.data, "images": images, "seconds": seconds, "writes": str(folder)}


__all__ = ["plan_precompute", "plan_training"]
