"""Search over the latents of one picture, for its own rate plus lambda times distortion.

Rounding is relaxed to a random choice between the two neighbouring integers that hardens as the search
goes on (stochastic Gumbel annealing: Yang, Bamler and Mandt, "Improving inference for neural image
compression", NeurIPS 2020), so that the loss has a gradient. The search starts at the latents of the encoder
graph, each drawn halfway to the integer that it chose: there, rounding to the nearest gives its symbols back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from aecodec.networks.architecture import Architecture
from aecodec.networks.autoencoder import Autoencoder, Coded, Quantise
from aecodec.networks.compilation import compiled, gradient
from aecodec.networks.layers import Tensor

DRAWN_TO_INTEGERS = 0.5
"""How far the start lies from the encoder's latents (0) to its symbols (1)."""
LEARNING_RATE = 0.02
"""Quantisation steps that Adam moves a latent by in an iteration, at most about."""
COOLING_FROM = 0.5
"""Share of the iterations with the full learning rate; it falls to zero over the rest."""
FIRST_TEMPERATURE = 0.5
LAST_TEMPERATURE = 0.15
MEAN_DECAY = 0.9
VARIANCE_DECAY = 0.95
GRADIENT_FLOOR = 0.3
"""Bits per quantisation step; gradients far below move a latent in proportion."""
SHARE_OF_LAMBDA = 0.85
"""Of the level's lambda, so that what the search saves goes into fewer bits rather than fewer errors."""
NOISE_MARGIN = 1e-6
FRACTION_MARGIN = 1e-3


class Task(NamedTuple):
    """What is searched for: the symbols of a picture, or of a part of it whose surroundings are settled.

    Attributes:
        pixels: (1, height, width, 3) float32, 0..255, sides multiples of 64.
        counted: (1, height, width, 1) float32, 1 where distortion counts and 0 where not.
        hyper: (1, height/64, width/64, hyper channels) float32, the hyper-latents, which stay.
        residuals: (1, height/16, width/16, latent channels) float32, integers, the encoder's choice.
        free: (1, height/16, width/16, 1) float32, 1 where residuals may change and 0 where they are settled.
        level_weights: (1, nodes).
        weight: () float32, bits for a squared error of one grey level at one pixel; `weight_of_level`.
    """

    pixels: NDArray[np.float32]
    counted: NDArray[np.float32]
    hyper: NDArray[np.float32]
    residuals: NDArray[np.float32]
    free: NDArray[np.float32]
    level_weights: NDArray[np.float32]
    weight: NDArray[np.float32]


class State(NamedTuple):
    """Where the search stands, (1, height/16, width/16, latent channels) float32 each.

    Attributes:
        latents: before quantisation.
        mean: moving average of their gradient, in bits per quantisation step.
        variance: moving average of its square.
    """

    latents: Any
    mean: Any
    variance: Any


