"""The reference runtime: the Keras networks themselves, on TensorFlow or JAX (CPU or GPU).

On a GPU, JAX computes with whole float32 products, as the tolerance between runtimes asks for. TensorFlow
does so after ``tf.config.experimental.enable_tensor_float_32_execution(False)``, which is for the process to
call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import STEPS, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled
from aecodec.networks.weights import assign_arrays
from aecodec.runtime.common import linear_preview, synthesis_halo

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
    """A model's networks in Keras, compiled by the backend per picture size. Threads may share it."""

    name = "keras"

    def __init__(self, model: Model, dtype: str = "float32") -> None:
        self.model = model
        self.synthesis_halo = synthesis_halo(model)
        autoencoder = self.autoencoder = build_autoencoder(model, dtype)
        self._analyse = compiled(autoencoder, lambda pixels, weights: autoencoder.analysis(pixels, weights))
        self._hyper_latents = compiled(autoencoder, autoencoder.hyper_latents)
        self._hyper_features = compiled(autoencoder, autoencoder.hyper_features)
        first = compiled(
            autoencoder, lambda features, weights: autoencoder.predict_step(0, features, None, weights)
        )
        further = (compiled(autoencoder, partial(autoencoder.predict_step, step)) for step in range(1, STEPS))
        self._steps = (first, *further)
        self._synthesise = compiled(autoencoder, autoencoder.synthesise)
        self._lock = Lock()

    def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.analyse`."""
        return _floats(self._run(self._analyse, level, pixels[None])[0])

    def hyper_latents(self, latents: NDArray[np.float32], level: int) -> NDArray[np.int16]:
        """See `aecodec.runtime.Runtime.hyper_latents`."""
        z = _floats(self._run(self._hyper_latents, level, latents[None])[0])
        return np.asarray(np.clip(z, -32767, 32767), np.int16)

    def hyper_features(self, z: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.hyper_features`."""
        return _floats(self._run(self._hyper_features, level, z[None].astype(np.float32)))

    def predict_step(
        self, step: int, features: NDArray[np.float32], known: NDArray[np.float32] | None, level: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `aecodec.runtime.Runtime.predict_step`."""
        seen = () if known is None else (known[None],)
        features, means = self._run(self._steps[step], level, features, *seen)
        return _floats(features), _floats(means[0])

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.synthesise`."""
        return _floats(self._run(self._synthesise, level, latents[None])[0])

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.preview`."""
        return linear_preview(self.model, latents, scale)

    def load_decoder(self, *, synthesis: bool) -> None:
        """See `aecodec.runtime.Runtime.load_decoder`: all is loaded already."""

    def _run(self, function: Callable[..., Any], level: int, *arrays: NDArray[Any]) -> Any:
        weights = np.asarray(self.autoencoder.level_weights(np.array([level])))
        with self._lock:
            return function(*arrays, weights)


def _floats(tensor: Any) -> NDArray[np.float32]:
    """A tensor as an array; what was computed in half precision stays so, in the wider type."""
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
