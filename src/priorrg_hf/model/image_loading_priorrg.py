"""Opens whatever a user hands in as a chest X-ray: one 8-bit PIL image of mode "L" or "RGB" comes out.

Everything that could go wrong silently is decided here, once: 16-bit files are scaled by their bit depth instead of being
clipped to white, transparency is composited, EXIF orientation is applied, and what cannot be read is an
[`ImageLoadingError`] that says why and what to do. Resizing and normalising are the image processor's job, not this file's.
"""

import io
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import numpy as np
import torch
from huggingface_hub import is_offline_mode
from PIL import Image, ImageOps, UnidentifiedImageError

from .dicom_priorrg import is_dicom, read_dicom


# Depths that detectors and their exports use. A 12-bit image in a 16-bit file holds values up to 4095 and must not come
# out nearly black, so the depth is the smallest of these that holds the largest value.
BIT_DEPTHS = (8, 10, 12, 14, 16)

# A chest X-ray is at most a few times longer than wide. Beyond this ratio, resizing the shorter edge to the model's input
# would make the longer one so long that it fills the memory.
MAX_ASPECT_RATIO = 100

URL_TIMEOUT_SECONDS = 30.0
URL_MAX_BYTES = 256 * 2**20

_EXIF_ORIENTATION = 0x0112


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
        source = urllib.request.url2pathname(urllib.parse.urlparse(source).path)
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


def fetch_url(url: str, *, timeout: float = URL_TIMEOUT_SECONDS, max_bytes: int = URL_MAX_BYTES) -> bytes:
    """
    Downloads an http(s) URL, within a time and a size.

    Args:
        url (`str`): The address.
        timeout (`float`, *optional*, defaults to 30): Seconds for the whole download.
        max_bytes (`int`, *optional*, defaults to 256 MiB): Largest accepted size.

    Returns:
        `bytes`: The content.

    Raises:
        [`ImageLoadingError`]: offline mode (`HF_HUB_OFFLINE=1`), no answer in time, a server error, or too many bytes.
    """
    shown = _without_query(url)
    if is_offline_mode():
        raise ImageLoadingError(
            f"{shown} cannot be fetched in offline mode; download the file and pass its path, or unset HF_HUB_OFFLINE"
        )
    too_large = f"{shown} holds more than {max_bytes} bytes; download it and pass its path if it really is an X-ray"
    deadline = time.monotonic() + timeout
    request = urllib.request.Request(url, headers={"User-Agent": "priorrg_hf"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if int(response.headers.get("Content-Length") or 0) > max_bytes:
                raise ImageLoadingError(too_large)
            content = bytearray()
            # read1 hands over what has arrived, so that a server which trickles cannot outlast the deadline
            while chunk := response.read1(2**20):
                content += chunk
                if len(content) > max_bytes:
                    raise ImageLoadingError(too_large)
                if time.monotonic() > deadline:
                    raise ImageLoadingError(f"{shown} took longer than {timeout:g} s; download it and pass its path")
    except urllib.error.HTTPError as error:
        raise ImageLoadingError(f"{shown} answered {error.code} {error.reason}; check the address") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageLoadingError):
            raise
        raise ImageLoadingError(
            f"{shown} could not be fetched ({error}); check the address and the network"
        ) from error
    return bytes(content)


def _without_query(url: str) -> str:
    # signed URLs carry credentials in the query, which must not end up in logs
    return urllib.parse.urlsplit(url)._replace(query="", fragment="").geturl()


def _dict_content(source: dict) -> Any:
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key]
    raise ImageLoadingError(
        'the image dictionary has neither "bytes" nor "path"; pass one of them, or None for no image'
    )


def _from_path(path: str) -> Image.Image:
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


def _from_file(file: io.BufferedIOBase, name: str) -> Image.Image:
    try:
        image = Image.open(file)
        check_size(*image.size)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ImageLoadingError(
                f"{name} holds {image.n_frames} frames and it is not clear which one is meant; save that one by itself"
            )
        image.load()
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
    return _from_pil(image)


def _from_dicom(source: Any) -> Image.Image:
    try:
        return _from_pil(read_dicom(source))
    except (ValueError, OSError, ImportError) as error:
        # the reader's messages name the file and the remedy
        raise ImageLoadingError(str(error)) from error


def _from_pil(image: Image.Image) -> Image.Image:
    check_size(*image.size)
    try:
        image = _upright(image)
        if image.mode in ("L", "RGB") and "transparency" not in image.info:
            image.load()
            return image
        if image.mode == "F" or image.mode.startswith("I"):
            return Image.fromarray(scale_to_uint8(np.asarray(image)))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
        return image.convert("L" if image.mode == "1" else "RGB")
    except (OSError, SyntaxError, EOFError) as error:
        raise ImageLoadingError(f"the image is damaged or cut off ({error}); copy or export it again") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:
        # a damaged EXIF block says nothing about the pixels
        return image
    # exif_transpose copies even where there is nothing to turn
    return image if orientation == 1 else ImageOps.exif_transpose(image)


def _tensor_to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _from_array(pixels: np.ndarray, channels_first: bool) -> Image.Image:
    shape = pixels.shape
    if pixels.ndim == 4 and shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 3:
        first, last = pixels.shape[0] in (1, 3, 4), pixels.shape[2] in (1, 3, 4)
        if first and (channels_first or not last):
            pixels = pixels.transpose(1, 2, 0)
        elif not last:
            pixels = None
    elif pixels.ndim != 2:
        pixels = None
    if pixels is None:
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
