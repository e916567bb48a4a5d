"""Times the processor on images of detector size, beside the image processor alone on the same image.

    python benchmarks/processing.py [--size 518] [--repeats 5]

"alone" is transformers' image processor called directly on the decoded image. A gray image, stored with one channel or with three
equal ones, takes the processor's one-channel path; the values are the same to the last bit, which is checked here as well.
"""

import argparse
import io
import statistics
import time

import numpy as np
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import GPT2Tokenizer

from priorrg_hf import PriorRGProcessor, build_priorrg_tokenizer, load_image, rad_dino_image_processor


def milliseconds(function, repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=518, help="input size of the model")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls; the median counts")
    arguments = parser.parse_args()

    # Characters as vocabulary: what tokenising costs does not show beside the images.
    vocab = {
        symbol: index for index, symbol in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"])
    }
    tokenizer = build_priorrg_tokenizer(GPT2Tokenizer(vocab=vocab, merges=[]))
    processor = PriorRGProcessor(rad_dino_image_processor(arguments.size), tokenizer)

    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 80, 3), dtype=np.uint8)).resize(
        (2544, 3056)
    )
    gray = smooth.convert("L")
    jpeg = io.BytesIO()
    gray.save(jpeg, "JPEG", quality=95)
    deep = np.asarray(gray).astype(np.uint16) * 257
    sources = {
        "gray": gray,
        "gray stored as RGB": gray.convert("RGB"),
        "colour": smooth,
        "gray JPEG file": jpeg.getvalue(),
        "16-bit array": deep,
    }

    print(f"{smooth.width} x {smooth.height} to {arguments.size}, median of {arguments.repeats}, milliseconds")
    print(f"{'image':<20}{'open':>10}{'alone':>10}{'processor':>12}{'(open + alone) / processor':>30}")
    for name, source in sources.items():
        image = load_image(source)
        alone = processor.image_processor(image, return_tensors="np")["pixel_values"]
        assert np.array_equal(alone, processor(images=source, return_tensors="np")["pixel_values"]), name
        opened = milliseconds(lambda source=source: load_image(source), arguments.repeats)
        direct = milliseconds(
            lambda image=image: processor.image_processor(image, return_tensors="np"), arguments.repeats
        )
        ours = milliseconds(lambda source=source: processor(images=source, return_tensors="np"), arguments.repeats)
        print(f"{name:<20}{opened:>10.1f}{direct:>10.1f}{ours:>12.1f}{(opened + direct) / ours:>30.2f}")


if __name__ == "__main__":
    main()
