"""How far a trained model looks beyond a window: less than its layers could, which saves time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np

from aecodec.networks.architecture import HYPER_PATCH, PATCH
from aecodec.residuals import ResidualCoder
from aecodec.runtime import Runtime
from aecodec.training.data import PictureSet, draw_crops, take_crops
from aecodec.training.fitting import CROP

HALO_SCENES = 4
"""Mosaics of crops that is measured on."""
HALO_CORE = 256
"""Pixels along the sides of their middles, whose pixels are compared."""
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


def decoder_halo(
    coder: ResidualCoder, runtime: Runtime, pictures: Sequence[np.ndarray], bound: int, levels: Sequence[int]
) -> int:
    """How far the decoder looks in fact: the least halo with which the middles of pictures get the pixels
    that they get in whole pictures, but for `PIXEL_TOLERANCE` and `PEAK_TOLERANCE`.

    Trained networks look less far than their layers could.

    Args:
        coder: of the model, on the runtime.
        runtime: encodes and decodes.
        pictures: of `scenes`, made for ``bound``.
        bound: pixels, a multiple of 64 above 0, that no layer looks beyond.
        levels: to encode at.

    Returns:
        Pixels, a multiple of 64, up to ``bound``.
    """

    def middles() -> Iterator[Callable[[int], np.ndarray]]:
        for picture, level in product(pictures, levels):
            latents = runtime.analyse(picture.astype(np.float32), level)
            z, r = coder.quantise(latents, level, dependent=False)
            yield partial(_middle_pixels, coder, runtime, z, r, level)

    return _least_halo(middles(), bound)


def _middle_pixels(
    coder: ResidualCoder, runtime: Runtime, z: np.ndarray, r: np.ndarray, level: int, halo: int
) -> np.ndarray:
    """Pixels of the middle of a picture, decoded from the symbols of so much around it."""
    coarse, fine = (_cut(len(plane) * grid, halo, grid) for plane, grid in ((z, HYPER_PATCH), (r, PATCH)))
    pixels = runtime.synthesise(coder.reconstruct(z[coarse, coarse], r[fine, fine], level), level)
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


def _least_halo(middles: Iterable[Callable[[int], np.ndarray]], bound: int) -> int:
    """The least halo, a multiple of 64, with which each of the middles is close to what the bound gives.

    Args:
        middles: for each picture and level, halo -> what the middle of the picture gets with it.
        bound: pixels.
    """
    halo = HYPER_PATCH
    for middle in middles:
        whole = middle(bound)
        while halo < bound and not _close(middle(halo), whole):
            halo += HYPER_PATCH
    return halo
