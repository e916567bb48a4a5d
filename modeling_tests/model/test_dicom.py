"""DICOM reading: grayscale pipeline, refusals, every transfer syntax, metadata."""

import subprocess
import sys
import warnings

import numpy as np
import pydicom
import pytest
from dicom_builders import CTImageStorage, build, compressed, file_bytes, lossless_jpeg, picture, shipped
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.sequence import Sequence

from priorrg_hf.model import dicom_codestream_priorrg as codestream
from priorrg_hf.model import dicom_priorrg
from priorrg_hf.model.dicom_priorrg import DicomError, is_dicom, read_dicom, read_dicom_metadata


ANY = {"allow_any_modality": True, "allow_any_body_part": True}


def gray(source, **options) -> np.ndarray:
    image = read_dicom(source, **options)
    assert image.mode == "L"
    return np.asarray(image).astype(int)


def full_range(values: np.ndarray) -> np.ndarray:
    values = values.astype(float)
    return np.rint((values - values.min()) / (values.max() - values.min()) * 255).astype(int)


# --- grayscale


@pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_depths_and_signs_show_the_same_picture(bits, signed):
    pixels = picture(bits, signed=signed)
    assert (gray(build(pixels, bits=bits)) == full_range(pixels)).all()


def test_eight_bits_without_window_are_shown_as_they_are():
    pixels = picture(8) // 2
    assert (gray(build(pixels, bits=8)) == pixels).all()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_first_window_after_rescale(function):
    pixels = picture(12)
    tags = {"RescaleSlope": "0.5", "RescaleIntercept": "-100", "VOILUTFunction": function}
    dataset = build(pixels, WindowCenter=[900, 100], WindowWidth=[700, 10], **tags)
    x, center, width = pixels * 0.5 - 100, 900.0, 700.0
    if function == "LINEAR":
        expected = (x - (center - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR_EXACT":
        expected = (x - center) / width + 0.5
    else:
        expected = 1 / (1 + np.exp(-4 * (x - center) / width))
    expected = np.clip(expected, 0, 1) * 255
    assert np.abs(gray(dataset) - expected).max() <= 0.5 + 1e-6
    if function != "SIGMOID":  # pydicom's own pipeline agrees; its output range is that of the rescaled bits
        shown = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float)
        low, high = -100.0, 4095 * 0.5 - 100
        assert np.abs(gray(dataset) - (shown - low) / (high - low) * 255).max() <= 0.5 + 1e-6


def test_monochrome1_is_inverted():
    pixels = picture(12)
    plain, inverted = gray(build(pixels)), gray(build(pixels, PhotometricInterpretation="MONOCHROME1"))
    assert (plain + inverted == 255).all()


def test_monochrome1_with_window_is_inverted_after_the_window():
    tags = {"WindowCenter": "2000", "WindowWidth": "1500"}
    inverted = gray(build(PhotometricInterpretation="MONOCHROME1", **tags))
    assert np.abs(gray(build(**tags)) + inverted - 255).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_presentation_lut_shape_inverse_inverts_once(photometric):
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": "INVERSE"}
    assert (gray(build(**tags)) + gray(build()) == 255).all()
    assert (gray(build(PresentationLUTShape="IDENTITY")) == gray(build())).all()


def lut_item(entries: int, first: int, bits: int, values) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [entries, first, bits]
    item.LUTData = np.asarray(values, dtype=np.uint16).tobytes() if bits > 8 else list(map(int, values))
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "OW" if bits > 8 else "US"
    return item


def test_voi_lut_wins_over_the_window():
    pixels = picture(10)
    curve = np.rint(65535 * (np.arange(1024) / 1023) ** 2)
    dataset = build(pixels, bits=10, WindowCenter="500", WindowWidth="100")
    dataset.VOILUTSequence = Sequence([lut_item(1024, 0, 16, curve)])
    assert np.abs(gray(file_bytes(dataset)) - curve[pixels] / 65535 * 255).max() <= 0.5 + 1e-6


def test_eight_bit_voi_lut_packed_in_bytes():
    """The entries of an 8 bit table may come one a byte, although the table is written as words."""
    pixels = picture(8).astype(np.uint16)
    item = lut_item(256, 0, 8, np.arange(256))
    item["LUTData"].VR, item["LUTData"].value = "OW", bytes(range(255, -1, -1))
    dataset = build(pixels, bits=12)
    dataset.VOILUTSequence = Sequence([item])
    assert (gray(file_bytes(dataset)) == 255 - pixels).all()


@pytest.mark.parametrize("written", [-2048, 63488])
def test_voi_lut_of_signed_pixels_with_its_start_written_as_unsigned(written):
    """Taken as it stands, 63488 lies above all pixels and the film is black."""
    pixels = picture(12, signed=True)
    item = lut_item(4096, 0, 12, np.arange(4096))
    item["LUTDescriptor"].VR = "SS" if written < 0 else "US"
    item.LUTDescriptor = [4096, written, 12]
    dataset = build(pixels)
    dataset.VOILUTSequence = Sequence([item])
    assert np.abs(gray(file_bytes(dataset)) - (pixels + 2048) / 4095 * 255).max() <= 0.5 + 1e-6


def test_a_lookup_table_shorter_than_it_says_is_refused():
    dataset = build()
    dataset.VOILUTSequence = Sequence([lut_item(4096, 0, 12, np.arange(100))])
    with pytest.raises(DicomError, match="lookup table has 200 entries|lookup table has 100 entries"):
        read_dicom(file_bytes(dataset))


@pytest.mark.parametrize(
    "tags", [{"WindowCenter": "30000", "WindowWidth": "100"}, {"WindowCenter": "-900", "WindowWidth": "2"}]
)
def test_a_window_beside_all_values_gives_no_black_film(tags):
    with pytest.warns(UserWarning, match="shows nothing"):
        assert (gray(build(**tags)) == gray(build())).all()


def test_depth_from_the_high_bit_where_bits_stored_is_missing():
    assert (gray(build(BitsStored=None)) == gray(build())).all()


def test_modality_lut_comes_before_the_window():
    pixels = picture(10)
    dataset = build(pixels, bits=10, WindowCenter="2048", WindowWidth="4096", VOILUTFunction="LINEAR_EXACT")
    dataset.ModalityLUTSequence = Sequence([lut_item(1024, 0, 16, np.arange(1024)[::-1] * 4)])
    assert np.abs(gray(file_bytes(dataset)) - (1023 - pixels) * 4 / 4096 * 255).max() <= 0.5 + 1e-6


def test_overlay_bits_in_the_high_bits_are_ignored():
    pixels = picture(12)
    marked = pixels.copy()
    marked[20:40, 20:60] |= 0xF000
    dataset = build(marked)
    dataset.add_new(0x60000010, "US", pixels.shape[0])
    dataset.add_new(0x60000011, "US", pixels.shape[1])
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    assert (gray(dataset) == gray(build(pixels))).all()
    signed = picture(12, signed=True)
    marked = signed.copy()
    marked[5:9] ^= 0x3000  # an overlay may also spoil the sign extension
    assert (gray(build(marked)) == gray(build(signed))).all()


def test_overlay_data_are_ignored():
    dataset = build()
    dataset.add_new(0x60000010, "US", 96)
    dataset.add_new(0x60000011, "US", 80)
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"\xff" * 960)
    assert (gray(file_bytes(dataset)) == gray(build())).all()


