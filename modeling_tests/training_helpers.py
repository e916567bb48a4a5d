"""Tiny studies, models and trainers for the training tests. Everything is made up; no image or note of a patient."""

import contextlib
import json
from pathlib import Path

import numpy as np
import torch
from hub_helpers import tiny_config, tiny_processor
from PIL import Image

from priorrg_hf import (
    PriorRGContrastiveTrainer,
    PriorRGContrastiveTrainingArguments,
    PriorRGForContrastivePretraining,
    PriorRGForReportGeneration,
    PriorRGReportTrainer,
    PriorRGReportTrainingArguments,
)


FINDINGS = (
    "Lungs are clear.",
    "Left effusion, larger than before.",
    "Right base opacity.",
    "Heart is enlarged.",
    "Tube in place. No pneumothorax.",
    "Oedema has improved.",
)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 36), dtype=np.uint8))


def example_rows(count: int, *, priors: str = "every second", image_folder: Path | None = None) -> list[dict]:
    """Example rows; `priors` is `"every second"`, `"none"` or `"all"`. With `image_folder` images are files."""

    def image(name: str, seed: int):
        if image_folder is None:
            return picture(seed)
        path = image_folder / f"{name}.png"
        if not path.exists():
            image_folder.mkdir(parents=True, exist_ok=True)
            picture(seed).save(path)
        return str(path)

    rows = []
    for index in range(count):
        has_prior = {"none": False, "all": True, "every second": index % 2 == 1}[priors]
        rows.append(
            {
                "example_id": f"example-{index}",
                "study_id": f"study-{index}",
                "patient_id": f"patient-{index // 2}",
                "image": image(f"current-{index}", index),
                "prior_image": image(f"prior-{index}", 1000 + index) if has_prior else None,
                "view_position": ("PA", "AP")[index % 2],
                "prior_view_position": "PA" if has_prior else None,
                "indication": "cough" if index % 3 else None,
                "history": "smoker" if index % 4 == 1 else None,
                "findings": FINDINGS[index % len(FINDINGS)],
            }
        )
    return rows


def write_study_table(folder: Path, count: int = 12) -> Path:
    """A folder with studies.jsonl, splits.json and images, with one study without findings."""
    rows = example_rows(count, image_folder=folder / "images")
    with (folder / "studies.jsonl").open("w", encoding="utf-8") as file:
        for index, row in enumerate(rows):
            prior = row["prior_image"] and {
                "image": str(Path(row["prior_image"]).relative_to(folder)),
                "view": row["prior_view_position"],
                "day": 0,
            }
            study = {
                "study_id": row["study_id"],
                "patient_id": row["patient_id"],
                "image": str(Path(row["image"]).relative_to(folder)),
                "view": row["view_position"],
                "day": 1 if prior else 0,
                "prior": prior,
                "indication": row["indication"],
                "history": row["history"],
                "findings": None if index == 1 else row["findings"],
            }
            file.write(json.dumps(study) + "\n")
    patients = sorted({row["patient_id"] for row in rows})
    splits = {"train": patients[:-2], "validation": patients[-2:-1], "test": patients[-1:]}
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder


def processor_and_config(folder: Path, **config_kwargs):
    processor = tiny_processor(folder)
    config = tiny_config(processor.tokenizer, **config_kwargs)
    for part, names in (
        (config.text_config, ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        (config.decoder_config, ("resid_pdrop", "embd_pdrop", "attn_pdrop")),
    ):
        for name in names:
            setattr(part, name, 0.0)
    for part in (config, config.vision_config, config.text_config, config.decoder_config):
        part.initializer_range = 0.05  # small enough to train in a few steps
    return processor, config


def stage_1_model(config, seed: int = 0) -> PriorRGForContrastivePretraining:
    torch.manual_seed(seed)
    return PriorRGForContrastivePretraining(config)


def stage_2_model(config, seed: int = 0) -> PriorRGForReportGeneration:
    torch.manual_seed(seed)
    model = PriorRGForReportGeneration(config)
    model.generation_config.max_length = 40
    return model


QUIET = {"use_cpu": True, "disable_tqdm": True, "logging_steps": 1, "dataloader_pin_memory": False, "loss_plot": False}
NO_EVALUATION = {
    "eval_strategy": "no",
    "lr_scheduler_type": "constant",
    "load_best_model_at_end": False,
    "save_strategy": "no",
}


def contrastive_trainer(folder, model, processor, train, evaluate=None, **kwargs) -> PriorRGContrastiveTrainer:
    settings = {**QUIET, **({} if evaluate else NO_EVALUATION), "per_device_train_batch_size": 4, **kwargs}
    arguments = PriorRGContrastiveTrainingArguments(output_dir=str(folder), **settings)
    return PriorRGContrastiveTrainer(
        model, arguments, train_dataset=train, eval_dataset=evaluate, processing_class=processor
    )


def report_trainer(folder, model, processor, train, evaluate=None, compute_metrics=None, **kwargs):
    settings = {
        **QUIET,
        **({} if evaluate else NO_EVALUATION),
        "per_device_train_batch_size": 4,
        "generation_max_length": 40,
        "generation_num_beams": 1,
        "metric_for_best_model": "loss",
        **kwargs,
    }
    arguments = PriorRGReportTrainingArguments(output_dir=str(folder), **settings)
    return PriorRGReportTrainer(
        model,
        arguments,
        train_dataset=train,
        eval_dataset=evaluate,
        processing_class=processor,
        compute_metrics=compute_metrics,
    )


def gradients_of_step(
    trainer, batches: list[list[dict]], losses: list[float] | None = None
) -> dict[str, torch.Tensor]:
    """Gradients of one update over `batches`, as the trainer's own loop makes them, without the optimiser step.

    `losses` receives what the trainer would log for each batch.
    """
    collated = [trainer.data_collator(rows) for rows in batches]
    trainer.current_gradient_accumulation_steps = len(collated)
    samples, num_items = trainer.get_batch_samples(iter(collated), len(collated), trainer.args.device)
    trainer.model.zero_grad()
    for index, inputs in enumerate(samples):
        last = index == len(samples) - 1
        with contextlib.nullcontext() if last else trainer.accelerator.no_sync(trainer.model_wrapped):
            loss = trainer.training_step(trainer.model_wrapped, inputs, num_items)
        if losses is not None:
            losses.append(
                float(loss)
                / (1 if trainer.report_task == "generation" or trainer.args.gradient_cache else len(samples))
            )
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Largest difference of two sets of gradients, relative to the largest entry of each tensor.

    Some gradients are zero by nature (biases of attention keys) and hold rounding noise only: entries below a millionth of the largest
    gradient count as that much.
    """
    assert first.keys() == second.keys()
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in first.values())
    return max(float((first[n] - second[n]).abs().max()) / max(float(first[n].abs().max()), floor) for n in first)
