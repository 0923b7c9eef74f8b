"""The rate-distortion loss, one lambda per sample, all qualities at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from aecodec.networks.architecture import Architecture
from aecodec.networks.autoencoder import TrainingPass
from aecodec.networks.layers import Tensor


@dataclass(frozen=True)
class RateDistortion:
    """What each sample costs, (batch,) each.

    Attributes:
        bits_per_pixel: hyper-latents and residuals.
        mean_squared_error: on the 0..255 scale.
        loss: the two, weighted.
    """

    bits_per_pixel: Tensor
    mean_squared_error: Tensor
    loss: Tensor


def rate_distortion(result: TrainingPass, pixels: Tensor, lambdas: Tensor) -> RateDistortion:
    """bits per pixel + lambda * mean squared error, over sqrt(lambda).

    The division balances the qualities: without it the high rates alone would drive training.

    Args:
        result: of a pass over ``pixels``.
        pixels: (batch, height, width, 3) float32, 0..255.
        lambdas: (batch,) float32, above 0.
    """
    area = float(pixels.shape[1] * pixels.shape[2])
    rate = (result.residual_bits + result.hyper_bits) / area
    distortion = ops.mean(ops.square(result.pixels - pixels), axis=(1, 2, 3))
    return RateDistortion(rate, distortion, (rate + lambdas * distortion) / ops.sqrt(lambdas))


def lambdas_of(architecture: Architecture, levels: np.ndarray) -> np.ndarray:
    """The lambdas of levels, (batch,) -> (batch,) float32."""
    return np.array([architecture.lambda_of_level(float(level)) for level in levels], np.float32)


def psnr(mean_squared_error: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of 8-bit pictures, from mean squared errors of any shape."""
    return np.asarray(10.0 * np.log10(255.0**2 / np.maximum(mean_squared_error, 1e-10)))
