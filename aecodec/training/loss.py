"""The rate-distortion loss, one lambda per sample, all qualities at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from aecodec.networks.autoencoder import TrainingPass
from aecodec.networks.layers import Tensor


@dataclass(frozen=True)
class RateDistortion:
    """Per sample, (batch,): bits per pixel, mean squared error (0..255 scale), and the weighted loss."""

    bits_per_pixel: Tensor
    mean_squared_error: Tensor
    loss: Tensor


def rate_distortion(result: TrainingPass, pixels: Tensor, lambdas: Tensor) -> RateDistortion:
    """bits per pixel + lambda * mean squared error, over sqrt(lambda).

    The division balances the qualities: without it the high rates alone would drive training.
    """
    area = float(pixels.shape[1] * pixels.shape[2])
    rate = (result.residual_bits + result.hyper_bits) / area
    distortion = ops.mean(ops.square(result.pixels - pixels), axis=(1, 2, 3))
    return RateDistortion(rate, distortion, (rate + lambdas * distortion) / ops.sqrt(lambdas))


def psnr(mean_squared_error: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of 8-bit pictures."""
    return np.asarray(10.0 * np.log10(255.0**2 / np.maximum(mean_squared_error, 1e-10)))
