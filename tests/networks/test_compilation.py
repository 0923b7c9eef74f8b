"""Compiled passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

import keras
from keras import ops

from aecodec.networks.compilation import compiled, gradients
from tests.networks.helpers import numpy


def test_a_compiled_pass_sees_the_weights_of_the_moment_at_any_size() -> None:
    model = keras.Sequential([keras.layers.Dense(2, use_bias=False)])
    model.build((None, 3))
    function = compiled(model, lambda inputs: (model(inputs), 2 * inputs))
    for rows, factor in ((1, 1), (5, 2), (4, 3)):
        model.layers[0].kernel.assign(np.full((3, 2), factor))
        product, doubled = function(np.ones((rows, 3), np.float32))
        assert np.array_equal(numpy(product), np.full((rows, 2), 3 * factor))
        assert np.array_equal(numpy(doubled), np.full((rows, 3), 2))


def test_gradients_are_those_by_each_tensor_alone() -> None:
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build((None, 3))
    model.layers[0].kernel.assign(np.array([[1], [2], [3]], np.float32))

    def both(first: Any, second: Any) -> Any:
        return gradients(lambda a, b: ops.sum(model(a) * b * b), first, second)

    first, second = np.ones((2, 3), np.float32), np.array([[2], [5]], np.float32)
    by_first, by_second = compiled(model, both)(first, second)
    np.testing.assert_allclose(numpy(by_first), second**2 * [[1, 2, 3]])
    np.testing.assert_allclose(numpy(by_second), 2 * second * 6)


def test_a_gradient_by_one_tensor_is_a_tuple_of_one() -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build((None, 1))
    function = compiled(model, lambda at: gradients(lambda x: ops.sum(x * x * x), at))
    [found] = function(np.array([2.0, -3.0], np.float32))
    np.testing.assert_allclose(numpy(found), [12, 27])
