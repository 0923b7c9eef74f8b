"""The adaptation that is fitted at export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aecodec.entropy import (
    RESIDUAL_UNIT,
    Adaptation,
    ChunkIndices,
    EntropyModel,
    estimate_bits,
    logistic_tables,
    put_step,
    table_scales,
)
from aecodec.training.adaptation import AdaptationSamples
from tests.entropy.helpers import random_entropy_arrays, random_symbols

LEVEL = 100
ARRAYS = random_entropy_arrays(3) | Adaptation.neutral(4).to_arrays()
for step in range(5):
    ARRAYS |= logistic_tables(64).to_arrays(f"step{step}")
MODEL = EntropyModel.from_arrays(ARRAYS)
Chunk = tuple[NDArray[np.int16], NDArray[np.int16]]


def chunk(seed: int, factor: float) -> Chunk:
    """A chunk with plain residuals that are by a factor larger than the scale network expects."""
    random = np.random.default_rng(seed)
    z, r = random_symbols(seed, MODEL, 3, 3)
    indices = ChunkIndices(z, LEVEL, MODEL.scale_network, MODEL.adaptation)
    r[...] = 0
    for step in range(5):
        of_network = indices.of_network(step, r)
        scales = factor * table_scales()[of_network]
        symbols = np.rint(random.logistic(0, scales)).clip(-4000, 4000)
        put_step(r, step, (RESIDUAL_UNIT * symbols).astype(np.int16))
    return z, r


def fitted(chunks: list[Chunk]) -> Adaptation:
    samples = AdaptationSamples(MODEL.scale_network)
    for z, r in chunks:
        samples.add(z, r, LEVEL)
    return samples.fitted(MODEL.steps)


def bits(chunks: list[Chunk], adaptation: Adaptation) -> NDArray[np.float64]:
    """Of the first two steps, over all chunks."""
    model = replace(MODEL, adaptation=adaptation)
    total: NDArray[np.float64] = sum(estimate_bits(z, r, LEVEL, model, dependent=False) for z, r in chunks)
    return total[1:3]


@pytest.fixture(scope="module")
def uneven() -> Adaptation:
    """For chunks in which all is twice or half as large as expected."""
    return fitted([chunk(seed, 2.0 if seed % 2 else 0.5) for seed in range(40)])


def test_it_saves_bits_where_neighbours_err_alike(uneven: Adaptation) -> None:
    others = [chunk(seed, 2.0 if seed % 2 else 0.5) for seed in range(100, 112)]
    before, after = bits(others, Adaptation.neutral(4)), bits(others, uneven)
    assert np.all(after < 0.99 * before)


def test_it_moves_indices_up_where_more_is_found_than_expected(uneven: Adaptation) -> None:
    weights = uneven.weight.astype(float).sum(axis=(2, 3))
    assert np.all(weights.ravel()[1:] > 0)


def test_the_first_wave_stays_as_it_is(uneven: Adaptation) -> None:
    assert not uneven.weight[0, 0].any()
    assert not uneven.bias[0, 0].any()


def test_what_is_expected_grows_with_the_index(uneven: Adaptation) -> None:
    assert np.all(np.diff(uneven.expected.astype(int), axis=1) >= 0)
    assert uneven.expected.max() > 100


def test_it_does_next_to_nothing_where_the_scale_network_is_right() -> None:
    adaptation = fitted([chunk(seed, 1.0) for seed in range(40)])
    others = [chunk(seed, 1.0) for seed in range(100, 112)]
    before, after = bits(others, Adaptation.neutral(4)), bits(others, adaptation)
    assert np.all(np.abs(after / before - 1) < 0.01)


def test_one_chunk_suffices() -> None:
    adaptation = fitted([chunk(0, 1.5)])
    assert adaptation.group_size == 4
