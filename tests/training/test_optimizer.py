"""The optimisers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the optimisers are those of Keras")

import keras

from aecodec.training.optimizer import Muon, make_optimizer
from tests.networks.helpers import fresh_autoencoder, numpy


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (32, 32)])
def test_orthogonalisation_keeps_directions_and_levels_their_strength(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    left, _, right = np.linalg.svd(generator.normal(size=shape), full_matrices=False)
    matrix = (left * np.geomspace(1, 0.05, min(shape))) @ right
    result = numpy(Muon().zeropower_via_newtonschulz5(matrix.astype(np.float32), 5))
    assert result.shape == shape
    assert result.dtype == np.float32
    strength = np.diag(left.T @ result @ right.T)
    assert strength.min() > 0.5
    assert strength.max() < 1.4
    off = left.T @ result @ right.T - np.diag(strength)
    assert np.abs(off).max() < 0.1


@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
def test_matrices_of_one_shape_are_orthogonalised_each_by_itself(shape: tuple[int, int]) -> None:
    stack = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    stack[1] *= 1000
    together = numpy(Muon().zeropower_via_newtonschulz5(stack, 5))
    single = [numpy(Muon().zeropower_via_newtonschulz5(matrix, 5)) for matrix in stack]
    np.testing.assert_allclose(together, single, atol=0.02)


def test_matrices_move_as_keras_moves_them_one_by_one() -> None:
    generator = np.random.default_rng(1)
    start = [generator.normal(size=shape).astype(np.float32) for shape in ((8, 12), (8, 12), (12, 8), (5,))]
    gradients = [generator.normal(size=values.shape).astype(np.float32) for values in start]

    def moved(kind: type[keras.optimizers.Muon]) -> list[np.ndarray]:
        variables = [keras.Variable(values) for values in start]
        optimizer = kind(0.1, weight_decay=None, adam_weight_decay=None)
        for _ in range(2):
            optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
        return [numpy(variable) for variable in variables]

    for found, expected in zip(moved(Muon), moved(keras.optimizers.Muon), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.01)


def test_muon_moves_the_matrices_inside_and_adam_the_rest() -> None:
    model = fresh_autoencoder()
    optimizer = make_optimizer("muon", clip_norm=1.0, average=0.9)
    optimizer.build(model.trainable_variables)
    by_adam = {
        variable.path.removeprefix("autoencoder/")
        for variable, velocity in zip(model.trainable_variables, optimizer.adam_velocities, strict=True)
        if velocity is not None
    }
    everything = {variable.path.removeprefix("autoencoder/") for variable in model.trainable_variables}
    by_muon = everything - by_adam
    assert {"analysis/enter/kernel", "step_2/blocks/block_0/project/kernel"} <= by_muon
    assert {"analysis/shortcut/map/kernel", "synthesis/leave/kernel", "log_gain/rows"} <= by_adam
    assert all(name.endswith("kernel") and not name.startswith("scale_network") for name in by_muon)


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_every_optimiser_averages_and_clips(name: str) -> None:
    optimizer = make_optimizer(name, clip_norm=3.0, average=0.75)
    assert optimizer.use_ema
    assert optimizer.ema_momentum == 0.75
    assert optimizer.global_clipnorm == 3.0
