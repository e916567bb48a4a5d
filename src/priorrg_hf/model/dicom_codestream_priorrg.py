"""Decoding of one compressed DICOM frame, with proof that the stream was decoded whole.

Pixel decoders are lenient: on a stream that ends early most of them return a picture whose rest is black or gray, without an
error. A report written from half a film is worse than none, so every codec has a check of its own here:

- JPEG with DCT, 8 bit: the strict mode of libjpeg-turbo (`simplejpeg`), or else a walk over the Huffman codes;
- JPEG with DCT, 12 bit: a walk over the Huffman codes;
- JPEG lossless: the bits that the decoded picture needs with the stream's own Huffman table must be the bits the stream has;
- JPEG-LS: CharLS is strict about lengths; the marker structure is checked before;
- JPEG 2000: every tile part must be there with its full length; OpenJPEG is strict about the rest;
- RLE: each segment must unpack to exactly the size of the picture.

Streams are also checked for the size they declare before any decoder sees them, so that damaged headers cannot ask for gigabytes.
`CodestreamError` is raised for all of it. JPEG is ITU-T T.81, JPEG-LS T.87, JPEG 2000 T.800, RLE is DICOM PS3.5 annex G.
"""

import io
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image


try:
    import simplejpeg
except ImportError:
    simplejpeg = None


class CodestreamError(ValueError):
    """A compressed frame that is damaged, incomplete, of another size than declared, or of an unsupported kind."""


