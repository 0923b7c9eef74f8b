"""Variables and the named arrays of a model folder."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.models import ENCODER_ONLY_PREFIXES
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.scales import HYPER_INDEX
from aecodec.networks.weights import arrays_of, assign_arrays, variable_name
from tests.networks.helpers import fresh_autoencoder, levels, numpy, pixels, tiny_autoencoder

DECODER = (
    "synthesis",
    "hyper_synthesis",
    "step_",
    "log_inverse_gain",
    "hyper_log_inverse_gain",
    "normaliser",
)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return tiny_autoencoder()


def test_arrays_are_read_back_without_further_loss(model: Autoencoder) -> None:
    arrays = arrays_of(model)
    other = fresh_autoencoder(1)
    assign_arrays(other, arrays)
    again = arrays_of(other)
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == again[name].dtype
        assert np.array_equal(array, again[name]), name


def test_a_model_is_whole_with_its_arrays(model: Autoencoder) -> None:
    first, second = fresh_autoencoder(1), fresh_autoencoder(2)
    for other in (first, second):
        assign_arrays(other, arrays_of(model))
    symbols = [other.encode(pixels(64, 64), levels(77)) for other in (first, second)]
    for one, two in zip(*symbols, strict=True):
        assert np.array_equal(numpy(one), numpy(two))


def test_large_kernels_are_stored_in_half_precision_and_the_rest_is_not(model: Autoencoder) -> None:
    kinds = {name: (array.dtype, array.size) for name, array in arrays_of(model).items()}
    for name, (dtype, size) in kinds.items():
        if name.startswith("scales/") or name == HYPER_INDEX:
            assert dtype.kind in "iu"
        else:
            assert dtype == (np.float16 if name.endswith("/kernel") and size >= 2048 else np.float32), name
    assert {dtype for dtype, _ in kinds.values()} >= {np.dtype(np.float16), np.dtype(np.int8)}


def test_what_decoding_needs_not_is_stored_as_the_encoders(model: Autoencoder) -> None:
    encoders = {name for name in arrays_of(model) if name.startswith(ENCODER_ONLY_PREFIXES)}
    rest = arrays_of(model).keys() - encoders
    assert {name.split("/")[0] for name in encoders} == {"analysis", "hyper_analysis", "encoder"}
    assert all(name.startswith((*DECODER, "scales/")) for name in rest)


def test_names_do_not_depend_on_how_many_models_there_are(model: Autoencoder) -> None:
    other = fresh_autoencoder()
    names = [[variable_name(variable) for variable in m.trainable_variables] for m in (model, other)]
    assert names[0] == names[1]
    assert "analysis/eighth/block_0/expand/kernel" in names[0]


def test_a_missing_array_is_an_error(model: Autoencoder) -> None:
    arrays = arrays_of(model)
    del arrays["synthesis/up/bias"]
    with pytest.raises(KeyError, match="synthesis/up/bias"):
        assign_arrays(model, arrays)


@pytest.mark.parametrize("name", ["synthesis/up/bias", "scales/hyper_pointwise_0/weight"])
def test_an_array_of_another_shape_is_an_error(model: Autoencoder, name: str) -> None:
    arrays = arrays_of(model)
    arrays[name] = arrays[name][:-1]
    with pytest.raises(ValueError, match="shape"):
        assign_arrays(model, arrays)
