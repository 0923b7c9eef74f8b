"""One training step on TensorFlow or JAX: the same model, loss and optimiser; only differentiation differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from aecodec.errors import MissingDependencyError
from aecodec.networks.architecture import HYPER_PATCH, PATCH
from aecodec.networks.autoencoder import Autoencoder
from aecodec.training.data import CropPlan, PictureSet, take_crops
from aecodec.training.loss import RateDistortion, rate_distortion


@dataclass(frozen=True)
class StepResult:
    """Of one step: per-sample bits per pixel, mean squared error and loss, (batch,), and the gradient's norm."""

    bits_per_pixel: np.ndarray
    mean_squared_error: np.ndarray
    loss: np.ndarray
    gradient_norm: float


class Trainer(Protocol):
    """Holds the state that a backend trains."""

    def step(self, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult: ...

    def synchronise(self) -> None:
        """Write the trained state back into the Keras variables of model and optimiser."""


def noise_shapes(model: Autoencoder, batch: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    a = model.architecture
    hyper, latent = size // HYPER_PATCH, size // PATCH
    return (batch, hyper, hyper, a.hyper_channels), (batch, latent, latent, a.latent_channels)


def finite_gradients(gradients: list[Any]) -> tuple[list[Any], Any]:
    """(gradients, norm): a gradient that is not finite becomes zero as a whole, and the step goes nowhere."""
    norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients))
    finite = ops.isfinite(norm)
    return [ops.where(finite, gradient, ops.zeros_like(gradient)) for gradient in gradients], norm


def lambdas_of(model: Autoencoder, levels: np.ndarray) -> np.ndarray:
    return np.array([model.architecture.lambda_of_level(level) for level in levels], np.float32)


