from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from aecodec.entropy import (
    Tables,
    fitted_tables,
    integer_frequencies,
    logistic_tables,
    table_scales,
    tables_of,
)
from aecodec.errors import InputError, ModelError
from tests.entropy.helpers import encode_group
from tests.entropy.reference import entries_of, plain_tables

PROBABILITIES = st_numpy.arrays(
    np.float64, st.integers(2, 300), elements=st.floats(0, 1, allow_subnormal=False)
).filter(lambda weights: weights.sum() > 1e-6)


@given(PROBABILITIES)
def test_integer_frequencies_are_positive_and_add_up(weights: np.ndarray) -> None:
    frequencies = integer_frequencies(weights)
    assert frequencies.dtype == np.uint32
    assert frequencies.min() >= 1
    assert int(frequencies.sum(dtype=np.int64)) == 2**24


@given(PROBABILITIES)
def test_integer_frequencies_are_within_one_of_their_share(weights: np.ndarray) -> None:
    shares = 1 + weights / weights.sum() * (2**24 - weights.size)
    assert np.abs(integer_frequencies(weights) - shares).max() <= 1 + 1e-4


@pytest.mark.parametrize(
    "weights", [[1.0], [], [0.0, 0.0], [1.0, -0.1], [1.0, np.nan], [1.0, np.inf], [[0.5, 0.5]]]
)
def test_integer_frequencies_refuse_what_is_no_distribution(weights: list[float]) -> None:
    with pytest.raises(InputError):
        integer_frequencies(weights)


def test_logistic_tables_are_symmetric() -> None:
    tables = logistic_tables()
    for index in range(192):
        values = tables.table(index)[:-1].astype(np.int64)
        assert np.abs(values - values[::-1]).max() <= 1


def entropy(tables: Tables, index: int) -> float:
    p = tables.table(index) / 2**24
    return float(-(p * np.log2(p)).sum())


def test_logistic_tables_grow_wider_and_cost_more_with_the_index() -> None:
    tables = logistic_tables()
    for first in (0, 64, 128):
        entropies = np.array([entropy(tables, index) for index in range(first, first + 64)])
        assert np.all(np.diff(tables.half_width[first : first + 64]) >= 0)
        assert np.all(np.diff(entropies) > -1e-6)
        assert entropies[0] < 0.02
        step = 1 if first == 0 else 1.25
        assert entropies[63] == pytest.approx(np.log2(40 / step) + 2 / np.log(2), abs=0.01)


def test_logistic_tables_leave_little_to_the_escape() -> None:
    tables = logistic_tables()
    escapes = np.array([tables.table(index)[-1] for index in range(192)]) / 2**24
    assert (tables.half_width.min(), tables.half_width.max()) == (8, 400)
    assert escapes[tables.half_width < 400].max() < 1.1e-5
    assert escapes.max() < 1e-4


def test_logistic_tables_hold_the_masses_of_the_unit_bins() -> None:
    index = 40
    scale, half = table_scales()[index], int(logistic_tables().half_width[index])
    edges = np.arange(-half, half + 2) - 0.5
    masses = np.diff(1 / (1 + np.exp(-edges / scale)))
    assert logistic_tables().table(index)[:-1] / 2**24 == pytest.approx(masses, abs=1e-5)


@pytest.mark.parametrize("quantiser", [0, 1])
def test_tables_of_dependent_residuals_hold_the_masses_of_the_bins_around_their_points(
    quantiser: int,
) -> None:
    index = 40
    tables, scale = logistic_tables(), table_scales()[index]
    table = 64 * (1 + quantiser) + index
    symbols = np.arange(-int(tables.half_width[table]) - 1, int(tables.half_width[table]) + 2)
    points = (2 * symbols - quantiser * np.sign(symbols)) * 5 / 8
    edges = (points[1:] + points[:-1]) / 2
    masses = np.diff(1 / (1 + np.exp(-edges / scale)))
    assert tables.table(table)[:-1] / 2**24 == pytest.approx(masses, abs=1e-5)


def test_a_blend_makes_the_tails_heavier() -> None:
    plain, blended = logistic_tables(), logistic_tables(blend=(0.1, 3.0))
    assert blended.half_width[30] > plain.half_width[30]


