"""Time to read one radiograph of 3,000 x 2,500 pixels and 12 bits in each transfer syntax, the proof of wholeness included.

`share` is the time of reading relative to the bare decoder's on the same frame, from the same run. The JPEG lossless frame is made by a
plain encoder in Python and takes a while to prepare.

    python benchmarks/read_dicom.py --rows 3000 --columns 2500
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from pydicom.encaps import generate_frames


sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "modeling_tests"))

from dicom_builders import build, compressed, file_bytes, picture

from priorrg_hf.model.dicom_priorrg import read_dicom


def bare_decoder(codec: str):
    if codec in ("jpeg", "jpeg-lossless"):
        import libjpeg

        return libjpeg.decode
    if codec == "jpegls":
        import jpeg_ls

        return lambda frame: jpeg_ls.decode(np.frombuffer(frame, np.uint8))
    if codec == "jpeg2000":
        import openjpeg

        return openjpeg.decode
    return None


def best(function, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--columns", type=int, default=2500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'syntax':<14} {'file MB':>8} {'read s':>8} {'decoder s':>10} {'share':>6}")
    for codec in ("native", "rle", "jpegls", "jpeg2000", "jpeg", "jpeg-lossless"):
        bits = 8 if codec == "jpeg" else 12
        pixels = picture(bits, arguments.rows, arguments.columns)
        dataset = build(pixels, bits=bits) if codec == "native" else compressed(codec, bits=bits, pixels=pixels)
        content = file_bytes(dataset)
        seconds, decoder = best(lambda content=content: read_dicom(content), arguments.repeats), bare_decoder(codec)
        line = f"{codec:<14} {len(content) / 2**20:>8.1f} {seconds:>8.2f}"
        if decoder is not None:
            frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
            bare = best(lambda frame=frame, decoder=decoder: decoder(frame), arguments.repeats)
            line += f" {bare:>10.2f} {seconds / bare:>6.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
