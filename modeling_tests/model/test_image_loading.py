"""Whatever the user hands in becomes one 8-bit image, or an error that says why."""

import http.server
import io
import pickle
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from priorrg_hf.model import image_loading_priorrg as image_loading
from priorrg_hf.model.image_loading_priorrg import ImageLoadingError, load_image, scale_to_uint8


@pytest.fixture
def gray() -> np.ndarray:
    """(24, 20) with every value from 0 to 255 at hand, and no symmetry."""
    pixels = np.random.default_rng(0).permutation(np.arange(480) % 256).astype(np.uint8)
    return pixels.reshape(24, 20)


def encode(image: Image.Image, file_format: str, **kwargs) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **kwargs)
    return buffer.getvalue()


def test_the_same_picture_in_every_form(gray, tmp_path):
    image = Image.fromarray(gray)
    content = encode(image, "PNG")
    path = tmp_path / "x.png"
    path.write_bytes(content)
    forms = [
        image,
        gray,
        gray[:, :, None],
        gray[None],
        torch.from_numpy(gray),
        torch.from_numpy(gray)[None],
        torch.from_numpy(gray)[None, None],
        torch.from_numpy(gray / np.float32(255)),
        (torch.from_numpy(gray / 255)).requires_grad_(),
        gray.astype(np.int64),
        gray.astype(np.float64),
        gray.astype(">u2") * 257,
        path,
        str(path),
        path.as_uri(),
        content,
        bytearray(content),
        io.BytesIO(content),
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(path)},
        {"bytes": content, "path": "gone.png"},
        np.asfortranarray(gray),
        gray[::-1][::-1],
    ]
    for form in forms:
        loaded = load_image(form)
        assert loaded.mode == "L"
        np.testing.assert_array_equal(np.asarray(loaded), gray)


@pytest.mark.parametrize(
    ("shape", "make", "expected"),
    [
        ((3, 20, 24), np.asarray, (24, 20)),
        ((20, 24, 3), np.asarray, (24, 20)),
        ((20, 24, 4), np.asarray, (24, 20)),
        ((4, 20, 24), torch.from_numpy, (24, 20)),
        ((20, 24, 3), torch.from_numpy, (24, 20)),
        # both ends could be channels: arrays are channels-last, tensors channels-first
        ((3, 20, 3), np.asarray, (20, 3)),
        ((3, 20, 3), torch.from_numpy, (3, 20)),
    ],
)
def test_channel_layouts(shape, make, expected):
    loaded = load_image(make(np.full(shape, 200, dtype=np.uint8)))
    assert (loaded.mode, loaded.size) == ("RGB", expected)


@pytest.mark.parametrize("shape", [(5,), (20, 24, 5), (2, 3, 20, 24), (20, 24, 2)])
def test_shapes_that_are_no_image(shape):
    with pytest.raises(ImageLoadingError, match=r"is no image; pass \(height, width\)"):
        load_image(np.zeros(shape, dtype=np.uint8))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_file_is_scaled_not_clipped(gray, file_format):
    content = encode(Image.fromarray(gray.astype(np.uint16) * 257), file_format)
    np.testing.assert_array_equal(np.asarray(load_image(content)), gray)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bit_modes(gray, mode):
    values = gray.astype(np.uint16) * 257
    raw = {"I;16": values.astype("<u2"), "I;16B": values.astype(">u2"), "I": values.astype(np.int32)}[mode]
    image = Image.frombytes(mode, (20, 24), raw.tobytes())
    np.testing.assert_array_equal(np.asarray(load_image(image)), gray)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_bit_depth_follows_the_largest_value(bits):
    levels = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(scale_to_uint8(levels), np.arange(256).reshape(16, 16))


