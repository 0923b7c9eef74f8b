"""PNG beyond Pillow: files with 16-bit colours or alpha, and the alpha plane of an .aec file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.errors import CorruptedError, ImageError
from aecodec.image.picture import Picture, Samples, check_dtype, picture_to_array

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">IIBBBBB")  # width, height, depth, colour, compression, filters, interlacing
_GRAY: Final = 0
_XMP_HEAD: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
_PAETH: Final = 4
_BAND_BYTES: Final = 2**22


# Files with 16-bit colours


def deep_png_file(picture: Picture) -> bytes:
    """A 16-bit picture in colours or with alpha; Pillow writes 16-bit gray only (ISO/IEC 15948)."""
    samples = picture_to_array(picture).astype(">u2").view(np.uint8).reshape(picture.height, -1)
    colour_type = {(1, True): 4, (3, False): 2, (3, True): 6}[picture.layout, picture.alpha is not None]
    chunks = [(b"IHDR", _HEADER.pack(picture.width, picture.height, 16, colour_type, 0, 0, 0))]
    if picture.icc_profile:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc_profile)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif))
    if picture.xmp:
        chunks.append((b"iTXt", _XMP_HEAD + picture.xmp))
    pixel_bytes = samples.shape[1] // picture.width
    chunks += [(b"IDAT", piece) for piece in _deflated_rows(samples, pixel_bytes)] + [(b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def xmp_chunk(xmp: bytes) -> Any:
    """The ``pnginfo`` that makes Pillow write an XMP packet."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add(b"iTXt", _XMP_HEAD + xmp)
    return info


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _deflated_rows(rows: npt.NDArray[np.uint8], pixel_bytes: int) -> Iterator[bytes]:
    """Rows (rows, bytes), each with the Paeth filter, as pieces of one zlib stream, a band at a time."""
    packer = zlib.compressobj()
    height = max(1, _BAND_BYTES // rows.shape[1])
    for first in range(0, len(rows), height):
        band = rows[first : first + height]
        above = rows[first - 1 : first] if first else np.zeros_like(rows[:1])
        up = np.concatenate((above, band[:-1]))
        filtered = np.empty((len(band), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = _PAETH
        filtered[:, 1:] = band - _paeth(_shifted(band, pixel_bytes), up, _shifted(up, pixel_bytes))
        if piece := packer.compress(filtered.tobytes()):
            yield piece
    yield packer.flush()


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
