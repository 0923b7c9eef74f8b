"""What is chosen by measurement when a model is exported: rounding, tables, and the scale of qualities."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from PIL import Image

from aecodec.entropy import (
    TABLE_COUNT,
    Adaptation,
    HyperTables,
    Tables,
    coded_symbols,
    fitted_tables,
    logistic_tables,
    step_source,
)
from aecodec.models import Model
from aecodec.networks.architecture import GROUPS, HYPER_PATCH, STEPS, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime
from aecodec.training.adaptation import AdaptationSamples
from aecodec.training.data import PictureSet, centres, draw_crops, take_crops
from aecodec.training.evaluation import compiled_measurement
from aecodec.training.hyper_tables import HyperCounts, uniform_hyper_tables
from aecodec.training.loss import lambdas_of, psnr

_T = TypeVar("_T")

HISTOGRAM_LIMIT = 401
"""Magnitude from which on symbols are counted together."""
CROP = 256
"""Pixels along the sides of the crops that are measured on."""
TABLE_CROP = 384
"""The same of crops whose symbols are counted, at most: state machines start anew in each."""
FIRST_DEPENDENT = 13
"""Table index from which on residuals are dependent. Measured on held-out tiles with 128 states and tables
fitted for each, BD-rate of 13 and 11 against 15: -0.22 and -0.24 %."""
CENTRE = 320
"""The same of held-out pictures, at most."""
JPEG_QUALITIES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 100)


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


def fit_tables(model: Model, pictures: PictureSet, crops: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Tables for the symbols that the encoder of a model writes, over random crops and levels.

    Args:
        model: whose tables have a say in the quantisation.
        pictures: of 64 pixels a side at least.
        crops: how many; they have `TABLE_CROP` pixels a side where all pictures do.
        seed: of the crops.

    Returns:
        Arrays of a model: those of `aecodec.entropy.EntropyModel` but for the network's.
    """
    hyper = HyperCounts(Architecture.from_dict(model.manifest["architecture"]))
    histograms = np.zeros((STEPS, TABLE_COUNT, 2 * HISTOGRAM_LIMIT + 1), np.int64)
    for level, z, r in _coded_crops(model, pictures, crops, seed):
        hyper.add(z, level)
        coded = coded_symbols(z, r, level, model.entropy, dependent=True)
        for histogram, (symbols, tables) in zip(histograms, coded, strict=True):
            histogram += symbol_histograms(symbols, tables)
    return table_arrays(hyper.fitted(), [fitted_tables(counts, FIRST_DEPENDENT) for counts in histograms])


def table_arrays(hyper: HyperTables, steps: Sequence[Tables]) -> dict[str, np.ndarray]:
    """The arrays ``tables/...`` of a model."""
    arrays = hyper.to_arrays()
    for step, tables in enumerate(steps):
        arrays |= tables.to_arrays(step_source(step))
    return arrays