class Search:
    """The compiled passes of the search, for any number of tasks of one model."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self._start = compiled(model, self._start_pass)
        self._descend = compiled(model, self._descend_pass)
        self._judge = compiled(model, self._judge_pass)

    def start(self, task: Task) -> State:
        """The encoder's latents, drawn to the symbols that it chose."""
        latents = self._start(*task)
        zeros = np.zeros(task.residuals.shape, np.float32)
        return State(latents, zeros, zeros)

    def descend(self, task: Task, state: State, iteration: int, iterations: int, noise: np.ndarray) -> State:
        """One iteration of Adam.

        Args:
            task: what is searched for.
            state: of the iteration before.
            iteration: 0..iterations-1.
            iterations: of the whole search, over which temperature and learning rate fall.
            noise: uniform in 0..1, of the residuals' shape.
        """
        done = iteration / iterations
        temperature = FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** done
        rate = LEARNING_RATE * min(1.0, (1 - done) / (1 - COOLING_FROM))
        corrections = [1 - decay ** (iteration + 1) for decay in (MEAN_DECAY, VARIANCE_DECAY)]
        numbers = np.array([temperature, rate, *corrections], np.float32)
        return State(*self._descend(*task, *state, noise, numbers))

    def judge(self, task: Task, latents: Tensor | None) -> tuple[NDArray[np.float32], float]:
        """(residuals, cost in bits) of latents rounded to the nearest; None for the encoder's symbols."""
        if latents is None:
            task, latents = task._replace(free=np.zeros_like(task.free)), task.residuals
        residuals, cost = self._judge(*task, latents)
        return np.asarray(ops.convert_to_numpy(residuals)), float(ops.convert_to_numpy(cost))

    def _start_pass(self, *tensors: Tensor) -> Tensor:
        task = Task(*tensors)
        latents = self.model.analysis(task.pixels, task.level_weights)
        coded = self._coded(task, latents, lambda scaled, _: task.residuals)
        rest = ops.clip(coded.scaled - task.residuals, -0.5, 0.5)
        wanted = task.residuals + (1 - DRAWN_TO_INTEGERS) * rest
        gain, _ = self.model.gains(task.level_weights)
        return latents + (wanted - coded.scaled) / gain

    def _descend_pass(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *given, latents, mean, variance, noise, numbers = tensors
        task = Task(*given)
        temperature, rate, mean_correction, variance_correction = (numbers[i] for i in range(4))
        quantise = _settled(task, annealed(noise, temperature))
        _, step = self.model.gains(task.level_weights)
        slope = step * gradient(lambda at: self._cost(task, at, quantise)[1], latents)
        mean = MEAN_DECAY * mean + (1 - MEAN_DECAY) * slope
        variance = VARIANCE_DECAY * variance + (1 - VARIANCE_DECAY) * slope * slope
        size = ops.sqrt(variance / variance_correction) + GRADIENT_FLOOR
        return latents - rate * step * (mean / mean_correction) / size, mean, variance

    def _judge_pass(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        *given, latents = tensors
        task = Task(*given)
        nearest = _settled(task, lambda scaled, _: ops.floor(scaled + 0.5))
        return self._cost(task, latents, nearest)

    def _coded(self, task: Task, latents: Tensor, quantise: Quantise) -> Coded:
        return self.model.code(latents, task.hyper, task.level_weights, quantise)

    def _cost(self, task: Task, latents: Tensor, quantise: Quantise) -> tuple[Tensor, Tensor]:
        """(residuals, bits plus lambda times distortion)."""
        coded, result = self.model.coding_pass(latents, task.hyper, task.level_weights, quantise)
        error = ops.mean(ops.square(result.pixels - task.pixels) * task.counted, axis=-1)
        return coded.residuals, ops.sum(result.residual_bits) + task.weight * ops.sum(error)


def weight_of_level(architecture: Architecture, level: int) -> NDArray[np.float32]:
    """What the search weighs distortion with at a level of the rate scale; ()."""
    return np.array(SHARE_OF_LAMBDA * architecture.lambda_of_level(level), np.float32)


def annealed(noise: Tensor, temperature: Tensor) -> Quantise:
    """A value between the two neighbouring integers: at random, the nearer the likelier, and the cooler the
    closer to one of them.

    Args:
        noise: uniform in 0..1, of the residuals' shape.
        temperature: (), above 0.
    """
    uniform = ops.clip(noise, NOISE_MARGIN, 1 - NOISE_MARGIN)
    logistic = ops.log(uniform) - ops.log(1 - uniform)  # the difference of the two Gumbel variables

    def quantise(scaled: Tensor, indices: Tensor) -> Tensor:
        lower = ops.stop_gradient(ops.floor(scaled))
        fraction = ops.clip(scaled - lower, FRACTION_MARGIN, 1 - FRACTION_MARGIN)
        odds = (ops.arctanh(fraction) - ops.arctanh(1 - fraction)) / temperature
        return lower + ops.sigmoid((odds + logistic) / temperature)

    return quantise


def _settled(task: Task, quantise: Quantise) -> Quantise:
    """``quantise`` where residuals are free; elsewhere they are what they are."""

    def either(scaled: Tensor, indices: Tensor) -> Tensor:
        return task.free * quantise(scaled, indices) + (1 - task.free) * task.residuals

    return either
