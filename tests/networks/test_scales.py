"""The float twin of the integer scale network."""

from __future__ import annotations

import numpy as np
import pytest

from aecodec.entropy import IntegerScaleNetwork, logistic_tables, put_step, table_scales, take_step

pytest.importorskip("keras", reason="the networks need Keras")

import keras

from aecodec.networks.scales import (
    HYPER_INDEX,
    SCALE_MAX,
    SCALE_MIN,
    ScaleNetwork,
    leaky_clip,
    logistic_bits,
    magnitude_table,
    quantised_weights,
)
from tests.networks.helpers import TINY, levels, magnitudes_seen, numpy, random_symbols


def scale_network(seed: int, amount: float = 0.3) -> ScaleNetwork:
    """A twin whose weights and biases have moved far, so that clipping happens everywhere."""
    keras.utils.set_random_seed(seed)
    network = ScaleNetwork(TINY)
    network.build()
    generator = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(numpy(variable) + generator.normal(0, amount, tuple(variable.shape)))
    return network


@pytest.mark.parametrize(("seed", "level"), [(0, 0), (1, 77), (2, 160), (3, 224)])
def test_the_twin_equals_the_integer_network_on_any_symbols(seed: int, level: int) -> None:
    twin = scale_network(seed)
    exact = IntegerScaleNetwork.from_arrays(twin.export())
    z, r = random_symbols(3, 2, seed, scale=8.0)
    r *= np.where(np.arange(r.shape[-1]) % 2, 8, 5).astype(np.int16)
    r[0, 0, :8] = [32767, -32767, 2047, 2048, -2046, 1, 0, -1]
    weights = levels(level)
    features = exact.features(z, level)
    twin_features = twin.features(z[None].astype(np.float32), weights)
    assert np.array_equal(numpy(twin_features)[0], features)
    known, used = np.zeros_like(r), set()
    for step in range(5):
        seen = known[None].astype(np.float32) / 8 if step else None
        indices = numpy(twin.step_indices(step, twin_features, seen, weights))[0]
        expected = exact.step_indices(step, features, known, level)
        assert np.array_equal(take_step(indices, step), expected)
        used |= set(expected.ravel().tolist())
        put_step(known, step, take_step(r, step))
    assert len(used) > 16
    assert len(np.unique(features)) > 64


@pytest.mark.parametrize("level", [0, 77, 160, 208, 223, 224])
def test_what_training_takes_for_the_tables_of_hyper_latents_lies_between_the_nodes(level: int) -> None:
    twin = scale_network(0)
    rows = twin.export()[HYPER_INDEX].astype(np.int64)
    node, fraction = divmod(level, 32)
    mixed = (32 - fraction) * rows[node] + fraction * rows[min(node + 1, 7)]
    expected = np.clip((mixed + 256) >> 9, 0, 63)
    assert len(np.unique(expected)) > 4
    assert np.array_equal(numpy(twin.hyper_indices(levels(level)))[0, 0, 0], expected)


def test_the_twin_is_read_back_from_its_integers_without_loss() -> None:
    exported = scale_network(0).export()
    other = scale_network(1)
    other.assign_integers(exported)
    again = other.export()
    assert again.keys() == exported.keys()
    for name, array in exported.items():
        assert np.array_equal(again[name], array), name
        assert again[name].dtype == array.dtype


def test_the_twin_sees_magnitudes_as_the_lookup_table_has_them() -> None:
    """Every magnitude in eighths."""
    expected = magnitude_table()[np.minimum(np.arange(32768), 2047)]
    assert np.array_equal(magnitudes_seen(scale_network(0)), expected)


def test_the_twin_sees_magnitudes_on_jax_too(on_jax: dict[str, np.ndarray]) -> None:
    expected = magnitude_table()[np.minimum(np.arange(32768), 2047)]
    assert np.array_equal(on_jax["magnitudes"], expected)


def test_magnitudes_grow_with_their_logarithm() -> None:
    table = magnitude_table()
    assert table.dtype == np.uint8
    assert table.shape == (2048,)
    assert table[:32:8].tolist() == [0, 32, 51, 64]  # whole steps
    assert table[:11:5].tolist() == [0, 22, 37]
    assert table[-1] == 255
    assert np.all(np.diff(table.astype(int)) >= 0)


def test_weights_are_int8_over_a_power_of_two() -> None:
    weights = numpy(quantised_weights(np.array([0.0, 0.126, -0.126, 9.0, -9.0], np.float32), 4))
    assert weights.tolist() == [0, 2, -2, 127, -127]


def test_a_clipped_unit_keeps_a_little_gradient() -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    values = tf.Variable([-3.0, 5.0, 300.0])
    with tf.GradientTape() as tape:
        clipped = leaky_clip(values, 255.0)
        total = tf.reduce_sum(clipped)
    assert numpy(clipped).tolist() == [0, 5, 255]
    np.testing.assert_allclose(numpy(tape.gradient(total, values)), [0.05, 1, 0.05])


def test_training_knows_the_scales_of_the_coders_tables() -> None:
    assert table_scales(SCALE_MIN, SCALE_MAX)[[0, -1]] == pytest.approx([SCALE_MIN, SCALE_MAX])
    values = np.arange(-6, 7)
    bits = numpy(logistic_bits(values[:, None].astype(np.float32), np.arange(64, dtype=np.float32)))
    exact = logistic_tables(scale_min=SCALE_MIN, scale_max=SCALE_MAX).cost_in_bits(
        values[:, None], np.arange(64)[None, :]
    )
    likely = exact < 12
    assert likely.sum() > 400
    np.testing.assert_allclose(bits[likely], exact[likely], atol=0.02, rtol=0.01)


def test_bits_are_finite_with_a_gradient_far_out_in_the_tails() -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    values, indices = tf.Variable([[-3000.0], [0.0], [4.5], [3000.0]]), tf.Variable([[0.0, 20.0, 63.0]] * 4)
    with tf.GradientTape() as tape:
        bits = logistic_bits(values, indices)
        total = tf.reduce_sum(bits)
    by_value, by_index = (numpy(gradient) for gradient in tape.gradient(total, [values, indices]))
    assert np.isfinite(numpy(bits)).all()
    assert np.isfinite(by_value).all()
    assert np.isfinite(by_index).all()
    assert by_value[0] < 0 < by_value[3]
    assert (by_index[[0, 3]] < 0).all()