def trial_tables(architecture: Architecture) -> dict[str, np.ndarray]:
    """The same before anything was counted, and no adaptation."""
    tables = table_arrays(uniform_hyper_tables(architecture), [logistic_tables(FIRST_DEPENDENT)] * STEPS)
    return tables | Adaptation.neutral(architecture.latent_channels // GROUPS).to_arrays()


def fit_adaptation(model: Model, pictures: PictureSet, crops: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The adaptation of table indices that suits the tables of a model, over random crops and levels.

    Args:
        model: whose scale network says what to expect.
        pictures: of 64 pixels a side at least.
        crops: as for `fit_tables`.
        seed: the same.

    Returns:
        Arrays of a model: those of `aecodec.entropy.Adaptation`.
    """
    samples = AdaptationSamples(model.entropy.scale_network)
    for level, z, r in _coded_crops(model, pictures, crops, seed):
        samples.add(z, r, level)
    return samples.fitted(model.entropy.steps).to_arrays()


def _coded_crops(
    model: Model, pictures: PictureSet, crops: int, seed: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Level, hyper-latents and residuals of random crops."""
    runtime = open_runtime("onnx", model)
    coder = ResidualCoder(model, runtime)

    def code(pixels: np.ndarray, level: int) -> tuple[int, np.ndarray, np.ndarray]:
        return level, *coder.quantise(runtime.analyse(pixels, level), level)

    yield from map_crops(code, model, pictures, crops, seed)


def map_crops(
    measure: Callable[[np.ndarray, int], _T], model: Model, pictures: PictureSet, crops: int, seed: int
) -> Iterator[_T]:
    """What a function gives for random crops, at levels over the whole scale.

    Args:
        measure: of pixels, float32 (side, side, 3), and a level; two threads call it.
        model: whose levels they are.
        pictures: of 64 pixels a side at least.
        crops: how many; they have `TABLE_CROP` pixels a side where all pictures do.
        seed: of the crops.
    """
    generator, side = np.random.default_rng(seed), _table_crop(pictures)
    plans = [draw_crops(pictures, 1, side, generator) for _ in range(crops)]

    def measured(number: int) -> _T:
        pixels = take_crops(pictures, plans[number])[0].astype(np.float32)
        return measure(pixels, number * 97 % model.level_count)

    with ThreadPoolExecutor(2) as pool:  # one quantises while the other predicts
        yield from pool.map(measured, range(crops))


def _table_crop(pictures: PictureSet) -> int:
    """Pixels along the sides of crops, a multiple of 64."""
    shortest = int(min(min(pixels.shape[:2]) for pixels in pictures.pictures))
    return min(TABLE_CROP, shortest // HYPER_PATCH * HYPER_PATCH)


def symbol_histograms(symbols: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Symbols counted under the tables that code them.

    Args:
        symbols: int32 (symbols,).
        tables: int32 (symbols,), the numbers of their tables.

    Returns:
        int64 (table, 2 * `HISTOGRAM_LIMIT` + 1), for `aecodec.entropy.fitted_tables`.
    """
    width = 2 * HISTOGRAM_LIMIT + 1
    clipped = np.clip(symbols, -HISTOGRAM_LIMIT, HISTOGRAM_LIMIT) + HISTOGRAM_LIMIT
    counts = np.bincount(tables.astype(np.int64) * width + clipped, minlength=TABLE_COUNT * width)
    return counts.reshape(TABLE_COUNT, width)


def measure_held_out(
    models: Sequence[Model], pictures: PictureSet, levels: Sequence[int]
) -> list[dict[str, Any]]:
    """Rate and distortion over the centres of held-out pictures: of the payloads of files, and their pixels.

    Args:
        models: of the same weights, with different tables.
        pictures: not empty.
        levels: to measure at.

    Returns:
        Means, a row for each level: ``level``, ``bits_per_pixel`` (in the order of ``models``), ``psnr`` (of
        the first).
    """
    return [_measure_level(models, centres(pictures, CENTRE), int(level)) for level in levels]


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


def _measure_level(models: Sequence[Model], squares: Sequence[np.ndarray], level: int) -> dict[str, Any]:
    runtimes = [open_runtime("onnx", model) for model in models]
    coders = [ResidualCoder(*pair) for pair in zip(models, runtimes, strict=True)]
    rates, distortions = [], []
    for pixels in squares:
        latents = runtimes[0].analyse(pixels.astype(np.float32), level)
        coded = [coder.encode(latents, level) for coder in coders]
        data = [coder.pack(chunk, joined=True) for coder, chunk in zip(coders, coded, strict=True)]
        rates.append([8 * chunk.size / (pixels.shape[0] * pixels.shape[1]) for chunk in data])
        reconstructed = coders[0].reconstruct(coded[0].z, coded[0].r, level)
        decoded = np.clip(np.floor(runtimes[0].synthesise(reconstructed, level) + 0.5), 0, 255)
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