def test_float_ranges():
    unit = np.array([[0.0, 0.5, 1.0]])
    np.testing.assert_array_equal(scale_to_uint8(unit), [[0, 128, 255]])
    np.testing.assert_array_equal(scale_to_uint8(unit * 200), [[0, 100, 200]])
    np.testing.assert_array_equal(scale_to_uint8(unit * 4095), [[0, 128, 255]])
    np.testing.assert_array_equal(scale_to_uint8(np.array([[-1000.0, 0.0, 1000.0]])), [[0, 128, 255]])
    np.testing.assert_array_equal(scale_to_uint8(np.array([[-1000, 0, 1000]], dtype=np.int16)), [[0, 128, 255]])
    np.testing.assert_array_equal(scale_to_uint8(np.array([[True, False]])), [[255, 0]])
    np.testing.assert_array_equal(scale_to_uint8(np.full((2, 2), -3.0)), np.zeros((2, 2)))
    assert np.asarray(load_image(torch.full((4, 4), 0.5, dtype=torch.bfloat16)))[0, 0] == 128
    image = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert image.mode == "F"
    assert np.asarray(load_image(image)).max() == 255


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_pixels(value):
    pixels = np.ones((8, 8), dtype=np.float32)
    pixels[3, 3] = value
    for source in (pixels, torch.from_numpy(pixels), Image.fromarray(pixels)):
        with pytest.raises(ImageLoadingError, match="NaN or infinite"):
            load_image(source)


def test_transparency_is_composited_over_black():
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[:, :, :3] = 200
    pixels[0, :, 3] = 255
    for source in (pixels, encode(Image.fromarray(pixels), "PNG"), Image.fromarray(pixels).convert("LA")):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(loaded)[:, :, 0], [[200, 200], [0, 0]])


