"""The tables of the hyper-latents, as export fits them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from aecodec.entropy import (
    HyperTables,
    decode_hyper_latents,
    encode_hyper_latents,
)
from aecodec.networks.architecture import PRESETS
from aecodec.training.hyper_tables import LIMIT, HyperCounts, uniform_hyper_tables

TINY = PRESETS["tiny"]
CHANNELS = TINY.hyper_channels


def laplacian(seed: int, height: int = 8, width: int = 8) -> np.ndarray:
    """Hyper-latents (height, width, channel), the narrower the lower the channel; the first are zero."""
    scales = np.linspace(0, 4, CHANNELS)
    return np.rint(np.random.default_rng(seed).laplace(0, 1, (height, width, CHANNELS)) * scales).astype(
        np.int16
    )


def copies(seed: int) -> np.ndarray:
    """Hyper-latents (1, 64, channel), each mostly that to the left of it: 0 or of magnitude 1."""
    random = np.random.default_rng(seed)
    z = random.integers(-1, 2, (1, 64, CHANNELS)).astype(np.int16)
    for column in range(1, 64):
        kept = random.random(CHANNELS) < 0.95
        z[0, column, kept] = z[0, column - 1, kept]
    return z


def fitted(counted: Iterable[tuple[np.ndarray, int]]) -> HyperTables:
    counts = HyperCounts(TINY)
    for z, level in counted:
        counts.add(z, level)
    return counts.fitted()


def cost(tables: HyperTables, z: np.ndarray, level: int) -> np.ndarray:
    """Bits (height, width, channel)."""
    return tables.tables.cost_in_bits(*tables.symbols_and_tables(z, level))


def entropy(z: np.ndarray) -> float:
    """Bits of all values, the distributions of their channels being known but no contexts."""
    bits = 0.0
    for channel in range(z.shape[2]):
        _, counts = np.unique(z[:, :, channel], return_counts=True)
        bits += float((counts * np.log2(counts.sum() / counts)).sum())
    return bits


def same(one: HyperTables, other: HyperTables) -> bool:
    pairs = zip(one.to_arrays().values(), other.to_arrays().values(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


COUNTED = [(laplacian(number), 37 * number % 225) for number in range(30)]
FITTED = fitted(COUNTED)


def test_they_cost_less_than_tables_of_nothing_counted() -> None:
    uniform = uniform_hyper_tables(TINY)
    of_uniform, of_fitted = (
        sum(cost(tables, z, level).sum() for z, level in COUNTED) for tables in (uniform, FITTED)
    )
    assert of_fitted < 0.95 * of_uniform


def test_they_suit_hyper_latents_that_were_not_counted() -> None:
    others = [(laplacian(number), 37 * number % 225) for number in range(100, 110)]
    bits = sum(cost(FITTED, z, level).sum() for z, level in others)
    assert bits < 1.05 * entropy(np.concatenate([z for z, _ in others]))


def test_every_channel_of_every_context_has_one_of_them() -> None:
    assert FITTED.choice.dtype == np.uint8
    assert FITTED.choice.shape == (8, 3, CHANNELS)
    assert FITTED.choice.max() < 192
    assert len(np.unique(FITTED.choice)) > 60
    assert same(HyperTables.from_arrays(FITTED.to_arrays()), FITTED)


def test_wide_ones_come_last() -> None:
    squares = np.square(np.array([*range(1 - LIMIT, LIMIT), LIMIT]))
    spreads = [float(FITTED.tables.table(index) / 2**24 @ squares) for index in range(192)]
    assert np.all(np.diff(spreads) > -1e-3)
    assert spreads[191] > 10 * spreads[0]
    assert FITTED.choice[:, :, -1].min() > FITTED.choice[:, :, 0].max()


def test_channels_that_were_always_zero_are_cheap_and_take_other_values() -> None:
    zeros = np.zeros((8, 8, CHANNELS), np.int16)
    tables = fitted((zeros, level) for level in range(0, 225, 8))
    assert cost(tables, zeros, 100).max() < 0.05
    z = zeros.copy()
    z[2:5, 3] = [[1], [-5], [1000]]
    payload = encode_hyper_latents(z, 100, tables)
    assert np.array_equal(decode_hyper_latents(payload, (8, 8), 100, tables), z)
    assert cost(tables, z, 100).max() < 40


def test_nothing_counted_still_gives_tables() -> None:
    tables = fitted([])
    z = laplacian(0)
    payload = encode_hyper_latents(z, 100, tables)
    assert np.array_equal(decode_hyper_latents(payload, (8, 8), 100, tables), z)


def test_the_same_counts_give_the_same_tables() -> None:
    assert same(fitted(COUNTED), FITTED)
    assert not same(fitted(COUNTED[1:]), FITTED)


def test_the_counts_of_a_level_between_two_nodes_are_shared_by_them() -> None:
    z = laplacian(0, 16, 16)
    assert same(fitted(4 * [(z, 40)]), fitted([*3 * [(z, 32)], (z, 64)]))
    assert not same(fitted(4 * [(z, 40)]), fitted(2 * [(z, 32), (z, 64)]))


def test_a_level_is_coded_the_better_the_nearer_it_was_counted() -> None:
    narrow, wide = laplacian(1, 16, 16), 6 * laplacian(1, 16, 16)
    tables = fitted([(narrow, 0), (wide, 224)] * 4)
    assert cost(tables, narrow, 0).sum() < 0.9 * cost(tables, narrow, 224).sum()
    assert cost(tables, wide, 224).sum() < 0.9 * cost(tables, wide, 0).sum()


@pytest.mark.parametrize("across", [False, True])
def test_what_a_neighbour_tells_is_saved(across: bool) -> None:
    def turned(z: np.ndarray) -> np.ndarray:
        return z if across else z.transpose(1, 0, 2)

    tables = fitted((turned(copies(seed)), 64) for seed in range(40))
    z = copies(100)
    bits = cost(tables, turned(z), 64).sum()
    assert bits < 0.5 * entropy(z)
    without = HyperTables(tables.tables, np.repeat(tables.choice[:, :1], 3, axis=1))
    assert bits < 0.5 * cost(without, turned(z), 64).sum()


def test_symbols_that_are_always_large_are_announced_for_little() -> None:
    z = laplacian(0)
    z[:, :, 3] = 1000
    tables = fitted([(z, 96)] * 20)
    found = cost(tables, z, 96)[1:, 1:, 3]
    # The class and the raw bits of an escape of 1000 - 32, and next to nothing for the escape.
    assert np.all((found >= 14) & (found < 14.3))


def test_channels_that_are_alike_share_tables() -> None:
    z = laplacian(9)
    z[:, :, 8] = z[:, :, 12]
    tables = fitted([(z, 100)] * 4)
    assert np.array_equal(tables.choice[:, :, 8], tables.choice[:, :, 12])
    assert not np.array_equal(tables.choice[:, :, 8], tables.choice[:, :, 4])


def test_before_anything_is_counted_each_unit_of_magnitude_costs_a_bit() -> None:
    tables = uniform_hyper_tables(TINY)
    assert tables.choice.shape == (8, 3, CHANNELS)
    magnitudes = np.arange(12)
    for sign in (1, -1):
        bits = tables.tables.cost_in_bits(sign * magnitudes, tables.choice[4, 2, 0])
        assert np.diff(bits) == pytest.approx(np.ones(11), abs=0.01)
    z = laplacian(3)
    payload = encode_hyper_latents(z, 100, tables)
    assert np.array_equal(decode_hyper_latents(payload, (8, 8), 100, tables), z)