@dataclass(frozen=True)
class FrameSize:
    """What the DICOM header says about the frame: it must agree with the stream."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int

    def require(self, rows: int, columns: int, samples: int) -> None:
        if (rows, columns, samples) != (self.rows, self.columns, self.samples):
            raise CodestreamError(
                f"the compressed picture is {rows} x {columns} with {samples} sample(s) a pixel, "
                f"the header says {self.rows} x {self.columns} with {self.samples}"
            )


def decode_frame(codec: str, data: bytes, size: FrameSize) -> tuple[np.ndarray, str | None]:
    """The samples of one frame, shape (rows, columns) or (rows, columns, 3), and the colour space where the stream tells it.

    Args:
        codec (`str`): `"jpeg"`, `"jpegls"`, `"jpeg2000"` or `"rle"`.
        data (`bytes`): the frame, its fragments joined.
        size (`FrameSize`): what the header says.

    Returns:
        The array and `"RGB"`, `"YBR"`, or `None` where the DICOM photometric interpretation decides.

    Raises:
        `CodestreamError`: for a stream that isn't whole. A missing decoder library raises `ImportError`. Decoders may raise
        anything else, also errors that aren't derived from `Exception`.
    """
    return {"jpeg": _decode_jpeg, "jpegls": _decode_jpegls, "jpeg2000": _decode_jpeg2000, "rle": _decode_rle}[codec](
        data, size
    )


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


# --- JPEG and JPEG-LS: markers ---------------------------------------------------------------------------------------

_SOI, _EOI, _SOS, _DHT, _DRI, _APP0, _APP14, _SOF_LS = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xE0, 0xEE, 0xF7
_SOF_MARKERS = {*range(0xC0, 0xD0), _SOF_LS} - {_DHT, 0xC8, 0xCC}


@dataclass
class _Scan:
    # (component index, DC or lossless table, AC table) per component
    components: list[tuple[int, int, int]]
    # predictor in lossless scans, first coefficient in DCT scans
    selection: int
    point_transform: int
    restart_interval: int
    tables: dict[tuple[int, int], dict[int, tuple[int, int]]]
    # entropy-coded bytes of each restart interval, without stuffing
    intervals: list[bytes]


@dataclass
class _Jpeg:
    process: int = -1
    precision: int = 0
    rows: int = 0
    columns: int = 0
    # (id, horizontal sampling, vertical sampling)
    components: list[tuple[int, int, int]] = field(default_factory=list)
    scans: list[_Scan] = field(default_factory=list)
    # positions of the last three bytes of each scan header
    scan_tails: list[int] = field(default_factory=list)
    adobe_transform: int | None = None
    jfif: bool = False


def _parse_jpeg(data: bytes) -> _Jpeg:
    """Walks over all markers from SOI to EOI; every declared length must fit and every scan must be followed by a marker."""
    if data[:2] != b"\xff\xd8":
        raise CodestreamError("the compressed picture doesn't begin with a JPEG start marker")
    jpeg, restart, position = _Jpeg(), 0, 2
    tables: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    while True:
        marker, body, position = _next_segment(data, position)
        if marker == _EOI:
            break
        if marker in _SOF_MARKERS:
            _parse_frame_header(jpeg, marker, body)
        elif marker == _DHT:
            tables = {**tables, **_parse_huffman_tables(body)}
        elif marker == _DRI:
            restart = int.from_bytes(body[:2], "big")
        elif marker == _APP14 and body[:5] == b"Adobe" and len(body) >= 12:
            jpeg.adobe_transform = body[11]
        elif marker == _APP0 and body[:4] == b"JFIF":
            jpeg.jfif = True
        elif marker == _SOS:
            end = _scan_end(data, position, stuffed_bit=jpeg.process == _SOF_LS)
            jpeg.scans.append(_parse_scan(jpeg, body, tables, restart, data[position:end]))
            jpeg.scan_tails.append(position - len(body) + 1 + 2 * len(jpeg.scans[-1].components))
            position = end
    if not jpeg.scans:
        raise CodestreamError("the JPEG stream holds no picture data")
    if b"\xff\xd8\xff" in data[position:]:
        raise CodestreamError("more than one picture in the frame: multi-frame files are not read")
    return jpeg


def _next_segment(data: bytes, position: int) -> tuple[int, bytes, int]:
    """The next marker, its body, and the position behind it."""
    if data[position : position + 1] == b"\xff":
        while data[position + 1 : position + 2] == b"\xff":  # fill bytes
            position += 1
    if position + 2 > len(data) or data[position] != 0xFF:
        raise CodestreamError("the JPEG stream ends early or is damaged: a marker is missing")
    marker = data[position + 1]
    position += 2
    if marker == _EOI:
        return marker, b"", position
    if marker == _SOI or marker < 0xC0 or 0xD0 <= marker <= 0xD7:
        raise CodestreamError(f"the JPEG stream is damaged: unexpected marker {marker:02X}")
    length = int.from_bytes(data[position : position + 2], "big")
    if length < 2 or position + length > len(data):
        raise CodestreamError("the JPEG stream ends early: a marker segment is cut off")
    return marker, data[position + 2 : position + length], position + length


def _parse_frame_header(jpeg: _Jpeg, marker: int, body: bytes) -> None:
    if jpeg.process >= 0:
        raise CodestreamError("the JPEG stream is damaged: two frame headers")
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise CodestreamError("the JPEG stream is damaged: the frame header is too short")
    jpeg.process, jpeg.precision = marker, body[0]
    jpeg.rows, jpeg.columns = struct.unpack(">HH", body[1:5])
    for index in range(body[5]):
        identifier, sampling, _ = body[6 + 3 * index : 9 + 3 * index]
        if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4):
            raise CodestreamError("the JPEG stream is damaged: impossible sampling factors")
        jpeg.components.append((identifier, sampling >> 4, sampling & 15))


def _parse_huffman_tables(body: bytes) -> dict[tuple[int, int], dict[int, tuple[int, int]]]:
    """(class, id) -> {symbol: (code, length)}, ITU-T T.81 annex C."""
    tables, position = {}, 0
    while position + 17 <= len(body):
        counts = body[position + 1 : position + 17]
        symbols = body[position + 17 : position + 17 + sum(counts)]
        if len(symbols) != sum(counts):
            raise CodestreamError("the JPEG stream is damaged: a Huffman table is cut off")
        table, code, used = {}, 0, 0
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[used : used + count]:
                table[symbol] = (code, length)
                code += 1
            if code > 1 << length:
                raise CodestreamError("the JPEG stream is damaged: an impossible Huffman table")
            used += count
            code <<= 1
        tables[body[position] >> 4, body[position] & 15] = table
        position += 17 + sum(counts)
    return tables


def _scan_end(data: bytes, position: int, stuffed_bit: bool) -> int:
    """Position of the marker that ends the entropy-coded data; restart markers belong to the data."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise CodestreamError("the JPEG stream ends early: the end marker is missing")
        following = data[position + 1]
        if following == 0xFF:
            position += 1
        elif (following < 0x80 if stuffed_bit else following == 0) or 0xD0 <= following <= 0xD7:
            position += 2
        else:
            return position


