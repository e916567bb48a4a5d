"""Training steps with and without the feature cache of the frozen vision encoder, both stages.

    python benchmarks/feature_cache.py --size small --images 32 --batch-size 8 --tokenizer distilbert/distilgpt2
    python benchmarks/feature_cache.py --size base --images 4 --batch-size 2 --steps 1

A step is: open and preprocess the images (or read the cache), forward, backward, optimiser, through the trainers' own collator and
`training_step`. Images are made-up 1024 x 1024 PNG files in a temporary folder; every second study has a prior. All figures come from one run.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import set_seed

from priorrg_hf import (
    PriorRGContrastiveTrainer,
    PriorRGContrastiveTrainingArguments,
    PriorRGForContrastivePretraining,
    PriorRGForReportGeneration,
    PriorRGReportTrainer,
    PriorRGReportTrainingArguments,
)
from priorrg_hf.training.feature_cache import precompute_features
from priorrg_hf.training.presets import new_config, new_processor, preset_settings


def make_examples(folder: Path, count: int) -> list[dict]:
    random = np.random.default_rng(0)
    rows = []
    for index in range(count):
        paths = []
        for name in ("current", "prior")[: 1 + index % 2]:
            path = folder / f"{name}-{index}.png"
            coarse = Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8))
            coarse.resize((1024, 1024), Image.Resampling.BICUBIC).save(path)
            paths.append(str(path))
        rows.append(
            {
                "example_id": str(index),
                "study_id": str(index),
                "patient_id": str(index),
                "image": paths[0],
                "prior_image": paths[1] if len(paths) > 1 else None,
                "view_position": "PA",
                "prior_view_position": "PA" if len(paths) > 1 else None,
                "indication": "Cough and fever for three days.",
                "history": "Smoker.",
                "findings": "The lungs are clear. No pleural effusion. " * 4,
            }
        )
    return rows


def seconds_per_step(trainer, rows: list[dict], batch_size: int, steps: int) -> tuple[float, float]:
    """Wall and processor seconds of the fastest of `steps` steps after one to warm up."""
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    times, processor_times = [], []
    for number in range(steps + 1):
        first = (number * batch_size) % max(1, len(rows) - batch_size + 1)
        start, processor_start = time.perf_counter(), time.process_time()
        inputs = trainer.data_collator(rows[first : first + batch_size])
        samples, num_items = trainer.get_batch_samples(iter([inputs]), 1, trainer.args.device)
        trainer.training_step(trainer.model, samples[0], num_items)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        processor_times.append(time.process_time() - processor_start)
    return min(times[1:]), min(processor_times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--images", type=int, default=32, help="Studies.")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokenizer", default="distilbert/distilgpt2", help="GPT-2 vocabulary: folder or Hub id.")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    options = parser.parse_args()

    processor = new_processor(options.tokenizer, preset_settings(options.size)["image_size"])
    config = new_config(options.size, processor)
    stages = {
        1: (PriorRGForContrastivePretraining, PriorRGContrastiveTrainer, PriorRGContrastiveTrainingArguments, "last"),
        2: (PriorRGForReportGeneration, PriorRGReportTrainer, PriorRGReportTrainingArguments, "all"),
    }
    print(f"{options.size}, {options.images} studies, batch {options.batch_size}, {torch.get_num_threads()} threads")
    print(
        "| stage | source | s/step | processor s/step | faster | less processor time | MiB per study | s to precompute an image |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = make_examples(folder, options.images)
        for stage, (model_class, trainer_class, arguments_class, layers) in stages.items():
            set_seed(0)
            model = model_class(config)

            def measure(cache=None, arguments_class=arguments_class, trainer_class=trainer_class, model=model):
                arguments = arguments_class(str(folder / "run"), disable_tqdm=True, feature_cache=cache)
                trainer = trainer_class(
                    model, arguments, train_dataset=rows, eval_dataset=rows, processing_class=processor
                )
                return seconds_per_step(trainer, rows, options.batch_size, options.steps)

            from_images, busy = measure()
            print(f"| {stage} | images | {from_images:.3f} | {busy:.3f} | 1.0x | 1.0x | - | - |", flush=True)
            for dtype in options.dtypes.split(","):
                cache = str(folder / f"cache-{stage}-{dtype}")
                start = time.perf_counter()
                facts = precompute_features(
                    model, processor, rows, cache, layers=layers, dtype=dtype, batch_size=4, progress=False
                )
                seconds = (time.perf_counter() - start) / facts["computed"]
                from_cache, cache_busy = measure(cache)
                print(
                    f"| {stage} | cache, {dtype} | {from_cache:.3f} | {cache_busy:.3f} | "
                    f"{from_images / from_cache:.1f}x | {busy / cache_busy:.1f}x | "
                    f"{facts['bytes'] / len(rows) / 2**20:.2f} | {seconds:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
