"""One training step on TensorFlow or JAX: the same model, loss and optimiser, differentiated by each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from aecodec.errors import InputError, MissingDependencyError
from aecodec.networks.architecture import HYPER_PATCH, PATCH, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.layers import Tensor
from aecodec.training.data import CropPlan, PictureSet, take_crops
from aecodec.training.loss import lambdas_of, rate_distortion

MAX_DEVICE_PIXELS = 2**31 - 1
"""What JAX can index with its 32-bit integers."""


@dataclass(frozen=True)
class StepResult:
    """What a step measured, before it changed the weights; read with ``np.asarray``, which waits for JAX.

    Attributes:
        bits_per_pixel: (batch,).
        mean_squared_error: (batch,), on the 0..255 scale.
        loss: (batch,).
        gradient_norm: (), the global norm before clipping; where it is not finite, nothing was changed.
    """

    bits_per_pixel: Tensor
    mean_squared_error: Tensor
    loss: Tensor
    gradient_norm: Tensor


class Trainer(Protocol):
    """Holds the state that a backend trains."""

    def step(self, number: int, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult:
        """Train on one batch.

        Args:
            number: of the step in the run; with the seed it decides the noise.
            plan: the crops.
            levels: int (batch,), 0..224.
            learning_rate: of this step.
        """

    def synchronise(self) -> None:
        """Write the trained state back into the Keras variables of model and optimiser."""


def make_trainer(
    model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
) -> Trainer:
    """The trainer of the backend that Keras runs on.

    Raises:
        MissingDependencyError: that backend is neither TensorFlow nor JAX.
        InputError: there are more pictures than JAX can index.
    """
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowTrainer(model, optimizer, pictures, seed)
    if backend == "jax":
        return JaxTrainer(model, optimizer, pictures, seed)
    raise MissingDependencyError(
        f"expected Keras on TensorFlow or JAX for training, found {backend}; set KERAS_BACKEND accordingly"
    )


def noise_shapes(architecture: Architecture, pixels: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the noise on hyper-latents and on residuals for a batch of pixels."""
    batch, height, width, _ = pixels.shape
    hyper = (batch, height // HYPER_PATCH, width // HYPER_PATCH, architecture.hyper_channels)
    return hyper, (batch, height // PATCH, width // PATCH, architecture.latent_channels)


def global_norm(gradients: list[Tensor]) -> Tensor:
    """() float32: not finite as soon as one element of one gradient is not."""
    return ops.sqrt(sum(ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients))


class TensorFlowTrainer:
    """Eager loop around one compiled step; no XLA, which is slower on CPUs."""

    def __init__(
        self, model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
    ) -> None:
        import tensorflow as tf

        self._tensorflow = tf
        self._model, self._optimizer, self._pictures, self._seed = model, optimizer, pictures, seed
        self._compiled_step = tf.function(self._step, autograph=False)

    def step(self, number: int, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult:
        """See `Trainer.step`."""
        self._optimizer.learning_rate.assign(learning_rate)
        results = self._compiled_step(
            take_crops(self._pictures, plan),
            self._model.level_weights(levels),
            lambdas_of(self._model.architecture, levels),
            np.array([self._seed, number], np.int32),
        )
        return StepResult(*(result.numpy() for result in results))

    def synchronise(self) -> None:
        """Nothing to do: TensorFlow trains the variables in place."""

    def _step(
        self, pixels: Tensor, level_weights: Tensor, lambdas: Tensor, seed: Tensor
    ) -> tuple[Tensor, ...]:
        tf, variables = self._tensorflow, self._model.trainable_variables
        pixels = tf.cast(pixels, "float32")
        noise = [
            tf.random.stateless_uniform(shape, key, -0.5, 0.5)
            for shape, key in zip(
                noise_shapes(self._model.architecture, pixels),
                tf.unstack(tf.random.split(seed, 2)),
                strict=True,
            )
        ]
        with tf.GradientTape() as tape:
            result = self._model.training_pass(pixels, level_weights, *noise)
            measured = rate_distortion(result, pixels, lambdas)
            total = tf.reduce_mean(measured.loss)
        gradients = tape.gradient(total, variables)
        norm = global_norm(gradients)

        def move() -> Tensor:
            self._optimizer.apply(gradients, variables)
            return norm

        norm = tf.cond(tf.math.is_finite(norm), move, lambda: norm)
        return measured.bits_per_pixel, measured.mean_squared_error, measured.loss, norm


class JaxTrainer:
    """Compiled step on pictures that lie in device memory; crops and symmetries are taken there."""

    def __init__(
        self, model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
    ) -> None:
        import jax

        self._jax, self._model, self._optimizer = jax, model, optimizer
        self._variables = model.trainable_variables
        self._learning_rate = [v is optimizer._learning_rate for v in optimizer.variables].index(True)
        self._key = jax.random.key(seed)
        self._pictures = DevicePictures(pictures)
        self._state = (self._copies(self._variables), self._copies(optimizer.variables))
        self._compiled_step = jax.jit(self._step, static_argnames="size", donate_argnums=0)

    def step(self, number: int, plan: CropPlan, levels: np.ndarray, learning_rate: float) -> StepResult:
        """See `Trainer.step`. Returns before the device is done."""
        self._state, results = self._compiled_step(
            self._state,
            self._pictures.pixels,
            self._pictures.places(plan),
            self._model.level_weights(levels),
            lambdas_of(self._model.architecture, levels),
            np.float32(learning_rate),
            self._jax.random.fold_in(self._key, number),
            size=plan.size,
        )
        return StepResult(*results)

    def synchronise(self) -> None:
        """See `Trainer.synchronise`."""
        for variables, values in zip((self._variables, self._optimizer.variables), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(self._jax.numpy.copy(value))

    def _copies(self, variables: list[Any]) -> list[Tensor]:
        """A step gives its state's memory away, so the state must not share any with the variables."""
        return [self._jax.numpy.copy(variable.value) for variable in variables]

    def _step(
        self,
        state: Any,
        stored: Tensor,
        places: tuple[Tensor, ...],
        level_weights: Tensor,
        lambdas: Tensor,
        learning_rate: Tensor,
        key: Tensor,
        *,
        size: int,
    ) -> Any:
        jax = self._jax
        values, optimizer_values = state[0], list(state[1])
        optimizer_values[self._learning_rate] = learning_rate
        pixels = device_crops(stored, places, size).astype("float32")
        differentiate = jax.value_and_grad(self._loss, has_aux=True)
        (_, measured), gradients = differentiate(values, pixels, level_weights, lambdas, key)
        norm = global_norm(gradients)
        moved = self._optimizer.stateless_apply(optimizer_values, gradients, values)
        finite = jax.numpy.isfinite(norm)
        kept = jax.tree.map(
            lambda new, old: jax.numpy.where(finite, new, old), tuple(moved), (values, optimizer_values)
        )
        return kept, (*measured, norm)

    def _loss(
        self, values: list[Tensor], pixels: Tensor, level_weights: Tensor, lambdas: Tensor, key: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        random = self._jax.random
        noise = [
            random.uniform(part, shape, minval=-0.5, maxval=0.5)
            for shape, part in zip(
                noise_shapes(self._model.architecture, pixels), random.split(key), strict=True
            )
        ]
        with keras.StatelessScope(state_mapping=list(zip(self._variables, values, strict=True))):
            result = self._model.training_pass(pixels, level_weights, *noise)
            measured = rate_distortion(result, pixels, lambdas)
        per_sample = (measured.bits_per_pixel, measured.mean_squared_error, measured.loss)
        return ops.mean(measured.loss), per_sample


class DevicePictures:
    """Pictures of any sizes one after the other in device memory.

    Attributes:
        pixels: uint8 (pixel, 3), the rows of the first picture, then those of the next.
    """

    def __init__(self, pictures: PictureSet) -> None:
        import jax

        sides = np.array([pixels.shape[:2] for pixels in pictures.pictures], np.int64)
        areas = sides.prod(axis=1)
        if areas.sum() > MAX_DEVICE_PIXELS:
            raise InputError(
                f"expected pictures of up to {MAX_DEVICE_PIXELS} pixels in all, found {areas.sum()}; "
                "train on fewer at a time"
            )
        self._starts = np.concatenate(([0], np.cumsum(areas)[:-1]))
        self._widths = sides[:, 1]
        flat = np.concatenate([pixels.reshape(-1, 3) for pixels in pictures.pictures])
        self.pixels = jax.device_put(flat)

    def places(self, plan: CropPlan) -> tuple[np.ndarray, ...]:
        """Of each crop, int32 (batch,): its first pixel, pixels between its rows, and its turn."""
        width = self._widths[plan.picture]
        first = self._starts[plan.picture] + plan.top * width + plan.left
        return first.astype(np.int32), width.astype(np.int32), plan.turn


def device_crops(pixels: Tensor, places: tuple[Tensor, ...], size: int) -> Tensor:
    """The crops at `DevicePictures.places`, uint8 (batch, size, size, 3), the same as `take_crops` gives."""
    import jax

    def crop(first: Tensor, width: Tensor, turn: Tensor) -> Tensor:
        starts = first + width * jax.numpy.arange(size)
        taken = jax.vmap(lambda start: jax.lax.dynamic_slice(pixels, (start, 0), (size, 3)))(starts)
        taken = jax.numpy.where(turn & 1, taken[:, ::-1], taken)
        taken = jax.numpy.where(turn & 2, taken[::-1], taken)
        return jax.numpy.where(turn & 4, taken.transpose(1, 0, 2), taken)

    return jax.vmap(crop)(*places)