def _parse_scan(jpeg: _Jpeg, body: bytes, tables: dict, restart: int, entropy: bytes) -> _Scan:
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) < 4 + 2 * count:
        raise CodestreamError("the JPEG stream is damaged: the scan header is too short")
    identifiers = [component[0] for component in jpeg.components]
    components = []
    for index in range(count):
        identifier, table = body[1 + 2 * index], body[2 + 2 * index]
        if identifier not in identifiers:
            raise CodestreamError("the JPEG stream is damaged: a scan of an unknown component")
        components.append((identifiers.index(identifier), table >> 4, table & 15))
    intervals = []
    if jpeg.process != _SOF_LS:
        start = 0
        for index in _restart_markers(entropy):
            intervals.append(entropy[start:index])
            start = index + 2
        intervals = [part.replace(b"\xff\x00", b"\xff") for part in [*intervals, entropy[start:]]]
    tail = body[1 + 2 * count :]
    return _Scan(components, tail[0], tail[2] & 15, restart, tables, intervals)


def _restart_markers(entropy: bytes) -> list[int]:
    values = np.frombuffer(entropy, np.uint8)
    if values.size < 2:
        return []
    return np.flatnonzero((values[:-1] == 0xFF) & (values[1:] >= 0xD0) & (values[1:] <= 0xD7)).tolist()


def _code_table(scan: _Scan, table_class: int, table_id: int) -> dict[int, tuple[int, int]]:
    try:
        return scan.tables[table_class, table_id]
    except KeyError:
        raise CodestreamError("the JPEG stream is damaged: a Huffman table is missing") from None


# --- JPEG ------------------------------------------------------------------------------------------------------------


def _decode_jpeg(data: bytes, size: FrameSize) -> tuple[np.ndarray, str | None]:
    jpeg = _parse_jpeg(data)
    size.require(jpeg.rows, jpeg.columns, len(jpeg.components))
    if jpeg.process == _SOF_LS:
        raise CodestreamError("the transfer syntax says JPEG, the stream is JPEG-LS")
    if jpeg.process not in (0xC0, 0xC1, 0xC2, 0xC3):
        raise CodestreamError(f"JPEG process {jpeg.process:02X} (arithmetic or hierarchical coding) is not supported")
    if jpeg.process == 0xC3:
        array = _libjpeg(data, size)
        _check_lossless(jpeg, array)
    elif jpeg.precision == 8:
        array = _decode_jpeg_8bit(jpeg, data, size)
    else:
        if jpeg.process == 0xC2:
            raise CodestreamError("progressive JPEG with more than 8 bits is not supported")
        _walk_dct_scans(jpeg)
        # Some archives write zeros here; in sequential scans the values are fixed, and the decoder insists on them.
        mended = bytearray(data)
        for position in jpeg.scan_tails:
            mended[position : position + 3] = b"\x00\x3f\x00"
        array = _libjpeg(bytes(mended), size)
    if size.samples != 3:
        return array, None
    if jpeg.adobe_transform is not None:
        return array, "YBR" if jpeg.adobe_transform else "RGB"
    identifiers = bytes(component[0] for component in jpeg.components)
    return array, "YBR" if jpeg.jfif else "RGB" if identifiers == b"RGB" or jpeg.process == 0xC3 else None


