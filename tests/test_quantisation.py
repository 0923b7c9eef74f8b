"""The encoder's choice of residuals: the cheapest, always valid, whatever comes in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.entropy import (
    Lanes,
    Tables,
    encode_residuals,
    logistic_tables,
    next_state,
    table_scales,
)
from aecodec.entropy.coder import symbols_and_tables
from aecodec.quantisation import BITS_PER_SQUARED_STEP, OFFSET_LIMIT, Quantiser
from tests.entropy.helpers import decode_wave, one_wave

FIRST = 15
TABLES = logistic_tables(FIRST)
PLAIN, DEPENDENT = (Quantiser(TABLES, dependent=dependent) for dependent in (False, True))
BITS = TABLES.bits_table(np.arange(-60, 61))
STRENGTHS = st.sampled_from([0.0, 0.5, 1.0, 3.0])


def cost(
    residuals: NDArray[np.int16],
    scaled: NDArray[np.float32],
    indices: NDArray[np.uint8],
    strength: float,
    *,
    dependent: bool,
    tables: Tables = TABLES,
) -> float:
    """Bits of errors and symbols, as the coder counts them."""
    errors = scaled.astype(np.float64) - residuals / 8
    bits = tables.cost_in_bits(*symbols_and_tables(residuals, indices, tables, dependent=dependent)).sum()
    return float(BITS_PER_SQUARED_STEP * np.square(errors).sum() + strength * bits)


def laplacian(seed: int, count: int, scale: float = 1.5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).laplace(0, scale, count).astype(np.float32)


def random_indices(seed: int, count: int, first: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed + 1).integers(first, 64, count).astype(np.uint8)


def quantised(
    quantiser: Quantiser, scaled: NDArray[np.float32], indices: NDArray[np.uint8], strength: float
) -> NDArray[np.int16]:
    return quantiser.quantise(scaled, indices, np.full(len(scaled), strength, np.float32))


def candidates(value: float, index: int, strength: float) -> list[tuple[int, int, float]]:
    """Quantiser, parity and cost of each symbol for a value that an encoder may think of: the four places of
    the fine grid around it, and zero where that is near.
    """
    magnitude = abs(value) * 1.6
    lowest = max(int(magnitude) - 1, 0)
    places = {*range(lowest, lowest + 4), *([0] if magnitude < 4 else [])}
    found = []
    for place in sorted(places):
        for quantiser in (0, 1):
            if place and place % 2 != quantiser:
                continue
            symbol = (place + quantiser) // 2
            bits = BITS[64 * (1 + quantiser) + index, 60 + symbol]
            error = BITS_PER_SQUARED_STEP * (0.625 * (place - magnitude)) ** 2
            found.append((quantiser, symbol % 2, error + strength * float(bits)))
    return found


def least_of_all_paths(column: list[list[tuple[int, int, float]]]) -> float:
    """The cost of the cheapest path down a column, by trying them all."""
    least = np.inf
    for path in itertools.product(*column):
        state, total = 0, 0.0
        for quantiser, parity, of_symbol in path:
            if quantiser != state % 2:
                break
            state, total = next_state(state, parity), total + of_symbol
        else:
            least = min(least, total)
    return float(least)


def least_state_by_state(column: list[list[tuple[int, int, float]]]) -> float:
    """The same for columns of any length."""
    totals = {0: 0.0}
    for choices in column:
        following: dict[int, float] = {}
        for (state, total), (quantiser, parity, of_symbol) in itertools.product(totals.items(), choices):
            if quantiser == state % 2:
                goal = next_state(state, parity)
                following[goal] = min(following.get(goal, np.inf), total + of_symbol)
        totals = following
    return min(totals.values())


class TestDependent:
    # Not below zero: the rarest symbols have a frequency of 1 or 2 by their sign; the encoder looks at one.
    @settings(max_examples=40)
    @given(
        st.lists(st.tuples(st.floats(0, 6, width=32), st.integers(FIRST, 63)), min_size=1, max_size=4),
        STRENGTHS,
    )
    @example([(6.0, 19)], 0.5)
    def test_no_path_is_cheaper(self, values: list[tuple[float, int]], strength: float) -> None:
        scaled = np.array([value for value, _ in values], np.float32)
        indices = np.array([index for _, index in values], np.uint8)
        residuals = quantised(DEPENDENT, scaled, indices, strength)
        order = Lanes.of(indices, FIRST).order
        column = [candidates(float(scaled[n]), int(indices[n]), strength) for n in order]
        least = least_of_all_paths(column)
        found = cost(residuals, scaled, indices, strength, dependent=True)
        assert found == pytest.approx(least, rel=1e-4, abs=len(values) / 64)  # in which the search counts
        assert least_state_by_state(column) == pytest.approx(least)

    @pytest.mark.parametrize("strength", [0.0, 0.7, 1.0])
    @pytest.mark.parametrize("count", [5, 256, 257, 600])
    def test_no_path_is_cheaper_in_any_of_many_columns(self, count: int, strength: float) -> None:
        scaled, indices = laplacian(count, count), random_indices(count, count, FIRST)
        residuals = quantised(DEPENDENT, scaled, indices, strength)
        lanes = Lanes.of(indices, FIRST)
        least = sum(
            least_state_by_state(
                [
                    candidates(float(scaled[n]), int(indices[n]), strength)
                    for n in lanes.order[column :: lanes.columns]
                ]
            )
            for column in range(lanes.columns)
        )
        assert cost(residuals, scaled, indices, strength, dependent=True) == pytest.approx(least, rel=1e-4)

    @given(st.integers(0, 10**6), st.integers(0, 2000), st.sampled_from([0.1, 2.0, 100.0, 5000.0]), STRENGTHS)
    def test_errors_are_bounded_and_residuals_are_points(
        self, seed: int, count: int, scale: float, strength: float
    ) -> None:
        scaled, indices = laplacian(seed, count, scale), random_indices(seed, count)
        residuals = quantised(DEPENDENT, scaled, indices, strength)
        assert residuals.dtype == np.int16
        payload = encode_residuals(one_wave(residuals, indices), TABLES, dependent=True)
        assert np.array_equal(decode_wave(payload, indices, TABLES, dependent=True), residuals)
        inside = np.abs(scaled) < 4090
        assert np.abs(residuals / 8 - scaled)[inside].max(initial=0) <= 2.5
        assert np.all((residuals == 0) | (np.sign(residuals) == np.sign(scaled)))

    def test_without_a_price_of_bits_errors_are_1_3_decibels_below_those_of_one_such_quantiser(self) -> None:
        scaled, indices = laplacian(0, 20_000, 20.0), np.full(20_000, 60, np.uint8)
        errors = quantised(DEPENDENT, scaled, indices, 0.0) / 8 - scaled
        assert np.square(errors).mean() < 0.741 * 1.25**2 / 12
        assert np.abs(errors).max() <= 1.25

    @pytest.mark.parametrize("index", [20, 28, 36, 50])
    def test_they_cost_less_than_plain_residuals(self, index: int) -> None:
        scaled = np.random.default_rng(index).logistic(0, table_scales()[index], 40_000).astype(np.float32)
        indices = np.full(len(scaled), index, np.uint8)
        costs = [
            cost(quantised(quantiser, scaled, indices, 1.0), scaled, indices, 1.0, dependent=dependent)
            for quantiser, dependent in ((PLAIN, False), (DEPENDENT, True))
        ]
        assert costs[1] < 0.97 * costs[0]

    def test_residuals_of_small_indices_stay_plain(self) -> None:
        scaled, indices = laplacian(3, 3000), random_indices(3, 3000)
        dependent = quantised(DEPENDENT, scaled, indices, 1.0)
        plain = quantised(PLAIN, scaled, indices, 0.8)  # among dependent ones a bit counts less
        assert np.array_equal(dependent[indices < FIRST], plain[indices < FIRST])
        assert not np.array_equal(dependent, plain)

    def test_each_residual_has_its_own_strength(self) -> None:
        scaled, indices = laplacian(4, 4000), random_indices(4, 4000, FIRST)
        strength = np.where(np.arange(4000) % 2, 4.0, 0.0).astype(np.float32)
        residuals = DEPENDENT.quantise(scaled, indices, strength)
        zeros = residuals == 0
        assert zeros[1::2].mean() > 1.2 * zeros[::2].mean()

    def test_signs_make_no_difference(self) -> None:
        scaled, indices = laplacian(5, 3000), random_indices(5, 3000)
        assert np.array_equal(
            quantised(DEPENDENT, -scaled, indices, 1.0), -quantised(DEPENDENT, scaled, indices, 1.0)
        )


class TestPlain:
    @given(st.integers(0, 10**6), st.integers(0, 500))
    def test_without_a_price_of_bits_they_are_rounded_to_the_nearest(self, seed: int, count: int) -> None:
        scaled, indices = laplacian(seed, count, 5.0), random_indices(seed, count)
        residuals = quantised(PLAIN, scaled, indices, 0.0)
        assert residuals.dtype == np.int16
        assert not np.any(residuals % 8)
        assert np.abs(residuals / 8 - scaled).max(initial=0) <= 0.5 + 1e-6

    @given(st.integers(0, 10**6), st.integers(0, 500), st.sampled_from([0.5, 1.0, 5.0]))
    def test_a_price_of_bits_rounds_towards_zero_up_to_a_limit(
        self, seed: int, count: int, strength: float
    ) -> None:
        scaled, indices = laplacian(seed, count, 3.0), random_indices(seed, count)
        residuals = np.abs(quantised(PLAIN, scaled, indices, strength))
        assert np.all(residuals <= np.abs(quantised(PLAIN, scaled, indices, 0.0)))
        assert np.all(np.abs(scaled) - residuals / 8 <= 0.5 + OFFSET_LIMIT + 1e-5)

    @pytest.mark.parametrize("index", [30, 40, 63])
    def test_between_zero_and_one_the_cheaper_is_chosen(self, index: int) -> None:
        indices = np.full(1, index, np.uint8)
        for value in np.linspace(0, 1.4, 50, dtype=np.float32):
            scaled = np.full(1, value)
            of_values = [cost(np.full(1, r, np.int16), scaled, indices, 1.0, dependent=False) for r in (0, 8)]
            if abs(of_values[0] - of_values[1]) > 1e-3:
                assert quantised(PLAIN, scaled, indices, 1.0)[0] == 8 * int(np.argmin(of_values))


@pytest.mark.parametrize("quantiser", [PLAIN, DEPENDENT])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_values_that_no_picture_has_give_residuals_all_the_same(
    quantiser: Quantiser, strength: float
) -> None:
    finite = [0.0, -0.0, 1e-40, 4000.0, 4094.6, 4096.0, 1e6, 3e38]
    values = [*finite, *(-value for value in finite), np.inf, -np.inf, np.nan]
    scaled = np.tile(np.array(values, np.float32), 40)
    indices = random_indices(0, len(scaled))
    residuals = quantised(quantiser, scaled, indices, strength)
    payload = encode_residuals(one_wave(residuals, indices), TABLES, dependent=quantiser is DEPENDENT)
    found = decode_wave(payload, indices, TABLES, dependent=quantiser is DEPENDENT)
    assert np.array_equal(found, residuals)
    large = np.abs(scaled) > 5000
    assert np.all(np.abs(residuals[large].astype(int)) > 32700)
    assert np.array_equal(np.sign(residuals[large]), np.sign(scaled[large]))


@given(st.integers(0, 10**6), st.integers(0, 64), st.booleans())
@example(0, 0, True)
@example(0, 64, True)
def test_residuals_are_what_the_coder_takes_for_any_first_dependent_index(
    seed: int, first: int, dependent: bool
) -> None:
    tables = Tables(TABLES.half_width, TABLES.frequencies, first)
    quantiser = Quantiser(tables, dependent=dependent)
    scaled, indices = laplacian(seed, 300, 3.0), random_indices(seed, 300)
    residuals = quantised(quantiser, scaled, indices, 1.0)
    payload = encode_residuals(one_wave(residuals, indices), tables, dependent=dependent)
    assert np.array_equal(decode_wave(payload, indices, tables, dependent=dependent), residuals)
