"""Windows: how a picture of any size passes through the transforms in bounded memory, without seams.

A *window* is a rectangle of the padded picture that runs through a graph at once. Its *core* is what is
kept of the result; around it lies a *halo* of real neighbours, as wide as the graph was seen to look, that
is computed and thrown away. The cores tile the area without overlap, so the pieces put together are what one
pass over the whole picture would have given, but for rounding. Windows know nothing of *chunks*, the squares
that are predicted and coded independently: latents pass from one partition to the other through a
:class:`LatentStore`, which holds only the chunks in use.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import whole_number
from aecodec.container import Box, Header
from aecodec.errors import InputError
from aecodec.image import Picture, Samples, samples_from_float_rgb, samples_to_float_rgb

__all__ = [
    "HYPER_STRIDE",
    "LATENT_STRIDE",
    "SCALES",
    "WINDOW_SIDE",
    "LatentStore",
    "Symbols",
    "View",
    "Window",
    "box_average",
    "chunk_uses",
    "intersection",
    "plan_windows",
    "tile",
    "window_pixels",
]

HYPER_STRIDE = 64
LATENT_STRIDE = 16
_Element = TypeVar("_Element", bound=np.generic)

#: Pixels: a window with its halo is at most this wide and high. ONNX Runtime takes about 200 bytes a pixel,
#: 0.4 gigabytes, and chunks are coded beside it; smaller windows would compute more halo for what they
#: keep.
WINDOW_SIDE = 1344
#: A preview is so many times smaller than the picture on each side.
SCALES = (1, 2, 4, 8, 16, 32)


class Symbols(NamedTuple):
    """The integers of one rectangle: hyper-latents z (rows, columns, hyper channels), residuals r (4 rows,
    4 columns, latent channels) in eighths of a quantisation step; and the coefficients (coefficient,) of the
    post-filter of its chunk, where it has one.
    """

    z: NDArray[np.int16]
    r: NDArray[np.int16]
    coefficients: NDArray[np.int16] | None = None

    def crop(self, whole: Box, part: Box) -> Symbols:
        """Those of a part of the rectangle, views; both boxes lie on multiples of 64 pixels."""
        z, r = _cut(self.z, whole, part, HYPER_STRIDE), _cut(self.r, whole, part, LATENT_STRIDE)
        return Symbols(z, r, self.coefficients)


@dataclass(frozen=True, slots=True)
class Window:
    """Boxes in pixels of the padded picture, on multiples of 64 (of 16 for the synthesis alone): what is
    kept, and what is computed for it.
    """

    core: Box
    reach: Box

    def crop_pixels(self, pixels: NDArray[_Element]) -> NDArray[_Element]:
        """The core's part of pixels (height, width, channels) of the reach."""
        return _cut(pixels, self.reach, self.core, 1)

    def crop_latents(self, latents: NDArray[_Element]) -> NDArray[_Element]:
        """The view of the core's part of a plane (rows, columns, ...) of latents of the reach."""
        return _cut(latents, self.reach, self.core, LATENT_STRIDE)

    def crop_hyper_latents(self, z: NDArray[_Element]) -> NDArray[_Element]:
        """The same of a plane of hyper-latents; both boxes lie on multiples of 64."""
        return _cut(z, self.reach, self.core, HYPER_STRIDE)

    def nearer(self, halo: int) -> Window:
        """The same core with a reach of at most so many pixels, a multiple of 16, around it."""
        x, y = max(self.core.x - halo, self.reach.x), max(self.core.y - halo, self.reach.y)
        right, bottom = (
            min(self.core.right + halo, self.reach.right),
            min(self.core.bottom + halo, self.reach.bottom),
        )
        return Window(self.core, Box(x, y, right - x, bottom - y))


def plan_windows(
    header: Header, halo: int, *, area: Box | None = None, side: int = WINDOW_SIDE
) -> tuple[Window, ...]:
    """Windows in raster order whose cores tile an area.

    All windows of a plan have about the same reach: a core that touches the border of the picture is wider by
    the halo that it does not need there.

    Args:
        header: of the picture.
        halo: pixels, a multiple of 64.
        area: what the cores shall tile, on multiples of 64; the whole padded picture by default.
        side: pixels, a multiple of 64: the reach is at most this wide and high, or as wide as the halo and a
            core of 64 pixels.
    """
    return tile(Box(0, 0, header.padded_width, header.padded_height), halo, area=area, side=side)


