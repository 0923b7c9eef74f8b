"""The default runtime: ONNX Runtime on the CPU.

The graphs hold no weights; they are given at load time as external initialisers out of the model's arrays, so
they are stored once for all runtimes. Each stage is a graph, and its session is made when it is first needed:
decoding never loads the analysis, and a small preview no synthesis.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import HYPER_PATCH, PATCH, STEPS
from aecodec.runtime.common import linear_preview, synthesis_halo

# From 1.32 on, ONNX Runtime reports its use over the network and leaves an id of the machine in the home
# folder, unless this is set before it is imported; there is no call that stops it afterwards.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["OnnxRuntime"]

_DECODER: Final = ("hyper_synthesis", *(f"step_{number}" for number in range(STEPS)), "synthesis")
#: Pixels. Memory taken for a window up to this size is kept for the next one: to get it anew from the system,
#: page by page, takes a tenth of the time of a run, on some machines a third. The graphs of a decoder of
#: 57 kMAC/pixel keep up to 400 bytes a pixel, for as long as the runtime lives.
_KEPT_WINDOW: Final = 1 << 19


class OnnxRuntime:
    """A model's graphs on ONNX Runtime. Threads may share it: sessions are re-entrant."""

    name = "onnx"

    def __init__(self, model: Model) -> None:
        self.model = model
        try:
            architecture = model.manifest["architecture"]
            self._nodes = int(architecture["level_nodes"])
            self._sublevels = int(architecture["sublevels"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"Expected the architecture of the model {model.name} in {model.folder / 'model.json'}, "
                f"found none that names {error}: reinstall the model"
            ) from error
        self.synthesis_halo = synthesis_halo(model)
        self._sessions: dict[str, Any] = {}
        self._lock = Lock()
        self._keeping, self._shrinking = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.analyse`."""
        area = pixels.shape[0] * pixels.shape[1]
        latents: NDArray[np.float32] = self._run("analysis", level, area, pixels=pixels[None])[0][0]
        return latents

    def hyper_latents(self, latents: NDArray[np.float32], level: int) -> NDArray[np.int16]:
        """See `aecodec.runtime.Runtime.hyper_latents`."""
        z: NDArray[np.int16] = self._run("hyper_analysis", level, _area(latents), latents=latents[None])[0][0]
        return z

    def hyper_features(self, z: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.hyper_features`."""
        area = z.shape[0] * z.shape[1] * HYPER_PATCH**2
        features: NDArray[np.float32] = self._run("hyper_synthesis", level, area, hyper_latents=z[None])[0]
        return features

    def predict_step(
        self, step: int, features: NDArray[np.float32], known: NDArray[np.float32] | None, level: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `aecodec.runtime.Runtime.predict_step`."""
        seen = {} if known is None else {"known": known[None]}
        area = features.shape[2] * features.shape[3] * PATCH**2
        features, means = self._run(f"step_{step}", level, area, features=features, **seen)
        return features, means[0]

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.synthesise`."""
        pixels: NDArray[np.float32]
        pixels = self._run("synthesis", level, _area(latents), latents=latents[None])[0][0]
        return pixels

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """See `aecodec.runtime.Runtime.preview`."""
        return linear_preview(self.model, latents, scale)

    def load_decoder(self, *, synthesis: bool) -> None:
        """See `aecodec.runtime.Runtime.load_decoder`."""
        for graph in _DECODER if synthesis else _DECODER[:-1]:
            self._session(graph)

    def _run(self, graph: str, level: int, area: int, **feed: NDArray[Any]) -> Any:
        """All outputs of a graph; ``area``: pixels of the window."""
        feed["level_weights"] = self._level_weights(level)
        return self._session(graph).run(None, feed, self._options(area))

    def _session(self, graph: str) -> Any:
        """The session of a graph, made once."""
        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = self._new_session(f"{graph}.onnx")
            return self._sessions[graph]

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

    def _new_session(self, graph: str) -> Any:
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


def _area(latents: NDArray[np.float32]) -> int:
    """Pixels of a window with these latents (rows, columns, channels)."""
    rows, columns, _ = latents.shape
    return int(rows * columns * PATCH**2)
