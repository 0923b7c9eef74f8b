"""Picture -> picture files."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from aecodec.errors import AecodecError, ImageError, InputError, LimitError, OutputError
from aecodec.image.conversion import picture_to_pillow
from aecodec.image.picture import EXIF_PREFIX, Picture, is_deep_colour
from aecodec.image.png import deep_png_file, xmp_chunk
from aecodec.image.pnm import pnm_file
from aecodec.image.reading import PathLike, name_of, require_support
from aecodec.image.tiff import tiff_file
from aecodec.streams import check_target, open_target

_LARGE_PICTURE: Final = 2**25  # pixels


@dataclass(frozen=True)
class _Format:
    """What a kind of file can hold."""

    name: str
    suffixes: tuple[str, ...]
    alpha: bool = True
    deep: bool = False
    metadata: bool = True
    max_side: int = 65_500


_FORMATS: Final = (
    _Format("PNG", (".png",), deep=True),
    _Format("TIFF", (".tif", ".tiff"), deep=True),
    _Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False),
    _Format("WEBP", (".webp",), max_side=16_383),
    _Format("AVIF", (".avif",)),
    _Format("BMP", (".bmp",), alpha=False, metadata=False),
    _Format("PPM", (".ppm", ".pgm", ".pnm"), alpha=False, deep=True, metadata=False),
)
#: Suffix of a file name -> name of the format that save_picture writes.
WRITABLE_FORMATS: Final = {suffix: form.name for form in _FORMATS for suffix in form.suffixes}


def format_of(target: object, format: str | None = None) -> str:
    """The name of the format to write: ``format`` (a name or a suffix), else by the suffix of a path.

    Raises:
        InputError: there is no such format, or none is given for a file object.
    """
    return _find_format(target, format).name


def _find_format(target: object, format: str | None) -> _Format:
    name = format if format is not None else Path(name_of(target)).suffix
    wanted = name.lower().lstrip(".")
    for form in _FORMATS:
        if wanted == form.name.lower() or f".{wanted}" in form.suffixes:
            return form
    known = ", ".join(f"{form.name} ({', '.join(form.suffixes)})" for form in _FORMATS)
    raise InputError(f"{name_of(target)}: expected a format to write: {known}. Received: {name!r}")


def save_picture(
    picture: Picture, target: PathLike | BinaryIO, format: str | None = None, *, overwrite: bool = True
) -> None:
    """Write a picture file with the metadata that its format can hold (BMP and PPM hold none).

    PNG and TIFF hold every picture (TIFF no 16-bit gray with alpha). WebP is written without loss, but gray
    as RGB; JPEG with quality 95 and AVIF with quality 90, both without chroma subsampling.

    Args:
        picture: what to write.
        target: a path, where the file appears whole or not at all, or a binary file object.
        format: the format's name or suffix; by default the suffix of the path decides.
        overwrite: replace a file that exists already.

    Raises:
        InputError: the format is unknown.
        ImageError: the format cannot hold this picture: alpha, 16 bits, the size, or too long metadata.
        OutputError: the file exists already or cannot be written.
    """
    form = _find_format(target, format)
    _check_fits(picture, form)
    check_target(target, force=overwrite)
    content = _encode(picture, form)
    try:
        with open_target(target, force=overwrite) as stream:
            stream.write(content)
    except OutputError:
        raise
    except OSError as error:  # of a file object
        raise OutputError(f"{name_of(target)}: cannot be written: {error.strerror or error}") from error


def _check_fits(picture: Picture, form: _Format) -> None:
    problem, able = "", ""
    if picture.alpha is not None and not form.alpha:
        problem, able = "an alpha channel", "PNG, TIFF, WebP and AVIF can; or leave the alpha out first"
    elif picture.depth == 16 and not form.deep:
        problem, able = "16 bits per sample", "PNG, TIFF and PPM can; or reduce the picture to 8 bits first"
    elif form.name == "TIFF" and picture.layout == 1 and picture.alpha is not None and picture.depth == 16:
        problem, able = "16-bit gray with alpha in a way that most programs read", "PNG can"
    elif max(picture.width, picture.height) > form.max_side:
        problem, able = f"sides above {form.max_side} pixels", "PNG and TIFF can"
    if problem:
        raise ImageError(f"{form.name} cannot hold {problem}. {able}")


def _encode(picture: Picture, form: _Format) -> bytes:
    """The file in memory."""
    try:
        if form.name == "PPM":
            return pnm_file(picture)
        if form.name == "TIFF":
            return tiff_file(picture)
        if form.name == "PNG" and is_deep_colour(picture):
            return deep_png_file(picture)
        return _pillow_file(picture, form)
    except AecodecError:
        raise
    except MemoryError as error:
        raise LimitError(f"There is not enough memory to write this picture as {form.name}") from error
    except Exception as error:  # such as "EXIF data is too long" for JPEG
        advice = "Write a PNG, which holds any metadata, or leave the metadata out first"
        raise ImageError(f"The picture cannot be written as {form.name}: {error}. {advice}") from error


def _pillow_file(picture: Picture, form: _Format) -> bytes:
    if form.name in ("AVIF", "WEBP"):
        require_support(form.name)
    options = _metadata(picture) if form.metadata else {}
    if form.name == "PNG" and picture.xmp:
        options["pnginfo"] = xmp_chunk(picture.xmp)
    elif form.name == "JPEG":
        options |= {"quality": 95, "subsampling": "4:4:4"}
    elif form.name == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif form.name == "AVIF":
        options |= {"quality": 90} | ({"subsampling": "4:4:4"} if picture.layout == 3 else {})
    # A large file grows on disk as long as Pillow's copy of the picture takes memory.
    large = picture.width * picture.height > _LARGE_PICTURE
    with tempfile.TemporaryFile() if large else io.BytesIO() as stream:
        picture_to_pillow(picture).save(stream, form.name, **options)
        stream.seek(0)
        return stream.read()


def _metadata(picture: Picture) -> dict[str, Any]:
    exif = EXIF_PREFIX + picture.exif if picture.exif else None
    given = {"icc_profile": picture.icc_profile, "exif": exif, "xmp": picture.xmp}
    return {name: value for name, value in given.items() if value is not None}
