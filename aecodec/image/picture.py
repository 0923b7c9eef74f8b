"""The picture itself: samples, alpha and metadata; its mirror images as arrays and as floats."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from aecodec.errors import ImageError

#: uint8 or uint16 in native byte order.
Samples: TypeAlias = npt.NDArray[Any]

EXIF_PREFIX: Final = b"Exif\0\0"
ORIENTATION_TAG: Final = 0x0112


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels and what belongs to them.

    Args:
        pixels: uint8 or uint16, (height, width, channels) with 1 (gray) or 3 (RGB) channels.
        alpha: opacity, same dtype, (height, width), not premultiplied; None for an opaque picture.
        icc_profile: the colour space of the pixels; None means sRGB, or gray with sRGB's curve.
        exif: a TIFF structure that begins with "II" or "MM" (a leading "Exif\\0\\0" is taken off).
        xmp: an XMP packet, UTF-8.

    The arrays are not copied; whoever changes them changes the picture.

    Raises:
        ImageError: shapes, dtypes or types are others.
    """

    pixels: Samples
    alpha: Samples | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        self._check_arrays()
        for name in ("icc_profile", "exif", "xmp"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bytes):
                raise ImageError(f"Expected {name} to be bytes or None. Received: {type(value).__name__}")
        object.__setattr__(self, "icc_profile", self.icc_profile or None)
        object.__setattr__(self, "exif", _bare_exif(self.exif) or None)
        object.__setattr__(self, "xmp", self.xmp or None)

    def _check_arrays(self) -> None:
        for samples in (self.pixels, self.alpha):
            if samples is not None:
                check_dtype(samples)
                if not samples.dtype.isnative:
                    raise ImageError("Expected native byte order: use picture_from_array, which converts it")
        shape = self.pixels.shape
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise ImageError(
                "Expected pixels of shape (height, width, 1) or (height, width, 3) without empty axes. "
                f"Received: {shape}"
            )
        if self.alpha is not None and (
            self.alpha.shape != shape[:2] or self.alpha.dtype != self.pixels.dtype
        ):
            raise ImageError(
                f"Expected alpha of shape {shape[:2]} and dtype {self.pixels.dtype}, like the pixels. "
                f"Received: {self.alpha.shape}, {self.alpha.dtype}"
            )

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def layout(self) -> int:
        """1 for gray, 3 for RGB; alpha does not count."""
        return int(self.pixels.shape[2])

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * int(self.pixels.dtype.itemsize)

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 (upright) to 8; 1 where none is given."""
        field = _find_orientation(self.exif)
        return field.value if field else 1


@dataclass(frozen=True)
class Frame:
    """A picture but for its samples: what one knows before they are decoded.

    Args:
        width: columns.
        height: rows.
        layout: 1 for gray, 3 for RGB; alpha does not count.
        depth: bits per sample, 8 or 16.
        has_alpha: whether there is an alpha plane.
        icc_profile: see :class:`Picture`, like exif and xmp.
    """

    width: int
    height: int
    layout: int
    depth: int
    has_alpha: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "icc_profile", self.icc_profile or None)
        object.__setattr__(self, "exif", _bare_exif(self.exif) or None)
        object.__setattr__(self, "xmp", self.xmp or None)

    @classmethod
    def of(cls, picture: Picture) -> Frame:
        """The frame of a picture."""
        return cls(
            picture.width,
            picture.height,
            picture.layout,
            picture.depth,
            picture.alpha is not None,
            picture.icc_profile,
            picture.exif,
            picture.xmp,
        )

    @property
    def channels(self) -> int:
        """1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)."""
        return self.layout + self.has_alpha


def is_deep_colour(picture: Picture) -> bool:
    """Whether it has 16-bit colours or 16-bit alpha, which Pillow cannot hold."""
    return picture.depth == 16 and (picture.layout == 3 or picture.alpha is not None)


# Arrays


def check_dtype(array: npt.NDArray[Any]) -> None:
    """Raise ImageError unless the samples are uint8 or uint16, in any byte order."""
    if not isinstance(array, np.ndarray):
        raise ImageError(f"Expected a NumPy array. Received: {type(array).__name__}")
    if array.dtype.kind != "u" or array.dtype.itemsize not in (1, 2):
        raise ImageError(
            f"Expected samples of dtype uint8 or uint16. Received: {array.dtype}. Scale the values to 0..255 "
            "or 0..65535, round them, and use astype(numpy.uint8) or astype(numpy.uint16)."
        )


def picture_from_array(
    array: npt.NDArray[Any],
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
) -> Picture:
    """A picture from samples; memory is shared where that is possible.

    Args:
        array: uint8 (0..255) or uint16 (0..65535), any byte order; (height, width) or (height, width,
            channels) with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels.
        icc_profile: see :class:`Picture`, like exif and xmp.

    Raises:
        ImageError: another shape or dtype.
    """
    check_dtype(array)
    samples = array.astype(array.dtype.newbyteorder("="), copy=False)
    if samples.ndim == 2:
        samples = samples[:, :, np.newaxis]
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= 4:
        channels_first = array.ndim == 3 and array.shape[0] <= 4
        hint = " Move the channels last: array.transpose(1, 2, 0)." if channels_first else ""
        raise ImageError(
            "Expected shape (height, width) or (height, width, channels) with 1 to 4 channels. "
            f"Received: {array.shape}.{hint}"
        )
    channels = samples.shape[2]
    layout = 1 if channels < 3 else 3
    alpha = np.ascontiguousarray(samples[:, :, layout]) if channels > layout else None
    return Picture(np.ascontiguousarray(samples[:, :, :layout]), alpha, icc_profile, exif, xmp)


def picture_to_array(picture: Picture) -> Samples:
    """The samples: (height, width) for gray, else (height, width, channels): gray-alpha, RGB or RGBA.

    The mirror of :func:`picture_from_array`; without alpha the memory is shared.
    """
    samples = interleaved(picture.pixels, picture.alpha)
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def interleaved(pixels: Samples, alpha: Samples | None) -> Samples:
    """Pixels (rows, width, layout) with their alpha (rows, width) as the last channel, if there is one."""
    return pixels if alpha is None else np.concatenate((pixels, alpha[:, :, np.newaxis]), axis=2)


def reduce_to_8_bit(picture: Picture) -> Picture:
    """A 16-bit picture with 8 bits per sample, value / 257 rounded; an 8-bit one as it is."""
    if picture.depth == 8:
        return picture
    alpha = None if picture.alpha is None else _to_8_bit(picture.alpha)
    return replace(picture, pixels=_to_8_bit(picture.pixels), alpha=alpha)


def _to_8_bit(samples: Samples) -> npt.NDArray[np.uint8]:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


# Floats


def samples_to_float_rgb(samples: Samples) -> npt.NDArray[np.float32]:
    """Samples (height, width, 1 or 3), uint8 or uint16, as float32 (height, width, 3) in 0..255.

    16-bit values are divided by 257; gray is replicated.
    """
    rgb = np.empty((*samples.shape[:2], 3), np.float32)
    rgb[...] = samples
    if samples.dtype.itemsize == 2:
        rgb /= np.float32(257)
    return rgb


def samples_from_float_rgb(rgb: npt.NDArray[np.floating[Any]], layout: int, depth: int) -> Samples:
    """Samples (height, width, layout) from floats (height, width, 3) in 0..255.

    The mirror of :func:`samples_to_float_rgb`: gray is the mean of the three, 16 bit is the value times 257;
    then rounded half up and clipped. What is not a number becomes 0.

    Raises:
        ImageError: a shape, dtype, layout or depth that a picture cannot have.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype.kind != "f":
        raise ImageError(f"Expected floats of shape (height, width, 3). Received: {rgb.dtype}, {rgb.shape}")
    if layout not in (1, 3) or depth not in (8, 16):
        raise ImageError(f"Expected layout 1 or 3 and depth 8 or 16. Received: {layout} and {depth}")
    scale, peak = (1, 255) if depth == 8 else (257, 65535)
    values = rgb.mean(axis=2, keepdims=True, dtype=rgb.dtype) if layout == 1 else rgb
    values = values * rgb.dtype.type(scale)
    np.floor(np.add(values, 0.5, out=values), out=values)
    np.fmin(np.fmax(values, 0, out=values), peak, out=values)  # fmax takes 0 where there is no number
    return values.astype(np.uint8 if depth == 8 else np.uint16)


