"""What a search for better latents needs to know, computed by Keras on TensorFlow or JAX (CPU or GPU)."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aecodec.networks.refinement import Slope, Task, weight_of_level
from aecodec.runtime.keras import build_autoencoder

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["LatentSlope"]

_UNIT = 8
"""Residuals are kept in eighths of a quantisation step; networks see steps."""


class LatentSlope:
    """By how much latents and hyper-latents should move. Threads may share it."""

    def __init__(self, model: Model) -> None:
        self._autoencoder = build_autoencoder(model)
        self._autoencoder.scale_network.assign_integers(model.arrays)
        self._slope = Slope(self._autoencoder)
        self._lock = Lock()

    def weight(self, level: int) -> float:
        """Bits that a squared error of one grey level at one pixel counts."""
        return float(weight_of_level(self._autoencoder.architecture, level))

    def hyper_latents(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """Hyper-latents before rounding (rows, columns, hyper channels), of latents (4 rows, 4 columns,
        latent channels).
        """
        weights = np.asarray(self._autoencoder.level_weights(np.array([level])), np.float32)
        with self._lock:
            unrounded: NDArray[np.float32] = self._slope.hyper_latents(latents[None], weights)[0]
        return unrounded

    def slope(
        self,
        pixels: NDArray[np.float32],
        counted: NDArray[np.bool_],
        z: NDArray[np.int16],
        r: NDArray[np.int16],
        latents: NDArray[np.float32],
        level: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Bits by which rate plus weighted distortion rise for each quantisation step that a latent rises,
        and for each whole number that a hyper-latent does. The rate is that of the residuals.

        Args:
            pixels: (height, width, 3), RGB, 0..255; height and width are multiples of 64.
            counted: (height, width), where distortion counts.
            z: hyper-latents (height / 64, width / 64, hyper channels).
            r: residuals (height / 16, width / 16, latent channels) in eighths of a step: what these latents
                are coded as.
            latents: of the residuals' shape, before quantisation.
            level: position on the rate scale, 0 to 224.

        Returns:
            Shaped as ``latents`` and ``z``.
        """
        task = Task(
            pixels=pixels[None],
            counted=counted[None, :, :, None].astype(np.float32),
            residuals=r[None].astype(np.float32) / np.float32(_UNIT),
            level_weights=np.asarray(self._autoencoder.level_weights(np.array([level])), np.float32),
            weight=weight_of_level(self._autoencoder.architecture, level),
        )
        with self._lock:
            of_latents, of_hyper = self._slope(task, latents[None], z[None].astype(np.float32))
        return of_latents[0], of_hyper[0]