def test_values_in_the_upper_bits():
    assert (gray(build((picture(12) << 4).astype(np.uint16), HighBit=15)) == gray(build())).all()


def test_padding_does_not_spoil_the_range():
    pixels = picture(12) // 4 + 500
    padded = pixels.copy()
    padded[:, :10] = 4095
    shown = gray(build(padded.astype(np.uint16), PixelPaddingValue=4095))
    assert (shown[:, 10:] == full_range(pixels[:, 10:])).all()


def test_impossible_window_is_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="window width"):
        shown = gray(build(WindowCenter="100", WindowWidth="0"))
    assert (shown == gray(build())).all()


# --- colour


def test_colour_spaces():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray(build(rgb, bits=8)) - expected).max() <= 0.51
    planar = build(rgb, bits=8, PlanarConfiguration=1, PixelData=np.moveaxis(rgb, -1, 0).tobytes())
    assert np.abs(gray(planar) - expected).max() <= 0.51
    assert (gray(build(rgb, bits=8, PhotometricInterpretation="YBR_FULL")) == rgb[..., 0]).all()


SHIPPED = [
    "693_J2KI.dcm",
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "ExplVR_BigEnd.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg_dcmd.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_agree_with_pydicom(name):
    """Against pydicom's own decoding, LUTs and windows, put on a scale of 0 to 255."""
    dataset = pydicom.dcmread(shipped(name))
    values = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = pydicom.pixels.apply_color_lut(values, dataset)
        expected = values @ np.array([0.299, 0.587, 0.114]) / (255 if values.dtype == np.uint8 else 65535)
    elif values.ndim == 3:
        expected = values @ np.array([0.299, 0.587, 0.114]) / (2.0**dataset.BitsStored - 1)
    else:
        values = apply_modality_lut(values, dataset).astype(float)
        low, high = values.min(), values.max()
        if "WindowCenter" in dataset:
            values = apply_voi_lut(values, dataset)
            first = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
            slope, shift = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
            low, high = first * slope + shift, (first + 2**dataset.BitsStored - 1) * slope + shift
        elif dataset.BitsStored <= 8:
            low, high = 0, 255
        expected = (values - low) / max(high - low, 1e-9)
    assert np.abs(gray(shipped(name), **ANY) - expected * 255).max() <= 0.51


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm"]
)
def test_luma_of_ybr_files_is_that_of_their_rgb(name):
    values = pixel_array(pydicom.dcmread(shipped(name))) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray(shipped(name), **ANY) - values).max() <= 8.5  # colours outside RGB are clipped there


