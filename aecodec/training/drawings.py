"""Drawn training pictures: sharp edges, saturated colours and patterns, which photographs lack.

A network that has seen photographs alone knows nothing of stripes of magenta and green two pixels wide, and
what it makes of them need not look like anything. Every picture here is a ground with up to a dozen patches
on it, each filled with a pattern of random kind, colours and measure.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aecodec.training.data import PictureSet

MOST_PATCHES = 12
SMALLEST_PATCH = 24
LARGEST_CELL = 16
"""Pixels of the widest stripe, and of the largest cell of a chequered pattern."""
WORD_CHARACTERS = string.ascii_letters + string.digits + string.punctuation

Fill: TypeAlias = Callable[[np.random.Generator, int, int], np.ndarray]
"""(generator, height, width) -> uint8 (height, width, 3), to be read only."""


def with_drawings(pictures: PictureSet, share: float, side: int, seed: int = 0) -> PictureSet:
    """Pictures, and as many drawn ones behind them as make up a share of all pixels.

    Args:
        pictures: photographs and what else there is.
        share: of the drawn pixels, from 0 to below 1.
        side: of the drawn pictures, pixels, `SMALLEST_PATCH` at least.
        seed: of the drawn pictures.
    """
    count = round(pictures.pixels * share / (1 - share) / side**2)
    return pictures + draw_pictures(count, side, seed)


def draw_pictures(count: int, side: int, seed: int = 0) -> PictureSet:
    """Pictures of ``side`` pixels squared, named ``drawn-0000`` and so on; equal seeds draw equal pictures.

    Args:
        count: how many.
        side: pixels, `SMALLEST_PATCH` at least.
        seed: of all choices.
    """
    pictures = tuple(draw_picture(np.random.default_rng([seed, number]), side) for number in range(count))
    return PictureSet(tuple(f"drawn-{number:04d}" for number in range(count)), pictures)


def draw_picture(generator: np.random.Generator, side: int) -> np.ndarray:
    """One picture, uint8 (side, side, 3)."""
    pixels = _any_fill(generator)(generator, side, side).copy()
    for _ in range(generator.integers(MOST_PATCHES + 1)):
        height, width = generator.integers(SMALLEST_PATCH, side + 1, 2)
        top, left = generator.integers(side - height + 1), generator.integers(side - width + 1)
        patch = _any_fill(generator)(generator, int(height), int(width))
        pixels[top : top + height, left : left + width] = patch
    return pixels


def flat(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One colour."""
    return np.broadcast_to(_colours(generator, 1)[0], (height, width, 3))


