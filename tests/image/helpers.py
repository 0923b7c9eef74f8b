"""Pictures of every layout, and what they are compared by."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from aecodec.image import Picture, load_picture, picture_from_array, picture_to_array, save_picture

ICC_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
DEPTHS = (8, 16)
CHANNELS = (1, 2, 3, 4)


def exif_bytes(orientation: int | None = 6) -> bytes:
    """An EXIF block with a maker, perhaps an orientation, and directories for EXIF and GPS."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    if orientation is not None:
        exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    exif.get_ifd(0x8825)[1] = "N"
    return bytes(exif.tobytes())


def noise(channels: int, depth: int, height: int = 19, width: int = 23, seed: int = 0) -> Any:
    """Random samples (height, width) or (height, width, channels), all values of the range equally likely."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 2**depth, shape, dtype=f"uint{depth}")


def noise_picture(channels: int, depth: int, *, metadata: bool = False) -> Picture:
    """A picture of noise."""
    given = {"icc_profile": ICC_PROFILE, "exif": exif_bytes(), "xmp": XMP} if metadata else {}
    return picture_from_array(noise(channels, depth), **given)


def written(picture: Picture, format: str) -> bytes:
    """The bytes of a picture file."""
    stream = io.BytesIO()
    save_picture(picture, stream, format)
    return stream.getvalue()


def loaded(data: bytes, **options: Any) -> Picture:
    """The picture in the bytes of a file."""
    return load_picture(io.BytesIO(data), **options)


def saved_by_pillow(image: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def assert_same_samples(actual: Picture, expected: Any) -> None:
    """Equal shapes, dtypes and values; ``expected`` is a picture or an array."""
    array = picture_to_array(expected) if isinstance(expected, Picture) else expected
    found = picture_to_array(actual)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
