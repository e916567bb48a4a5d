"""DICOM files for the tests: a made-up chest-like picture in every stored form and transfer syntax."""

import io
import os
import struct

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)


__all__ = ["CTImageStorage", "FILES", "build", "compressed", "file_bytes", "picture", "shipped"]

FILES = os.path.join(os.path.dirname(pydicom.__file__), "data", "test_files")


def shipped(name: str) -> str:
    """Path of a file inside the pydicom wheel (never downloads)."""
    return os.path.join(FILES, name)


def picture(bits: int = 12, rows: int = 96, columns: int = 80, signed: bool = False) -> np.ndarray:
    """Two dark lungs on a bright body, with noise; no two parts of it are alike, so that a missing part shows."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:rows, 0:columns] / np.array([rows, columns]).reshape(2, 1, 1)
    lungs = np.exp(-(((x - 0.3) / 0.15) ** 2) - ((y - 0.5) / 0.3) ** 2) + np.exp(
        -(((x - 0.7) / 0.13) ** 2) - ((y - 0.5) / 0.3) ** 2
    )
    body = 0.75 - 0.5 * lungs + 0.15 * y + 0.05 * x + rng.normal(0, 0.01, (rows, columns))
    values = np.clip(body, 0.0, 1.0) * ((1 << bits) - 1)
    if signed:
        return (values - (1 << (bits - 1))).round().astype(np.int16)
    return values.round().astype(np.uint8 if bits <= 8 else np.uint16)


def build(pixels: np.ndarray | None = None, *, bits: int = 12, **tags) -> FileDataset:
    """An uncompressed digital radiograph; further keywords set or (with `None`) delete tags."""
    pixels = picture(bits) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["image"])
    dataset = FileDataset("made-up", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        generate_uid(entropy_srcs=["a"]),
        generate_uid(entropy_srcs=["b"]),
    )
    dataset.PatientID, dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "P1", "DX", "CHEST", "PA"
    dataset.StudyDate, dataset.StudyTime = "20210304", "100530"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def compressed(codec: str, *, bits: int = 12, pixels: np.ndarray | None = None, **tags) -> FileDataset:
    """The same file in a compressed transfer syntax; `codec` as in the keys below."""
    if codec == "jpeg":
        bits = 8
    dataset = build(pixels, bits=bits, **tags)
    if codec in ("rle", "jpegls", "jpeg2000"):
        dataset.compress({"rle": RLELossless, "jpegls": JPEGLSLossless, "jpeg2000": JPEG2000Lossless}[codec])
        return dataset
    values = np.frombuffer(dataset.PixelData, np.uint8 if dataset.BitsAllocated == 8 else np.uint16)
    values = values.reshape(dataset.Rows, dataset.Columns)
    if codec == "jpeg":
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG", quality=95)
        frame, syntax = buffer.getvalue(), JPEGBaseline8Bit
    elif codec == "jpeg-lossless":
        frame, syntax = lossless_jpeg(values, bits), JPEGLosslessSV1
    elif codec == "jpeg-12bit":  # no encoder at hand: the frame of a shipped file
        source = pydicom.dcmread(shipped("JPGExtended.dcm"))
        dataset.PixelData, syntax = source.PixelData, JPEGExtended12Bit
        dataset.Rows, dataset.Columns, dataset.BitsStored, dataset.HighBit = source.Rows, source.Columns, 12, 11
        frame = None
    if frame is not None:
        dataset.PixelData = encapsulate([frame])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def lossless_jpeg(values: np.ndarray, precision: int, predictor: int = 1, restart_rows: int = 0) -> bytes:
    """A plain encoder for ITU-T T.81 process 14 with one flat Huffman table (17 categories in 5 bits each)."""
    rows, columns = values.shape
    bits: list[str] = []
    chunks: list[bytes] = []
    v = values.astype(np.int64)
    for y in range(rows):
        first = y % restart_rows == 0 if restart_rows else y == 0
        if first and y:
            chunks.append(_stuffed(bits) + bytes([0xFF, 0xD0 + (y // restart_rows - 1) % 8]))
            bits = []
        for x in range(columns):
            a = v[y, x - 1] if x else 0
            b = 0 if first else v[y - 1, x]
            c = 0 if first or not x else v[y - 1, x - 1]
            if first:
                prediction = a if x else 1 << (precision - 1)
            elif not x:
                prediction = b
            else:
                prediction = [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor - 1]
            difference = int((v[y, x] - prediction + 32768) % 65536 - 32768)
            category = 16 if difference == -32768 else abs(difference).bit_length()
            bits.append(f"{category:05b}")
            if 0 < category < 16:
                bits.append(f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}")
    chunks.append(_stuffed(bits))
    huffman = bytes([0x00, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    out = b"\xff\xd8"
    out += b"\xff\xc3" + struct.pack(">HBHHB3B", 11, precision, rows, columns, 1, 1, 0x11, 0)
    out += b"\xff\xc4" + struct.pack(">H", 2 + len(huffman)) + huffman
    if restart_rows:
        out += b"\xff\xdd" + struct.pack(">HH", 4, restart_rows * columns)
    out += b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, predictor, 0, 0)
    return out + b"".join(chunks) + b"\xff\xd9"


def _stuffed(bits: list[str]) -> bytes:
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def file_bytes(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