# --- compressed


@pytest.mark.parametrize("codec", ["rle", "jpegls", "jpeg2000", "jpeg-lossless"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_syntaxes_show_the_uncompressed_picture(codec, bits):
    assert (gray(file_bytes(compressed(codec, bits=bits))) == gray(build(bits=bits))).all()


@pytest.mark.parametrize("codec", ["rle", "jpegls", "jpeg2000"])
def test_signed_pixels_in_compressed_files(codec):
    pixels = picture(12, signed=True)
    if codec == "jpegls":  # the encoder takes no signed pixels: their bits are stored, as the syntax demands
        dataset = compressed(codec, pixels=(pixels & 0xFFF).astype(np.uint16))
        dataset.PixelRepresentation = 1
    else:
        dataset = compressed(codec, pixels=pixels)
    assert (gray(dataset) == full_range(pixels)).all()


def test_baseline_jpeg_is_close():
    assert np.abs(gray(compressed("jpeg")) - gray(build(bits=8))).mean() < 2


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("restart_rows", [0, 8])
def test_lossless_jpeg_with_every_predictor(predictor, restart_rows):
    pixels = picture(12)
    frame = lossless_jpeg(pixels, 12, predictor, restart_rows)
    decoded, _ = codestream.decode_frame("jpeg", frame, codestream.FrameSize(*pixels.shape, 1, 16))
    assert (decoded == pixels).all()
    cut = frame[: len(frame) * 3 // 4] + b"\xff\xd9"
    with pytest.raises(ValueError):
        codestream.decode_frame("jpeg", cut, codestream.FrameSize(*pixels.shape, 1, 16))


@pytest.mark.parametrize("codec", ["jpegls", "jpeg2000", "jpeg-lossless"])
def test_a_frame_in_several_fragments(codec):
    dataset = compressed(codec)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    for has_bot in (True, False):
        dataset.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=4, has_bot=has_bot)
        assert (gray(file_bytes(dataset)) == gray(build())).all()


def test_more_than_one_frame_in_the_offset_table_is_refused():
    dataset = compressed("rle")
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame, frame])
    with pytest.raises(DicomError, match="frames"):
        read_dicom(dataset)


