"""The optimisers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the optimisers are those of Keras")

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
