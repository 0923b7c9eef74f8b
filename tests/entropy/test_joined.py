"""The one payload of a joined chunk: what it saves, and what it gives when it is cut off or damaged."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.entropy import (
    PART_COUNT,
    ChunkBytes,
    EntropyModel,
    decode_chunk,
    decode_parts,
    empty_planes,
    encode_chunk,
    estimate_bits,
)
from aecodec.entropy.coder import PayloadReader
from aecodec.errors import CorruptedError
from tests.entropy import reference
from tests.entropy.helpers import (
    FILTER_COEFFICIENTS,
    random_dependent_symbols,
    random_entropy_arrays,
    random_symbols,
)

ARRAYS = random_entropy_arrays(0, first_dependent=20)
MODEL = EntropyModel.from_arrays(ARRAYS)
SEEDS = st.integers(0, 10**6)
LEVELS = st.integers(0, 224)
DEPENDENT = pytest.mark.parametrize("dependent", [False, True])


class Decoded(NamedTuple):
    """What a payload gives, part by part."""

    parts: int
    z: NDArray[np.int16]
    r: NDArray[np.int16]
    coefficients: NDArray[np.int16]


class Chunk(NamedTuple):
    """A chunk and its payload."""

    z: NDArray[np.int16]
    r: NDArray[np.int16]
    coefficients: NDArray[np.int16]
    level: int
    dependent: bool

    @classmethod
    def at_random(
        cls, seed: int, dependent: bool, level: int = 100, height: int = 1, width: int = 1, scale: float = 1.5
    ) -> Chunk:
        if dependent:
            z, r = random_dependent_symbols(seed, MODEL, level, height, width, scale)
        else:
            z, r = random_symbols(seed, MODEL, height, width, scale)
        coefficients = np.random.default_rng(seed).integers(-40, 41, FILTER_COEFFICIENTS).astype(np.int16)
        return cls(z, r, coefficients, level, dependent)

    def encoded(self, *, joined: bool = True) -> ChunkBytes:
        return encode_chunk(
            self.z,
            self.r,
            self.level,
            MODEL,
            dependent=self.dependent,
            coefficients=self.coefficients,
            joined=joined,
        )

    def payload(self) -> bytes:
        [payload] = self.encoded().payloads
        return payload

    def decoded(self, data: ChunkBytes) -> Decoded:
        z, r = empty_planes(self.z.shape[:2], MODEL)
        coefficients = np.zeros_like(self.coefficients)
        parts = decode_parts(
            data, z, r, self.level, MODEL, dependent=self.dependent, coefficients=coefficients
        )
        count = 0
        try:
            for _ in parts:
                count += 1
        except CorruptedError:
            if not data.damaged:
                raise
        return Decoded(count, z, r, coefficients)

    def check_prefix(self, found: Decoded) -> None:
        """The parts that are there are the chunk's, and the others zeros."""
        there = found.parts > 0
        assert np.array_equal(found.z, self.z * there)
        assert np.array_equal(found.coefficients, self.coefficients * there)
        of_first_steps = reference.step_of(self.r.shape) < found.parts - 1
        assert np.array_equal(found.r, np.where(of_first_steps, self.r, 0))

    def check_rest(self, found: Decoded) -> None:
        """What is not there is zero."""
        assert (found.z.shape, found.r.shape) == (self.z.shape, self.r.shape)
        assert not found.r[reference.step_of(self.r.shape) >= found.parts - 1].any()
        if not found.parts:
            assert not found.z.any()
            assert not found.coefficients.any()


def cut_off(payload: bytes, length: int) -> ChunkBytes:
    return ChunkBytes((payload[:length],), joined=True, missing=len(payload) - length)


def one_damaged(payload: bytes) -> ChunkBytes:
    return ChunkBytes((payload,), joined=True, damaged=True)