def test_wrong_scan_header_of_old_archives_is_repaired():
    assert (gray(shipped("JPEG-lossy.dcm"), **ANY) == gray(shipped("JPGExtended.dcm"), **ANY)).all()


def test_without_simplejpeg(monkeypatch):
    fast = gray(compressed("jpeg"))
    monkeypatch.setattr(codestream, "simplejpeg", None)
    assert np.abs(gray(compressed("jpeg")) - fast).max() <= 1


# --- refusals


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "modality 'CT'.*allow_any_modality"),
        ({"Modality": None, "SOPClassUID": CTImageStorage}, "CT Image Storage.*allow_any_modality"),
        ({"Modality": "OT", "BodyPartExamined": None}, "modality 'OT'"),
        ({"BodyPartExamined": "HAND"}, "'HAND'.*allow_any_body_part"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": None}, "Rows"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000"),
        ({"Rows": 97}, "end early"),
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"BitsStored": 20}, "20 of 16 bits"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"VOILUTFunction": "CURVE", "WindowCenter": "1", "WindowWidth": "2"}, "CURVE"),
        ({"RescaleSlope": "0"}, "RescaleSlope"),
    ],
)
def test_refused_with_the_reason(tags, words):
    with pytest.raises(DicomError, match=words):
        read_dicom(build(**tags))


def test_refusals_can_be_overridden():
    expected = gray(build())
    assert (gray(build(BodyPartExamined="HAND"), allow_any_body_part=True) == expected).all()
    assert (gray(build(Modality="CT"), allow_any_modality=True) == expected).all()
    assert (gray(build(Modality="OT", BodyPartExamined="PORT CHEST")) == expected).all()
    assert (gray(build(Modality=None, BodyPartExamined=None)) == expected).all()


def test_hand_in_the_region_sequence_is_refused():
    region = Dataset()
    region.CodeMeaning = "Hand"
    dataset = build(BodyPartExamined=None)
    dataset.AnatomicRegionSequence = Sequence([region])
    with pytest.raises(DicomError, match="HAND"):
        read_dicom(dataset)


def test_a_second_picture_in_the_frame_is_refused():
    dataset = compressed("jpeg-lossless")
    frame = lossless_jpeg(picture(12), 12)
    dataset.PixelData = pydicom.encaps.encapsulate([frame + frame])
    with pytest.raises(DicomError, match="multi-frame"):
        read_dicom(dataset)


@pytest.mark.parametrize("codec", ["rle", "jpegls", "jpeg2000", "jpeg", "jpeg-lossless"])
def test_size_in_the_header_must_be_that_of_the_stream(codec):
    dataset = compressed(codec)
    dataset.Rows = 48
    with pytest.raises(DicomError):
        read_dicom(dataset)


class PanicException(BaseException):
    """As decoders in Rust raise it."""


def test_errors_beside_exception_become_dicom_errors(monkeypatch):
    def panic(*_):
        raise PanicException("index out of bounds")

    monkeypatch.setattr(dicom_priorrg, "decode_frame", panic)
    with pytest.raises(DicomError, match="PanicException: index out of bounds"):
        read_dicom(compressed("rle"))


