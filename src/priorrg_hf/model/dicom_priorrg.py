"""One DICOM radiograph -> one 8 bit gray picture, read the way a viewing station would show it, or a clear error.

The order is DICOM's own (PS3.3 C.11, PS3.4 N.2): stored bits -> modality LUT or rescale -> VOI LUT or the first window ->
inversion (MONOCHROME1, or the presentation LUT shape INVERSE, which says the same). Overlays, also those packed into unused high bits, are left out. Anything that is no single chest radiograph
(CT, hand, multi-frame, ...) is refused, and so is every file whose pixel data are damaged or incomplete.

Needs `pydicom` and its pixel decoders (`pip install 'priorrg-hf[dicom]'`) when a file is read, not on import.

Research use only, not for clinical decisions.
"""

import datetime
import errno
import os
import re
import stat
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .dicom_codestream_priorrg import CodestreamError, FrameSize, decode_frame


try:
    import pydicom
    from pydicom.encaps import generate_fragmented_frames
    from pydicom.pixels.processing import apply_color_lut
except ImportError:
    pydicom = None  # type: ignore[assignment]  # a module, or nothing where it is not installed


# Codes of PS3.3 C.7.3.1.1.1. "OT" (other) and "SC" are what secondary captures say; they need a chest in the body part.
RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "DR", "RG"})
UNDECIDED_MODALITIES = frozenset({"OT", "SC"})
CHEST_WORDS = ("CHEST", "THORA", "TORAX", "LUNG", "PULMO", "RIB", "HEART", "MEDIAST")
UNSTATED_BODY_PARTS = frozenset({"", "UNKNOWN", "OTHER", "NONE", "UNDEFINED", "DEFAULT", "BODY"})
MAX_PIXELS = 200_000_000  # about twenty times the largest detectors
MAX_FILE_BYTES = 2**30

_CODECS = {
    "1.2.840.10008.1.2.5": "rle",
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "jpeg",
    "1.2.840.10008.1.2.4.70": "jpeg",
    "1.2.840.10008.1.2.4.80": "jpegls",
    "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
}
_NATIVE = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.1.99": "<",
    "1.2.840.10008.1.2.2": ">",
}


class DicomError(ValueError):
    """A DICOM file that can't be read as a chest radiograph: damaged, incomplete, of another kind, or unsupported."""


@dataclass(frozen=True)
class DicomMetadata:
    """What a study record needs from the header. Names and birth dates are never read.

    `acquired` is ISO 8601, `view` the DICOM code (`"PA"`, `"AP"`, `"LL"`, ...), `laterality` `"L"`, `"R"`, `"B"` or `None`,
    `patient_orientation` the two direction words of the row and the column, e.g. `("L", "F")`. `refusal` says why `read_dicom` would
    not take the file for a chest radiograph, or is `None`.
    """

    patient_id: str | None
    study_id: str | None
    series_id: str | None
    image_id: str | None
    accession_number: str | None
    acquired: str | None
    modality: str | None
    body_part: str | None
    view: str | None
    laterality: str | None
    patient_orientation: tuple[str, ...] | None
    photometric_interpretation: str | None
    rows: int | None
    columns: int | None
    number_of_frames: int
    indication: str | None
    history: str | None
    refusal: str | None


