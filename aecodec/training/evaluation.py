"""Rate and distortion on held-out pictures, while a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from aecodec.networks.autoencoder import Autoencoder, TrainingPass
from aecodec.networks.compilation import compiled
from aecodec.networks.layers import Tensor
from aecodec.training.data import PictureSet, centres
from aecodec.training.loss import lambdas_of, psnr, rate_distortion

Coding: TypeAlias = Callable[[Tensor, Tensor], TrainingPass]
"""(pixels, level weights) -> what coding them gives and costs."""
EVALUATION_LEVELS = (0, 45, 90, 135, 180, 224)
LARGEST_SIDE = 256
LARGEST_BATCH = 8


class Evaluation:
    """Measures a model, with the weights that it has at the time, by its rounded symbols: what files hold."""

    def __init__(
        self,
        model: Autoencoder,
        pictures: PictureSet,
        levels: Sequence[int] = EVALUATION_LEVELS,
        coding: Coding | None = None,
    ) -> None:
        """``pictures``: not empty; their central squares, of up to 256 pixels a side, are measured.
        ``coding``: the pass that is measured, `Autoencoder.evaluation_pass` by default.
        """
        self.model = model
        self.levels = tuple(levels)
        self._batches = _batches(np.stack(centres(pictures, LARGEST_SIDE)))
        self._measure = compiled_measurement(model, coding)

    def measure(self) -> dict[str, Any]:
        """Means over the pictures: ``bits_per_pixel``, ``psnr`` in dB and ``losses``, lists in the order of
        the levels, and ``held_out_loss``, the mean of the losses.
        """
        means = np.array([self._measure_level(level) for level in self.levels])
        return {
            "held_out_loss": float(np.mean(means[:, 2])),
            "bits_per_pixel": [round(float(x), 4) for x in means[:, 0]],
            "psnr": [round(float(x), 3) for x in means[:, 1]],
            "losses": [round(float(x), 4) for x in means[:, 2]],
        }

    def _measure_level(self, level: int) -> tuple[float, float, float]:
        results = []
        for pixels in self._batches:
            levels = np.full(len(pixels), level)
            measured = self._measure(
                pixels.astype(np.float32),
                self.model.level_weights(levels),
                lambdas_of(self.model.architecture, levels),
            )
            results.append([keras.ops.convert_to_numpy(values) for values in measured])
        rate, distortion, loss = (np.concatenate(column) for column in zip(*results, strict=True))
        return float(np.mean(rate)), float(np.mean(psnr(distortion))), float(np.mean(loss))


def compiled_measurement(
    model: Autoencoder, coding: Coding | None = None
) -> Callable[[Any, Any, Any], tuple[Tensor, Tensor, Tensor]]:
    """A compiled function (pixels, level weights, lambdas) -> the three fields of `RateDistortion`.

    The rate is that of quantised symbols, under the training distribution.
    """
    chosen = coding or model.evaluation_pass

    def measure(pixels: Tensor, level_weights: Tensor, lambdas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        result = chosen(pixels, level_weights)
        measured = rate_distortion(result, pixels, lambdas)
        return measured.bits_per_pixel, measured.mean_squared_error, measured.loss

    return compiled(model, measure)


def _batches(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels[start : start + LARGEST_BATCH] for start in range(0, len(pixels), LARGEST_BATCH)]
