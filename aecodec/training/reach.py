"""How far a trained model looks beyond a window: less than its layers could, which saves time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np

from aecodec.networks.architecture import HYPER_PATCH, PATCH
from aecodec.runtime import Runtime
from aecodec.training.data import PictureSet, draw_crops, take_crops
from aecodec.training.fitting import CROP

HALO_SCENES = 4
"""Mosaics of crops that is measured on."""
HALO_CORE = 256
"""Pixels along the sides of their middles, whose symbols and pixels are compared."""
SYMBOL_TOLERANCE = 1e-3
"""Share of symbols that may differ in one picture at one level. Measured with base-1 in windows of 1024
pixels, quality 10 to 90: a halo of 192 pixels (one symbol in 8,000) moves bytes and PSNR by 0.006 % and
0.0002 dB, both ways; one of 128 costs 0.001 dB, one of 64 up to 0.2 dB. With base-4, 192 pixels: one symbol
in 12,000 on the mean."""
PIXEL_TOLERANCE = 0.002
"""Levels, root mean square: a tenth of what the format allows between decoders. Measured with base-2 on
photographs, level 0, where the reach is the longest: a halo of 256 pixels moves no pixel by more than 1e-4
(the rounding of floats), one of 192 by 0.02, one of 128 by 1.1."""
PEAK_TOLERANCE = 0.1
"""Levels by which a single pixel may differ."""


def scenes(pictures: PictureSet, halo: int, count: int = HALO_SCENES) -> list[np.ndarray]:
    """Squares, uint8 (side, side, 3), out of random crops: `HALO_CORE` and the halo on both sides of it.

    Args:
        pictures: of 256 pixels a side at least.
        halo: pixels.
        count: how many.
    """
    side = HALO_CORE + 2 * halo
    across = -(-side // CROP)
    generator = np.random.default_rng(3)
    found = []
    for _ in range(count):
        crops = take_crops(pictures, draw_crops(pictures, across * across, CROP, generator))
        rows = crops.reshape(across, across, CROP, CROP, 3).transpose(0, 2, 1, 3, 4)
        found.append(rows.reshape(across * CROP, across * CROP, 3)[:side, :side])
    return found


def decoder_halo(runtime: Runtime, pictures: Sequence[np.ndarray], bound: int, levels: Sequence[int]) -> int:
    """How far the decoder looks in fact: the least halo with which the middles of pictures get the pixels
    that they get in whole pictures, but for `PIXEL_TOLERANCE` and `PEAK_TOLERANCE`.

    Args: as for `encoder_halo`.

    Returns:
        Pixels, a multiple of 64, up to ``bound``.
    """

    def middles() -> Iterator[Callable[[int], np.ndarray]]:
        for picture, level in product(pictures, levels):
            yield partial(_middle_pixels, runtime, *runtime.encode(picture.astype(np.float32), level), level)

    return _least_halo(middles(), _close, bound)


def _middle_pixels(runtime: Runtime, z: np.ndarray, r: np.ndarray, level: int, halo: int) -> np.ndarray:
    """Pixels of the middle of a picture, decoded from the symbols of so much around it."""
    coarse, fine = (_cut(len(plane) * grid, halo, grid) for plane, grid in ((z, HYPER_PATCH), (r, PATCH)))
    pixels = runtime.decode(z[coarse, coarse], r[fine, fine], level)
    middle = slice(halo, halo + HALO_CORE)
    return pixels[middle, middle]


def _cut(side: int, halo: int, grid: int) -> slice:
    """Of a plane with a position for each ``grid`` pixels: the middle and so much around it."""
    cut = (side - HALO_CORE) // 2 - halo
    return slice(cut // grid, (side - cut) // grid)


def _close(first: np.ndarray, second: np.ndarray) -> bool:
    difference = np.abs(first - second)
    rms = np.sqrt(np.mean(np.square(difference)))
    return bool(rms <= PIXEL_TOLERANCE and np.max(difference) <= PEAK_TOLERANCE)


def encoder_halo(runtime: Runtime, pictures: Sequence[np.ndarray], bound: int, levels: Sequence[int]) -> int:
    """How far the encoder looks in fact: the least halo with which the middles of pictures get the symbols
    that they get in whole pictures, but for a share of `SYMBOL_TOLERANCE` at most.

    Trained networks look less far than their layers could. Symbols that differ are those whose rounding was
    a near thing: neither rate nor distortion is worse, and any symbols decode to what they say.

    Args:
        runtime: encodes.
        pictures: of `scenes`, made for ``bound``.
        bound: pixels, a multiple of 64 above 0, that no layer looks beyond.
        levels: to encode at.

    Returns:
        Pixels, a multiple of 64, up to ``bound``.
    """
    middles = (partial(_middle_symbols, runtime, *case) for case in product(pictures, levels))
    return _least_halo(middles, _agree, bound)


def _least_halo(
    middles: Iterable[Callable[[int], np.ndarray]],
    agree: Callable[[np.ndarray, np.ndarray], bool],
    bound: int,
) -> int:
    """The least halo, a multiple of 64, with which each of the middles agrees with what the bound gives.

    Args:
        middles: for each picture and level, halo -> what the middle of the picture gets with it.
        agree: whether two of those do.
        bound: pixels.
    """
    halo = HYPER_PATCH
    for middle in middles:
        whole = middle(bound)
        while halo < bound and not agree(middle(halo), whole):
            halo += HYPER_PATCH
    return halo


def _middle_symbols(runtime: Runtime, picture: np.ndarray, level: int, halo: int) -> np.ndarray:
    """z and r, flat, of the middle of a picture, encoded with so much around it."""
    around = _cut(len(picture), halo, 1)
    z, r = runtime.encode(picture[around, around].astype(np.float32), level)
    coarse, fine = (slice(halo // grid, (halo + HALO_CORE) // grid) for grid in (HYPER_PATCH, PATCH))
    return np.concatenate([z[coarse, coarse].ravel(), r[fine, fine].ravel()])


def _agree(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.mean(first != second) <= SYMBOL_TOLERANCE)
