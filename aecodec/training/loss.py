"""The rate-distortion loss, one lambda per sample, all qualities at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from aecodec.networks.architecture import PATCH, Architecture
from aecodec.networks.autoencoder import TrainingPass
from aecodec.networks.layers import Tensor

BORDER_EMPHASIS = 0.084
"""How much more an error weighs, where lambda is 1, in the two rows or columns beside a border of the 16x16
grid of latents: it would be larger there than elsewhere, and be seen as a grid."""
BORDER_EMPHASIS_EXPONENT = -1 / 6
"""Of lambda: the lower the rate, the clearer would be the grid. From 0.30 to 0.10 over the rate scale."""


OUTLIER = 5.0
"""A sample's loss counts fully up to so many times the median of its batch, and by its logarithm beyond."""


@dataclass(frozen=True)
class RateDistortion:
    """What each sample costs, (batch,) each.

    Attributes:
        bits_per_pixel: hyper-latents and residuals.
        mean_squared_error: on the 0..255 scale.
        loss: the two, weighted, with errors beside borders emphasised.
    """

    bits_per_pixel: Tensor
    mean_squared_error: Tensor
    loss: Tensor


def rate_distortion(result: TrainingPass, pixels: Tensor, lambdas: Tensor) -> RateDistortion:
    """bits per pixel + lambda * weighted mean squared error, over sqrt(lambda).

    The division balances the qualities: without it the high rates alone would drive training.

    Args:
        result: of a pass over ``pixels``.
        pixels: (batch, height, width, 3) float32, 0..255.
        lambdas: (batch,) float32, above 0.
    """
    area = float(pixels.shape[1] * pixels.shape[2])
    rate = (result.residual_bits + result.hyper_bits) / area
    squared = ops.mean(ops.square(result.pixels - pixels), axis=3)
    distortion = ops.mean(squared, axis=(1, 2))
    beside = borders(pixels.shape[1], pixels.shape[2])
    emphasis = BORDER_EMPHASIS * lambdas**BORDER_EMPHASIS_EXPONENT
    weighted = distortion + emphasis * ops.mean(squared * beside, axis=(1, 2))
    weighted = weighted / (1 + emphasis * float(beside.mean()))
    loss = (rate + lambdas * weighted) / ops.sqrt(lambdas)
    return RateDistortion(rate, distortion, loss)


def robust_mean(losses: Tensor) -> Tensor:
    """The mean over samples, (batch,) -> (), in which what lies far above the median counts by its logarithm.

    Of one or two samples none is far above their median.

    One picture in some ten thousand can drive the networks out of their range, with a loss of a million: its
    gradient would be all that a step follows, and the optimiser's moments remember it for hundreds of steps.
    Beyond the limit the gradient is that of limit * log(loss): it leads back, at the pace of the others.
    """
    limit = _outlier_limit(losses)
    beyond = limit * (1.0 + ops.log(ops.maximum(losses, limit) / limit))
    return ops.mean(ops.where(losses > limit, beyond, losses))


def count_outliers(losses: np.ndarray) -> int:
    """How many samples `robust_mean` compresses, (steps, batch) -> a number."""
    return int(np.sum(ops.convert_to_numpy(losses > _outlier_limit(losses))))


def _outlier_limit(losses: Tensor) -> Tensor:
    """(..., batch) -> (..., 1); no gradient."""
    return OUTLIER * ops.median(ops.stop_gradient(losses), axis=-1, keepdims=True)


@lru_cache
def borders(height: int, width: int) -> np.ndarray:
    """(height, width) float32: beside how many borders of the grid a pixel lies, 0, 1 or (in corners) 2."""
    rows, columns = (np.isin(np.arange(side) % PATCH, (0, PATCH - 1)) for side in (height, width))
    return np.add.outer(rows.astype(np.float32), columns.astype(np.float32))


def lambdas_of(architecture: Architecture, levels: np.ndarray) -> np.ndarray:
    """The lambdas of levels, (batch,) -> (batch,) float32."""
    return np.array([architecture.lambda_of_level(float(level)) for level in levels], np.float32)


def psnr(mean_squared_error: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of 8-bit pictures, from mean squared errors of any shape."""
    return np.asarray(10.0 * np.log10(255.0**2 / np.maximum(mean_squared_error, 1e-10)))
