"""One process of a gloo group: gradients of one update on its share of the studies. Started by test_distributed.py."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from training_helpers import (
    contrastive_trainer,
    example_rows,
    gradients_of_step,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
)


def shares(case: str) -> list[list[dict]]:
    """The studies of each of two processes. Together they are what one process gets as one batch."""
    rows = example_rows(6, priors="all")
    for index, row in enumerate(rows):
        # As published, padded tokens take part in BatchNorm statistics: texts of one length keep padding out of the comparison.
        row.update(
            findings=f"Finding {'abcdef'[index] * 9}.", indication="cough" if index % 2 else "fever", history=None
        )
    rows[4].update(study_id=rows[0]["study_id"], patient_id=rows[0]["patient_id"])  # a positive in the other process
    if case in ("unequal priors", "no prior in one process"):
        hidden = {"unequal priors": (0, 1, 4), "no prior in one process": (3, 4, 5)}[case]
        for index in hidden:
            rows[index]["prior_image"] = rows[index]["prior_view_position"] = None
    if case == "no prior anywhere":
        for row in rows:
            row["prior_image"] = row["prior_view_position"] = None
    return [rows[:2], rows[2:]] if case == "unequal batches" else [rows[:3], rows[3:]]


def update(folder: Path, stage: int, batches: list[list[dict]], **arguments):
    processor, config = processor_and_config(folder)
    make_trainer, make_model = {1: (contrastive_trainer, stage_1_model), 2: (report_trainer, stage_2_model)}[stage]
    model = make_model(config).double()
    trainer = make_trainer(folder, model, processor, [row for rows in batches for row in rows], **arguments)
    if dist.is_initialized():
        trainer.create_optimizer()
        wrapped = trainer.accelerator.prepare_model(trainer.model)
        assert type(wrapped).__name__ == "DistributedDataParallel"
        trainer.model_wrapped = wrapped
    losses = []
    gradients = gradients_of_step(trainer, batches, losses)
    return sum(losses), gradients, {n: b.clone() for n, b in trainer.model.named_buffers() if "running" in n}


def whole_run(folder: Path, stage: int, **arguments) -> dict:
    """Training with evaluation, checkpoints and the best model loaded at the end; only a few studies have a prior."""
    processor, config = processor_and_config(folder / f"processor{dist.get_rank()}")
    rows = example_rows(9)
    for row in rows[2:]:
        row["prior_image"] = row["prior_view_position"] = None
    make_trainer, make_model = {1: (contrastive_trainer, stage_1_model), 2: (report_trainer, stage_2_model)}[stage]
    trainer = make_trainer(
        folder / f"run{stage}",
        make_model(config),
        processor,
        rows,
        rows[:3],
        num_train_epochs=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        **arguments,
    )
    trainer.train()
    trainer.save_model()
    digest = sum(float(p.double().sum()) for p in trainer.model.parameters())
    shares = [entry["share_with_prior"] for entry in trainer.state.log_history if "share_with_prior" in entry]
    return {
        "digest": digest,
        "steps": trainer.state.global_step,
        "shares": shares,
        "best": trainer.state.best_model_checkpoint,
    }


def main(folder: Path, cases: list[dict]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    results = []
    for case in cases:
        own = shares(case["case"])[rank]
        batches = [own[start:end] for start, end in case.get("batches", [[0, len(own)]])]
        results.append(update(folder / f"rank{rank}", case["stage"], batches, **case["arguments"]))
    runs = [whole_run(folder, 1, sync_batch_norm=True), whole_run(folder, 2)]
    torch.save({"updates": results, "runs": runs}, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