def gradient(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """From one colour to another, in any direction."""
    along = _along(generator, height, width)
    share = (along - along.min()) / max(float(np.ptp(along)), 1.0)
    return _mixed(_colours(generator, 2), share)


def stripes(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two or three colours in turn, mostly along rows or columns."""
    palette = _colours(generator, int(generator.integers(2, 4)))
    breadth = generator.integers(1, LARGEST_CELL + 1)
    place = np.floor(_along(generator, height, width) / breadth).astype(int)
    return np.asarray(palette[place % len(palette)])


def chequers(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two colours in cells, square or not."""
    rows, columns = np.ogrid[:height, :width]
    cell = generator.integers(1, LARGEST_CELL + 1, 2)
    if generator.random() < 0.5:
        cell[1] = cell[0]
    return np.asarray(_colours(generator, 2)[(rows // cell[0] + columns // cell[1]) % 2])


def mosaic(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Cells of random colours out of a palette: a bar code of two dimensions where there are two."""
    palette = _colours(generator, int(generator.choice([2, 2, 3, 8, 64])))
    cell = generator.integers(1, LARGEST_CELL + 1)
    cells = generator.integers(len(palette), size=(-(-height // cell), -(-width // cell)))
    return np.asarray(palette[cells.repeat(cell, 0).repeat(cell, 1)[:height, :width]])


def waves(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Sine waves between two colours, straight, or circles that become finer outwards."""
    along = _along(generator, height, width)
    phase = along / generator.uniform(2, 40)
    if generator.random() < 0.5:
        rows, columns = np.ogrid[:height, :width]
        phase = (np.square(rows) + np.square(columns)) / (max(height, width) * generator.uniform(1, 8))
    return _mixed(_colours(generator, 2), 0.5 + 0.5 * np.sin(2 * np.pi * phase))


def noise(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A colour with Gaussian noise, of the channels alike or each by itself."""
    channels = generator.choice([1, 3])
    deviation = np.exp(generator.uniform(np.log(2), np.log(100)))
    values = _colours(generator, 1)[0] + deviation * generator.standard_normal((height, width, channels))
    return _to_pixels(values)


def shapes(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Ellipses, polygons and lines in flat colours; smooth edges in half of the cases."""
    scale = int(generator.choice([1, 2]))
    palette = [_pillow_colour(colour) for colour in _colours(generator, 6)]
    picture = Image.new("RGB", (width * scale, height * scale), palette[0])
    pen = ImageDraw.Draw(picture)
    for _ in range(generator.integers(2, 16)):
        colour = palette[generator.integers(len(palette))]
        corners = [(float(x), float(y)) for x, y in generator.random((4, 2)) * picture.size]
        kind = generator.integers(3)
        if kind == 0:
            (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners[:2], strict=True))
            pen.ellipse((x0, y0, x1, y1), fill=colour)
        elif kind == 1:
            pen.polygon(corners[: generator.integers(3, 5)], fill=colour)
        else:
            pen.line(corners, fill=colour, width=scale * int(generator.integers(1, 6)))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def text(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Lines of words without meaning; half of them black on white or the reverse."""
    ink, ground = _colours(generator, 2)
    if generator.random() < 0.5:
        ink, ground = generator.permutation([np.zeros(3, np.uint8), np.full(3, 255, np.uint8)])
    picture = Image.new("RGB", (width, height), _pillow_colour(ground))
    pen = ImageDraw.Draw(picture)
    pen.fontmode = "1" if generator.random() < 0.15 else "L"
    size = int(np.exp(generator.uniform(np.log(8), np.log(48))))
    font = ImageFont.load_default(size)
    bold = int(generator.random() < 0.2)
    for top in range(int(generator.integers(size)), height, round(size * generator.uniform(1.1, 1.6))):
        line = " ".join(_word(generator) for _ in range(1 + width // (3 * size)))
        place = (float(generator.integers(size)), float(top))
        pen.text(place, line, fill=_pillow_colour(ink), font=font, stroke_width=bold)
    return np.asarray(picture)


FILLS: dict[Fill, float] = {
    flat: 0.08,
    gradient: 0.07,
    stripes: 0.14,
    chequers: 0.12,
    mosaic: 0.12,
    waves: 0.07,
    noise: 0.05,
    shapes: 0.15,
    text: 0.20,
}
"""How often each is drawn."""


def _any_fill(generator: np.random.Generator) -> Fill:
    fills = list(FILLS)
    return fills[generator.choice(len(fills), p=list(FILLS.values()))]


def _colours(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) uint8: black and white, corners of the colour cube, greys, or any colours."""
    kind = generator.random()
    if kind < 0.15:
        return (255 * ((generator.integers(2) + np.arange(count)) % 2))[:, None].repeat(3, 1).astype(np.uint8)
    if kind < 0.45:
        return (255 * generator.integers(0, 2, (count, 3))).astype(np.uint8)
    if kind < 0.6:
        return generator.integers(0, 256, (count, 1)).repeat(3, 1).astype(np.uint8)
    return generator.integers(0, 256, (count, 3)).astype(np.uint8)


def _along(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width) float64: distance in a direction, two times of three along rows or columns."""
    angle = generator.choice([0, np.pi / 2, generator.uniform(0, np.pi)])
    rows, columns = np.ogrid[:height, :width]
    # Rounded, so that stripes across columns begin at whole pixels: cos(pi/2) is not quite 0.
    return np.asarray(columns * np.round(np.cos(angle), 9) + rows * np.round(np.sin(angle), 9))


def _mixed(pair: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Between two colours, (2, 3), by shares (height, width) in 0..1."""
    return _to_pixels(pair[0] + share[..., None] * (pair[1].astype(np.float64) - pair[0]))


def _to_pixels(values: np.ndarray) -> np.ndarray:
    rounded = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.broadcast_to(rounded, (*values.shape[:2], 3))


def _pillow_colour(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _word(generator: np.random.Generator) -> str:
    return "".join(generator.choice(list(WORD_CHARACTERS), generator.integers(1, 11)))
