"""Analysis (pixels -> latents) and synthesis (latents -> pixels), with a linear shortcut beside each.

The shortcut is a 16x16-patch linear map that starts as the Karhunen-Loeve transform of the training patches;
the last layer of the network branch starts at zero, so training begins at a working transform codec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import (
    GROUPS,
    LATENT_UNIT,
    PATCH,
    PIXEL_CENTRE,
    SHORTCUT_UNIT,
    Architecture,
)
from aecodec.networks.layers import BlockStack, Pointwise, Tensor, depth_to_space, space_to_depth

PIXEL_UNIT = 64.0
"""Network branches see pixels in units of 64 levels around the centre."""
DETAIL_UNIT = 8.0
"""The synthesis network corrects its linear shortcut in units of 8 levels."""


@dataclass(frozen=True)
class LinearTransform:
    """A Karhunen-Loeve transform of 16x16x3 patches.

    basis: (768, latent channels) float32, orthonormal columns, rows in the order of `space_to_depth`;
    deviation: (latent channels,) float32, standard deviation of each coefficient on the 0..255 scale.
    """

    basis: np.ndarray
    deviation: np.ndarray


def linear_transform_from_patches(patches: np.ndarray, latent_channels: int) -> LinearTransform:
    """Principal components of patches, (count, 768), pixel values 0..255; a multiple of 4 of them.

    Components are dealt out over the channel groups, so that each group holds its share of every frequency
    range.
    """
    centred = patches.astype(np.float64) - PIXEL_CENTRE
    covariance = centred.T @ centred / len(centred)
    variances, vectors = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:latent_channels]
    dealt = order.reshape(latent_channels // GROUPS, GROUPS).T.reshape(-1)
    deviation = np.sqrt(np.maximum(variances[dealt], 1e-2))
    return LinearTransform(vectors[:, dealt].astype(np.float32), deviation.astype(np.float32))


class Shortcut(keras.layers.Layer):
    """A linear map of patches; the weights in force are `SHORTCUT_UNIT` times the learned ones."""

    def __init__(self, channels_out: int, unit: float, *, name: str = "shortcut") -> None:
        super().__init__(dtype="float32", name=name)
        self.unit = unit * SHORTCUT_UNIT
        self.map = Pointwise(channels_out, name="map")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.map.build(input_shape)

    def set_basis(self, basis: np.ndarray) -> None:
        """Orthonormal weights, (channels in, channels out)."""
        self.map.kernel.assign(basis / SHORTCUT_UNIT)

    def call(self, inputs: Tensor) -> Tensor:
        """(batch, height/16, width/16, channels in) -> (..., channels out), float32."""
        return self.map(inputs * self.unit)


class Analysis(keras.layers.Layer):
    """Pixels (batch, height, width, 3), 0..255 -> latents (batch, height/16, width/16, latent channels).

    Latents are float32, in `LATENT_UNIT`.
    """

    def __init__(self, architecture: Architecture, *, dtype: Any = "float32", name: str = "analysis") -> None:
        super().__init__(dtype=dtype, name=name)
        a = architecture
        self.architecture = a
        self.shortcut = Shortcut(a.latent_channels, 1.0 / LATENT_UNIT)
        self.enter = Pointwise(a.eighth_width, dtype=dtype, name="enter")
        self.eighth = BlockStack(a.analysis_eighth_blocks, a.level_nodes, dtype=dtype, name="eighth")
        self.down = Pointwise(a.sixteenth_width, dtype=dtype, name="down")
        self.sixteenth = BlockStack(a.analysis_sixteenth_blocks, a.level_nodes, dtype=dtype, name="sixteenth")
        self.leave = Pointwise(a.latent_channels, gain=0.0, name="leave")

    def build(self, input_shape: Any = None) -> None:
        a = self.architecture
        self.shortcut.build((None, None, None, 3 * PATCH * PATCH))
        self.enter.build((None, None, None, 192))
        self.eighth.build((None, None, None, a.eighth_width))
        self.down.build((None, None, None, 4 * a.eighth_width))
        self.sixteenth.build((None, None, None, a.sixteenth_width))
        self.leave.build((None, None, None, a.sixteenth_width))

    def set_linear_transform(self, transform: LinearTransform) -> None:
        """Start from the transform's basis."""
        self.shortcut.set_basis(transform.basis)

    def call(self, pixels: Tensor, level_weights: Tensor) -> Tensor:
        """``pixels``: float32, sides multiples of 16; ``level_weights``: (batch, nodes)."""
        centred = pixels - PIXEL_CENTRE
        features = ops.cast(space_to_depth(centred, 8) / PIXEL_UNIT, self.compute_dtype)
        features = self.eighth(self.enter(features), level_weights)
        features = self.sixteenth(self.down(space_to_depth(features, 2)), level_weights)
        return self.shortcut(space_to_depth(centred, PATCH)) + self.leave(ops.cast(features, "float32"))


class Synthesis(keras.layers.Layer):
    """Latents -> pixels, float32, 0..255 but neither clipped nor rounded: the mirror of `Analysis`."""

    def __init__(
        self, architecture: Architecture, *, dtype: Any = "float32", name: str = "synthesis"
    ) -> None:
        super().__init__(dtype=dtype, name=name)
        a = architecture
        self.architecture = a
        self.shortcut = Shortcut(3 * PATCH * PATCH, LATENT_UNIT)
        self.enter = Pointwise(a.sixteenth_width, dtype=dtype, name="enter")
        self.sixteenth = BlockStack(
            a.synthesis_sixteenth_blocks, a.level_nodes, dtype=dtype, name="sixteenth"
        )
        self.up = Pointwise(4 * a.eighth_width, dtype=dtype, name="up")
        self.eighth = BlockStack(a.synthesis_eighth_blocks, a.level_nodes, dtype=dtype, name="eighth")
        self.leave = Pointwise(192, gain=0.0, name="leave")

    def build(self, input_shape: Any = None) -> None:
        a = self.architecture
        self.shortcut.build((None, None, None, a.latent_channels))
        self.enter.build((None, None, None, a.latent_channels))
        self.sixteenth.build((None, None, None, a.sixteenth_width))
        self.up.build((None, None, None, a.sixteenth_width))
        self.eighth.build((None, None, None, a.eighth_width))
        self.leave.build((None, None, None, a.eighth_width))

    def set_linear_transform(self, transform: LinearTransform) -> None:
        """Start from the transpose of the transform's basis, its inverse."""
        self.shortcut.set_basis(transform.basis.T)

    def call(self, latents: Tensor, normalised: Tensor, level_weights: Tensor) -> Tensor:
        """Latents at both scales -> (batch, height, width, 3).

        Args:
            latents: (batch, height/16, width/16, latent channels) float32, in `LATENT_UNIT`.
            normalised: the same at about unit variance, which the network branch sees.
            level_weights: (batch, nodes).
        """
        features = self.enter(ops.cast(normalised, self.compute_dtype))
        features = self.up(self.sixteenth(features, level_weights))
        features = self.eighth(depth_to_space(features, 2), level_weights)
        detail = depth_to_space(self.leave(ops.cast(features, "float32")), 8)
        return depth_to_space(self.shortcut(latents), PATCH) + DETAIL_UNIT * detail + PIXEL_CENTRE
