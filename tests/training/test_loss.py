"""The rate-distortion loss."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the loss is computed by Keras")

from aecodec.networks.autoencoder import TrainingPass
from aecodec.training.loss import lambdas_of, psnr, rate_distortion
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
    np.testing.assert_allclose(lambdas, [0.0005, np.sqrt(0.0005 * 0.25), 0.25], rtol=1e-5)


def test_psnr_is_in_decibels_of_255_and_finite_without_error() -> None:
    np.testing.assert_allclose(psnr([255.0**2, 1.0]), [0, 48.1308], atol=1e-3)
    assert np.isfinite(psnr(0.0))
