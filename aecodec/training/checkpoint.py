"""Checkpoints: weights, their moving average and the optimiser's state as plain arrays in one .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from aecodec.errors import InputError
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.weights import variable_name


def weights_of(model: Autoencoder) -> dict[str, np.ndarray]:
    return {variable_name(v): keras.ops.convert_to_numpy(v).astype(np.float32) for v in model.trainable_variables}


def averaged_weights_of(model: Autoencoder, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """The exponential moving average of the weights (`optimizer` must keep one)."""
    averages = optimizer._model_variables_moving_average
    return {
        variable_name(variable): keras.ops.convert_to_numpy(average).astype(np.float32)
        for variable, average in zip(model.trainable_variables, averages, strict=True)
    }


def set_weights(model: Autoencoder, weights: Mapping[str, np.ndarray]) -> None:
    """Raises InputError when names or shapes differ from the model's."""
    for variable in model.trainable_variables:
        name = variable_name(variable)
        if name not in weights or weights[name].shape != tuple(variable.shape):
            found = weights[name].shape if name in weights else "nothing"
            raise InputError(
                f"expected weights {name} of shape {tuple(variable.shape)}, found {found}; "
                "the checkpoint belongs to another architecture"
            )
        variable.assign(weights[name].astype(np.float32))


def save_checkpoint(
    path: Path, model: Autoencoder, optimizer: keras.optimizers.Optimizer, progress: Mapping[str, float]
) -> None:
    """Whole or not at all: written beside, then renamed."""
    arrays = {f"weights/{name}": array for name, array in weights_of(model).items()}
    arrays |= {f"average/{name}": array for name, array in averaged_weights_of(model, optimizer).items()}
    for number, variable in enumerate(optimizer.variables):
        arrays[f"optimizer/{number}"] = keras.ops.convert_to_numpy(variable)
    arrays["normaliser"] = keras.ops.convert_to_numpy(model.normaliser)
    for name, value in progress.items():
        arrays[f"progress/{name}"] = np.array(value)
    temporary = path.with_suffix(".partial.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load_checkpoint(
    path: Path, model: Autoencoder, optimizer: keras.optimizers.Optimizer | None
) -> dict[str, float]:
    """Restore weights and, where given and of the same kind, the optimiser; returns the progress that was saved."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    set_weights(model, part(arrays, "weights/"))
    model.normaliser.assign(arrays["normaliser"])
    if optimizer is not None:
        states = part(arrays, "optimizer/")
        if len(states) != len(optimizer.variables):
            raise InputError(f"expected the state of another optimiser than {path} holds; use the same --optimizer")
        for number, variable in enumerate(optimizer.variables):
            variable.assign(states[str(number)])
    return {name: float(value) for name, value in part(arrays, "progress/").items()}


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def start_average(model: Autoencoder, optimizer: keras.optimizers.Optimizer, *, fresh: bool) -> None:
    """Begin the moving average at the present weights."""
    if fresh:
        for variable, average in zip(
            model.trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            average.assign(variable)