def test_table_scales_are_geometric() -> None:
    scales = table_scales(0.1, 6.4)
    assert scales[0] == pytest.approx(0.1)
    assert scales[63] == pytest.approx(6.4)
    assert np.diff(np.log(scales)) == pytest.approx(np.full(63, np.log(64) / 63))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_table_scales_refuse_bounds_out_of_order(bounds: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        table_scales(*bounds)


def test_fitted_tables_without_counts_are_the_prior() -> None:
    fitted, prior = fitted_tables(np.zeros((192, 1001), np.int64)), logistic_tables()
    assert np.array_equal(fitted.half_width, prior.half_width)
    assert np.abs(fitted.frequencies.astype(np.int64) - prior.frequencies.astype(np.int64)).max() <= 1


def test_fitted_tables_follow_many_counts() -> None:
    histograms = np.zeros((192, 21), np.int64)
    histograms[:, 8:13] = np.array([1, 2, 4, 2, 1]) * 10**9
    tables = fitted_tables(histograms)
    for index in (0, 30, 63):
        middle = int(tables.half_width[index])
        counted = tables.table(index)[middle - 2 : middle + 3] / 2**24
        assert counted == pytest.approx(np.array([1, 2, 4, 2, 1]) / 10, abs=1e-4)


def test_fitted_tables_are_symmetric_when_the_counts_are_not() -> None:
    histograms = np.zeros((192, 21), np.int64)
    histograms[:, 10] = 10**6
    histograms[:, 12] = 10**6
    values = fitted_tables(histograms).table(5)[:-1].astype(np.int64)
    middle = values.size // 2
    assert abs(values[middle + 2] - values[middle - 2]) <= 1
    assert values[middle] == pytest.approx(2**23, rel=0.01)


def test_fitted_tables_count_the_outermost_bins_as_escapes() -> None:
    histograms = np.zeros((192, 21), np.int64)
    histograms[:, 0] = histograms[:, 20] = 10**9
    tables = fitted_tables(histograms)
    assert tables.half_width[63] == 9
    assert tables.table(63)[-1] > 0.99 * 2**24


def test_a_stronger_prior_moves_the_fit_towards_it() -> None:
    histograms = np.zeros((192, 101), np.int64)
    histograms[:, 50] = 1000
    weak, strong = fitted_tables(histograms, strength=1.0), fitted_tables(histograms, strength=1e5)

    def zero(tables: Tables) -> int:
        return int(tables.table(40)[tables.half_width[40]])

    assert zero(logistic_tables()) < zero(strong) < zero(weak)


@pytest.mark.parametrize("shape", [(64, 21), (192, 20), (192, 3), (192,)])
def test_fitted_tables_refuse_histograms_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="histograms"):
        fitted_tables(np.zeros(shape, np.int64))


def test_fitted_tables_refuse_negative_counts() -> None:
    with pytest.raises(InputError):
        fitted_tables(np.full((192, 21), -1))


def test_given_probabilities_are_kept_as_they_are_and_the_outermost_are_the_escape() -> None:
    probabilities = np.random.default_rng(0).random((192, 9))
    tables = tables_of(probabilities * np.arange(1, 193)[:, np.newaxis])
    assert tables.half_width.tolist() == [3] * 192
    for index in (0, 100, 191):
        row = probabilities[index] / probabilities[index].sum()
        expected = [*row[1:-1], row[0] + row[-1]]
        assert tables.table(index) / 2**24 == pytest.approx(expected, abs=1e-6)


def test_what_is_given_as_never_seen_can_still_be_coded() -> None:
    probabilities = np.zeros((192, 5))
    probabilities[:, 2] = 1
    assert tables_of(probabilities).table(7).tolist() == [1, 2**24 - 3, 1, 1]


@pytest.mark.parametrize("shape", [(64, 9), (192, 8), (192,), (192, 1), (192, 9, 1)])
def test_probabilities_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="probabilities"):
        tables_of(np.ones(shape))


def test_tables_come_back_from_their_arrays() -> None:
    tables = logistic_tables(first_dependent=17)
    again = Tables.from_arrays(tables.to_arrays("step3"), "step3")
    assert (again.first_dependent, type(again.first_dependent)) == (17, int)
    assert np.array_equal(again.half_width, tables.half_width)
    assert np.array_equal(again.frequencies, tables.frequencies)


def test_each_source_has_arrays_of_its_own() -> None:
    narrow, wide = logistic_tables(), logistic_tables(scale_max=60.0)
    arrays = narrow.to_arrays("step0") | wide.to_arrays("step1")
    assert np.array_equal(Tables.from_arrays(arrays, "step0").frequencies, narrow.frequencies)
    assert np.array_equal(Tables.from_arrays(arrays, "step1").frequencies, wide.frequencies)
    with pytest.raises(ModelError, match="tables/step2/half_width"):
        Tables.from_arrays(arrays, "step2")


