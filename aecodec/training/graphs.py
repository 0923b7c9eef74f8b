"""ONNX graphs of a model, built directly from its layers: no weights inside, only their names and shapes.

A direct build chooses the layout of every tensor (`aecodec.training.onnx_layers`); converters from Keras give
slower graphs, which transpose around every convolution.
"""

from __future__ import annotations

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
from aecodec.networks.prediction import HYPER_UNIT
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

    def gain(self, path: str, level_weights: str, channels: int) -> str:
        """The exponential of a clipped table of the level, (1, channels)."""
        table = self.level_table(path, level_weights, channels)
        limit = np.float32(LOG_GAIN_LIMIT)
        return self.node("Exp", self.node("Clip", table, self.constant(-limit), self.constant(limit)))

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


def _value(name: str, grid: int, channels: int) -> onnx.ValueInfoProto:
    """float32, channels last."""
    shape = [1, *_sides(grid), channels]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _hyper_latents(architecture: Architecture) -> onnx.ValueInfoProto:
    shape = [1, *_sides(HYPER_PATCH), architecture.hyper_channels]
    return helper.make_tensor_value_info("hyper_latents", TensorProto.INT16, shape)


def _features(architecture: Architecture, name: str) -> onnx.ValueInfoProto:
    """float32, planar."""
    shape = [1, architecture.prediction_width, *_sides(PATCH)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _level_weights(architecture: Architecture) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("level_weights", TensorProto.FLOAT, [1, architecture.level_nodes])


def _sides(grid: int) -> tuple[str, str]:
    """Names of height and width, those of `LayerBuilder.declared`."""
    return f"height_{grid}", f"width_{grid}"


def analysis_graph(architecture: Architecture) -> Graph:
    """pixels (1, height, width, 3), level_weights (1, nodes) -> latents (1, height/16, width/16, latent
    channels).
    """
    a, build = architecture, GraphBuilder(architecture, "pixels", 1)
    build.output(build.channels_last(build.analysis("pixels", "level_weights")), "latents")
    return build.finish(
        [_value("pixels", 1, 3), _level_weights(a)], [_value("latents", PATCH, a.latent_channels)]
    )


def hyper_analysis_graph(architecture: Architecture) -> Graph:
    """latents, level_weights -> hyper_latents int16 (1, height/64, width/64, hyper channels)
    (`Autoencoder.hyper_latents`).
    """
    a, build = architecture, GraphBuilder(architecture, "latents", PATCH)
    latents = build.planar("latents", a.latent_channels, PATCH)
    hyper = build.hyper_analysis(latents, "level_weights")
    gain = build.gain("encoder/hyper_log_gain", "level_weights", a.hyper_channels)
    rounded = build.round(build.node("Mul", hyper, gain))
    limit = np.float32(SYMBOL_LIMIT)
    clipped = build.node("Clip", rounded, build.constant(-limit), build.constant(limit))
    build.output(build.node("Cast", clipped, to=TensorProto.INT16), "hyper_latents")
    return build.finish([_value("latents", PATCH, a.latent_channels), _level_weights(a)], [_hyper_latents(a)])


def hyper_synthesis_graph(architecture: Architecture) -> Graph:
    """hyper_latents int16, level_weights -> features, planar (`Autoencoder.hyper_features`)."""
    a, build = architecture, GraphBuilder(architecture, "hyper_latents", HYPER_PATCH)
    hyper = build.node("Cast", "hyper_latents", to=TensorProto.FLOAT)
    build.output(build.hyper_synthesis(hyper, "level_weights"), "features")
    return build.finish([_hyper_latents(a), _level_weights(a)], [_features(a, "features")])


def step_graph(architecture: Architecture, number: int) -> Graph:
    """features of the step before, known latents (not in step 0), level_weights -> features of this step,
    means of the latents (`Autoencoder.predict_step`). Features are planar, latents channels last.
    """
    a, build = architecture, GraphBuilder(architecture, "features", PATCH, planar_source=True)
    features, means = build.step(number, "features", "known" if number else None, "level_weights")
    build.output(features, "step_features")
    build.output(means, "means")
    known = [_value("known", PATCH, a.latent_channels)] if number else []
    return build.finish(
        [_features(a, "features"), *known, _level_weights(a)],
        [_features(a, "step_features"), _value("means", PATCH, a.latent_channels)],
    )


def synthesis_graph(architecture: Architecture) -> Graph:
    """latents, level_weights -> pixels (1, height, width, 3) (`Autoencoder.synthesise`)."""
    a, build = architecture, GraphBuilder(architecture, "latents", PATCH)
    build.output(build.synthesis("latents", "level_weights"), "pixels")
    return build.finish(
        [_value("latents", PATCH, a.latent_channels), _level_weights(a)], [_value("pixels", 1, 3)]
    )


def model_graphs(architecture: Architecture) -> dict[str, Graph]:
    """All graphs of a model by name: encoding runs all but the last, decoding all but the first two."""
    return {
        "analysis": analysis_graph(architecture),
        "hyper_analysis": hyper_analysis_graph(architecture),
        "hyper_synthesis": hyper_synthesis_graph(architecture),
        **{f"step_{number}": step_graph(architecture, number) for number in range(STEPS)},
        "synthesis": synthesis_graph(architecture),
    }


def synthesis_halo(architecture: Architecture) -> int:
    """Pixels, a multiple of 16, beyond which nothing reaches into a rectangle of the synthesis, filtered."""
    return _reach(
        _POST_FILTER,
        (8, architecture.synthesis_eighth_blocks),
        (PATCH, architecture.synthesis_sixteenth_blocks),
    )


def halos(architecture: Architecture) -> dict[str, int]:
    """Pixels, multiples of 64, beyond which nothing reaches into a window: {"analysis": ..., "decoder": ...}.

    Every depthwise layer reaches one position further; grids are aligned, so each coarser grid rounds up.
    """
    a = architecture
    analysis = _reach(
        0, (PATCH, a.analysis_sixteenth_blocks), (8, a.analysis_eighth_blocks), (HYPER_PATCH, 0)
    )
    decoder = _reach(
        _POST_FILTER,
        (8, a.synthesis_eighth_blocks),
        (PATCH, a.synthesis_sixteenth_blocks + a.prediction_blocks * STEPS + 1),
        (32, 1),
        (HYPER_PATCH, 0),
    )
    return {"analysis": analysis, "decoder": decoder}


_POST_FILTER = 1
"""Pixels that a post-filter looks further than the synthesis."""


def _reach(start: int, *stages: tuple[int, int]) -> int:
    """How far, in pixels, ``start`` pixels become through stages of (grid in pixels, depthwise layers)."""
    for grid, layers in stages:
        start = -(-start // grid) * grid + grid * layers
    return start
