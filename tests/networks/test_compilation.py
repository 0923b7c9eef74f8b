"""Compiled passes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

import keras

from aecodec.networks.compilation import compiled
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
