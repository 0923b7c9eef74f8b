"""The contexts and tables of hyper-latents, and their payloads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from aecodec.entropy import (
    HyperTables,
    decode_hyper_latents,
    encode_hyper_latents,
    logistic_tables,
    slope_of_hyper_rate,
    symbols_and_contexts,
    tables_of,
)
from aecodec.entropy.hyper import diagonals_of, nearest_node
from aecodec.errors import CorruptedError, InputError, ModelError
from tests.entropy import reference
from tests.entropy.helpers import FILTER_COEFFICIENTS, Arrays, random_hyper_tables

CHANNELS = 3
TABLES = random_hyper_tables(7, CHANNELS)
LEVELS = st.integers(0, 224)
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 7))
VALUES = st.one_of(st.integers(-3, 3), st.integers(-40, 40), st.integers(-32767, 32767))
CHOICE = "tables/hyper_latents/choice"
OF_FILTER = "tables/hyper_latents/of_filter"


@st.composite
def hyper_latents(draw: st.DrawFn) -> np.ndarray:
    """int16 (h, w, channel), mostly small."""
    shape = (*draw(SHAPES), CHANNELS)
    return draw(st_numpy.arrays(np.int16, shape, elements=VALUES, fill=st.integers(-2, 2)))


def coefficients() -> st.SearchStrategy[np.ndarray]:
    """int16 (coefficient,), mostly small."""
    return st_numpy.arrays(np.int16, FILTER_COEFFICIENTS, elements=VALUES, fill=st.integers(-2, 2))


def random_hyper_latents(seed: int, height: int = 4, width: int = 6, scale: float = 1.5) -> np.ndarray:
    laplacian = np.random.default_rng(seed).laplace(0, scale, (height, width, CHANNELS))
    return np.rint(laplacian).clip(-32767, 32767).astype(np.int16)


def extreme_hyper_latents(sign: int) -> np.ndarray:
    """The largest magnitudes everywhere, of one sign or of both in turn."""
    return np.full((3, 4, CHANNELS), 32767, np.int16) * np.array([1, sign], np.int16)[np.arange(4) % 2, None]


class TestCoding:
    @given(hyper_latents(), LEVELS)
    @example(extreme_hyper_latents(1), 100)
    @example(extreme_hyper_latents(-1), 100)
    def test_hyper_latents_come_back(self, z: np.ndarray, level: int) -> None:
        payload = encode_hyper_latents(z, level, TABLES)
        decoded = decode_hyper_latents(payload, z.shape[:2], level, TABLES)
        assert decoded.dtype == np.int16
        assert np.array_equal(decoded, z)
        assert not payload.endswith(b"\0")

    @settings(max_examples=50)
    @given(hyper_latents(), LEVELS)
    def test_payloads_are_those_of_the_format_text(self, z: np.ndarray, level: int) -> None:
        payload = encode_hyper_latents(z, level, TABLES)
        assert payload == reference.encode_hyper_latents(z, level, TABLES.choice, TABLES.tables)
        decoded = reference.decode_hyper_latents(payload, z.shape[:2], level, TABLES.choice, TABLES.tables)
        assert np.array_equal(decoded, z)

    @pytest.mark.parametrize("scale", [0.3, 2.0, 300.0])
    def test_payloads_are_as_long_as_their_symbols_cost(self, scale: float) -> None:
        z = random_hyper_latents(1, 20, 30, scale)
        bits = TABLES.tables.cost_in_bits(*TABLES.symbols_and_tables(z, 60)).sum()
        assert abs(8 * len(encode_hyper_latents(z, 60, TABLES)) - bits) < 32

    def test_zeros_cost_nothing(self) -> None:
        zeros = np.zeros((9, 5, CHANNELS), np.int16)
        assert encode_hyper_latents(zeros, 30, TABLES) == b""
        decoded = decode_hyper_latents(b"", (9, 5), 30, TABLES)
        assert decoded.dtype == np.int16
        assert np.array_equal(decoded, zeros)

    def test_the_memory_layout_does_not_matter(self) -> None:
        z = random_hyper_latents(2)
        expected = encode_hyper_latents(z, 30, TABLES)
        assert encode_hyper_latents(np.asfortranarray(z), 30, TABLES) == expected

    @given(st.binary(max_size=80), SHAPES, LEVELS)
    @example(b"\xff" * 200, (5, 7), 0)
    @example(b"\0", (1, 1), 0)
    @example(b"\x01", (2, 2), 224)
    def test_any_bytes_give_hyper_latents_or_a_format_error(
        self, data: bytes, shape: tuple[int, int], level: int
    ) -> None:
        try:
            z = decode_hyper_latents(data, shape, level, TABLES)
        except CorruptedError:
            return
        assert encode_hyper_latents(z, level, TABLES) == data

    @given(st.integers(0, 10**6), SHAPES, LEVELS, st.data())
    def test_damaged_payloads_never_decode_to_the_same_hyper_latents(
        self, seed: int, shape: tuple[int, int], level: int, data: st.DataObject
    ) -> None:
        z = random_hyper_latents(seed, *shape, scale=5.0)
        payload = encode_hyper_latents(z, level, TABLES)
        cut = data.draw(st.integers(0, len(payload)))
        behind = payload[cut + data.draw(st.integers(0, 6)) :]
        damaged = payload[:cut] + data.draw(st.binary(max_size=6)) + behind
        try:
            decoded = decode_hyper_latents(damaged, shape, level, TABLES)
        except CorruptedError:
            assert damaged != payload
            return
        assert np.array_equal(decoded, z) == (damaged == payload)
        assert encode_hyper_latents(decoded, level, TABLES) == damaged

    @pytest.mark.parametrize("shape", [(6, 4), (4, 5), (3, 6), (1, 1)])
    def test_a_payload_of_another_grid_is_refused(self, shape: tuple[int, int]) -> None:
        payload = encode_hyper_latents(random_hyper_latents(3, 4, 6), 30, TABLES)
        with pytest.raises(CorruptedError):
            decode_hyper_latents(payload, shape, 30, TABLES)

    @pytest.mark.parametrize("value", [32768, -32768])
    def test_hyper_latents_beyond_their_range_are_refused_on_every_diagonal(self, value: int) -> None:
        for place in np.ndindex(2, 3):
            z = np.zeros((2, 3, CHANNELS), np.int64)
            z[place] = [0, value, 1]
            payload = reference.encode_hyper_latents(z, 30, TABLES.choice, TABLES.tables)
            with pytest.raises(CorruptedError, match="magnitude"):
                decode_hyper_latents(payload, (2, 3), 30, TABLES)


class TestCoefficients:
    """Those of a chunk's post-filter, before its hyper-latents."""

    @given(hyper_latents(), coefficients(), LEVELS)
    @example(extreme_hyper_latents(-1), np.full(FILTER_COEFFICIENTS, -32767, np.int16), 100)
    def test_they_come_back_with_the_hyper_latents(
        self, z: np.ndarray, given_coefficients: np.ndarray, level: int
    ) -> None:
        payload = encode_hyper_latents(z, level, TABLES, given_coefficients)
        found = np.full(FILTER_COEFFICIENTS, 99, np.int16)
        assert np.array_equal(decode_hyper_latents(payload, z.shape[:2], level, TABLES, found), z)
        assert np.array_equal(found, given_coefficients)
        assert not payload.endswith(b"\0")

    @given(hyper_latents(), LEVELS)
    def test_a_payload_without_them_does_not_depend_on_their_tables(self, z: np.ndarray, level: int) -> None:
        without = HyperTables(TABLES.tables, TABLES.choice)
        assert without.coefficient_count == 0
        expected = encode_hyper_latents(z, level, without)
        assert encode_hyper_latents(z, level, TABLES) == expected
        assert encode_hyper_latents(z, level, without, np.zeros(0, np.int16)) == expected

    def test_their_tables_do_not_depend_on_the_level(self) -> None:
        hyper = HyperTables(TABLES.tables, np.zeros_like(TABLES.choice), TABLES.of_filter)
        z, some = random_hyper_latents(6), np.array([3, -2, 0, 1, -7], np.int16)
        assert len({encode_hyper_latents(z, level, hyper, some) for level in range(225)}) == 1

    @pytest.mark.parametrize("value", [0, 2, -20, 5000])
    def test_they_cost_what_their_tables_say(self, value: int) -> None:
        z = random_hyper_latents(1, 10, 10)
        given_coefficients = np.full(FILTER_COEFFICIENTS, value, np.int16)
        bits = TABLES.tables.cost_in_bits(given_coefficients.astype(np.int32), TABLES.of_filter).sum()
        without = encode_hyper_latents(z, 60, TABLES)
        payload = encode_hyper_latents(z, 60, TABLES, given_coefficients)
        assert abs(8 * (len(payload) - len(without)) - bits) < 40

    def test_zeros_before_zeros_cost_nothing(self) -> None:
        zeros, none = np.zeros((2, 3, CHANNELS), np.int16), np.zeros(FILTER_COEFFICIENTS, np.int16)
        assert encode_hyper_latents(zeros, 30, TABLES, none) == b""

    def test_an_empty_payload_gives_zeros(self) -> None:
        found = np.full(FILTER_COEFFICIENTS, 7, np.int16)
        z = decode_hyper_latents(b"", (2, 3), 30, TABLES, found)
        assert not found.any()
        assert not z.any()

    @given(st.binary(max_size=80), SHAPES, LEVELS)
    @example(b"\xff" * 200, (5, 7), 0)
    @example(b"\0", (1, 1), 0)
    @example(b"\x01", (2, 2), 224)
    def test_any_bytes_give_coefficients_or_a_format_error(
        self, data: bytes, shape: tuple[int, int], level: int
    ) -> None:
        found = np.zeros(FILTER_COEFFICIENTS, np.int16)
        try:
            z = decode_hyper_latents(data, shape, level, TABLES, found)
        except CorruptedError:
            return
        assert encode_hyper_latents(z, level, TABLES, found) == data

    def test_a_file_without_post_filters_does_not_hold_them(self) -> None:
        z, some = random_hyper_latents(3), np.array([1, 0, -3, 40, 2], np.int16)
        payload = encode_hyper_latents(z, 30, TABLES, some)
        with pytest.raises(CorruptedError):
            decode_hyper_latents(payload, z.shape[:2], 30, TABLES)
        with pytest.raises(CorruptedError):
            decode_hyper_latents(encode_hyper_latents(z, 30, TABLES), z.shape[:2], 30, TABLES, some.copy())

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros(FILTER_COEFFICIENTS, np.int32),
            np.zeros(FILTER_COEFFICIENTS, np.float32),
            np.zeros(FILTER_COEFFICIENTS - 1, np.int16),
            np.zeros(FILTER_COEFFICIENTS + 1, np.int16),
            np.zeros((1, FILTER_COEFFICIENTS), np.int16),
        ],
    )
    def test_those_of_another_kind_or_number_are_refused(self, wrong: np.ndarray) -> None:
        z = random_hyper_latents(3)
        with pytest.raises(InputError, match=r"coefficients of a post-filter as int16 \(5,\)"):
            encode_hyper_latents(z, 30, TABLES, wrong)
        with pytest.raises(InputError, match=r"coefficients of a post-filter as int16 \(5,\)"):
            decode_hyper_latents(b"", z.shape[:2], 30, TABLES, wrong)

    def test_those_beyond_their_range_are_refused(self) -> None:
        wrong = np.array([0, 0, -32768, 0, 0], np.int16)
        with pytest.raises(InputError, match=r"-32767\.\.32767"):
            encode_hyper_latents(random_hyper_latents(3), 30, TABLES, wrong)


