"""Dependent quantisation in training: forward as the encoder quantises, but for the adaptation of table
indices in the first two steps, with gradients to train by.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from aecodec.entropy import (
    ADAPTED_STEPS,
    FINE_UNIT,
    INDEX_COUNT,
    RESIDUAL_UNIT,
    WAVE_COUNT,
    Lanes,
    Tables,
    in_wave,
)
from aecodec.networks.autoencoder import Autoencoder, TrainingPass
from aecodec.networks.layers import Tensor
from aecodec.networks.prediction import step_masks
from aecodec.networks.scales import logistic_bits
from aecodec.quantisation import Quantiser

_FINE = FINE_UNIT / RESIDUAL_UNIT


class Quantised(NamedTuple):
    """Residuals of a step, float32 planes of the latents' shape, 0 where the step does not code.

    Attributes:
        values: in quantisation steps.
        below: how much nearer to zero their bins begin.
        above: how much further from zero they end.
    """

    values: Any
    below: Any
    above: Any


class DependentCoding:
    """The five steps of the encoder, batch by batch: every crop is a chunk.

    Args:
        model: whose latents they are; its own rounding strength is taken.
        steps: the tables of each step, that the costs of symbols are taken from.
    """

    def __init__(self, model: Autoencoder, steps: Sequence[Tables]) -> None:
        import tensorflow

        self._tensorflow = tensorflow
        self._model = model
        self._first = [tables.first_dependent for tables in steps]
        self._quantisers = [Quantiser(tables, dependent=True) for tables in steps]

    def decoder_pass(
        self,
        latents: Tensor,
        hyper: Tensor,
        level_weights: Tensor,
        residual_noise: Tensor,
    ) -> TrainingPass:
        """`Autoencoder.decoder_pass` with dependent residuals, for given hyper-latents.

        The value of the rate, and its gradient by the table indices, are those of the logistic over the bins
        of the quantisers; the gradient by the residuals is that of noise in unit bins, as everywhere.

        Args:
            latents: (batch, height/16, width/16, latent channels) float32.
            hyper: (batch, height/64, width/64, hyper channels), integers in float32.
            level_weights: (batch, nodes).
            residual_noise: uniform in -0.5..0.5, shaped as the latents.
        """
        model = self._model
        gain, inverse = model.gains(level_weights)
        strength = model.rounding_strength(level_weights) * ops.ones_like(latents)
        features = model.hyper_features(hyper, level_weights)
        scale_features = model.scale_network.features(hyper, level_weights)
        zeros = ops.zeros_like(latents)
        known = residuals = None
        held, bits = zeros, zeros
        for number, mask in enumerate(step_masks(latents)):
            features, mean = model.predict_step(number, features, known, level_weights)
            index = model.scale_network.step_indices(number, scale_features, residuals, level_weights)
            soft = (latents - mean) * gain
            coded = self._quantised(number, soft, index, mask, strength)
            through = coded.values + mask * (soft - ops.stop_gradient(soft))
            update = mask * mean + through * inverse
            known = update if known is None else known + update
            residuals = coded.values if residuals is None else residuals + coded.values
            held = held + mask * mean + coded.values * inverse
            exact = logistic_bits(coded.values, index, coded.below, coded.above)
            surrogate = logistic_bits(soft + residual_noise, ops.stop_gradient(index))
            bits = bits + mask * (exact + surrogate - ops.stop_gradient(surrogate))
        hyper_bits = logistic_bits(hyper, model.scale_network.hyper_indices(level_weights))
        return TrainingPass(
            pixels=model.synthesise(held, level_weights),
            residual_bits=ops.sum(bits, axis=(1, 2, 3)),
            hyper_bits=ops.sum(hyper_bits, axis=(1, 2, 3)),
        )

    def evaluation_pass(self, pixels: Tensor, level_weights: Tensor) -> TrainingPass:
        """`Autoencoder.evaluation_pass` with dependent residuals."""
        latents = self._model.analysis(pixels, level_weights)
        hyper = self._model.hyper_latents(latents, level_weights)
        return self.decoder_pass(latents, hyper, level_weights, ops.zeros_like(latents))

    def _quantised(
        self, step: int, scaled: Tensor, indices: Tensor, mask: Tensor, strength: Tensor
    ) -> Quantised:
        tensorflow = self._tensorflow
        planes = tensorflow.numpy_function(
            partial(self.quantise, step),
            [ops.stop_gradient(tensor) for tensor in (scaled, indices, mask, strength)],
            tensorflow.float32,
            stateful=False,
        )
        planes.set_shape((3, *scaled.shape))
        return Quantised(planes[0], planes[1], planes[2])

    def quantise(
        self, step: int, scaled: np.ndarray, indices: np.ndarray, mask: np.ndarray, strength: np.ndarray
    ) -> np.ndarray:
        """Quantise a step of a batch.

        Args:
            step: 0..4.
            scaled: float32 (batch, rows, columns, channels), in quantisation steps.
            indices: the same, table indices 0..63.
            mask: (1, rows, columns, channels), 1 where the step codes; C order is coding order.
            strength: of the rate, shaped as ``scaled``.

        Returns:
            float32 (3, batch, rows, columns, channels): the fields of `Quantised`.
        """
        planes = np.full((3, len(scaled), mask.size), 0.5, np.float32)
        planes[0] = 0
        for chosen in map(np.flatnonzero, _waves(step, mask)):
            for number, sample in enumerate(scaled):
                of_wave = (plane.reshape(-1)[chosen] for plane in (sample, indices[number], strength[number]))
                planes[:, number, chosen] = self._quantise_sample(step, *of_wave)
        return planes.reshape(3, *scaled.shape)

    def _quantise_sample(
        self, step: int, scaled: np.ndarray, indices: np.ndarray, strength: np.ndarray
    ) -> np.ndarray:
        tables = np.clip(np.nan_to_num(indices), 0, INDEX_COUNT - 1).astype(np.uint8)
        residuals = self._quantisers[step].quantise(scaled, tables, strength)
        planes = np.full((3, len(scaled)), 0.5, np.float32)
        planes[0] = residuals / np.float32(RESIDUAL_UNIT)
        lanes = Lanes.of(tables, self._first[step])
        _, numbers = lanes.trace(residuals[lanes.order])
        points = np.abs(residuals[lanes.order]) // FINE_UNIT
        under_1 = numbers >= 2 * INDEX_COUNT
        planes[1, lanes.order] = np.where(under_1 & (points <= 1), _FINE / 2, _FINE)
        planes[2, lanes.order] = np.where(under_1 & (points == 0), _FINE / 2, _FINE)
        return planes


def _waves(step: int, mask: np.ndarray) -> list[np.ndarray]:
    """Where each wave of a step codes, (1, rows, columns, channels), in a plane of all residuals."""
    if step >= ADAPTED_STEPS:
        return [mask]
    _, height, width, _ = mask.shape
    waves = (in_wave(wave, height, width // 2) for wave in range(WAVE_COUNT))
    return [mask * np.repeat(of_cells, 2, axis=1)[..., np.newaxis] for of_cells in waves]
