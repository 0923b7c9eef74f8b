"""Pillow images of every mode <-> Picture."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.errors import ImageError, MissingDependencyError
from aecodec.image.picture import (
    EXIF_PREFIX,
    ORIENTATION_TAG,
    Picture,
    is_deep_colour,
    picture_from_array,
    picture_to_array,
)

#: EXIF tags of the first directory that do not describe how a TIFF file stores its pixels: description, make,
#: model, orientation, resolution (3), software, date, artist, copyright, rating (2), texts of Windows (5).
DESCRIPTIVE_TAGS: Final = (
    *(0x010E, 0x010F, 0x0110, ORIENTATION_TAG, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298),
    *(0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
)
#: Tags of the directories below the first: EXIF and GPS.
SUBDIRECTORY_TAGS: Final = (0x8769, 0x8825)

_BITS_PER_SAMPLE: Final = 258
_BAND_PIXELS: Final = 2**22
_PHOTOMETRIC_INTERPRETATION: Final = 262
_WHITE_IS_ZERO: Final = 0

#: The mode that ``Image.convert`` is asked for, or the same mode.
_TARGETS: Final = {
    mode: target
    for target, modes in {
        "L": ("1", "L"),
        "LA": ("La", "LA"),
        "RGB": ("RGB", "RGBX", "YCbCr", "HSV"),
        "RGBA": ("RGBa", "RGBA"),
    }.items()
    for mode in modes
}


def picture_to_pillow(picture: Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB, RGBA or (16-bit gray) I;16, with the metadata in ``info``.

    Raises:
        ImageError: 16-bit colours or alpha, which no mode of Pillow holds.
    """
    if is_deep_colour(picture):
        raise ImageError(
            "Pillow has no mode for 16-bit RGB or for 16-bit alpha: use picture_to_array, save_picture "
            "(PNG or TIFF), or reduce_to_8_bit first"
        )
    image = Image.fromarray(picture_to_array(picture))
    if picture.icc_profile:
        image.info["icc_profile"] = picture.icc_profile
    if picture.exif:
        image.info["exif"] = EXIF_PREFIX + picture.exif
    if picture.xmp:
        image.info["xmp"] = picture.xmp
    return image


def convert_image(image: Any, name: str) -> Picture:
    """The picture of a Pillow image that holds its samples without loss, loaded or not.

    Raises:
        ImageError: a mode without a faithful conversion, or several frames.
        Whatever Pillow raises while it loads the image.
    """
    check_frames(image, name)
    raw_mode = raw_mode_of(image)
    image.load()
    metadata = metadata_of(image)
    mode = image.mode
    if mode in _TARGETS:
        target = _TARGETS[mode]
        samples = _samples(image if mode == target else image.convert(target))
        key = _scaled_key(image.info.get("transparency"), raw_mode, mode)
        return with_colour_key(picture_from_array(samples, **metadata), key, name)
    if mode == "I" or mode.startswith("I;16"):
        picture = picture_from_array(_deep_gray(image, name), **metadata)
        return with_colour_key(picture, image.info.get("transparency"), name)
    if mode in ("P", "PA"):
        return _convert_palette(image, metadata)
    if mode == "LAB":
        return _convert_lab(image, metadata)
    raise ImageError(f"{name}: {_refusal(mode)}")


