"""What a partial file shows where residuals are missing: an estimate from those that are there.

Each step of the residuals but the first two holds a quarter of the channels at every position, so that a
channel whose first step is there is known at one position out of four. Where neighbours of a channel resemble
one another, zeros between them would show as a grid; means of the neighbours do not. How much they resemble
one another is measured in the residuals that are there: what the model's prediction has made white is left at
zero.
Measured on a Kodak image with an early model: 16.6 dB became 22.8 dB at half of the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.scales import GROUP_COUNT, STEP_COUNT, put_step, take_step

__all__ = ["estimate_missing"]

_LEAST_CORRELATION = 0.05  # what is below may be chance


def estimate_missing(r: NDArray[np.int16], steps: int) -> NDArray[np.int16]:
    """Residuals (rows, columns, latent channels) of a chunk of which the first ``steps`` steps are there.

    Those that are there stay what they are. With none or all there, nothing changes.
    """
    if steps in (0, STEP_COUNT):
        return r
    known = _known(r.shape[:2], steps)
    estimated = r.copy()
    size = r.shape[2] // GROUP_COUNT
    for group in range(GROUP_COUNT):
        part = estimated[:, :, group * size : (group + 1) * size]
        missing = ~known[:, :, group]
        part[missing] = _estimate(part.astype(np.float32), known[:, :, group])[missing]
    return estimated


def _known(shape: tuple[int, ...], steps: int) -> NDArray[np.bool_]:
    """Which groups of channels (rows, columns, groups) the first steps hold."""
    known = np.zeros((*shape, GROUP_COUNT), np.bool_)
    for step in range(steps):
        put_step(known, step, np.ones_like(take_step(known, step)))
    return known


def _estimate(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Weighted means of the known neighbours in squares of 3 x 3, drawn towards 0 where they tell little.

    The weight is the root of the correlation between known values two positions apart, which is about the
    correlation between neighbours.
    """
    energy = np.square(values).sum(axis=(0, 1))
    below = (values[2:] * values[:-2]).sum(axis=(0, 1))
    beside = (values[:, 2:] * values[:, :-2]).sum(axis=(0, 1))
    correlation = (below + beside) / np.maximum(2 * energy, 1)
    weight = np.sqrt(np.where(correlation > _LEAST_CORRELATION, np.minimum(correlation, 1), 0))
    weights = np.maximum(_smooth(known[:, :, np.newaxis].astype(np.float32)), 1)
    estimate: NDArray[np.int16] = np.rint(_smooth(values) / weights * weight).astype(np.int16)
    return estimate


def _smooth(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 3 x 3 squares with the weights 1, 2, 1 in both directions; there are zeros around."""
    padded = np.pad(plane, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth: NDArray[np.float32] = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    return smooth
