"""The search over the latents of one picture."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.refinement import Search, Task, annealed, weight_of_level
from tests.networks.helpers import TINY, levels, numpy, pixels, tiny_autoencoder

LEVEL = 96
ITERATIONS = 80


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return tiny_autoencoder()


@pytest.fixture(scope="module")
def search(model: Autoencoder) -> Search:
    return Search(model)


@pytest.fixture(scope="module")
def task(model: Autoencoder) -> Task:
    """A picture all of whose residuals are free."""
    picture = pixels(128, 128)
    hyper, residuals = (numpy(tensor) for tensor in model.encode(picture, levels(LEVEL)))
    return Task(
        pixels=picture,
        counted=np.ones((1, 128, 128, 1), np.float32),
        hyper=hyper,
        residuals=residuals,
        free=np.ones((1, 8, 8, 1), np.float32),
        level_weights=levels(LEVEL),
        weight=weight_of_level(TINY, LEVEL),
    )


def found_by(search: Search, task: Task) -> tuple[np.ndarray, float]:
    generator = np.random.default_rng(0)
    state = search.start(task)
    for iteration in range(ITERATIONS):
        noise = generator.random(task.residuals.shape, np.float32)
        state = search.descend(task, state, iteration, ITERATIONS, noise)
    return search.judge(task, state.latents)


def with_free(task: Task, free: np.ndarray) -> Task:
    return task._replace(free=free)


def test_the_search_starts_at_the_symbols_of_the_encoder(search: Search, task: Task) -> None:
    expected, cost = search.judge(task, None)
    found, found_cost = search.judge(task, search.start(task).latents)
    assert np.array_equal(expected, task.residuals)
    assert np.array_equal(found, expected)
    assert found_cost == pytest.approx(cost, rel=1e-4)


def test_the_cost_of_a_task_is_bits_plus_lambda_times_distortion(
    model: Autoencoder, search: Search, task: Task
) -> None:
    decoded = numpy(model.decode(task.hyper, task.residuals, task.level_weights))
    distortion = float(np.mean((decoded - task.pixels) ** 2)) * 128 * 128 * float(task.weight)
    bits = float(numpy(model.evaluation_pass(task.pixels, task.level_weights).residual_bits)[0])
    assert search.judge(task, None)[1] == pytest.approx(bits + distortion, rel=1e-3)


def test_the_search_finds_symbols_that_cost_less(search: Search, task: Task) -> None:
    residuals, cost = found_by(search, task)
    assert np.array_equal(residuals, np.round(residuals))
    assert cost < search.judge(task, None)[1]


def test_settled_residuals_stay_as_they_are(search: Search, task: Task) -> None:
    free = np.zeros_like(task.free)
    free[:, 2:6, :4] = 1
    residuals, _ = found_by(search, with_free(task, free))
    changed = np.any(residuals != task.residuals, axis=-1, keepdims=True)
    assert changed.any()
    assert not np.any(changed & (free == 0))


def test_distortion_counts_only_where_it_is_asked_for(search: Search, task: Task) -> None:
    unseen = task._replace(counted=np.zeros_like(task.counted))
    bits = search.judge(unseen, None)[1]
    assert 0 < bits < search.judge(task, None)[1]


def test_annealed_values_lie_between_the_neighbouring_integers() -> None:
    scaled = np.random.default_rng(1).normal(0, 3, (1, 40, 40, 4)).astype(np.float32)
    noise = np.random.default_rng(2).random(scaled.shape, np.float32)
    values = numpy(annealed(noise, np.float32(0.5))(scaled, scaled))
    assert np.all((values >= np.floor(scaled)) & (values <= np.floor(scaled) + 1))


def test_annealed_values_are_the_nearest_integers_when_it_is_cold() -> None:
    scaled = np.random.default_rng(1).uniform(-3, 3, (1, 40, 40, 4)).astype(np.float32)
    clear = np.abs(scaled - np.floor(scaled) - 0.5) > 0.2
    noise = np.random.default_rng(2).uniform(0.05, 0.95, scaled.shape).astype(np.float32)
    values = numpy(annealed(noise, np.float32(0.01))(scaled, scaled))
    assert np.abs(values - np.round(scaled))[clear].max() < 1e-3


def test_annealed_values_are_near_an_integer_as_often_as_the_fraction_says() -> None:
    noise = np.random.default_rng(2).random((1, 100, 100, 4), np.float32)
    shares = []
    for fraction in (0.1, 0.5, 0.9):
        values = numpy(annealed(noise, np.float32(0.5))(np.full(noise.shape, fraction, np.float32), noise))
        shares.append(float(np.mean(values > 0.5)))
    assert shares[0] < 0.2
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    assert shares[2] > 0.8
