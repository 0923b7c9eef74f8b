"""PNG: one writer for every layout and depth, row by row, and the alpha plane of an .aec file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.errors import CorruptedError, ImageError
from aecodec.image.picture import Frame, Samples, check_dtype

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">IIBBBBB")  # width, height, depth, colour, compression, filters, interlacing
_GRAY: Final = 0
#: Number of channels -> PNG's colour type.
_COLOUR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_XMP_HEAD: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
_PAETH: Final = 4
_BAND_BYTES: Final = 2**22


# Picture files


class PngRows:
    """Writes a PNG file (ISO/IEC 15948) a band of rows at a time: every layout and depth, with all metadata.

    Pillow writes no 16-bit colours, and needs the whole picture in memory, twice. The Paeth filter alone
    gives files of about the size that Pillow's choice of a filter for each row gives.

    Args:
        stream: where to; the signature, the header and the metadata are written at once.
        frame: of the picture.
    """

    def __init__(self, stream: BinaryIO, frame: Frame) -> None:
        self._stream = stream
        self._bytes_per_pixel = frame.channels * frame.depth // 8
        self._above = np.zeros((1, frame.width * self._bytes_per_pixel), np.uint8)
        self._packer = zlib.compressobj()
        stream.write(_SIGNATURE)
        colour_type = _COLOUR_TYPES[frame.channels]
        header = _HEADER.pack(frame.width, frame.height, frame.depth, colour_type, 0, 0, 0)
        self._write_chunk(b"IHDR", header)
        if frame.icc_profile:
            self._write_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(frame.icc_profile))
        if frame.exif:
            self._write_chunk(b"eXIf", frame.exif)
        if frame.xmp:
            self._write_chunk(b"iTXt", _XMP_HEAD + frame.xmp)

    def write(self, samples: Samples) -> None:
        """Append the next rows, (rows, width, channels)."""
        height = max(1, _BAND_BYTES // self._above.shape[1])
        for first in range(0, len(samples), height):
            self._write_band(_big_endian_rows(samples[first : first + height]))

    def finish(self) -> None:
        """Write the end; all rows have been written."""
        self._write_chunk(b"IDAT", self._packer.flush())
        self._write_chunk(b"IEND", b"")

    def _write_band(self, band: npt.NDArray[np.uint8]) -> None:
        above = np.concatenate((self._above, band[:-1]))
        self._above = band[-1:].copy()
        if piece := self._packer.compress(_filtered(band, above, self._bytes_per_pixel).data):
            self._write_chunk(b"IDAT", piece)

    def _write_chunk(self, kind: bytes, content: bytes) -> None:
        self._stream.write(_chunk(kind, content))


def _big_endian_rows(samples: Samples) -> npt.NDArray[np.uint8]:
    """Samples (rows, width, channels) as the bytes (rows, bytes) of a PNG."""
    ordered = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">"))
    return ordered.view(np.uint8).reshape(len(samples), -1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filtered(
    band: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], bytes_per_pixel: int
) -> npt.NDArray[np.uint8]:
    """Rows (rows, bytes) behind the Paeth filter, each with the filter's type in front of it."""
    filtered = np.empty((len(band), band.shape[1] + 1), np.uint8)
    filtered[:, 0] = _PAETH
    predicted = _paeth(_shifted(band, bytes_per_pixel), above, _shifted(above, bytes_per_pixel))
    np.subtract(band, predicted, out=filtered[:, 1:])
    return filtered


def _shifted(rows: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """The byte ``count`` places to the left, 0 where there is none."""
    return np.pad(rows, ((0, 0), (count, 0)))[:, : rows.shape[1]]


def _paeth(
    left: npt.NDArray[np.uint8], up: npt.NDArray[np.uint8], corner: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """The neighbour nearest to left + up - corner (ISO/IEC 15948, 9.4)."""
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    to_left, to_up, to_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    choice = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, choice).astype(np.uint8)


# The alpha plane


def plane_to_png(plane: Samples) -> bytes:
    """One plane (height, width), uint8 or uint16, as a PNG file.

    Grayscale, not interlaced, of the chunks IHDR, IDAT and IEND only.

    Raises:
        ImageError: another shape or dtype.
    """
    check_dtype(plane)
    if plane.ndim != 2 or 0 in plane.shape:
        raise ImageError(f"Expected a plane of shape (height, width). Received: {plane.shape}")
    native = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    stream = io.BytesIO()
    Image.fromarray(native).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def plane_from_png(data: bytes, width: int, height: int, depth: int) -> Samples:
    """The mirror of :func:`plane_to_png`: uint8 or uint16 (height, width).

    The signature, every chunk with its CRC, and the size are checked before anything is decoded. The rows
    must be exactly as many as there should be.

    Raises:
        CorruptedError: the bytes are not such a file of this size and depth.
    """
    _check_plane(data, width, height, depth)
    try:
        from PIL import PngImagePlugin

        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        plane = np.array(image)
    except Exception as error:  # hostile bytes make the parser raise anything
        raise CorruptedError(f"The alpha plane is not a whole PNG file: {error}") from error
    dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
    if plane.shape != (height, width) or plane.dtype.itemsize != dtype.itemsize:
        raise CorruptedError(f"Expected an alpha plane of {width} x {height}. Found: {plane.shape[::-1]}")
    return plane.astype(dtype, copy=False)


def _check_plane(data: bytes, width: int, height: int, depth: int) -> None:
    chunks = list(_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if len(kinds) < 3 or kinds != [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"] or chunks[-1][1]:
        raise CorruptedError("Expected the alpha plane to be a PNG file of the chunks IHDR, IDAT and IEND")
    if chunks[0][1] != _HEADER.pack(width, height, depth, _GRAY, 0, 0, 0):
        raise CorruptedError(
            f"Expected the alpha plane to be a gray PNG of {width} x {height} and {depth} bits, not "
            f"interlaced. Found the header {chunks[0][1].hex()}"
        )
    _check_deflated(b"".join(content for _, content in chunks[1:-1]), height * (width * depth // 8 + 1))


def _check_deflated(data: bytes, size: int) -> None:
    """Pillow takes a zlib stream that ends early, or goes on, for a whole one."""
    unpacker = zlib.decompressobj()
    try:
        found = len(unpacker.decompress(data, size + 1))
    except zlib.error as error:
        raise CorruptedError(f"The alpha plane cannot be decompressed: {error}") from error
    if found != size or not unpacker.eof or unpacker.unused_data:
        raise CorruptedError(f"Expected the alpha plane to have {size} bytes of rows. Found fewer or more")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of the chunks, which must fill the file exactly."""
    if not data.startswith(_SIGNATURE):
        raise CorruptedError("Expected the alpha plane to be a PNG file: its signature is missing")
    at = len(_SIGNATURE)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        checked, checksum = data[at + 4 : end - 4], data[end - 4 : end]
        if end > len(data) or zlib.crc32(checked) != int.from_bytes(checksum, "big"):
            raise CorruptedError(f"The PNG file of the alpha plane is damaged at byte {at}")
        yield checked[:4], checked[4:]
        at = end
