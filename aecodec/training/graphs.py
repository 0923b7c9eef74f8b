"""ONNX graphs of a model, built directly from its layers: no weights inside, only their names and shapes.

A direct build keeps channels last, where a pointwise layer is one matrix product; converters from Keras give
slower graphs, which transpose around every convolution. Every node mirrors a line of `aecodec.networks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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
class GraphBuilder:
    """Collects nodes; a value is the name of a tensor. Tensors are (1, height, width, channels) float32."""

    architecture: Architecture
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)
    multiplications: float = 0.0

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """Append a node; returns the name of its (first) output."""
        names = [f"t{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def constant(self, values: np.ndarray | np.floating[Any] | Sequence[int]) -> str:
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        if array.size < 3:
            name = f"constant_{array.dtype.kind}_{'_'.join(str(x) for x in array.ravel())}_{array.ndim}d"
        else:
            name = f"constant_{len(self.constants)}"
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, shape: Sequence[int]) -> str:
        """A weight that is given at load time; its bytes are not in the graph."""
        if name not in self.weights:
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=list(shape))
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="arrays.npz")
            self.weights[name] = tensor
        return name

    # -- sizes ---------------------------------------------------------------------------------------------

    def rows_and_columns(self, tensor: str, divisor: int = 1) -> tuple[str, str]:
        """Height and width of a tensor over ``divisor``, as int64 tensors of one element."""
        shape = self.node("Shape", tensor)
        sizes = []
        for axis in (1, 2):
            size = self.node("Gather", shape, self.constant([axis]), axis=0)
            sizes.append(self.node("Div", size, self.constant([divisor])) if divisor > 1 else size)
        return sizes[0], sizes[1]

    def reshape(self, tensor: str, *axes: str | int) -> str:
        parts = [axis if isinstance(axis, str) else self.constant([axis]) for axis in axes]
        return self.node("Reshape", tensor, self.node("Concat", *parts, axis=0))

    def space_to_depth(self, tensor: str, block: int, channels: int) -> str:
        rows, columns = self.rows_and_columns(tensor, block)
        split = self.reshape(tensor, 1, rows, block, columns, block, channels)
        moved = self.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
        return self.reshape(moved, 1, rows, columns, block * block * channels)

    def depth_to_space(self, tensor: str, block: int, channels: int) -> str:
        """``channels``: of the result."""
        rows, columns = self.rows_and_columns(tensor)
        split = self.reshape(tensor, 1, rows, columns, block, block, channels)
        moved = self.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
        factor = self.constant([block])
        tall, wide = self.node("Mul", rows, factor), self.node("Mul", columns, factor)
        return self.reshape(moved, 1, tall, wide, channels)

    # -- layers --------------------------------------------------------------------------------------------

    def pointwise(self, path: str, tensor: str, inputs: int, outputs: int, grid: int) -> str:
        """``grid``: pixels between two positions, for the count of multiplications."""
        self.multiplications += inputs * outputs / grid**2
        product = self.node("MatMul", tensor, self.weight(f"{path}/kernel", (inputs, outputs)))
        return self.node("Add", product, self.weight(f"{path}/bias", (outputs,)))

    def depthwise(self, path: str, tensor: str, channels: int, grid: int) -> str:
        self.multiplications += 9 * channels / grid**2
        planar = self.node("Transpose", tensor, perm=[0, 3, 1, 2])
        kernel = self.weight(f"{path}/kernel", (channels, 1, 3, 3))
        bias = self.weight(f"{path}/bias", (channels,))
        mixed = self.node(
            "Conv", planar, kernel, bias, group=channels, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        )
        return self.node("Transpose", mixed, perm=[0, 2, 3, 1])

    def level_table(self, path: str, level_weights: str, channels: int) -> str:
        rows = self.weight(f"{path}/rows", (self.architecture.level_nodes, channels))
        return self.node("MatMul", level_weights, rows)

    def gated_block(self, path: str, tensor: str, level_weights: str, channels: int, grid: int) -> str:
        expanded = self.pointwise(f"{path}/expand", tensor, channels, 2 * channels, grid)
        mixed = self.depthwise(f"{path}/mix", expanded, 2 * channels, grid)
        linear = self.node("Split", mixed, outputs=2, axis=3, num_outputs=2)
        gate = linear.removesuffix("_0") + "_1"
        gated = self.node("Mul", linear, self.node("Sigmoid", gate))
        scale = self.level_table(f"{path}/feature_scale", level_weights, channels)
        scaled = self.node("Mul", gated, scale)
        return self.node("Add", tensor, self.pointwise(f"{path}/project", scaled, channels, channels, grid))

    def block_stack(
        self, path: str, count: int, tensor: str, level_weights: str, channels: int, grid: int
    ) -> str:
        for number in range(count):
            tensor = self.gated_block(f"{path}/block_{number}", tensor, level_weights, channels, grid)
        return tensor

    def shortcut(self, path: str, tensor: str, unit: float, inputs: int, outputs: int) -> str:
        scaled = self.node("Mul", tensor, self.constant(np.float32(unit * SHORTCUT_UNIT)))
        return self.pointwise(f"{path}/map", scaled, inputs, outputs, PATCH)

    def round(self, tensor: str) -> str:
        return self.node("Floor", self.node("Add", tensor, self.constant(np.float32(0.5))))

    # -- the integer scale network, in floats: the encoder's choice of symbols may be approximate ------------

    def integer_layer(
        self, name: str, product: str, level_weights: str, channels: int, layer: IntegerLayer
    ) -> str:
        """Bias, rescaling and clipping behind the product of an integer layer."""
        path = f"scales/{name}/bias"
        if layer.level_nodes:
            bias = self.round(
                self.node("MatMul", level_weights, self.weight(path, (layer.level_nodes, channels)))
            )
        else:
            bias = self.weight(path, (channels,))
        scaled = self.node(
            "Mul", self.node("Add", product, bias), self.constant(np.float32(2.0**-layer.shift))
        )
        return self.node(
            "Clip", self.round(scaled), self.constant(np.float32(0)), self.constant(np.float32(layer.top))
        )

    def integer_pointwise(
        self, layer: IntegerPointwise, tensor: str, level_weights: str, inputs: int, grid: int
    ) -> str:
        outputs = layer.channels_out
        self.multiplications += inputs * outputs / grid**2
        weight = self.weight(f"scales/{layer.name}/weight", (outputs, inputs))
        product = self.node("MatMul", tensor, self.node("Transpose", weight, perm=[1, 0]))
        return self.integer_layer(layer.name, product, level_weights, outputs, layer)

    def integer_depthwise(
        self, layer: IntegerDepthwise, tensor: str, level_weights: str, channels: int, grid: int
    ) -> str:
        self.multiplications += 9 * channels / grid**2
        weight = self.weight(f"scales/{layer.name}/weight", (3, 3, channels))
        kernel = self.node("Unsqueeze", self.node("Transpose", weight, perm=[2, 0, 1]), self.constant([1]))
        planar = self.node("Transpose", tensor, perm=[0, 3, 1, 2])
        mixed = self.node("Conv", planar, kernel, group=channels, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        product = self.node("Transpose", mixed, perm=[0, 2, 3, 1])
        return self.integer_layer(layer.name, product, level_weights, channels, layer)

    def scale_features(self, network: ScaleNetwork, hyper: str, level_weights: str) -> str:
        """`ScaleNetwork.features`."""
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
                values = self.depth_to_space(values, 2, channels)
        return values

    def step_indices(
        self, network: ScaleNetwork, step: int, features: str, residuals: str | None, level_weights: str
    ) -> str:
        """`ScaleNetwork.step_indices`."""
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
        table = self.node("Cast", indices, to=TensorProto.INT64)
        first, further = (self.constant(row) for row in rounding_offsets())
        larger = self.node("GreaterOrEqual", magnitude, self.constant(np.float32(1.5)))
        offset = self.node(
            "Where", larger, self.node("Gather", further, table), self.node("Gather", first, table)
        )
        offset = self.node("Mul", strength, offset)
        offset = self.node("Min", offset, self.constant(np.float32(OFFSET_LIMIT)))
        threshold = self.node("Sub", self.constant(np.float32(0.5)), offset)
        rounded = self.node("Floor", self.node("Add", magnitude, threshold))
        return self.node("Mul", self.node("Sign", scaled), self.node("Relu", rounded))

    def gain(self, path: str, level_weights: str, channels: int) -> str:
        table = self.level_table(path, level_weights, channels)
        limit = np.float32(LOG_GAIN_LIMIT)
        return self.node("Exp", self.node("Clip", table, self.constant(-limit), self.constant(limit)))

    def step_masks(self, rows: str, columns: str) -> list[str]:
        """``rows``, ``columns``: of the plane of latents, over 2."""
        repeats = self.node("Concat", self.constant([1]), rows, columns, self.constant([1]), axis=0)
        cells = step_cells(self.architecture.latent_channels)
        return [self.node("Tile", self.constant(cell[None]), repeats) for cell in cells]

    def normalised(self, latents: str) -> str:
        return self.node("Mul", latents, self.weight("normaliser", (self.architecture.latent_channels,)))

    # -- networks ------------------------------------------------------------------------------------------

    def analysis(self, pixels: str, level_weights: str) -> str:
        a = self.architecture
        centred = self.node("Sub", pixels, self.constant(np.float32(PIXEL_CENTRE)))
        features = self.space_to_depth(centred, 8, 3)
        features = self.node("Div", features, self.constant(np.float32(PIXEL_UNIT)))
        features = self.pointwise("analysis/enter", features, 192, a.eighth_width, 8)
        features = self.block_stack(
            "analysis/eighth", a.analysis_eighth_blocks, features, level_weights, a.eighth_width, 8
        )
        features = self.space_to_depth(features, 2, a.eighth_width)
        features = self.pointwise("analysis/down", features, 4 * a.eighth_width, a.sixteenth_width, 16)
        features = self.block_stack(
            "analysis/sixteenth", a.analysis_sixteenth_blocks, features, level_weights, a.sixteenth_width, 16
        )
        features = self.pointwise("analysis/leave", features, a.sixteenth_width, a.latent_channels, 16)
        patches = self.space_to_depth(centred, PATCH, 3)
        linear = self.shortcut("analysis/shortcut", patches, 1.0 / LATENT_UNIT, 768, a.latent_channels)
        return self.node("Add", linear, features)

    def hyper_analysis(self, normalised: str, level_weights: str) -> str:
        a, width, path = self.architecture, self.architecture.hyper_width, "hyper_analysis"
        features = self.pointwise(f"{path}/enter", normalised, a.latent_channels, width, 16)
        features = self.block_stack(f"{path}/sixteenth", 1, features, level_weights, width, 16)
        features = self.space_to_depth(features, 2, width)
        features = self.pointwise(f"{path}/down_0", features, 4 * width, width, 32)
        features = self.block_stack(f"{path}/thirtysecond", 1, features, level_weights, width, 32)
        features = self.space_to_depth(features, 2, width)
        features = self.pointwise(f"{path}/down_1", features, 4 * width, width, 64)
        features = self.pointwise(f"{path}/leave", features, width, a.hyper_channels, 64)
        return self.node("Mul", features, self.constant(np.float32(HYPER_UNIT)))

    def hyper_synthesis(self, hyper: str, level_weights: str) -> str:
        a, width, path = self.architecture, self.architecture.hyper_width, "hyper_synthesis"
        inverse = self.gain("hyper_log_inverse_gain", level_weights, a.hyper_channels)
        features = self.node("Mul", hyper, inverse)
        features = self.node("Div", features, self.constant(np.float32(HYPER_UNIT)))
        features = self.pointwise(f"{path}/enter", features, a.hyper_channels, width, 64)
        features = self.node("Mul", features, self.node("Sigmoid", features))
        features = self.pointwise(f"{path}/up_0", features, width, 4 * width, 64)
        features = self.depth_to_space(features, 2, width)
        features = self.block_stack(f"{path}/thirtysecond", 1, features, level_weights, width, 32)
        features = self.pointwise(f"{path}/up_1", features, width, 4 * a.prediction_width, 32)
        features = self.depth_to_space(features, 2, a.prediction_width)
        return self.block_stack(f"{path}/sixteenth", 1, features, level_weights, a.prediction_width, 16)

    def step(self, number: int, features: str, known: str | None, level_weights: str) -> tuple[str, str]:
        """(features of this step, predicted latents)."""
        a, path, inputs = self.architecture, f"step_{number}", self.architecture.prediction_width
        if known is not None:
            features = self.node("Concat", features, self.normalised(known), axis=3)
            inputs += a.latent_channels
        features = self.pointwise(f"{path}/enter", features, inputs, a.prediction_width, 16)
        blocks = a.prediction_blocks if number else 1
        features = self.block_stack(f"{path}/blocks", blocks, features, level_weights, a.prediction_width, 16)
        return features, self.pointwise(f"{path}/leave", features, a.prediction_width, a.latent_channels, 16)

    def synthesis(self, latents: str, level_weights: str) -> str:
        a = self.architecture
        features = self.pointwise(
            "synthesis/enter", self.normalised(latents), a.latent_channels, a.sixteenth_width, 16
        )
        features = self.block_stack(
            "synthesis/sixteenth",
            a.synthesis_sixteenth_blocks,
            features,
            level_weights,
            a.sixteenth_width,
            16,
        )
        features = self.pointwise("synthesis/up", features, a.sixteenth_width, 4 * a.eighth_width, 16)
        features = self.depth_to_space(features, 2, a.eighth_width)
        features = self.block_stack(
            "synthesis/eighth", a.synthesis_eighth_blocks, features, level_weights, a.eighth_width, 8
        )
        detail = self.depth_to_space(
            self.pointwise("synthesis/leave", features, a.eighth_width, 192, 8), 8, 3
        )
        detail = self.node("Mul", detail, self.constant(np.float32(DETAIL_UNIT)))
        linear = self.shortcut("synthesis/shortcut", latents, LATENT_UNIT, a.latent_channels, 768)
        pixels = self.node("Add", self.depth_to_space(linear, PATCH, 3), detail)
        return self.node("Add", pixels, self.constant(np.float32(PIXEL_CENTRE)))

    def finish(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> Graph:
        graph = helper.make_graph(
            self.nodes, "aecodec", inputs, outputs, [*self.constants.values(), *self.weights.values()]
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="aecodec",
        )
        return Graph(model, tuple(self.weights), self.multiplications / 1000)

    def output(self, tensor: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))


def _value(name: str, kind: int, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def encoder_graph(architecture: Architecture) -> Graph:
    """pixels (1, height, width, 3) float32, level_weights (1, nodes) -> z, r int16 (`Autoencoder.encode`)."""
    a, build = architecture, GraphBuilder(architecture)
    latents = build.analysis("pixels", "level_weights")
    hyper = build.hyper_analysis(build.normalised(latents), "level_weights")
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
    for number, mask in enumerate(build.step_masks(*build.rows_and_columns(latents, 2))):
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
    a, build = architecture, GraphBuilder(architecture)
    hyper = build.node("Cast", "hyper_latents", to=TensorProto.FLOAT)
    residuals = build.node("Cast", "residuals", to=TensorProto.FLOAT)
    inverse = build.gain("log_inverse_gain", "level_weights", a.latent_channels)
    scaled = build.node("Mul", residuals, inverse)
    features = build.hyper_synthesis(hyper, "level_weights")
    known: str | None = None
    for number, mask in enumerate(build.step_masks(*build.rows_and_columns(residuals, 2))):
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
    a, build = architecture, GraphBuilder(architecture)
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
    prediction = 1 + a.prediction_blocks * (STEPS - 1)
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
