from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aecodec.entropy import (
    MAX_ROWS,
    STATE_COUNT,
    EntropyModel,
    Lanes,
    Tables,
    encode_residuals,
    logistic_tables,
    next_state,
)
from aecodec.entropy.coder import symbols_and_tables
from aecodec.entropy.dependent import advanced, residuals_of
from aecodec.errors import CorruptedError, InputError
from tests.entropy import reference
from tests.entropy.helpers import decode_wave, of_lanes, one_wave, random_entropy_arrays

STATES = np.arange(STATE_COUNT, dtype=np.uint8)
#: By state, then by parity of the symbol.
NEXT_STATE = [[next_state(state, parity) for parity in (0, 1)] for state in range(STATE_COUNT)]
FIRST = st.integers(0, 64)
COUNTS = st.one_of(st.integers(0, 5), st.sampled_from([255, 256, 257, 512, 513]), st.integers(0, 3000))
#: Magnitudes of symbols, of which dependent residuals take up to 3276.
SCALES = st.sampled_from([0.0, 0.5, 3.0, 200.0])


def tables_of(first_dependent: int, *, narrow: bool = False) -> Tables:
    """The same tables with another bound; narrow ones have many escapes."""
    if narrow:
        return reference.plain_tables(first_dependent)
    return Tables(LOGISTIC.half_width, LOGISTIC.frequencies, first_dependent)


LOGISTIC = logistic_tables()