class TestSlopeOfRate:
    @given(hyper_latents(), LEVELS)
    @example(extreme_hyper_latents(-1), 100)
    @example(np.full((3, 3, CHANNELS), -2, np.int16), 0)
    def test_it_is_half_of_what_the_next_number_costs_more_than_the_one_before(
        self, z: np.ndarray, level: int
    ) -> None:
        slope = slope_of_hyper_rate(z, level, TABLES)
        assert slope.dtype == np.float32
        expected = np.zeros(z.shape)
        for i, j, c in np.ndindex(z.shape):
            above = int(z[i - 1, j, c]) if i else 0
            total = above + (int(z[i, j - 1, c]) if j else 0)
            table = TABLES.choice[nearest_node(level), min(abs(total), 2), c]
            sign = -1 if total < 0 else 1
            numbers = [max(-32767, min(int(z[i, j, c]) + move, 32767)) for move in (-1, 1)]
            lower, higher = TABLES.tables.cost_in_bits(sign * np.array(numbers), table)
            expected[i, j, c] = (higher - lower) / 2
        np.testing.assert_allclose(slope, expected, atol=1e-4)

    @given(hyper_latents(), LEVELS)
    def test_opposite_hyper_latents_have_opposite_slopes_where_the_sign_is_known(
        self, z: np.ndarray, level: int
    ) -> None:
        _, contexts = symbols_and_contexts(z)
        slope, opposite = (slope_of_hyper_rate(plane, level, TABLES) for plane in (z, -z))
        assert np.array_equal(slope[contexts > 0], -opposite[contexts > 0])

    def test_it_leads_to_what_is_cheap(self) -> None:
        """With tables of falling probabilities: away from zero costs more."""
        falling = np.tile(2.0 ** -np.abs(np.arange(-32, 33)), (192, 1))
        tables = HyperTables(tables_of(falling), np.zeros_like(TABLES.choice))
        z = random_hyper_latents(8, scale=4.0)
        slope = slope_of_hyper_rate(z, 100, tables)
        assert np.array_equal(np.sign(slope[z != 0]), np.sign(z[z != 0]))
        assert np.abs(slope[z == 0]).max() < 0.01


