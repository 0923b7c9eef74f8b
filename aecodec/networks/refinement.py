"""The slopes of one picture's own rate plus lambda times distortion, by its latents and hyper-latents.

For a search over them: what the quantiser chose is taken as given, and the gradient passes it as if it
were not there (straight through). Published searches relax the quantiser instead (Yang, Bamler and Mandt,
"Improving inference for neural image compression", NeurIPS 2020), which a trellis does not allow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from aecodec.networks.architecture import Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled, gradients
from aecodec.networks.layers import Tensor
from aecodec.networks.scales import logistic_bits

SHARE_OF_LAMBDA = 0.85
"""Of the level's lambda, so that what the search saves goes into fewer bits rather than fewer errors."""


class Task(NamedTuple):
    """A picture, or a part of one, and what its latents were coded as.

    Attributes:
        pixels: (1, height, width, 3) float32, 0..255, sides multiples of 64.
        counted: (1, height, width, 1) float32, 1 where distortion counts and 0 where not.
        residuals: (1, height/16, width/16, latent channels) float32, in quantisation steps.
        level_weights: (1, nodes).
        weight: () float32, bits for a squared error of one grey level at one pixel; `weight_of_level`.
    """

    pixels: NDArray[np.float32]
    counted: NDArray[np.float32]
    residuals: NDArray[np.float32]
    level_weights: NDArray[np.float32]
    weight: NDArray[np.float32]


class Slope:
    """The compiled pass, for any number of tasks of one model."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self._slope = compiled(model, self._slope_pass)
        self._hyper_latents = compiled(model, model.hyper_latents_before_rounding)

    def __call__(
        self, task: Task, latents: Tensor, hyper: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """By how many bits the cost rises for each quantisation step that a latent rises, and for each whole
        number that a hyper-latent does, whose own bits do not count.

        Args:
            task: the picture.
            latents: (1, height/16, width/16, latent channels) float32, before quantisation.
            hyper: (1, height/64, width/64, hyper channels) float32, whole numbers.

        Returns:
            Shaped as latents and hyper-latents.
        """
        of_latents, of_hyper = self._slope(*task, latents, hyper)
        return np.asarray(ops.convert_to_numpy(of_latents)), np.asarray(ops.convert_to_numpy(of_hyper))

    def hyper_latents(self, latents: Tensor, level_weights: Tensor) -> NDArray[np.float32]:
        """What the search for hyper-latents starts from: `Autoencoder.hyper_latents_before_rounding`."""
        return np.asarray(ops.convert_to_numpy(self._hyper_latents(latents, level_weights)), np.float32)

    def _slope_pass(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        *given, latents, hyper = tensors
        task = Task(*given)
        _, step = self.model.gains(task.level_weights)
        of_latents, of_hyper = gradients(lambda *at: self._cost(task, *at), latents, hyper)
        return step * of_latents, of_hyper

    def _cost(self, task: Task, latents: Tensor, hyper: Tensor) -> Tensor:
        """Bits of residuals plus lambda times distortion."""

        def held(scaled: Tensor, indices: Tensor) -> Tensor:
            return task.residuals + (scaled - ops.stop_gradient(scaled))

        coded, result = self.model.coding_pass(latents, hyper, task.level_weights, held)
        error = ops.mean(ops.square(result.pixels - task.pixels) * task.counted, axis=-1)
        # Of residuals as they are before quantisation: those that became zero have a slope, too.
        bits = ops.sum(logistic_bits(coded.scaled, coded.indices))
        return bits + task.weight * ops.sum(error)


def weight_of_level(architecture: Architecture, level: int) -> NDArray[np.float32]:
    """What the search weighs distortion with at a level of the rate scale; ()."""
    return np.array(SHARE_OF_LAMBDA * architecture.lambda_of_level(level), np.float32)
