"""Single training steps, on TensorFlow here and on JAX in a process of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="the steps are taken by TensorFlow")

import keras

from aecodec.errors import MissingDependencyError
from aecodec.networks.autoencoder import Autoencoder
from aecodec.training.backends import Batch, StepResults, Trainer, make_trainer, noise_shapes
from aecodec.training.checkpoint import weights_of
from aecodec.training.data import CropPlan, draw_crops
from aecodec.training.optimizer import make_optimizer
from tests.networks.helpers import (
    TINY,
    differing,
    fresh_autoencoder,
    not_finite,
    optimizer_state,
)
from tests.training.pictures import picture_set

PICTURES = picture_set((96, 80), (70, 130))
LEVELS = np.array([60, 200])
STEPS = 5


class Stage:
    """A trainer, its model and its optimiser, and the crops that it takes."""

    def __init__(self) -> None:
        self.model: Autoencoder = fresh_autoencoder()
        self.optimizer: Any = make_optimizer("muon", clip_norm=20.0, average=0.9)
        self.trainer: Trainer = make_trainer(self.model, self.optimizer, PICTURES, seed=1)
        self.plan: CropPlan = draw_crops(PICTURES, 2, 64, np.random.default_rng(0))

    def train(self, first: int, steps: int = 1, learning_rate: float = 1e-2) -> StepResults:
        return self.trainer.train(first, [Batch(self.plan, LEVELS)] * steps, [learning_rate] * steps)


@pytest.fixture(scope="module")
def stage() -> Stage:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this process runs Keras on another backend")
    return Stage()


def test_a_few_steps_reduce_the_loss_and_move_every_weight(stage: Stage) -> None:
    before = weights_of(stage.model)
    results = stage.train(0, STEPS)
    assert np.mean(results.loss[-1]) < 0.97 * np.mean(results.loss[0])
    assert np.all(np.isfinite(results.gradient_norm) & (np.asarray(results.gradient_norm) > 0))
    assert results.gradient_norm.shape == (STEPS,)
    assert results.bits_per_pixel.shape == results.mean_squared_error.shape == (STEPS, 2)
    assert differing(before, weights_of(stage.model)) == len(before)
    assert int(stage.optimizer.iterations) == STEPS


def test_the_number_of_a_step_decides_its_noise(stage: Stage) -> None:
    """A step without a learning rate is the same again, and another with another number."""
    norms = [float(stage.train(number, learning_rate=0.0).gradient_norm[0]) for number in (7, 7, 8)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert norms[0] != pytest.approx(norms[2], rel=1e-5)


def test_a_gradient_that_is_not_finite_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, state = weights_of(stage.model), optimizer_state(stage.optimizer)
    monkeypatch.setattr(stage.model, "level_weights", not_finite)
    result = stage.train(20)
    assert not np.isfinite(result.gradient_norm[0])
    assert differing(weights, weights_of(stage.model)) == 0
    assert differing(state, optimizer_state(stage.optimizer)) == 0


def test_jax_reduces_the_loss_and_moves_every_weight(on_jax: dict[str, np.ndarray]) -> None:
    losses = on_jax["losses"].mean(axis=1)
    assert losses[-1] < 0.97 * losses[0]
    assert np.all(np.isfinite(on_jax["norms"][:-2]))
    assert on_jax["trained weights differ"] == on_jax["variables"]


def test_several_steps_in_one_call_are_those_of_single_calls_on_jax(on_jax: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(on_jax["losses"], on_jax["losses of single steps"], rtol=2e-3)


def test_jax_writes_weights_back_when_it_is_synchronised(on_jax: dict[str, np.ndarray]) -> None:
    assert on_jax["unsynchronised weights differ"] == 0


def test_a_gradient_that_is_not_finite_changes_nothing_on_jax(on_jax: dict[str, np.ndarray]) -> None:
    assert not np.any(np.isfinite(on_jax["norms"][-2:]))
    assert on_jax["broken step's weights differ"] == 0
    assert on_jax["broken step's state differs"] == 0


def test_steps_are_taken_back_on_jax(on_jax: dict[str, np.ndarray]) -> None:
    assert on_jax["moved weights differ"] > 0
    assert on_jax["returned weights differ"] == 0
    assert on_jax["returned state differs"] == 0


def test_jax_takes_the_same_crops_from_device_memory(on_jax: dict[str, np.ndarray]) -> None:
    assert np.array_equal(on_jax["crops of device"], on_jax["crops of host"])


def test_noise_has_the_shapes_of_the_symbols() -> None:
    shapes = noise_shapes(TINY, np.zeros((3, 64, 128, 3)))
    assert shapes == ((3, 1, 2, TINY.hyper_channels), (3, 4, 8, TINY.latent_channels))


def test_another_backend_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(MissingDependencyError, match="found torch"):
        make_trainer(stage.model, stage.optimizer, PICTURES, seed=1)
