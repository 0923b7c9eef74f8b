"""The building blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.layers import (
    BlockStack,
    Depthwise,
    LevelTable,
    Pointwise,
    bounded_gradient,
    depth_to_space,
    level_weights_of,
    space_to_depth,
    straight_through_round,
)
from tests.networks.helpers import numpy


def test_rounding_goes_half_up_and_lets_the_gradient_pass() -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    values = tf.Variable([-1.5, -0.51, -0.5, 0.49, 0.5, 7.25, 2.0**22 + 0.5])
    with tf.GradientTape() as tape:
        rounded = straight_through_round(values)
        total = tf.reduce_sum(3 * rounded)
    assert numpy(rounded).tolist() == [-1, -1, 0, 0, 1, 7, 2**22 + 1]
    assert numpy(tape.gradient(total, values)).tolist() == [3] * 7


def test_a_bounded_gradient_reaches_up_to_twice_the_root_mean_square_of_its_sample() -> None:
    tf = pytest.importorskip("tensorflow", reason="a gradient is taken by TensorFlow")
    values = tf.constant(np.random.default_rng(0).normal(0, 1, (2, 4, 4, 8)), tf.float32)
    slopes = np.random.default_rng(1).normal(0, 1, values.shape).astype(np.float32)
    slopes[1] *= 1000
    slopes[0, 0, 0, 0] = 1e4
    with tf.GradientTape() as tape:
        tape.watch(values)
        same = bounded_gradient(values)
        total = tf.reduce_sum(same * slopes)
    assert np.array_equal(numpy(same), numpy(values))
    found = numpy(tape.gradient(total, values))
    bounds = 2 * np.sqrt(np.mean(np.square(slopes), axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(found, np.clip(slopes, -bounds, bounds), rtol=1e-5)
    assert found[0, 0, 0, 0] < 2000


@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 4, 8]), st.integers(1, 5)
)
def test_space_to_depth_and_depth_to_space_are_inverses(
    batch: int, rows: int, columns: int, block: int, channels: int
) -> None:
    shape = (batch, rows * block, columns * block, channels)
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    deep = space_to_depth(plane, block)
    assert tuple(deep.shape) == (batch, rows, columns, block * block * channels)
    assert np.array_equal(numpy(depth_to_space(deep, block)), plane)
    wide = np.random.default_rng(1).normal(size=tuple(deep.shape)).astype(np.float32)
    assert np.array_equal(numpy(space_to_depth(depth_to_space(wide, block), block)), wide)


def test_depth_holds_rows_before_columns_before_channels() -> None:
    plane = np.random.default_rng(0).normal(size=(1, 8, 12, 3)).astype(np.float32)
    deep = numpy(space_to_depth(plane, 4))
    for a, b, c in ((0, 0, 0), (1, 0, 2), (2, 3, 1)):
        assert np.array_equal(deep[0, :, :, (a * 4 + b) * 3 + c], plane[0, a::4, b::4, c])


def test_level_weights_interpolate_and_sum_to_one() -> None:
    everything = np.arange(225)
    weights = level_weights_of(everything, 8, 32)
    assert weights.shape == (225, 8)
    assert weights.dtype == np.float32
    assert np.array_equal(weights.sum(axis=1), np.ones(225))
    assert weights.min() == 0
    assert np.array_equal(weights @ np.arange(0, 256, 32), everything)
    for row in weights:
        used = np.flatnonzero(row)
        assert len(used) in (1, 2)
        assert used[-1] - used[0] == len(used) - 1


def test_a_level_table_gives_its_rows_at_the_nodes_and_means_between() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(8, 3)
    table = LevelTable(8, 3, rows)
    table.build()
    found = numpy(table(level_weights_of(np.array([32, 48, 224]), 8, 32)))
    assert found.shape == (3, 1, 1, 3)
    assert np.array_equal(found[0, 0, 0], rows[1])
    assert np.array_equal(found[1, 0, 0], (rows[1] + rows[2]) / 2)
    assert np.array_equal(found[2, 0, 0], rows[7])


def test_a_pointwise_layer_is_one_matrix_product() -> None:
    inputs = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = Pointwise(6)
    layer.build(inputs.shape)
    layer.bias.assign(np.arange(6))
    expected = inputs @ numpy(layer.kernel) + np.arange(6)
    np.testing.assert_allclose(numpy(layer(inputs)), expected, rtol=1e-5, atol=1e-5)


def test_a_depthwise_layer_is_a_correlation_with_zeros_around() -> None:
    inputs = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype(np.float32)
    layer = Depthwise()
    layer.build(inputs.shape)
    kernel, padded = numpy(layer.kernel)[..., 0], np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(kernel[i, j] * padded[:, i : i + 5, j : j + 4] for i in range(3) for j in range(3))
    np.testing.assert_allclose(numpy(layer(inputs)), expected, rtol=1e-5, atol=1e-5)


def test_blocks_add_to_their_input_by_level() -> None:
    stack = BlockStack(2, nodes=8)
    stack.build((None, None, None, 4))
    inputs = np.random.default_rng(0).normal(size=(1, 6, 6, 4)).astype(np.float32)
    node = level_weights_of(np.array([64]), 8, 32)
    before = numpy(stack(inputs, node))
    assert not np.allclose(before, inputs)
    rows = np.ones((8, 4), np.float32)
    rows[2] = 0
    for block in stack.blocks:
        block.feature_scale.rows.assign(rows)
    assert np.array_equal(numpy(stack(inputs, node)), inputs)
    assert not np.allclose(numpy(stack(inputs, level_weights_of(np.array([96]), 8, 32))), inputs)