def is_dicom(source: Any) -> bool:
    """Whether a path, bytes or dataset is DICOM: the magic word `DICM` at byte 128, or a name ending in .dcm or .dicom.

    Never raises for a missing or unreadable file. Needs no pydicom.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[128:132]) == b"DICM"
    if not isinstance(source, (str, os.PathLike)):
        return pydicom is not None and isinstance(source, pydicom.Dataset)
    name = os.fspath(source)
    if name.lower().split("?")[0].endswith((".dcm", ".dicom")):
        return True
    try:
        with open_regular_file(name) as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def open_regular_file(path: str | os.PathLike, max_bytes: int | None = None) -> BinaryIO:
    """Opens a file for reading that is a file: no pipe, which may never answer, and no device, which may never end.

    Raises `OSError`, also for a file of more than `max_bytes`.
    """
    # without O_NONBLOCK, opening a pipe waits for its writer
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is a pipe, socket or device and no file", os.fspath(path))
        if max_bytes is not None and status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"holds {status.st_size:,} bytes, more than {max_bytes:,}", os.fspath(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_dicom(
    source: Any,
    *,
    allow_any_modality: bool = False,
    allow_any_body_part: bool = False,
    apply_orientation: bool = True,
) -> Image.Image:
    """Reads one radiograph as a gray picture.

    Args:
        source (`str`, path, `bytes`, binary file or `pydicom.Dataset`): the file.
        allow_any_modality (`bool`, defaults to `False`): read CT slices, ultrasound etc. as well.
        allow_any_body_part (`bool`, defaults to `False`): read hands, knees etc. as well.
        apply_orientation (`bool`, defaults to `True`): mirror a frontal picture whose tag PatientOrientation says that its rows
            run towards the patient's right or its columns towards the head, so that the patient's left is on the right of the
            picture, as on every viewing station. Without the tag the picture is taken as it is.

    Returns:
        `PIL.Image.Image` of mode "L"; 0 is black, bones are bright.

    Raises:
        `DicomError`: (a `ValueError`) naming file and reason. `OSError` when the file can't be opened, `ImportError` when pydicom
        or a decoder is missing.
    """
    name, dataset = _open(source)
    with _clear_errors(name):
        _check_kind(dataset, allow_any_modality, allow_any_body_part)
        stored, space = _stored_values(dataset)
        picture = _gray(dataset, stored) if stored.ndim == 2 else _gray_of_colour(dataset, stored, space)
        if apply_orientation:
            picture = _standard_orientation(dataset, picture)
        return Image.fromarray(np.ascontiguousarray(picture))


def read_dicom_metadata(source: Any) -> DicomMetadata:
    """Reads the header only; the pixel data stay on the disk. Arguments and errors as in `read_dicom`."""
    name, dataset = _open(source, stop_before_pixels=True)
    with _clear_errors(name):
        orientation = _words(dataset, "PatientOrientation")
        return DicomMetadata(
            patient_id=_word(dataset, "PatientID"),
            study_id=_word(dataset, "StudyInstanceUID"),
            series_id=_word(dataset, "SeriesInstanceUID"),
            image_id=_word(dataset, "SOPInstanceUID"),
            accession_number=_word(dataset, "AccessionNumber"),
            acquired=_acquired(dataset),
            modality=_word(dataset, "Modality"),
            body_part=_body_part(dataset) or None,
            view=_view(dataset),
            laterality=_word(dataset, "ImageLaterality") or _word(dataset, "Laterality"),
            patient_orientation=tuple(orientation) if len(orientation) == 2 else None,
            photometric_interpretation=_word(dataset, "PhotometricInterpretation"),
            rows=_integer(dataset, "Rows"),
            columns=_integer(dataset, "Columns"),
            number_of_frames=_integer(dataset, "NumberOfFrames") or 1,
            indication=_word(dataset, "ReasonForTheRequestedProcedure") or _word(dataset, "ReasonForStudy"),
            history=_word(dataset, "AdditionalPatientHistory"),
            refusal=_refusal(dataset),
        )


# --- opening and errors ------------------------------------------------------------------------------------------------


class _clear_errors:
    """Turns whatever pydicom or a pixel decoder raises into `DicomError`.

    Decoders written in Rust raise `PanicException`, which derives from `BaseException` only; what really must pass through
    (interrupts, exits, missing libraries) does.
    """

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if error is None or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, DicomError, ImportError)):
            if isinstance(error, DicomError) and not str(error).startswith(self.name):
                raise DicomError(f"{self.name}: {error}") from error.__cause__
            return
        if isinstance(error, MemoryError):
            raise DicomError(f"{self.name}: the picture needs more memory than there is") from error
        if isinstance(error, CodestreamError):
            raise DicomError(f"{self.name}: {error}") from error
        reason = str(error).splitlines()[0][:300] if str(error) else "no reason given"
        raise DicomError(f"{self.name}: can't be read as DICOM ({kind.__name__}: {reason})") from error


def _open(source: Any, stop_before_pixels: bool = False) -> tuple[str, Any]:
    if pydicom is None:
        raise ImportError("reading DICOM files needs pydicom: pip install 'priorrg-hf[dicom]'")
    if isinstance(source, pydicom.Dataset):
        return "the DICOM dataset", source
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = "the DICOM bytes"
        file: BinaryIO = BytesIO(bytes(source))
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
    elif hasattr(source, "read"):
        name, file = str(getattr(source, "name", "the DICOM file")), BytesIO(source.read())
    else:
        raise TypeError(f"a path, bytes, a binary file or a pydicom.Dataset is needed, got {type(source).__name__}")
    if isinstance(source, (str, os.PathLike)):
        # Opened here, so that a missing file stays an OSError.
        file = open_regular_file(name, MAX_FILE_BYTES)
        if not stop_before_pixels:
            with file:
                file = BytesIO(file.read())
    with file, _clear_errors(name):
        has_preamble = file.read(132)[128:] == b"DICM"
        file.seek(0)
        dataset = pydicom.dcmread(file, force=not has_preamble, stop_before_pixels=stop_before_pixels)
        if not has_preamble and "SOPClassUID" not in dataset and "Modality" not in dataset:
            raise DicomError("is no DICOM file")
        if not stop_before_pixels and "PixelData" in dataset:
            dataset["PixelData"]  # converts the raw element while the file is open
        return name, dataset


def _word(dataset: Any, keyword: str) -> str | None:
    value = dataset.get(keyword)
    if value is None:
        return None
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        value = "\\".join(str(item) for item in value)
    return str(value).replace("\0", "").strip() or None


def _words(dataset: Any, keyword: str) -> list[str]:
    return (_word(dataset, keyword) or "").upper().split("\\")


def _integer(dataset: Any, keyword: str) -> int | None:
    value = _word(dataset, keyword)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise DicomError(f"the tag {keyword} holds {value!r}, which is no whole number") from None


def _required(dataset: Any, keyword: str) -> int:
    value = _integer(dataset, keyword)
    if value is None:
        raise DicomError(f"the tag {keyword} is missing, so the pixel data can't be read")
    return value


def dicom_time(date: str | None, time: str | None = None) -> str | None:
    """ISO 8601 text of a DICOM date (`YYYYMMDD`) and time (`HHMMSS.f`), or `None` without a date that exists.

    Numbers that went through a table lose their leading zeros and gain a fraction: `93015.5` is 09:30:15.5, `20210304.0` a date. A time
    of day that doesn't exist is left out; `00000000` is no date.
    """
    digits = re.sub(r"\.0+$", "", (date or "").strip())
    digits = re.sub(r"(?<=\d)[.-](?=\d)", "", digits)
    if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
        return None
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return None
    whole, _, fraction = (time or "").strip().replace(":", "").partition(".")
    if len(whole) in (3, 5) or (whole and "." in (time or "") and len(whole) < 6):
        whole = whole.zfill(4 if len(whole) == 3 and not fraction else 6)
    if len(whole) not in (4, 6) or not whole.isascii() or not whole.isdigit():
        return day
    hour, minute, second = int(whole[:2]), int(whole[2:4]), min(int(whole[4:] or 0), 60)
    if hour > 23 or minute > 59 or int(whole[4:] or 0) > 60:
        return day
    text = f"{day}T{hour:02}:{minute:02}:{min(second, 59):02}"  # 60 is a leap second, which Python's times don't have
    return text + (
        f".{fraction[:6]:0<6}" if fraction.isascii() and fraction.isdigit() and fraction[:6].strip("0") else ""
    )


def _acquired(dataset: Any) -> str | None:
    """ISO date-time of the study; where it has none that exists, of the series, the acquisition or the content.

    A study date without a usable time takes the time of the next that names the same day.
    """
    day = None
    for prefix in ("Study", "Series", "Acquisition", "Content"):
        found = dicom_time(_word(dataset, prefix + "Date"), _word(dataset, prefix + "Time"))
        if found is None or (day is not None and not found.startswith(day)):
            continue
        if len(found) > 10:
            return found
        day = day or found
    return day


_VIEW_MEANINGS = (
    ("POSTERO-ANTERIOR", "PA"),
    ("POSTEROANTERIOR", "PA"),
    ("ANTERO-POSTERIOR", "AP"),
    ("ANTEROPOSTERIOR", "AP"),
    ("LEFT LATERAL", "LL"),
    ("RIGHT LATERAL", "RL"),
    ("LATERAL", "LATERAL"),
)


def _code_meaning(dataset: Any, keyword: str) -> str:
    sequence = dataset.get(keyword)
    return (_word(sequence[0], "CodeMeaning") or "").upper() if sequence else ""


def _view(dataset: Any) -> str | None:
    view = _word(dataset, "ViewPosition")
    if view is not None:
        return view.upper()
    meaning = _code_meaning(dataset, "ViewCodeSequence")
    return next((code for words, code in _VIEW_MEANINGS if words in meaning), None)


def _body_part(dataset: Any) -> str:
    part = (_word(dataset, "BodyPartExamined") or "").upper()
    return part if part not in UNSTATED_BODY_PARTS else _code_meaning(dataset, "AnatomicRegionSequence")


def _refusal(dataset: Any) -> str | None:
    try:
        _check_kind(dataset, False, False)
    except DicomError as error:
        return str(error)
    return None


def _override(option: str) -> str:
    return f"read it with priorrg_hf.model.dicom_priorrg.read_dicom(file, {option}=True) and hand in the picture"


def _check_kind(dataset: Any, allow_any_modality: bool, allow_any_body_part: bool) -> None:
    frames = _integer(dataset, "NumberOfFrames") or 1
    if frames > 1:
        raise DicomError(f"has {frames} frames; give one still picture a file, multi-frame files are not read")
    part = _body_part(dataset)
    chest = any(word in part for word in CHEST_WORDS)
    if not allow_any_modality:
        modality = (_word(dataset, "Modality") or "").upper()
        if modality and modality not in RADIOGRAPH_MODALITIES and not (modality in UNDECIDED_MODALITIES and chest):
            raise DicomError(
                f"modality {modality!r} is no chest radiograph ({', '.join(sorted(RADIOGRAPH_MODALITIES))} are). "
                f"If it is one all the same, {_override('allow_any_modality')}"
            )
        uid = getattr(dataset.get("SOPClassUID"), "name", "")
        if (
            not modality
            and "Image Storage" in uid
            and not any(x in uid for x in ("Radiography", "X-Ray", "Secondary"))
        ):
            raise DicomError(
                f"it is stored as {uid!r}, no radiograph. If it is one all the same, {_override('allow_any_modality')}"
            )
    if not allow_any_body_part and part and not chest:
        raise DicomError(
            f"body part {part!r} is not the chest. If the tag is wrong, {_override('allow_any_body_part')}"
        )


# --- pixel data --------------------------------------------------------------------------------------------------------


def _stored_values(dataset: Any) -> tuple[np.ndarray, str | None]:
    """Stored values, (rows, columns) or (rows, columns, 3), of the declared bits only, and the colour space if the stream says it."""
    if "PixelData" not in dataset:
        raise DicomError("has no pixel data")
    samples = _integer(dataset, "SamplesPerPixel") or 1
    size = FrameSize(
        _required(dataset, "Rows"), _required(dataset, "Columns"), samples, _required(dataset, "BitsAllocated")
    )
    high_bit = _integer(dataset, "HighBit")
    bits = _integer(dataset, "BitsStored") or (high_bit or size.bits_allocated - 1) + 1
    high_bit = bits - 1 if high_bit is None else high_bit
    if size.rows < 1 or size.columns < 1 or size.rows * size.columns > MAX_PIXELS:
        raise DicomError(f"a picture of {size.rows} x {size.columns} pixels is not read")
    if samples not in (1, 3):
        raise DicomError(f"{samples} samples a pixel are not read, only gray and three colours")
    if size.bits_allocated not in (8, 16, 32) or not bits - 1 <= high_bit < size.bits_allocated or bits < 1:
        raise DicomError(f"{bits} of {size.bits_allocated} bits with high bit {high_bit} are not read")

    syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", "") or "")
    data = dataset.PixelData
    if not isinstance(data, (bytes, bytearray)):
        raise DicomError("the pixel data aren't bytes")
    data = bytes(data)
    if syntax in _CODECS:
        values, space = decode_frame(_CODECS[syntax], _only_frame(dataset, data), size)
        shift = high_bit - bits + 1 if _CODECS[syntax] == "rle" else 0
    else:
        if syntax and syntax not in _NATIVE:
            raise DicomError(f"transfer syntax {pydicom.uid.UID(syntax).name} is not read")
        if dataset["PixelData"].is_undefined_length:
            raise DicomError("the pixel data are compressed, but the header doesn't say how (transfer syntax)")
        values, space = _native(dataset, data, size, _NATIVE.get(syntax, "<")), None
        shift = high_bit - bits + 1
    signed = samples == 1 and (_integer(dataset, "PixelRepresentation") or 0) == 1
    return _declared_bits(values, bits, shift, signed), space


def _only_frame(dataset: Any, data: bytes) -> bytes:
    frames = list(generate_fragmented_frames(data, number_of_frames=1))
    if len(frames) != 1:
        raise DicomError(f"{len(frames)} frames in the pixel data; multi-frame files are not read")
    return b"".join(frames[0])


def _native(dataset: Any, data: bytes, size: FrameSize, order: str) -> np.ndarray:
    photometric = _word(dataset, "PhotometricInterpretation") or ""
    width = size.bits_allocated // 8
    subsampled = photometric == "YBR_FULL_422" and size.samples == 3
    needed = size.rows * size.columns * width * (2 if subsampled else size.samples)
    if len(data) < needed:
        raise DicomError(f"the pixel data end early: {len(data):,} bytes, the picture needs {needed:,}")
    if order == ">" and width == 1 and str(dataset["PixelData"].VR) == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()  # pairs are swapped
    values = np.frombuffer(data[:needed], f"{order}u{width}")
    if subsampled:  # Y Y Cb Cr for every two pixels; only Y is used
        luma = values.reshape(-1, 4)[:, :2].reshape(size.rows, size.columns)
        return np.repeat(luma[..., None], 3, axis=2)
    if size.samples == 1:
        return values.reshape(size.rows, size.columns)
    if _integer(dataset, "PlanarConfiguration") == 1:
        return np.moveaxis(values.reshape(size.samples, size.rows, size.columns), 0, -1)
    return values.reshape(size.rows, size.columns, size.samples)


def _declared_bits(values: np.ndarray, bits: int, shift: int, signed: bool) -> np.ndarray:
    """Only the declared bits, as numbers: what else is stored in the high bits (overlays, noise) is dropped."""
    wide = values.dtype.itemsize * 8
    unsigned = np.uint32 if wide > 16 else np.uint16
    if values.dtype.kind == "i":
        values = values.astype(np.int32 if wide > 16 else np.int16).view(unsigned)
    values = values.astype(unsigned, copy=False)
    if shift:
        values = values >> unsigned(shift)
    if bits < unsigned(0).itemsize * 8:
        values = values & unsigned((1 << bits) - 1)
    if not signed:
        return values
    sign = 1 << (bits - 1)
    return ((values.astype(np.int64) ^ sign) - sign).astype(np.int32)


# --- grayscale ---------------------------------------------------------------------------------------------------------


def _gray(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """(rows, columns) stored values -> uint8.

    The transforms depend on the stored value alone, so they are worked out once for each value that can occur, not for each pixel.
    """
    photometric = _word(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        depth = 255.0 if colours.dtype == np.uint8 else 65535.0
        return _to_uint8(_luma(colours) / depth)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomError(f"photometric interpretation {photometric!r} with one sample a pixel is not read")
    low, high = int(stored.min()), int(stored.max())
    values: np.ndarray
    table: np.ndarray | None
    if high - low > 1 << 20:
        values, table = stored.astype(np.float64), None
    else:
        table = np.arange(low, high + 1, dtype=np.int32)
        values = table
    bits = _integer(dataset, "BitsStored") or _required(dataset, "BitsAllocated")
    shown = _displayed(dataset, values, None if bits <= 8 else _shown_range(dataset, stored), bits)
    shown = _to_uint8(shown)
    if photometric == "MONOCHROME1" or _word(dataset, "PresentationLUTShape") == "INVERSE":
        shown = 255 - shown
    return shown if table is None else shown[stored.astype(np.int64) - low]


def _displayed(dataset: Any, values: np.ndarray, shown: tuple[int, int] | None, bits: int) -> np.ndarray:
    """Stored values -> brightness in 0..1 by modality LUT or rescale, then by VOI LUT, first window, or the full range."""
    modality = _modality(dataset, values)
    brightness = _by_voi_lut(dataset, modality)
    window = _first_window(dataset) if brightness is None else None
    if window is not None:
        brightness = _windowed(modality, *window)
    if brightness is not None:
        if np.ptp(brightness) > 0 or np.ptp(modality) == 0:
            return brightness
        warnings.warn("the window or VOI LUT shows nothing of the picture and is ignored", stacklevel=2)
    if shown is None:  # 8 bits without a window are meant as they are
        signed = (_integer(dataset, "PixelRepresentation") or 0) == 1
        ends = np.array(
            [-(1 << (bits - 1)), (1 << (bits - 1)) - 1] if signed else [0, (1 << bits) - 1], dtype=np.int32
        )
    else:
        ends = np.array(shown, dtype=np.int32)
    ends = _modality(dataset, ends)
    low, high = float(ends.min()), float(ends.max())
    return np.clip((modality - low) / max(high - low, 1e-12), 0.0, 1.0)


def _by_voi_lut(dataset: Any, modality: np.ndarray) -> np.ndarray | None:
    """Brightness in 0..1 by the first VOI LUT that can be used, or `None` where there is none."""
    problems = []
    for item in _filled_items(dataset, "VOILUTSequence"):
        try:
            table, first, depth = _lookup_table(dataset, item)
            if not 8 <= depth <= 16:
                raise DicomError(f"a VOI LUT of {depth} bits is not read")
            return _looked_up(np.rint(modality), table, first) / ((1 << depth) - 1)
        except DicomError as error:
            problems.append(error)
    if problems and _first_window(dataset) is None:
        raise problems[0]
    for problem in problems:  # the window beside the table says the same thing in another way
        warnings.warn(f"a VOI LUT is ignored, the window is used: {problem}", stacklevel=2)
    return None


def _filled_items(dataset: Any, keyword: str) -> list[Any]:
    """The items of a LUT sequence that hold something of a table; an empty one says nothing."""
    items = dataset.get(keyword) or ()
    return [item for item in items if item.get("LUTDescriptor") is not None or item.get("LUTData") is not None]


def _lookup_table(dataset: Any, item: Any) -> tuple[np.ndarray, int, int]:
    """(entries, first input value, bits of an entry) of an item of a LUT sequence (PS3.3 C.11.1.1 and C.11.2.1.1).

    Entries of 8 bits are found in words of 16 bits as well as packed in bytes; a table may be shorter than its descriptor says, in
    which case its last entry goes on.
    """
    descriptor = item.get("LUTDescriptor")
    if descriptor is None or isinstance(descriptor, (str, int)) or len(descriptor) != 3 or item.get("LUTData") is None:
        raise DicomError("a lookup table has no descriptor of three numbers, or no data")
    try:
        count, first, depth = (int(value) for value in descriptor)
    except (TypeError, ValueError):
        raise DicomError(
            f"the descriptor of a lookup table holds {list(descriptor)!r}, which are no numbers"
        ) from None
    count = count or 65536
    data = item.LUTData
    if isinstance(data, (bytes, bytearray)):
        table = _packed_entries(bytes(data), count, depth, "<" if dataset.original_encoding[1] is not False else ">")
    else:
        table = np.atleast_1d(np.asarray(data, dtype=np.int64))
    if table.size < max(2, count // 2):
        raise DicomError(f"a lookup table has {table.size} entries, its descriptor says {count}")
    if table.size < count:
        warnings.warn(f"a lookup table has {table.size} of {count} entries; its last one goes on", stacklevel=2)
    return table[:count].astype(np.float64), first, depth


def _packed_entries(data: bytes, count: int, depth: int, order: str) -> np.ndarray:
    """Entries of more than 8 bits are words. Those of 8 bits may be either: bytes where there are about as many as entries."""
    wide = depth > 8 or len(data) >= 2 * count or (len(data) > count + 1 and _are_words(data, order))
    return np.frombuffer(data[: len(data) // 2 * 2] if wide else data, f"{order}u2" if wide else np.uint8)


def _are_words(data: bytes, order: str) -> bool:
    """Whether data of 8-bit entries are words: their upper bytes are all zero then."""
    upper = np.frombuffer(data[: len(data) // 2 * 2], np.uint8)[1 if order == "<" else 0 :: 2]
    return not upper.any()


def _looked_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """The entries for whole values; below and above the table its ends count."""
    if first >= 1 << 15 and values.size and values.max() < first:
        first -= 1 << 16  # a negative first value that was written as unsigned
    return table[np.clip(values - first, 0, table.size - 1).astype(np.int64)]


def _modality(dataset: Any, values: np.ndarray) -> np.ndarray:
    """Stored values -> modality values, by the modality LUT or else by slope and intercept."""
    for item in _filled_items(dataset, "ModalityLUTSequence"):
        table, first, _ = _lookup_table(dataset, item)
        return _looked_up(values, table, first)
    return _rescale(dataset, values)


def _rescale(dataset: Any, values: np.ndarray) -> np.ndarray:
    slope, intercept = _float(dataset, "RescaleSlope", 1.0), _float(dataset, "RescaleIntercept", 0.0)
    if slope == 0.0:
        raise DicomError("the tag RescaleSlope is 0, which would make every pixel the same")
    return values.astype(np.float64) * slope + intercept


def _float(dataset: Any, keyword: str, default: float) -> float:
    text = (_word(dataset, keyword) or "").split("\\")[0].strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DicomError(f"the tag {keyword} holds {text!r}, which is no number")
    return value


def _first_window(dataset: Any) -> tuple[float, float, str] | None:
    if not _word(dataset, "WindowCenter") or not _word(dataset, "WindowWidth"):
        return None
    center, width = _float(dataset, "WindowCenter", 0.0), _float(dataset, "WindowWidth", 0.0)
    function = _words(dataset, "VOILUTFunction")[0] or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DicomError(f"VOI LUT function {function!r} is not read")
    if width < 1 if function == "LINEAR" else width <= 0:
        # PS3.3 C.11.2.1.2 forbids it, files have it; it says nothing about brightness.
        warnings.warn(f"a window width of {width:g} is impossible and is ignored", stacklevel=2)
        return None
    return center, width, function


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, for an output from 0 to 1."""
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR":
        if width == 1.0:
            return (values > center - 0.5).astype(np.float64)
        return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _shown_range(dataset: Any, stored: np.ndarray) -> tuple[int, int]:
    """Smallest and largest stored value, without the padding around the picture (PixelPaddingValue)."""
    low, high = int(stored.min()), int(stored.max())
    padding = _padding(dataset, "PixelPaddingValue")
    if padding is None:
        return low, high
    limit = _padding(dataset, "PixelPaddingRangeLimit")
    first, last = sorted((padding, padding if limit is None else limit))
    inside = stored[(stored < first) | (stored > last)]
    return (int(inside.min()), int(inside.max())) if inside.size else (low, high)


