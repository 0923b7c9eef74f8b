"""The encoder's choice of post-filters: by sums over pixels, and whole numbers that cost little."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.entropy import HyperTables
from aecodec.filter_fitting import (
    CONSTANT,
    MAX_COEFFICIENT,
    TERMS,
    FilterFitting,
    FilterStatistics,
    cheapest,
    quadratic_form,
    taps_of_terms,
    terms_of_taps,
)
from aecodec.post_filter import PIXEL_CENTRE, FilterBasis, with_border
from tests.entropy.helpers import FILTER_COEFFICIENTS, random_hyper_tables
from tests.helpers import photograph, random_coefficients, random_filter_basis

Floats = NDArray[np.float32]

BASIS = random_filter_basis(3)
HYPER = random_hyper_tables(2)
VALUES = np.arange(-MAX_COEFFICIENT, MAX_COEFFICIENT + 1)
LEVEL = 100


def decoded_and_original(height: int = 40, width: int = 56, seed: int = 0) -> tuple[Floats, Floats]:
    """Bordered pixels, and what they should have been."""
    random = np.random.default_rng((seed, 1))
    original = photograph(height, width, seed).astype(np.float32)
    errors = random.normal(0, 4, original.shape) + 0.05 * (np.roll(original, 1, axis=1) - original)
    return with_border((original + errors).astype(np.float32)), original


def squared_error(pixels: Floats, original: Floats) -> float:
    return float(np.square(pixels.astype(np.float64) - original).sum())


def unpriced(numbers: int) -> NDArray[np.float64]:
    """Bits of coefficients that cost nothing."""
    return np.zeros((numbers, len(VALUES)))


def cost_of(
    chosen: NDArray[np.int16],
    curvature: NDArray[np.float64],
    saved: NDArray[np.float64],
    bits: NDArray[np.float64],
) -> float:
    """What `cheapest` makes small."""
    numbers = chosen.astype(np.float64)
    own = bits[np.arange(len(chosen)), chosen + bits.shape[1] // 2].sum()
    return float(numbers @ curvature @ numbers - 2 * saved @ numbers + own)


class TestTerms:
    @given(st.integers(0, 10**6))
    def test_a_filter_comes_back_from_its_terms(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        weights = random.normal(size=(4, TERMS, 3))
        kernel, bias = taps_of_terms(weights)
        assert kernel.shape == (4, 3, 3, 3, 3)
        assert bias.shape == (4, 3)
        np.testing.assert_allclose(terms_of_taps(kernel, bias), weights, atol=1e-12)

    @given(st.integers(0, 10**6))
    def test_terms_come_back_from_their_filter(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        kernel, bias = random.normal(size=(2, 3, 3, 3, 3)), random.normal(size=(2, 3))
        again = taps_of_terms(terms_of_taps(kernel, bias))
        np.testing.assert_allclose(again[0], kernel, atol=1e-12)
        np.testing.assert_allclose(again[1], bias, atol=1e-12)

    def test_any_number_of_filters_is_taken_at_once(self) -> None:
        weights = np.random.default_rng(0).normal(size=(2, 3, TERMS, 3))
        kernel, bias = taps_of_terms(weights)
        alone = taps_of_terms(weights[1, 2])
        assert np.array_equal(kernel[1, 2], alone[0])
        assert np.array_equal(bias[1, 2], alone[1])
        assert np.array_equal(terms_of_taps(kernel, bias)[1, 2], terms_of_taps(*alone))

    def test_weights_of_terms_do_what_their_filter_does(self) -> None:
        weights = np.random.default_rng(1).normal(0, 0.02, (TERMS, 3))
        kernel, bias = taps_of_terms(weights)
        bordered, _ = decoded_and_original(9, 7)
        basis = FilterBasis(
            kernel[None].astype(np.float32), bias[None].astype(np.float32), np.zeros((8, 1), np.float32)
        )
        found = basis.corrected(bordered, np.ones(1, np.int16), LEVEL) - bordered[1:-1, 1:-1]
        np.testing.assert_allclose(found, naive_terms(bordered) @ weights, atol=5e-3)


def naive_terms(bordered: Floats) -> NDArray[np.float64]:
    """(height, width, term), one pixel after the other."""
    height, width = bordered.shape[0] - 2, bordered.shape[1] - 2
    centred = bordered.astype(np.float64) - PIXEL_CENTRE
    terms = np.zeros((height, width, TERMS))
    for row, column in np.ndindex(height, width):
        middle = centred[1 + row, 1 + column]
        pairs = [
            (centred[1 + row + i, 1 + column + j], centred[1 + row - i, 1 + column - j])
            for i, j in ((0, 1), (1, 0), (1, 1), (1, -1))
        ]
        sums = [after + before - 2 * middle for after, before in pairs]
        differences = [after - before for after, before in pairs]
        terms[row, column] = np.concatenate([middle, *sums, *differences, [CONSTANT]])
    return terms


class TestStatistics:
    @settings(max_examples=15)
    @given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
    def test_they_are_sums_over_the_pixels(self, seed: int, height: int, width: int) -> None:
        bordered, original = decoded_and_original(height, width, seed)
        found = FilterStatistics.of(bordered, original)
        terms = naive_terms(bordered).reshape(-1, TERMS)
        errors = (original.astype(np.float64) - bordered[1:-1, 1:-1]).reshape(-1, 3)
        products = terms.T @ terms
        scale = float(np.abs(products).max())
        np.testing.assert_allclose(found.products, products, rtol=1e-4, atol=1e-6 * scale)
        by_terms = np.abs(terms).T @ np.abs(errors)
        assert np.all(np.abs(found.errors - terms.T @ errors) <= 1e-4 * by_terms + 1e-3)
        assert found.energy == pytest.approx(float(np.square(errors).sum()), rel=1e-5)

    def test_a_large_picture_is_measured_as_its_halves(self) -> None:
        bordered, original = decoded_and_original(300, 280)
        whole = FilterStatistics.of(bordered, original)
        halves = [
            FilterStatistics.of(bordered[top : top + 152], original[top : top + 150]) for top in (0, 150)
        ]
        for name in ("products", "errors", "energy"):
            parts = [getattr(half, name) for half in halves]
            np.testing.assert_allclose(getattr(whole, name), parts[0] + parts[1], rtol=1e-3, atol=50)

    def test_a_picture_without_errors_has_none(self) -> None:
        bordered, _ = decoded_and_original()
        found = FilterStatistics.of(bordered, bordered[1:-1, 1:-1])
        assert found.energy == 0
        assert not found.errors.any()


class TestQuadraticForm:
    @settings(max_examples=20)
    @given(st.integers(0, 10**6), st.integers(0, 224), st.floats(0.001, 2))
    def test_it_predicts_the_error_that_a_filter_leaves(self, seed: int, level: int, weight: float) -> None:
        bordered, original = decoded_and_original(seed=seed % 7)
        [coefficients] = random_coefficients(1, seed, most=3)
        statistics = FilterStatistics.of(bordered, original)
        curvature, saved = FilterFitting(BASIS, HYPER).quadratic_form(statistics, level, weight)
        corrected = BASIS.corrected(bordered, coefficients, level)
        expected = weight / 3 * (squared_error(corrected, original) - statistics.energy)
        found = cost_of(coefficients, curvature, saved, unpriced(FILTER_COEFFICIENTS))
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-5 * weight * statistics.energy)

    def test_its_curvature_is_symmetric_and_falls_nowhere(self) -> None:
        curvature, saved = FilterFitting(BASIS, HYPER).quadratic_form(
            FilterStatistics.of(*decoded_and_original()), LEVEL, 0.02
        )
        assert curvature.shape == (FILTER_COEFFICIENTS, FILTER_COEFFICIENTS)
        assert saved.shape == (FILTER_COEFFICIENTS,)
        np.testing.assert_allclose(curvature, curvature.T, rtol=1e-9)
        assert np.linalg.eigvalsh(curvature).min() >= -1e-9 * np.abs(curvature).max()

    def test_it_grows_with_the_weight_and_not_with_what_the_filters_are_made_of(self) -> None:
        statistics = FilterStatistics.of(*decoded_and_original())
        terms = np.random.default_rng(0).normal(size=(3, TERMS, 3))
        one, double = (quadratic_form(statistics, terms, weight) for weight in (0.1, 0.2))
        for part, twice in zip(one, double, strict=True):
            np.testing.assert_allclose(2 * part, twice)
        turned = quadratic_form(statistics, -terms, 0.1)
        np.testing.assert_allclose(turned[0], one[0])
        np.testing.assert_allclose(turned[1], -one[1])


@st.composite
def forms(
    draw: st.DrawFn, most: int = MAX_COEFFICIENT
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Curvature, saved and bits of one to five numbers; the least bits are those of 0."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    count = draw(st.integers(1, 5))
    root = random.normal(size=(count, count)) * draw(st.sampled_from([0.01, 1.0, 10.0]))
    saved = random.normal(size=count) * draw(st.sampled_from([0.0, 1.0, 100.0]))
    magnitudes = np.abs(np.arange(-most, most + 1))
    bits = random.uniform(0.1, 3, (count, 1)) * magnitudes + random.uniform(0, 0.1, (count, 2 * most + 1))
    bits[:, most] = 0
    return root @ root.T, saved, bits


class TestCheapest:
    @given(forms())
    def test_it_is_never_worse_than_zeros(
        self, form: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        curvature, saved, bits = form
        chosen = cheapest(curvature, saved, bits)
        assert chosen.dtype == np.int16
        assert np.abs(chosen).max() <= MAX_COEFFICIENT
        zeros = cost_of(np.zeros_like(chosen), curvature, saved, bits)
        assert cost_of(chosen, curvature, saved, bits) <= zeros + 1e-9

    @given(forms())
    def test_without_curvature_between_numbers_it_is_the_best(
        self, form: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        whole, saved, bits = form
        own = np.diag(whole)
        costs = own[:, None] * np.square(VALUES) - 2 * saved[:, None] * VALUES + bits
        chosen = cheapest(np.diag(own), saved, bits)
        found = cost_of(chosen, np.diag(own), saved, bits)
        assert found == pytest.approx(float(costs.min(axis=1).sum()), abs=1e-6)

    @given(forms(most=2))
    def test_no_change_of_a_single_number_makes_it_better(
        self, form: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        curvature, saved, bits = form
        chosen = cheapest(curvature, saved, bits)
        found = cost_of(chosen, curvature, saved, bits)
        costs = []
        for number, value in product(range(len(chosen)), range(-2, 3)):
            other = chosen.copy()
            other[number] = value
            costs.append(cost_of(other, curvature, saved, bits))
        assert found <= min(costs) + 1e-6

    def test_bits_that_are_dear_give_zeros(self) -> None:
        bits = np.tile(1e6 * (VALUES != 0), (3, 1)).astype(np.float64)
        assert not cheapest(np.eye(3), np.array([5.0, -20, 30]), bits).any()

    def test_without_bits_it_is_the_nearest_whole_solution(self) -> None:
        saved = np.array([5.2, -20.4, 45.0, 0.3])
        assert cheapest(np.eye(4), saved, unpriced(4)).tolist() == [5, -20, 31, 0]

    def test_nothing_is_chosen_of_nothing(self) -> None:
        chosen = cheapest(np.zeros((0, 0)), np.zeros(0), unpriced(0))
        assert chosen.dtype == np.int16
        assert chosen.shape == (0,)


class TestChoice:
    @pytest.mark.parametrize("seed", range(4))
    def test_a_filter_that_was_undone_is_found_again(self, seed: int) -> None:
        """The original is what the filter makes of the decoded pixels; bits count next to nothing."""
        bordered, _ = decoded_and_original(seed=seed)
        [planted] = random_coefficients(1, seed)
        original = BASIS.corrected(bordered, planted, LEVEL)
        statistics = FilterStatistics.of(bordered, original)
        assert np.array_equal(FilterFitting(BASIS, HYPER).choose(statistics, LEVEL, 1e4), planted)

    def test_a_blurred_picture_is_sharpened(self) -> None:
        original = photograph(120, 160).astype(np.float32)
        bordered = with_border(original)
        sums = bordered[1:-1, :-2] + bordered[1:-1, 2:] + 2 * original
        across = (sums / 4).astype(np.float32)
        decoded = with_border(across)
        chosen = FilterFitting(BASIS, HYPER).choose(FilterStatistics.of(decoded, original), LEVEL, 1.0)
        assert chosen[0] > 5  # the filter that sharpens across
        corrected = BASIS.corrected(decoded, chosen, LEVEL)
        assert squared_error(corrected, original) < 0.8 * squared_error(across, original)

    def test_a_tint_is_taken_back(self) -> None:
        original = photograph(120, 160).astype(np.float32)
        kernel, bias = np.zeros((3, 3, 3, 3, 3), np.float32), 10 * np.eye(3, dtype=np.float32)
        basis = FilterBasis(kernel, bias, np.full((8, 3), np.log(0.1), np.float32))
        hyper = HyperTables(HYPER.tables, HYPER.choice, HYPER.of_filter[:3])
        decoded = with_border(original + np.array([4, 0, -7], np.float32))
        chosen = FilterFitting(basis, hyper).choose(FilterStatistics.of(decoded, original), LEVEL, 1.0)
        assert chosen.tolist() == [-4, 0, 7]
        np.testing.assert_allclose(basis.corrected(decoded, chosen, LEVEL), original, atol=0.01)

    def test_where_errors_do_not_count_nothing_is_corrected(self) -> None:
        statistics = FilterStatistics.of(*decoded_and_original())
        cheap_zeros = HyperTables(HYPER.tables, HYPER.choice, zero_is_cheapest())
        assert not FilterFitting(BASIS, cheap_zeros).choose(statistics, LEVEL, 0.0).any()

    @pytest.mark.parametrize("weight", [1e-4, 0.01, 0.3, 10.0])
    def test_what_is_chosen_saves_more_than_it_costs(self, weight: float) -> None:
        bordered, original = decoded_and_original(80, 80)
        statistics = FilterStatistics.of(bordered, original)
        chosen = FilterFitting(BASIS, HYPER).choose(statistics, LEVEL, weight)
        assert chosen.dtype == np.int16
        assert chosen.shape == (FILTER_COEFFICIENTS,)
        bits = HYPER.tables.cost_in_bits(np.array([chosen, np.zeros_like(chosen)]), HYPER.of_filter)
        corrected = BASIS.corrected(bordered, chosen, LEVEL)
        gain = weight / 3 * (statistics.energy - squared_error(corrected, original))
        assert gain >= float(bits[0].sum() - bits[1].sum()) - 1e-3

    def test_the_more_errors_count_the_fewer_are_left(self) -> None:
        bordered, original = decoded_and_original(80, 80)
        statistics, fitting = FilterStatistics.of(bordered, original), FilterFitting(BASIS, HYPER)
        left = [
            squared_error(
                BASIS.corrected(bordered, fitting.choose(statistics, LEVEL, weight), LEVEL), original
            )
            for weight in (0.0, 0.01, 1.0, 100.0)
        ]
        assert left[-1] < left[0]
        assert all(after <= 1.001 * before for before, after in pairwise(left))

    def test_a_model_without_filters_chooses_none(self) -> None:
        basis = random_filter_basis(count=0)
        hyper = HyperTables(HYPER.tables, HYPER.choice)
        statistics = FilterStatistics.of(*decoded_and_original())
        assert FilterFitting(basis, hyper).choose(statistics, LEVEL, 1.0).shape == (0,)


def zero_is_cheapest() -> NDArray[np.uint8]:
    """Tables in which no other number costs less than 0."""
    bits = HYPER.tables.bits_table(VALUES)
    numbers = np.flatnonzero(bits.argmin(axis=1) == MAX_COEFFICIENT)[-FILTER_COEFFICIENTS:]
    assert len(numbers) == FILTER_COEFFICIENTS
    return numbers.astype(np.uint8)
