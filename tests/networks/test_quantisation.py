"""Rounding with regard to the rate, and the rate that training sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.quantisation import (
    OFFSET_LIMIT,
    rate_distortion_round,
    rate_in_bits,
    rounding_offsets,
)
from aecodec.networks.scales import logistic_bits
from tests.networks.helpers import numpy

VALUES = np.linspace(-6, 6, 2401, dtype=np.float32)
TABLES = np.arange(64, dtype=np.float32)[:, None]


def rounded(strength: float) -> np.ndarray:
    """(table, value)."""
    indices = np.broadcast_to(TABLES, (64, len(VALUES)))
    return numpy(rate_distortion_round(VALUES[None], indices, np.float32(strength)))


def test_without_strength_it_rounds_to_the_nearest() -> None:
    safe = np.abs(VALUES % 1 - 0.5) > 1e-3
    assert np.array_equal(rounded(0.0)[:, safe], np.broadcast_to(np.rint(VALUES[safe]), (64, safe.sum())))


@given(st.floats(0, 1.5))
def test_it_rounds_towards_zero_but_never_far(strength: float) -> None:
    found = rounded(strength)
    assert np.array_equal(found, np.rint(found))
    assert np.all(np.sign(found) * np.sign(VALUES) >= 0)
    error = np.abs(VALUES) - np.abs(found)
    assert error.min() >= -0.5001
    assert error.max() <= 0.5 + OFFSET_LIMIT + 1e-5


def test_narrow_tables_round_down_further() -> None:
    first, further = rounding_offsets()
    assert rounding_offsets().shape == (2, 64)
    assert np.all(np.diff(first) <= 0)
    assert np.all(np.diff(further) <= 1e-6)
    assert np.all(rounding_offsets() >= 0)
    assert np.all(np.diff(np.count_nonzero(rounded(1.0), axis=1)) >= 0)


def test_offsets_weigh_the_bits_of_the_training_distribution() -> None:
    values = np.array([0, 1, 2, 3], np.float32)
    bits = numpy(logistic_bits(values[:, None], np.arange(64, dtype=np.float32)))
    expected = np.stack([bits[1] - bits[0], bits[3] - bits[2]]) * 3 / 32
    np.testing.assert_allclose(rounding_offsets(), expected, rtol=1e-3, atol=1e-3)


def test_the_rate_is_that_of_the_rounded_symbols() -> None:
    generator = np.random.default_rng(0)
    soft = generator.normal(0, 2, (3, 4)).astype(np.float32)
    noise = generator.uniform(-0.5, 0.5, (3, 4)).astype(np.float32)
    indices = np.full((3, 4), 30, np.float32)
    exact = numpy(logistic_bits(np.rint(soft), indices))
    np.testing.assert_allclose(numpy(rate_in_bits(soft, np.rint(soft), indices, None)), exact)
    np.testing.assert_allclose(numpy(rate_in_bits(soft, np.rint(soft), indices, noise)), exact, rtol=1e-5)


def test_symbols_get_the_gradient_of_noise_and_indices_that_of_the_rounded() -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    soft, indices = tf.Variable([0.3, -1.8, 4.2]), tf.Variable([10.0, 40.0, 20.0])
    noise = tf.constant([0.25, -0.4, 0.1])
    with tf.GradientTape(persistent=True) as tape:
        bits = rate_in_bits(soft, tf.round(soft), indices, noise)
        noisy = logistic_bits(soft + noise, tf.stop_gradient(indices))
        exact = logistic_bits(tf.stop_gradient(tf.round(soft)), indices)
    np.testing.assert_allclose(numpy(tape.gradient(bits, soft)), numpy(tape.gradient(noisy, soft)))
    np.testing.assert_allclose(numpy(tape.gradient(bits, indices)), numpy(tape.gradient(exact, indices)))