def random_step(
    seed: int, count: int, scale: float, tables: Tables, *, dependent: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols of a step in coding order, the residuals that they stand for, and their indices."""
    random = np.random.default_rng(seed)
    indices = random.integers(0, 64, count).astype(np.uint8)
    symbols = np.rint(random.laplace(0, scale, count)).clip(-3276, 3276).astype(np.int32)
    residuals = 8 * symbols
    if dependent:
        lanes = Lanes.of(indices, tables.first_dependent)
        residuals[lanes.order] = of_lanes(lanes, symbols[lanes.order])
    return symbols, residuals.astype(np.int16), indices


def free_distance() -> int:
    """The least squared distance, in places of the fine grid, of two sequences of points that leave a state
    by different ways, up to where they meet again.
    """
    # Places modulo 4 of the positive points: 2 k of quantiser 0, and 2 k - 1 of quantiser 1.
    moves = [
        [(goal, (2 * parity - state % 2) % 4) for parity, goal in enumerate(NEXT_STATE[state])]
        for state in range(STATE_COUNT)
    ]
    queue = [(4, *goals) for goals in NEXT_STATE]
    heapq.heapify(queue)
    done: set[tuple[int, int]] = set()
    while True:
        distance, *states = heapq.heappop(queue)
        one, other = sorted(states)
        if one == other:
            return distance
        if (one, other) in done:
            continue
        done.add((one, other))
        for goal, place in moves[one]:
            for of_other, place_of_other in moves[other]:
                apart = abs(place - place_of_other)
                heapq.heappush(queue, (distance + min(apart, 4 - apart) ** 2, goal, of_other))


class TestStates:
    def test_they_are_those_of_the_format_text(self) -> None:
        assert [[reference.next_state(state, k) for k in (0, 1)] for state in range(128)] == NEXT_STATE

    def test_each_state_leads_to_two_and_comes_from_two_of_one_quantiser(self) -> None:
        for goal in range(STATE_COUNT):
            former = [state for state in range(STATE_COUNT) if goal in NEXT_STATE[state]]
            assert len(former) == 2
            assert former[0] % 2 == former[1] % 2
        assert all(even % 2 != odd % 2 for even, odd in NEXT_STATE)

    def test_from_each_state_all_are_reached_in_seven_symbols(self) -> None:
        for state in range(STATE_COUNT):
            reached = {state}
            for _ in range(7):
                reached = {goal for former in reached for goal in NEXT_STATE[former]}
            assert reached == set(range(STATE_COUNT))

    def test_sequences_that_part_are_as_far_apart_as_two_points_with_the_same_next_state(self) -> None:
        # Those are 4 places of the fine grid apart, and with fewer states no sequences are (Ungerboeck 1982).
        assert free_distance() == 4**2

    def test_the_parity_of_the_symbol_chooses_the_next_state(self) -> None:
        for symbol in (-3, -2, -1, 0, 1, 2, 3276):
            expected = [of_state[symbol % 2] for of_state in NEXT_STATE]
            assert advanced(STATES, np.full(STATE_COUNT, symbol, np.int32)).tolist() == expected

    def test_points_of_the_two_quantisers(self) -> None:
        symbols = np.arange(-3, 4, dtype=np.int32)
        even, odd = (residuals_of(symbols, np.full(7, quantiser, np.uint8)) for quantiser in (0, 1))
        assert even.tolist() == [-30, -20, -10, 0, 10, 20, 30]
        assert odd.tolist() == [-25, -15, -5, 0, 5, 15, 25]


class TestLanes:
    @pytest.mark.parametrize(
        ("count", "columns", "rows"), [(0, 0, 0), (1, 1, 1), (256, 1, 256), (257, 2, 129), (1000, 4, 250)]
    )
    def test_rows_and_columns(self, count: int, columns: int, rows: int) -> None:
        lanes = Lanes.of(np.full(count, 63, np.uint8), 17)
        assert (lanes.columns, len(lanes.rows)) == (columns, rows)
        assert len(lanes.rows) <= MAX_ROWS
        elements = [number for row in lanes.rows for number in range(row.start, row.stop)]
        assert elements == list(range(count))
        assert all(row.stop - row.start == columns for row in lanes.rows[:-1])

    @given(st.lists(st.integers(0, 63), max_size=300), FIRST)
    def test_they_hold_small_indices_first_in_coding_order(self, indices: list[int], first: int) -> None:
        lanes = Lanes.of(np.array(indices, np.uint8), first)
        numbers = sorted(range(len(indices)), key=lambda number: (indices[number], number))
        expected = [number for number in numbers if indices[number] >= first]
        assert lanes.order.tolist() == expected
        assert lanes.indices.tolist() == [indices[number] for number in expected]

    @given(st.integers(0, 10**6), COUNTS, SCALES)
    def test_residuals_tell_their_symbols_and_tables(self, seed: int, count: int, scale: float) -> None:
        tables = tables_of(0)
        symbols, residuals, indices = random_step(seed, count, scale, tables, dependent=True)
        lanes = Lanes.of(indices, 0)
        found, numbers = lanes.trace(residuals[lanes.order])
        assert np.array_equal(found, symbols[lanes.order])
        assert np.array_equal(numbers % 64, lanes.indices)
        assert np.all(numbers >= 64)
        for column in range(min(lanes.columns, 3)):
            state = 0
            for element in range(column, count, lanes.columns):
                assert numbers[element] // 64 == 1 + state % 2
                state = next_state(state, int(found[element]) % 2)

    @given(st.integers(0, 10**6), st.integers(1, 2000), st.integers(-4, 4).filter(bool))
    def test_what_lies_between_points_is_refused(self, seed: int, count: int, offset: int) -> None:
        _, residuals, indices = random_step(seed, count, 2.0, tables_of(0), dependent=True)
        lanes = Lanes.of(indices, 0)
        ordered = residuals[lanes.order]
        ordered[seed % count] += offset
        with pytest.raises(InputError, match="points of the quantiser"):
            lanes.trace(ordered)

    def test_a_point_of_the_quantiser_that_is_not_in_turn_is_refused(self) -> None:
        lanes = Lanes.of(np.full(2, 40, np.uint8), 0)
        assert lanes.trace(np.array([10, -15], np.int16))[0].tolist() == [1, -2]
        for residuals in ([10, -20], [5, 0]):
            with pytest.raises(InputError, match="points of the quantiser"):
                lanes.trace(np.array(residuals, np.int16))


class TestCoding:
    @settings(max_examples=60)
    @given(st.integers(0, 10**6), COUNTS, SCALES, FIRST, st.booleans(), st.booleans())
    @example(0, 3000, 200.0, 0, True, True)
    @example(0, 0, 1.0, 0, True, False)
    def test_residuals_come_back(
        self, seed: int, count: int, scale: float, first: int, dependent: bool, narrow: bool
    ) -> None:
        tables = tables_of(first, narrow=narrow)
        _, residuals, indices = random_step(seed, count, scale, tables, dependent=dependent)
        payload = encode_residuals(one_wave(residuals, indices), tables, dependent=dependent)
        found = decode_wave(payload, indices, tables, dependent=dependent)
        assert found.dtype == np.int16
        assert np.array_equal(found, residuals)
        assert not payload.endswith(b"\0")

    @settings(max_examples=30)
    @given(st.integers(0, 10**6), st.integers(0, 1000), SCALES, FIRST, st.booleans())
    def test_payloads_are_those_of_the_format_text(
        self, seed: int, count: int, scale: float, first: int, dependent: bool
    ) -> None:
        tables = tables_of(first, narrow=True)
        symbols, residuals, indices = random_step(seed, count, scale, tables, dependent=dependent)
        expected = reference.residuals_of(symbols.tolist(), indices.tolist(), first if dependent else 64)
        assert residuals.tolist() == expected
        payload = encode_residuals(one_wave(residuals, indices), tables, dependent=dependent)
        assert payload == reference.encode_step(symbols.tolist(), indices.tolist(), tables, dependent)
        assert reference.decode_step(payload, indices.tolist(), tables, dependent) == expected

    @given(st.integers(0, 10**6), st.integers(0, 500), FIRST)
    def test_where_no_index_is_large_both_files_are_the_same(self, seed: int, count: int, first: int) -> None:
        tables = tables_of(first)
        _, residuals, indices = random_step(seed, count, 3.0, tables, dependent=False)
        small = np.minimum(indices, max(first - 1, 0)).astype(np.uint8) if first else indices[:0]
        plain, other = (
            encode_residuals(one_wave(residuals[: len(small)], small), tables, dependent=dependent)
            for dependent in (False, True)
        )
        assert plain == other

    @pytest.mark.parametrize("dependent", [False, True])
    def test_zeros_cost_nothing(self, dependent: bool) -> None:
        indices = (np.arange(5000) % 64).astype(np.uint8)
        zeros = np.zeros(5000, np.int16)
        assert encode_residuals(one_wave(zeros, indices), tables_of(17), dependent=dependent) == b""
        found = decode_wave(b"", indices, tables_of(17), dependent=dependent)
        assert found.dtype == np.int16
        assert not found.any()

    def test_the_payload_is_as_long_as_its_symbols_cost(self) -> None:
        tables = tables_of(17)
        _, residuals, indices = random_step(1, 20_000, 3.0, tables, dependent=True)
        symbols, numbers = symbols_and_tables(residuals, indices, tables, dependent=True)
        bits = tables.cost_in_bits(symbols, numbers).sum()
        payload = encode_residuals(one_wave(residuals, indices), tables, dependent=True)
        assert abs(8 * len(payload) - bits) < 32

    @given(st.binary(max_size=80), st.lists(st.integers(0, 63), max_size=300), FIRST, st.booleans())
    @example(b"\xff" * 300, [63] * 260, 0, True)
    @example(b"\x01", [], 0, True)
    @example(b"\0", [40], 17, True)
    def test_any_bytes_give_residuals_or_a_format_error(
        self, data: bytes, indices: list[int], first: int, dependent: bool
    ) -> None:
        of_tables = np.array(indices, np.uint8)
        for tables in (tables_of(first), tables_of(first, narrow=True)):
            try:
                residuals = decode_wave(data, of_tables, tables, dependent=dependent)
            except CorruptedError:
                continue
            assert encode_residuals(one_wave(residuals, of_tables), tables, dependent=dependent) == data

    @given(st.integers(0, 10**6), st.integers(1, 600), SCALES, st.booleans(), st.data())
    def test_damaged_payloads_never_decode_to_the_same_residuals(
        self, seed: int, count: int, scale: float, dependent: bool, data: st.DataObject
    ) -> None:
        tables = tables_of(17, narrow=True)
        _, residuals, indices = random_step(seed, count, scale, tables, dependent=dependent)
        payload = encode_residuals(one_wave(residuals, indices), tables, dependent=dependent)
        cut = data.draw(st.integers(0, len(payload)))
        behind = payload[cut + data.draw(st.integers(0, 6)) :]
        damaged = payload[:cut] + data.draw(st.binary(max_size=6)) + behind
        try:
            decoded = decode_wave(damaged, indices, tables, dependent=dependent)
        except CorruptedError:
            assert damaged != payload
            return
        assert np.array_equal(decoded, residuals) == (damaged == payload)

    @pytest.mark.parametrize(
        ("symbol", "index", "dependent"), [(4096, 16, True), (4096, 63, False), (3277, 17, True)]
    )
    @pytest.mark.parametrize("sign", [1, -1])
    def test_residuals_beyond_their_range_are_refused(
        self, symbol: int, index: int, dependent: bool, sign: int
    ) -> None:
        tables, indices = reference.plain_tables(17), np.array([index], np.uint8)
        largest = reference.encode_step([sign * (symbol - 1)], [index], tables, dependent)
        found = decode_wave(largest, indices, tables, dependent=dependent)
        assert encode_residuals(one_wave(found, indices), tables, dependent=dependent) == largest
        beyond = reference.encode_step([sign * symbol], [index], tables, dependent)
        with pytest.raises(CorruptedError, match="32767"):
            decode_wave(beyond, indices, tables, dependent=dependent)

    @pytest.mark.parametrize("dependent", [False, True])
    def test_residuals_that_are_no_points_are_refused(self, dependent: bool) -> None:
        tables, indices = tables_of(17), np.array([3, 40], np.uint8)
        expected = "multiples of 8" if not dependent else "points of the quantiser"
        with pytest.raises(InputError, match=expected):
            encode_residuals(one_wave(np.array([8, 5], np.int16), indices), tables, dependent=dependent)
        with pytest.raises(InputError, match="multiples of 8"):
            encode_residuals(one_wave(np.array([5, 0], np.int16), indices), tables, dependent=dependent)

    def test_arrays_that_do_not_fit_are_refused(self) -> None:
        tables, indices = tables_of(17), np.zeros(3, np.uint8)
        unfit: list[np.ndarray] = [np.zeros(2, np.int16), np.zeros(3), np.full(3, -32768, np.int16)]
        for residuals in unfit:
            with pytest.raises(InputError):
                encode_residuals(one_wave(residuals, indices), tables, dependent=True)
        unknown: list[np.ndarray] = [np.array([64], np.uint8), np.zeros(1, int), np.zeros((1, 1), np.uint8)]
        for bad in unknown:
            with pytest.raises(InputError):
                decode_wave(b"", bad, tables, dependent=True)


def test_the_first_dependent_index_is_the_models() -> None:
    model = EntropyModel.from_arrays(random_entropy_arrays(first_dependent=33))
    assert model.first_dependent == 33
    assert [tables.first_dependent for tables in model.steps] == [33] * 5
