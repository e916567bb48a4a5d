"""Full-size PriorRG with random weights: time to encode one study with its prior and to decode a report of 100 tokens.

    python benchmarks/full_size.py [--device cuda] [--dtype bfloat16] [--beams 3] [--tokens 100] [--repeats 1]

Prints a table; all figures of one table come from one run, the matrix-product peak of the machine among them, so that ratios hold on a
noisy machine.
"""

import argparse
import resource
import time

import torch

from priorrg_hf import PriorRGConfig, PriorRGForReportGeneration


# Multiply-adds counted twice. Vision: two images of 1,370 tokens through ViT-B; the rest by hand from the architecture.
ENCODER_GFLOP = 610


def timed(function, device: str, repeats: int) -> float:
    """Least seconds of `repeats` runs."""
    seconds = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """Measured GFLOP/s of a square matrix product of the model's scale."""
    size = 8192 if device == "cuda" else 2048
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    a @ b
    return 2 * size**3 / timed(lambda: a @ b, device, 5) / 1e9


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=100, help="Tokens to decode, the end token forbidden.")
    parser.add_argument("--context-tokens", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)

    model = PriorRGForReportGeneration(PriorRGConfig()).to(device=options.device, dtype=dtype).eval()
    pixels = torch.randn(2, 1, 3, 518, 518, device=options.device, dtype=dtype)
    study = {
        "input_ids": torch.randint(0, 50000, (1, options.context_tokens), device=options.device),
        "attention_mask": torch.ones(1, options.context_tokens, dtype=torch.long, device=options.device),
        "pixel_values": pixels[0],
        "prior_pixel_values": pixels[1],
        "prior_mask": torch.ones(1, dtype=torch.bool, device=options.device),
    }
    peak = matmul_peak(options.device, dtype)
    encode = timed(lambda: model.model(**study), options.device, options.repeats)
    alone = {name: value for name, value in study.items() if not name.startswith("prior")}
    encode_alone = timed(lambda: model.model(**alone), options.device, options.repeats)

    def decode():
        model.generate(
            encoder_outputs=model_outputs.copy(),
            num_beams=options.beams,
            max_new_tokens=options.tokens,
            min_new_tokens=options.tokens,
            max_length=None,
        )

    model_outputs = model.model(**study)
    decoding = timed(decode, options.device, options.repeats)
    weights = sum(parameter.numel() for parameter in model.decoder.parameters()) * dtype.itemsize

    print(f"device {options.device}, {options.dtype}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'what':44} {'seconds':>9}  {'ratio':>9}")
    print(f"{'matrix product peak':44} {peak:9.0f}  GFLOP/s")
    print(f"{'encode one study with its prior':44} {encode:9.3f}  {ENCODER_GFLOP / encode / peak:9.2f} of the peak")
    print(
        f"{'encode one study without a prior':44} {encode_alone:9.3f}  {encode_alone / encode:9.2f} of that with one"
    )
    label = f"decode {options.tokens} tokens, {options.beams} beams"
    print(f"{label:44} {decoding:9.3f}  {decoding / encode:9.2f} of the encoding")
    print(f"{'  a token':44} {decoding / options.tokens:9.4f}  {weights / 1e6:9.0f} MB of decoder weights read")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'peak resident memory':44} {memory:9.2f}  GiB")
    if options.device == "cuda":
        print(f"{'peak device memory':44} {torch.cuda.max_memory_allocated() / 2**30:9.2f}  GiB")


if __name__ == "__main__":
    main()
