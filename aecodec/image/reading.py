"""Picture files -> Picture.

16-bit colours are read by decoding the file twice with Pillow, once for the high and once for the low byte of
every sample: raw mode "RGB;16B" takes the bytes 0, 2, 4 of a pixel, "RGB;16L" the bytes 1, 3, 5. So every
filter, compression and interlacing that Pillow knows is read at Pillow's speed and without a dependency.

Files are opened through Pillow's plugins themselves and not through ``Image.open``: only the kinds listed
here are tried, and ``max_pixels`` takes the place of Pillow's limit for the whole process.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
from PIL import Image

from aecodec.errors import AecodecError, ImageError, LimitError, MissingDependencyError
from aecodec.image.conversion import (
    check_frames,
    convert_image,
    metadata_of,
    raw_mode_of,
    tiff_tags,
    tile_arguments,
    with_colour_key,
)
from aecodec.image.picture import Picture, Samples, picture_from_array
from aecodec.image.pnm import read_deep_pnm, read_pnm_header

PathLike: TypeAlias = str | os.PathLike[str]

DEFAULT_MAX_PIXELS: Final = 2**28

_PLUGINS: Final = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
}
#: The kinds of files that load_picture reads; it goes by their content, not by their names.
READABLE_FORMATS: Final = tuple(_PLUGINS)

_SIGNATURES: Final = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "AVIF": re.compile(rb"....ftyp(avif|avis|mif1|msf1)", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "PPM": re.compile(rb"P[1-6]\s|Pf\s"),
    "GIF": re.compile(rb"GIF8[79]a"),
}
_OTHER_WAY: Final = "If other programs open it, save it there as PNG"
_PLANAR_CONFIGURATION: Final = 284
_BITS_PER_SAMPLE: Final = 258


def load_picture(source: PathLike | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture file: JPEG, PNG, TIFF, WebP, AVIF, BMP, PBM/PGM/PPM or a GIF of one frame.

    Args:
        source: a path, or a binary file object, which is read from where it stands and stays open.
        max_pixels: more pixels are refused before they are decoded. It takes the place of Pillow's own limit,
            except where Pillow insists on it (TIFF and WebP above ``2 * PIL.Image.MAX_IMAGE_PIXELS``).

    Raises:
        ImageError: the file cannot be read, is broken or truncated, or is of a kind that is not supported;
            the message begins with its name.
        LimitError: more than ``max_pixels`` pixels, or not enough memory.
        MissingDependencyError: Pillow was built without support for this kind of file.
    """
    name = name_of(source)
    with _reading(name), _open_stream(source) as stream:
        return _read_picture(stream, name, max_pixels)