def _libjpeg(data: bytes, size: FrameSize) -> np.ndarray:
    import libjpeg

    array = libjpeg.decode(data)  # without colour transform
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.shape != ((size.rows, size.columns, size.samples) if size.samples > 1 else (size.rows, size.columns)):
        raise CodestreamError(f"the JPEG decoder returned shape {array.shape}")
    return array


def _decode_jpeg_8bit(jpeg: _Jpeg, data: bytes, size: FrameSize) -> np.ndarray:
    if simplejpeg is not None:
        try:
            array = simplejpeg.decode_jpeg(data, colorspace="GRAY" if size.samples == 1 else "RGB", strict=True)
        except ValueError as error:
            raise CodestreamError(f"the JPEG stream is damaged or ends early ({error})") from None
        return array[..., 0] if size.samples == 1 else _libjpeg(data, size)
    if jpeg.process == 0xC2:
        raise ImportError("progressive JPEG needs simplejpeg: pip install 'priorrg-hf[dicom]'")
    _walk_dct_scans(jpeg)
    if size.samples > 1:
        return _libjpeg(data, size)
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.array(image.convert("L"))


def check_jpeg_is_whole(data: bytes, progressive: bool) -> None:
    """Raises `CodestreamError` for a JPEG of 8 bits whose data end before its last block.

    Progressive ones need `simplejpeg` for that, and pass where it is missing.
    """
    if not progressive:
        _walk_dct_scans(_parse_jpeg(data))
    elif simplejpeg is not None:
        try:
            simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
        except ValueError as error:
            if "premature" in str(error).lower():  # other complaints leave the picture whole
                raise CodestreamError(f"the JPEG stream ends early ({error})") from None


def _walk_dct_scans(jpeg: _Jpeg) -> None:
    """Reads every Huffman code of sequential DCT scans, without computing pixels.

    About 1 µs a code: some seconds for a large film, which is why the 8 bit process prefers `simplejpeg`.
    """
    if len({index for scan in jpeg.scans for index, _, _ in scan.components}) != len(jpeg.components):
        raise CodestreamError("the JPEG stream ends early: the scan of a component is missing")
    widest = max(h for _, h, _ in jpeg.components)
    tallest = max(v for _, _, v in jpeg.components)
    for scan in jpeg.scans:
        if len(scan.components) == 1:
            _, h, v = jpeg.components[scan.components[0][0]]
            across = _ceil_div(_ceil_div(jpeg.columns * h, widest), 8)
            down = _ceil_div(_ceil_div(jpeg.rows * v, tallest), 8)
            blocks_per_unit = [1]
        else:
            across, down = _ceil_div(jpeg.columns, 8 * widest), _ceil_div(jpeg.rows, 8 * tallest)
            blocks_per_unit = [
                jpeg.components[index][1] * jpeg.components[index][2] for index, _, _ in scan.components
            ]
        unit = []
        for (_, dc, ac), blocks in zip(scan.components, blocks_per_unit, strict=True):
            unit += [(_lookup(_code_table(scan, 0, dc)), _lookup(_code_table(scan, 1, ac)))] * blocks
        left = across * down
        for interval in scan.intervals:
            units = min(left, scan.restart_interval or left)
            _walk_interval(interval, unit, units)
            left -= units
        if left:
            raise CodestreamError("the JPEG stream ends early: restart intervals are missing")


def _lookup(table: dict[int, tuple[int, int]]) -> list[int]:
    """65,536 entries: the next 16 bits -> symbol * 32 + code length, or 0 where no code fits."""
    lookup = [0] * 65536
    for symbol, (code, length) in table.items():
        first, count = code << (16 - length), 1 << (16 - length)
        lookup[first : first + count] = [symbol * 32 + length] * count
    return lookup[:65536]


