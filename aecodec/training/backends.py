"""Training steps on TensorFlow or JAX: the same model, loss and optimiser, differentiated by each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from aecodec.training.loss import lambdas_of, rate_distortion, robust_mean

MAX_DEVICE_PIXELS = 2**31 - 1
"""What JAX can index with its 32-bit integers."""


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        crops: as many as there are samples.
        levels: int (batch,), 0..224.
    """

    crops: CropPlan
    levels: np.ndarray


@dataclass(frozen=True)
class StepResults:
    """What steps measured, before each changed the weights; read with ``np.asarray``, which waits for JAX.

    Attributes:
        bits_per_pixel: (steps, batch).
        mean_squared_error: (steps, batch), on the 0..255 scale.
        loss: (steps, batch).
        gradient_norm: (steps,), the global norm before clipping; where it is not finite, nothing was changed.
    """

    bits_per_pixel: Tensor
    mean_squared_error: Tensor
    loss: Tensor
    gradient_norm: Tensor


class Trainer(Protocol):
    """Holds the state that a backend trains."""

    def train(self, first: int, batches: Sequence[Batch], learning_rates: Sequence[float]) -> StepResults:
        """Take a step on each of some batches, whose crops are of one number and size.

        Args:
            first: number of the first step in the run; with the seed it decides the noise.
            batches: one for each step.
            learning_rates: of these steps.
        """

    def prepare(self, batch: int, size: int, steps: int) -> None:
        """Begin to compile, where the backend can, for so many steps in a call, each on ``batch`` crops.

        It returns at once; `train` goes on meanwhile with what is compiled already.
        """

    def synchronise(self) -> None:
        """Write the trained state back into the Keras variables of model and optimiser."""

    def state(self) -> Any:
        """A copy of weights and optimiser in the host's memory."""

    def set_state(self, state: Any) -> None:
        """Return to what `state` gave."""


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


def move_if_finite(
    optimizer: keras.optimizers.Optimizer, gradients: list[Tensor], variables: list[Any]
) -> Tensor:
    """Inside of a step of TensorFlow: follow gradients whose norm is finite; returns the norm."""
    import tensorflow as tf

    norm = global_norm(gradients)

    def move() -> Tensor:
        optimizer.apply(gradients, variables)
        return norm

    return tf.cond(tf.math.is_finite(norm), move, lambda: norm)


def copied(variables: Sequence[Any]) -> list[np.ndarray]:
    """The values of variables, which they no longer share."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assign_copies(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """The inverse of `copied`."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class TensorFlowTrainer:
    """Eager loop around one compiled step; no XLA, which is slower on CPUs."""

    def __init__(
        self, model: Autoencoder, optimizer: keras.optimizers.Optimizer, pictures: PictureSet, seed: int
    ) -> None:
        import tensorflow as tf

        self._tensorflow = tf
        self._model, self._optimizer, self._pictures, self._seed = model, optimizer, pictures, seed
        self._compiled_step = tf.function(self._step, autograph=False)

    def train(self, first: int, batches: Sequence[Batch], learning_rates: Sequence[float]) -> StepResults:
        """See `Trainer.train`."""
        results = []
        for number, (batch, learning_rate) in enumerate(zip(batches, learning_rates, strict=True)):
            self._optimizer.learning_rate.assign(learning_rate)
            step = self._compiled_step(
                take_crops(self._pictures, batch.crops),
                self._model.level_weights(batch.levels),
                lambdas_of(self._model.architecture, batch.levels),
                np.array([self._seed, first + number], np.int32),
            )
            results.append([values.numpy() for values in step])
        return StepResults(*(np.stack(column) for column in zip(*results, strict=True)))

    def prepare(self, batch: int, size: int, steps: int) -> None:
        """Nothing to do: TensorFlow compiles in no time."""

    def synchronise(self) -> None:
        """Nothing to do: TensorFlow trains the variables in place."""

    def state(self) -> Any:
        """See `Trainer.state`."""
        return copied(self._all_variables())

    def set_state(self, state: Any) -> None:
        """See `Trainer.set_state`."""
        assign_copies(self._all_variables(), state)

    def _all_variables(self) -> list[Any]:
        return [*self._model.trainable_variables, *self._optimizer.variables]

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
            total = robust_mean(measured.loss)
        norm = move_if_finite(self._optimizer, tape.gradient(total, variables), variables)
        return measured.bits_per_pixel, measured.mean_squared_error, measured.loss, norm


