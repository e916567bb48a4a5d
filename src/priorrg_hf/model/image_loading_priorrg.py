"""Opens whatever a user hands in as a chest X-ray: one 8-bit PIL image of mode "L" or "RGB" comes out.

Everything that could go wrong silently is decided here, once: 16-bit files are scaled by their bit depth instead of being
clipped to white, transparency is composited, EXIF orientation is applied, and what cannot be read is an
[`ImageLoadingError`] that says why and what to do. Resizing and normalising are the image processor's job, not this file's.
"""

import contextlib
import http.client
import io
import ipaddress
import os
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import torch
from huggingface_hub import is_offline_mode
from PIL import Image, ImageOps, UnidentifiedImageError

from .dicom_codestream_priorrg import CodestreamError, check_jpeg_is_whole
from .dicom_priorrg import MAX_FILE_BYTES, is_dicom, open_regular_file, read_dicom


# Depths that detectors and their exports use. A 12-bit image in a 16-bit file holds values up to 4095 and must not come
# out nearly black, so the depth is the smallest of these that holds the largest value.
BIT_DEPTHS = (8, 10, 12, 14, 16)

# A chest X-ray is at most a few times longer than wide. Beyond this ratio, resizing the shorter edge to the model's input
# would make the longer one so long that it fills the memory.
MAX_ASPECT_RATIO = 100

# What Pillow may open. Its list is longer, and some of it starts other programs (PostScript: Ghostscript) or fetches files.
IMAGE_FORMATS = ("PNG", "JPEG", "MPO", "JPEG2000", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "AVIF")

URL_TIMEOUT_SECONDS = 30.0
URL_MAX_BYTES = 256 * 2**20

_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC = 262


class ImageLoadingError(ValueError):
    """An image that cannot be used, with the reason and the remedy in its message."""


def load_image(source: Any, *, timeout: float = URL_TIMEOUT_SECONDS, max_bytes: int = URL_MAX_BYTES) -> Image.Image:
    """
    Opens `source` as an 8-bit image.

    Args:
        source (`str`, `os.PathLike`, `bytes`, `dict`, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            A path (any format Pillow reads, or DICOM), an http(s) URL, the content of a file, a binary file object, a
            `pydicom.Dataset`, the `{"bytes": ..., "path": ...}` form of undecoded `datasets` images, or pixels: (height, width),
            (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels, as integers of any depth or
            floats. See [`scale_to_uint8`] for how values become 8-bit. Where both ends could be channels, arrays are
            read as channels-last and tensors as channels-first.
        timeout (`float`, *optional*, defaults to 30):
            Seconds that a download may take in all.
        max_bytes (`int`, *optional*, defaults to 256 MiB):
            Size above which a download is given up.

    Returns:
        `PIL.Image.Image`: mode "L" or "RGB". Transparent pixels are composited over black, the colour of an X-ray's
        empty border, and the EXIF orientation is applied.

    Raises:
        [`ImageLoadingError`]: the image is missing, unreadable, truncated, empty, larger than
        `PIL.Image.MAX_IMAGE_PIXELS`, has NaN or infinite pixels, or comes from a URL while transformers is offline.
    """
    if isinstance(source, dict):
        source = _dict_content(source)
    if isinstance(source, Image.Image):
        return _from_pil(source)
    if isinstance(source, torch.Tensor):
        return _from_array(_tensor_to_numpy(source), channels_first=True)
    if isinstance(source, np.ndarray):
        return _from_array(source, channels_first=False)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "the given bytes")
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        return _from_bytes(fetch_url(source, timeout=timeout, max_bytes=max_bytes), _without_query(source))
    if isinstance(source, str) and source.lower().startswith("file://"):
        source = file_url_to_path(source)
    if isinstance(source, str) and (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)):
        raise ImageLoadingError(
            f"addresses of the scheme {scheme[1]}:// are not read, only http and https; download the file and pass its path"
        )
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source))
    if is_dicom(source):
        return _from_dicom(source)
    if hasattr(source, "read"):
        return _from_bytes(source.read(), "the given file object")
    raise ImageLoadingError(
        f"cannot use a {type(source).__name__} as an image; pass a path, a URL, bytes, a PIL image, a NumPy array, a "
        'tensor, or {"bytes": ..., "path": ...}'
    )


