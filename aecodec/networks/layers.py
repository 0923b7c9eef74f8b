"""The building blocks: pointwise and gated blocks, pixel shuffles, interpolation over quality levels.

Shapes are (batch, height, width, channels). ``level_weights`` is (batch, nodes) float32: for each sample the
two weights that interpolate between its neighbouring level nodes, zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any
"""A tensor of whichever backend runs."""


def space_to_depth(tensor: Tensor, block: int) -> Tensor:
    """(batch, height, width, channels) -> (batch, height/block, width/block, block*block*channels).

    Output channel (a*block + b)*channels + c holds input pixel (i*block + a, j*block + b), channel c.
    """
    batch, height, width, channels = ops.shape(tensor)
    tensor = ops.reshape(tensor, (batch, height // block, block, width // block, block, channels))
    tensor = ops.transpose(tensor, (0, 1, 3, 2, 4, 5))
    return ops.reshape(tensor, (batch, height // block, width // block, block * block * channels))


def depth_to_space(tensor: Tensor, block: int) -> Tensor:
    """The inverse of `space_to_depth`.

    (batch, height, width, block*block*channels) -> (batch, height*block, width*block, channels).
    """
    batch, height, width, depth = ops.shape(tensor)
    channels = depth // (block * block)
    tensor = ops.reshape(tensor, (batch, height, width, block, block, channels))
    tensor = ops.transpose(tensor, (0, 1, 3, 2, 4, 5))
    return ops.reshape(tensor, (batch, height * block, width * block, channels))


def straight_through_round(tensor: Tensor) -> Tensor:
    """Round half up; the gradient passes unchanged.

    The straight-through estimator: Bengio et al., "Estimating or propagating gradients through stochastic
    neurons for conditional computation", arXiv:1308.3432.
    """
    # The difference is exactly zero: x + (round(x) - x) would miss the integer by a rounding error.
    return ops.stop_gradient(ops.floor(tensor + 0.5)) + (tensor - ops.stop_gradient(tensor))


def bounded_gradient(tensor: Tensor) -> Tensor:
    """The same tensor, (batch, rows, columns, channels), whose gradient is bounded.

    Elements of the gradient reach up to twice the root mean square of their sample's: slopes through rounded
    networks have heavy tails.
    """

    def unchanged(value: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
        def backward(*arguments: Tensor, upstream: Tensor | None = None) -> Tensor:
            slope = arguments[0] if upstream is None else upstream
            bound = 2.0 * ops.sqrt(ops.mean(ops.square(slope), axis=(1, 2, 3), keepdims=True))
            return ops.clip(slope, -bound, bound)

        return value + 0.0, backward

    return ops.custom_gradient(unchanged)(tensor)


def affine(rows: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """(count, channels in), (channels in, channels out), (channels out,) -> (count, channels out)."""
    if keras.backend.backend() == "jax":
        from aecodec.networks import jax_operations

        return jax_operations.affine(rows, kernel, bias)
    return ops.matmul(rows, kernel) + bias


def depthwise_3x3(tensor: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel with its own 3x3 kernel, zero padding.

    (batch, height, width, channels), (3, 3, channels, 1) -> (batch, height, width, channels).
    """
    if keras.backend.backend() == "jax":
        from aecodec.networks import jax_operations

        return jax_operations.depthwise_3x3(tensor, kernel)
    return ops.depthwise_conv(tensor, kernel, 1, padding="same", data_format="channels_last")


def level_weights_of(levels: np.ndarray, nodes: int, sublevels: int) -> np.ndarray:
    """Interpolation weights, (batch, nodes) float32, of integer levels, (batch,), 0..(nodes-1)*sublevels.

    A row has at most two weights above zero, multiples of 1/sublevels whose sum is 1.
    """
    levels = np.asarray(levels)
    lower = levels // sublevels
    fraction = (levels % sublevels) / sublevels
    weights = np.zeros((len(levels), nodes), np.float32)
    rows = np.arange(len(levels))
    weights[rows, lower] = 1.0 - fraction
    weights[rows, np.minimum(lower + 1, nodes - 1)] += fraction
    return weights


class Pointwise(keras.layers.Layer):
    """A 1x1 convolution with bias, as one matrix product."""

    def __init__(
        self,
        channels_out: int,
        *,
        gain: float = 1.0,
        dtype: Any = "float32",
        name: str | None = None,
    ) -> None:
        """Weights of variance gain**2 / channels in; a ``gain`` of 0 makes the layer start at zero."""
        super().__init__(dtype=dtype, name=name)
        self.channels_out = channels_out
        self.gain = gain

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initializer: Any = "zeros"
        if self.gain > 0:
            initializer = keras.initializers.VarianceScaling(scale=self.gain**2, mode="fan_in")
        shape = (input_shape[-1], self.channels_out)
        self.kernel = self.add_weight(shape=shape, initializer=initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.channels_out,), initializer="zeros", name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        """(batch, height, width, channels in) -> (batch, height, width, channels out)."""
        batch, height, width, channels = ops.shape(inputs)
        flat = ops.reshape(inputs, (batch * height * width, channels))
        flat = affine(flat, ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias))
        return ops.reshape(flat, (batch, height, width, self.channels_out))