class JaxTrainer:
    """Compiled steps on pictures that lie in device memory; crops and symmetries are taken there.

    Several steps are one call of the device. Measured with the `base` preset on an H200, 32 crops of 256x256
    a step: Python needs 43 ms to start a call, with its 1,200 arrays; ten steps in one call take 16 ms each.
    """

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
        self._shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), self._state)
        self._jitted = jax.jit(self._steps, static_argnames="size", donate_argnums=0)
        self._compiler = ThreadPoolExecutor(max_workers=1)
        self._compiled: dict[tuple[int, int, int], Future[Any]] = {}

    def train(self, first: int, batches: Sequence[Batch], learning_rates: Sequence[float]) -> StepResults:
        """See `Trainer.train`. Returns before the device is done."""
        crops = batches[0].crops
        shape = (len(crops.picture), crops.size, len(batches))
        self.prepare(*shape)
        call = self._compiled[shape].result()
        inputs = self._inputs(first, batches, learning_rates)
        self._state, results = call(self._state, self._pictures.pixels, *inputs)
        return StepResults(*results)

    def prepare(self, batch: int, size: int, steps: int) -> None:
        """See `Trainer.prepare`."""
        if (shape := (batch, size, steps)) not in self._compiled:
            self._compiled[shape] = self._compiler.submit(self._compile, *shape)

    def _compile(self, batch: int, size: int, steps: int) -> Any:
        """The program for a shape, compiled ahead of time."""
        zeros = np.zeros(batch, np.int32)
        batches = [Batch(CropPlan(size, zeros, zeros, zeros, zeros), zeros)] * steps
        inputs = self._inputs(0, batches, [0.0] * steps)
        return self._jitted.lower(self._shapes, self._pictures.pixels, *inputs, size=size).compile()

    def _inputs(
        self, first: int, batches: Sequence[Batch], learning_rates: Sequence[float]
    ) -> tuple[Any, ...]:
        """What steps need besides state and pictures; the first axis of each array is that of the steps."""
        architecture, random = self._model.architecture, self._jax.random
        places = zip(*(self._pictures.places(batch.crops) for batch in batches), strict=True)
        return (
            tuple(np.stack(column) for column in places),
            np.stack([self._model.level_weights(batch.levels) for batch in batches]),
            np.stack([lambdas_of(architecture, batch.levels) for batch in batches]),
            np.array(learning_rates, np.float32),
            self._jax.numpy.stack([random.fold_in(self._key, first + n) for n in range(len(batches))]),
        )

    def synchronise(self) -> None:
        """See `Trainer.synchronise`."""
        for variables, values in zip((self._variables, self._optimizer.variables), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(self._jax.numpy.copy(value))

    def state(self) -> Any:
        """See `Trainer.state`."""
        return self._jax.device_get(self._state)

    def set_state(self, state: Any) -> None:
        """See `Trainer.set_state`."""
        # A step gives its state's memory away: on a CPU, that of the arrays that were put there.
        self._state = self._jax.tree.map(self._jax.numpy.array, state)

    def _copies(self, variables: list[Any]) -> list[Tensor]:
        """A step gives its state's memory away, so the state must not share any with the variables."""
        return [self._jax.numpy.copy(variable.value) for variable in variables]

    def _steps(
        self,
        state: Any,
        stored: Tensor,
        places: tuple[Tensor, ...],
        level_weights: Tensor,
        lambdas: Tensor,
        learning_rates: Tensor,
        keys: Tensor,
        *,
        size: int,
    ) -> tuple[Any, tuple[Tensor, ...]]:
        """(state after the steps, the fields of `StepResults`)."""

        def step(state: Any, inputs: tuple[Any, ...]) -> tuple[Any, tuple[Tensor, ...]]:
            places, level_weights, lambdas, learning_rate, key = inputs
            pixels = device_crops(stored, places, size).astype("float32")
            gradients, measured = self._jax.grad(self._loss, has_aux=True)(
                state[0], pixels, level_weights, lambdas, key
            )
            norm = global_norm(gradients)
            return self._moved(state, gradients, norm, learning_rate), (*measured, norm)

        inputs = (places, level_weights, lambdas, learning_rates, keys)
        final, results = self._jax.lax.scan(step, state, inputs)
        return final, results

    def _moved(self, state: Any, gradients: list[Tensor], norm: Tensor, learning_rate: Tensor) -> Any:
        """The state after a step; the same as before where the gradient's norm is not finite."""
        jax = self._jax
        values, optimizer_values = state[0], list(state[1])
        optimizer_values[self._learning_rate] = learning_rate
        moved = self._optimizer.stateless_apply(optimizer_values, gradients, values)
        finite = jax.numpy.isfinite(norm)
        return jax.tree.map(
            lambda new, old: jax.numpy.where(finite, new, old), tuple(moved), (values, optimizer_values)
        )

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
        return robust_mean(measured.loss), per_sample


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