class TestContexts:
    def test_they_are_what_stands_above_and_to_the_left(self) -> None:
        z = np.array([[1, -3, 0], [0, 2, -1], [-1, 1, 5]], np.int16)[:, :, None]
        symbols, contexts = symbols_and_contexts(z)
        # Sums above and to the left: 0, 1, -3; 1, -3, 2; 0, 1, 0.
        assert contexts[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 2], [0, 1, 0]]
        assert symbols[:, :, 0].tolist() == [[1, -3, 0], [0, -2, -1], [-1, 1, 5]]

    def test_channels_do_not_see_each_other(self) -> None:
        z = random_hyper_latents(4)
        alone = np.zeros_like(z)
        alone[:, :, 1] = z[:, :, 1]
        of_all, of_one = (np.array(symbols_and_contexts(plane)) for plane in (z, alone))
        assert np.array_equal(of_all[..., 1], of_one[..., 1])
        assert not of_one[..., ::2].any()

    @given(hyper_latents())
    def test_opposite_hyper_latents_have_the_same_contexts_and_symbols(self, z: np.ndarray) -> None:
        symbols, contexts = symbols_and_contexts(z)
        mirrored, same = symbols_and_contexts(-z)
        assert np.array_equal(same, contexts)
        # Where the neighbours add up to nothing they say nothing about the sign.
        assert np.array_equal(mirrored, np.where(contexts == 0, -symbols, symbols))

    @given(hyper_latents(), LEVELS)
    def test_opposite_hyper_latents_cost_the_same(self, z: np.ndarray, level: int) -> None:
        """With tables that are symmetric where nothing is known of the sign, and nowhere else."""
        probabilities = np.random.default_rng(2).random((192, 13))
        probabilities[::2] += probabilities[::2, ::-1]
        choice = TABLES.choice.copy()
        choice[:, 0] &= 0xFE
        model = HyperTables(tables_of(probabilities), choice)
        of_both = (model.tables.cost_in_bits(*model.symbols_and_tables(plane, level)) for plane in (z, -z))
        one, other = of_both
        assert one == pytest.approx(other, abs=1e-3)

    def test_all_that_a_diagonal_needs_lies_on_the_diagonal_before_it(self) -> None:
        found = [list(zip(*diagonal, strict=True)) for diagonal in diagonals_of((2, 3))]
        assert found == [[(0, 0)], [(0, 1), (1, 0)], [(0, 2), (1, 1)], [(1, 2)]]

    @given(SHAPES)
    def test_every_position_is_on_one_diagonal(self, shape: tuple[int, int]) -> None:
        found = [place for diagonal in diagonals_of(shape) for place in zip(*diagonal, strict=True)]
        assert sorted(found) == list(np.ndindex(shape))


