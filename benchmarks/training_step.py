"""Training steps of both stages: seconds, studies per second, peak memory, and floating-point work against the machine's peak.

    python benchmarks/training_step.py --size small --batch-size 8 [--device cuda] [--variants plain,bf16,checkpointing,compile,cached]
    python benchmarks/training_step.py --size base --batch-size 2 --stages 2

A step is forward, backward and fused AdamW on random inputs, half of the studies with a prior, the vision encoder frozen. Variants:
`plain` (float32), `bf16` (autocast), `checkpointing` (activations of the vision-free parts recomputed), `compile` (torch.compile), `cached`
(vision features given). Each row runs in a process of its own, so that its peak memory is its own; the matrix-product peak is measured in the
same process right before, so that the ratio holds on a noisy machine. On CPUs both are taken per second of processor time. Work is counted by torch's flop counter (matrix products and
convolutions, forward and backward as executed; recomputation is not counted as useful work).
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(function, device: str) -> tuple[float, float]:
    """Wall seconds and processor seconds (all threads) of a call."""
    synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    function()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """Best measured FLOP/s of a square matrix product; on CPUs per second of processor time."""
    size = 8192 if device == "cuda" else 1536
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    a @ b
    times = [timed(lambda: a @ b, device)[device == "cpu"] for _ in range(6)]
    return 2 * size**3 / min(times)


def build(size: str, image_size: int | None, stage: int):
    """A model of preset shapes with random weights, and its vocabulary size."""
    from priorrg_hf import PriorRGConfig, PriorRGForContrastivePretraining, PriorRGForReportGeneration
    from priorrg_hf.training.presets import preset_settings

    settings = preset_settings(size)
    side = image_size or settings.pop("image_size")
    settings.pop("image_size", None)
    settings["vision_config"] = {"patch_size": 14, **settings["vision_config"], "image_size": side}
    config = PriorRGConfig(**settings)
    return {1: PriorRGForContrastivePretraining, 2: PriorRGForReportGeneration}[stage](config), side


def random_batch(model, side: int, batch_size: int, stage: int, device: str, cached: bool) -> dict:
    config = model.config
    generator = torch.Generator().manual_seed(0)

    def tokens(length):
        return torch.randint(0, 50000, (batch_size, length), generator=generator)

    batch = {
        "input_ids": tokens(64),
        "attention_mask": torch.ones(batch_size, 64, dtype=torch.long),
        "view_position_ids": torch.zeros(batch_size, dtype=torch.long),
        "prior_view_position_ids": torch.zeros(batch_size, dtype=torch.long),
        "prior_mask": torch.arange(batch_size) % 2 == 1,
    }
    if cached:
        vision = config.vision_config
        shape = (batch_size, (side // vision.patch_size) ** 2 + 1, vision.hidden_size)
        batch["vision_last_hidden_state"] = torch.randn(shape, generator=generator)
        batch["prior_vision_last_hidden_state"] = torch.randn(shape, generator=generator)
        if stage == 2:
            batch["vision_hidden_states"] = torch.randn(
                (shape[0], vision.num_hidden_layers, *shape[1:]), generator=generator
            )
    else:
        batch["pixel_values"] = torch.randn(batch_size, 3, side, side, generator=generator)
        batch["prior_pixel_values"] = torch.randn(batch_size, 3, side, side, generator=generator)
    if stage == 1:
        batch.update(report_input_ids=tokens(100), study_ids=torch.arange(batch_size))
    else:
        batch["labels"] = tokens(99)
    return {name: tensor.to(device) for name, tensor in batch.items()}


def measure(options) -> dict:
    """One row of the table, in this process."""
    device, variant = options.device, options.variant
    torch.manual_seed(0)
    dtype = torch.bfloat16 if variant == "bf16" or options.all_bf16 else torch.float32
    peak = matmul_peak(device, dtype)
    model, side = build(options.size, options.image_size, options.stage)
    model = model.to(device).train()
    batch = random_batch(model, side, options.batch_size, options.stage, device, variant == "cached")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

    def forward_backward(network):
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = network(**batch).loss
        loss.backward()

    # Counted on the unfused attention, whose products the counter knows on every device.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward_backward(model)
    optimizer.zero_grad()
    if variant == "checkpointing":
        # its name from transformers 5.24 on, and the one before
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    network = torch.compile(model) if variant == "compile" else model

    def step():
        forward_backward(network)
        optimizer.step()
        optimizer.zero_grad()

    step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [timed(step, device) for _ in range(options.steps)]
    best = min(times)[0]
    # On a shared machine the processor time of a step is a steadier measure than the wall clock.
    busy = min(processor for _, processor in times) if device == "cpu" else best
    memory = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    work = counter.get_total_flops()
    return {
        "seconds": best,
        "busy": busy,
        "studies_per_second": options.batch_size / best,
        "memory": memory,
        "work": work,
        "utilisation": work / busy / peak,
        "peak": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="tiny, small, base (published) or a JSON file.")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="Timed steps after one to warm up; the fastest counts.")
    parser.add_argument("--stages", default="1,2")
    parser.add_argument("--variants", default="plain,bf16,checkpointing,cached")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--all-bf16", action="store_true", help="Autocast in every variant.")
    parser.add_argument("--stage", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options)))
        return
    print(
        f"{options.size}, batch {options.batch_size}, {options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    busy = "processor s/step" if options.device == "cpu" else "device s/step"
    print(
        f"| stage | variant | s/step | {busy} | studies/s | peak memory GiB | GFLOP/step | matmul peak GFLOP/s | of peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for stage in options.stages.split(","):
        for variant in options.variants.split(","):
            command = [sys.executable, __file__, *sys.argv[1:], "--stage", stage, "--variant", variant]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"| {stage} | {variant} | failed: {done.stderr.strip().splitlines()[-1]} |")
                continue
            row = json.loads(done.stdout.strip().splitlines()[-1])
            print(
                f"| {stage} | {variant} | {row['seconds']:.3f} | {row['busy']:.3f} | {row['studies_per_second']:.2f} | "
                f"{row['memory'] / 2**30:.2f} | {row['work'] / 1e9:.1f} | {row['peak'] / 1e9:.0f} | {row['utilisation']:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