def test_an_interrupt_stays_an_interrupt(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dicom_priorrg, "decode_frame", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_dicom(compressed("rle"))


def test_missing_file_and_no_dicom(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_dicom(tmp_path / "none.dcm")
    (tmp_path / "text.dcm").write_text("no picture")
    with pytest.raises(DicomError, match=r"text\.dcm"):
        read_dicom(tmp_path / "text.dcm")
    with pytest.raises(TypeError):
        read_dicom(5)


# --- orientation and metadata


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (["L", "F"], lambda x: x),
        (["R", "F"], lambda x: x[:, ::-1]),
        (["L", "H"], lambda x: x[::-1]),
        (["R", "H"], lambda x: x[::-1, ::-1]),
        (["F", "L"], lambda x: x.T),
        (["F", "R"], lambda x: x.T[:, ::-1]),
        (["A", "F"], lambda x: x),
        (["L", "R"], lambda x: x),
    ],
)
def test_the_patients_left_is_on_the_right(orientation, turned):
    expected = gray(build())
    dataset = build(PatientOrientation=orientation)
    assert (gray(dataset) == turned(expected)).all()
    assert (gray(dataset, apply_orientation=False) == expected).all()


def test_metadata(tmp_path):
    path = tmp_path / "a.dcm"
    dataset = build(PatientName="Somebody^Else", ImageLaterality="L", PatientOrientation=["L", "F"])
    dataset.ReasonForTheRequestedProcedure = "Cough."
    dataset.AdditionalPatientHistory = "Smoker."
    path.write_bytes(file_bytes(dataset))
    tags = read_dicom_metadata(path)
    assert (tags.patient_id, tags.view, tags.laterality, tags.modality, tags.body_part) == (
        "P1",
        "PA",
        "L",
        "DX",
        "CHEST",
    )
    assert tags.acquired == "2021-03-04T10:05:30"
    assert tags.patient_orientation == ("L", "F") and (tags.rows, tags.columns) == (96, 80)
    assert (tags.indication, tags.history) == ("Cough.", "Smoker.")
    assert "Somebody" not in repr(tags)


def test_metadata_say_what_would_be_refused():
    assert read_dicom_metadata(build()).refusal is None
    assert "HAND" in read_dicom_metadata(build(BodyPartExamined="HAND")).refusal
    assert "2 frames" in read_dicom_metadata(build(NumberOfFrames=2)).refusal


def test_view_from_the_view_code():
    code = Dataset()
    code.CodeMeaning = "postero-anterior"
    dataset = build(ViewPosition=None)
    dataset.ViewCodeSequence = Sequence([code])
    assert read_dicom_metadata(dataset).view == "PA"


def test_every_way_to_hand_in_a_file(tmp_path):
    content = file_bytes(build())
    path = tmp_path / "scan"
    path.write_bytes(content)
    with open(path, "rb") as file:
        pictures = [gray(source) for source in (path, str(path), content, pydicom.dcmread(path), file)]
    assert all((shown == pictures[0]).all() for shown in pictures)
    assert is_dicom(path) and is_dicom(content) and is_dicom("somewhere/a.DCM")
    assert not is_dicom(tmp_path / "none") and not is_dicom(b"\xff\xd8") and not is_dicom(Image.new("L", (2, 2)))


def test_a_missing_pydicom_is_named():
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from priorrg_hf.model.dicom_priorrg import is_dicom, read_dicom\n"
        "assert is_dicom('a.dcm')\n"
        "try: read_dicom(b'')\n"
        "except ImportError as error: assert 'priorrg-hf[dicom]' in str(error)\n"
        "else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- tables that are shorter than they say, empty items, times that don't exist


