"""What must hold before a model is written: its twin is exact, and its runtimes agree."""

from __future__ import annotations

import keras
import numpy as np

from aecodec.entropy import FINE_UNIT, RESIDUAL_UNIT, IntegerScaleNetwork, put_step, take_step
from aecodec.errors import ModelError
from aecodec.models import Model
from aecodec.networks.architecture import STEPS
from aecodec.networks.autoencoder import Autoencoder
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime

PEAK_TOLERANCE = 1.0
"""Levels of 255 by which one pixel of two runtimes may differ."""
RMS_TOLERANCE = 0.02
"""The same as the root of the mean square over all pixels."""


def check_twin(model: Autoencoder, network: IntegerScaleNetwork, seed: int = 0, side: int = 8) -> None:
    """Compare twin and integer network on random symbols, at every level node and at levels between.

    Args:
        model: whose ``scale_network`` is the twin.
        network: made of its exported arrays.
        seed: of the symbols and the levels.
        side: hyper-latents along each side.

    Raises:
        ModelError: a feature or a table index differs.
    """
    a, generator = model.architecture, np.random.default_rng(seed)
    for level in sorted({*range(0, a.level_count, a.sublevels), *generator.integers(0, a.level_count, 8)}):
        z = generator.laplace(0, 6, (side, side, a.hyper_channels)).round().astype(np.int16)
        numbers = generator.laplace(0, 3, (4 * side, 4 * side, a.latent_channels)).round()
        units = generator.choice([RESIDUAL_UNIT, FINE_UNIT], numbers.shape)
        r = (units * numbers).astype(np.int16)
        _check_twin_at(model, network, z, r, int(level))


def _check_twin_at(
    model: Autoencoder, network: IntegerScaleNetwork, z: np.ndarray, r: np.ndarray, level: int
) -> None:
    """``r``: in eighths of a step, as the integer network has it; its twin sees steps."""
    twin, weights = model.scale_network, model.level_weights(np.array([level]))
    features = network.features(z, level)
    twin_features = twin.features(z[None].astype(np.float32), weights)
    _require_equal(_numpy(twin_features), features, f"features at level {level}")
    known = np.zeros_like(r)
    for step in range(STEPS):
        seen = known[None].astype(np.float32) / RESIDUAL_UNIT if step else None
        indices = _numpy(twin.step_indices(step, twin_features, seen, weights))
        exact = network.step_indices(step, features, known, level)
        _require_equal(take_step(indices, step), exact, f"table indices of step {step} at level {level}")
        put_step(known, step, take_step(r, step))


def check_runtimes(model: Model, reference: Autoencoder, pixels: np.ndarray) -> None:
    """Compare the pixels that ONNX Runtime and the Keras model decode from the same symbols, at three levels.

    Args:
        model: written, of the same weights.
        reference: the Keras model.
        pixels: (height, width, 3), 0..255, sides multiples of 64: encoded by ONNX Runtime.

    Raises:
        ModelError: they differ by more than `PEAK_TOLERANCE` or `RMS_TOLERANCE`.
    """
    runtime, last = open_runtime("onnx", model), model.level_count - 1
    coder = ResidualCoder(model, runtime)
    for level in (0, last // 2, last):
        z, r = coder.quantise(runtime.analyse(pixels.astype(np.float32), level), level)
        decoded = runtime.synthesise(coder.reconstruct(z, r, level), level)
        steps = r[None].astype(np.float32) / RESIDUAL_UNIT
        weights = reference.level_weights(np.array([level]))
        difference = decoded - _numpy(reference.decode(z[None].astype(np.float32), steps, weights))
        peak, rms = float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2)))
        if peak > PEAK_TOLERANCE or rms > RMS_TOLERANCE:
            raise ModelError(
                f"expected {runtime.name} and keras to agree within {PEAK_TOLERANCE} level (rms "
                f"{RMS_TOLERANCE}), found {peak:.3f} (rms {rms:.4f}) at level {level}"
            )


def _numpy(tensor: object) -> np.ndarray:
    """The first (and only) sample of a batch."""
    return np.asarray(keras.ops.convert_to_numpy(tensor)[0])


def _require_equal(twin: np.ndarray, exact: np.ndarray, where: str) -> None:
    differing = np.rint(twin).astype(np.int64) != exact.astype(np.int64)
    if differing.any():
        raise ModelError(
            f"expected the float twin to equal the integer network, found {np.mean(differing):.2%} of "
            f"{where} to differ"
        )
