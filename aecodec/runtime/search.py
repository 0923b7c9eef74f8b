"""The search for better symbols, computed by Keras on TensorFlow or JAX (CPU or GPU)."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aecodec.networks.refinement import Search, Task, weight_of_level
from aecodec.runtime.keras import build_autoencoder

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["SymbolSearch"]


class SymbolSearch:
    """Finds residuals of a part of a picture that cost less than the encoder's. Threads may share it."""

    def __init__(self, model: Model) -> None:
        self._autoencoder = build_autoencoder(model)
        self._search = Search(self._autoencoder)
        self._lock = Lock()

    def improve(
        self,
        pixels: NDArray[np.float32],
        counted: NDArray[np.bool_],
        z: NDArray[np.int16],
        r: NDArray[np.int16],
        free: NDArray[np.bool_],
        level: int,
        *,
        iterations: int,
        tick: Callable[[], None],
    ) -> NDArray[np.int16]:
        """Residuals whose bits plus lambda times distortion are not above those of ``r``.

        Args:
            pixels: (height, width, 3), RGB, 0..255; height and width are multiples of 64.
            counted: (height, width), where distortion counts.
            z: hyper-latents (height / 64, width / 64, hyper channels); they stay.
            r: residuals (height / 16, width / 16, latent channels), the encoder graph's.
            free: (height / 16, width / 16), where residuals may change.
            level: position on the rate scale, 0 to 224.
            iterations: of the search; what they take grows with the pixels.
            tick: called after each.
        """
        task = Task(
            pixels=pixels[None],
            counted=counted[None, :, :, None].astype(np.float32),
            hyper=z[None].astype(np.float32),
            residuals=r[None].astype(np.float32),
            free=free[None, :, :, None].astype(np.float32),
            level_weights=np.asarray(self._autoencoder.level_weights(np.array([level])), np.float32),
            weight=weight_of_level(self._autoencoder.architecture, level),
        )
        with self._lock:
            return self._improve(task, iterations, tick)

    def _improve(self, task: Task, iterations: int, tick: Callable[[], None]) -> NDArray[np.int16]:
        kept, least = self._search.judge(task, None)
        state = self._search.start(task)
        # The seed is the same for every part, so that equal pictures give equal files.
        generator = np.random.default_rng(0)
        for iteration in range(iterations):
            noise = generator.random(task.residuals.shape, np.float32)
            state = self._search.descend(task, state, iteration, iterations, noise)
            tick()
        found, cost = self._search.judge(task, state.latents)
        return np.asarray((found if cost < least else kept)[0], np.int16)
