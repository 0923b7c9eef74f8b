"""The sizes and units of a model: plain data, no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PATCH = 16
"""Pixels between two latents."""

HYPER_PATCH = 64
"""Pixels between two hyper-latents."""

GROUPS = 4
"""Channel groups; they rotate over the four positions of each 2x2 cell of latents."""

STEPS = 5
"""Coding steps; the first two code one group of channels at half of the positions each, the others at all."""

TABLE_COUNT = 64
"""Entropy tables; the index of a table grows with the scale of the symbols it is made for."""

PIXEL_CENTRE = 127.5
"""The pixel value that both transforms count from."""

LATENT_UNIT = 32.0
"""Latents are coefficients of an orthonormal transform of 16x16x3 patches, in units of 32 grey levels."""

SHORTCUT_UNIT = 0.02
"""Weights of the linear shortcuts are learned in units of 0.02: they start optimal for a linear codec, and
move slowly."""


@dataclass(frozen=True)
class Architecture:
    """The sizes of the networks, and the range of the rate scale.

    Attributes:
        latent_channels: a multiple of 16: a coding step codes a quarter of them at a position, in bands of
            four.
        hyper_channels: of the hyper-latents.
        eighth_width: channels of the transforms at 1/8 resolution.
        sixteenth_width: channels of the transforms at 1/16 resolution.
        analysis_eighth_blocks: gated blocks of the analysis at 1/8; likewise the three that follow.
        hyper_width: channels of the hyper-analysis, and of the hyper-synthesis at 1/64 and 1/32.
        prediction_width: channels of the prediction at 1/16.
        prediction_blocks: gated blocks of each prediction step.
        scale_hyper_width: channels of the integer scale network at 1/64.
        scale_feature_width: channels of its features, which all five steps share.
        scale_step_width: channels inside each of its steps.
        level_nodes: qualities at which gains and feature scales are learned.
        sublevels: linearly interpolated levels from one node to the next.
        lambda_min: weight of the mean squared error at level 0.
        lambda_max: weight of the mean squared error at the last level.
    """

    latent_channels: int = 320
    hyper_channels: int = 96
    eighth_width: int = 192
    sixteenth_width: int = 320
    analysis_eighth_blocks: int = 3
    analysis_sixteenth_blocks: int = 3
    synthesis_eighth_blocks: int = 4
    synthesis_sixteenth_blocks: int = 4
    hyper_width: int = 192
    prediction_width: int = 256
    prediction_blocks: int = 2
    scale_hyper_width: int = 128
    scale_feature_width: int = 96
    scale_step_width: int = 128
    level_nodes: int = 8
    sublevels: int = 32
    lambda_min: float = 0.0005
    lambda_max: float = 0.36

    @property
    def level_count(self) -> int:
        """Number of levels of the rate scale; the last node has no sub-levels."""
        return (self.level_nodes - 1) * self.sublevels + 1

    def lambda_of_level(self, level: float) -> float:
        """Weight of the mean squared error (0..255 scale) against bits per pixel at a level.

        Geometric in the level, from ``lambda_min`` at 0 to ``lambda_max`` at ``level_count - 1``.
        """
        position = level / (self.level_count - 1)
        return float(self.lambda_min * (self.lambda_max / self.lambda_min) ** position)

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, as a model's manifest holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_dict`.

        Raises:
            TypeError: a name is none of the fields'.
        """
        return cls(**values)


PRESETS: dict[str, Architecture] = {
    "tiny": Architecture(
        latent_channels=64,
        hyper_channels=16,
        eighth_width=32,
        sixteenth_width=48,
        analysis_eighth_blocks=1,
        analysis_sixteenth_blocks=1,
        synthesis_eighth_blocks=1,
        synthesis_sixteenth_blocks=1,
        hyper_width=32,
        prediction_width=32,
        prediction_blocks=1,
        scale_hyper_width=24,
        scale_feature_width=16,
        scale_step_width=24,
    ),
    "small": Architecture(),
    "base": Architecture(
        eighth_width=256,
        sixteenth_width=448,
        analysis_eighth_blocks=4,
        analysis_sixteenth_blocks=4,
        synthesis_eighth_blocks=5,
        synthesis_sixteenth_blocks=5,
        prediction_width=320,
        prediction_blocks=3,
        scale_hyper_width=160,
        scale_feature_width=128,
        scale_step_width=192,
    ),
    "large": Architecture(
        hyper_channels=128,
        eighth_width=448,
        sixteenth_width=768,
        analysis_eighth_blocks=6,
        analysis_sixteenth_blocks=8,
        synthesis_eighth_blocks=10,
        synthesis_sixteenth_blocks=14,
        hyper_width=320,
        prediction_width=512,
        prediction_blocks=4,
        scale_hyper_width=160,
        scale_feature_width=128,
        scale_step_width=160,
    ),
}
"""Named sizes: ``tiny`` for tests, ``small`` for training on a CPU, ``base`` the default, ``large`` for
training and decoding on a GPU."""