def _walk_interval(data: bytes, unit: list, units: int) -> None:
    bits, available, position = 0, 0, 0  # a window of the stream; ones follow its end, as encoders pad
    budget = len(data) * 8
    for _ in range(units):
        for dc, ac in unit:
            coefficient = 0
            while coefficient < 64:
                if available < 48:
                    chunk = data[position : position + 8]
                    bits = ((bits & ((1 << available) - 1)) << 64) | int.from_bytes(chunk.ljust(8, b"\xff"), "big")
                    position += 8
                    available += 64
                entry = (ac if coefficient else dc)[(bits >> (available - 16)) & 0xFFFF]
                if not entry:
                    raise CodestreamError("the JPEG stream is damaged: an impossible Huffman code")
                symbol, length = entry >> 5, entry & 31
                extra = symbol & 15
                available -= length + extra
                budget -= length + extra
                if not coefficient:
                    coefficient = 1
                elif extra:
                    coefficient += (symbol >> 4) + 1
                elif symbol == 0xF0:
                    coefficient += 16
                else:
                    break
            if budget < 0:
                raise CodestreamError("the JPEG stream ends early: picture data are missing")
    if budget >= 32:
        raise CodestreamError("the JPEG stream is damaged: picture data are left over")


def _check_lossless(jpeg: _Jpeg, array: np.ndarray) -> None:
    """Compares the bits that the decoded picture takes with the bits of the stream, interval by interval.

    A decoder that runs out of data fills the rest with something, and that something takes bits which the stream doesn't have.
    """
    planes = array.reshape(array.shape[0], array.shape[1], -1)
    if any((h, v) != (1, 1) for _, h, v in jpeg.components):
        raise CodestreamError("lossless JPEG with subsampled components is not supported")
    seen: set[int] = set()
    for scan in jpeg.scans:
        if not 1 <= scan.selection <= 7 or scan.point_transform >= jpeg.precision:
            raise CodestreamError("the JPEG stream is damaged: an impossible predictor")
        if scan.restart_interval % jpeg.columns:
            raise CodestreamError("lossless JPEG with restart intervals that break a line is not supported")
        lines = scan.restart_interval // jpeg.columns or jpeg.rows
        if len(scan.intervals) != _ceil_div(jpeg.rows, lines):
            raise CodestreamError("the JPEG stream ends early: restart intervals are missing")
        costs = [(index, _lossless_costs(_code_table(scan, 0, table))) for index, table, _ in scan.components]
        seen.update(index for index, _ in costs)
        for number, interval in enumerate(scan.intervals):
            rows = slice(number * lines, (number + 1) * lines)
            needed = sum(_lossless_bits(planes[rows, :, index], jpeg.precision, scan, cost) for index, cost in costs)
            surplus = 8 * len(interval) - needed
            if not 0 <= surplus < 32:  # encoders pad to a byte, some to a word
                state = "ends early" if surplus < 0 else "is damaged"
                raise CodestreamError(f"the JPEG stream {state}: its picture data don't fill the picture exactly")
    if len(seen) != len(jpeg.components):
        raise CodestreamError("the JPEG stream ends early: the scan of a component is missing")


def _lossless_costs(table: dict[int, tuple[int, int]]) -> np.ndarray:
    """Bits that a difference takes, indexed by the difference modulo 65,536 (ITU-T T.81, H.1.2.2)."""
    differences = np.abs(np.arange(65536, dtype=np.int32).astype(np.uint16).view(np.int16).astype(np.int32))
    category = np.ceil(np.log2(differences + 1)).astype(np.int64)  # 0 for 0, n for 2^(n-1) .. 2^n - 1
    lengths = np.full(17, 1 << 20, dtype=np.int64)  # a category without a code can't occur
    for symbol, (_, length) in table.items():
        if symbol <= 16:
            lengths[symbol] = length + (symbol if symbol < 16 else 0)
    return lengths[category]


