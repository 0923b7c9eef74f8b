"""What computes the two float graphs, behind one small protocol.

``onnx`` (ONNX Runtime on the CPU) is the default and a base dependency. ``keras`` (TensorFlow or JAX) is for
training, for GPUs, and the reference that the other is tested against. Both give, for the same symbols,
pixels within one level of each other; neither has a say in how bytes become symbols.
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
    from aecodec.runtime.search import SymbolSearch

__all__ = ["PATCH", "RUNTIMES", "Runtime", "StagedRuntime", "open_runtime", "open_search"]

RUNTIMES = ("onnx", "keras")
#: Pixels between two positions of the latents.
PATCH = 16
_KERAS_REMEDY = (
    "pip install 'aecodec[keras]' for TensorFlow, or 'aecodec[jax]' and KERAS_BACKEND=jax in the environment"
)


@runtime_checkable
class Runtime(Protocol):
    """A model's encoder and decoder graphs, ready to run. Several threads may call one runtime at the same
    time.
    """

    @property
    def name(self) -> str:
        """What :func:`open_runtime` knows it by."""

    def encode(self, pixels: NDArray[np.float32], level: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Run the encoder graph.

        Args:
            pixels: (height, width, 3), RGB, 0..255; height and width are multiples of 64.
            level: position on the rate scale, 0 to 224.

        Returns:
            the hyper-latents z (height / 64, width / 64, hyper channels) and the residual latents
            r (height / 16, width / 16, latent channels).
        """

    def decode(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """Run the decoder graph.

        Args:
            z: (rows, columns, hyper channels).
            r: (4 rows, 4 columns, latent channels).
            level: position on the rate scale, 0 to 224.

        Returns:
            pixels (64 rows, 64 columns, 3), RGB on the scale 0..255, neither clipped nor rounded.
        """


@runtime_checkable
class StagedRuntime(Runtime, Protocol):
    """A runtime whose decoder can stop at the latents: less is computed for a window or a small preview."""

    synthesis_halo: int
    """Pixels, a multiple of 16, that :meth:`synthesise` needs around a rectangle."""

    def load_decoder(self, *, synthesis: bool) -> None:
        """Load what decoding needs, which takes its time, before there are symbols to decode.

        Args:
            synthesis: whether :meth:`synthesise` will be called as well as :meth:`predict`.
        """

    def predict(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """Run the decoder graph up to the latents.

        Args: as for :meth:`Runtime.decode`.

        Returns:
            latents (4 rows, 4 columns, latent channels), a position for each 16x16 pixels.
        """

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """Run the decoder graph from the latents on.

        Args:
            latents: (rows, columns, latent channels).
            level: position on the rate scale, 0 to 224.

        Returns:
            pixels (16 rows, 16 columns, 3) as of :meth:`Runtime.decode`.
        """

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """Means of squares of pixels, nearly, by the linear part of the synthesis alone.

        Args:
            latents: (rows, columns, latent channels).
            scale: 8 or 16: how many times smaller than the pixels.

        Returns:
            pixels (16 / scale rows, 16 / scale columns, 3), RGB on the scale 0..255, neither clipped nor
            rounded.
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
def open_search(model: Model) -> SymbolSearch:
    """The search for better symbols, in Keras; the same object again for the same model.

    Raises:
        MissingDependencyError: Keras, or a backend that it computes gradients on, is not installed.
        ModelError: the model's files are damaged.
    """
    with _needs("keras with TensorFlow or JAX", _KERAS_REMEDY):
        from aecodec.runtime.search import SymbolSearch
    return SymbolSearch(model)


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