def scale_to_uint8(pixels: np.ndarray) -> np.ndarray:
    """
    Maps pixel values of any type and depth to 0..255, without ever clipping.

    - `uint8` and `bool` stay (True becomes 255).
    - Other integers, and floats above 255, that lie in 0..65535: a linear scale from 0 to the largest value of the
      smallest bit depth (8, 10, 12, 14 or 16) that holds the image's maximum. So a 16-bit copy of an 8-bit image gives that
      image back, and a 12-bit image in a 16-bit file is not dark.
    - Floats in 0..1 are multiplied by 255, floats in 0..255 are rounded.
    - Anything else (negative or larger values: Hounsfield units, normalised tensors) is stretched from its minimum to its maximum.

    Args:
        pixels (`np.ndarray`): values of any shape.

    Returns:
        `np.ndarray`: `uint8`, same shape.

    Raises:
        [`ImageLoadingError`]: no pixels, a type that holds no numbers, NaN or infinite values.
    """
    if pixels.size == 0:
        raise ImageLoadingError(f"the image has no pixels (shape {pixels.shape}); leave it out or export it again")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "iuf":
        raise ImageLoadingError(f"pixels of type {pixels.dtype} are no image; pass integers or floats")

    # min and max of a float image are NaN as soon as one pixel is
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageLoadingError("the image has NaN or infinite pixels; replace them, or export the image again")
    if low < 0 or high > 65535:
        span = (high - low) or 1.0
        return np.rint((pixels.astype(np.float64) - low) * (255.0 / span)).astype(np.uint8)
    if pixels.dtype.kind == "f":
        if high <= 255:
            scale = 255.0 if high <= 1 else 1.0
        else:
            scale = 255.0 / _largest_value(high)
        return np.rint(pixels.astype(np.float64) * scale).astype(np.uint8)
    levels = np.arange(int(high) + 1, dtype=np.float64)
    return np.rint(levels * (255.0 / _largest_value(high))).astype(np.uint8)[pixels]