class TensorFlowTrainer:
    """Eager loop around one compiled step; no XLA, which is slower on CPUs."""

    def __init__(
        self, model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
    ) -> None:
        import tensorflow as tf

        self.model, self.optimizer, self.pictures = model, optimizer, pictures
        tf.random.set_seed(seed)
        variables = model.trainable_variables

        def compute(pixels: Any, level_weights: Any, lambdas: Any) -> tuple[Any, ...]:
            pixels = tf.cast(pixels, "float32")
            hyper_shape, residual_shape = noise_shapes(model, pixels.shape[0], pixels.shape[1])
            with tf.GradientTape() as tape:
                result = model.training_pass(
                    pixels,
                    level_weights,
                    tf.random.uniform(hyper_shape, -0.5, 0.5),
                    tf.random.uniform(residual_shape, -0.5, 0.5),
                )
                measured = rate_distortion(result, pixels, lambdas)
                total = tf.reduce_mean(measured.loss)
            gradients, norm = finite_gradients(tape.gradient(total, variables))
            optimizer.apply(gradients, variables)
            return measured.bits_per_pixel, measured.mean_squared_error, measured.loss, norm

        self._compute = tf.function(compute)

    def step(self, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult:
        self.optimizer.learning_rate.assign(learning_rate)
        results = self._compute(
            take_crops(self.pictures, plan),
            self.model.level_weights(levels),
            lambdas_of(self.model, levels),
        )
        rate, distortion, loss, norm = (np.asarray(result) for result in results)
        return StepResult(rate, distortion, loss, float(norm))

    def synchronise(self) -> None:
        """Nothing to do: TensorFlow trains the variables in place."""


class JaxTrainer:
    """Compiled step on pictures that lie in device memory as uint8; crops and symmetries are taken there."""

    def __init__(
        self, model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
    ) -> None:
        import jax

        self.jax, self.model, self.optimizer = jax, model, optimizer
        self.key = jax.random.key(seed)
        self.height, self.width = np.max([p.shape[:2] for p in pictures.pictures], axis=0)
        stacked = np.zeros((len(pictures), self.height, self.width, 3), np.uint8)
        for row, pixels in zip(stacked, pictures.pictures, strict=True):
            row[: pixels.shape[0], : pixels.shape[1]] = pixels
        self.stacked = jax.device_put(stacked)
        self.state = self._read_state()
        self._compute = jax.jit(self._make_step(), static_argnames="size", donate_argnums=0)

    def _read_state(self) -> tuple[list[Any], list[Any]]:
        return (
            [variable.value for variable in self.model.trainable_variables],
            [variable.value for variable in self.optimizer.variables],
        )

    def _make_step(self) -> Any:
        jax, model, optimizer = self.jax, self.model, self.optimizer
        variables = model.trainable_variables
        learning_rate_index = [v is optimizer._learning_rate for v in optimizer.variables].index(True)

        def crop(stacked: Any, picture: Any, top: Any, left: Any, turn: Any, size: int) -> Any:
            taken = jax.lax.dynamic_slice(stacked, (picture, top, left, 0), (1, size, size, 3))[0]
            taken = jax.numpy.where(turn & 1, taken[:, ::-1], taken)
            taken = jax.numpy.where(turn & 2, taken[::-1], taken)
            return jax.numpy.where(turn & 4, taken.transpose(1, 0, 2), taken)

        def loss(
            values: list[Any], pixels: Any, level_weights: Any, lambdas: Any, key: Any
        ) -> tuple[Any, RateDistortion]:
            hyper_shape, residual_shape = noise_shapes(model, pixels.shape[0], pixels.shape[1])
            hyper_key, residual_key = jax.random.split(key)
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                result = model.training_pass(
                    pixels,
                    level_weights,
                    jax.random.uniform(hyper_key, hyper_shape, minval=-0.5, maxval=0.5),
                    jax.random.uniform(residual_key, residual_shape, minval=-0.5, maxval=0.5),
                )
                measured = rate_distortion(result, pixels, lambdas)
            per_sample = (measured.bits_per_pixel, measured.mean_squared_error, measured.loss)
            return ops.mean(measured.loss), per_sample

        def step(
            state: Any, stacked: Any, plan: Any, level_weights: Any, lambdas: Any, rate: Any, key: Any, size: int
        ) -> Any:
            values, optimizer_values = state
            take = jax.vmap(lambda p, t, x, turn: crop(stacked, p, t, x, turn, size))
            pixels = take(*plan).astype("float32")
            optimizer_values = list(optimizer_values)
            optimizer_values[learning_rate_index] = rate
            (_, measured), gradients = jax.value_and_grad(loss, has_aux=True)(
                values, pixels, level_weights, lambdas, key
            )
            gradients, norm = finite_gradients(gradients)
            values, optimizer_values = optimizer.stateless_apply(optimizer_values, gradients, values)
            return (values, optimizer_values), (*measured, norm)

        return step

    def step(self, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult:
        key = self.jax.random.fold_in(self.key, int(self.optimizer_iterations()))
        self.state, results = self._compute(
            self.state,
            self.stacked,
            (plan.picture, plan.top, plan.left, plan.turn),
            self.model.level_weights(levels),
            lambdas_of(self.model, levels),
            np.float32(learning_rate),
            key,
            size=plan.size,
        )
        self._iterations += 1
        rate, distortion, loss, norm = results
        return StepResult(rate, distortion, loss, norm)

    _iterations = 0

    def optimizer_iterations(self) -> int:
        return self._iterations

    def synchronise(self) -> None:
        values, optimizer_values = self.state
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)
        for variable, value in zip(self.optimizer.variables, optimizer_values, strict=True):
            variable.assign(value)


def make_trainer(
    model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
) -> Trainer:
    """The trainer of the backend that Keras runs on."""
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowTrainer(model, optimizer, pictures, seed)
    if backend == "jax":
        return JaxTrainer(model, optimizer, pictures, seed)
    raise MissingDependencyError(
        f"expected Keras on TensorFlow or JAX for training, found {backend}; set KERAS_BACKEND accordingly"
    )
