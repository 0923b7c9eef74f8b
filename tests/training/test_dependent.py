"""Dependent quantisation in training: what the encoder writes, and gradients for all that is trained."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="the residuals are chosen within a TensorFlow graph")

from aecodec.entropy import coded_symbols, logistic_tables, table_scales
from aecodec.entropy.coder import symbols_and_tables
from aecodec.models import Model
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.scales import logistic_bits
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime
from aecodec.runtime.keras import build_autoencoder
from aecodec.training.dependent import DependentCoding
from tests.helpers import photograph
from tests.networks.helpers import numpy

LEVEL = 100


@pytest.fixture(scope="module")
def autoencoder(tiny_model: Model) -> Autoencoder:
    model = build_autoencoder(tiny_model)
    model.scale_network.assign_integers(tiny_model.arrays)
    return model


@pytest.fixture(scope="module")
def coding(autoencoder: Autoencoder, tiny_model: Model) -> DependentCoding:
    return DependentCoding(autoencoder, tiny_model.entropy.steps)


def test_pixels_are_those_of_the_encoders_symbols(
    autoencoder: Autoencoder, coding: DependentCoding, tiny_model: Model
) -> None:
    pixels = photograph(128, 192).astype(np.float32)
    runtime = open_runtime("keras", tiny_model)
    coder = ResidualCoder(tiny_model, runtime)
    z, r = coder.quantise(runtime.analyse(pixels, LEVEL), LEVEL)
    coded = coded_symbols(z, r, LEVEL, tiny_model.entropy, dependent=True)
    assert sum(np.count_nonzero(symbols[tables >= 64]) for symbols, tables in coded) > 100
    found = coding.evaluation_pass(pixels[None], autoencoder.level_weights(np.array([LEVEL])))
    expected = runtime.synthesise(coder.reconstruct(z, r, LEVEL), LEVEL)
    different = np.abs(numpy(found.pixels)[0] - expected)
    # A residual whose choice was a near thing may differ between programs.
    assert np.quantile(different, 0.9) < 0.05


def test_the_rate_is_that_of_the_tables(coding: DependentCoding, tiny_model: Model) -> None:
    tables = tiny_model.entropy.steps[2]
    random = np.random.default_rng(4)
    shape = (1, 16, 16, 64)
    indices = random.integers(8, 50, shape)
    scaled = (table_scales()[indices] * random.logistic(size=shape)).astype(np.float32)
    mask, strength = np.ones(shape, np.float32), np.full(shape, 0.5, np.float32)
    values, below, above = coding.quantise(2, scaled, indices.astype(np.float32), mask, strength)
    symbols, numbers = symbols_and_tables(
        (8 * values).astype(np.int16).ravel(), indices.astype(np.uint8).ravel(), tables, dependent=True
    )
    expected = tables.cost_in_bits(symbols, numbers).sum()
    found = numpy(logistic_bits(values, indices.astype(np.float32), below, above)).sum()
    assert found == pytest.approx(expected, rel=0.002)


def test_each_step_is_quantised_with_its_own_tables(autoencoder: Autoencoder) -> None:
    steps = [logistic_tables(64 if step == 3 else 0) for step in range(5)]
    coding = DependentCoding(autoencoder, steps)
    shape = (1, 4, 4, 64)
    scaled = np.random.default_rng(5).laplace(0, 1.5, shape).astype(np.float32)
    indices, ones = np.full(shape, 30, np.float32), np.ones(shape, np.float32)
    whole = []
    for step in range(5):
        values, _, _ = coding.quantise(step, scaled, indices, ones, 0.5 * ones)
        whole.append(not np.any(values % 1))
    assert whole == [False, False, False, True, False]


def test_all_that_is_trained_has_a_gradient(autoencoder: Autoencoder, coding: DependentCoding) -> None:
    pixels = photograph(64, 64, seed=2).astype(np.float32)[None]
    weights = autoencoder.level_weights(np.array([LEVEL]))
    latents = autoencoder.analysis(pixels, weights)
    hyper = autoencoder.hyper_latents(latents, weights)
    noise = np.random.default_rng(0).random(latents.shape, np.float32) - 0.5
    parts = (autoencoder.synthesis, *autoencoder.steps, *autoencoder.scale_network.step_layers[2])
    variables = [variable for part in parts for variable in part.trainable_variables]
    import tensorflow

    with tensorflow.GradientTape() as tape:
        result = coding.decoder_pass(latents, hyper, weights, noise)
        loss = result.residual_bits[0] + tensorflow.reduce_mean(tensorflow.square(result.pixels - pixels))
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(numpy(gradient)).all(), variable.path
    assert sum(np.abs(numpy(gradient)).max() > 0 for gradient in gradients) > 0.8 * len(gradients)


def test_bins_of_the_second_quantiser_are_narrow_around_zero(
    coding: DependentCoding, tiny_model: Model
) -> None:
    random = np.random.default_rng(3)
    shape = (1, 4, 4, 64)
    indices = np.full(shape, 30, np.float32)
    scaled = random.laplace(0, 1.5, shape).astype(np.float32)
    mask = np.zeros(shape, np.float32)
    mask[:, ::2] = 1
    values, below, above = coding.quantise(2, scaled, indices, mask, np.full(shape, 0.5, np.float32))
    assert not values[mask == 0].any()
    coded = mask > 0
    assert set(np.unique(below[coded])) <= {0.3125, 0.625}
    narrow, cut = coded & (above == 0.3125), coded & (below == 0.3125)
    assert narrow.any() and not values[narrow].any()
    assert np.all(np.abs(values[cut & ~narrow]) == 0.625)
