"""The kernels of a gated block, interpreted on the CPU, against the same written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the kernels are written in JAX")

import jax

from aecodec.networks import jax_kernels
from aecodec.networks.jax_operations import depthwise_3x3

SHAPES = [(2, 5, 7, 6), (2, 12, 12, 64), (1, 8, 24, 96)]
"""(batch, height, width, channels): below, at and beyond what a kernel computes at a time."""


def written_out(x: Any, offset: Any, kernel: Any, bias: Any, scale: Any) -> Any:
    linear, gate = jax.numpy.split(depthwise_3x3(x + offset, kernel) + bias, 2, axis=-1)
    return linear * jax.nn.sigmoid(gate) * scale[:, None, None]


def arguments(batch: int, height: int, width: int, channels: int) -> list[np.ndarray]:
    generator = np.random.default_rng(channels)
    double = 2 * channels
    shapes = [(batch, height, width, double), (double,), (3, 3, double, 1), (double,), (batch, channels)]
    return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernels_and_their_gradients_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    given = arguments(*shape)
    incoming = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected, gradients_of = jax.vjp(written_out, *given)
    found, found_gradients_of = jax.vjp(jax_kernels.gated_depthwise, *given)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for one, other in zip(found_gradients_of(incoming), gradients_of(incoming), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_the_kernels_keep_the_dtype_of_what_they_are_given() -> None:
    given = [jax.numpy.asarray(values, "bfloat16") for values in arguments(1, 4, 4, 8)]
    result, gradients_of = jax.vjp(jax_kernels.gated_depthwise, *given)
    exact, exact_gradients_of = jax.vjp(written_out, *(values.astype("float32") for values in given))
    assert result.dtype == "bfloat16"
    np.testing.assert_allclose(result.astype("float32"), exact, rtol=0.01, atol=0.01)
    expected = exact_gradients_of(result.astype("float32"))
    for gradient, wanted in zip(gradients_of(result), expected, strict=True):
        assert gradient.dtype == "bfloat16"
        difference = np.linalg.norm(gradient.astype("float32") - wanted)
        assert difference < 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("channels", [256, 320, 448])
def test_a_gpu_gets_three_kernels_for_a_block_and_its_gradients(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lower to Triton's language; nothing here compiles it."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def total(*given: Any) -> Any:
        return jax.numpy.sum(jax_kernels.gated_depthwise(*given).astype("float32"))

    given = [jax.ShapeDtypeStruct(values.shape, "bfloat16") for values in arguments(2, 24, 24, channels)]
    lowered = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2, 3, 4))).trace(*given)
    text = lowered.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call @__gpu$xla.gpu.triton") == 3
