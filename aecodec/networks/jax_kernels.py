"""The middle of a gated block as three kernels for GPUs, written in Pallas for Triton.

    gated(x) = scale * linear * sigmoid(gate),  (linear, gate) = halves of depthwise_3x3(x + offset) + bias

Written out in JAX, the nine sums of the depthwise kernel's gradient alone read both operands nine times; here
forward and backward pass seven times over device memory. One training step of the `base` preset, 16 crops of
384x384 on an H200, one process after the other: 19.5 ms without, 14.3 ms with them, of which they take 4.6.
Values are read and written in the dtype of ``x``; everything between is float32.

JAX 0.11 calls Pallas' Triton backend deprecated; without it `layers.GatedBlock` computes by operations.
Pallas: https://docs.jax.dev/en/latest/pallas/
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

Array = Any

TILE = 16
"""Positions that a kernel computes at a time."""
CHANNELS = 64
"""Channels that a kernel computes at a time: 128 bytes of bfloat16, a line of the cache."""
ROWS = 128
"""Positions whose sums a kernel keeps in registers."""
WARPS = 4
"""Groups of 32 threads that compute a tile: eight values of each channel block a thread."""
TAPS = 9
SUMS = TAPS + 2
"""Sums over positions that the last kernel takes: gradients of the taps, of the bias and of the offset."""


def gated_depthwise(x: Array, offset: Array, kernel: Array, bias: Array, scale: Array) -> Array:
    """Depthwise 3x3 convolution with zero padding, bias, gate, scale.

    Args:
        x: (batch, height, width, 2 * channels), bfloat16 or float32, as all arguments: what becomes linear,
            then what becomes the gate.
        offset: (2 * channels,), added to ``x``, but not to the padding: the bias of the layer before.
        kernel: (3, 3, 2 * channels, 1).
        bias: (2 * channels,).
        scale: (batch, channels).

    Returns:
        (batch, height, width, channels), of the dtype of ``x``.
    """
    return _gated(x, offset, kernel, bias, scale)


def _gated_map(x: Array, offset: Array, kernel: Array, bias: Array, scale: Array) -> Array:
    batch, height, width, double = x.shape
    channels, positions = double // 2, height * width
    call = _call(
        functools.partial(_forward_kernel, sides=(height, width)),
        (batch, pl.cdiv(positions, TILE), pl.cdiv(channels, CHANNELS)),
        jax.ShapeDtypeStruct((batch * positions, channels), x.dtype),
    )
    gated = call(x.reshape(-1, double), offset, kernel.reshape(TAPS, double), bias, scale)
    return gated.reshape(batch, height, width, channels)


def _gated_forward(
    x: Array, offset: Array, kernel: Array, bias: Array, scale: Array
) -> tuple[Array, tuple[Array, ...]]:
    return _gated_map(x, offset, kernel, bias, scale), (x, offset, kernel, bias, scale)


def _gated_backward(kept: tuple[Array, ...], gradient: Array) -> tuple[Array, ...]:
    x, offset, kernel, bias, scale = kept
    batch, height, width, double = x.shape
    channels, positions = double // 2, height * width
    rows, taps = x.reshape(-1, double), kernel.reshape(TAPS, double)
    tiles, parts = pl.cdiv(positions, TILE), pl.cdiv(positions, ROWS)
    like_rows = jax.ShapeDtypeStruct(rows.shape, x.dtype)
    of_mixed, of_scale = _call(
        functools.partial(_gate_backward_kernel, sides=(height, width)),
        (batch, tiles, pl.cdiv(channels, CHANNELS)),
        (like_rows, jax.ShapeDtypeStruct((batch * tiles, channels), jnp.float32)),
    )(rows, offset, taps, bias, scale, gradient.reshape(-1, channels))
    of_x, sums = _call(
        functools.partial(_depthwise_backward_kernel, sides=(height, width)),
        (batch, parts, pl.cdiv(double, CHANNELS)),
        (like_rows, jax.ShapeDtypeStruct((batch * parts * SUMS, double), jnp.float32)),
    )(rows, offset, taps, of_mixed)
    totals = jnp.sum(sums.reshape(batch * parts, SUMS, double), axis=0)
    return (
        of_x.reshape(x.shape),
        totals[TAPS + 1].astype(offset.dtype),
        totals[:TAPS].reshape(kernel.shape).astype(kernel.dtype),
        totals[TAPS].astype(bias.dtype),
        jnp.sum(of_scale.reshape(batch, tiles, channels), axis=1).astype(scale.dtype),
    )


_gated = jax.custom_vjp(_gated_map)
_gated.defvjp(_gated_forward, _gated_backward)


def _call(kernel: Callable[..., None], grid: tuple[int, ...], shape: Any) -> Callable[..., Any]:
    """A kernel over a grid of (picture, tile or part of its positions, block of channels).

    On a CPU it is interpreted, for tests.
    """
    call: Callable[..., Any] = pl.pallas_call(
        kernel,
        out_shape=shape,
        grid=grid,
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=jax.default_backend() == "cpu",
    )
    return call


@dataclass(frozen=True)
class _Positions:
    """A tile of positions of one picture, in raster order.

    Attributes:
        sides: height and width of the picture.
        first: index of the picture's first position among those of the batch.
        place: (TILE,), within the picture; the last tile goes beyond its end.
    """

    sides: tuple[int, int]
    first: Array
    place: Array

    @property
    def rows(self) -> Array:
        """(TILE, 1), among those of the batch."""
        return (self.first + self.place)[:, None]

    @property
    def there(self) -> Array:
        """(TILE, 1): which of them the picture has."""
        return (self.place < self.sides[0] * self.sides[1])[:, None]

    def neighbours(self, down: int, right: int) -> tuple[Array, Array]:
        """Rows so many positions away, (TILE, 1), and which of them are in the picture."""
        height, width = self.sides
        row, column = self.place // width + down, self.place % width + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return self.rows + (down * width + right), inside[:, None] & self.there


@dataclass(frozen=True)
class _Columns:
    """A block of channels.

    Attributes:
        index: (CHANNELS,).
        there: (CHANNELS,): which of them there are.
    """

    index: Array
    there: Array

    def after(self, channels: int) -> _Columns:
        """The block so many channels further on: of the gate, beside one of the linear half."""
        return _Columns(self.index + channels, self.there)


def _positions(picture: Array, start: Array, sides: tuple[int, int]) -> _Positions:
    return _Positions(sides, picture * (sides[0] * sides[1]), start + jnp.arange(TILE))


def _columns(block: Array, channels: int) -> _Columns:
    index = block * CHANNELS + jnp.arange(CHANNELS)
    return _Columns(index, index < channels)


def _vector(source: Any, row: Any, columns: _Columns) -> Array:
    """(1, CHANNELS) float32 out of a matrix, or out of a vector where ``row`` is None."""
    place = source.at[columns.index] if row is None else source.at[row, columns.index]
    return triton.load(place, mask=columns.there, other=0.0).astype(jnp.float32)[None, :]


def _matrix(source: Any, rows: Array, there: Array, columns: _Columns) -> Array:
    """(TILE, CHANNELS) float32, zero where there is nothing."""
    place = source.at[rows, columns.index[None, :]]
    return triton.load(place, mask=there & columns.there[None, :], other=0.0).astype(jnp.float32)


def _store(target: Any, positions: _Positions, columns: _Columns, values: Array) -> None:
    place = target.at[positions.rows, columns.index[None, :]]
    triton.store(place, values.astype(target.dtype), mask=positions.there & columns.there[None, :])


def _mixed(x: Any, offset: Any, taps: Any, bias: Any, positions: _Positions, columns: _Columns) -> Array:
    """(TILE, CHANNELS) float32: the depthwise convolution and its bias."""
    total = jnp.zeros((TILE, CHANNELS), jnp.float32) + _vector(bias, None, columns)
    added = _vector(offset, None, columns)
    for tap in range(TAPS):
        rows, inside = positions.neighbours(tap // 3 - 1, tap % 3 - 1)
        values = jnp.where(inside, _matrix(x, rows, inside, columns) + added, 0.0)
        total += values * _vector(taps, tap, columns)
    return total


def _forward_kernel(
    x: Any, offset: Any, taps: Any, bias: Any, scale: Any, result: Any, *, sides: tuple[int, int]
) -> None:
    picture = pl.program_id(0)
    channels = result.shape[1]
    positions = _positions(picture, pl.program_id(1) * TILE, sides)
    columns = _columns(pl.program_id(2), channels)
    linear = _mixed(x, offset, taps, bias, positions, columns)
    gate = _mixed(x, offset, taps, bias, positions, columns.after(channels))
    values = linear * jax.nn.sigmoid(gate) * _vector(scale, picture, columns)
    _store(result, positions, columns, values)


def _gate_backward_kernel(
    x: Any,
    offset: Any,
    taps: Any,
    bias: Any,
    scale: Any,
    gradient: Any,
    of_mixed: Any,
    of_scale: Any,
    *,
    sides: tuple[int, int],
) -> None:
    """Gradients of the mixed values, and of the scale summed over a tile."""
    picture, tile = pl.program_id(0), pl.program_id(1)
    channels = gradient.shape[1]
    positions = _positions(picture, tile * TILE, sides)
    columns = _columns(pl.program_id(2), channels)
    linear = _mixed(x, offset, taps, bias, positions, columns)
    gate = jax.nn.sigmoid(_mixed(x, offset, taps, bias, positions, columns.after(channels)))
    incoming = _matrix(gradient, positions.rows, positions.there, columns)
    scaled = incoming * _vector(scale, picture, columns)
    _store(of_mixed, positions, columns, scaled * gate)
    _store(of_mixed, positions, columns.after(channels), scaled * linear * gate * (1.0 - gate))
    total = jnp.sum(incoming * linear * gate, axis=0)
    row = picture * pl.num_programs(1) + tile
    triton.store(of_scale.at[row, columns.index], total, mask=columns.there)


def _depthwise_backward_kernel(
    x: Any, offset: Any, taps: Any, of_mixed: Any, of_x: Any, sums: Any, *, sides: tuple[int, int]
) -> None:
    """Gradients of the input, and of kernel, bias and offset summed over a part of a picture.

    Each value of ``of_mixed`` serves both: it is met by one input for each tap.
    """
    picture, part = pl.program_id(0), pl.program_id(1)
    columns = _columns(pl.program_id(2), of_x.shape[1])
    added = _vector(offset, None, columns)
    weights = [_vector(taps, tap, columns) for tap in range(TAPS)]

    def body(step: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
        positions = _positions(picture, part * ROWS + step * TILE, sides)
        there = positions.there
        inputs = jnp.where(there, _matrix(x, positions.rows, there, columns) + added, 0.0)
        result = jnp.zeros((TILE, CHANNELS), jnp.float32)
        products = []
        for tap in range(TAPS):
            rows, inside = positions.neighbours(1 - tap // 3, 1 - tap % 3)
            incoming = _matrix(of_mixed, rows, inside, columns)
            result += incoming * weights[tap]
            products.append(inputs * incoming)
            if tap == TAPS // 2:
                of_bias = incoming
        _store(of_x, positions, columns, result)
        grown = (*products, of_bias, jnp.where(there, result, 0.0))
        return tuple(total + growth for total, growth in zip(totals, grown, strict=True))

    start = tuple(jnp.zeros((TILE, CHANNELS), jnp.float32) for _ in range(SUMS))
    totals = jax.lax.fori_loop(0, ROWS // TILE, body, start)
    base = (picture * pl.num_programs(1) + part) * SUMS
    for number, total in enumerate(totals):
        place = sums.at[base + number, columns.index]
        triton.store(place, jnp.sum(total, axis=0), mask=columns.there)
