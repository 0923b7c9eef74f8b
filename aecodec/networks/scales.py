"""The float twin of the integer scale network (`aecodec.entropy.scales`), for training and export.

Every value is an integer held in float32: weights are rounded to int8 over a power of two, activations to
0..255, with straight-through gradients (Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018). Products and sums stay below 2**24, so the forward
pass equals the integer network exactly on any backend, whatever its order of summation, as long as a matrix
product takes its inputs as float32 (GPUs may round them to TensorFloat-32).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import STEPS, TABLE_COUNT, Architecture
from aecodec.networks.layers import (
    LevelTable,
    Tensor,
    depth_to_space,
    depthwise_3x3,
    straight_through_round,
)

ACTIVATION_TOP = 255
ACTIVATION_UNIT = 32.0
"""Biases are learned in units of 32 activation steps, so that one learning rate suits weights and biases."""
WEIGHT_UNIT = 0.25
"""Weights are learned in units of a quarter, as activations reach 255/32: one learning rate suits all."""
INDEX_WEIGHT_UNIT = 0.1
"""The same for the last layer of a step, whose shift is larger."""
HYPER_INDEX_RANGE = 16.0
"""Table indices of hyper-latents are learned in units of 16 tables."""
LEAK = 0.05
"""Gradient outside of the clipping range: a unit that is clipped everywhere can come back."""
POINTWISE_SHIFT = 8
DEPTHWISE_SHIFT = 6
INDEX_SHIFT = 9
"""Sums are rescaled by 2**-shift, so weights reach 127 * 2**-shift."""
LEVEL_BIAS_LIMIT = 2**18 - 1
"""Magnitude of biases: what is interpolated between levels stays exact."""
HYPER_LIMIT = 31
HYPER_STEP = 8
"""The network sees hyper-latents clipped to -31..31, times 8."""
HYPER_INDEX_UNIT = 16
"""Table indices of hyper-latents are kept in sixteenths."""
HYPER_INDEX = "encoder/hyper_index"
"""Their array. It serves training alone: files are coded with tables by context (`entropy.hyper`)."""
RESIDUAL_UNIT = 8
"""Files hold residuals in eighths of a quantisation step; here they are in steps."""
MAGNITUDES = 2048
"""Entries of the table of magnitudes: from 2047 eighths on, all give the same activation."""
SCALE_MIN = 0.04
SCALE_MAX = 40.0
"""Scales (of a logistic distribution, in quantisation steps) of the first and the last table in training."""


def magnitude_table() -> np.ndarray:
    """uint8 (2048,): residual magnitude in eighths of a step, capped at 2047, to an activation that grows
    with its logarithm.
    """
    steps = np.arange(MAGNITUDES) / RESIDUAL_UNIT
    activations = np.minimum(np.floor(32.0 * np.log2(1.0 + steps) + 0.5), ACTIVATION_TOP)
    return np.asarray(activations, np.uint8)


def leaky_clip(tensor: Tensor, top: float) -> Tensor:
    """Clip to 0..top; outside the gradient is `LEAK`."""
    clipped = ops.clip(tensor, 0.0, top)
    leak = LEAK * (tensor - clipped)
    return clipped + (leak - ops.stop_gradient(leak))


def quantised_weights(weights: Tensor, shift: int) -> Tensor:
    """Integers -127..127 in float32: weights * 2**shift, rounded, straight-through."""
    return ops.clip(straight_through_round(weights * float(2**shift)), -127.0, 127.0)


def rescale(accumulated: Tensor, shift: int, top: int) -> Tensor:
    """clip((accumulated + 2**(shift-1)) >> shift, 0, top) on integers in float32."""
    return leaky_clip(straight_through_round(accumulated * float(2.0**-shift)), float(top))


class IntegerLayer(keras.layers.Layer):
    """What the integer layers share: shift, top, and a bias that may depend on the level."""

    def __init__(
        self, shift: int, *, level_nodes: int = 0, top: int = ACTIVATION_TOP, bias: float = 0.0, name: str
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.shift = shift
        self.level_nodes = level_nodes
        self.top = top
        self.initial_bias = bias

    def build_bias(self, channels: int) -> None:
        rows = max(self.level_nodes, 1)
        self.bias = LevelTable(rows, channels, self.initial_bias, name="bias")
        self.bias.build()

    def integer_bias_rows(self) -> Tensor:
        """(level nodes or 1, channels) integers in float32."""
        unit = ACTIVATION_UNIT * 2**self.shift
        limit = float(LEVEL_BIAS_LIMIT)
        return ops.clip(straight_through_round(self.bias.rows * unit), -limit, limit)

    def integer_bias(self, level_weights: Tensor) -> Tensor:
        """(batch or 1, 1, 1, channels), interpolated between the level nodes and rounded half up."""
        rows = self.integer_bias_rows()
        if not self.level_nodes:
            return rows[None, None]
        return straight_through_round(ops.matmul(level_weights, rows))[:, None, None, :]

    def assign_bias(self, bias: np.ndarray) -> None:
        """The inverse of `export_bias`."""
        unit = ACTIVATION_UNIT * 2**self.shift
        self.bias.rows.assign(np.atleast_2d(bias).astype(np.float32) / unit)

    def export_bias(self) -> np.ndarray:
        """int32 (level nodes, channels), or (channels,) where the level has no say."""
        rows = np.asarray(ops.convert_to_numpy(self.integer_bias_rows()), np.int32)
        return rows if self.level_nodes else rows[0]


class IntegerPointwise(IntegerLayer):
    """1x1 convolution, int8 weights."""

    def __init__(
        self,
        channels_out: int,
        shift: int = POINTWISE_SHIFT,
        *,
        level_nodes: int = 0,
        top: int = ACTIVATION_TOP,
        unit: float = WEIGHT_UNIT,
        gain: float = 1.4,
        bias: float = 0.5,
        name: str,
    ) -> None:
        super().__init__(shift, level_nodes=level_nodes, top=top, bias=bias, name=name)
        self.channels_out = channels_out
        self.unit = unit
        self.gain = gain

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        scale = (self.gain / self.unit) ** 2
        initializer = keras.initializers.VarianceScaling(scale=scale, mode="fan_in")
        shape = (input_shape[-1], self.channels_out)
        self.kernel = self.add_weight(shape=shape, initializer=initializer, name="kernel")
        self.build_bias(self.channels_out)

    def call(self, inputs: Tensor, level_weights: Tensor) -> Tensor:
        batch, height, width, channels = ops.shape(inputs)
        flat = ops.reshape(inputs, (batch * height * width, channels))
        summed = ops.matmul(flat, self._integer_weights())
        summed = ops.reshape(summed, (batch, height, width, self.channels_out))
        return rescale(summed + self.integer_bias(level_weights), self.shift, self.top)

    def _integer_weights(self) -> Tensor:
        return quantised_weights(self.kernel * self.unit, self.shift)

    def export(self) -> dict[str, np.ndarray]:
        """weight int8 (channels out, channels in), bias int32, shift int32 ()."""
        weights = ops.convert_to_numpy(self._integer_weights())
        return {
            "weight": np.asarray(weights, np.int8).T.copy(),
            "bias": self.export_bias(),
            "shift": np.array(self.shift, np.int32),
        }

    def assign_weight(self, weight: np.ndarray) -> None:
        """int8 (channels out, channels in), as `export` gives them."""
        self.kernel.assign(weight.T.astype(np.float32) / (self.unit * 2**self.shift))


class IntegerDepthwise(IntegerLayer):
    """3x3 depthwise convolution, zero padding, int8 weights."""

    def __init__(self, *, name: str) -> None:
        super().__init__(DEPTHWISE_SHIFT, name=name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        def initializer(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            centre = np.zeros(shape, np.float32)
            centre[1, 1] = 1.0
            noise = keras.random.normal(shape, stddev=0.05, dtype=dtype)
            return noise + ops.convert_to_tensor(centre, dtype=dtype)

        channels = int(input_shape[-1] or 0)
        self.kernel = self.add_weight(shape=(3, 3, channels, 1), initializer=initializer, name="kernel")
        self.build_bias(channels)

    def call(self, inputs: Tensor, level_weights: Tensor) -> Tensor:
        kernel = quantised_weights(self.kernel, self.shift)
        summed = depthwise_3x3(inputs, kernel)
        return rescale(summed + self.integer_bias(level_weights), self.shift, self.top)

    def export(self) -> dict[str, np.ndarray]:
        """weight int8 (3, 3, channels), bias int32 (channels,), shift int32 ()."""
        weights = ops.convert_to_numpy(quantised_weights(self.kernel, self.shift))
        return {
            "weight": np.asarray(weights, np.int8)[..., 0].copy(),
            "bias": self.export_bias(),
            "shift": np.array(self.shift, np.int32),
        }

    def assign_weight(self, weight: np.ndarray) -> None:
        """int8 (3, 3, channels), as `export` gives them."""
        self.kernel.assign(weight[..., None].astype(np.float32) / 2**self.shift)


class ScaleNetwork(keras.layers.Layer):
    """Hyper-latents and magnitudes of known residuals -> table indices, real-valued only in the gradient."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(dtype="float32", name="scale_network")
        a = architecture
        self.architecture = a
        nodes, feature = a.level_nodes, a.scale_feature_width
        self.hyper_layers = [
            IntegerPointwise(a.scale_hyper_width, level_nodes=nodes, name="hyper_pointwise_0"),
            IntegerDepthwise(name="hyper_depthwise_0"),
            IntegerPointwise(4 * feature, name="hyper_pointwise_1"),
            IntegerDepthwise(name="hyper_depthwise_1"),
            IntegerPointwise(4 * feature, name="hyper_pointwise_2"),
            IntegerDepthwise(name="hyper_depthwise_2"),
        ]
        self.step_layers = [
            [
                IntegerPointwise(a.scale_step_width, level_nodes=nodes, name=f"step{s}_pointwise_0"),
                IntegerDepthwise(name=f"step{s}_depthwise"),
                IntegerPointwise(a.scale_step_width, name=f"step{s}_pointwise_1"),
                IntegerPointwise(
                    a.latent_channels,
                    INDEX_SHIFT,
                    top=TABLE_COUNT - 1,
                    unit=INDEX_WEIGHT_UNIT,
                    gain=0.3,
                    bias=0.9,
                    name=f"step{s}_index",
                ),
            ]
            for s in range(STEPS)
        ]
        self.hyper_index = LevelTable(nodes, a.hyper_channels, 2.5, name="hyper_index")

    def build(self, input_shape: Any = None) -> None:
        a = self.architecture
        feature, step = a.scale_feature_width, a.scale_step_width
        widths = [a.hyper_channels, a.scale_hyper_width, a.scale_hyper_width, feature, feature, feature]
        for layer, width in zip(self.hyper_layers, widths, strict=True):
            layer.build((None, None, None, width))
        for s, layers in enumerate(self.step_layers):
            known = a.latent_channels if s else 0
            for layer, width in zip(layers, [feature + known, step, step, step], strict=True):
                layer.build((None, None, None, width))
        self.hyper_index.build()

    def hyper_indices(self, level_weights: Tensor) -> Tensor:
        """(batch, 1, 1, hyper channels): the tables of the hyper-latents."""
        unit = float(HYPER_INDEX_UNIT)
        sixteenths = straight_through_round(self.hyper_index.rows * (HYPER_INDEX_RANGE * unit))
        index = straight_through_round(ops.matmul(level_weights, sixteenths) / unit)
        return leaky_clip(index, float(TABLE_COUNT - 1))[:, None, None, :]

    def features(self, hyper_latents: Tensor, level_weights: Tensor, *, through: bool = False) -> Tensor:
        """What the five steps share of the hyper-latents.

        Args:
            hyper_latents: (batch, height/64, width/64, hyper channels), rounded.
            level_weights: (batch, nodes).
            through: whether the gradient reaches the hyper-latents. In training it does not.

        Returns:
            (batch, height/16, width/16, feature width), integers 0..255.
        """
        limit = float(HYPER_LIMIT)
        seen = hyper_latents if through else ops.stop_gradient(hyper_latents)
        values = HYPER_STEP * ops.clip(seen, -limit, limit)
        for number, layer in enumerate(self.hyper_layers):
            values = layer(values, level_weights)
            if number in (2, 4):
                values = depth_to_space(values, 2)
        return values

    def step_indices(
        self, step: int, features: Tensor, known: Tensor | None, level_weights: Tensor
    ) -> Tensor:
        """Table indices 0..63 of all latents, of which the step uses its part.

        Args:
            step: 0..4.
            features: (batch, height/16, width/16, feature width), of `features`.
            known: (batch, height/16, width/16, latent channels), residuals of the former steps as quantised,
                zero where unknown; None in step 0.
            level_weights: (batch, nodes).
        """
        features = self.step_inputs(features, known)
        for layer in self.step_layers[step]:
            features = layer(features, level_weights)
        return features

    def step_inputs(self, features: Tensor, known: Tensor | None) -> Tensor:
        """The features and, behind them, what the magnitudes of known residuals tell (`magnitude_table`)."""
        if known is None:
            return features
        magnitude = ops.abs(ops.stop_gradient(known))
        logarithm = ops.floor(32.0 * ops.log2(1.0 + magnitude) + 0.5)
        return ops.concatenate([features, ops.minimum(logarithm, float(ACTIVATION_TOP))], axis=-1)

    def _integer_layers(self) -> list[IntegerPointwise | IntegerDepthwise]:
        return [*self.hyper_layers, *(layer for layers in self.step_layers for layer in layers)]

    def assign_integers(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Read the float twin back from an integer network: the inverse of `export`, without loss."""
        for layer in self._integer_layers():
            layer.assign_weight(arrays[f"scales/{layer.name}/weight"])
            layer.assign_bias(arrays[f"scales/{layer.name}/bias"])
        unit = HYPER_INDEX_RANGE * HYPER_INDEX_UNIT
        self.hyper_index.rows.assign(arrays[HYPER_INDEX].astype(np.float32) / unit)

    def export(self) -> dict[str, np.ndarray]:
        """The arrays of the integer network, named as `aecodec.entropy.scales` expects them."""
        arrays: dict[str, np.ndarray] = {"scales/magnitude_lut": magnitude_table()}
        for layer in self._integer_layers():
            for key, array in layer.export().items():
                arrays[f"scales/{layer.name}/{key}"] = array
        rows = ops.convert_to_numpy(self.hyper_index.rows) * (HYPER_INDEX_RANGE * HYPER_INDEX_UNIT)
        arrays[HYPER_INDEX] = np.floor(np.asarray(rows, np.float32) + 0.5).astype(np.int16)
        return arrays


def logistic_bits(
    values: Tensor, indices: Tensor, below: Tensor | float = 0.5, above: Tensor | float = 0.5
) -> Tensor:
    """Bits of values (in quantisation steps) under the zero-mean logistic of their table.

    ``values`` and ``indices`` (0..63) are of shapes that broadcast; the scale of table t is
    SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (t / 63), as `aecodec.entropy.table_scales` has it. The bin of a
    value begins ``below`` nearer to zero and ends ``above`` further from it: a unit bin, unless told
    otherwise. Computed as softplus(-a) + softplus(b) - log(1 - exp(b - a)) with a, b the scaled bin edges,
    which neither overflows nor loses its gradient in the tails.
    """
    ratio = float(np.log(SCALE_MAX / SCALE_MIN) / (TABLE_COUNT - 1))
    inverse = ops.exp(-indices * ratio) / SCALE_MIN
    magnitude = ops.abs(values)
    upper = (below - magnitude) * inverse
    lower = (-above - magnitude) * inverse
    nats = ops.softplus(-upper) + ops.softplus(lower) - ops.log(-ops.expm1(-(below + above) * inverse))
    return nats * float(1.0 / np.log(2.0))