@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("words", [4000, 4095, 2500])
def test_a_table_with_fewer_words_than_its_descriptor_is_no_table_of_bytes(kind, words):
    pixels = np.minimum(picture(12), words - 1)
    item = lut_item(4096, 0, 12, np.arange(words))
    if kind == "ModalityLUTSequence":
        item.ModalityLUTType = "US"
    dataset = build(pixels)
    setattr(dataset, kind, Sequence([item]))
    with pytest.warns(UserWarning, match="its last one goes on"):
        shown = gray(file_bytes(dataset)).astype(float)
    top = 4095 if kind == "VOILUTSequence" else pixels.max()
    low = 0 if kind == "VOILUTSequence" else pixels.min()
    assert np.abs(shown - (pixels.astype(float) - low) / (top - low) * 255).max() <= 0.51


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_short_tables_of_other_depths(depth):
    entries = np.rint(np.arange(200) / 255 * ((1 << depth) - 1)).astype(np.uint16)
    item = lut_item(256, 0, depth, entries)
    item["LUTData"].VR, item["LUTData"].value = "OW", entries.astype("<u2").tobytes()
    pixels = np.minimum(picture(8), 199).astype(np.uint16)
    dataset = build(pixels, bits=12)
    dataset.VOILUTSequence = Sequence([item])
    shown = gray(file_bytes(dataset)).astype(float)
    assert np.abs(shown - pixels.astype(float)).max() <= 1.01


@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("item", ["empty", "no data", "no descriptor", "two numbers", "short"])
def test_an_unusable_table_leaves_the_window(kind, item):
    table = lut_item(4096, 0, 12, np.arange(4096))
    if item == "empty":
        table = Dataset()
    elif item == "no data":
        del table.LUTData
    elif item == "no descriptor":
        del table.LUTDescriptor
    elif item == "two numbers":
        table.LUTDescriptor = [4096, 0]
    else:
        table = lut_item(4096, 0, 12, np.arange(10))
    dataset = build(WindowCenter="2048", WindowWidth="2000")
    expected = gray(file_bytes(dataset))
    setattr(dataset, kind, Sequence([table]))
    if kind == "VOILUTSequence" or item == "empty":
        assert (gray(file_bytes(dataset)) == expected).all()
    else:  # what the numbers mean is not known then
        with pytest.raises(DicomError, match="lookup table"):
            gray(file_bytes(dataset))
    if kind == "VOILUTSequence" and item != "empty":
        del dataset.WindowCenter
        with pytest.raises(DicomError, match="lookup table"):
            gray(file_bytes(dataset))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"StudyDate": "20210304", "StudyTime": "93015.5"}, "2021-03-04T09:30:15.500000"),
        ({"StudyDate": "20210304", "StudyTime": "250000"}, "2021-03-04"),
        (
            {"StudyDate": "20210304", "StudyTime": "250000", "SeriesDate": "20210304", "SeriesTime": "101112"},
            "2021-03-04T10:11:12",
        ),
        ({"StudyDate": "20210304", "StudyTime": "", "SeriesDate": "20210305", "SeriesTime": "101112"}, "2021-03-04"),
        ({"StudyDate": "00000000", "SeriesDate": "20210304", "SeriesTime": "0709"}, "2021-03-04T07:09:00"),
        ({"StudyDate": "20211301", "AcquisitionDate": "20210304", "AcquisitionTime": "235960"}, "2021-03-04T23:59:59"),
        ({"StudyDate": "20210230", "SeriesDate": "00000000"}, None),
        ({"StudyDate": "20210304", "StudyTime": "106099"}, "2021-03-04"),
        ({"StudyDate": "2021.03.04", "StudyTime": "10:11:12"}, "2021-03-04T10:11:12"),
        ({"StudyDate": "1"}, None),
    ],
)
def test_dates_and_times_that_exist(tags, expected):
    from datetime import datetime

    dataset = build()
    for name in [
        f"{part}{kind}" for part in ("Study", "Series", "Acquisition", "Content") for kind in ("Date", "Time")
    ]:
        if name in dataset:
            delattr(dataset, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in tags.items():
            setattr(dataset, name, value)
        found = read_dicom_metadata(file_bytes(dataset)).acquired
    assert found == expected
    if found is not None:
        datetime.fromisoformat(found)
