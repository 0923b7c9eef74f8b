"""The reference runtime: the Keras networks themselves, on TensorFlow or JAX (CPU or GPU)."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import Architecture
from aecodec.networks.autoencoder import Autoencoder

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["KerasRuntime", "build_autoencoder"]


def build_autoencoder(model: Model, dtype: str = "float32") -> Autoencoder:
    """The Keras networks of an installed model, with its weights.

    Raises:
        ModelError: an array is missing or has another shape than the architecture says.
    """
    from aecodec.networks.weights import assign_arrays

    autoencoder = Autoencoder(Architecture.from_dict(dict(model.manifest["architecture"])), dtype=dtype)
    try:
        assign_arrays(autoencoder, model.arrays)
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"Expected the weights of the model {model.name} in {model.folder} to fit its architecture, but "
            f"{error}: reinstall the model"
        ) from error
    return autoencoder


class KerasRuntime:
    """A model's two graphs in Keras, compiled by the backend per picture size. Threads may share it."""

    name = "keras"

    def __init__(self, model: Model, dtype: str = "float32") -> None:
        self.autoencoder = build_autoencoder(model, dtype)
        self._encode = _compiled(self.autoencoder.encode)
        self._decode = _compiled(self.autoencoder.decode)
        self._lock = Lock()

    def encode(self, pixels: NDArray[np.float32], level: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """See `aecodec.runtime.Runtime.encode`."""
        with self._lock:
            z, r = self._encode(pixels[None], self._level_weights(level))
        return _symbols(z), _symbols(r)

    def decode(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.decode`."""
        floats = z[None].astype(np.float32), r[None].astype(np.float32)
        with self._lock:
            pixels = self._decode(*floats, self._level_weights(level))
        return np.asarray(keras.ops.convert_to_numpy(pixels), np.float32)[0]

    def _level_weights(self, level: int) -> NDArray[np.float32]:
        return self.autoencoder.level_weights(np.array([level]))


def _symbols(tensor: Any) -> NDArray[np.int16]:
    values = keras.ops.convert_to_numpy(tensor)[0]
    return np.clip(values, -32767, 32767).astype(np.int16)


def _compiled(function: Any) -> Any:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function
