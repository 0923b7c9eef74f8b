"""The rate-distortion loss."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the loss is computed by Keras")

from aecodec.networks.autoencoder import TrainingPass
from aecodec.training.loss import BORDER_EMPHASIS, border_weights, lambdas_of, psnr, rate_distortion
from tests.networks.helpers import TINY, numpy


def test_the_loss_weighs_rate_and_distortion_of_each_sample() -> None:
    pixels = np.full((2, 64, 128, 3), 100, np.float32)
    decoded = pixels + np.array([2, -5], np.float32)[:, None, None, None]
    bits = np.array([8192, 4096], np.float32)
    lambdas = np.array([0.01, 0.25], np.float32)
    result = rate_distortion(TrainingPass(decoded, bits, bits / 2), pixels, lambdas)
    np.testing.assert_allclose(numpy(result.bits_per_pixel), [1.5, 0.75])
    np.testing.assert_allclose(numpy(result.mean_squared_error), [4, 25])
    np.testing.assert_allclose(numpy(result.loss), [1.54 / 0.1, 7.0 / 0.5], rtol=1e-5)


def test_lambdas_follow_levels() -> None:
    lambdas = lambdas_of(TINY, np.array([0, 112, 224]))
    assert lambdas.dtype == np.float32
    least, most = TINY.lambda_min, TINY.lambda_max
    np.testing.assert_allclose(lambdas, [least, np.sqrt(least * most), most], rtol=1e-5)


def test_errors_beside_borders_of_the_grid_weigh_more() -> None:
    weights = border_weights(64, 96)
    assert weights.shape == (64, 96)
    assert weights.mean() == pytest.approx(1)
    inside, beside, corner = weights[5, 5], weights[5, 16], weights[31, 47]
    assert beside / inside == pytest.approx(1 + BORDER_EMPHASIS)
    assert corner / inside == pytest.approx(1 + 2 * BORDER_EMPHASIS)
    assert np.array_equal(weights[:, 15], weights[:, 16])


def test_the_emphasis_of_borders_is_in_the_loss_but_not_in_the_measured_error() -> None:
    pixels = np.zeros((2, 64, 64, 3), np.float32)
    decoded = pixels.copy()
    decoded[0, :, 5], decoded[1, :, 16] = 8, 8
    nothing = np.zeros(2, np.float32)
    result = rate_distortion(TrainingPass(decoded, nothing, nothing), pixels, np.full(2, 0.01, np.float32))
    errors, losses = numpy(result.mean_squared_error), numpy(result.loss)
    assert errors[0] == errors[1]
    assert losses[1] > 1.1 * losses[0]


def test_psnr_is_in_decibels_of_255_and_finite_without_error() -> None:
    np.testing.assert_allclose(psnr([255.0**2, 1.0]), [0, 48.1308], atol=1e-3)
    assert np.isfinite(psnr(0.0))