class Depthwise(keras.layers.Layer):
    """A depthwise 3x3 convolution, zero padding, that starts near the identity."""

    def __init__(self, *, dtype: Any = "float32", name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[-1] or 0)

        def initializer(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            centre = np.zeros(shape, np.float32)
            centre[1, 1] = 1.0
            noise = keras.random.normal(shape, stddev=0.1, dtype=dtype)
            return noise + ops.convert_to_tensor(centre, dtype=dtype)

        self.kernel = self.add_weight(shape=(3, 3, channels, 1), initializer=initializer, name="kernel")
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        """(batch, height, width, channels) -> the same shape."""
        return depthwise_3x3(inputs, ops.convert_to_tensor(self.kernel)) + self.bias


def _has_kernels(tensor: Tensor) -> bool:
    """Whether `aecodec.networks.jax_kernels` serve: JAX on a GPU, in bfloat16, and a JAX that has Triton."""
    if keras.backend.backend() != "jax" or keras.backend.standardize_dtype(tensor.dtype) != "bfloat16":
        return False
    import jax

    return bool(jax.default_backend() == "gpu") and _has_triton()


@lru_cache
def _has_triton() -> bool:
    try:
        from jax.experimental.pallas import triton
    except ImportError:
        return False
    return all(hasattr(triton, name) for name in ("CompilerParams", "load", "store"))


class LevelTable(keras.layers.Layer):
    """A vector that depends on the quality level: rows learned at the nodes, interpolated between them."""

    def __init__(
        self, nodes: int, channels: int, initial: float | np.ndarray = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.nodes = nodes
        self.channels = channels
        self.initial = initial

    def build(self, input_shape: Any = None) -> None:
        initial = np.broadcast_to(np.asarray(self.initial, np.float32), (self.nodes, self.channels))
        self.rows = self.add_weight(
            shape=(self.nodes, self.channels),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(initial.copy(), dtype=dtype),
            name="rows",
        )

    def call(self, level_weights: Tensor) -> Tensor:
        """(batch, nodes) -> (batch, 1, 1, channels)."""
        return ops.matmul(level_weights, self.rows)[:, None, None, :]


class GatedBlock(keras.layers.Layer):
    """Residual block: pointwise, depthwise 3x3, gate, feature scale of the level, pointwise.

    The gate is x * sigmoid(y) over two halves (Dauphin et al., "Language modeling with gated convolutional
    networks", ICML 2017), on locally mixed features as in Restormer (Zamir et al., CVPR 2022). No
    normalisation, so that flat areas and textures keep their scale; therefore a bounded gate: x * SiLU(y)
    grows quadratically with its input, and diverged within two steps of training.
    """

    def __init__(self, nodes: int, *, dtype: Any = "float32", name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name)
        self.nodes = nodes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[-1] or 0)
        policy = self.dtype_policy
        self.expand = Pointwise(2 * channels, dtype=policy, name="expand")
        self.mix = Depthwise(dtype=policy, name="mix")
        self.feature_scale = LevelTable(self.nodes, channels, 1.0, name="feature_scale")
        self.project = Pointwise(channels, gain=0.3, dtype=policy, name="project")
        self.expand.build(input_shape)
        self.mix.build((*input_shape[:-1], 2 * channels))
        self.feature_scale.build()
        self.project.build(input_shape)

    def call(self, inputs: Tensor, level_weights: Tensor) -> Tensor:
        """(batch, height, width, channels), (batch, nodes) -> the shape of ``inputs``."""
        scale = ops.cast(self.feature_scale(level_weights), self.compute_dtype)
        if _has_kernels(inputs):
            return inputs + self.project(self._gated_by_kernels(inputs, scale))
        linear, gate = ops.split(self.mix(self.expand(inputs)), 2, axis=-1)
        return inputs + self.project(linear * ops.sigmoid(gate) * scale)

    def _gated_by_kernels(self, inputs: Tensor, scale: Tensor) -> Tensor:
        from aecodec.networks import jax_kernels, jax_operations

        weights = [self.expand.kernel, self.expand.bias, self.mix.kernel, self.mix.bias]
        matrix, offset, kernel, bias = (ops.cast(weight, self.compute_dtype) for weight in weights)
        expanded = ops.reshape(inputs, (-1, inputs.shape[-1]))
        expanded = jax_operations.product(expanded, matrix)
        expanded = ops.reshape(expanded, (*inputs.shape[:-1], matrix.shape[-1]))
        return jax_kernels.gated_depthwise(expanded, offset, kernel, bias, scale[:, 0, 0])


class BlockStack(keras.layers.Layer):
    """Gated blocks one after the other."""

    def __init__(self, count: int, nodes: int, *, dtype: Any = "float32", name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name)
        self.blocks = [GatedBlock(nodes, dtype=dtype, name=f"block_{i}") for i in range(count)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for block in self.blocks:
            block.build(input_shape)

    def call(self, inputs: Tensor, level_weights: Tensor) -> Tensor:
        """(batch, height, width, channels), (batch, nodes) -> the shape of ``inputs``."""
        for block in self.blocks:
            inputs = block(inputs, level_weights)
        return inputs
