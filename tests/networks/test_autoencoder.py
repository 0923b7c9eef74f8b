"""The whole model: what encoder, decoder and training see."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

import keras

from aecodec.networks.autoencoder import Autoencoder, TrainingPass
from aecodec.networks.weights import variable_name
from aecodec.training.loss import psnr
from tests.networks.helpers import TINY, fresh_autoencoder, levels, numpy, pixels, tiny_autoencoder

LEVELS = (0, 100, 224)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return tiny_autoencoder()


def noise(batch: int, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Uniform noise on hyper-latents and residuals."""
    generator = np.random.default_rng(seed)
    shapes = (
        (batch, height // 64, width // 64, TINY.hyper_channels),
        (batch, height // 16, width // 16, TINY.latent_channels),
    )
    hyper, residual = (generator.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes)
    return hyper, residual


def fields(result: TrainingPass) -> list[np.ndarray]:
    return [numpy(values) for values in (result.pixels, result.residual_bits, result.hyper_bits)]


def test_encoding_gives_integers_of_the_grids_of_latents(model: Autoencoder) -> None:
    z, r = (numpy(symbols) for symbols in model.encode(pixels(128, 192, batch=2), levels(0, 224)))
    assert z.shape == (2, 2, 3, TINY.hyper_channels)
    assert r.shape == (2, 8, 12, TINY.latent_channels)
    assert np.array_equal(z, np.rint(z))
    assert np.array_equal(r, np.rint(r))
    assert np.abs(r[1]).sum() > np.abs(r[0]).sum() > 0
    assert len(np.unique(z)) > 2


def test_decoding_gives_pixels(model: Autoencoder) -> None:
    picture, weights = pixels(64, 128), levels(200)
    decoded = numpy(model.decode(*model.encode(picture, weights), weights))
    assert decoded.shape == picture.shape
    assert decoded.dtype == np.float32
    assert psnr(np.mean((decoded - picture) ** 2)) > 20


def test_every_picture_of_a_batch_has_its_own_level(model: Autoencoder) -> None:
    pictures = pixels(64, 64, batch=3)
    together = [numpy(symbols) for symbols in model.encode(pictures, levels(*LEVELS))]
    for number, level in enumerate(LEVELS):
        alone = model.encode(pictures[number : number + 1], levels(level))
        for one, batch in zip(alone, together, strict=True):
            differing = np.mean(numpy(one)[0] != batch[number])
            assert differing < 1e-3  # a tie may be rounded differently in another product


def test_the_decoder_predicts_what_the_encoder_predicted(model: Autoencoder) -> None:
    """With inverse gains that invert the gains, no latent is off by more than rounding allows."""
    exact = tiny_autoencoder(3)
    exact.log_inverse_gain.rows.assign(-numpy(exact.log_gain.rows))
    picture, weights = pixels(128, 128), levels(160)
    latents = numpy(exact.analysis(picture, weights))
    hyper, residuals = exact.encode(picture, weights)
    decoded = numpy(exact.reconstruct_latents(hyper, residuals, weights))
    steps = np.exp(numpy(exact.log_gain(weights)))
    error = np.abs(latents - decoded) * steps
    assert 0.45 < error.max() <= 0.9001
    assert np.median(error) < 0.5


def test_evaluation_sees_the_pixels_that_a_file_gives(model: Autoencoder) -> None:
    picture, weights = pixels(128, 64), levels(130)
    result = fields(model.evaluation_pass(picture, weights))
    decoded = numpy(model.decode(*model.encode(picture, weights), weights))
    np.testing.assert_allclose(result[0], decoded, atol=1e-2)
    assert result[1].shape == result[2].shape == (1,)


def test_training_sees_the_same_pixels_and_rates_whatever_the_noise(model: Autoencoder) -> None:
    picture, weights = pixels(64, 128), levels(90)
    evaluated = fields(model.evaluation_pass(picture, weights))
    for seed in (0, 1):
        trained = fields(model.training_pass(picture, weights, *noise(1, 64, 128, seed)))
        for seen, expected in zip(trained, evaluated, strict=True):
            np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-3)


def test_training_begins_at_a_working_transform_codec() -> None:
    model = fresh_autoencoder()
    y, x = np.mgrid[0:128, 0:192]
    smooth = np.stack([127 + 90 * np.sin(x / (20 + c) + y / 31) for c in range(3)], axis=2)[None]
    found = {}
    for level in LEVELS:
        picture, weights = smooth.astype(np.float32), levels(level)
        result = fields(model.evaluation_pass(picture, weights))
        found[level] = float(psnr(np.mean((result[0] - picture) ** 2)))
        assert np.all(result[1] > 0)
    assert found[0] < found[100] < found[224]
    assert found[0] > 20
    assert found[224] > 40


def test_gradients_reach_every_variable(model: Autoencoder) -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    batch = pixels(64, 128, batch=8)
    nodes = levels(*range(0, 225, 32))
    with tf.GradientTape() as tape:
        result = model.training_pass(batch, nodes, *noise(8, 64, 128))
        distortion = tf.reduce_mean(tf.square(result.pixels - batch))
        total = distortion + tf.reduce_mean(result.residual_bits + result.hyper_bits) / 64
    variables = model.trainable_variables
    gradients = tape.gradient(total, variables)
    names = [variable_name(variable) for variable in variables]
    assert len(names) == len(set(names))
    unreached = [
        name
        for name, gradient in zip(names, gradients, strict=True)
        if gradient is None or not np.any(numpy(gradient))
    ]
    assert unreached == []
    assert all(np.isfinite(numpy(gradient)).all() for gradient in gradients)


def test_the_rate_reaches_hyper_latents_through_the_scales_where_this_is_asked_for(
    model: Autoencoder,
) -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    through = Autoencoder(model.architecture, through_scales=True)
    through.set_weights(model.get_weights())
    slopes, totals = [], []
    for one in (model, through):
        with tf.GradientTape() as tape:
            result = one.training_pass(pixels(64, 64), levels(72), *noise(1, 64, 64))
            total = tf.reduce_mean(result.residual_bits)
        slopes.append(numpy(tape.gradient(total, one.hyper_analysis.leave.kernel)))
        totals.append(float(total))
    assert totals[0] == pytest.approx(totals[1])
    assert not np.allclose(*slopes)


def test_levels_between_two_nodes_train_both(model: Autoencoder) -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    rows = model.log_gain.rows
    with tf.GradientTape() as tape:
        result = model.training_pass(pixels(64, 64), levels(72), *noise(1, 64, 64))
        total = tf.reduce_mean(result.residual_bits)
    trained = np.any(numpy(tape.gradient(total, rows)), axis=1)
    assert np.flatnonzero(trained).tolist() == [2, 3]


def test_half_precision_is_for_the_heavy_layers_alone() -> None:
    half, single = (tiny_autoencoder(0, dtype=dtype) for dtype in ("mixed_bfloat16", "float32"))
    picture, weights = pixels(64, 128), levels(120)
    passes = [fields(model.training_pass(picture, weights, *noise(1, 64, 128))) for model in (half, single)]
    assert {values.dtype for values in passes[0]} == {np.dtype(np.float32)}
    np.testing.assert_allclose(passes[0][0], passes[1][0], atol=12)
    np.testing.assert_allclose(passes[0][1], passes[1][1], rtol=0.05)
    assert {variable.dtype for variable in half.trainable_variables} == {"float32"}


def test_the_users_keras_settings_change_nothing(model: Autoencoder) -> None:
    picture, weights = pixels(64, 64), levels(50)
    expected = fields(model.evaluation_pass(picture, weights))
    kept = keras.config.floatx(), keras.config.image_data_format()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    try:
        other = tiny_autoencoder()
        for variable, values in zip(other.trainable_variables, model.trainable_variables, strict=True):
            assert variable.dtype == "float32"
            variable.assign(values)
        found = fields(other.evaluation_pass(picture, weights))
    finally:
        keras.config.set_floatx(kept[0])
        keras.config.set_image_data_format(kept[1])
    for seen, values in zip(found, expected, strict=True):
        np.testing.assert_allclose(seen, values, rtol=1e-5)
