"""The whole model: encoder, decoder, and the training pass over both.

    encoder: (pixels, level) -> (hyper-latents z, residuals r)
    decoder: (z, r, level) -> pixels

The encoder runs the decoder's prediction, so both see the same reconstruction of each step. Residuals are in
quantisation steps here. The codec puts the same stages together itself (`analysis`, `hyper_latents`,
`hyper_features`, `predict_step`, `synthesise`), with a quantisation of its own between the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import LATENT_UNIT, STEPS, Architecture
from aecodec.networks.layers import (
    LevelTable,
    Tensor,
    bounded_gradient,
    level_weights_of,
    straight_through_round,
)
from aecodec.networks.prediction import HyperAnalysis, HyperSynthesis, StepPrediction, step_masks
from aecodec.networks.quantisation import rate_distortion_round, rate_in_bits
from aecodec.networks.scales import ScaleNetwork, logistic_bits
from aecodec.networks.transforms import Analysis, LinearTransform, Synthesis

LOG_GAIN_LIMIT = 12.0
"""Bound of the logarithm of a gain: an early, wild step cannot overflow."""
HYPER_LOG_GAIN_AT_LEVEL_0 = -1.4
"""Initial log-gain of hyper-latents at the lowest level, rising to 0 at the highest."""
ROUNDING_STRENGTH = 0.5
"""Of `rate_distortion_round`. Measured after 950 steps on held-out tiles, loss against rounding to the
nearest: 0.5 saves 2.3 to 4.0 % at every level, 0.75 and 1 save less."""
STEP_AT_UNIT_LAMBDA = 4.0
"""Initial quantisation step in grey levels, times the square root of lambda."""

Quantise: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(residuals in quantisation steps, their table indices) -> residuals as coded, of the same shape."""


@dataclass(frozen=True)
class TrainingPass:
    """What a pass gives, float32.

    Attributes:
        pixels: the decoded pictures (batch, height, width, 3), neither clipped nor rounded.
        residual_bits: (batch,), of all residuals of a picture, under the training distribution.
        hyper_bits: (batch,), of all its hyper-latents.
    """

    pixels: Tensor
    residual_bits: Tensor
    hyper_bits: Tensor


@dataclass(frozen=True)
class Coded:
    """What the five steps give, (batch, height/16, width/16, latent channels) float32 each.

    Attributes:
        latents: as the decoder reconstructs them.
        residuals: as quantised: integers, but for relaxed quantisation.
        scaled: residuals in quantisation steps, before rounding.
        indices: their tables, 0..63.
    """

    latents: Tensor
    residuals: Tensor
    scaled: Tensor
    indices: Tensor


