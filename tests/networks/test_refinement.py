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
def task(model: Autoencoder) -> Task:
    """A picture, all of whose pixels count."""
    picture = pixels(128, 128)
    hyper, residuals = (numpy(tensor) for tensor in model.encode(picture, levels(LEVEL)))
    return Task(
        pixels=picture,
        counted=np.ones((1, 128, 128, 1), np.float32),
        hyper=hyper,
        residuals=residuals,
        level_weights=levels(LEVEL),
        weight=weight_of_level(TINY, LEVEL),
    )


def test_a_slope_is_of_the_shape_of_the_latents(slope: Slope, task: Task, latents: np.ndarray) -> None:
    found = slope(task, latents)
    assert found.shape == latents.shape
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0


def test_distortion_counts_only_where_it_is_asked_for(slope: Slope, task: Task, latents: np.ndarray) -> None:
    half = task.counted.copy()
    half[:, :, 64:] = 0
    whole, left, none = (
        slope(task._replace(counted=counted), latents)
        for counted in (task.counted, half, np.zeros_like(half))
    )
    far = (slice(None), slice(None), slice(7, None))  # the synthesis of the left half does not look so far
    of_distortion = np.abs(left - none)
    assert of_distortion[:, :, :4].max() > 10 * of_distortion[far].max()
    assert not np.allclose(whole[far], left[far])


def test_without_distortion_large_residuals_want_to_shrink(
    model: Autoencoder, slope: Slope, task: Task, latents: np.ndarray
) -> None:
    unseen = task._replace(counted=np.zeros_like(task.counted))
    found = slope(unseen, latents)
    large = np.abs(task.residuals) > 2
    assert large.sum() > 50
    # Not all: a latent also moves the prediction of those after it.
    assert np.mean(np.sign(found[large]) == np.sign(task.residuals[large])) > 0.7


def test_the_weight_of_distortion_rises_with_the_level() -> None:
    weights = [float(weight_of_level(TINY, level)) for level in (0, 100, 224)]
    assert weights == sorted(weights)
    assert weights[0] < TINY.lambda_min