class TestTables:
    def test_each_channel_in_each_context_has_the_table_of_the_choice(self) -> None:
        z = random_hyper_latents(5)
        symbols, contexts = symbols_and_contexts(z)
        found, numbers = TABLES.symbols_and_tables(z, 96)
        assert np.array_equal(found, symbols)
        assert numbers.dtype == np.uint8
        assert numbers.shape == z.shape
        for i, j, c in np.ndindex(z.shape):
            assert numbers[i, j, c] == TABLES.choice[3, contexts[i, j, c], c]

    def test_levels_have_the_tables_of_the_nearest_node(self) -> None:
        expected = {0: 0, 15: 0, 16: 1, 32: 1, 47: 1, 48: 2, 112: 4, 207: 6, 208: 7, 224: 7}
        assert {level: nearest_node(level) for level in expected} == expected
        z = random_hyper_latents(6)
        payloads = [encode_hyper_latents(z, level, TABLES) for level in range(225)]
        assert payloads == [payloads[32 * nearest_node(level)] for level in range(225)]
        assert len(set(payloads)) == 8

    @pytest.mark.parametrize("level", [-1, 225])
    def test_levels_outside_of_the_scale_are_refused(self, level: int) -> None:
        with pytest.raises(InputError, match="level"):
            nearest_node(level)
        with pytest.raises(InputError, match="level"):
            TABLES.symbols_and_tables(random_hyper_latents(0), level)

    def test_they_come_back_from_their_arrays(self) -> None:
        again = HyperTables.from_arrays(TABLES.to_arrays())
        assert again.channels == CHANNELS
        assert again.coefficient_count == FILTER_COEFFICIENTS
        assert np.array_equal(again.choice, TABLES.choice)
        assert np.array_equal(again.of_filter, TABLES.of_filter)
        assert np.array_equal(again.tables.half_width, TABLES.tables.half_width)
        assert np.array_equal(again.tables.frequencies, TABLES.tables.frequencies)

    @pytest.mark.parametrize("name", list(TABLES.to_arrays()))
    def test_a_missing_array_is_named(self, name: str) -> None:
        arrays = TABLES.to_arrays()
        del arrays[name]
        with pytest.raises(ModelError, match=name):
            HyperTables.from_arrays(arrays)

    def test_the_tables_of_another_source_are_not_taken(self) -> None:
        own: Arrays = {CHOICE: TABLES.choice, OF_FILTER: TABLES.of_filter}
        arrays = logistic_tables().to_arrays("step0") | own
        with pytest.raises(ModelError, match="tables/hyper_latents"):
            HyperTables.from_arrays(arrays)

    @pytest.mark.parametrize(
        "choice",
        [
            TABLES.choice.astype(np.int16),
            TABLES.choice[:7],
            TABLES.choice[:, :2],
            TABLES.choice[:, :, 0],
            TABLES.choice[:, :, :0],
            TABLES.choice[np.newaxis],
            np.where(np.arange(CHANNELS) == 1, 192, TABLES.choice).astype(np.uint8),
        ],
    )
    def test_a_malformed_choice_is_refused(self, choice: np.ndarray) -> None:
        with pytest.raises(ModelError, match=CHOICE):
            HyperTables.from_arrays(TABLES.to_arrays() | {CHOICE: choice})

    @pytest.mark.parametrize(
        "of_filter",
        [
            TABLES.of_filter.astype(np.int16),
            TABLES.of_filter[np.newaxis],
            TABLES.of_filter[0],
            np.array([0, 192], np.uint8),
        ],
    )
    def test_malformed_tables_of_coefficients_are_refused(self, of_filter: np.ndarray) -> None:
        with pytest.raises(ModelError, match=OF_FILTER):
            HyperTables.from_arrays(TABLES.to_arrays() | {OF_FILTER: of_filter})

    def test_a_model_may_do_without_post_filters(self) -> None:
        none = np.zeros(0, np.uint8)
        assert HyperTables.from_arrays(TABLES.to_arrays() | {OF_FILTER: none}).coefficient_count == 0

    def test_every_table_of_the_source_may_be_chosen(self) -> None:
        highest = {CHOICE: np.full_like(TABLES.choice, 191), OF_FILTER: np.full(3, 191, np.uint8)}
        found = HyperTables.from_arrays(TABLES.to_arrays() | highest)
        assert found.choice.max() == 191
        assert found.of_filter.tolist() == [191, 191, 191]