def test_palette_with_and_without_transparency(gray):
    palette = Image.fromarray(gray).convert("P")
    np.testing.assert_array_equal(np.asarray(load_image(palette))[:, :, 1], gray)
    expected = np.where(gray == 255, 0, gray)
    for image in (palette, Image.fromarray(gray)):
        content = encode(image, "PNG", transparency=255)
        np.testing.assert_array_equal(np.asarray(load_image(content))[:, :, 1], expected)


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "HSV", "LAB", "RGBX", "LA", "PA", "RGBa"])
def test_other_modes_open(gray, mode):
    image = Image.fromarray(gray).convert("RGB")
    try:
        image = image.convert(mode)
    except ValueError:
        image = Image.new(mode, (20, 24))
    assert load_image(image).mode in ("L", "RGB")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied(gray, orientation):
    turned = {
        2: gray[:, ::-1],
        3: gray[::-1, ::-1],
        4: gray[::-1],
        5: gray.T,
        6: gray.T[:, ::-1],
        7: gray.T[::-1, ::-1],
        8: gray.T[::-1],
    }[orientation]
    image = Image.fromarray(gray)
    exif = image.getexif()
    exif[0x0112] = orientation
    content = encode(image, "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(content)), turned)
    np.testing.assert_array_equal(np.asarray(load_image(Image.open(io.BytesIO(content)))), turned)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_cut_off_file(tmp_path, file_format):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    content = encode(Image.fromarray(noise), file_format)
    path = tmp_path / "cut"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageLoadingError, match="cut.*damaged or cut off.*export it again"):
        load_image(path)
    lazy = Image.open(io.BytesIO(content[: len(content) // 2])) if file_format in ("PNG", "JPEG") else None
    if lazy is not None:
        with pytest.raises(ImageLoadingError, match="damaged or cut off"):
            load_image(lazy)


def test_files_that_cannot_be_images(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    for name, message in [
        ("gone.png", "does not exist"),
        ("empty.png", "empty file"),
        ("text.png", "no image file"),
        (".", "is a folder"),
    ]:
        with pytest.raises(ImageLoadingError, match=message):
            load_image(tmp_path / name)
    for source in (b"", {"bytes": None, "path": None}, 7, object()):
        with pytest.raises(ImageLoadingError):
            load_image(source)


def test_zero_size():
    for source in (np.zeros((0, 4), np.uint8), torch.zeros(3, 0, 5), Image.new("L", (0, 3))):
        with pytest.raises(ImageLoadingError, match="no pixels"):
            load_image(source)


def test_decompression_bomb(monkeypatch):
    content = encode(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_999)
    for source in (content, Image.new("L", (100, 100)), np.zeros((100, 100), np.uint8)):
        with pytest.raises(ImageLoadingError, match="absurdly large"):
            load_image(source)
    # Pillow raises by itself above twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(ImageLoadingError, match="absurdly large.*MAX_IMAGE_PIXELS"):
        load_image(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(content).size == (100, 100)


def test_strip_that_would_fill_the_memory_when_resized():
    with pytest.raises(ImageLoadingError, match="strip of 1000 x 2"):
        load_image(np.zeros((2, 1000), np.uint8))


def test_several_frames_are_ambiguous():
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    with pytest.raises(ImageLoadingError, match="2 frames"):
        load_image(encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]))


def test_8_bit_images_are_not_copied(gray):
    image = Image.fromarray(gray)
    assert load_image(image) is image


def test_error_survives_worker_processes():
    error = pickle.loads(pickle.dumps(ImageLoadingError("why")))
    assert isinstance(error, ValueError)
    assert str(error) == "why"


@pytest.fixture
def server(gray):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/gone"):
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            try:
                if self.path.startswith("/slow"):
                    for _ in range(50):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                        time.sleep(0.05)
                elif self.path.startswith("/endless"):
                    for _ in range(1000):
                        self.wfile.write(bytes(10_000))
                else:
                    self.wfile.write(encode(Image.fromarray(gray), "PNG"))
            except OSError:
                pass

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_url(server, gray, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PRIORRG_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(image_loading, "is_offline_mode", lambda: False)
    np.testing.assert_array_equal(np.asarray(load_image(f"{server}/x.png")), gray)
    with pytest.raises(ImageLoadingError, match="answered 404"):
        load_image(f"{server}/gone.png")
    with pytest.raises(ImageLoadingError, match="longer than 0.3 s"):
        load_image(f"{server}/slow", timeout=0.3)
    with pytest.raises(ImageLoadingError, match="more than 20000 bytes"):
        load_image(f"{server}/endless", max_bytes=20_000)
    with pytest.raises(ImageLoadingError) as caught:
        load_image(f"{server}/gone.png?signature=secret")
    assert "secret" not in str(caught.value)


def test_unreachable_url(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PRIORRG_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(image_loading, "is_offline_mode", lambda: False)
    with pytest.raises(ImageLoadingError, match="could not be fetched"):
        load_image("http://127.0.0.1:9/x.png", timeout=2)


def test_url_is_refused_offline(monkeypatch):
    monkeypatch.setattr(image_loading, "is_offline_mode", lambda: True)
    monkeypatch.setattr(image_loading, "_Download", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(ImageLoadingError, match="offline mode.*pass its path"):
        load_image("https://example.org/x.png")


def dicom_bytes(pixels: np.ndarray) -> bytes:
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs the extra priorrg-hf[dicom]")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality, dataset.BodyPartExamined, dataset.PhotometricInterpretation = "DX", "CHEST", "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.astype("<u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_dicom_with_and_without_its_suffix(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs the extra priorrg-hf[dicom]")
    content = dicom_bytes(np.arange(4096).reshape(64, 64))
    sources = [content, io.BytesIO(content), {"bytes": content, "path": None}, pydicom.dcmread(io.BytesIO(content))]
    for name in ("x.dcm", "x"):
        (tmp_path / name).write_bytes(content)
        sources.append(tmp_path / name)
    for source in sources:
        loaded = load_image(source)
        assert (loaded.mode, loaded.size) == ("L", (64, 64))
        pixels = np.asarray(loaded).ravel().astype(int)
        assert (pixels[0], pixels[-1]) == (0, 255)
        assert (np.diff(pixels) >= 0).all()


def test_damaged_dicom(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(np.arange(4096).reshape(64, 64))[:3000])
    with pytest.raises(ImageLoadingError, match="x.dcm"):
        load_image(path)
