"""Colours without a profile: a file that has none means sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.image.picture import Picture, Samples, apply_orientation

#: uint8 (height, width, layout) -> the same in sRGB.
_Conversion: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
_BAND_PIXELS: Final = 2**22
_LATTICE: Final = 17


def strip_metadata(picture: Picture) -> Picture:
    """Turn the picture upright, express its colours in sRGB, and leave EXIF, XMP and the ICC profile out.

    The profile stays where the colours would be others without it: 16 bits per sample, profiles that are
    broken or of another number of channels, a Pillow without LittleCMS. Ask the result for its profile.
    """
    return _to_srgb(replace(apply_orientation(picture), exif=None, xmp=None))


def _to_srgb(picture: Picture) -> Picture:
    """The picture in sRGB without its profile; as it is where that cannot be."""
    if picture.icc_profile is None:
        return picture
    try:
        convert = _conversion(picture.icc_profile, picture.layout)
        lattice = _lattice(picture.layout)
        is_srgb = bool(np.abs(convert(lattice).astype(np.int16) - lattice).max() <= 1)
        if not is_srgb and picture.depth != 8:
            return picture
        pixels = picture.pixels if is_srgb else _in_bands(convert, picture.pixels)
    except (ImportError, OSError, ValueError):  # PyCMSError is an OSError, or stands for one
        return picture
    return replace(picture, pixels=pixels, icc_profile=None)


def _conversion(profile: bytes, layout: int) -> _Conversion:
    """From the space of a profile to sRGB, or gray with its curve.

    Raises:
        ImportError: Pillow has no LittleCMS.
        OSError, ValueError: the profile is broken, or not of so many channels.
    """
    from PIL import ImageCms

    mode = "L" if layout == 1 else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError as error:
        raise ValueError(str(error)) from error

    def convert(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        image = Image.fromarray(pixels[:, :, 0] if layout == 1 else pixels)
        converted: Any = ImageCms.applyTransform(image, transform)
        return np.asarray(converted)[:, :, -layout:]

    return convert


def _lattice(layout: int) -> npt.NDArray[np.uint8]:
    """Colours from the whole range, (1, count, layout)."""
    if layout == 1:
        return np.arange(256, dtype=np.uint8).reshape(1, -1, 1)
    steps = np.linspace(0, 255, _LATTICE).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)


def _in_bands(convert: _Conversion, pixels: Samples) -> Samples:
    """All rows, a band at a time: Pillow copies what it converts."""
    converted = np.empty_like(pixels)
    rows = max(1, _BAND_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        converted[top : top + rows] = convert(pixels[top : top + rows])
    return converted
