"""Checkpoints: weights, their moving average and the optimiser's state as plain arrays in one .npz file.

weights/<name>      float32, the trainable variables
average/<name>      float32, their exponential moving average
optimizer/<number>  the optimiser's variables in their order
normaliser          float32 (latent channels,)
progress/<name>     numbers: steps, seconds, what has become of the learning rate

A file of averages has ``average/``, the large kernels as float16, ``normaliser`` and ``progress/`` alone:
little enough to be carried away from a device. Training starts from it as from a checkpoint, but cannot keep
the schedule.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from aecodec.errors import InputError, ModelError
from aecodec.models import load_model_folder
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.weights import assign_arrays, compact, variable_name


def weights_of(model: Autoencoder) -> dict[str, np.ndarray]:
    """The trainable variables as float32 arrays by name."""
    return {variable_name(variable): _float32(variable) for variable in model.trainable_variables}


def averaged_weights_of(model: Autoencoder, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """The exponential moving average of the weights (``optimizer`` must keep one)."""
    averages = optimizer._model_variables_moving_average
    return {
        variable_name(variable): _float32(average)
        for variable, average in zip(model.trainable_variables, averages, strict=True)
    }


def set_weights(model: Autoencoder, weights: Mapping[str, np.ndarray]) -> None:
    """The inverse of `weights_of`.

    Raises:
        InputError: names or shapes differ from the model's; nothing is set then.
    """
    for variable in model.trainable_variables:
        name = variable_name(variable)
        if name not in weights or weights[name].shape != tuple(variable.shape):
            found = weights[name].shape if name in weights else "nothing"
            raise InputError(
                f"expected weights {name} of shape {tuple(variable.shape)}, found {found}; "
                "the checkpoint belongs to another architecture"
            )
    for variable in model.trainable_variables:
        variable.assign(weights[variable_name(variable)].astype(np.float32))


def set_released_weights(model: Autoencoder, folder: Path) -> None:
    """Those of a model folder.

    Raises:
        ModelError: the model is damaged, or of another architecture.
    """
    try:
        assign_arrays(model, load_model_folder(folder).arrays)
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"expected the model in {folder} to have the architecture of the preset, but {error}; "
            "name the preset that it was trained with"
        ) from error


@contextmanager
def averaged_weights(model: Autoencoder, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """The model has its averaged weights inside of the block, and its own again behind it."""
    kept = weights_of(model)
    set_weights(model, averaged_weights_of(model, optimizer))
    try:
        yield
    finally:
        set_weights(model, kept)


def start_average(model: Autoencoder, optimizer: keras.optimizers.Optimizer) -> None:
    """Begin the moving average at the present weights."""
    averages = optimizer._model_variables_moving_average
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        average.assign(variable)


def save_checkpoint(
    path: Path, model: Autoencoder, optimizer: keras.optimizers.Optimizer, progress: Mapping[str, float]
) -> None:
    """Write a checkpoint whole or not at all: beside its place, then renamed.

    Args:
        path: ends in ``.npz``.
        model: the weights.
        optimizer: its state, with the moving average of the weights.
        progress: numbers to be told when the checkpoint is loaded, such as ``step`` and ``seconds``.
    """
    arrays: dict[str, Any] = {f"weights/{name}": array for name, array in weights_of(model).items()}
    arrays |= {f"average/{name}": array for name, array in averaged_weights_of(model, optimizer).items()}
    for number, variable in enumerate(optimizer.variables):
        arrays[f"optimizer/{number}"] = np.asarray(keras.ops.convert_to_numpy(variable))
    _write(path, model, arrays, progress)


def save_averages(
    path: Path, model: Autoencoder, optimizer: keras.optimizers.Optimizer, progress: Mapping[str, float]
) -> None:
    """Write a file of averages, about an eighth of a checkpoint; arguments as for `save_checkpoint`."""
    save_as_averages(path, model, averaged_weights_of(model, optimizer), progress)


def save_as_averages(
    path: Path, model: Autoencoder, averages: Mapping[str, np.ndarray], progress: Mapping[str, float]
) -> None:
    """The same of given averages, named as by `weights_of`."""
    # The twin of the integer network stays as it is: its weights are rounded once, to integers.
    stored = {
        f"average/{name}": array if name.startswith("scale_network/") else compact(name, array)
        for name, array in averages.items()
    }
    _write(path, model, stored, progress)


def _write(path: Path, model: Autoencoder, arrays: Mapping[str, Any], progress: Mapping[str, float]) -> None:
    stored: dict[str, Any] = {**arrays, "normaliser": _float32(model.normaliser)}
    stored |= {f"progress/{name}": np.array(value) for name, value in progress.items()}
    temporary = path.with_suffix(".partial.npz")
    with temporary.open("wb") as stream:
        np.savez(stream, **stored)
    temporary.replace(path)


def load_checkpoint(
    path: Path, model: Autoencoder, optimizer: keras.optimizers.Optimizer | None
) -> dict[str, float]:
    """Restore weights and, where given, the optimiser; returns the progress that was saved.

    Of a file of averages these are the weights.

    Raises:
        InputError: the file is no checkpoint, or one of another architecture or optimiser.
    """
    arrays = read_checkpoint(path)
    set_weights(model, part(arrays, "weights/") or part(arrays, "average/"))
    model.normaliser.assign(arrays["normaliser"])
    if optimizer is not None:
        _set_optimizer(optimizer, part(arrays, "optimizer/"), path)
    return {name: float(value) for name, value in part(arrays, "progress/").items()}


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint by name.

    Raises:
        InputError: the file cannot be read, or is no checkpoint.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"expected a checkpoint at {path}, which cannot be read ({error})") from error
    missing = [name for name in ("normaliser", "progress/step", "progress/seconds") if name not in arrays]
    if missing:
        raise InputError(f"expected a checkpoint at {path}, found no {', '.join(missing)} in it")
    return arrays


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _set_optimizer(
    optimizer: keras.optimizers.Optimizer, states: Mapping[str, np.ndarray], path: Path
) -> None:
    expected = [tuple(variable.shape) for variable in optimizer.variables]
    if [states[str(number)].shape for number in range(len(states))] != expected:
        raise InputError(
            f"expected the state of another optimiser than {path} holds; use the same --optimizer"
        )
    for number, variable in enumerate(optimizer.variables):
        variable.assign(states[str(number)])


def _float32(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable), np.float32)
