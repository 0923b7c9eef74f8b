"""A model folder without training and a runtime without a network, for tests of what lies around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aecodec.models import Model, load_model_folder, model_id_of
from tests.entropy.helpers import random_entropy_arrays

BLOCK = 16
COEFFICIENTS = 16
LATENT_CHANNELS = 3 * COEFFICIENTS
HYPER_CHANNELS = 8
HALO = 64


def model_arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    """The arrays of a random entropy model, a decoder weight, and one that the encoder alone uses."""
    arrays = random_entropy_arrays(seed, LATENT_CHANNELS, HYPER_CHANNELS)
    arrays["synthesis/weight"] = np.arange(6, dtype=np.float16).reshape(2, 3)
    arrays["analysis/weight"] = np.ones(4, np.float16)
    return arrays


def model_manifest(arrays: dict[str, NDArray[Any]], name: str = "fake") -> dict[str, Any]:
    """A whole manifest for these arrays."""
    manifest = {
        "name": name,
        "format": 1,
        "architecture": {"kind": "cosine"},
        "latent_channels": LATENT_CHANNELS,
        "hyper_channels": HYPER_CHANNELS,
        "level_count": 225,
        "quality_levels": [round(224 * index / 99) for index in range(100)],
        "lambdas": {"min": 0.001, "max": 0.1},
        "halo": {"encoder": HALO, "decoder": HALO},
        "kmac_per_pixel": {"encoder": 1, "decoder": 1},
        "training": {},
        "results": {},
    }
    return manifest | {"model_id": model_id_of(manifest, arrays).hex()}


def write_model(folder: Path, seed: int = 0, **changes: object) -> Path:
    """Write a model's folder; ``changes`` replace keys of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = model_arrays(seed)
    manifest = model_manifest(arrays, folder.name) | changes
    np.savez(folder / "arrays.npz", **cast("dict[str, Any]", arrays))
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder


def fake_model(folder: Path, seed: int = 0) -> Model:
    """The model of :func:`write_model`."""
    return load_model_folder(write_model(folder / "fake", seed))


class CosineRuntime:
    """A block transform codec that behaves as a runtime: z predicts r, and both graphs look at neighbours.

    z is the mean of each colour over 64x64 pixels; r is what a smoothed z leaves of the 16 lowest
    coefficients of each 16x16 block's discrete cosine transform. Synthesis smooths the coefficients of
    neighbouring blocks a little. So a window needs 64 pixels of halo, and gives wrong pixels without.
    """

    name = "cosine"

    def __init__(self) -> None:
        index = np.arange(BLOCK)
        basis = np.cos(np.pi * (2 * index[None, :] + 1) * index[:, None] / (2 * BLOCK))
        basis *= np.sqrt(np.where(index == 0, 1, 2) / BLOCK)[:, None]
        order = sorted(((u, v) for u in index for v in index), key=lambda pair: (sum(pair), pair))
        planes = [np.outer(basis[u], basis[v]).ravel() for u, v in order[:COEFFICIENTS]]
        self._basis = np.array(planes)

    def encode(self, pixels: NDArray[np.float32], level: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """(height, width, 3) -> z, r."""
        height, width, _ = pixels.shape
        means = pixels.reshape(height // 64, 64, width // 64, 64, 3).mean(axis=(1, 3), dtype=np.float64)
        z = np.zeros((height // 64, width // 64, HYPER_CHANNELS), np.int16)
        z[:, :, :3] = np.floor((means - 128) / 4 + 0.5)
        blocks = (pixels - 128).reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
        vectors = blocks.transpose(0, 2, 4, 1, 3).reshape(-1, BLOCK * BLOCK).astype(np.float64)
        latents = (vectors @ self._basis.T).reshape(height // BLOCK, width // BLOCK, LATENT_CHANNELS)
        r = np.floor(
            (latents - _prediction(z)) / _step(level) + 0.5123
        )  # no ties, whatever the order of sums
        return z, r.astype(np.int16)

    def decode(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """z, r -> (height, width, 3)."""
        rows, columns, _ = r.shape
        latents = r * _step(level) + _prediction(z)
        latents = latents + 0.02 * (_box(latents, 1) - latents)
        vectors = latents.reshape(rows, columns, 3, COEFFICIENTS) @ self._basis
        blocks = vectors.reshape(rows, columns, 3, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2)
        pixels: NDArray[np.float32] = (blocks.reshape(rows * BLOCK, columns * BLOCK, 3) + 128).astype(
            np.float32
        )
        return pixels


def _step(level: int) -> float:
    return float(2 ** (7 - level / 32))


def _prediction(z: NDArray[np.int16]) -> NDArray[np.float64]:
    """The first coefficient of each colour from the means around, (4 rows, 4 columns, latent channels)."""
    means = _box(np.repeat(np.repeat(z[:, :, :3] * 4.0, 4, axis=0), 4, axis=1), 2)
    latents = np.zeros((*means.shape[:2], LATENT_CHANNELS))
    latents[:, :, ::COEFFICIENTS] = means * BLOCK
    return latents


def _box(plane: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Means of squares of (2 reach + 1) ** 2 positions; beyond the border there are zeros."""
    height, width, _ = plane.shape
    padded = np.pad(plane, ((reach, reach), (reach, reach), (0, 0)))
    size = 2 * reach + 1
    shifted = (padded[i : i + height, j : j + width] for i in range(size) for j in range(size))
    return sum(shifted, start=np.zeros_like(plane)) / size**2


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth uint8 (height, width, 3) with edges and some noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x / (17 + 9 * c) + y / (31 - 5 * c)) + np.cos(y / (23 + c) - x / 61) for c in range(3)]
    picture = 128 + 45 * np.stack(waves, axis=2)
    picture[(x // 50 + y // 70) % 5 == 0] *= 0.6
    return np.clip(picture + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