def fetch_url(
    url: str,
    *,
    timeout: float = URL_TIMEOUT_SECONDS,
    max_bytes: int = URL_MAX_BYTES,
    allow_private: bool | None = None,
) -> bytes:
    """
    Downloads an http(s) URL, within a time and a size.

    Args:
        url (`str`): The address. Redirects are followed to http and https only.
        timeout (`float`, *optional*, defaults to 30):
            Seconds for all of it together: name look-up, redirects, headers, content.
        max_bytes (`int`, *optional*, defaults to 256 MiB): Largest accepted size.
        allow_private (`bool`, *optional*):
            Whether addresses of this machine and of private networks may be opened, also by redirects. By default only if the
            environment variable `PRIORRG_ALLOW_PRIVATE_URLS` is 1.

    Returns:
        `bytes`: The content.

    Raises:
        [`ImageLoadingError`]: offline mode (`HF_HUB_OFFLINE=1`), no answer in time, a server error, a private address, or too
        many bytes.
    """
    shown = _without_query(url)
    if is_offline_mode():
        raise ImageLoadingError(
            f"{shown} cannot be fetched in offline mode; download the file and pass its path, or unset HF_HUB_OFFLINE"
        )
    if allow_private is None:
        allow_private = os.environ.get("PRIORRG_ALLOW_PRIVATE_URLS", "") == "1"
    download = _Download(url, shown, max_bytes, allow_private, time.monotonic() + timeout)
    # In a thread, because nothing bounds the time of a name look-up, and a server may trickle its headers.
    thread = threading.Thread(target=download.run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        download.cancel()
        raise ImageLoadingError(f"{shown} took longer than {timeout:g} s; download it and pass its path")
    if download.error is not None:
        raise download.error
    return download.content


class _Download:
    """One download in a thread of its own; `content` or `error` holds how it ended."""

    def __init__(self, url: str, shown: str, max_bytes: int, allow_private: bool, deadline: float):
        self.url, self.shown, self.max_bytes, self.allow_private, self.deadline = (
            url,
            shown,
            max_bytes,
            allow_private,
            deadline,
        )
        self.content, self.cancelled = b"", False
        self.error: ImageLoadingError | None = None
        self._sockets: list[socket.socket] = []

    def cancel(self) -> None:
        """Ends whatever the thread waits for."""
        self.cancelled = True
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        try:
            self.content = self._fetch()
        except ImageLoadingError as error:
            self.error = error
        except urllib.error.HTTPError as error:
            self.error = ImageLoadingError(f"{self.shown} answered {error.code} {error.reason}; check the address")
        except Exception as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ImageLoadingError):
                self.error = reason
            else:
                # http.client raises its own exceptions, urllib OSError and ValueError
                self.error = ImageLoadingError(
                    f"{self.shown} could not be fetched ({type(reason).__name__}: {reason}); check the address and the network"
                )

    def _fetch(self) -> bytes:
        proxies = {urllib.parse.urlsplit(proxy).hostname for proxy in urllib.request.getproxies().values()}
        create, too_large = (
            self._connector(proxies),
            f"{self.shown} holds more than {self.max_bytes} bytes; download it and pass its path",
        )

        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._create_connection = create

        class SecureConnection(http.client.HTTPSConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._create_connection = create

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, request):
                return self.do_open(Connection, request)

        class SecureHandler(urllib.request.HTTPSHandler):
            def https_open(self, request):
                return self.do_open(SecureConnection, request)

        # Only what is named here: no ftp, no file, no data.
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            Handler(),
            SecureHandler(),
            _WebRedirects(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        request = urllib.request.Request(self.url, headers={"User-Agent": "priorrg_hf"})
        with opener.open(request, timeout=max(0.001, self.deadline - time.monotonic())) as response:
            length = response.headers.get("Content-Length") or ""
            if length.isdigit() and int(length) > self.max_bytes:
                raise ImageLoadingError(too_large)
            content = bytearray()
            # read1 hands over what has arrived
            while chunk := response.read1(2**20):
                content += chunk
                if len(content) > self.max_bytes:
                    raise ImageLoadingError(too_large)
                if self.cancelled:
                    raise ImageLoadingError(f"{self.shown} was given up")
            if length.isdigit() and len(content) < int(length):
                raise ImageLoadingError(f"{self.shown} ended early; try again, or download it and pass its path")
        return bytes(content)

    def _connector(self, proxies: set[str | None]) -> Callable[..., socket.socket]:
        """Connects to the very address that was judged, so that no second look-up can give another one."""

        def create(address, timeout=None, source_address=None, **_):
            host, port = address
            failure: Exception = OSError(f"no address is known for {host}")
            for family, kind, protocol, _canonical, place in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
                if not (self.allow_private or host in proxies or _is_public(str(place[0]))):
                    raise ImageLoadingError(
                        f"{self.shown} leads to {place[0]}, an address of this machine or of a private network, which is not opened "
                        "unasked; download the file and pass its path, or set PRIORRG_ALLOW_PRIVATE_URLS=1"
                    )
                connection = socket.socket(family, kind, protocol)
                try:
                    self._sockets.append(connection)
                    connection.settimeout(max(0.001, self.deadline - time.monotonic()))
                    connection.connect(place)
                    return connection
                except OSError as error:
                    connection.close()
                    failure = error
            raise failure

        return create


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, request, file, code, message, headers, newurl):
        if urllib.parse.urlsplit(newurl).scheme.lower() not in ("http", "https"):
            raise ImageLoadingError(
                f"{_without_query(request.full_url)} redirects to {_without_query(newurl)}, which is neither http nor https; "
                "download the file and pass its path"
            )
        return super().redirect_request(request, file, code, message, headers, newurl)


def _is_public(address: str) -> bool:
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    embedded = [getattr(number, name, None) for name in ("ipv4_mapped", "sixtofour")]
    teredo = getattr(number, "teredo", None)
    embedded += [teredo[1]] if teredo else []
    if number.version == 6 and number in ipaddress.ip_network("64:ff9b::/96"):  # NAT64: an IPv4 address behind it
        embedded.append(ipaddress.ip_address(int(number) & 0xFFFFFFFF))
    return all(part.is_global and not part.is_multicast for part in [number, *filter(None, embedded)])