def _samples(image: Any) -> npt.NDArray[Any]:
    """``np.asarray`` of an image, a band of rows at a time, for Pillow makes two copies of what it gives."""
    width, height = image.size
    first = np.asarray(image.crop((0, 0, width, 1)))
    samples = np.empty((height, *first.shape[1:]), first.dtype)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        samples[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return samples


def _refusal(mode: str) -> str:
    if mode == "CMYK":
        return (
            "CMYK pictures are not supported, because their colours depend on the profile of the ink. "
            "Convert to RGB through the profile first: PIL.ImageCms.profileToProfile(image, profile, sRGB, "
            'outputMode="RGB")'
        )
    if mode == "F":
        return (
            "pictures of floats (mode F) are not supported, because their range is unknown. Scale the values "
            "to 0..65535 and convert them to a uint16 array first"
        )
    return f'pictures of mode {mode} are not supported. Convert first, for example by image.convert("RGB")'


def check_frames(image: Any, name: str) -> None:
    """Refuse animations and files of several pages; the pictures in an MPO are views or previews of one."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if count > 1:
        raise ImageError(
            f"{name}: expected one picture. Found {count} frames or pages: choose one and save it by itself "
            "(in Pillow: image.seek(0), then image.copy())"
        )


def raw_mode_of(image: Any) -> str | None:
    """How the file of an unloaded image stores its samples; None when it is loaded."""
    raw_mode = tile_arguments(image)[0]
    return raw_mode if isinstance(raw_mode, str) else None


def tile_arguments(image: Any) -> tuple[Any, ...]:
    """What Pillow's decoder gets for the first tile of an unloaded image; the first is the raw mode."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    return arguments if isinstance(arguments, tuple) and arguments else (arguments,)


def tiff_tags(image: Any) -> dict[int, Any]:
    """The directory of a TIFF image; empty for others."""
    tags: dict[int, Any] = getattr(image, "tag_v2", {})
    return tags


# Modes


def _convert_lab(image: Any, metadata: dict[str, bytes | None]) -> Picture:
    try:
        converted = image.convert("RGB")
    except ImportError as error:
        raise MissingDependencyError(
            "LAB pictures need a Pillow that was built with LittleCMS: convert the picture to RGB first, or "
            "pip install --upgrade pillow"
        ) from error
    return picture_from_array(np.asarray(converted), **(metadata | {"icc_profile": None}))


def _convert_palette(image: Any, metadata: dict[str, bytes | None]) -> Picture:
    """Palette colours; gray only where no profile says that the colours are RGB."""
    has_alpha = image.mode == "PA" or image.has_transparency_data
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    picture = picture_from_array(np.asarray(image.convert("RGBA" if has_alpha else "RGB")), **metadata)
    if metadata["icc_profile"] is None and (palette == palette[:, :1]).all():
        return replace(picture, pixels=np.ascontiguousarray(picture.pixels[:, :, :1]))
    return picture


def _deep_gray(image: Any, name: str) -> npt.NDArray[np.uint16]:
    """(height, width) of a 16-bit or 32-bit gray image; what TIFF says of range and polarity is applied."""
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise ImageError(
            f"{name}: expected values in 0..65535 in a picture of mode I. Found: {values.min()}.."
            f"{values.max()}. Scale them and convert them to a uint16 array first"
        )
    gray = values.astype(np.uint16)
    tags = tiff_tags(image)
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        gray = rescale(gray, 4095)
    inverted = image.mode != "I" and tags.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    return 65535 - gray if inverted else gray


def rescale(values: npt.NDArray[np.integer[Any]], peak: int) -> npt.NDArray[np.uint16]:
    """Values 0..peak to 0..65535, rounded half up."""
    if peak == 65535:
        return values.astype(np.uint16)
    return ((values.astype(np.uint64) * 131070 + peak) // (2 * peak)).astype(np.uint16)


def _scaled_key(key: object, raw_mode: str | None, mode: str) -> object:
    """PNG's transparent gray, given in the depth of the file, in 8 bits; Pillow scales the pixels alone."""
    if mode == "1" and isinstance(key, int):
        return 255 if key else 0
    factor = {"L;2": 85, "L;4": 17}.get(raw_mode or "", 1)
    return key * factor if isinstance(key, int) else key


def with_colour_key(picture: Picture, key: object, name: str) -> Picture:
    """Alpha 0 where a pixel has the transparent colour (PNG, 11.3.2.1), the peak elsewhere."""
    if key is None or picture.alpha is not None:
        return picture
    colour = key if isinstance(key, tuple) else (key,)
    if len(colour) != picture.layout or not all(isinstance(value, int) for value in colour):
        raise ImageError(f"{name}: expected a transparent colour of {picture.layout} values. Found: {key!r}")
    matches = (picture.pixels == np.array(colour)).all(axis=2)
    peak = np.iinfo(picture.pixels.dtype).max
    return replace(picture, alpha=np.where(matches, 0, peak).astype(picture.pixels.dtype))


# Metadata


def metadata_of(image: Any) -> dict[str, bytes | None]:
    """ICC profile, EXIF and XMP of a loaded image (PNG may have them behind the pixels)."""
    info = image.info
    exif = info.get("exif")
    if isinstance(exif, Image.Exif):
        exif = exif.tobytes()
    elif exif is None and tiff_tags(image):
        exif = _tiff_exif(image)
    elif exif is None and "Raw profile type exif" in info:
        exif = image.getexif().tobytes()
    icc_profile, xmp = _as_bytes(info.get("icc_profile")), _as_bytes(info.get("xmp"))
    return {"icc_profile": icc_profile, "exif": exif, "xmp": xmp}


def _as_bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    return None if value is None else bytes(value)


def _tiff_exif(image: Any) -> bytes | None:
    """The EXIF of a TIFF file: its own directory without what describes the storage of its pixels."""
    try:
        source = image.getexif()
        exif = Image.Exif()
        exif.endian = source.endian
        content = descriptive_exif(source)
        for tag, value in content.items():
            if tag in SUBDIRECTORY_TAGS:
                exif.get_ifd(tag).update(value)
            else:
                exif[tag] = value
        return exif.tobytes() if content else None
    except Exception as error:  # Pillow's parser and writer fail in many ways on odd tags
        warnings.warn(f"the EXIF of a TIFF file is left out, because it is broken: {error!r}", stacklevel=2)
        return None


def descriptive_exif(exif: Any) -> dict[int, Any]:
    """What describes the picture: tags and their values, directories as dictionaries."""
    tags = {tag: exif[tag] for tag in DESCRIPTIVE_TAGS if tag in exif}
    return tags | {tag: content for tag in SUBDIRECTORY_TAGS if (content := dict(exif.get_ifd(tag)))}
