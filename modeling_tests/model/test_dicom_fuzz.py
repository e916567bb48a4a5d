"""Damaged DICOM files: a clear error or a picture, never anything else; and never part of a picture from part of a stream."""

import contextlib
import random
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from dicom_builders import build, compressed, file_bytes, shipped
from pydicom.encaps import encapsulate, generate_frames

from priorrg_hf.model.dicom_priorrg import DicomError, read_dicom, read_dicom_metadata


CODECS = ["rle", "jpegls", "jpeg2000", "jpeg", "jpeg-lossless", "jpeg-12bit"]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def attempt(source) -> np.ndarray | None:
    try:
        return np.asarray(read_dicom(source))
    except DicomError as error:
        assert str(error)
        return None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("ending", ["nothing", "end marker", "zeros", "ones", "zeros and end marker"])
def test_no_part_of_a_stream_gives_a_picture(codec, ending):
    """Cut anywhere, the rest missing or filled: always an error, unless the picture is the whole one nevertheless."""
    dataset = compressed(codec)
    whole = np.asarray(read_dicom(dataset))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    rng = random.Random(zlib.crc32(f"{codec}{ending}".encode()))
    for _ in range(20):
        cut = rng.randrange(len(frame) // 10, len(frame) - 60)
        missing = len(frame) - cut - 2
        tail = {
            "nothing": b"",
            "end marker": b"\xff\xd9",
            "zeros": bytes(missing),
            "ones": b"\xff" * missing,
            "zeros and end marker": bytes(missing) + b"\xff\xd9",
        }[ending]
        dataset.PixelData = encapsulate([frame[:cut] + tail])
        shown = attempt(dataset)
        assert shown is None or (shown == whole).all(), (codec, ending, cut)


def test_jpeg_2000_with_a_tail_of_zeros_is_refused():
    """OpenJPEG takes the zeros for empty packets: a blurred or partial picture without complaint."""
    dataset = pydicom.dcmread(shipped("MR_small_jp2klossless.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for cut in range(400, len(frame) - 300, 300):
        dataset.PixelData = encapsulate([frame[:cut] + bytes(len(frame) - cut - 2) + b"\xff\xd9"])
        with pytest.raises(DicomError, match="zeros"):
            read_dicom(dataset, allow_any_modality=True)


@pytest.mark.parametrize("codec", ["native", *CODECS])
def test_cut_files_are_refused(codec):
    content = file_bytes(build() if codec == "native" else compressed(codec))
    rng = random.Random(1)
    for _ in range(25):
        assert attempt(content[: rng.randrange(len(content) - 20)]) is None


@pytest.mark.parametrize("codec", ["native", *CODECS])
def test_damaged_bytes_end_in_clear_errors_only(codec):
    """Anything but a `DicomError` or a picture fails the test by itself, a crash or a hang included."""
    content = file_bytes(build() if codec == "native" else compressed(codec))
    rng = random.Random(2)
    errors = 0
    for _ in range(60):
        damaged = bytearray(content)
        span = len(damaged) if rng.random() < 0.5 else 1500
        for _ in range(rng.choice([1, 3, 10, 40])):
            damaged[rng.randrange(span)] = rng.randrange(256)
        errors += attempt(bytes(damaged)) is None
        with contextlib.suppress(DicomError):
            read_dicom_metadata(bytes(damaged))
    assert errors > 0


def test_noise_is_refused():
    rng = random.Random(3)
    for size in (0, 1, 131, 132, 200, 5000):
        assert attempt(rng.randbytes(size)) is None
        assert attempt(bytes(128) + b"DICM" + rng.randbytes(size)) is None