def _without_query(url: str) -> str:
    # signed URLs carry credentials in the query, others before the host; neither must end up in logs
    parts = urllib.parse.urlsplit(url)
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


def _dict_content(source: dict) -> Any:
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key]
    raise ImageLoadingError(
        'the image dictionary has neither "bytes" nor "path"; pass one of them, or None for no image'
    )


def file_url_to_path(url: str) -> str:
    """The path that a `file://` URL names. Raises [`ImageLoadingError`] for one of another machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc.lower() not in ("", "localhost", "127.0.0.1"):
        raise ImageLoadingError(f"{url} names a file of another machine, {parts.netloc!r}; copy it and pass its path")
    path = urllib.request.url2pathname(parts.path)
    if not path:
        raise ImageLoadingError(f"{url} names no file; pass a path")
    return path


def read_regular_file(path: str | os.PathLike) -> bytes:
    """
    The bytes of a file that is a file: no pipe or device, not empty, at most 1 GiB.

    Raises:
        [`ImageLoadingError`]: with the reason and the remedy.
    """
    path = os.fspath(path)
    try:
        if not os.path.exists(path):
            raise ImageLoadingError(f"{path!r} does not exist; check the path and the image root")
        with open_regular_file(path, MAX_FILE_BYTES) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError as error:
        raise ImageLoadingError(f"{path!r} is a folder; pass one image file") from error
    except PermissionError as error:
        raise ImageLoadingError(f"{path!r} may not be read; check its permissions") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageLoadingError):
            raise
        raise ImageLoadingError(
            f"{path!r} can't be read ({getattr(error, 'strerror', None) or error}); check the path"
        ) from error
    if not content:
        raise ImageLoadingError(f"{path!r} is an empty file; copy or export it again")
    return content


def _from_path(path: str) -> Image.Image:
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise ImageLoadingError(f"{path!r} is a pipe, socket or device and no file; pass an image file")
    if not os.path.exists(path):
        raise ImageLoadingError(f"{path!r} does not exist; check the path and the image root")
    if os.path.isdir(path):
        raise ImageLoadingError(f"{path!r} is a folder; pass one image file")
    if os.path.getsize(path) == 0:
        raise ImageLoadingError(f"{path!r} is an empty file; copy or export it again")
    if is_dicom(path):
        return _from_dicom(path)
    try:
        with open(path, "rb") as file:
            return _from_file(file, repr(path))
    except PermissionError as error:
        raise ImageLoadingError(f"{path!r} may not be read; check its permissions") from error


def _from_bytes(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ImageLoadingError(f"{name} is empty; copy or export the image again")
    return _from_dicom(content) if is_dicom(content) else _from_file(io.BytesIO(content), name)


def _from_file(file: IO[bytes], name: str) -> Image.Image:
    try:
        image = Image.open(file, formats=_openable_formats())
        check_size(*image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise ImageLoadingError(
                f"{name} holds {frames} frames and it is not clear which one is meant; save that one by itself"
            )
        loaded = _deep_colours(image, file)
        if loaded is None:
            image.load()
            if image.format == "PNG":
                check_png(file)
            elif image.format in ("JPEG", "MPO"):
                check_jpeg(file, image)
    except ImageLoadingError as error:
        raise ImageLoadingError(f"{name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageLoadingError(f"{name} is absurdly large ({error}); {_SIZE_REMEDY}") from error
    except UnidentifiedImageError as error:
        raise ImageLoadingError(
            f"{name} is no image file that Pillow or pydicom can read; convert it to PNG"
        ) from error
    except Exception as error:
        # Pillow's decoders raise almost anything on damaged files
        raise ImageLoadingError(f"{name} is damaged or cut off ({error}); copy or export it again") from error
    return _from_pil(image) if loaded is None else _from_deep_colours(image, loaded)


def _openable_formats() -> list[str]:
    Image.init()
    return [name for name in IMAGE_FORMATS if name in Image.OPEN]


def _from_dicom(source: Any) -> Image.Image:
    try:
        return _from_pil(read_dicom(source))
    except (ValueError, OSError, ImportError) as error:
        # the reader's messages name the file and the remedy
        raise ImageLoadingError(str(error)) from error


def _from_pil(image: Image.Image) -> Image.Image:
    check_size(*image.size)
    if image.format is not None and image.format not in IMAGE_FORMATS:
        raise ImageLoadingError(f"images of the format {image.format} are not read; convert it to PNG")
    white_is_zero = _is_white_zero(image)
    try:
        image = _upright(image)
        if image.mode in ("L", "RGB") and "transparency" not in image.info:
            image.load()
            return image
        if image.mode == "F" or image.mode.startswith("I"):
            shown = scale_to_uint8(np.asarray(image))
            return Image.fromarray(255 - shown if white_is_zero else shown)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
        return image.convert("L" if image.mode == "1" else "RGB")
    except (OSError, SyntaxError, EOFError) as error:
        raise ImageLoadingError(f"the image is damaged or cut off ({error}); copy or export it again") from error


def _is_white_zero(image: Image.Image) -> bool:
    """Whether a TIFF's smallest value is white. Pillow turns such pixels of 8 bits and less, and leaves deeper ones as they are."""
    tags = getattr(image, "tag_v2", None)
    return image.format == "TIFF" and tags is not None and tags.get(_TIFF_PHOTOMETRIC) == 0


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:
        # a damaged EXIF block says nothing about the pixels
        return image
    # exif_transpose copies even where there is nothing to turn
    return image if orientation == 1 else ImageOps.exif_transpose(image)


