"""The default runtime: ONNX Runtime on the CPU.

The graphs hold no weights; they are given at load time as external initialisers out of the model's arrays, so
they are stored once for all runtimes. A session is made when it is first needed: decoding never loads the
encoder. The decoder consists of two graphs: the synthesis sees less far than what predicts the latents, so a
window needs less of it, and a small preview nothing of it.
"""

from __future__ import annotations

import os
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import LATENT_UNIT, PIXEL_CENTRE, SHORTCUT_UNIT
from aecodec.runtime import PATCH

# From 1.32 on, ONNX Runtime reports its use over the network and leaves an id of the machine in the home
# folder, unless this is set before it is imported; there is no call that stops it afterwards.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["OnnxRuntime"]

_SHORTCUT: Final = "synthesis/shortcut/map"
#: Pixels. Memory taken for a window up to this size is kept for the next one: to get it anew from the system,
#: page by page, takes a tenth of the time of a run, on some machines a third. The two graphs of a decoder of
#: 50 kMAC/pixel keep 260 bytes a pixel, for as long as the runtime lives.
_KEPT_WINDOW: Final = 1 << 19


class OnnxRuntime:
    """A model's two graphs on ONNX Runtime. Threads may share it: sessions are re-entrant."""

    name = "onnx"

    def __init__(self, model: Model) -> None:
        self.model = model
        try:
            architecture = model.manifest["architecture"]
            self._nodes = int(architecture["level_nodes"])
            self._sublevels = int(architecture["sublevels"])
            self.synthesis_halo = int(model.manifest["halo"]["synthesis"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"Expected the architecture of the model {model.name} in {model.folder / 'model.json'}, "
                f"found none that names {error}: reinstall the model"
            ) from error
        self._lock = Lock()
        self._keeping, self._shrinking = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    @cached_property
    def _encoder(self) -> Any:
        return self._session("encoder.onnx")

    @cached_property
    def _prediction(self) -> Any:
        return self._session("prediction.onnx")

    @cached_property
    def _synthesis(self) -> Any:
        return self._session("synthesis.onnx")

    def encode(self, pixels: NDArray[np.float32], level: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """See `aecodec.runtime.Runtime.encode`."""
        with self._lock:
            session = self._encoder
        feed = {"pixels": pixels[None], "level_weights": self._level_weights(level)}
        options = self._options(pixels.shape[0] * pixels.shape[1])
        z, r = session.run(["hyper_latents", "residuals"], feed, options)
        return z[0], r[0]

    def decode(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.decode`."""
        return self.synthesise(self.predict(z, r, level), level)

    def load_decoder(self, *, synthesis: bool) -> None:
        """See `aecodec.runtime.StagedRuntime.load_decoder`."""
        with self._lock:
            _ = (self._prediction, self._synthesis) if synthesis else self._prediction

    def predict(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.StagedRuntime.predict`."""
        with self._lock:
            session = self._prediction
        feed = {"hyper_latents": z[None], "residuals": r[None], "level_weights": self._level_weights(level)}
        options = self._options(r.shape[0] * r.shape[1] * PATCH**2)
        latents: NDArray[np.float32] = session.run(["latents"], feed, options)[0][0]
        return latents

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.StagedRuntime.synthesise`."""
        with self._lock:
            session = self._synthesis
        feed = {"latents": latents[None], "level_weights": self._level_weights(level)}
        options = self._options(latents.shape[0] * latents.shape[1] * PATCH**2)
        pixels: NDArray[np.float32] = session.run(["pixels"], feed, options)[0][0]
        return pixels

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.StagedRuntime.preview`."""
        kernel, bias = (
            _patch_means(self.model.arrays[f"{_SHORTCUT}/{name}"], scale) for name in ("kernel", "bias")
        )
        rows, columns, _ = latents.shape
        side = PATCH // scale
        patches = (SHORTCUT_UNIT * LATENT_UNIT * latents) @ kernel + bias + PIXEL_CENTRE
        squares = patches.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
        return squares.reshape(rows * side, columns * side, 3).astype(np.float32, copy=False)

    def _options(self, pixels: int) -> Any:
        """Of a run on a window of so many pixels: behind a large one the arena is emptied, which would hold
        the peak of the largest window for ever.
        """
        return self._keeping if pixels <= _KEPT_WINDOW else self._shrinking

    def _level_weights(self, level: int) -> NDArray[np.float32]:
        """(1, nodes): linear interpolation between the two level nodes beside the level."""
        node, fraction = divmod(level, self._sublevels)
        weights = np.zeros((1, self._nodes), np.float32)
        weights[0, node] = 1 - fraction / self._sublevels
        if fraction:
            weights[0, node + 1] = fraction / self._sublevels
        return weights

    def _initialiser(self, name: str) -> Any:
        """A stored weight as the graphs take it, float32: depthwise kernels (3, 3, channels, 1) planes first;
        pointwise kernels (channels in, channels out) as filters (channels out, channels in, 1, 1).
        """
        values = self.model.arrays[name]
        if values.ndim == 4:
            values = values.transpose(2, 3, 0, 1)
        elif values.ndim == 2 and name.endswith("/kernel"):
            values = values.T[:, :, None, None]
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values, np.float32))

    def _session(self, graph: str) -> Any:
        path = self.model.folder / graph
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        # Idle threads that spin would take the other core from the entropy coder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            names = list(self.model.manifest["graph_weights"][graph])
            # ONNX Runtime reads these while it makes the session, but does not hold them: they must live on.
            values = [self._initialiser(name) for name in names]
            options.add_external_initializers(names, values)
            return onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except ModelError:
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"Expected the {graph} of the model {self.model.name} and its weights in "
                f"{self.model.folder}, which cannot be loaded ({error}): reinstall the model"
            ) from error
        except Exception as error:  # ONNX Runtime's own exceptions derive from Exception alone
            raise ModelError(
                f"ONNX Runtime cannot load {path} ({error}): reinstall the model, or upgrade onnxruntime"
            ) from error


def _patch_means(weights: NDArray[Any], scale: int) -> NDArray[np.float32]:
    """Weights or bias (..., 16 * 16 * 3) of the shortcut -> those of the means of scale x scale pixels,
    (..., 16 / scale * 16 / scale * 3).
    """
    values = np.asarray(weights, np.float32)
    side = PATCH // scale
    squares = values.reshape(*values.shape[:-1], side, scale, side, scale, 3)
    means: NDArray[np.float32] = squares.mean(axis=(-4, -2)).reshape(*values.shape[:-1], -1)
    return means
