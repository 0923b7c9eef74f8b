"""Between Keras variables and the named arrays of a model folder.

Large kernels are stored as float16, tables and biases as float32. The scale network is stored as the integers
that decide the bytes; its float twin is read back from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from aecodec.networks.autoencoder import Autoencoder

ENCODER_ONLY = {
    "log_gain/rows": "encoder/log_gain/rows",
    "hyper_log_gain/rows": "encoder/hyper_log_gain/rows",
    "rounding_strength/rows": "encoder/rounding_strength/rows",
}
"""Stored under ``encoder/`` because decoding does not need them."""
HALF_PRECISION_FROM = 2048
"""Kernels with this many elements and more are stored as float16."""


def compact(name: str, values: np.ndarray) -> np.ndarray:
    """An array of the float networks as it is stored: large kernels as float16, everything else as it is."""
    half = name.endswith("/kernel") and values.size >= HALF_PRECISION_FROM
    return values.astype(np.float16) if half else values


def variable_name(variable: Any) -> str:
    """Path without the model's own name: analysis/enter/kernel."""
    return str(variable.path).removeprefix("autoencoder/")


def stored_name(variable: Any) -> str:
    """The name of a variable's array in a model folder."""
    name = variable_name(variable)
    return ENCODER_ONLY.get(name, name)


def _float_variables(model: Autoencoder) -> list[Any]:
    trained = [v for v in model.trainable_variables if not variable_name(v).startswith("scale_network/")]
    return [*trained, model.rounding_strength.rows]


def arrays_of(model: Autoencoder) -> dict[str, np.ndarray]:
    """Every array that a model folder stores, except the tables."""
    arrays: dict[str, np.ndarray] = {}
    for variable in _float_variables(model):
        values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        arrays[stored_name(variable)] = compact(variable_name(variable), values)
    arrays["normaliser"] = np.asarray(keras.ops.convert_to_numpy(model.normaliser), np.float32)
    return arrays | model.scale_network.export()


def assign_arrays(model: Autoencoder, arrays: Mapping[str, np.ndarray]) -> None:
    """The inverse of `arrays_of`.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has another shape than the architecture says.
    """
    for variable in [*_float_variables(model), model.normaliser]:
        name = stored_name(variable)
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {tuple(variable.shape)}")
        variable.assign(np.asarray(arrays[name], np.float32))
    model.scale_network.assign_integers(arrays)
