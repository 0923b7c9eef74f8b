"""The rate-distortion loss."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the loss is computed by Keras")

from aecodec.networks.autoencoder import TrainingPass
from aecodec.training.loss import borders, count_outliers, lambdas_of, psnr, rate_distortion, robust_mean
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


def test_samples_far_above_the_median_count_in_the_mean_by_their_logarithm() -> None:
    limit = 5 * 5.5
    beyond = limit * (1 + np.log(1e6 / limit))
    assert float(robust_mean(np.array([4, 5, 6, 1e6], np.float32))) == pytest.approx((15 + beyond) / 4)
    assert float(robust_mean(np.array([4, 5, 6, 27], np.float32))) == pytest.approx(42 / 4)


def test_samples_far_above_the_median_are_counted() -> None:
    assert count_outliers(np.array([[4, 5, 6, 1e6], [4, 5, 6, 27], [4, np.nan, 5, 6]])) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_not_hidden(value: float) -> None:
    assert not np.isfinite(float(robust_mean(np.array([4, 5, 6, value], np.float32))))


def test_lambdas_follow_levels() -> None:
    lambdas = lambdas_of(TINY, np.array([0, 112, 224]))
    assert lambdas.dtype == np.float32
    least, most = TINY.lambda_min, TINY.lambda_max
    np.testing.assert_allclose(lambdas, [least, np.sqrt(least * most), most], rtol=1e-5)


def test_borders_of_the_grid_are_counted() -> None:
    beside = borders(64, 96)
    assert beside.shape == (64, 96)
    assert (beside[5, 5], beside[5, 15], beside[5, 16], beside[31, 47], beside[0, 3]) == (0, 1, 1, 2, 1)
    assert beside.mean() == pytest.approx(2 / 8)


def loss_of_error_in_column(column: int, weight: float) -> tuple[float, float]:
    """(mean squared error, loss) of a picture that is wrong in one column."""
    pixels = np.zeros((1, 64, 64, 3), np.float32)
    decoded = pixels.copy()
    decoded[0, :, column] = 8
    nothing = np.zeros(1, np.float32)
    result = rate_distortion(TrainingPass(decoded, nothing, nothing), pixels, np.full(1, weight, np.float32))
    return float(numpy(result.mean_squared_error)[0]), float(numpy(result.loss)[0])


@pytest.mark.parametrize("weight", [TINY.lambda_min, 0.01, TINY.lambda_max])
def test_errors_beside_borders_of_the_grid_weigh_more_but_are_measured_alike(weight: float) -> None:
    (inside, loss_inside), (beside, loss_beside) = (loss_of_error_in_column(c, weight) for c in (5, 16))
    assert inside == beside
    assert 1.08 < loss_beside / loss_inside < 1.35


def test_the_lower_the_rate_the_more_weigh_borders() -> None:
    ratios = [
        loss_of_error_in_column(16, weight)[1] / loss_of_error_in_column(5, weight)[1]
        for weight in (TINY.lambda_min, TINY.lambda_max)
    ]
    assert ratios[0] > ratios[1] + 0.1


def test_an_even_error_weighs_its_mean_square() -> None:
    pixels = np.zeros((1, 64, 64, 3), np.float32)
    nothing = np.zeros(1, np.float32)
    result = rate_distortion(TrainingPass(pixels + 4, nothing, nothing), pixels, np.full(1, 0.01, np.float32))
    np.testing.assert_allclose(numpy(result.loss), [0.1 * 16], rtol=1e-5)


def test_psnr_is_in_decibels_of_255_and_finite_without_error() -> None:
    np.testing.assert_allclose(psnr([255.0**2, 1.0]), [0, 48.1308], atol=1e-3)
    assert np.isfinite(psnr(0.0))