def picture_from_pillow(image: Image.Image, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """A picture from a Pillow image; ``aecodec.image`` lists what becomes of each mode.

    An image that was opened but not yet loaded is read from its file again where Pillow would squeeze 16 bits
    to 8. Once it is loaded, the 8 bits that Pillow keeps are all there is.

    Raises:
        ImageError: a mode without a faithful conversion, several frames, or a file that is broken.
        LimitError: more than ``max_pixels`` pixels, or not enough memory.
    """
    name = str(getattr(image, "filename", "") or "the image")
    with _reading(name):
        _check_size(image.size, max_pixels, name)
        stream = getattr(image, "fp", None)
        if getattr(image, "tile", None) and stream is not None and _loses_depth(image):
            content = _whole_content(stream)
            if _sniff(content) == image.format:
                return _read_picture(io.BytesIO(content), name, max_pixels)
        return convert_image(image, name)


def name_of(source: object) -> str:
    """A path, or the name of a file object, for messages."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return os.fspath(path) if isinstance(path, str | os.PathLike) else "the picture file"


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read."""
    try:
        yield
    except AecodecError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        advice = "If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS."
        raise LimitError(f"{name}: {error} {advice}") from error
    except MemoryError as error:
        raise LimitError(f"{name}: there is not enough memory for this picture") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a hostile file makes Pillow's parsers raise anything
        problem = f"broken or not supported ({error or type(error).__name__})"
        raise ImageError(f"{name}: {problem}. {_OTHER_WAY}") from error


@contextlib.contextmanager
def _open_stream(source: PathLike | BinaryIO) -> Iterator[BinaryIO]:
    """A seekable stream whose first byte is the file's; Pillow seeks to offsets from there."""
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as stream:
            yield stream if stream.seekable() else io.BytesIO(stream.read())
    elif not hasattr(source, "read"):
        raise ImageError(f"Expected a path or a binary file object. Received: {type(source).__name__}")
    elif hasattr(source, "seekable") and source.seekable() and source.tell() == 0:
        yield source
    else:
        yield io.BytesIO(source.read())


def _sniff(prefix: bytes) -> str | None:
    return next((kind for kind, signature in _SIGNATURES.items() if signature.match(prefix)), None)


def _read_picture(stream: BinaryIO, name: str, max_pixels: int) -> Picture:
    prefix = stream.read(32)
    stream.seek(0)
    kind = _sniff(prefix)
    if kind is None:
        expected = ", ".join(READABLE_FORMATS)
        raise ImageError(f"{name}: expected a picture file ({expected}). It begins with {prefix[:8]!r}")
    if kind == "PPM" and (header := read_pnm_header(stream)) and header.maximum > 255:
        _check_size((header.width, header.height), max_pixels, name)
        return read_deep_pnm(stream, header, name)
    if kind == "AVIF":
        _check_avif_depth(stream, name)
    if kind == "PNG":
        open_image(kind, stream).verify()  # the checksums, which Pillow passes over when it loads
    image = open_image(kind, stream)
    _check_size(image.size, max_pixels, name)
    if (raw_mode := _deep_raw_mode(image)) is not None:
        return _read_deep_colours(image, raw_mode, kind, stream, name)
    return convert_image(image, name)


def open_image(kind: str, stream: BinaryIO) -> Any:
    """Pillow's image of a file of a known kind, not yet loaded."""
    if kind in ("AVIF", "WEBP"):
        require_support(kind)
    module, name = _PLUGINS[kind]
    stream.seek(0)
    return getattr(import_module(f"PIL.{module}"), name)(stream)


def require_support(kind: str) -> None:
    """Raise MissingDependencyError where this Pillow does not know WebP or AVIF."""
    from PIL import features

    if not features.check(kind.lower()):
        raise MissingDependencyError(
            f"{kind} pictures need a Pillow that was built with {kind} support: pip install --upgrade pillow"
        )


def _check_size(size: tuple[int, int], max_pixels: int, name: str) -> None:
    if size[0] * size[1] > max_pixels:
        raise LimitError(f"{name}: expected at most {max_pixels} pixels. Found: {size[0]} x {size[1]}")


# 16-bit colours


def _loses_depth(image: Any) -> bool:
    """Whether this unloaded image has more bits in the file than Pillow will give."""
    if image.format == "AVIF":
        return True  # only the file itself can tell
    if image.format == "PPM":
        maximum = tile_arguments(image)[-1]
        return isinstance(maximum, int) and maximum > 255
    return _deep_raw_mode(image) is not None


def _whole_content(stream: Any) -> bytes:
    here = stream.tell()
    stream.seek(0)
    content: bytes = stream.read()
    stream.seek(here)
    return content


def _deep_raw_mode(image: Any) -> str | None:
    """The raw mode of an unloaded file whose 16-bit colours or alpha Pillow would squeeze; else None."""
    raw_mode = raw_mode_of(image)
    if raw_mode is None or image.mode not in ("RGB", "RGBA"):
        return None
    return raw_mode if ";16" in raw_mode or 16 in tiff_tags(image).get(_BITS_PER_SAMPLE, ()) else None


def _read_deep_colours(image: Any, raw_mode: str, kind: str, stream: BinaryIO, name: str) -> Picture:
    check_frames(image, name)
    if tiff_tags(image).get(_PLANAR_CONFIGURATION) == 2:
        raise ImageError(
            f"{name}: 16-bit TIFF with separate planes is not supported: rewrite it with interleaved samples "
            "(tiffcp -p contig) or as PNG"
        )
    if raw_mode == "LA;16B":  # its two samples are four bytes, as RGBA has
        _load_as(image, "RGBA")
        samples = np.ascontiguousarray(np.asarray(image)).view(">u2")
    else:
        high, low = _byte_modes(raw_mode)
        _load_as(image, high)
        second = open_image(kind, stream)
        _load_as(second, low)
        samples = np.asarray(image).astype(np.uint16) << 8 | np.asarray(second)
    picture = picture_from_array(samples, **metadata_of(image))
    if raw_mode.startswith("RGBa") and picture.alpha is not None:
        picture = replace(picture, pixels=_unpremultiplied(picture.pixels, picture.alpha))
    return with_colour_key(picture, image.info.get("transparency"), name)


def _byte_modes(raw_mode: str) -> tuple[str, str]:
    """The raw modes that take the high and the low bytes of a 16-bit raw mode, in this order."""
    base, order = raw_mode.split(";16")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    plain = "RGBA" if base == "RGBa" else base
    return f"{plain};16{order}", f"{plain};16{'B' if order == 'L' else 'L'}"


def _load_as(image: Any, raw_mode: str) -> None:
    """Load an image with another raw mode of the same size per pixel."""
    image.tile = [
        type(tile)(*tile[:3], (raw_mode, *tile[3][1:]) if isinstance(tile[3], tuple) else raw_mode)
        for tile in image.tile
    ]
    image.load()


def _unpremultiplied(pixels: Samples, alpha: Samples) -> Samples:
    divisor = 2 * alpha[:, :, np.newaxis].astype(np.uint64)
    colours = (pixels.astype(np.uint64) * 131070 + divisor // 2) // np.maximum(divisor, 1)
    return np.where(divisor == 0, 0, np.minimum(colours, 65535)).astype(np.uint16)


# AVIF


def _check_avif_depth(stream: BinaryIO, name: str) -> None:
    """Refuse an AVIF file of 10 or 12 bits: Pillow gives 8 (AV1 codec configuration, AV1-ISOBMFF 2.3)."""
    content = stream.read()
    spans = [(0, len(content))]
    for path in (b"meta", b"iprp", b"ipco", b"av1C"):
        skipped = 4 if path == b"meta" else 0  # version and flags
        spans = [
            (first + skipped, end)
            for span in spans
            for kind, first, end in _boxes(content, *span)
            if kind == path
        ]
    if any(end - first >= 3 and content[first + 2] & 0x40 for first, end in spans):
        raise ImageError(
            f"{name}: AVIF with more than 8 bits per sample is not supported: convert it to a 16-bit PNG "
            "first (avifdec --depth 16)"
        )


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte of the content, end) of the boxes in a span (ISO/IEC 14496-12, 4.2)."""
    while start + 8 <= end:
        size, head = int.from_bytes(content[start : start + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < head:
            return
        yield content[start + 4 : start + 8], start + head, min(start + size, end)
        start += size
