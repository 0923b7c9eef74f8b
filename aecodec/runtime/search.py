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
    """By how much latents should move. Threads may share it."""

    def __init__(self, model: Model) -> None:
        self._autoencoder = build_autoencoder(model)
        self._autoencoder.scale_network.assign_integers(model.arrays)
        self._slope = Slope(self._autoencoder)
        self._lock = Lock()

    def weight(self, level: int) -> float:
        """Bits that a squared error of one grey level at one pixel counts."""
        return float(weight_of_level(self._autoencoder.architecture, level))

    def slope(
        self,
        pixels: NDArray[np.float32],
        counted: NDArray[np.bool_],
        z: NDArray[np.int16],
        r: NDArray[np.int16],
        latents: NDArray[np.float32],
        level: int,
    ) -> NDArray[np.float32]:
        """Bits by which rate plus weighted distortion rise for each quantisation step that a latent does.

        Args:
            pixels: (height, width, 3), RGB, 0..255; height and width are multiples of 64.
            counted: (height, width), where distortion counts.
            z: hyper-latents (height / 64, width / 64, hyper channels).
            r: residuals (height / 16, width / 16, latent channels) in eighths of a step: what these latents
                are coded as.
            latents: of the residuals' shape, before quantisation.
            level: position on the rate scale, 0 to 224.
        """
        task = Task(
            pixels=pixels[None],
            counted=counted[None, :, :, None].astype(np.float32),
            hyper=z[None].astype(np.float32),
            residuals=r[None].astype(np.float32) / np.float32(_UNIT),
            level_weights=np.asarray(self._autoencoder.level_weights(np.array([level])), np.float32),
            weight=weight_of_level(self._autoencoder.architecture, level),
        )
        with self._lock:
            slope: NDArray[np.float32] = self._slope(task, latents[None])[0]
            return slope
