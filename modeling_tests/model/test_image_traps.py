"""Pictures that a library reads wrongly without a word, and addresses that must not be opened."""

import http.server
import io
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from priorrg_hf.model import image_loading_priorrg as image_loading
from priorrg_hf.model.image_loading_priorrg import ImageLoadingError, fetch_url, load_image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, colour: int, depth: int, keep: float = 1.0, interlace: int = 0, parts: int = 3) -> bytes:
    """A PNG of unfiltered rows; `keep` cuts the packed pixels, not the file."""
    rows = values.astype(">u2" if depth == 16 else np.uint8).reshape(values.shape[0], -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    raw = raw[: int(len(raw) * keep)]
    packed = zlib.compress(raw)
    step = -(-len(packed) // parts)
    chunks = b"".join(png_chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + chunks + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour", "depth", "channels"), [(0, 8, 1), (0, 16, 1), (2, 8, 3), (6, 8, 4), (4, 16, 2), (2, 16, 3)]
)
def test_a_png_whose_data_end_early_is_refused(colour, depth, channels):
    values = np.random.default_rng(0).integers(0, 200, (40, 30, channels))
    load_image(png(values, colour, depth))
    for keep in (0.5, 0.97, 0.02):
        with pytest.raises(ImageLoadingError, match="ends early|cut off"):
            load_image(png(values, colour, depth, keep))


def test_whole_pngs_of_all_kinds_are_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (33, 21), dtype=np.uint8)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"):
        image = (
            Image.fromarray(pixels.astype(np.uint16) * 257)
            if mode == "I;16"
            else Image.fromarray(pixels).convert(mode)
        )
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert load_image(buffer.getvalue()).size == (21, 33)
        (tmp_path / "x.png").write_bytes(buffer.getvalue())
        assert load_image(tmp_path / "x.png").size == (21, 33)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_data_end_early_is_refused(mode, progressive):
    if progressive:
        pytest.importorskip("simplejpeg", reason="progressive JPEG needs the extra priorrg-hf[dicom]")
    y, x = np.mgrid[0:160, 0:120]
    pixels = ((np.sin(x / 9) + np.cos(y / 13)) * 50 + 120).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", quality=90, progressive=progressive)
    content = buffer.getvalue()
    load_image(content)
    for keep in (0.5, 0.8):
        with pytest.raises(ImageLoadingError, match="ends early|damaged"):
            load_image(content[: int(len(content) * keep)] + b"\xff\xd9")


def test_a_gray_picture_is_no_cut_one():
    buffer = io.BytesIO()
    Image.new("L", (64, 48), 128).save(buffer, "JPEG")
    assert np.asarray(load_image(buffer.getvalue())).mean() == 128


def tiff(values: np.ndarray, photometric: int, bits: int, sample_format: int = 1, order: str = "<") -> bytes:
    """An uncompressed TIFF of one channel."""
    data = values.astype(f"{order}f4" if sample_format == 3 else f"{order}u{bits // 8}").tobytes()
    height, width = values.shape
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1), (278, 4, height),
               (279, 4, len(data)), (339, 3, sample_format)]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(f"{order}H", value) + b"\0\0" if kind == 3 else struct.pack(f"{order}I", value)
        directory += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + directory + b"\0\0\0\0"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "top", "sample_format"),
    [(8, 255, 1), (16, 65535, 1), (16, 4095, 1), (32, 1.0, 3), (32, 255.0, 3), (32, 4095.0, 3)],
)
def test_white_is_zero_is_turned_at_every_depth(bits, top, sample_format, order):
    ramp = np.linspace(0, top, 64 * 48).reshape(48, 64)
    ramp = ramp if sample_format == 3 else np.rint(ramp)
    if (bits, order) == (16, ">"):  # Pillow has no reader for these: refused, and never a negative
        with pytest.raises(ImageLoadingError, match="convert it to PNG"):
            load_image(tiff(ramp, 0, bits, sample_format, order))
        return
    black, white = (
        np.asarray(load_image(tiff(ramp, kind, bits, sample_format, order))).astype(int) for kind in (1, 0)
    )
    assert black[0, 0] == 0 and black[-1, -1] == 255
    np.testing.assert_array_equal(white, 255 - black)


@pytest.mark.parametrize("top", [4095, 1023, 65535, 255])
@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_deep_colours_keep_their_depth(top, colour, channels):
    rng = np.random.default_rng(0)
    values = rng.integers(0, top + 1, (20, 30, channels))
    values[0, 0, 0] = top
    if channels in (2, 4):
        values[..., -1] = 65535
    shown = np.asarray(load_image(png(values, colour, 16)).convert("RGB")).astype(float)
    expected = values[..., : channels - (channels in (2, 4))] * (255.0 / top)
    expected = np.broadcast_to(expected, (20, 30, 3)) if expected.shape[2] == 1 else expected
    assert np.abs(shown - expected).max() <= 0.51


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_deep_colours_of_tiff(compression, order):
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    values[0, 0] = 4095
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    data += b"\0" * (len(data) % 2)
    bits_at = 8 + len(data)
    entries = [(256, 4, 1, 30), (257, 4, 1, 20), (258, 3, 3, bits_at), (259, 3, 1, compression), (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3),
               (278, 4, 1, 20), (279, 4, 1, len(data)), (284, 3, 1, 1)]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        packed = (
            struct.pack(f"{order}H", value) + b"\0\0" if (kind, count) == (3, 1) else struct.pack(f"{order}I", value)
        )
        directory += struct.pack(f"{order}HHI", tag, kind, count) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", bits_at + 6)
    shown = np.asarray(
        load_image(head + data + struct.pack(f"{order}HHH", 16, 16, 16) + directory + b"\0" * 4)
    ).astype(float)
    assert np.abs(shown - values * (255.0 / 4095)).max() <= 0.51