def test_tables_keep_their_own_copy_that_nobody_can_change() -> None:
    arrays = {name: array.copy() for name, array in plain_tables().to_arrays("step0").items()}
    tables = Tables.from_arrays(arrays, "step0")
    arrays["tables/step0/frequencies"][0] += 1
    assert np.array_equal(tables.frequencies, plain_tables().frequencies)
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0] = 5


@pytest.mark.parametrize(
    "name", ["tables/step0/half_width", "tables/step0/frequencies", "tables/first_dependent"]
)
def test_a_missing_array_is_named(name: str) -> None:
    arrays = plain_tables().to_arrays("step0")
    del arrays[name]
    with pytest.raises(ModelError, match=name):
        Tables.from_arrays(arrays, "step0")


def test_malformed_tables_are_refused() -> None:
    good = plain_tables()
    half, frequencies = good.half_width.copy(), good.frequencies.copy()
    zero, moved, short = frequencies.copy(), frequencies.copy(), frequencies[:-1]
    zero[:2] = [0, frequencies[0] + frequencies[1]]
    moved[[0, -1]] += np.array([1, -1], np.int64).astype(np.uint32)
    negative, wide = half.copy(), half.copy()
    negative[0], wide[191] = -1, 5000
    for bad in (
        (half, zero),
        (half, moved),
        (half, short),
        (negative, frequencies),
        (wide, frequencies),
        (half[:64], frequencies),
        (half.astype(np.int32), frequencies),
        (half, frequencies.astype(np.int64)),
    ):
        with pytest.raises(ModelError):
            Tables(*bad)


@pytest.mark.parametrize(
    "first",
    [
        np.array(-1, np.int16),
        np.array(65, np.int16),
        np.array(17),
        np.array([17], np.int16),
        np.array(17, np.uint8),
    ],
)
def test_a_first_dependent_index_that_is_none_is_refused(first: np.ndarray) -> None:
    with pytest.raises(ModelError, match="first"):
        Tables.from_arrays(plain_tables().to_arrays("step0") | {"tables/first_dependent": first}, "step0")


def test_cost_is_the_logarithm_of_the_frequency() -> None:
    tables = plain_tables()
    symbols = np.array([-3, -1, 0, 1, 3])
    expected = [24 - np.log2(entries_of(tables, 20)[value % 12]) for value in symbols]
    assert tables.cost_in_bits(symbols, np.full(5, 20)) == pytest.approx(expected)


def test_cost_of_an_escape_counts_class_sign_and_raw_bits() -> None:
    tables = plain_tables()  # table 20 has the half width 5, and an escape of 24 bits
    symbols = np.array([6, -6, 7, -8, 9, 32767])
    assert tables.cost_in_bits(symbols, 20).tolist() == [29, 29, 29, 30, 30, 24 + 4 + 15]


def test_costs_add_up_to_the_length_of_the_payload() -> None:
    random = np.random.default_rng(5)
    tables = logistic_tables()
    indices = random.integers(0, 64, 5000).astype(np.uint8)
    symbols = np.rint(random.logistic(0, table_scales()[indices])).astype(np.int64)
    symbols[::100] *= 50
    bits = tables.cost_in_bits(symbols, indices).sum()
    assert -32 < 8 * len(encode_group(symbols, indices, tables)) - bits < 32


def test_bits_table_lists_the_costs_of_all_values() -> None:
    table = plain_tables().bits_table(np.arange(-40, 41))
    assert table.shape == (192, 81)
    assert table[20, 40 + 3] == plain_tables().cost_in_bits(3, 20)
    assert table[20, 40 - 33] == plain_tables().cost_in_bits(-33, 20)


@pytest.mark.parametrize(("symbol", "index"), [(32768, 0), (-32768, 0), (0, 192), (0, -1)])
def test_cost_refuses_what_cannot_be_coded(symbol: int, index: int) -> None:
    with pytest.raises(InputError):
        plain_tables().cost_in_bits(symbol, index)


def test_prepared_objects_live_with_their_tables() -> None:
    def build(tables: Tables) -> list[int]:
        return [len(tables.frequencies)]

    tables = plain_tables()
    assert tables.prepared(build) is tables.prepared(build)
    assert tables.prepared(build) is not plain_tables().prepared(build)