def to_float_rgb(picture: Picture) -> npt.NDArray[np.float32]:
    """The colours as float32 (height, width, 3) in 0..255; see :func:`samples_to_float_rgb`."""
    return samples_to_float_rgb(picture.pixels)


def from_float_rgb(
    rgb: npt.NDArray[np.floating[Any]],
    layout: int,
    depth: int,
    alpha: Samples | None = None,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
) -> Picture:
    """The mirror of :func:`to_float_rgb`; see :func:`samples_from_float_rgb`.

    Raises:
        ImageError: a shape, dtype, layout or depth that a picture cannot have.
    """
    return Picture(samples_from_float_rgb(rgb, layout, depth), alpha, icc_profile, exif, xmp)


# Metadata


@dataclass(frozen=True)
class _OrientationField:
    """Where the value of the orientation tag stands in an EXIF block, how it is packed, and what it says."""

    offset: int
    packing: str
    value: int


def _bare_exif(exif: bytes | None) -> bytes | None:
    while exif is not None and exif.startswith(EXIF_PREFIX):
        exif = exif[len(EXIF_PREFIX) :]
    return exif


def _find_orientation(exif: bytes | None) -> _OrientationField | None:
    """The orientation in the first directory (Exif 2.32, 4.6.4); None if there is no valid one."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get((exif or b"")[:4])
    if exif is None or order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(order + "HHI", exif, entry)
            if tag == ORIENTATION_TAG and kind in (3, 4) and length == 1:
                packing = order + ("H" if kind == 3 else "I")
                (value,) = struct.unpack_from(packing, exif, entry + 8)
                return _OrientationField(entry + 8, packing, value) if 1 <= value <= 8 else None
    except struct.error:  # the directory ends early
        pass
    return None


def _turn(samples: Samples, orientation: int) -> Samples:
    """Upright samples; the first two axes are turned."""
    transposed = np.swapaxes(samples, 0, 1) if orientation >= 5 else samples
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.ascontiguousarray(np.flip(transposed, flips.get(orientation, ())))


def apply_orientation(picture: Picture) -> Picture:
    """Turn the pixels as the EXIF orientation says, and set it to 1 in place, in EXIF and in XMP.

    Every other byte of the EXIF stays, a thumbnail included. Only EXIF is asked for the orientation.
    """
    field = _find_orientation(picture.exif)
    if field is None or picture.exif is None or field.value == 1:
        return picture
    exif = bytearray(picture.exif)
    struct.pack_into(field.packing, exif, field.offset, 1)
    return replace(
        picture,
        pixels=_turn(picture.pixels, field.value),
        alpha=None if picture.alpha is None else _turn(picture.alpha, field.value),
        exif=bytes(exif),
        xmp=picture.xmp and re.sub(rb'(tiff:Orientation(?:=["\']|>))[2-8]', rb"\g<1>1", picture.xmp),
    )
