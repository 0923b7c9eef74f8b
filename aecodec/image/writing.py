"""Picture -> picture files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO, Final, Protocol

from aecodec.errors import AecodecError, ImageError, InputError, LimitError, OutputError
from aecodec.image.conversion import picture_to_pillow
from aecodec.image.picture import EXIF_PREFIX, Frame, Picture, Samples, interleaved
from aecodec.image.png import PngRows
from aecodec.image.pnm import PnmRows
from aecodec.image.reading import PathLike, name_of, require_support
from aecodec.image.tiff import TiffRows
from aecodec.streams import check_target, open_target

_MEMORY_BYTES: Final = 2**25
_BAND_ROWS: Final = 256


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
#: Formats that are written row by row -> what writes them.
_ROW_WRITERS: Final[Mapping[str, Callable[[BinaryIO, Frame], _RowWriter]]] = MappingProxyType(
    {"PNG": PngRows, "TIFF": TiffRows, "PPM": PnmRows}
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
    frame = Frame.of(picture)
    check_fits(frame, form.name)
    check_target(target, force=overwrite)
    if form.name in _ROW_WRITERS:
        with open_picture_file(frame, target, form.name, overwrite=overwrite) as write:
            for top in range(0, picture.height, _BAND_ROWS):
                rows = slice(top, top + _BAND_ROWS)
                write(
                    interleaved(picture.pixels[rows], None if picture.alpha is None else picture.alpha[rows])
                )
        return
    with (
        _telling(name_of(target), form),
        _pillow_file(picture, form) as content,
        open_target(target, force=overwrite) as stream,
    ):
        shutil.copyfileobj(content, stream)


class _RowWriter(Protocol):
    """A picture file that is written from the top to the bottom."""

    def write(self, samples: Samples) -> None:
        """Append the next rows: (rows, width, channels), uint8 or uint16, alpha last."""

    def finish(self) -> None:
        """Write what stands behind the rows, all of which have been given."""


def writes_rows(format: str) -> bool:
    """Whether :func:`open_picture_file` writes a format; the others need the whole picture in memory."""
    return format in _ROW_WRITERS


@contextmanager
def open_picture_file(
    frame: Frame, target: PathLike | BinaryIO, format: str, *, overwrite: bool = True
) -> Iterator[Callable[[Samples], None]]:
    """Write a picture file from the top to the bottom, in little memory; see :func:`save_picture`.

    Gives a function that appends rows: (rows, width, channels), uint8 or uint16, alpha last. A path gets its
    file when the block ends without an error, and all rows must have been written by then. A file object may
    have got a part when an error ends the block.

    Raises:
        as :func:`save_picture`; in the block, too.
    """
    form = _find_format(target, format)
    check_fits(frame, form.name)
    with open_target(target, force=overwrite) as stream:
        with _telling(name_of(target), form):
            writer = _ROW_WRITERS[form.name](stream, frame)

        def write(samples: Samples) -> None:
            with _telling(name_of(target), form):
                writer.write(samples)

        yield write
        with _telling(name_of(target), form):
            writer.finish()


@contextmanager
def _telling(name: str, form: _Format) -> Iterator[None]:
    """Tell whatever goes wrong while a file is written."""
    try:
        yield
    except AecodecError:
        raise
    except MemoryError as error:
        raise LimitError(f"There is not enough memory to write this picture as {form.name}") from error
    except OSError as error:
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}") from error
    except Exception as error:  # such as "EXIF data is too long" for JPEG
        advice = "Write a PNG, which holds any metadata, or leave the metadata out first"
        raise ImageError(f"The picture cannot be written as {form.name}: {error}. {advice}") from error


def check_fits(frame: Frame, format: str) -> None:
    """Refuse a picture that a format cannot hold.

    Raises:
        ImageError: for its alpha, depth or size; the message says which formats can.
    """
    form = _find_format(None, format)
    problem, able = "", ""
    if frame.has_alpha and not form.alpha:
        problem, able = "an alpha channel", "PNG, TIFF, WebP and AVIF can; or leave the alpha out first"
    elif frame.depth == 16 and not form.deep:
        problem, able = "16 bits per sample", "PNG, TIFF and PPM can; or reduce the picture to 8 bits first"
    elif form.name == "TIFF" and frame.layout == 1 and frame.has_alpha and frame.depth == 16:
        problem, able = "16-bit gray with alpha in a way that most programs read", "PNG can"
    elif max(frame.width, frame.height) > form.max_side:
        problem, able = f"sides above {form.max_side} pixels", "PNG and TIFF can"
    if problem:
        raise ImageError(f"{form.name} cannot hold {problem}. {able}")


@contextmanager
def _pillow_file(picture: Picture, form: _Format) -> Iterator[IO[bytes]]:
    """The file as Pillow writes it, from its beginning."""
    if form.name in ("AVIF", "WEBP"):
        require_support(form.name)
    options = _metadata(picture) if form.metadata else {}
    if form.name == "JPEG":
        options |= {"quality": 95, "subsampling": "4:4:4"}
    elif form.name == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif form.name == "AVIF":
        options |= {"quality": 90} | ({"subsampling": "4:4:4"} if picture.layout == 3 else {})
    # A large file grows on disk as long as Pillow's copy of the picture takes memory.
    with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as stream:
        picture_to_pillow(picture).save(stream, form.name, **options)
        stream.seek(0)
        yield stream


def _metadata(picture: Picture) -> dict[str, Any]:
    exif = EXIF_PREFIX + picture.exif if picture.exif else None
    given = {"icc_profile": picture.icc_profile, "exif": exif, "xmp": picture.xmp}
    return {name: value for name, value in given.items() if value is not None}