def _padding(dataset: Any, keyword: str) -> int | None:
    """The padding value with the sign of the pixels; writers disagree on whether it is US or SS."""
    value = dataset.get(keyword)
    if not isinstance(value, int):
        return None
    bits = _integer(dataset, "BitsStored") or _required(dataset, "BitsAllocated")
    signed = (_integer(dataset, "PixelRepresentation") or 0) == 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _gray_of_colour(dataset: Any, stored: np.ndarray, space: str | None) -> np.ndarray:
    """(rows, columns, 3) -> uint8 luma."""
    photometric = _word(dataset, "PhotometricInterpretation") or "RGB"
    if space is None:
        if photometric not in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"):
            raise DicomError(f"photometric interpretation {photometric!r} is not read")
        space = "YBR" if photometric.startswith("YBR_FULL") else "RGB"
    depth = float((1 << (_integer(dataset, "BitsStored") or _required(dataset, "BitsAllocated"))) - 1)
    return _to_uint8((stored[..., 0] if space == "YBR" else _luma(stored)) / depth)


def _luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601, as in PIL and in the YBR spaces of DICOM."""
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _to_uint8(brightness: np.ndarray) -> np.ndarray:
    if not np.isfinite(brightness).all():
        raise DicomError("the grayscale tags give no finite brightness")
    return np.rint(np.clip(brightness, 0.0, 1.0) * 255.0).astype(np.uint8)


def _standard_orientation(dataset: Any, picture: np.ndarray) -> np.ndarray:
    """Mirrors or turns a frontal picture so that rows run to the patient's left and columns to the feet."""
    row, column, *_ = [*(word[:1] for word in _words(dataset, "PatientOrientation")), "", ""]
    if {row, column} <= {"L", "R"} or {row, column} <= {"H", "F"}:
        return picture  # contradictory
    if row in ("H", "F") and column in ("L", "R"):
        picture, row, column = picture.T, column, row
    if row in ("L", "R") and column in ("H", "F"):
        picture = picture[:, ::-1] if row == "R" else picture
        picture = picture[::-1] if column == "H" else picture
    return picture