def _lossless_bits(plane: np.ndarray, precision: int, scan: _Scan, costs: np.ndarray) -> int:
    total, above = 0, None
    for start in range(0, plane.shape[0], 256):  # in bands, so that large films need little memory
        band = plane[start : start + 256].astype(np.int32) >> scan.point_transform
        left = np.empty_like(band)
        left[:, 1:] = band[:, :-1]
        up = np.empty_like(band)
        up[1:] = band[:-1]
        up[0] = above if above is not None else 0
        corner = np.zeros_like(band)
        corner[:, 1:] = up[:, :-1]
        a, b, c = left, up, corner
        prediction = {
            1: lambda a, b, c: a,
            2: lambda a, b, c: b,
            3: lambda a, b, c: c,
            4: lambda a, b, c: a + b - c,
            5: lambda a, b, c: a + ((b - c) >> 1),
            6: lambda a, b, c: b + ((a - c) >> 1),
            7: lambda a, b, c: (a + b) >> 1,
        }[scan.selection](a, b, c)
        prediction[:, 0] = up[:, 0]
        if above is None:
            prediction[0, 1:] = band[0, :-1]
            prediction[0, 0] = 1 << (precision - scan.point_transform - 1)
        total += int(costs[(band - prediction) & 0xFFFF].sum())
        above = band[-1]
    return total


# --- JPEG-LS ---------------------------------------------------------------------------------------------------------


def _decode_jpegls(data: bytes, size: FrameSize) -> tuple[np.ndarray, str | None]:
    jpeg = _parse_jpeg(data)
    if jpeg.process != _SOF_LS:
        raise CodestreamError("the transfer syntax says JPEG-LS, the stream is another JPEG process")
    size.require(jpeg.rows, jpeg.columns, len(jpeg.components))
    if not 2 <= jpeg.precision <= 16:
        raise CodestreamError("the JPEG-LS stream is damaged: an impossible bit depth")
    import jpeg_ls

    array = jpeg_ls.decode(np.frombuffer(data, dtype=np.uint8))
    if array.ndim == 3 and array.shape[0] == size.samples and array.shape[-1] != size.samples:
        array = np.moveaxis(array, 0, -1)
    return array.reshape(
        (size.rows, size.columns, size.samples) if size.samples > 1 else (size.rows, size.columns)
    ), None


# --- JPEG 2000 -------------------------------------------------------------------------------------------------------


def _decode_jpeg2000(data: bytes, size: FrameSize) -> tuple[np.ndarray, str | None]:
    if data[4:8] == b"jP  ":  # a JP2 file where the bare stream belongs; seen in practice
        start = data.find(b"jp2c")
        data = data[start + 4 :] if start > 0 else b""
        if data[:8] and data[:2] != b"\xff\x4f":
            data = data[8:]  # 64 bit box length
    multi_component = _check_jpeg2000(data, size)
    import openjpeg

    array = openjpeg.decode(data)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    size.require(array.shape[0], array.shape[1], array.shape[2] if array.ndim == 3 else 1)
    return array, "RGB" if multi_component else None


def _check_jpeg2000(data: bytes, size: FrameSize) -> bool:
    """Walks over the main header and all tile parts. Returns whether the stream has a colour transform, which the decoder undoes."""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 44:
        raise CodestreamError("the compressed picture doesn't begin with a JPEG 2000 header")
    x1, y1, x0, y0, tile_width, tile_height, tile_x, tile_y, components = struct.unpack(">8IH", data[8:42])
    if x1 <= x0 or y1 <= y0 or not tile_width or not tile_height or tile_x > x0 or tile_y > y0:
        raise CodestreamError("the JPEG 2000 stream is damaged: an impossible picture size")
    size.require(y1 - y0, x1 - x0, components)
    if len(data) < 42 + 3 * components or any(
        data[43 + 3 * i] != 1 or data[44 + 3 * i] != 1 for i in range(components)
    ):
        raise CodestreamError("JPEG 2000 with subsampled components is not supported")
    if any((data[42 + 3 * i] & 127) + 1 > 16 for i in range(components)):
        raise CodestreamError("JPEG 2000 with more than 16 bits is not supported")
    tiles = _ceil_div(x1 - tile_x, tile_width) * _ceil_div(y1 - tile_y, tile_height)

    transform, position = False, 2
    while True:
        marker = data[position : position + 2]
        if marker == b"\xff\x90":
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker[:1] != b"\xff" or length < 2 or position + 2 + length > len(data):
            raise CodestreamError("the JPEG 2000 stream ends early or is damaged: its header isn't complete")
        if marker == b"\xff\x52" and length >= 12:
            transform = data[position + 8] == 1
        position += 2 + length
    _check_tile_parts(data, position, tiles)
    return transform


