"""What is chosen by measurement when a model is exported: rounding, tables, and the scale of qualities."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from aecodec.entropy import EntropyModel, IntegerScaleNetwork, estimate_bits, take_step
from aecodec.networks.architecture import STEPS, TABLE_COUNT
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled
from aecodec.runtime import Runtime
from aecodec.training.data import PictureSet, centres, draw_crops, take_crops
from aecodec.training.evaluation import compiled_measurement
from aecodec.training.loss import lambdas_of, psnr

HISTOGRAM_LIMIT = 401
"""Magnitude from which on symbols are counted together."""
CROP = 256
"""Pixels along the sides of the crops that are measured on."""
CENTRE = 320
"""The same of held-out pictures, at most."""
JPEG_QUALITIES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 100)
_BATCH = 4


def tune_rounding(
    model: Autoencoder, pictures: PictureSet, candidates: Sequence[float], crops: int = 16
) -> None:
    """At each level node choose the strength of `rate_distortion_round` with the least loss on random crops.

    The rate is that of the training distribution (`logistic_bits`), under the tables that the scale network
    chooses for the residuals as rounded.

    Args:
        model: whose ``rounding_strength`` is set.
        pictures: of 256 pixels a side at least.
        candidates: strengths, 0 and more.
        crops: that are measured on.
    """
    a = model.architecture
    pixels = take_crops(pictures, draw_crops(pictures, crops, CROP, np.random.default_rng(5)))
    measure = compiled_measurement(model)
    rows = np.zeros((a.level_nodes, a.latent_channels), np.float32)
    for node in range(a.level_nodes):
        levels = np.full(crops, node * a.sublevels)
        losses = []
        for candidate in candidates:
            model.rounding_strength.rows.assign(np.full(rows.shape, candidate, np.float32))
            _, _, loss = measure(
                pixels.astype(np.float32), model.level_weights(levels), lambdas_of(a, levels)
            )
            losses.append(float(np.mean(keras.ops.convert_to_numpy(loss))))
        rows[node] = candidates[int(np.argmin(losses))]
    model.rounding_strength.rows.assign(rows)


def count_symbols(
    model: Autoencoder, network: IntegerScaleNetwork, pictures: PictureSet, crops: int, seed: int = 0
) -> np.ndarray:
    """Count all symbols by table index, over random crops and levels.

    Args:
        model: the encoder.
        network: chooses the tables.
        pictures: of 256 pixels a side at least.
        crops: how many; four at a time.
        seed: of the crops.

    Returns:
        int64 (table, 2 * `HISTOGRAM_LIMIT` + 1), for `aecodec.entropy.fitted_tables`.
    """
    a, generator = model.architecture, np.random.default_rng(seed)
    histograms = np.zeros((TABLE_COUNT, 2 * HISTOGRAM_LIMIT + 1), np.int64)
    encode = compiled(model, model.encode)
    for start in range(0, crops, _BATCH):
        plan = draw_crops(pictures, _BATCH, CROP, generator)
        levels = ((start + np.arange(_BATCH)) * 97) % a.level_count
        z, r = encode(take_crops(pictures, plan).astype(np.float32), model.level_weights(levels))
        for index, level in enumerate(levels):
            histograms += symbol_histograms(_int16(z[index]), _int16(r[index]), int(level), network)
    return histograms


def symbol_histograms(z: np.ndarray, r: np.ndarray, level: int, network: IntegerScaleNetwork) -> np.ndarray:
    """The symbols of one picture, counted under the tables that the integer network chooses.

    Args:
        z: int16 (h, w, hyper channels).
        r: int16 (4 * h, 4 * w, latent channels).
        level: 0..224.
        network: of the model.

    Returns:
        As `count_symbols`.
    """
    features = network.features(z, level)
    pairs = [(z, np.broadcast_to(network.hyper_indices(level), z.shape))]
    pairs += [(take_step(r, step), network.step_indices(step, features, r, level)) for step in range(STEPS)]
    width = 2 * HISTOGRAM_LIMIT + 1
    counts = np.zeros(TABLE_COUNT * width, np.int64)
    for symbols, indices in pairs:
        clipped = np.clip(symbols.astype(np.int64), -HISTOGRAM_LIMIT, HISTOGRAM_LIMIT) + HISTOGRAM_LIMIT
        flat = indices.astype(np.int64) * width + clipped
        counts += np.bincount(flat.ravel(), minlength=counts.size)
    return counts.reshape(TABLE_COUNT, width)


def measure_held_out(
    runtime: Runtime, models: Sequence[EntropyModel], pictures: PictureSet, levels: Sequence[int]
) -> list[dict[str, Any]]:
    """Rate and distortion over the centres of held-out pictures.

    Args:
        runtime: encodes and decodes.
        models: entropy models of the same scale network, with different tables.
        pictures: not empty.
        levels: to measure at.

    Returns:
        Means, a row for each level: ``level``, ``bits_per_pixel`` (in the order of ``models``), ``psnr``.
    """
    return [_measure_level(runtime, models, centres(pictures, CENTRE), int(level)) for level in levels]


def quality_levels(rows: Sequence[Mapping[str, Any]], pictures: PictureSet, level_count: int) -> list[int]:
    """For each quality 1..100 the level whose PSNR is that of a JPEG (Pillow, 4:2:0) of the same number.

    Measured as means over held-out pictures, then made strictly rising and drawn out to the whole scale.

    Args:
        rows: of `measure_held_out`, over the whole scale.
        pictures: the same.
        level_count: 100 and more.
    """
    squares = centres(pictures, CENTRE)
    jpeg = [np.mean([_jpeg_psnr(pixels, quality) for pixels in squares]) for quality in JPEG_QUALITIES]
    wanted = np.interp(np.arange(1, 101), JPEG_QUALITIES, jpeg)
    reached = np.maximum.accumulate([row["psnr"] for row in rows]) + np.arange(len(rows)) * 1e-6
    matched = np.interp(wanted, reached, [row["level"] for row in rows]).round().astype(int)
    steps = np.arange(100)
    rising = np.maximum.accumulate(np.maximum(matched - steps, 0)) + steps
    bounded = np.minimum(rising, level_count - 1 - steps[::-1])
    bounded[-1] = level_count - 1
    return [int(level) for level in bounded]


def _measure_level(
    runtime: Runtime, models: Sequence[EntropyModel], squares: Sequence[np.ndarray], level: int
) -> dict[str, Any]:
    rates, distortions = [], []
    for pixels in squares:
        z, r = runtime.encode(pixels.astype(np.float32), level)
        area = pixels.shape[0] * pixels.shape[1]
        rates.append([float(np.sum(estimate_bits(z, r, level, model))) / area for model in models])
        decoded = np.clip(np.floor(runtime.decode(z, r, level) + 0.5), 0, 255)
        distortions.append(float(psnr(np.mean((decoded - pixels) ** 2))))
    return {
        "level": level,
        "bits_per_pixel": [round(float(rate), 5) for rate in np.mean(rates, axis=0)],
        "psnr": round(float(np.mean(distortions)), 4),
    }


def _jpeg_psnr(pixels: np.ndarray, quality: int) -> float:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    with Image.open(stream) as image:
        decoded = np.asarray(image.convert("RGB"), np.float64)
    return float(psnr(np.mean((decoded - pixels) ** 2)))


def _int16(tensor: Any) -> np.ndarray:
    return np.asarray(np.clip(keras.ops.convert_to_numpy(tensor), -32767, 32767), np.int16)
