"""What training asks of the device, and what the device could do: floating-point operations a second."""

from __future__ import annotations

import time

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import Architecture
from aecodec.networks.compilation import compiled
from aecodec.training.graphs import model_graphs

PRODUCT_SIDES = {"cpu": 1024, "gpu": 8192}
"""Of the square matrices whose product is timed: large enough to fill the device, and over in a moment."""
REPEATS = 5
PASSES = 3
"""Forward, and backward to inputs and to weights."""


def operations_per_pixel(architecture: Architecture) -> float:
    """Floating-point operations that one training step needs for each pixel, two for each multiplication.

    The scale network, a twentieth of it, is left out.
    """
    thousands = sum(graph.kmac_per_pixel for graph in model_graphs(architecture).values())
    return 2e3 * PASSES * thousands


def device_limit() -> float:
    """Floating-point operations a second of large bfloat16 matrix products, the best of a few, measured."""
    side = PRODUCT_SIDES[_kind()]
    numbers = np.random.default_rng(0).standard_normal((side, side), np.float32)
    matrix = ops.cast(ops.convert_to_tensor(numbers), "bfloat16")
    # One number is fetched, which waits for the device; of the product so that all of it is computed.
    product = compiled(keras.Model(), lambda matrix: ops.max(ops.matmul(matrix, matrix)))
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        float(product(matrix))
        seconds.append(time.perf_counter() - began)
    return float(2 * side**3 / min(seconds[1:]))


def _kind() -> str:
    """``gpu`` or ``cpu``, what Keras' backend computes on."""
    if keras.backend.backend() == "jax":
        import jax

        return "cpu" if jax.default_backend() == "cpu" else "gpu"
    import tensorflow as tf

    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
