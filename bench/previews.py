"""Previews against the means of the decoded pixels that they stand for, and the time that they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.images import ImageFile, load
from bench.machine import describe_run
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

SCALES = (2, 4, 8, 16, 32)


def measure_all(
    images: Sequence[ImageFile], quality: float, model: str | None, report: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """Decode every picture as a whole and at each scale.

    Returns:
        The content of a result file: ``run``, ``quality``, and ``rows`` with the least and the mean PSNR-RGB
        in dB against the means of squares of decoded pixels, and the median of the time's share in that of
        the whole picture.
    """
    measured: dict[int, list[tuple[float, float]]] = {scale: [] for scale in SCALES}
    for number, image in enumerate(images, start=1):
        for scale, figures in _previews(load(image.path), quality, model).items():
            measured[scale].append(figures)
        report(number, len(images), image.name)
    rows = [
        {
            "scale": scale,
            "least_psnr": round(min(psnr for psnr, _ in figures), 2),
            "mean_psnr": round(mean(psnr for psnr, _ in figures), 2),
            "time_share": round(median(share for _, share in figures), 3),
        }
        for scale, figures in measured.items()
    ]
    return {"run": describe_run(), "quality": quality, "pictures": len(images), "rows": rows}


def square_means(pixels: Pixels, scale: int) -> Pixels:
    """Rounded means of the squares of scale x scale pixels that lie in the picture as a whole."""
    height, width = (side // scale for side in pixels.shape[:2])
    squares = pixels[: height * scale, : width * scale].reshape(height, scale, width, scale, -1)
    return np.asarray(np.floor(squares.mean(axis=(1, 3)) + 0.5), np.uint8)


def _previews(pixels: Pixels, quality: float, model: str | None) -> dict[int, tuple[float, float]]:
    """By scale: dB, and time as a share of that of the whole picture."""
    import aecodec

    data = aecodec.encode(pixels, quality, model=model)
    aecodec.decode(data, model=model)  # the first decoding loads the model
    whole, seconds = _timed(partial(aecodec.decode, data, model=model))
    found = {}
    for scale in SCALES:
        preview, taken = _timed(partial(aecodec.decode, data, scale=scale, model=model))
        expected = square_means(whole, scale)
        inside = preview[: expected.shape[0], : expected.shape[1]]
        found[scale] = (psnr_rgb(expected, inside), taken / seconds)
    return found


def _timed(decode: Callable[[], Any]) -> tuple[Pixels, float]:
    started = time.perf_counter()
    pixels = np.asarray(decode())
    return pixels, time.perf_counter() - started
