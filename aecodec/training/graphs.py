"""ONNX graphs of a model, built directly from its layers: no weights inside, only their names and shapes.

A direct build chooses the layout of every tensor (`aecodec.training.onnx_layers`); converters from Keras give
slower graphs, which transpose around every convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from aecodec.networks.architecture import (
    HYPER_PATCH,
    LATENT_UNIT,
    PATCH,
    PIXEL_CENTRE,
    SHORTCUT_UNIT,
    STEPS,
    Architecture,
)
from aecodec.networks.autoencoder import LOG_GAIN_LIMIT
from aecodec.networks.prediction import HYPER_UNIT, step_cells
from aecodec.networks.quantisation import OFFSET_LIMIT, rounding_offsets
from aecodec.networks.scales import (
    ACTIVATION_TOP,
    HYPER_LIMIT,
    HYPER_STEP,
    IntegerDepthwise,
    IntegerLayer,
    IntegerPointwise,
    ScaleNetwork,
)
from aecodec.networks.transforms import DETAIL_UNIT, PIXEL_UNIT
from aecodec.training.onnx_layers import LayerBuilder

OPSET = 18
IR_VERSION = 10
SYMBOL_LIMIT = 32767.0


@dataclass(frozen=True)
class Graph:
    """An ONNX model whose weights are external, and what it costs.

    Attributes:
        model: without the bytes of its weights.
        weights: their names, those of a model folder's arrays.
        kmac_per_pixel: thousands of multiply-accumulate operations for each pixel of the picture.
    """

    model: onnx.ModelProto
    weights: tuple[str, ...]
    kmac_per_pixel: float


@dataclass
class GraphBuilder(LayerBuilder):
    """The networks out of layers. Every node mirrors a line of `aecodec.networks`, but for units, which are
    folded into weights.
    """

    # -- the integer scale network, in floats: the encoder's choice of symbols may be approximate ------------

    def integer_bias(self, layer: IntegerLayer, level_weights: str, channels: int) -> str:
        """The bias in units of the rescaled sum, and the half that makes a floor round: exact in float32."""
        path, nodes = f"scales/{layer.name}/bias", layer.level_nodes
        half, unit = self.constant(np.float32(0.5)), 2.0**-layer.shift
        if not nodes:
            return self.shared("Add", self.times(self.weight(path, (channels,)), unit), half)
        bias = self.round(self.node("MatMul", level_weights, self.weight(path, (nodes, channels))))
        return self.node("Add", self.times(bias, unit), half)

    def clipped(self, layer: IntegerLayer, shifted: str) -> str:
        """Rounding and clipping of rescaled sums to which a half has been added."""
        low, high = self.constant(np.float32(0)), self.constant(np.float32(layer.top))
        return self.node("Clip", self.node("Floor", shifted), low, high)

    def integer_pointwise(
        self, layer: IntegerPointwise, tensor: str, level_weights: str, inputs: int, grid: int
    ) -> str:
        """Channels last."""
        outputs = layer.channels_out
        self.count(inputs, outputs, grid)
        weight = self.weight(f"scales/{layer.name}/weight", (outputs, inputs))
        matrix = self.times(self.shared("Transpose", weight, attributes={"perm": [1, 0]}), 2.0**-layer.shift)
        product = self.node("MatMul", tensor, matrix)
        return self.clipped(
            layer, self.node("Add", product, self.integer_bias(layer, level_weights, outputs))
        )

    def integer_depthwise(
        self, layer: IntegerDepthwise, tensor: str, level_weights: str, channels: int, grid: int
    ) -> str:
        """Channels last."""
        self.count(9, channels, grid)
        weight = self.weight(f"scales/{layer.name}/weight", (3, 3, channels))
        planes = self.times(
            self.shared("Transpose", weight, attributes={"perm": [2, 0, 1]}), 2.0**-layer.shift
        )
        kernel = self.shared("Unsqueeze", planes, self.constant([1]))
        bias = self.integer_bias(layer, level_weights, channels)
        mixed = self.convolution_3x3(self.planar(tensor, channels, grid), kernel, bias, channels, grid)
        return self.clipped(layer, self.channels_last(mixed))

    def scale_features(self, network: ScaleNetwork, hyper: str, level_weights: str) -> str:
        """`ScaleNetwork.features`, channels last."""
        limit = np.float32(HYPER_LIMIT)
        values = self.node("Clip", hyper, self.constant(-limit), self.constant(limit))
        values = self.node("Mul", values, self.constant(np.float32(HYPER_STEP)))
        channels, grid = self.architecture.hyper_channels, HYPER_PATCH
        for layer in network.hyper_layers:
            if isinstance(layer, IntegerDepthwise):
                values = self.integer_depthwise(layer, values, level_weights, channels, grid)
                continue
            values = self.integer_pointwise(layer, values, level_weights, channels, grid)
            channels = layer.channels_out
            if layer.name != "hyper_pointwise_0":
                channels, grid = channels // 4, grid // 2
                values = self.depth_to_space(values, 2, channels, grid)
        return values

    def step_indices(
        self, network: ScaleNetwork, step: int, features: str, residuals: str | None, level_weights: str
    ) -> str:
        """`ScaleNetwork.step_indices`, channels last."""
        values, channels = features, self.architecture.scale_feature_width
        if residuals is not None:
            grown = self.node("Add", self.node("Abs", residuals), self.constant(np.float32(1)))
            logarithm = self.node("Mul", self.node("Log", grown), self.constant(np.float32(32 / np.log(2))))
            top = self.constant(np.float32(ACTIVATION_TOP))
            values = self.node("Concat", values, self.node("Min", self.round(logarithm), top), axis=3)
            channels += self.architecture.latent_channels
        for layer in network.step_layers[step]:
            if isinstance(layer, IntegerDepthwise):
                values = self.integer_depthwise(layer, values, level_weights, channels, PATCH)
            else:
                values = self.integer_pointwise(layer, values, level_weights, channels, PATCH)
                channels = layer.channels_out
        return values

    def rate_distortion_round(self, scaled: str, indices: str, strength: str) -> str:
        """`aecodec.networks.quantisation.rate_distortion_round`."""
        magnitude = self.node("Abs", scaled)
        first, further = self.looked_up(rounding_offsets(), indices)
        larger = self.node("GreaterOrEqual", magnitude, self.constant(np.float32(1.5)))
        offset = self.node("Where", larger, further, first)
        offset = self.node("Mul", strength, offset)
        offset = self.node("Min", offset, self.constant(np.float32(OFFSET_LIMIT)))
        threshold = self.node("Sub", self.constant(np.float32(0.5)), offset)
        rounded = self.node("Floor", self.node("Add", magnitude, threshold))
        return self.node("Mul", self.node("Sign", scaled), self.node("Relu", rounded))

    def looked_up(self, tables: np.ndarray, indices: str) -> list[str]:
        """Entries of tables (tables, entries) by table indices, one for each latent; a `Gather` takes four
        times as long as a `GatherElements` from a copy of the table for each row of positions.
        """
        rows, columns = self.size(PATCH)
        by_row = self.reshape(self.node("Cast", indices, to=TensorProto.INT32), rows, -1)
        found = []
        for table in tables:
            copies = self.shared("Expand", self.constant(table[None]), self.sizes(rows, len(table)))
            entries = self.node("GatherElements", copies, by_row, axis=1)
            found.append(self.reshape(entries, 1, rows, columns, self.architecture.latent_channels))
        return found

    def gain(self, path: str, level_weights: str, channels: int) -> str:
        """The exponential of a clipped table of the level, (1, channels)."""
        table = self.level_table(path, level_weights, channels)
        limit = np.float32(LOG_GAIN_LIMIT)
        return self.node("Exp", self.node("Clip", table, self.constant(-limit), self.constant(limit)))

    def step_masks(self) -> list[str]:
        """1 at the latents that a step codes, else 0, for each step: (1, height/16, width/16, channels)."""
        repeats = self.sizes(1, *self.size(2 * PATCH), 1)
        cells = step_cells(self.architecture.latent_channels)
        return [self.node("Tile", self.constant(cell[None]), repeats) for cell in cells]

    def of_latents(self, filters: str) -> str:
        """Filters (outputs, latent channels, 1, 1) that take latents in place of normalised ones."""
        return self.of_scaled(filters, self.weight("normaliser", (self.architecture.latent_channels,)))

    def pointwise_of_latents(self, path: str, latents: str, outputs: int) -> str:
        """A pointwise layer of the normalised latents, planar."""
        inputs = self.architecture.latent_channels
        self.count(inputs, outputs, PATCH)
        filters = self.of_latents(self.filters(path, inputs, outputs))
        return self.convolution_1x1(latents, filters, self.bias(path, outputs), outputs, PATCH)

    # -- networks ------------------------------------------------------------------------------------------

    def analysis(self, pixels: str, level_weights: str) -> str:
        """Channels last -> latents, planar."""
        a = self.architecture
        linear = self.pointwise(
            "analysis/shortcut/map",
            self.centred_patches(pixels, PATCH),
            768,
            a.latent_channels,
            PATCH,
            SHORTCUT_UNIT / LATENT_UNIT,
        )
        features = self.pointwise(
            "analysis/enter", self.centred_patches(pixels, 8), 192, a.eighth_width, 8, 1 / PIXEL_UNIT
        )
        features = self.block_stack(
            "analysis/eighth", a.analysis_eighth_blocks, features, level_weights, a.eighth_width, 8
        )
        features = self.down("analysis/down", features, a.eighth_width, a.sixteenth_width, PATCH)
        features = self.block_stack(
            "analysis/sixteenth",
            a.analysis_sixteenth_blocks,
            features,
            level_weights,
            a.sixteenth_width,
            PATCH,
        )
        features = self.pointwise("analysis/leave", features, a.sixteenth_width, a.latent_channels, PATCH)
        return self.add(features, linear, a.latent_channels, PATCH)

    def centred_patches(self, pixels: str, side: int) -> str:
        """Pixels around 127.5, channels last -> patches around 0, planar. Each kind is centred on its own: a
        centred picture would take memory until the last kind is made of it.
        """
        patches = self.space_to_depth(pixels, side, 3, side)
        centred = self.node("Sub", patches, self.constant(np.float32(PIXEL_CENTRE)))
        return self.planar(centred, 3 * side * side, side)

    def down(self, path: str, features: str, inputs: int, outputs: int, grid: int) -> str:
        """Planar to half the resolution, which is that of ``grid``."""
        shuffled = self.space_to_depth(self.channels_last(features), 2, inputs, grid)
        return self.pointwise(path, self.planar(shuffled, 4 * inputs, grid), 4 * inputs, outputs, grid)

    def up(self, path: str, features: str, inputs: int, outputs: int, grid: int) -> str:
        """Planar to twice the resolution, which is that of ``grid``."""
        wide = self.pointwise(path, features, inputs, 4 * outputs, 2 * grid)
        shuffled = self.depth_to_space(self.channels_last(wide), 2, outputs, grid)
        return self.blocked(self.planar(shuffled, outputs, grid), outputs, grid)

    def hyper_analysis(self, latents: str, level_weights: str) -> str:
        """Planar -> channels last."""
        a, width, path = self.architecture, self.architecture.hyper_width, "hyper_analysis"
        features = self.pointwise_of_latents(f"{path}/enter", latents, width)
        features = self.block_stack(f"{path}/sixteenth", 1, features, level_weights, width, 16)
        features = self.down(f"{path}/down_0", features, width, width, 32)
        features = self.block_stack(f"{path}/thirtysecond", 1, features, level_weights, width, 32)
        features = self.down(f"{path}/down_1", features, width, width, 64)
        features = self.pointwise(f"{path}/leave", features, width, a.hyper_channels, 64)
        return self.node("Mul", self.channels_last(features), self.constant(np.float32(HYPER_UNIT)))

    def hyper_synthesis(self, hyper: str, level_weights: str) -> str:
        """Channels last -> planar."""
        a, width, path = self.architecture, self.architecture.hyper_width, "hyper_synthesis"
        inverse = self.gain("hyper_log_inverse_gain", level_weights, a.hyper_channels)
        features = self.planar(self.node("Mul", hyper, inverse), a.hyper_channels, HYPER_PATCH)
        features = self.pointwise(
            f"{path}/enter", features, a.hyper_channels, width, HYPER_PATCH, 1 / HYPER_UNIT
        )
        features = self.multiply(features, self.node("Sigmoid", features), width, HYPER_PATCH)
        features = self.up(f"{path}/up_0", features, width, width, 32)
        features = self.block_stack(f"{path}/thirtysecond", 1, features, level_weights, width, 32)
        features = self.up(f"{path}/up_1", features, width, a.prediction_width, 16)
        return self.block_stack(f"{path}/sixteenth", 1, features, level_weights, a.prediction_width, 16)

    def step(self, number: int, features: str, known: str | None, level_weights: str) -> tuple[str, str]:
        """Features of this step, planar, and predicted latents, channels last.

        Args:
            features: of the step before, planar.
            known: latents, channels last; None in step 0.
        """
        a, path = self.architecture, f"step_{number}"
        features = self.step_entrance(f"{path}/enter", features, known)
        features = self.block_stack(
            f"{path}/blocks", a.prediction_blocks, features, level_weights, a.prediction_width, 16
        )
        mean = self.pointwise(f"{path}/leave", features, a.prediction_width, a.latent_channels, 16)
        return features, self.channels_last(mean)

    def step_entrance(self, path: str, features: str, known: str | None) -> str:
        """The layer of the features and, behind them, the normalised latents, as a sum of two."""
        a, width = self.architecture, self.architecture.prediction_width
        if known is None:
            return self.pointwise(path, features, width, width, PATCH)
        inputs = width + a.latent_channels
        self.count(inputs, width, PATCH)
        filters = self.filters(path, inputs, width)
        own, other = self.part(filters, 1, 0, width), self.part(filters, 1, width, inputs)
        latents = self.planar(known, a.latent_channels, PATCH)
        return self.add(
            self.convolution_1x1(features, own, self.bias(path, width), width, PATCH),
            self.convolution_1x1(latents, self.of_latents(other), None, width, PATCH),
            width,
            PATCH,
        )

    def synthesis(self, latents: str, level_weights: str) -> str:
        """Channels last -> channels last."""
        a = self.architecture
        latents = self.planar(latents, a.latent_channels, PATCH)
        features = self.pointwise_of_latents("synthesis/enter", latents, a.sixteenth_width)
        features = self.block_stack(
            "synthesis/sixteenth",
            a.synthesis_sixteenth_blocks,
            features,
            level_weights,
            a.sixteenth_width,
            PATCH,
        )
        features = self.up("synthesis/up", features, a.sixteenth_width, a.eighth_width, 8)
        features = self.block_stack(
            "synthesis/eighth", a.synthesis_eighth_blocks, features, level_weights, a.eighth_width, 8
        )
        return self.node("Add", self.linear_pixels(latents), self.detail(features))

    def linear_pixels(self, latents: str) -> str:
        """The linear part of the synthesis, planar -> pixels around 127.5, channels last."""
        inputs, path = self.architecture.latent_channels, "synthesis/shortcut/map"
        self.count(inputs, 768, PATCH)
        filters = self.times(self.filters(path, inputs, 768), LATENT_UNIT * SHORTCUT_UNIT)
        bias = self.shared("Add", self.bias(path, 768), self.constant(np.float32(PIXEL_CENTRE)))
        patches = self.convolution_1x1(latents, filters, bias, 768, PATCH)
        return self.depth_to_space(self.channels_last(patches), PATCH, 3, 1)

    def detail(self, features: str) -> str:
        """What the last layer adds to the linear part, planar -> channels last."""
        inputs, path = self.architecture.eighth_width, "synthesis/leave"
        self.count(inputs, 192, 8)
        filters, bias = (
            self.times(weight, DETAIL_UNIT)
            for weight in (self.filters(path, inputs, 192), self.bias(path, 192))
        )
        patches = self.convolution_1x1(features, filters, bias, 192, 8)
        return self.depth_to_space(self.channels_last(patches), 8, 3, 1)

    def finish(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> Graph:
        """The graph of all nodes so far, with these inputs and outputs."""
        graph = helper.make_graph(
            self.nodes,
            "aecodec",
            inputs,
            outputs,
            [*self.constants.values(), *self.weights.values()],
            value_info=self.shapes,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="aecodec",
        )
        return Graph(model, tuple(self.weights), self.multiplications / 1000)


def _value(name: str, kind: int, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def encoder_graph(architecture: Architecture) -> Graph:
    """pixels (1, height, width, 3) float32, level_weights (1, nodes) -> z, r int16 (`Autoencoder.encode`)."""
    a, build = architecture, GraphBuilder(architecture, "pixels", 1)
    planar_latents = build.analysis("pixels", "level_weights")
    latents = build.channels_last(planar_latents)
    hyper = build.hyper_analysis(planar_latents, "level_weights")
    hyper_gain = build.gain("encoder/hyper_log_gain", "level_weights", a.hyper_channels)
    hyper = build.round(build.node("Mul", hyper, hyper_gain))
    gain = build.gain("encoder/log_gain", "level_weights", a.latent_channels)
    inverse = build.gain("log_inverse_gain", "level_weights", a.latent_channels)
    strength = build.level_table("encoder/rounding_strength", "level_weights", a.latent_channels)
    network = ScaleNetwork(a)
    scale_features = build.scale_features(network, hyper, "level_weights")
    features = build.hyper_synthesis(hyper, "level_weights")
    known: str | None = None
    residuals = ""
    for number, mask in enumerate(build.step_masks()):
        features, mean = build.step(number, features, known, "level_weights")
        scaled = build.node("Mul", build.node("Sub", latents, mean), gain)
        coded_so_far = residuals or None
        indices = build.step_indices(network, number, scale_features, coded_so_far, "level_weights")
        residual = build.rate_distortion_round(scaled, indices, strength)
        coded = build.node("Mul", mask, residual)
        residuals = build.node("Add", residuals, coded) if number else coded
        if number < STEPS - 1:
            update = build.node("Add", mean, build.node("Mul", residual, inverse))
            update = build.node("Mul", mask, update)
            known = update if known is None else build.node("Add", known, update)
    for tensor, name in ((hyper, "hyper_latents"), (residuals, "residuals")):
        limit = np.float32(SYMBOL_LIMIT)
        clipped = build.node("Clip", tensor, build.constant(-limit), build.constant(limit))
        build.output(build.node("Cast", clipped, to=TensorProto.INT16), name)
    return build.finish(
        [
            _value("pixels", TensorProto.FLOAT, (1, "height", "width", 3)),
            _value("level_weights", TensorProto.FLOAT, (1, a.level_nodes)),
        ],
        [
            _value("hyper_latents", TensorProto.INT16, (1, "height_64", "width_64", a.hyper_channels)),
            _value("residuals", TensorProto.INT16, (1, "height_16", "width_16", a.latent_channels)),
        ],
    )


def prediction_graph(architecture: Architecture) -> Graph:
    """z, r int16, level_weights -> latents (1, height/16, width/16, latent channels) float32: the first half
    of the decoder (`Autoencoder.reconstruct_latents`).
    """
    a, build = architecture, GraphBuilder(architecture, "residuals", PATCH)
    hyper = build.node("Cast", "hyper_latents", to=TensorProto.FLOAT)
    residuals = build.node("Cast", "residuals", to=TensorProto.FLOAT)
    inverse = build.gain("log_inverse_gain", "level_weights", a.latent_channels)
    scaled = build.node("Mul", residuals, inverse)
    features = build.hyper_synthesis(hyper, "level_weights")
    known: str | None = None
    for number, mask in enumerate(build.step_masks()):
        features, mean = build.step(number, features, known, "level_weights")
        update = build.node("Mul", mask, build.node("Add", mean, scaled))
        known = update if known is None else build.node("Add", known, update)
    build.output(str(known), "latents")
    return build.finish(
        [
            _value("hyper_latents", TensorProto.INT16, (1, "height_64", "width_64", a.hyper_channels)),
            _value("residuals", TensorProto.INT16, (1, "height_16", "width_16", a.latent_channels)),
            _value("level_weights", TensorProto.FLOAT, (1, a.level_nodes)),
        ],
        [_value("latents", TensorProto.FLOAT, (1, "height_16", "width_16", a.latent_channels))],
    )


def synthesis_graph(architecture: Architecture) -> Graph:
    """latents, level_weights -> pixels (1, height, width, 3) float32: the second half of the decoder."""
    a, build = architecture, GraphBuilder(architecture, "latents", PATCH)
    build.output(build.synthesis("latents", "level_weights"), "pixels")
    return build.finish(
        [
            _value("latents", TensorProto.FLOAT, (1, "height_16", "width_16", a.latent_channels)),
            _value("level_weights", TensorProto.FLOAT, (1, a.level_nodes)),
        ],
        [_value("pixels", TensorProto.FLOAT, (1, "height", "width", 3))],
    )


def synthesis_halo(architecture: Architecture) -> int:
    """Pixels, a multiple of 16, beyond which nothing reaches into a rectangle of the synthesis."""
    return _reach(
        0, (8, architecture.synthesis_eighth_blocks), (PATCH, architecture.synthesis_sixteenth_blocks)
    )


def halos(architecture: Architecture) -> dict[str, int]:
    """Pixels, multiples of 64, beyond which nothing reaches into a window: {"encoder": ..., "decoder": ...}.

    Every depthwise layer reaches one position further; grids are aligned, so each coarser grid rounds up. The
    encoder looks at hyper-latents through the scale network too, which reaches further than the prediction.
    """
    a = architecture
    prediction = a.prediction_blocks * STEPS
    hyper_synthesis = ((16, 1), (32, 1), (HYPER_PATCH, 0))
    scale_features = ((16, 1), (32, 1), (HYPER_PATCH, 1))
    decoder = _reach(
        0, (8, a.synthesis_eighth_blocks), (16, a.synthesis_sixteenth_blocks + prediction), *hyper_synthesis
    )
    encoder = _reach(
        0,
        (16, prediction),
        *scale_features,
        (32, 1),
        (16, 1 + a.analysis_sixteenth_blocks),
        (8, a.analysis_eighth_blocks),
        (HYPER_PATCH, 0),
    )
    return {"encoder": encoder, "decoder": decoder}


def _reach(start: int, *stages: tuple[int, int]) -> int:
    """How far, in pixels, ``start`` pixels become through stages of (grid in pixels, depthwise layers)."""
    for grid, layers in stages:
        start = -(-start // grid) * grid + grid * layers
    return start
