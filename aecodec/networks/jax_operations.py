"""Operations that JAX's compiler makes too slow or too coarse on a GPU, with gradients written out.

Gradients of weights are sums over all positions of a batch, half a million and more: they are taken in
float32 even where the positions are bfloat16.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def affine(rows: Array, kernel: Array, bias: Array) -> Array:
    """(count, channels in), (channels in, channels out), (channels out,) -> (count, channels out)."""
    return _biased(product(rows, kernel), bias)


def product(rows: Array, kernel: Array) -> Array:
    """(count, channels in), (channels in, channels out) -> (count, channels out), all of one dtype."""
    return _product(rows, kernel)


def _matrix_product(rows: Array, kernel: Array) -> Array:
    return rows @ kernel


def _product_forward(rows: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _matrix_product(rows, kernel), (rows, kernel)


def _product_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    rows, kernel = kept
    of_kernel = jax.lax.dot_general(
        rows, gradient, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    return gradient @ kernel.T, of_kernel.astype(kernel.dtype)


_product = jax.custom_vjp(_matrix_product)
_product.defvjp(_product_forward, _product_backward)


def _sum(rows: Array, bias: Array) -> Array:
    return rows + bias


def _biased_forward(rows: Array, bias: Array) -> tuple[Array, Array]:
    return _sum(rows, bias), bias


def _biased_backward(bias: Array, gradient: Array) -> tuple[Array, Array]:
    return gradient, jnp.sum(gradient, axis=0, dtype=jnp.float32).astype(bias.dtype)


_biased = jax.custom_vjp(_sum)
_biased.defvjp(_biased_forward, _biased_backward)


def depthwise_3x3(tensor: Array, kernel: Array) -> Array:
    """A depthwise convolution, zero padding, as nine shifted products, which the compiler fuses.

    The libraries' own are slow on GPUs, most of all their gradients, and may round to TensorFloat-32.

    Args:
        tensor: (batch, height, width, channels).
        kernel: (3, 3, channels, 1), of the same dtype.
    """
    return _depthwise(tensor, kernel)


def _shifted_products(tensor: Array, kernel: Array) -> Array:
    return sum(shifted * kernel[row, column, :, 0] for row, column, shifted in _shifts(tensor))


def _shifts(tensor: Array) -> list[tuple[int, int, Array]]:
    """(row of the kernel, its column, what it meets at each position), for all nine."""
    height, width = tensor.shape[1:3]
    padded = jnp.pad(tensor, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [
        (row, column, padded[:, row : row + height, column : column + width])
        for row in range(3)
        for column in range(3)
    ]


def _depthwise_forward(tensor: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _shifted_products(tensor, kernel), (tensor, kernel)


def _depthwise_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    tensor, kernel = kept
    wide = gradient.astype(jnp.float32)
    of_kernel = [
        jnp.sum(shifted.astype(jnp.float32) * wide, axis=(0, 1, 2)) for _, _, shifted in _shifts(tensor)
    ]
    return (
        _shifted_products(gradient, kernel[::-1, ::-1]),
        jnp.stack(of_kernel).reshape(kernel.shape).astype(kernel.dtype),
    )


_depthwise = jax.custom_vjp(_shifted_products)
_depthwise.defvjp(_depthwise_forward, _depthwise_backward)