def _check_tile_parts(data: bytes, position: int, tiles: int) -> None:
    parts: dict[int, list[int]] = {}  # tile -> [parts seen, parts declared]
    while data[position : position + 2] == b"\xff\x90":
        if position + 12 > len(data):
            raise CodestreamError("the JPEG 2000 stream ends early: a tile header is cut off")
        tile, length, _, declared = struct.unpack(">HIBB", data[position + 4 : position + 12])
        if length == 0:  # up to the end marker
            end = data.rfind(b"\xff\xd9")
            length = end - position
        if length < 14 or position + length > len(data):
            raise CodestreamError("the JPEG 2000 stream ends early: a tile is cut off")
        # Arithmetic-coded data hold no long runs of zeros; a partly written file does, and decodes without complaint.
        if bytes(256) in data[position : position + length]:
            raise CodestreamError("the JPEG 2000 stream is damaged: part of it is filled with zeros")
        seen = parts.setdefault(tile, [0, 0])
        seen[0] += 1
        seen[1] = max(seen[1], declared)
        position += length
    if data[position : position + 2] != b"\xff\xd9":
        raise CodestreamError("the JPEG 2000 stream ends early or is damaged: the end marker is missing")
    if len(parts) != tiles or any(seen < declared for seen, declared in parts.values()):
        raise CodestreamError("the JPEG 2000 stream ends early: tiles are missing")
    if b"\xff\x4f\xff\x51" in data[position:]:
        raise CodestreamError("more than one picture in the frame: multi-frame files are not read")


# --- RLE -------------------------------------------------------------------------------------------------------------


def _decode_rle(data: bytes, size: FrameSize) -> tuple[np.ndarray, str | None]:
    if len(data) < 64:
        raise CodestreamError("the RLE frame ends early: its header isn't complete")
    count, *offsets = struct.unpack("<16I", data[:64])
    width = size.bits_allocated // 8
    if count != size.samples * width:
        raise CodestreamError(f"the RLE frame has {count} segments, the header needs {size.samples * width}")
    bounds = [*offsets[:count], len(data)]
    if bounds[0] != 64 or any(second <= first for first, second in zip(bounds, bounds[1:], strict=False)):
        raise CodestreamError("the RLE frame is damaged or ends early: impossible segment offsets")
    pixels = size.rows * size.columns
    planes = [_unpack_segment(data[a:b], pixels) for a, b in zip(bounds, bounds[1:], strict=False)]
    array = np.zeros((pixels, size.samples), dtype={1: np.uint8, 2: np.uint16, 4: np.uint32}[width])
    for index, plane in enumerate(planes):  # most significant byte first, sample after sample
        shift = 8 * (width - 1 - index % width)
        array[:, index // width] |= np.frombuffer(plane, np.uint8).astype(array.dtype) << shift
    return array.reshape(
        (size.rows, size.columns, size.samples) if size.samples > 1 else (size.rows, size.columns)
    ), None


def _unpack_segment(segment: bytes, expected: int) -> bytes:
    """PackBits; the result must have exactly the expected length."""
    result, position, end = bytearray(), 0, len(segment)
    while len(result) < expected:
        if position + 1 >= end:
            raise CodestreamError("the RLE frame ends early: a segment is too short")
        control = segment[position]
        if control < 128:
            literal = segment[position + 1 : position + 2 + control]
            if len(literal) != control + 1:
                raise CodestreamError("the RLE frame ends early: a segment is too short")
            result += literal
            position += control + 2
        elif control > 128:
            result += segment[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    if len(result) != expected or segment[position:].strip(b"\0"):
        raise CodestreamError("the RLE frame is damaged: a segment is longer than the picture")
    return bytes(result)