# --- what Pillow gets wrong silently ----


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, steps
_INFLATED = 2**20


def check_png(file: IO[bytes]) -> None:
    """
    Raises [`ImageLoadingError`] for a PNG whose data end before its last pixel. Pillow fills the rest with black and says nothing
    as long as the chunks themselves are whole.
    """
    file.seek(8)
    inflater, needed, found = zlib.decompressobj(), None, 0
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if kind == b"IDAT":
            data = file.read(length)
            while data and not inflater.eof:
                found += len(inflater.decompress(data, _INFLATED))
                data = inflater.unconsumed_tail
            file.seek(4, io.SEEK_CUR)
        elif kind == b"IHDR":
            needed = _png_bytes(file.read(length))
            file.seek(4, io.SEEK_CUR)
        elif kind == b"IEND":
            break
        else:
            file.seek(length + 4, io.SEEK_CUR)
    while not inflater.eof and (more := inflater.decompress(inflater.unconsumed_tail, _INFLATED)):
        found += len(more)
    if needed is not None and found < needed:
        raise ImageLoadingError(f"the picture ends early: {found:,} of {needed:,} bytes; copy or export it again")


def check_jpeg(file: IO[bytes], image: Image.Image) -> None:
    """
    Raises [`ImageLoadingError`] for a JPEG whose data end before its last block, with an end marker behind them. Pillow fills the
    rest with middle gray and says nothing.

    Reading every code of a large film takes seconds, so that only pictures with such a corner are looked at.
    """
    progressive = bool(image.info.get("progressive"))
    corner = np.asarray(image.crop((max(0, image.width - 4), max(0, image.height - 4), image.width, image.height)))
    if not progressive and (corner != 128).any():
        return
    file.seek(0)
    try:
        check_jpeg_is_whole(file.read(), progressive)
    except CodestreamError as error:
        raise ImageLoadingError(f"{error}; copy or export it again") from error


