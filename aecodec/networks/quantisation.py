"""Rate-distortion-optimised rounding of residuals, and the rate that training sees."""

from __future__ import annotations

import numpy as np
from keras import ops

from aecodec.networks.architecture import TABLE_COUNT
from aecodec.networks.layers import Tensor
from aecodec.networks.scales import SCALE_MAX, SCALE_MIN, logistic_bits

BITS_PER_SQUARED_STEP = 16.0 / 3.0
"""What one squared quantisation step of error costs, in bits, when the step is 4/sqrt(lambda) grey levels and
the transform orthonormal: lambda * step**2 / 3."""
OFFSET_LIMIT = 0.4
"""No magnitude is rounded down further than from 0.9 above."""


def rounding_offsets() -> np.ndarray:
    """(2, tables) float32: by how much the rounding threshold moves up, for magnitude 1 and for larger ones.

    Rounding to k instead of k - 1 pays when it saves more distortion than it costs bits (rate-distortion
    optimised quantisation without a trellis; for Laplacians it gives the dead zone of Sullivan, "Efficient
    scalar quantization of exponential and Laplacian random variables", 1996).
    """
    scales = SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (np.arange(TABLE_COUNT) / (TABLE_COUNT - 1))

    def bits(magnitude: float) -> np.ndarray:
        upper, lower = (0.5 - magnitude) / scales, (-0.5 - magnitude) / scales
        nats = np.logaddexp(0, -upper) + np.logaddexp(0, lower) - np.log(-np.expm1(-1 / scales))
        return np.asarray(nats / np.log(2))

    steps = np.stack([bits(1) - bits(0), bits(3) - bits(2)])
    return (steps / (2 * BITS_PER_SQUARED_STEP)).astype(np.float32)


def rate_distortion_round(scaled: Tensor, indices: Tensor, strength: Tensor) -> Tensor:
    """Residuals in quantisation steps -> integers in float32; no gradient.

    Args:
        scaled: (batch, height, width, channels).
        indices: table indices of the same shape.
        strength: broadcastable; 0 rounds to the nearest, 1 follows the full cost in bits. Between lies the
            best: a residual rounded away also makes the later steps' predictions worse.
    """
    magnitude = ops.abs(scaled)
    first, further = rounding_offsets()
    # Indices are 0..63 unless the pass has overflowed: then its gradient is refused, but no gather may fail.
    table = ops.clip(ops.cast(indices, "int32"), 0, TABLE_COUNT - 1)
    larger = magnitude >= 1.5
    offset = ops.where(larger, ops.take(further, table), ops.take(first, table))
    offset = ops.minimum(strength * offset, OFFSET_LIMIT)
    rounded = ops.maximum(ops.floor(magnitude + 0.5 - offset), 0.0)
    return ops.stop_gradient(ops.sign(scaled) * rounded)


def rate_in_bits(soft: Tensor, rounded: Tensor, indices: Tensor, noise: Tensor | None) -> Tensor:
    """Bits of rounded symbols, with gradients that training can use.

    The value, and the gradient of the table indices, are those of the rounded symbols: what a file holds. The
    gradient of the symbols is that of the usual surrogate, uniform noise in place of rounding (Balle et al.,
    "End-to-end optimized image compression", ICLR 2017). With noise alone, symbols that are nearly always
    zero look expensive: measured at the lowest level, 0.39 instead of 0.21 bits per pixel.

    Args:
        soft: symbols before rounding.
        rounded: the same rounded.
        indices: table indices.
        noise: uniform in -0.5..0.5; None for the value alone.
    """
    bits = logistic_bits(ops.stop_gradient(rounded), indices)
    if noise is None:
        return bits
    surrogate = logistic_bits(soft + noise, ops.stop_gradient(indices))
    return bits + (surrogate - ops.stop_gradient(surrogate))
