"""Operations written out for JAX, against its own and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the operations are JAX's")

import jax

from aecodec.networks import jax_operations


def gradients(function: Callable[..., Any], *arguments: np.ndarray) -> list[np.ndarray]:
    """Of a weighted sum of what the function gives, with regard to each argument."""

    def total(*arguments: Any) -> Any:
        result = function(*arguments)
        return jax.numpy.sum(result * jax.numpy.cos(jax.numpy.arange(result.size)).reshape(result.shape))

    numbers = tuple(range(len(arguments)))
    return [np.asarray(gradient) for gradient in jax.grad(total, numbers)(*arguments)]


def library_depthwise(tensor: Any, kernel: Any) -> Any:
    return jax.lax.conv_general_dilated(
        tensor,
        kernel.transpose(0, 1, 3, 2),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=tensor.shape[-1],
        precision="highest",
    )


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_the_depthwise_convolution_and_its_gradients_are_those_of_the_library() -> None:
    tensor, kernel = random(2, 5, 7, 6), random(3, 3, 6, 1)
    expected = library_depthwise(tensor, kernel)
    np.testing.assert_allclose(jax_operations.depthwise_3x3(tensor, kernel), expected, atol=1e-5)
    found = gradients(jax_operations.depthwise_3x3, tensor, kernel)
    for one, other in zip(found, gradients(library_depthwise, tensor, kernel), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_affine_map_and_its_gradients_are_those_of_the_library() -> None:
    arguments = random(30, 5), random(5, 4), random(4)
    np.testing.assert_allclose(
        jax_operations.affine(*arguments), arguments[0] @ arguments[1] + arguments[2], atol=1e-5
    )
    found = gradients(jax_operations.affine, *arguments)
    plain = gradients(lambda rows, kernel, bias: rows @ kernel + bias, *arguments)
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_gradients_of_weights_are_summed_in_float32() -> None:
    """In bfloat16 a sum of ones stops growing at 256."""
    rows, weights = 4096, jax.numpy.ones
    half = jax.numpy.bfloat16
    total = jax.grad(
        lambda bias: jax_operations.affine(weights((rows, 1), half), weights((1, 1), half), bias).sum()
    )
    assert float(total(weights(1, half))[0]) == rows
    plane = weights((1, 64, 64, 1), half)
    of_kernel = jax.grad(lambda kernel: jax_operations.depthwise_3x3(plane, kernel).sum())
    assert float(of_kernel(weights((3, 3, 1, 1), half))[1, 1, 0, 0]) == rows
