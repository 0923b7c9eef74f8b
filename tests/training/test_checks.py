"""What must hold before a model is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="the checks compare with Keras")
pytest.importorskip("onnx", reason="the checks compare with ONNX graphs")

from aecodec.entropy import IntegerScaleNetwork
from aecodec.errors import ModelError
from aecodec.models import Model
from aecodec.networks.autoencoder import Autoencoder
from aecodec.runtime.keras import build_autoencoder
from aecodec.training.checks import check_runtimes, check_twin
from tests.helpers import photograph


@pytest.fixture
def model(tiny_model: Model) -> Autoencoder:
    return build_autoencoder(tiny_model)


def network_of(model: Autoencoder, changes: dict[str, Any] | None = None) -> IntegerScaleNetwork:
    return IntegerScaleNetwork.from_arrays(model.scale_network.export() | (changes or {}))


def test_a_twin_of_the_exported_integers_passes(model: Autoencoder) -> None:
    check_twin(model, network_of(model), side=2)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("hyper_pointwise_1/weight", "features"),
        ("step2_pointwise_1/weight", "step 2"),
        ("step0_index/bias", "step 0"),
    ],
)
def test_one_altered_layer_is_found(model: Autoencoder, name: str, where: str) -> None:
    array = model.scale_network.export()[f"scales/{name}"]
    altered = np.clip(array.astype(np.int64) + 40, np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    if name.endswith("bias"):
        altered = array.astype(np.int64) + 4096
    network = network_of(model, {f"scales/{name}": altered.astype(array.dtype)})
    with pytest.raises(ModelError, match=f"expected the float twin.*{where}"):
        check_twin(model, network, side=2)


def test_runtimes_of_the_same_weights_pass(tiny_model: Model, model: Autoencoder) -> None:
    check_runtimes(tiny_model, model, photograph(64, 128))


def test_a_runtime_of_other_weights_is_found(tiny_model: Model, model: Autoencoder) -> None:
    bias = model.synthesis.leave.bias
    bias.assign(np.asarray(bias) + 0.01)
    with pytest.raises(ModelError, match="expected onnx and keras to agree"):
        check_runtimes(tiny_model, model, photograph(64, 128))
