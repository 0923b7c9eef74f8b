"""What computes the float networks, stage by stage, behind one small protocol.

``onnx`` (ONNX Runtime on the CPU) is the default and a base dependency. ``keras`` (TensorFlow or JAX) is for
training, for GPUs, and the reference that the other is tested against. Both give, for the same symbols,
pixels within one level of each other; neither has a say in how bytes become symbols. How the stages make up
an encoder and a decoder is for :mod:`aecodec.residuals`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aecodec.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aecodec.models import Model
    from aecodec.runtime.search import LatentSlope

__all__ = ["PATCH", "RUNTIMES", "Runtime", "open_runtime", "open_search"]

RUNTIMES = ("onnx", "keras")
#: Pixels between two positions of the latents.
PATCH = 16
_KERAS_REMEDY = (
    "pip install 'aecodec[keras]' for TensorFlow, or 'aecodec[jax]' and KERAS_BACKEND=jax in the environment"
)


@runtime_checkable
class Runtime(Protocol):
    """The stages of a model's networks, ready to run. Several threads may call one runtime at the same time.

    Pixels are RGB on the scale 0..255; a level is a position on the rate scale, 0 to 224. Latents have a
    position for each 16x16 pixels, hyper-latents one for each 64x64.
    """

    synthesis_halo: int
    """Pixels, a multiple of 16, that :meth:`synthesise` needs around a rectangle."""

    @property
    def name(self) -> str:
        """What :func:`open_runtime` knows it by."""

    def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """Pixels (height, width, 3), sides multiples of 64 -> latents (height / 16, width / 16, channels)."""

    def hyper_latents(self, latents: NDArray[np.float32], level: int) -> NDArray[np.int16]:
        """Latents (4 rows, 4 columns, channels) -> hyper-latents z (rows, columns, hyper channels)."""

    def hyper_features(self, z: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """Hyper-latents z (rows, columns, hyper channels) -> features that step 0 starts from, whose layout
        is the runtime's own.
        """

    def predict_step(
        self, step: int, features: NDArray[np.float32], known: NDArray[np.float32] | None, level: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One step of the prediction of latents from hyper-latents and the latents of former steps.

        Args:
            step: 0 to 4.
            features: of the step before, or of :meth:`hyper_features`.
            known: reconstructed latents of the former steps, zero elsewhere; None in step 0.
            level: position on the rate scale.

        Returns:
            features of this step, and means of the latents, of which the step's part is used.
        """

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """Reconstructed latents (rows, columns, channels) -> pixels (16 rows, 16 columns, 3), neither clipped
        nor rounded.
        """

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """Means of squares of pixels, nearly, by the linear part of the synthesis alone.

        Args:
            latents: (rows, columns, channels).
            scale: 8 or 16: how many times smaller than the pixels.

        Returns:
            pixels (16 / scale rows, 16 / scale columns, 3), neither clipped nor rounded.
        """

    def load_decoder(self, *, synthesis: bool) -> None:
        """Load what decoding needs, which takes its time, before there are symbols to decode.

        Args:
            synthesis: whether :meth:`synthesise` will be called as well.
        """


@lru_cache(maxsize=4)
def open_runtime(name: str, model: Model) -> Runtime:
    """The runtime of that name for a model; the same object again for the same model.

    Raises:
        InputError: there is no runtime of that name.
        MissingDependencyError: a package that it needs is not installed.
        ModelError: the model's files are damaged.
    """
    if name == "onnx":
        with _needs("onnxruntime", "pip install onnxruntime"):
            from aecodec.runtime.onnx import OnnxRuntime
        return OnnxRuntime(model)
    if name == "keras":
        with _needs("keras with TensorFlow or JAX", _KERAS_REMEDY):
            from aecodec.runtime.keras import KerasRuntime
        return KerasRuntime(model)
    raise InputError(f"Expected a runtime out of {', '.join(RUNTIMES)}. Received: {name!r}")


@lru_cache(maxsize=2)
def open_search(model: Model) -> LatentSlope:
    """The slopes that a search for better latents and hyper-latents needs, in Keras; the same object again
    for the same model.

    Raises:
        MissingDependencyError: Keras, or a backend that it computes gradients on, is not installed.
        ModelError: the model's files are damaged.
    """
    with _needs("keras with TensorFlow or JAX", _KERAS_REMEDY):
        from aecodec.runtime.search import LatentSlope
    return LatentSlope(model)


@contextmanager
def _needs(package: str, remedy: str) -> Iterator[None]:
    """An import of another project's package that fails is told in our words, with what to do."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("aecodec"):
            raise
        raise MissingDependencyError(
            f"This runtime needs {package}, which cannot be imported ({error}). Install it: {remedy}"
        ) from error
