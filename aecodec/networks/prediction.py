"""Hyper-latents and the five-step mean prediction.

The hyper-latents are those of Minnen et al., "Joint autoregressive and hierarchical priors for learned image
compression" (NeurIPS 2018). Each step predicts a part of the latents from the hyper-latents and from what
the former steps reconstructed; channel groups rotate over the four positions of each 2x2 cell (quadtree
partition: Li et al., "Neural video compression with diverse contexts", CVPR 2023). Their first step, of which
the symbols cost a third more than those of any other, is cut in two by the colours of a checkerboard (He et
al., "Checkerboard context model for efficient learned image compression", CVPR 2021).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import GROUPS, STEPS, Architecture
from aecodec.networks.layers import BlockStack, Pointwise, Tensor, depth_to_space, space_to_depth

HYPER_UNIT = 4.0
"""Hyper-latents in units of a quarter of their network's natural range, so that rounding starts out fine."""


def step_cells(latent_channels: int) -> np.ndarray:
    """(steps, 2, 2, latent channels) float32 of 0 and 1: what each step codes within a 2x2 cell.

    Group g of the channels is coded at row a, column b of a cell in step 1 + (g + 2a + b) mod 4, or in step 0
    where that is 1 and a + b is even.
    """
    groups = np.arange(latent_channels) // (latent_channels // GROUPS)
    rows, columns = np.indices((2, 2))[..., None]
    step = 1 + (groups + 2 * rows + columns) % GROUPS
    step[(step == 1) & ((rows + columns) % 2 == 0)] = 0
    return np.stack([(step == s).astype(np.float32) for s in range(STEPS)])


def step_masks(latents: Tensor) -> list[Tensor]:
    """The cells of `step_cells` tiled over the plane of latents; each (1, height, width, channels)."""
    _, height, width, _ = ops.shape(latents)
    cells = step_cells(int(latents.shape[-1]))[:, None]
    return [ops.tile(ops.convert_to_tensor(cell), (1, height // 2, width // 2, 1)) for cell in cells]


class HyperAnalysis(keras.layers.Layer):
    """Latents -> hyper-latents before rounding, (batch, height/64, width/64, hyper channels) float32."""

    def __init__(self, architecture: Architecture, *, dtype: Any = "float32") -> None:
        super().__init__(dtype=dtype, name="hyper_analysis")
        a = architecture
        self.architecture = a
        self.enter = Pointwise(a.hyper_width, dtype=dtype, name="enter")
        self.sixteenth = BlockStack(1, a.level_nodes, dtype=dtype, name="sixteenth")
        self.down_0 = Pointwise(a.hyper_width, dtype=dtype, name="down_0")
        self.thirtysecond = BlockStack(1, a.level_nodes, dtype=dtype, name="thirtysecond")
        self.down_1 = Pointwise(a.hyper_width, dtype=dtype, name="down_1")
        self.leave = Pointwise(a.hyper_channels, name="leave")

    def build(self, input_shape: Any = None) -> None:
        width = self.architecture.hyper_width
        self.enter.build((None, None, None, self.architecture.latent_channels))
        self.sixteenth.build((None, None, None, width))
        self.down_0.build((None, None, None, 4 * width))
        self.thirtysecond.build((None, None, None, width))
        self.down_1.build((None, None, None, 4 * width))
        self.leave.build((None, None, None, width))

    def call(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        """``latents``: (batch, height/16, width/16, latent channels) float32, at about unit variance."""
        features = self.enter(ops.cast(latents, self.compute_dtype))
        features = self.sixteenth(features, level_weights)
        features = self.thirtysecond(self.down_0(space_to_depth(features, 2)), level_weights)
        features = self.down_1(space_to_depth(features, 2))
        return HYPER_UNIT * self.leave(ops.cast(features, "float32"))


class HyperSynthesis(keras.layers.Layer):
    """Rounded hyper-latents -> features at 1/16, (batch, height/16, width/16, prediction width)."""

    def __init__(self, architecture: Architecture, *, dtype: Any = "float32") -> None:
        super().__init__(dtype=dtype, name="hyper_synthesis")
        a = architecture
        self.architecture = a
        self.enter = Pointwise(a.hyper_width, dtype=dtype, name="enter")
        self.up_0 = Pointwise(4 * a.hyper_width, dtype=dtype, name="up_0")
        self.thirtysecond = BlockStack(1, a.level_nodes, dtype=dtype, name="thirtysecond")
        self.up_1 = Pointwise(4 * a.prediction_width, dtype=dtype, name="up_1")
        self.sixteenth = BlockStack(1, a.level_nodes, dtype=dtype, name="sixteenth")

    def build(self, input_shape: Any = None) -> None:
        a = self.architecture
        self.enter.build((None, None, None, a.hyper_channels))
        self.up_0.build((None, None, None, a.hyper_width))
        self.thirtysecond.build((None, None, None, a.hyper_width))
        self.up_1.build((None, None, None, a.hyper_width))
        self.sixteenth.build((None, None, None, a.prediction_width))

    def call(self, hyper_latents: Tensor, level_weights: Tensor) -> Tensor:
        """``hyper_latents``: (batch, height/64, width/64, hyper channels), integers in float32."""
        features = self.enter(ops.cast(hyper_latents / HYPER_UNIT, self.compute_dtype))
        features = depth_to_space(self.up_0(ops.silu(features)), 2)
        features = self.up_1(self.thirtysecond(features, level_weights))
        return self.sixteenth(depth_to_space(features, 2), level_weights)


class StepPrediction(keras.layers.Layer):
    """One step: (features of the step before, latents known so far) -> (features, predicted latents)."""

    def __init__(self, architecture: Architecture, step: int, *, dtype: Any = "float32") -> None:
        super().__init__(dtype=dtype, name=f"step_{step}")
        a = architecture
        self.architecture = a
        self.step = step
        self.enter = Pointwise(a.prediction_width, dtype=dtype, name="enter")
        self.blocks = BlockStack(a.prediction_blocks, a.level_nodes, dtype=dtype, name="blocks")
        self.leave = Pointwise(a.latent_channels, gain=0.0, name="leave")

    def build(self, input_shape: Any = None) -> None:
        a = self.architecture
        known = a.latent_channels if self.step else 0
        self.enter.build((None, None, None, a.prediction_width + known))
        self.blocks.build((None, None, None, a.prediction_width))
        self.leave.build((None, None, None, a.prediction_width))

    def call(self, features: Tensor, known: Tensor | None, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """One step at all positions and channels, of which the step's part is used.

        Args:
            features: (batch, height/16, width/16, prediction width), of the step before.
            known: (batch, height/16, width/16, latent channels), zero where unknown; None in step 0.
            level_weights: (batch, nodes).

        Returns:
            (features of this step, predicted latents in float32), shaped as the two arguments.
        """
        if known is not None:
            features = ops.concatenate([features, ops.cast(known, features.dtype)], axis=-1)
        features = self.blocks(self.enter(features), level_weights)
        return features, self.leave(ops.cast(features, "float32"))