def _png_bytes(header: bytes) -> int | None:
    """Bytes of the unpacked picture, with the filter byte of each row."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, interlaced = header[8], header[9], header[12]
    if colour not in _PNG_CHANNELS:
        return None
    bits = depth * _PNG_CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _deep_colours(image: Image.Image, file: IO[bytes]) -> np.ndarray | None:
    """
    (height, width, channels) values of a colour picture with 16 bits a channel, or `None` for any other.

    Pillow keeps the upper byte of each value only, which leaves nothing of 12-bit values. The same data read in the other byte
    order give the lower bytes.
    """
    tiles = getattr(image, "tile", None) or []
    if image.format == "PNG" and tiles and _tile_mode(tiles[0]) == "LA;16B":
        return _deep_gray_alpha(file)
    orders = [_OTHER_ORDER.get(_tile_mode(tile) or "") for tile in tiles]
    others = [order for order in orders if order is not None]
    if not others or len(others) < len(orders):
        return None
    image.load()
    if image.format == "PNG":
        check_png(file)
    file.seek(0)
    lower = Image.open(file, formats=[image.format] if image.format else None)
    lower.tile = [_with_mode(tile, order) for tile, order in zip(lower.tile, others, strict=True)]
    lower.load()
    return np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)


_NATIVE_ORDER, _SWAPPED_ORDER = ("L", "B") if sys.byteorder == "little" else ("B", "L")
_OTHER_ORDER = {
    f"{channels};16{order}": f"{channels};16{other}"
    for channels in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", _SWAPPED_ORDER))
}


def _tile_mode(tile: Any) -> str | None:
    arguments = tile[3]
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else None


def _with_mode(tile: Any, mode: str) -> Any:
    arguments = (mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def _deep_gray_alpha(file: IO[bytes]) -> np.ndarray:
    """Gray and opacity of 16 bits have as many bytes a pixel as four channels of 8 bits, and are read as such."""
    check_png(file)
    file.seek(0)
    content = bytearray(file.read())
    content[24:26] = bytes((8, 6))  # depth and colour type of the header, which is always the first chunk
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    image = Image.open(io.BytesIO(bytes(content)), formats=["PNG"])
    image.load()
    halves = np.asarray(image).astype(np.uint16)
    return halves[..., 0::2] << 8 | halves[..., 1::2]


def _from_deep_colours(image: Image.Image, values: np.ndarray) -> Image.Image:
    """The 8-bit picture of deep channels; the last of two or four is the opacity, which has the full range."""
    colours, opacity = values, None
    if values.shape[2] in (2, 4):
        colours, opacity = values[..., :-1], values[..., -1:].astype(np.float32) / 65535.0
    shown = scale_to_uint8(colours)
    if opacity is not None:
        shown = np.rint(shown * opacity).astype(np.uint8)  # over black
    result = Image.fromarray(np.ascontiguousarray(shown[..., 0] if shown.shape[2] == 1 else shown))
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:
        orientation = 1
    if orientation != 1:
        result.getexif()[_EXIF_ORIENTATION] = orientation
    return _upright(result)


def _tensor_to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _from_array(pixels: np.ndarray, channels_first: bool) -> Image.Image:
    shape = pixels.shape
    if pixels.ndim == 4 and shape[0] == 1:
        pixels = pixels[0]
    is_image = False
    if pixels.ndim == 3:
        first, last = pixels.shape[0] in (1, 3, 4), pixels.shape[2] in (1, 3, 4)
        is_image = first or last
        if first and (channels_first or not last):
            pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 2 and not is_image:
        raise ImageLoadingError(
            f"an array of shape {shape} is no image; pass (height, width), (height, width, channels) or "
            "(channels, height, width) with 1, 3 or 4 channels"
        )
    check_size(pixels.shape[1], pixels.shape[0])
    pixels = scale_to_uint8(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _from_pil(Image.fromarray(np.ascontiguousarray(pixels)))


_SIZE_REMEDY = "raise PIL.Image.MAX_IMAGE_PIXELS if it really is an X-ray"


def check_size(width: int, height: int) -> None:
    """
    Raises [`ImageLoadingError`] for an image without pixels, with more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or more
    than 100 times as long as wide.
    """
    if width == 0 or height == 0:
        raise ImageLoadingError(f"the image has no pixels ({width} x {height}); leave it out or export it again")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ImageLoadingError(f"the image is absurdly large ({width} x {height} pixels); {_SIZE_REMEDY}")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageLoadingError(f"the image is a strip of {width} x {height} pixels, no X-ray; check the export")


def _largest_value(maximum: float) -> int:
    return next(2**bits - 1 for bits in BIT_DEPTHS if maximum <= 2**bits - 1)
