"""The whole model: the encoder graph, the decoder graph, and the training pass over both.

    encoder graph: (pixels, level) -> (hyper-latents z, residuals r)
    decoder graph: (z, r, level) -> pixels

The encoder runs the decoder's prediction, so both see the same reconstruction of each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from aecodec.networks.architecture import STEPS, Architecture
from aecodec.networks.layers import LevelTable, Tensor, level_weights_of, straight_through_round
from aecodec.networks.prediction import HyperAnalysis, HyperSynthesis, StepPrediction, step_masks
from aecodec.networks.scales import ScaleNetwork, logistic_bits
from aecodec.networks.transforms import LATENT_UNIT, Analysis, LinearTransform, Synthesis

LOG_GAIN_LIMIT = 12.0
"""Bound of the logarithm of a gain: an early, wild step cannot overflow."""
HYPER_LOG_GAIN_AT_LEVEL_0 = -1.4
"""Initial log-gain of hyper-latents at the lowest level, rising to 0 at the highest."""
STEP_AT_UNIT_LAMBDA = 4.0
"""Initial quantisation step in grey levels, times the square root of lambda."""


@dataclass(frozen=True)
class TrainingPass:
    """pixels: reconstruction (batch, height, width, 3); residual_bits, hyper_bits: (batch,) per picture."""

    pixels: Tensor
    residual_bits: Tensor
    hyper_bits: Tensor


class Autoencoder(keras.Model):
    """Analysis, synthesis, prediction and scales of one model."""

    def __init__(self, architecture: Architecture, *, dtype: Any = "float32") -> None:
        """``dtype`` is the policy of the heavy layers; latents, gains and entropy parts stay float32."""
        super().__init__(name="autoencoder", dtype="float32")
        a = architecture
        self.architecture = a
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
        self.dead_zone = LevelTable(a.level_nodes, a.latent_channels, name="dead_zone")
        self.dead_zone.build()
        self.dead_zone.trainable = False
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

    def _gains(self, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        return _bounded_exp(self.log_gain(level_weights)), _bounded_exp(self.log_inverse_gain(level_weights))

    def _hyper_latents(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        """Latents -> hyper-latents before rounding."""
        hyper = self.hyper_analysis(latents * self.normaliser, level_weights)
        return hyper * _bounded_exp(self.hyper_log_gain(level_weights))

    def _hyper_features(self, hyper: Tensor, level_weights: Tensor) -> Tensor:
        """Rounded hyper-latents -> features that the first step of the prediction starts from."""
        scaled = hyper * _bounded_exp(self.hyper_log_inverse_gain(level_weights))
        return self.hyper_synthesis(scaled, level_weights)

    def _normalise(self, latents: Tensor | None) -> Tensor | None:
        return None if latents is None else latents * self.normaliser

    def _synthesise(self, latents: Tensor, level_weights: Tensor) -> Tensor:
        return self.synthesis(latents, latents * self.normaliser, level_weights)

    def _quantise(self, scaled: Tensor, level_weights: Tensor) -> Tensor:
        """Round towards zero by up to the dead zone more than to the nearest: fewer bits for little distortion.

        A choice of the encoder alone (Sullivan 1996); the decoder does not know it.
        """
        magnitude = ops.floor(ops.abs(scaled) + 0.5 - self.dead_zone(level_weights))
        return ops.sign(scaled) * ops.maximum(magnitude, 0.0)

    def encode(self, pixels: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, height, width, 3) float32 0..255, sides multiples of 64 -> (z, r), integers in float32.

        z: (batch, height/64, width/64, hyper channels); r: (batch, height/16, width/16, latent channels).
        """
        latents = self.analysis(pixels, level_weights)
        hyper = ops.floor(self._hyper_latents(latents, level_weights) + 0.5)
        gain, inverse = self._gains(level_weights)
        features = self._hyper_features(hyper, level_weights)
        known, residuals = None, ops.zeros_like(latents)
        for step, mask in zip(self.steps, step_masks(latents), strict=True):
            features, mean = step(features, self._normalise(known), level_weights)
            residual = self._quantise((latents - mean) * gain, level_weights)
            residuals = residuals + mask * residual
            update = mask * (mean + residual * inverse)
            known = update if known is None else known + update
        return hyper, residuals

    def reconstruct_latents(self, hyper: Tensor, residuals: Tensor, level_weights: Tensor) -> Tensor:
        """(z, r) -> latents: prediction plus residual, step by step."""
        _, inverse = self._gains(level_weights)
        features = self._hyper_features(hyper, level_weights)
        known = None
        for step, mask in zip(self.steps, step_masks(residuals), strict=True):
            features, mean = step(features, self._normalise(known), level_weights)
            update = mask * (mean + residuals * inverse)
            known = update if known is None else known + update
        return known

    def decode(self, hyper: Tensor, residuals: Tensor, level_weights: Tensor) -> Tensor:
        """(z, r) as `encode` gives them -> pixels float32, neither clipped nor rounded."""
        latents = self.reconstruct_latents(hyper, residuals, level_weights)
        return self._synthesise(latents, level_weights)

    def training_pass(
        self, pixels: Tensor, level_weights: Tensor, hyper_noise: Tensor, residual_noise: Tensor
    ) -> TrainingPass:
        """One differentiable pass: uniform noise for the rate, straight-through rounding for everything else.

        hyper_noise, residual_noise: shapes of z and r, uniform in -0.5..0.5. `evaluation_pass` measures the true
        rate, of rounded symbols.
        """
        return self._pass(pixels, level_weights, hyper_noise, residual_noise)

    def evaluation_pass(self, pixels: Tensor, level_weights: Tensor) -> TrainingPass:
        """The same with the rate of the rounded symbols: what a file would hold."""
        return self._pass(pixels, level_weights, None, None)

    def coded_pass(self, pixels: Tensor, level_weights: Tensor) -> TrainingPass:
        """As `evaluation_pass`, for the symbols that `encode` gives, dead zone included; no gradient."""
        hyper, residuals = self.encode(pixels, level_weights)
        hyper_bits = logistic_bits(hyper, self.scale_network.hyper_indices(level_weights))
        scale_features = self.scale_network.features(hyper, level_weights)
        known, indices = None, ops.zeros_like(residuals)
        for number, mask in enumerate(step_masks(residuals)):
            index = self.scale_network.step_indices(number, scale_features, known, level_weights)
            indices = indices + mask * index
            known = mask * residuals if known is None else known + mask * residuals
        return TrainingPass(
            pixels=self.decode(hyper, residuals, level_weights),
            residual_bits=ops.sum(logistic_bits(residuals, indices), axis=(1, 2, 3)),
            hyper_bits=ops.sum(hyper_bits, axis=(1, 2, 3)),
        )

    def _pass(
        self, pixels: Tensor, level_weights: Tensor, hyper_noise: Tensor | None, residual_noise: Tensor | None
    ) -> TrainingPass:
        latents = self.analysis(pixels, level_weights)
        hyper_soft = self._hyper_latents(latents, level_weights)
        hyper = straight_through_round(hyper_soft)
        hyper_bits = rate_in_bits(
            hyper_soft, hyper, self.scale_network.hyper_indices(level_weights), hyper_noise
        )

        gain, inverse = self._gains(level_weights)
        features = self._hyper_features(hyper, level_weights)
        scale_features = self.scale_network.features(hyper, level_weights)
        known = known_residuals = None
        scaled, indices = ops.zeros_like(latents), ops.zeros_like(latents)
        for number, (step, mask) in enumerate(zip(self.steps, step_masks(latents), strict=True)):
            features, mean = step(features, self._normalise(known), level_weights)
            index = self.scale_network.step_indices(number, scale_features, known_residuals, level_weights)
            soft = (latents - mean) * gain
            residual = straight_through_round(soft)
            scaled = scaled + mask * soft
            indices = indices + mask * index
            update = mask * (mean + residual * inverse)
            known = update if known is None else known + update
            coded = mask * residual
            known_residuals = coded if known_residuals is None else known_residuals + coded
        residual_bits = rate_in_bits(scaled, known_residuals, indices, residual_noise)
        return TrainingPass(
            pixels=self._synthesise(known, level_weights),
            residual_bits=ops.sum(residual_bits, axis=(1, 2, 3)),
            hyper_bits=ops.sum(hyper_bits, axis=(1, 2, 3)),
        )


def _bounded_exp(tensor: Tensor) -> Tensor:
    return ops.exp(ops.clip(tensor, -LOG_GAIN_LIMIT, LOG_GAIN_LIMIT))


def rate_in_bits(soft: Tensor, rounded: Tensor, indices: Tensor, noise: Tensor | None) -> Tensor:
    """Bits of rounded symbols, with gradients that training can use.

    The value, and the gradient of the table indices, are those of the rounded symbols: what a file holds. The
    gradient of the symbols is that of the usual surrogate, uniform noise in place of rounding (Balle et al. 2017).
    With noise alone, symbols that are nearly always zero look expensive: measured at the lowest level, 0.39
    instead of 0.21 bits per pixel.

    Args:
        soft: symbols before rounding.
        rounded: the same rounded.
        indices: table indices.
        noise: uniform in -0.5..0.5; None for the value alone.
    """
    bits = logistic_bits(ops.stop_gradient(rounded), indices)
    if noise is None:
        return bits
    surrogate = logistic_bits(soft + noise, ops.stop_gradient(indices))
    return bits + (surrogate - ops.stop_gradient(surrogate))
