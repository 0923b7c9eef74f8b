"""The same weights on TensorFlow and on JAX."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.models import Model
from aecodec.runtime.keras import build_autoencoder
from tests.conftest import COMPARED_LEVELS
from tests.networks.helpers import numpy


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_both_backends_give_the_same_latents_hyper_latents_and_pixels(
    level: int, tiny_model: Model, compared: dict[str, np.ndarray], on_jax: dict[str, np.ndarray]
) -> None:
    model = build_autoencoder(tiny_model)
    picture, weights = compared["pixels"][None], model.level_weights(np.array([level]))
    latents = numpy(model.analysis(picture, weights))[0]
    np.testing.assert_allclose(on_jax[f"latents {level}"], latents, atol=1e-4)
    difference = np.abs(on_jax[f"z {level}"] - numpy(model.hyper_latents(latents[None], weights))[0])
    assert difference.max() <= 1
    assert np.mean(difference != 0) < 1e-3
    z, r = (compared[f"{kind} {level}"][None].astype(np.float32) for kind in "zr")
    decoded = numpy(model.decode(z, r / 8, weights))[0]
    assert np.abs(on_jax[f"decoded {level}"] - decoded).max() < 1e-2


def test_a_block_has_the_same_gradients_by_kernels_and_by_operations(on_jax: dict[str, np.ndarray]) -> None:
    """Up to the rounding of half precision, which the operations do more often."""
    differences = on_jax["block's gradients differ"]
    assert len(differences) == 8
    assert differences.max() < 0.04


def test_kernels_serve_on_a_gpu_in_half_precision_alone(on_jax: dict[str, np.ndarray]) -> None:
    assert on_jax["kernels serve"].tolist() == [False, False, True, False]