def tile(whole: Box, halo: int, *, area: Box | None = None, side: int = WINDOW_SIDE) -> tuple[Window, ...]:
    """The same of any rectangle that begins at (0, 0), beyond which no window reaches."""
    core_side = max(side - 2 * halo, HYPER_STRIDE)
    box = area or whole
    rows = _split(box.y, box.bottom, whole.height, halo, core_side)
    columns = _split(box.x, box.right, whole.width, halo, core_side)
    return tuple(
        Window(
            Box(core_x[0], core_y[0], core_x[1] - core_x[0], core_y[1] - core_y[0]),
            Box(reach_x[0], reach_y[0], reach_x[1] - reach_x[0], reach_y[1] - reach_y[0]),
        )
        for core_y, reach_y in rows
        for core_x, reach_x in columns
    )


def _split(
    start: int, end: int, limit: int, halo: int, core_side: int
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut start..end into cores with their reach, both as (first, one past the last)."""
    spared_first = halo if start == 0 else 0
    spared_last = halo if end == limit else 0
    inner = max(end - start - spared_first - spared_last, 1)
    count = -(-inner // core_side)
    step = -(-inner // (count * HYPER_STRIDE)) * HYPER_STRIDE
    cuts = [start, *(start + spared_first + step * index for index in range(1, count)), end]
    return [
        ((first, last), (max(first - halo, 0), min(last + halo, limit))) for first, last in pairwise(cuts)
    ]


def window_pixels(picture: Picture, reach: Box) -> NDArray[np.float32]:
    """The float RGB pixels (height, width, 3), 0..255, of a window; beyond the picture its edge is
    repeated.
    """
    bottom, right = min(reach.bottom, picture.height), min(reach.right, picture.width)
    pixels = picture.pixels[reach.y : bottom, reach.x : right]
    missing = ((0, reach.bottom - bottom), (0, reach.right - right), (0, 0))
    return samples_to_float_rgb(np.pad(pixels, missing, mode="edge"))


def box_average(pixels: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Means of the scale x scale squares of pixels (height, width, channels); the sides are multiples of
    scale.
    """
    if scale == 1:
        return pixels
    height, width, channels = pixels.shape
    squares = pixels.reshape(height // scale, scale, width // scale, scale, channels)
    means: NDArray[np.float32] = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


def chunk_uses(header: Header, boxes: Sequence[Box]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """For each box, the chunks that it touches first of all boxes, and those that it touches last."""
    touched = [header.chunks_touching(box) for box in boxes]
    return _first_uses(touched), _first_uses(touched[::-1])[::-1]


def _first_uses(touched: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    seen: set[int] = set()
    uses = []
    for indices in touched:
        uses.append(tuple(index for index in indices if index not in seen))
        seen.update(indices)
    return uses


class LatentStore:
    """The latents of the chunks in use: rectangles are written to and read from it.

    Args:
        header: of the picture.
        channels: of the latents.
    """

    def __init__(self, header: Header, channels: int) -> None:
        self._header = header
        self._channels = channels
        self._chunks: dict[int, NDArray[np.float32]] = {}

    def write(self, box: Box, latents: NDArray[np.float32]) -> None:
        """Copy the latents of a box into the chunks that it touches, which come into being as needed."""
        for index in self._header.chunks_touching(box):
            whole = self._header.chunk_box(index)
            if index not in self._chunks:
                self._chunks[index] = self._empty(whole)
            _copy(self._chunks[index], whole, latents, box)

    def read(self, box: Box) -> NDArray[np.float32]:
        """The latents of a box, all of whose chunks are in the store."""
        latents = self._empty(box)
        for index in self._header.chunks_touching(box):
            _copy(latents, box, self._chunks[index], self._header.chunk_box(index))
        return latents

    def take(self, index: int) -> NDArray[np.float32]:
        """Take a whole chunk out; the store forgets it."""
        return self._chunks.pop(index)

    def _empty(self, box: Box) -> NDArray[np.float32]:
        rows, columns = box.height // LATENT_STRIDE, box.width // LATENT_STRIDE
        return np.zeros((rows, columns, self._channels), np.float32)


def _copy(target: NDArray[np.float32], target_box: Box, source: NDArray[np.float32], source_box: Box) -> None:
    """Copy what two boxes share."""
    shared = intersection(target_box, source_box)
    part = _cut(source, source_box, shared, LATENT_STRIDE)
    _cut(target, target_box, shared, LATENT_STRIDE)[...] = part


def intersection(first: Box, second: Box) -> Box:
    """What two boxes that overlap share."""
    x, y = max(first.x, second.x), max(first.y, second.y)
    return Box(x, y, min(first.right, second.right) - x, min(first.bottom, second.bottom) - y)


def _cut(plane: NDArray[_Element], whole: Box, part: Box, stride: int) -> NDArray[_Element]:
    """The view of ``part`` in a plane (rows, columns, channels) that covers ``whole``, one element per
    stride.
    """
    top, left = (part.y - whole.y) // stride, (part.x - whole.x) // stride
    return plane[top : top + part.height // stride, left : left + part.width // stride]


@dataclass(frozen=True)
class View:
    """Which pixels of the picture are wanted, at which scale.

    Attributes:
        header: of the picture.
        box: what is wanted in pixels of the preview (the picture made ``scale`` times smaller, rounded up).
        scale: how many times smaller.
    """

    header: Header
    box: Box
    scale: int

    @classmethod
    def of(cls, header: Header, region: tuple[int, int, int, int] | None, scale: int) -> View:
        """Check what the caller asks for.

        Raises:
            InputError: no such scale, or a region that is empty or not inside of the picture.
        """
        if whole_number("scale", scale, 1, SCALES[-1]) not in SCALES:
            raise InputError(f"Expected a scale out of {SCALES}. Received: {scale!r}")
        box = Box(0, 0, header.width, header.height) if region is None else Box(*_whole_numbers(region))
        inside = 0 <= box.x < box.right <= header.width and 0 <= box.y < box.bottom <= header.height
        if not inside:
            raise InputError(
                f"Expected a region (x, y, width, height) inside of {header.width} x {header.height} pixels, "
                f"at least 1 x 1. Received: {region}"
            )
        x, y = box.x // scale, box.y // scale
        return cls(header, Box(x, y, -(-box.right // scale) - x, -(-box.bottom // scale) - y), scale)

    @property
    def area(self) -> Box:
        """The pixels of the padded picture that must be decoded, on multiples of 64."""
        unit = HYPER_STRIDE // self.scale
        x, y = self.box.x // unit, self.box.y // unit
        columns, rows = -(-self.box.right // unit) - x, -(-self.box.bottom // unit) - y
        return Box(x * HYPER_STRIDE, y * HYPER_STRIDE, columns * HYPER_STRIDE, rows * HYPER_STRIDE)

    def rows(self, core: Box) -> slice:
        """The rows of the result that cores beside this one fill."""
        top, bottom = core.y // self.scale, core.bottom // self.scale
        return slice(max(top, self.box.y) - self.box.y, min(bottom, self.box.bottom) - self.box.y)

    def empty_pixels(self, height: int) -> Samples:
        """Room for so many rows of the result (height, width, layout)."""
        dtype = np.uint8 if self.header.depth == 8 else np.uint16
        return np.empty((height, self.box.width, self.header.layout), dtype)

    def write(self, band: Samples, core: Box, rgb: NDArray[np.float32]) -> None:
        """Round what is wanted of a core's float pixels (already of this scale) and put it into its place in
        the band of the core's rows.
        """
        left, top = core.x // self.scale, core.y // self.scale
        x, y = max(left, self.box.x), max(top, self.box.y)
        right = min(core.right // self.scale, self.box.right)
        wanted = rgb[y - top : y - top + len(band), x - left : right - left]
        columns = slice(x - self.box.x, right - self.box.x)
        band[:, columns] = samples_from_float_rgb(wanted, self.header.layout, self.header.depth)

    def cut_plane(self, plane: Samples) -> Samples:
        """What is wanted of a plane (height, width) of the whole picture, at this scale."""
        if self.scale == 1:
            return plane[self.box.y : self.box.bottom, self.box.x : self.box.right]
        rows = slice(self.box.y * self.scale, self.box.bottom * self.scale)
        columns = slice(self.box.x * self.scale, self.box.right * self.scale)
        part = plane[rows, columns]
        height, width = self.box.height * self.scale, self.box.width * self.scale
        squares = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1])), mode="edge")
        means = box_average(squares[:, :, np.newaxis].astype(np.float32), self.scale)[:, :, 0]
        rounded: Samples = np.floor(means + 0.5).astype(plane.dtype)
        return rounded


def _whole_numbers(region: Sequence[Any]) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = map(operator.index, region)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Expected a region (x, y, width, height) of integers. Received: {region!r}"
        ) from error
    return x, y, width, height