class Autoencoder(keras.Model):
    """Analysis, synthesis, prediction and scales of one model."""

    def __init__(
        self, architecture: Architecture, *, dtype: Any = "float32", through_scales: bool = False
    ) -> None:
        """Fresh weights; training begins with `set_linear_transform`.

        Args:
            architecture: the sizes.
            dtype: Keras policy of the heavy layers; latents, gains and entropy parts stay float32.
            through_scales: whether in training the gradient of the rate reaches hyper-latents through the
                scale network as well, and not through the prediction alone. The gradients of rate and
                distortion by hyper-latents are then bounded (`bounded_gradient`).
        """
        super().__init__(name="autoencoder", dtype="float32")
        a = architecture
        self.architecture = a
        self._through_scales = through_scales
        self.analysis = Analysis(a, dtype=dtype)
        self.synthesis = Synthesis(a, dtype=dtype)
        self.hyper_analysis = HyperAnalysis(a, dtype=dtype)
        self.hyper_synthesis = HyperSynthesis(a, dtype=dtype)
        self.steps = [StepPrediction(a, step, dtype=dtype) for step in range(STEPS)]
        self.scale_network = ScaleNetwork(a)
        self.log_gain = LevelTable(a.level_nodes, a.latent_channels, name="log_gain")
        self.log_inverse_gain = LevelTable(a.level_nodes, a.latent_channels, name="log_inverse_gain")
        hyper_log_gain = np.linspace(HYPER_LOG_GAIN_AT_LEVEL_0, 0, a.level_nodes)[:, None]
        self.hyper_log_gain = LevelTable(
            a.level_nodes, a.hyper_channels, hyper_log_gain, name="hyper_log_gain"
        )
        self.hyper_log_inverse_gain = LevelTable(
            a.level_nodes, a.hyper_channels, -hyper_log_gain, name="hyper_log_inverse_gain"
        )
        for layer in self._parts():
            layer.build(None)
        self.normaliser = self.add_weight(
            shape=(a.latent_channels,), initializer="ones", trainable=False, name="normaliser"
        )
        self.rounding_strength = LevelTable(
            a.level_nodes, a.latent_channels, ROUNDING_STRENGTH, name="rounding_strength"
        )
        self.rounding_strength.build()
        self.rounding_strength.trainable = False
        self.built = True

    def _parts(self) -> list[keras.layers.Layer]:
        return [
            self.analysis,
            self.synthesis,
            self.hyper_analysis,
            self.hyper_synthesis,
            *self.steps,
            self.scale_network,
            self.log_gain,
            self.log_inverse_gain,
            self.hyper_log_gain,
            self.hyper_log_inverse_gain,
        ]

    def set_linear_transform(self, transform: LinearTransform) -> None:
        """Start as a transform codec: KLT shortcuts, and gains for a step that suits each node's lambda."""
        a = self.architecture
        self.analysis.set_linear_transform(transform)
        self.synthesis.set_linear_transform(transform)
        lambdas = np.array([a.lambda_of_level(node * a.sublevels) for node in range(a.level_nodes)])
        step = STEP_AT_UNIT_LAMBDA / np.sqrt(lambdas)
        log_gain = np.broadcast_to(np.log(LATENT_UNIT / step)[:, None], (a.level_nodes, a.latent_channels))
        self.normaliser.assign(LATENT_UNIT / transform.deviation)
        self.log_gain.rows.assign(log_gain.astype(np.float32))
        self.log_inverse_gain.rows.assign(-log_gain.astype(np.float32))

    def level_weights(self, levels: np.ndarray) -> np.ndarray:
        """Interpolation weights (batch, nodes) float32 of integer levels (batch,)."""
        return level_weights_of(levels, self.architecture.level_nodes, self.architecture.sublevels)

    def gains(self, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Of latents, (batch, 1, 1, latent channels) each: quantisation steps per unit, and the decoder's
        idea of the inverse.
        """
        return _bounded_exp(self.log_gain(level_weights)), _bounded_exp(self.log_inverse_gain(level_weights))

    def hyper_latents_before_rounding(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        """Latents -> hyper-latents before rounding, (batch, height/64, width/64, hyper channels) float32."""
        hyper = self.hyper_analysis(latents * self.normaliser, level_weights)
        return hyper * _bounded_exp(self.hyper_log_gain(level_weights))

    def hyper_latents(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        """Latents -> hyper-latents (batch, height/64, width/64, hyper channels), integers in float32."""
        return ops.floor(self.hyper_latents_before_rounding(latents, level_weights) + 0.5)

    def hyper_features(self, hyper: Tensor, level_weights: Tensor) -> Tensor:
        """Rounded hyper-latents -> features that the first step of the prediction starts from."""
        scaled = hyper * _bounded_exp(self.hyper_log_inverse_gain(level_weights))
        return self.hyper_synthesis(scaled, level_weights)

    def predict_step(
        self, number: int, features: Tensor, known: Tensor | None, level_weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step of the prediction; see `StepPrediction.call`, but for ``known``, which are latents.

        Args:
            number: of the step, 0..4.
            features: of the step before, or of `hyper_features`.
            known: (batch, height/16, width/16, latent channels), zero where unknown; None in step 0.
            level_weights: of `level_weights`.

        Returns:
            (features of this step, predicted latents).
        """
        seen = None if known is None else known * self.normaliser
        features, mean = self.steps[number](features, seen, level_weights)
        return features, mean

    def synthesise(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        """Reconstructed latents -> pixels, as of `decode`."""
        return self.synthesis(latents, latents * self.normaliser, level_weights)

    def rounding(self, level_weights: Tensor) -> Quantise:
        """Rounding with regard to the rate, of the level's strength; straight through for the gradient."""
        strength = self.rounding_strength(level_weights)

        def quantise(scaled: Tensor, indices: Tensor) -> Tensor:
            rounded = rate_distortion_round(scaled, indices, strength)
            return rounded + (scaled - ops.stop_gradient(scaled))

        return quantise

    def code(
        self,
        latents: Tensor,
        hyper: Tensor,
        level_weights: Tensor,
        quantise: Quantise,
        *,
        through: bool = False,
    ) -> Coded:
        """The five steps of the encoder: predict, quantise, reconstruct; ``through``: as for
        `ScaleNetwork.features`.
        """
        gain, inverse = self.gains(level_weights)
        features = self.hyper_features(hyper, level_weights)
        scale_features = self.scale_network.features(hyper, level_weights, through=through)
        known = residuals = None
        scaled, indices = ops.zeros_like(latents), ops.zeros_like(latents)
        for number, mask in enumerate(step_masks(latents)):
            features, mean = self.predict_step(number, features, known, level_weights)
            index = self.scale_network.step_indices(number, scale_features, residuals, level_weights)
            soft = (latents - mean) * gain
            residual = quantise(soft, index)
            scaled, indices = scaled + mask * soft, indices + mask * index
            update, coded = mask * (mean + residual * inverse), mask * residual
            known = update if known is None else known + update
            residuals = coded if residuals is None else residuals + coded
        return Coded(known, residuals, scaled, indices)

    def encode(self, pixels: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """The whole encoder, with the rounding of training.

        Args:
            pixels: (batch, height, width, 3) float32, 0..255, sides multiples of 64.
            level_weights: (batch, nodes), of `level_weights`.

        Returns:
            Integers in float32: hyper-latents z (batch, height/64, width/64, hyper channels), residuals r
            (batch, height/16, width/16, latent channels).
        """
        latents = self.analysis(pixels, level_weights)
        hyper = self.hyper_latents(latents, level_weights)
        return hyper, self.code(latents, hyper, level_weights, self.rounding(level_weights)).residuals

    def reconstruct_latents(self, hyper: Tensor, residuals: Tensor, level_weights: Tensor) -> Tensor:
        """(z, r) -> latents, shaped as r: prediction plus residual, step by step."""
        _, inverse = self.gains(level_weights)
        features = self.hyper_features(hyper, level_weights)
        known = None
        for number, mask in enumerate(step_masks(residuals)):
            features, mean = self.predict_step(number, features, known, level_weights)
            update = mask * (mean + residuals * inverse)
            known = update if known is None else known + update
        return known

    def decode(self, hyper: Tensor, residuals: Tensor, level_weights: Tensor) -> Tensor:
        """The whole decoder.

        (z, r) as `encode` gives them -> pixels (batch, height, width, 3) float32, on the scale 0..255,
        neither clipped nor rounded.
        """
        latents = self.reconstruct_latents(hyper, residuals, level_weights)
        return self.synthesise(latents, level_weights)

    def training_pass(
        self, pixels: Tensor, level_weights: Tensor, hyper_noise: Tensor, residual_noise: Tensor
    ) -> TrainingPass:
        """`evaluation_pass` with gradients: straight through rounding, and those of `rate_in_bits`.

        Args:
            pixels: as for `encode`.
            level_weights: as for `encode`.
            hyper_noise: uniform in -0.5..0.5, of the shape of z.
            residual_noise: the same, of the shape of r.
        """
        return self._pass(pixels, level_weights, hyper_noise, residual_noise)

    def latents_pass(
        self,
        latents: Tensor,
        level_weights: Tensor,
        hyper_noise: Tensor | None,
        residual_noise: Tensor | None,
    ) -> TrainingPass:
        """`training_pass`, or without noise `evaluation_pass`, for given latents.

        Args:
            latents: (batch, height/16, width/16, latent channels) float32.
            level_weights: as for `training_pass`, as is the noise.
            hyper_noise: the same.
            residual_noise: the same.
        """
        coded, bits = self._coded_with_rate(latents, level_weights, hyper_noise, residual_noise)
        return self._decoded(coded.latents, level_weights, *bits)

    def evaluation_pass(self, pixels: Tensor, level_weights: Tensor) -> TrainingPass:
        """The pixels and the rate of the symbols that `encode` gives: what a file would hold."""
        return self._pass(pixels, level_weights, None, None)

    def coding_pass(
        self, latents: Tensor, hyper: Tensor, level_weights: Tensor, quantise: Quantise
    ) -> tuple[Coded, TrainingPass]:
        """What coding these latents and hyper-latents costs and gives, for a search over both.

        Args:
            latents: (batch, height/16, width/16, latent channels) float32, before quantisation.
            hyper: (batch, height/64, width/64, hyper channels), integers in float32.
            level_weights: as for `encode`.
            quantise: how residuals are quantised; it may be relaxed, and has the gradient that it has.
        """
        coded = self.code(latents, hyper, level_weights, quantise, through=True)
        hyper_bits = logistic_bits(hyper, self.scale_network.hyper_indices(level_weights))
        residual_bits = logistic_bits(coded.residuals, coded.indices)
        return coded, self._decoded(coded.latents, level_weights, residual_bits, hyper_bits)

    def _pass(
        self, pixels: Tensor, level_weights: Tensor, hyper_noise: Tensor | None, residual_noise: Tensor | None
    ) -> TrainingPass:
        latents = self.analysis(pixels, level_weights)
        return self.latents_pass(latents, level_weights, hyper_noise, residual_noise)

    def _coded_with_rate(
        self,
        latents: Tensor,
        level_weights: Tensor,
        hyper_noise: Tensor | None,
        residual_noise: Tensor | None,
    ) -> tuple[Coded, tuple[Tensor, Tensor]]:
        """Latents as coded, and the bits of each residual and of each hyper-latent."""
        hyper_soft = self.hyper_latents_before_rounding(latents, level_weights)
        hyper = straight_through_round(hyper_soft)
        hyper_bits = rate_in_bits(
            hyper_soft, hyper, self.scale_network.hyper_indices(level_weights), hyper_noise
        )
        through = self._through_scales
        seen = bounded_gradient(hyper) if through else hyper
        coded = self.code(latents, seen, level_weights, self.rounding(level_weights), through=through)
        residual_bits = rate_in_bits(coded.scaled, coded.residuals, coded.indices, residual_noise)
        return coded, (residual_bits, hyper_bits)

    def _decoded(
        self, latents: Tensor, level_weights: Tensor, residual_bits: Tensor, hyper_bits: Tensor
    ) -> TrainingPass:
        """What a pass gives, of reconstructed latents and the bits of each symbol."""
        return TrainingPass(
            pixels=self.synthesise(latents, level_weights),
            residual_bits=ops.sum(residual_bits, axis=(1, 2, 3)),
            hyper_bits=ops.sum(hyper_bits, axis=(1, 2, 3)),
        )


def _bounded_exp(tensor: Tensor) -> Tensor:
    return ops.exp(ops.clip(tensor, -LOG_GAIN_LIMIT, LOG_GAIN_LIMIT))
