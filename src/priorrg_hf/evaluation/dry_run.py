"""What a run of reports or embeddings would take, measured on its first batch. Nothing is written."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .generation import collate_readable, count_earlier_reports


def _first_batch(processor, examples, batch_size: int):
    rows = [dict(examples[index]) for index in range(min(batch_size, len(examples)))]
    batch, readable, skipped = collate_readable(processor, rows)
    return batch, len(readable), len(skipped)


def _to(batch: Mapping[str, Any], model) -> dict[str, Any]:
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in batch.items()
    }


def plan_reports(
    model, processor, examples, output: str | os.PathLike | None, *, batch_size: int = 8, **generation
) -> dict[str, Any]:
    """
    What [`generate_reports`] would do with these arguments.

    Returns:
        `dict`: `studies`, `done` (reports that the output holds already, made of the same), `of_other_data_or_model` and
        `of_absent_studies` (reports over which the run would refuse, or which it would write anew and drop: `on_mismatch`),
        `unreadable_in_first_batch`, `seconds` (all that are missing, as measured on the first batch: opening images, encoding, decoding)
        and `writes`.
    """
    started = time.perf_counter()
    batch, readable, unreadable = _first_batch(processor, examples, batch_size)
    if readable:
        with torch.inference_mode():
            model.generate(**_to(batch, model), **generation)
    seconds = time.perf_counter() - started
    done = other = absent = 0
    if output is not None:
        done, other, absent = count_earlier_reports(model, processor, examples, output, generation)
    missing = len(examples) - done
    return {
        "studies": len(examples),
        "done": done or None,
        "of_other_data_or_model": other or None,
        "of_absent_studies": absent or None,
        "unreadable_in_first_batch": unreadable or None,
        "seconds": seconds / max(readable + unreadable, 1) * missing,
        "writes": None if output is None else str(output),
    }


def plan_retrieval(
    model: str | os.PathLike,
    data: str | os.PathLike,
    *,
    batch_size: int = 8,
    device: str | None = None,
    dtype: str = "float32",
    **studies,
) -> dict[str, Any]:
    """What [`run_retrieval`] would embed: studies under four conditions, and the time as measured on the first batch."""
    from .conditions import CONDITIONS
    from .evaluate import load_evaluation_data
    from .retrieval import load_stage_1

    examples = load_evaluation_data(data, require_findings=True, **studies).examples
    loaded, processor = load_stage_1(model, device=device, dtype=dtype)
    started = time.perf_counter()
    batch, readable, unreadable = _first_batch(processor, examples, batch_size)
    if readable:
        with torch.inference_mode():
            loaded.get_image_features(**_to(batch, loaded))
    seconds = (time.perf_counter() - started) / max(readable + unreadable, 1) * len(examples) * len(CONDITIONS)
    return {"reads": str(data), "studies": len(examples), "conditions": len(CONDITIONS), "seconds": seconds}


def plan_ablation(
    plan: Mapping[str, Any], *, only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> dict[str, Any]:
    """The trainings of an ablation plan. How long they take depends on the machine; the first variant's time tells."""
    variants = [variant["name"] for variant in plan["variants"] if not only or variant["name"] in only]
    unknown = sorted(set(only or ()) - {variant["name"] for variant in plan["variants"]})
    if unknown:
        raise ValueError(f"unknown variants {unknown}; the plan has {', '.join(v['name'] for v in plan['variants'])}")
    chosen = list(seeds if seeds is not None else plan["seeds"])
    return {
        "reads": "the phantom cohort, drawn by the run",
        "studies": plan["cohort"]["num_studies"],
        "variants": ", ".join(variants),
        "seeds": ", ".join(map(str, chosen)),
        "trainings": len(variants) * len(chosen),
        "epochs": f"{plan['stage_1']['num_train_epochs']} in stage 1, {plan['stage_2']['num_train_epochs']} in stage 2",
    }


__all__ = ["plan_ablation", "plan_reports", "plan_retrieval"]