class TestWhole:
    @DEPENDENT
    @pytest.mark.parametrize("seed", range(3))
    def test_it_saves_the_states_of_six(self, seed: int, dependent: bool) -> None:
        """Between the payloads of six, five times, there are up to four bytes."""
        chunk = Chunk.at_random(seed, dependent, 60, 2, 3)
        saved = chunk.encoded(joined=False).size - chunk.encoded().size
        assert PART_COUNT - 1 <= saved <= 4 * (PART_COUNT - 1)

    @settings(max_examples=40)
    @given(SEEDS, st.booleans(), LEVELS, st.data())
    def test_a_damaged_one_never_gives_the_same_symbols(
        self, seed: int, dependent: bool, level: int, data: st.DataObject
    ) -> None:
        chunk = Chunk.at_random(seed, dependent, level)
        payload = chunk.payload()
        start = data.draw(st.integers(0, len(payload)))
        others = data.draw(st.binary(max_size=6))
        damaged = payload[:start] + others + payload[start + data.draw(st.integers(0, 6)) :]
        try:
            found = chunk.decoded(ChunkBytes((damaged,), joined=True))
        except CorruptedError:
            assert damaged != payload
            return
        assert chunk._replace(z=found.z, r=found.r, coefficients=found.coefficients).payload() == damaged
        assert found.parts == PART_COUNT

    @given(st.binary(max_size=60), LEVELS, st.booleans())
    def test_any_bytes_give_symbols_or_a_format_error(
        self, payload: bytes, level: int, dependent: bool
    ) -> None:
        data = ChunkBytes((payload,), joined=True)
        try:
            z, r = decode_chunk(data, (1, 1), level, MODEL, dependent=dependent)
        except CorruptedError:
            return
        assert encode_chunk(z, r, level, MODEL, dependent=dependent, joined=True) == data

    def test_bytes_behind_the_end_are_refused(self) -> None:
        chunk = Chunk.at_random(0, True)
        for tail in (b"\0", b"\x01", bytes(4), b"\xff" * 9):
            with pytest.raises(CorruptedError):
                chunk.decoded(ChunkBytes((chunk.payload() + tail,), joined=True))


