"""TIFF: one writer for every layout and depth (Pillow writes no 16-bit colours)."""

from __future__ import annotations

import io
import shutil
import tempfile
import warnings
import zlib
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from aecodec.image.conversion import descriptive_exif
from aecodec.image.picture import Frame, Samples

_STRIP_BYTES: Final = 2**18
_MEMORY_BYTES: Final = 2**24
_ICC_PROFILE: Final = 34675
_XMP: Final = 700


class TiffRows:
    """Writes TIFF 6.0, little-endian, in strips with Adobe's deflate and the horizontal predictor.

    The directory stands in front and says where the strips lie, so these wait in a temporary file.

    Args:
        stream: where to; nothing is written before the end.
        frame: of the picture. Broken EXIF metadata are left out, with a warning: they must not keep a picture
            from being written.
    """

    def __init__(self, stream: BinaryIO, frame: Frame) -> None:
        self._stream = stream
        self._frame = frame
        self._rows_per_strip = max(1, _STRIP_BYTES // (frame.width * frame.channels * frame.depth // 8))
        dtype = np.uint8 if frame.depth == 8 else np.uint16
        self._waiting: Samples = np.empty((0, frame.width, frame.channels), dtype)
        self._strips = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115 (closed in the end)
        self._sizes: list[int] = []

    def write(self, samples: Samples) -> None:
        """Append the next rows, (rows, width, channels)."""
        rows = np.concatenate((self._waiting, samples)) if len(self._waiting) else samples
        whole = len(rows) - len(rows) % self._rows_per_strip
        for first in range(0, whole, self._rows_per_strip):
            self._write_strip(rows[first : first + self._rows_per_strip])
        self._waiting = rows[whole:].copy()

    def finish(self) -> None:
        """Write the file; all rows have been given."""
        if len(self._waiting):
            self._write_strip(self._waiting)
        self._stream.write(self._head())
        with self._strips as strips:
            strips.seek(0)
            shutil.copyfileobj(strips, self._stream)

    def _write_strip(self, samples: Samples) -> None:
        self._sizes.append(self._strips.write(_strip(samples)))

    def _head(self) -> bytes:
        structure = _structure(self._frame, self._rows_per_strip, self._sizes)
        tags = _profile_and_xmp(self._frame) | structure
        try:
            return _directory(_exif(self._frame) | tags)
        except Exception as error:  # hostile bytes make the parser raise anything
            if not self._frame.exif:
                raise
            warnings.warn(
                f"the EXIF is left out of the TIFF file, because it is broken: {error!r}", stacklevel=2
            )
            return _directory(tags)


def _directory(tags: dict[int, Any]) -> bytes:
    """A TIFF file of nothing but these tags."""
    from PIL import TiffImagePlugin

    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    for tag, value in tags.items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    return stream.getvalue()


def _strip(samples: Samples) -> bytes:
    """Differences to the sample on the left, modulo the range of the dtype (TIFF 6.0, section 14)."""
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder("<")).tobytes())


def _structure(frame: Frame, rows_per_strip: int, sizes: list[int]) -> dict[int, Any]:
    """The tags that say how the pixels are stored (TIFF 6.0, section 8)."""
    tags: dict[int, Any] = {
        256: frame.width,
        257: frame.height,
        258: (frame.depth,) * frame.channels,
        259: 8,  # deflate
        262: 1 if frame.layout == 1 else 2,  # black is zero, RGB
        273: (0, *np.cumsum(sizes[:-1], dtype=np.int64).tolist()),  # from the end of the directory
        277: frame.channels,
        278: rows_per_strip,
        279: tuple(sizes),
        284: 1,  # samples interleaved
        317: 2,  # horizontal predictor
    }
    return tags | {338: (2,)} if frame.has_alpha else tags  # alpha, not premultiplied


def _exif(frame: Frame) -> dict[int, Any]:
    if not frame.exif:
        return {}
    exif = Image.Exif()
    exif.load(frame.exif)
    return descriptive_exif(exif)


def _profile_and_xmp(frame: Frame) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    if frame.icc_profile:
        tags[_ICC_PROFILE] = frame.icc_profile
    if frame.xmp:
        tags[_XMP] = frame.xmp
    return tags
