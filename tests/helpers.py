"""A model folder without training and a runtime without a network, for tests of what lies around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aecodec.container import Container, Header, Section, read_container, write_container
from aecodec.entropy import ChunkBytes, encode_chunk
from aecodec.models import Model, load_model_folder, model_id_of
from aecodec.post_filter import FilterBasis
from aecodec.sections import chunk_symbols
from aecodec.windows import Symbols, box_average
from tests.entropy.helpers import FILTER_COEFFICIENTS, random_entropy_arrays

BLOCK = 16
COEFFICIENTS = 16
LATENT_CHANNELS = 3 * COEFFICIENTS
HYPER_CHANNELS = 8
HALO = 64
SMOOTHING = 0.02
FIRST_DEPENDENT = 20


def model_arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    """The arrays of a random entropy model, quantisation steps, small post-filters, and a weight of each
    transform.
    """
    arrays = random_entropy_arrays(seed, LATENT_CHANNELS, HYPER_CHANNELS, first_dependent=FIRST_DEPENDENT)
    arrays |= quantisation_arrays(LATENT_CHANNELS)
    arrays |= random_filter_basis(seed).to_arrays()
    arrays["synthesis/weight"] = np.arange(6, dtype=np.float16).reshape(2, 3)
    arrays["analysis/weight"] = np.ones(4, np.float16)
    return arrays


def quantisation_arrays(channels: int) -> dict[str, NDArray[Any]]:
    """Steps of 128 at the lowest level and of 1 at the highest, and rounding to the nearest."""
    log_steps = np.log(2.0) * (7 - np.arange(8, dtype=np.float32))[:, np.newaxis]
    log_inverse_gain = np.broadcast_to(log_steps, (8, channels)).astype(np.float32)
    return {
        "log_inverse_gain/rows": log_inverse_gain,
        "encoder/log_gain/rows": -log_inverse_gain,
        "encoder/rounding_strength/rows": np.zeros((8, channels), np.float32),
    }


def random_filter_basis(seed: int = 0, count: int = FILTER_COEFFICIENTS) -> FilterBasis:
    """Filters that sharpen across, then down, then others at random; no tap is zero, and a coefficient of 1
    counts the less the higher the level.
    """
    random = np.random.default_rng((seed, count))
    kernel = random.normal(0, 0.05, (count, 3, 3, 3, 3))
    kernel[:2] /= 50
    for colour in range(3):
        kernel[:1, 1, :, colour, colour] += [-1, 2, -1]
        kernel[1:2, :, 1, colour, colour] += [-1, 2, -1]
    bias = random.normal(0, 3, (count, 3)) * np.where(np.arange(count) < 2, 0.02, 1)[:, np.newaxis]
    log_unit = random.uniform(-4.5, -4, (8, count)) - 0.1 * np.arange(8)[:, np.newaxis]
    return FilterBasis(*(array.astype(np.float32) for array in (kernel, bias, log_unit)))


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
        "halo": {"analysis": HALO, "decoder": HALO, "synthesis": BLOCK},
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


def all_symbols(data: bytes, model: Model) -> list[Symbols]:
    """Those of each chunk of a whole file, with the coefficients of its post-filter."""
    container = read_container(data)
    header = container.header
    return [
        chunk_symbols(chunk_bytes(container, index), header, index, model.entropy)
        for index in range(header.chunk_count)
    ]


def chunk_bytes(container: Container, index: int) -> ChunkBytes:
    """The payloads of a chunk of a file, as far as they are there."""
    header = container.header
    payloads = (container.chunk_payload(kind, index) for kind in header.chunk_kinds)
    there = tuple(payload for payload in payloads if payload is not None)
    return ChunkBytes(there, joined=header.joined)


def with_coefficients(data: bytes, model: Model, coefficients: Sequence[NDArray[np.int16]]) -> bytes:
    """The same file with these post-filters of its chunks, whether it had any or not."""
    chunks = [
        chunk._replace(coefficients=of_chunk)
        for chunk, of_chunk in zip(all_symbols(data, model), coefficients, strict=True)
    ]
    container = read_container(data)
    return _with_chunks(container, replace(container.header, filtered=True), chunks, model)


def with_layout(data: bytes, model: Model, *, joined: bool) -> bytes:
    """The same symbols in one section for each chunk, or in six."""
    container = read_container(data)
    return _with_chunks(container, replace(container.header, joined=joined), all_symbols(data, model), model)


def _with_chunks(container: Container, header: Header, chunks: Sequence[Symbols], model: Model) -> bytes:
    """The file with another header and these chunks."""
    coded = [
        encode_chunk(
            *chunk[:2],
            header.level,
            model.entropy,
            dependent=header.dependent,
            coefficients=chunk.coefficients,
            joined=header.joined,
        )
        for chunk in chunks
    ]
    by_kind = zip(*(chunk.payloads for chunk in coded), strict=True)
    sections = [
        Section(kind, payload)
        for kind, payloads in zip(header.chunk_kinds, by_kind, strict=True)
        for payload in payloads
    ]
    former = container.header.chunk_kinds
    place = next(number for number, one in enumerate(container.sections) if one.kind in former)
    behind = [one for one in container.sections[place:] if one.kind not in former]
    return write_container(header, [*container.sections[:place], *sections, *behind])


def random_coefficients(count: int, seed: int = 0, most: int = 31) -> list[NDArray[np.int16]]:
    """As many post-filters, each of its own coefficients."""
    random = np.random.default_rng((seed, count))
    shape = (count, FILTER_COEFFICIENTS)
    return list(random.integers(-most, most + 1, shape).astype(np.int16))


class CosineRuntime:
    """A block transform codec that behaves as a runtime: z predicts the latents, and transforms look at
    neighbours.

    Latents are the 16 lowest coefficients of each 16x16 block's discrete cosine transform, sharpened a little
    across blocks; synthesis undoes that, nearly. So windows need some halo, and give wrong pixels without. z
    is the mean of each colour over 64x64 pixels; a smoothed z predicts the means of the blocks of the chunk,
    and what is known of the latents at a position a little of the others there.
    """

    name = "cosine"
    synthesis_halo = BLOCK

    def __init__(self) -> None:
        index = np.arange(BLOCK)
        basis = np.cos(np.pi * (2 * index[None, :] + 1) * index[:, None] / (2 * BLOCK))
        basis *= np.sqrt(np.where(index == 0, 1, 2) / BLOCK)[:, None]
        order = sorted(((u, v) for u in index for v in index), key=lambda pair: (sum(pair), pair))
        planes = [np.outer(basis[u], basis[v]).ravel() for u, v in order[:COEFFICIENTS]]
        self._basis = np.array(planes)

    def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """(height, width, 3) -> latents."""
        rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
        blocks = (pixels - 128).reshape(rows, BLOCK, columns, BLOCK, 3)
        vectors = blocks.transpose(0, 2, 4, 1, 3).reshape(-1, BLOCK * BLOCK).astype(np.float64)
        latents = (vectors @ self._basis.T).reshape(rows, columns, LATENT_CHANNELS)
        sharpened: NDArray[np.float32] = (latents - SMOOTHING * (_box(latents, 1) - latents)).astype(
            np.float32
        )
        return sharpened

    def hyper_latents(self, latents: NDArray[np.float32], level: int) -> NDArray[np.int16]:
        """Latents -> z."""
        height, width = latents.shape[0] // 4, latents.shape[1] // 4
        colours = latents[:, :, ::COEFFICIENTS].reshape(height, 4, width, 4, 3)
        z = np.zeros((height, width, HYPER_CHANNELS), np.int16)
        means = colours.mean(axis=(1, 3), dtype=np.float64) / BLOCK
        z[:, :, :3] = np.floor(means / 4 + 0.5123)  # no ties, whatever the order of sums
        return z

    def hyper_features(self, z: NDArray[np.int16], level: int) -> NDArray[np.float32]:
        """z -> the first coefficient of each colour from the means around."""
        means = _box(np.repeat(np.repeat(z[:, :, :3] * 4.0, 4, axis=0), 4, axis=1), 2)
        latents = np.zeros((*means.shape[:2], LATENT_CHANNELS), np.float32)
        latents[:, :, ::COEFFICIENTS] = means * BLOCK
        return latents

    def predict_step(
        self, step: int, features: NDArray[np.float32], known: NDArray[np.float32] | None, level: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What z predicts, and a hundredth of what is known of the next group of channels."""
        assert (known is None) == (step == 0)
        if known is None:
            return features, features
        return features, features + np.float32(0.01) * np.roll(known, LATENT_CHANNELS // 4, axis=2)

    def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """Latents -> (height, width, 3)."""
        values = latents.astype(np.float64)
        return self._pixels(values + SMOOTHING * (_box(values, 1) - values))

    def preview(self, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """Latents -> (height / scale, width / scale, 3), as if all blocks were alike."""
        return box_average(self._pixels(latents.astype(np.float64)), scale)

    def load_decoder(self, *, synthesis: bool) -> None:
        """There is nothing to load."""

    def _pixels(self, latents: NDArray[np.float64]) -> NDArray[np.float32]:
        rows, columns, _ = latents.shape
        vectors = latents.reshape(rows, columns, 3, COEFFICIENTS) @ self._basis
        blocks = vectors.reshape(rows, columns, 3, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2)
        pixels: NDArray[np.float32] = (blocks.reshape(rows * BLOCK, columns * BLOCK, 3) + 128).astype(
            np.float32
        )
        return pixels


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