class TestCutOff:
    @DEPENDENT
    @pytest.mark.parametrize("seed", range(2))
    def test_every_length_gives_the_first_parts(self, seed: int, dependent: bool) -> None:
        chunk = Chunk.at_random(seed, dependent)
        payload = chunk.payload()
        counts = []
        for length in range(len(payload) + 1):
            found = chunk.decoded(cut_off(payload, length))
            chunk.check_prefix(found)
            counts.append(found.parts)
        assert counts == sorted(counts)
        assert counts[:-1] == [min(count, PART_COUNT - 1) for count in counts[:-1]]
        assert set(counts) == set(range(PART_COUNT + 1))

    @settings(max_examples=60)
    @given(
        SEEDS, st.booleans(), LEVELS, st.integers(1, 3), st.sampled_from([0.05, 1.0, 30.0]), st.floats(0, 1)
    )
    def test_any_length_of_any_chunk_gives_the_first_parts(
        self, seed: int, dependent: bool, level: int, height: int, scale: float, share: float
    ) -> None:
        chunk = Chunk.at_random(seed, dependent, level, height, 2, scale)
        payload = chunk.payload()
        chunk.check_prefix(chunk.decoded(cut_off(payload, round(share * len(payload)))))

    @DEPENDENT
    def test_a_part_is_there_a_few_bytes_behind_its_end(self, dependent: bool) -> None:
        chunk = Chunk.at_random(3, dependent, 60, 2, 3)
        payload = chunk.payload()
        bits = estimate_bits(chunk.z, chunk.r, chunk.level, MODEL, dependent=dependent)
        hyper, coefficients = MODEL.hyper, chunk.coefficients.astype(np.int32)
        of_filter = hyper.tables.cost_in_bits(coefficients, hyper.of_filter).sum()
        ends = (of_filter + np.cumsum(bits)) / 8
        for part, end in enumerate(ends[:-1].tolist(), start=1):
            assert chunk.decoded(cut_off(payload, int(end) - 1)).parts < part
            assert chunk.decoded(cut_off(payload, int(end) + 16)).parts >= part

    @DEPENDENT
    def test_a_part_is_there_from_the_byte_on_that_the_format_text_names(self, dependent: bool) -> None:
        z, r, _, level, _ = Chunk.at_random(1, dependent)
        [payload] = encode_chunk(z, r, level, MODEL, dependent=dependent, joined=True).payloads

        def decoded(length: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
            return decode_chunk(cut_off(payload, length), (1, 1), level, MODEL, dependent=dependent)

        def by_the_text(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            missing = len(payload) - length
            return reference.decode_joined_chunk(payload[:length], (1, 1), level, ARRAYS, dependent, missing)

        def holds(part: int, planes: tuple[NDArray[Any], NDArray[Any]]) -> bool:
            of_part = planes[1][reference.step_of(r.shape) == part - 1] if part else planes[0]
            return bool(of_part.any())

        lengths = range(1, len(payload) + 1)
        for part in range(PART_COUNT):
            place = bisect_left(lengths, True, key=lambda length, part=part: holds(part, decoded(length)))
            assert holds(part, by_the_text(lengths[place]))
            assert not holds(part, by_the_text(lengths[place - 1]))

    @DEPENDENT
    def test_right_before_the_end_the_last_step_is_missing(self, dependent: bool) -> None:
        chunk = Chunk.at_random(4, dependent, 60, 2, 3)
        payload = chunk.payload()
        assert chunk.decoded(cut_off(payload, len(payload))).parts == PART_COUNT
        for missing in (1, 2, 3, 4):
            found = chunk.decoded(cut_off(payload, len(payload) - missing))
            chunk.check_prefix(found)
            assert found.parts == PART_COUNT - 1

    @settings(max_examples=60)
    @given(SEEDS, st.booleans(), st.data())
    def test_what_is_given_does_not_depend_on_what_is_missing(
        self, seed: int, dependent: bool, data: st.DataObject
    ) -> None:
        chunk = Chunk.at_random(seed, dependent)
        payload = chunk.payload()
        length = data.draw(st.integers(1, len(payload) - 1))
        found = chunk.decoded(cut_off(payload, length))
        others = data.draw(st.binary(min_size=len(payload) - length, max_size=len(payload) - length))
        other = chunk.decoded(one_damaged(payload[:length] + others))
        assert other.parts >= found.parts
        assert np.array_equal(other.z * (found.parts > 0), found.z)
        of_first_steps = reference.step_of(chunk.r.shape) < found.parts - 1
        assert np.array_equal(np.where(of_first_steps, other.r, 0), found.r)

    @given(st.binary(min_size=1, max_size=60), st.integers(1, 50), LEVELS, st.booleans())
    def test_the_beginning_of_any_bytes_gives_parts_or_a_format_error(
        self, payload: bytes, missing: int, level: int, dependent: bool
    ) -> None:
        chunk = Chunk.at_random(0, dependent, level)
        try:
            found = chunk.decoded(ChunkBytes((payload,), joined=True, missing=missing))
        except CorruptedError:
            return
        chunk.check_rest(found)

    def test_a_chunk_of_zeros_but_for_its_hyper_latents_is_cut_off_in_them(self) -> None:
        chunk = Chunk.at_random(5, False, 60, 2, 3)
        chunk = chunk._replace(r=0 * chunk.r)
        payload = chunk.payload()
        for length in range(len(payload)):
            assert chunk.decoded(cut_off(payload, length)).parts == 0
        chunk.check_prefix(chunk.decoded(cut_off(payload, len(payload))))


class TestDamaged:
    @DEPENDENT
    def test_one_that_is_whole_after_all_gives_everything(self, dependent: bool) -> None:
        """What is damaged may be the checksum."""
        chunk = Chunk.at_random(6, dependent, 60, 2, 3)
        found = chunk.decoded(one_damaged(chunk.payload()))
        chunk.check_prefix(found)
        assert found.parts == PART_COUNT

    @DEPENDENT
    def test_parts_before_the_damage_are_right(self, dependent: bool) -> None:
        chunk = Chunk.at_random(7, dependent, 60, 2, 3)
        payload = chunk.payload()
        for share in (0.3, 0.5, 0.7, 0.95):
            place = int(share * len(payload))
            undamaged = chunk.decoded(cut_off(payload, place)).parts
            assert undamaged > 0
            damaged = bytes(byte ^ 0xFF if number == place else byte for number, byte in enumerate(payload))
            found = chunk.decoded(one_damaged(damaged))
            assert found.parts >= undamaged
            assert np.array_equal(found.z, chunk.z)
            of_first_steps = reference.step_of(chunk.r.shape) < undamaged - 1
            assert np.array_equal(found.r[of_first_steps], chunk.r[of_first_steps])
            assert not np.array_equal(found.r, chunk.r)

    @settings(max_examples=60)
    @given(SEEDS, st.booleans(), st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=5))
    def test_it_gives_something(self, seed: int, dependent: bool, changes: list[tuple[int, int]]) -> None:
        chunk = Chunk.at_random(seed, dependent)
        damaged = bytearray(chunk.payload())
        for place, value in changes:
            damaged[place % len(damaged)] = value
        found = chunk.decoded(one_damaged(bytes(damaged)))
        chunk.check_rest(found)

    @given(st.binary(max_size=60), LEVELS, st.booleans())
    def test_any_bytes_give_something(self, payload: bytes, level: int, dependent: bool) -> None:
        chunk = Chunk.at_random(0, dependent, level)
        chunk.check_rest(chunk.decoded(one_damaged(payload)))

    def test_one_that_begins_with_a_zero_gives_nothing(self) -> None:
        chunk = Chunk.at_random(8, True)
        found = chunk.decoded(one_damaged(b"\0" + bytes(range(1, 40))))
        chunk.check_rest(found)
        assert found.parts == 0


def test_a_reader_of_a_whole_payload_is_never_past_the_cut() -> None:
    chunk = Chunk.at_random(9, False)
    reader = PayloadReader(chunk.encoded(joined=False).payloads[0])
    found = np.zeros(FILTER_COEFFICIENTS, np.int16)
    assert not reader.past_the_cut
    assert np.array_equal(reader.pull_hyper_latents((1, 1), chunk.level, MODEL.hyper, found), chunk.z)
    assert not reader.past_the_cut
    reader.finish()
