"""The reference runtime: the Keras networks themselves, on TensorFlow or JAX (CPU or GPU).

On a GPU, JAX computes with whole float32 products, as the tolerance between runtimes asks for. TensorFlow
does so after ``tf.config.experimental.enable_tensor_float_32_execution(False)``, which is for the process to
call.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled
from aecodec.networks.weights import assign_arrays

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["KerasRuntime", "build_autoencoder"]


def build_autoencoder(model: Model, dtype: str = "float32") -> Autoencoder:
    """The Keras networks of an installed model, with its weights.

    Args:
        model: the model.
        dtype: Keras policy of the heavy layers.

    Raises:
        ModelError: the manifest has no architecture, or an array is missing or does not fit it.
    """
    try:
        autoencoder = Autoencoder(Architecture.from_dict(model.manifest["architecture"]), dtype=dtype)
        assign_arrays(autoencoder, model.arrays)
    except (KeyError, TypeError, ValueError) as error:
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
        self._encode = compiled(self.autoencoder, self.autoencoder.encode)
        self._decode = compiled(self.autoencoder, self.autoencoder.decode)
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
        return np.asarray(keras.ops.convert_to_numpy(pixels)[0], np.float32)

    def _level_weights(self, level: int) -> NDArray[np.float32]:
        return np.asarray(self.autoencoder.level_weights(np.array([level])))


def _symbols(tensor: Any) -> NDArray[np.int16]:
    return np.asarray(np.clip(keras.ops.convert_to_numpy(tensor)[0], -32767, 32767), np.int16)
