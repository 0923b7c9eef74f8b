"""Pillow plugin: ``import aecodec.pillow`` lets Pillow open and save .aec files.

    >>> import aecodec.pillow
    >>> image = Image.open("picture.aec")
    >>> image.save("smaller.aec", quality=50)

Opening reads the header and the metadata; the pixels are decoded when they are first needed. ``save`` takes
``quality`` (1 to 100, 75 by default), ``effort`` (0 to 4), ``strip`` (leave all metadata out), and, in place
of what ``image.info`` holds, ``icc_profile``, ``exif`` and ``xmp``. With
``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``, what there is of a truncated file is decoded.

Pillow has no mode for 16-bit RGB or alpha. Such files are opened with 8 bits, as Pillow opens such PNG files,
and what Pillow has loaded from such a PNG has 8 bits when it is saved here; ``aecodec.decode_file``,
``aecodec.encode_file`` and arrays keep the 16.

Errors are aecodec's own (:mod:`aecodec.errors`): a FormatError is a ValueError too.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import IO, Any, BinaryIO, Final

from PIL import Image, ImageFile

from aecodec.container import MAGIC, ContainerReader, Header, SectionKind

__all__ = ["AecImageFile"]

_METADATA: Final = {
    "icc_profile": SectionKind.ICC_PROFILE,
    "exif": SectionKind.EXIF,
    "xmp": SectionKind.XMP,
}
_DEFAULT_QUALITY: Final = 75
_EXIF_PREFIX: Final = b"Exif\0\0"
"""What begins EXIF in ``info`` of Pillow's own plugins, which other formats write as it stands. (That of
`aecodec.image` would load NumPy.)"""


class AecImageFile(ImageFile.ImageFile):  # type: ignore[misc]
    """An .aec file as Pillow sees it: mode L, LA, RGB, RGBA or I;16."""

    fp: Any  # None once the file is closed
    format = "AEC"
    format_description = "aecodec learned image"

    def _open(self) -> None:
        reader = ContainerReader(self.fp, allow_truncated=True)
        self._size = reader.header.width, reader.header.height
        self._mode = _mode_of(reader.header)
        for name, kind in _METADATA.items():
            value = reader.concatenated(kind)
            if value is not None:
                self.info[name] = _EXIF_PREFIX + value if name == "exif" else value
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 0, self._mode)]

    def verify(self) -> None:
        """Check that the file is whole and that every checksum holds.

        Raises:
            FormatError: it is not.
        """
        if self.fp is not None:
            self.fp.seek(0)
            ContainerReader(self.fp).verify()
        super().verify()

    def load(self) -> Any:
        """Decode the pixels, once."""
        if self.tile and self.fp is not None:
            pixels = _decode(self.fp)
            if self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(pixels)
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Nothing: that it exists keeps Pillow from mapping the file itself into memory."""


def _mode_of(header: Header) -> str:
    if header.depth == 16 and header.layout == 1 and not header.has_alpha:
        return "I;16"
    return ("L" if header.layout == 1 else "RGB") + ("A" if header.has_alpha else "")


def _decode(stream: BinaryIO) -> bytes:
    """The samples of the file in the order of its mode."""
    from aecodec.codec import decode_picture
    from aecodec.image import picture_to_array, reduce_to_8_bit

    stream.seek(0)
    picture = decode_picture(stream, allow_partial=ImageFile.LOAD_TRUNCATED_IMAGES).picture
    if picture.layout == 3 or picture.alpha is not None:
        picture = reduce_to_8_bit(picture)
    samples = picture_to_array(picture)
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def _save(image: Any, stream: IO[bytes], filename: str | bytes) -> None:
    """Pillow's save handler."""
    from aecodec.codec import encode
    from aecodec.image import picture_from_pillow

    options = image.encoderinfo
    given = {name: _as_bytes(options[name]) for name in _METADATA if name in options}
    picture = replace(picture_from_pillow(image), **given)
    quality, strip = options.get("quality", _DEFAULT_QUALITY), options.get("strip", False)
    stream.write(encode(picture, quality, effort=options.get("effort", 0), strip=strip))


def _as_bytes(value: Any) -> Any:
    if isinstance(value, Image.Exif):
        return value.tobytes()
    return value.encode() if isinstance(value, str) else value


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


Image.register_open(AecImageFile.format, AecImageFile, _accept)
Image.register_save(AecImageFile.format, _save)
Image.register_extension(AecImageFile.format, ".aec")
Image.register_mime(AecImageFile.format, "image/x-aecodec")
