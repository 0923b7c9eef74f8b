"""TIFF: one writer for every layout and depth (Pillow writes no 16-bit colours)."""

from __future__ import annotations

import io
import warnings
import zlib
from typing import Any, Final

import numpy as np
from PIL import Image

from aecodec.image.conversion import descriptive_exif
from aecodec.image.picture import Picture, Samples, picture_to_array

_STRIP_BYTES: Final = 2**18
_ICC_PROFILE: Final = 34675
_XMP: Final = 700


def tiff_file(picture: Picture) -> bytes:
    """TIFF 6.0, little-endian, in strips with Adobe's deflate and the horizontal predictor.

    Broken EXIF metadata are left out, with a warning: they must not keep a picture from being written.
    """
    samples = picture_to_array(picture).reshape(picture.height, picture.width, -1)
    rows = max(1, _STRIP_BYTES // (samples.nbytes // picture.height))
    strips = [_strip(samples[first : first + rows]) for first in range(0, picture.height, rows)]
    tags = _profile_and_xmp(picture) | _structure(picture, rows, [len(strip) for strip in strips])
    try:
        head = _directory(_exif(picture) | tags)
    except Exception as error:  # hostile bytes make the parser raise anything
        if not picture.exif:
            raise
        warnings.warn(f"the EXIF is left out of the TIFF file, because it is broken: {error!r}", stacklevel=2)
        head = _directory(tags)
    return head + b"".join(strips)


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


def _structure(picture: Picture, rows_per_strip: int, sizes: list[int]) -> dict[int, Any]:
    """The tags that say how the pixels are stored (TIFF 6.0, section 8)."""
    channels = picture.layout + (picture.alpha is not None)
    tags: dict[int, Any] = {
        256: picture.width,
        257: picture.height,
        258: (picture.depth,) * channels,
        259: 8,  # deflate
        262: 1 if picture.layout == 1 else 2,  # black is zero, RGB
        273: (0, *np.cumsum(sizes[:-1], dtype=np.int64).tolist()),  # from the end of the directory
        277: channels,
        278: rows_per_strip,
        279: tuple(sizes),
        284: 1,  # samples interleaved
        317: 2,  # horizontal predictor
    }
    return tags if picture.alpha is None else tags | {338: (2,)}  # alpha, not premultiplied


def _exif(picture: Picture) -> dict[int, Any]:
    if not picture.exif:
        return {}
    exif = Image.Exif()
    exif.load(picture.exif)
    return descriptive_exif(exif)


def _profile_and_xmp(picture: Picture) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    if picture.icc_profile:
        tags[_ICC_PROFILE] = picture.icc_profile
    if picture.xmp:
        tags[_XMP] = picture.xmp
    return tags
