"""The slope that the search over the latents of one picture follows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.refinement import Slope, Task, weight_of_level
from tests.networks.helpers import TINY, levels, numpy, pixels, tiny_autoencoder

LEVEL = 96


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return tiny_autoencoder()


@pytest.fixture(scope="module")
def slope(model: Autoencoder) -> Slope:
    return Slope(model)


@pytest.fixture(scope="module")
def latents(model: Autoencoder) -> np.ndarray:
    return numpy(model.analysis(pixels(128, 128), levels(LEVEL)))


@pytest.fixture(scope="module")
def symbols(model: Autoencoder) -> tuple[np.ndarray, np.ndarray]:
    """Hyper-latents, and residuals in quantisation steps."""
    hyper, residuals = model.encode(pixels(128, 128), levels(LEVEL))
    return numpy(hyper), numpy(residuals)


@pytest.fixture(scope="module")
def hyper(symbols: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return symbols[0]


@pytest.fixture(scope="module")
def task(symbols: tuple[np.ndarray, np.ndarray]) -> Task:
    """A picture, all of whose pixels count."""
    return Task(
        pixels=pixels(128, 128),
        counted=np.ones((1, 128, 128, 1), np.float32),
        residuals=symbols[1],
        level_weights=levels(LEVEL),
        weight=weight_of_level(TINY, LEVEL),
    )


def test_slopes_are_of_the_shapes_of_latents_and_hyper_latents(
    slope: Slope, task: Task, latents: np.ndarray, hyper: np.ndarray
) -> None:
    found = slope(task, latents, hyper)
    assert [part.shape for part in found] == [latents.shape, hyper.shape]
    for part in found:
        assert np.isfinite(part).all()
        assert np.abs(part).max() > 0


def test_distortion_counts_only_where_it_is_asked_for(
    slope: Slope, task: Task, latents: np.ndarray, hyper: np.ndarray
) -> None:
    half = task.counted.copy()
    half[:, :, 64:] = 0
    whole, left, none = (
        slope(task._replace(counted=counted), latents, hyper)[0]
        for counted in (task.counted, half, np.zeros_like(half))
    )
    far = (slice(None), slice(None), slice(7, None))  # the synthesis of the left half does not look so far
    of_distortion = np.abs(left - none)
    assert of_distortion[:, :, :4].max() > 10 * of_distortion[far].max()
    assert not np.allclose(whole[far], left[far])


def test_without_distortion_large_residuals_want_to_shrink(
    slope: Slope, task: Task, latents: np.ndarray, hyper: np.ndarray
) -> None:
    unseen = task._replace(counted=np.zeros_like(task.counted))
    found, _ = slope(unseen, latents, hyper)
    large = np.abs(task.residuals) > 2
    assert large.sum() > 50
    # Not all: a latent also moves the prediction of those after it.
    assert np.mean(np.sign(found[large]) == np.sign(task.residuals[large])) > 0.7


def test_hyper_latents_have_a_slope_by_what_residuals_cost(
    slope: Slope, task: Task, latents: np.ndarray, hyper: np.ndarray
) -> None:
    """They choose the tables of residuals and predict their means."""
    _, whole = slope(task, latents, hyper)
    _, of_rate = slope(task._replace(counted=np.zeros_like(task.counted)), latents, hyper)
    assert np.count_nonzero(of_rate) > 0.9 * of_rate.size
    assert not np.allclose(whole, of_rate)


def test_the_weight_of_distortion_rises_with_the_level() -> None:
    weights = [float(weight_of_level(TINY, level)) for level in (0, 100, 224)]
    assert weights == sorted(weights)
    assert weights[0] < TINY.lambda_min