def test_formats_that_start_other_programs_are_not_opened(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageLoadingError, match="no image file"):
        load_image(tmp_path / "x.png")
    with pytest.raises(ImageLoadingError, match="format EPS"):
        load_image(Image.open(tmp_path / "x.png"))


# --- addresses ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("PRIORRG_ALLOW_PRIVATE_URLS", raising=False)
    monkeypatch.setattr(image_loading, "is_offline_mode", lambda: False)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/loop":
            time.sleep(0.2)
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"abc")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(online):
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


def raw_server(answer) -> str:
    """A server that sends the pieces of `answer()` as they come, whatever was asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                connection.recv(4096)
                for piece in answer():
                    connection.sendall(piece)
            except OSError:
                pass
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.9", "172.16.5.5", "169.254.169.254", "[fd00::1]", "[fe80::1]", "0.0.0.0", "[::ffff:127.0.0.1]",
     "2130706433", "0x7f.1", "100.64.0.1", "[64:ff9b::7f00:1]"],
)  # fmt: skip
def test_private_addresses_are_refused(online, address):
    with pytest.raises(ImageLoadingError, match="private network|could not be fetched"):
        fetch_url(f"http://{address}:9/x.png", timeout=3)


def test_private_addresses_are_opened_if_asked(server):
    assert fetch_url(f"{server}/x", allow_private=True) == b"abc"
    with pytest.raises(ImageLoadingError, match="private network"):
        fetch_url(f"{server}/x")


def test_a_name_that_changes_its_address_is_connected_to_the_one_that_was_judged(server, monkeypatch):
    answers = iter(["93.184.215.14", "127.0.0.1"])
    monkeypatch.setattr(
        image_loading.socket,
        "getaddrinfo",
        lambda host, port, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))],
    )
    with pytest.raises(ImageLoadingError) as caught:
        fetch_url(server.replace("127.0.0.1", "rebinding.example") + "/x", timeout=1)
    assert next(answers) == "127.0.0.1" and "abc" not in str(caught.value)  # asked once only


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/hostname", "data:text/plain,x", "gopher://x/"])
def test_redirects_stay_on_the_web(server, target):
    with pytest.raises(ImageLoadingError, match="neither http nor https|could not be fetched|answered 302"):
        fetch_url(f"{server}/to/{target}", allow_private=True)


def test_redirects_to_private_addresses_are_refused(server, monkeypatch):
    monkeypatch.setattr(image_loading, "_is_public", lambda address: address == "127.0.0.1")
    assert fetch_url(f"{server}/x") == b"abc"
    with pytest.raises(ImageLoadingError, match="private network"):
        fetch_url(f"{server}/to/http://127.0.0.2:9/x")


def test_one_deadline_for_everything(server):
    def trickle():
        yield b"HTTP/1.1 200 OK\r\n"
        for number in range(400):
            time.sleep(0.05)
            yield b"X-%d: y\r\n" % number

    def nothing():
        time.sleep(30)
        yield b""

    for url in (f"{server}/loop", raw_server(trickle), raw_server(nothing)):
        begin = time.monotonic()
        with pytest.raises(ImageLoadingError):
            fetch_url(url, timeout=0.5, allow_private=True)
        assert time.monotonic() - begin < 2


def test_a_slow_name_look_up_counts_too(online, monkeypatch):
    monkeypatch.setattr(image_loading.socket, "getaddrinfo", lambda *_, **__: time.sleep(20))
    begin = time.monotonic()
    with pytest.raises(ImageLoadingError, match="longer than 0.5 s"):
        fetch_url("http://slow.example/x", timeout=0.5)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300,
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
def test_answers_that_break_the_protocol(online, answer):
    with pytest.raises(ImageLoadingError):
        fetch_url(raw_server(lambda: [answer]), timeout=5, allow_private=True)


def test_secrets_of_addresses_stay_out_of_messages(online):
    with pytest.raises(ImageLoadingError) as caught:
        load_image("http://user:password@127.0.0.1:9/x.png?token=abc")
    assert "password" not in str(caught.value) and "abc" not in str(caught.value)


def test_other_schemes_are_no_paths():
    for url in ("ftp://example.org/x.png", "s3://bucket/x.png"):
        with pytest.raises(ImageLoadingError, match="only http and https"):
            load_image(url)
