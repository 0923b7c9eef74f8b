"""Table indices of the first two steps, corrected from wave to wave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.entropy import (
    WAVE_COUNT,
    Adaptation,
    ChunkIndices,
    CodedStep,
    EntropyModel,
    SurprisePlanes,
    encode_chunk,
    encode_residuals,
    fixed_residuals,
    in_wave,
    take_step,
)
from aecodec.entropy.adaptation import BAND, Places
from aecodec.entropy.coder import PayloadReader
from aecodec.errors import CorruptedError, ModelError
from tests.entropy import reference
from tests.entropy.helpers import random_adaptation, random_entropy_arrays, random_symbols

ARRAYS = random_entropy_arrays(0)
MODEL = EntropyModel.from_arrays(ARRAYS)
LEVEL = 130


def indices_of(
    z: NDArray[np.int16], r: NDArray[np.int16], model: EntropyModel = MODEL
) -> list[NDArray[np.uint8]]:
    """Those of each step in coding order."""
    chunk = ChunkIndices(z, LEVEL, model.scale_network, model.adaptation)
    found = []
    for step in range(5):
        coded = chunk.code(step, chunk.of_network(step, r), fixed_residuals(take_step(r, step).ravel()))
        indices = np.empty(coded.residuals.size, np.uint8)
        for places, of_wave in coded.waves:
            indices[places] = of_wave
        found.append(indices)
    return found


def expected_of(z: NDArray[np.int16], r: NDArray[np.int16]) -> list[NDArray[np.uint8]]:
    """Those that the scale network gives."""
    chunk = ChunkIndices(z, LEVEL, MODEL.scale_network, MODEL.adaptation)
    return [chunk.of_network(step, r).ravel() for step in range(5)]


def test_waves_are_rows_of_one_parity_and_cells_of_one_colour() -> None:
    waves = sum(wave * in_wave(wave, 6, 5).astype(int) for wave in range(WAVE_COUNT))
    assert np.array_equal(waves[:4], [[0, 1, 0, 1, 0], [2, 3, 2, 3, 2], [1, 0, 1, 0, 1], [3, 2, 3, 2, 3]])
    assert np.array_equal(sum(in_wave(wave, 6, 5).astype(int) for wave in range(WAVE_COUNT)), np.ones((6, 5)))


def test_waves_are_those_of_the_second_coder() -> None:
    of_plane = reference.wave_of((8, 12, 16))
    for step in (0, 1):
        waves = take_step(of_plane, step)
        for wave in range(WAVE_COUNT):
            assert np.array_equal(waves[:, :, 0] == wave, in_wave(wave, *waves.shape[:2]))


@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=6)
def test_indices_are_those_of_the_second_coder(seed: int, height: int, width: int) -> None:
    arrays = random_entropy_arrays(seed, latent_channels=32)
    model = EntropyModel.from_arrays(arrays)
    z, r = random_symbols(seed, model, height, width)
    expected: list[list[int]] = [[] for _ in range(5)]

    def keep(step: int, indices: list[int], coded: NDArray[np.bool_]) -> list[int]:
        expected[step] += indices
        return [int(residual) for residual in r[coded]]

    reference.walk_chunk(z, LEVEL, arrays, keep)
    chunk = ChunkIndices(z, LEVEL, model.scale_network, model.adaptation)
    for step in range(5):
        coded = chunk.code(step, chunk.of_network(step, r), fixed_residuals(take_step(r, step).ravel()))
        assert np.concatenate([indices for _, indices in coded.waves]).tolist() == expected[step]


def test_the_first_two_steps_alone_have_waves() -> None:
    z, r = random_symbols(1, MODEL)
    chunk = ChunkIndices(z, LEVEL, MODEL.scale_network, MODEL.adaptation)
    calls: list[int] = []

    def choose(places: Places, indices: NDArray[np.uint8]) -> NDArray[np.int16]:
        calls.append(len(indices))
        return np.zeros(len(indices), np.int16)

    for step in range(5):
        chunk.code(step, chunk.of_network(step, r), choose)
    eighth = r.size // 8
    assert calls == 8 * [eighth // 4] + 3 * [2 * eighth]


def test_residuals_come_back_in_coding_order() -> None:
    z, r = random_symbols(2, MODEL)
    chunk = ChunkIndices(z, LEVEL, MODEL.scale_network, MODEL.adaptation)
    for step in range(5):
        of_step = take_step(r, step).ravel()
        coded = chunk.code(step, chunk.of_network(step, r), fixed_residuals(of_step))
        assert np.array_equal(coded.residuals, of_step)


def test_without_weights_the_indices_are_the_scale_networks() -> None:
    z, r = random_symbols(3, MODEL)
    model = replace(MODEL, adaptation=Adaptation.neutral(4))
    for found, expected in zip(indices_of(z, r, model), expected_of(z, r), strict=True):
        assert np.array_equal(found, expected)


def test_the_first_two_steps_move_by_what_was_found_and_the_others_do_not() -> None:
    z, r = random_symbols(3, MODEL)
    moved = [
        not np.array_equal(found, expected)
        for found, expected in zip(indices_of(z, r), expected_of(z, r), strict=True)
    ]
    assert moved == [True, True, False, False, False]


@pytest.mark.parametrize("sign", [1, -1])
def test_more_than_expected_moves_indices_by_the_sign_of_the_weights(sign: int) -> None:
    z, r = random_symbols(3, MODEL)
    neutral = Adaptation.neutral(4)
    expected = np.full_like(neutral.expected, 64)  # half a step
    weight = np.full_like(neutral.weight, sign * 40)
    model = replace(MODEL, adaptation=Adaptation(expected, weight, neutral.bias, 10))
    r[...] = 160
    larger, base = indices_of(z, r, model), expected_of(z, r)
    assert np.all(sign * (larger[0].astype(int) - base[0]) >= 0)
    assert np.any(larger[0] != base[0])
    r[...] = 0
    smaller, base = indices_of(z, r, model), expected_of(z, r)
    assert np.all(sign * (smaller[0].astype(int) - base[0]) <= 0)
    assert np.any(smaller[0] != base[0])


def test_a_wave_knows_nothing_of_itself_and_of_later_ones() -> None:
    z, r = random_symbols(4, MODEL, 2, 2)
    before = indices_of(z, r)
    waves = reference.wave_of(r.shape)
    steps = reference.step_of(r.shape)
    for step in (0, 1):
        for wave in range(WAVE_COUNT):
            changed = r.copy()
            changed[(steps == step) & (waves == wave)] += 800
            after = indices_of(z, changed)
            of_wave = take_step(waves, step).ravel()
            same = after[step] == before[step]
            assert same[of_wave <= wave].all()
            assert wave == WAVE_COUNT - 1 or not same.all()
            assert step == 0 or np.array_equal(after[0], before[0])


def test_residuals_count_by_magnitude_up_to_eight_steps() -> None:
    z, r = random_symbols(5, MODEL)
    capped = np.sign(r) * np.minimum(np.abs(r), 64)
    for step in (0, 1):  # the scale network sees larger ones too: it is left out
        base = expected_of(z, r)[step].reshape(take_step(r, step).shape)
        chunks = [ChunkIndices(z, LEVEL, MODEL.scale_network, MODEL.adaptation) for _ in range(3)]
        found = []
        for chunk, plane in zip(chunks, (r, capped, -r), strict=True):
            for former in range(step):
                chunk.code(former, base, fixed_residuals(take_step(plane, former).ravel()))
            found.append(chunk.code(step, base, fixed_residuals(take_step(plane, step).ravel())).waves)
        for waves in zip(*found, strict=True):
            assert all(np.array_equal(indices, waves[0][1]) for _, indices in waves)


def test_arrays_come_back() -> None:
    adaptation = random_adaptation(7, 20)
    found = Adaptation.from_arrays(adaptation.to_arrays())
    for name, array in adaptation.to_arrays().items():
        assert np.array_equal(found.to_arrays()[name], array)
    assert found.group_size == 20


def malformed() -> list[tuple[str, dict[str, Any]]]:
    good = random_adaptation(0, 4).to_arrays()
    cases: list[tuple[str, str, NDArray[Any]]] = [
        ("int16", "expected", good["adaptation/expected"].astype(np.int32)),
        ("2, 64", "expected", good["adaptation/expected"][:1]),
        ("0..1024", "expected", np.full((2, 64), 1025, np.int16)),
        ("0..1024", "expected", np.full((2, 64), -1, np.int16)),
        ("int8", "weight", good["adaptation/weight"].astype(np.int16)),
        ("2, 4, 4, 2", "weight", good["adaptation/weight"][..., :-1]),
        (f"bands of {BAND}", "weight", np.zeros((2, 4, 5, 2), np.int8)),
        ("bands", "weight", np.zeros((2, 4, 0, 1), np.int8)),
        ("int32", "bias", good["adaptation/bias"].astype(np.int64)),
        ("2, 4, 4", "bias", good["adaptation/bias"][..., :-1]),
        ("below 2", "bias", np.full((2, 4, 4), 2**24, np.int32)),
        ("int32", "shift", np.array(10, np.int64)),
        ("int32", "shift", np.array([10], np.int32)),
        ("1..16", "shift", np.array(0, np.int32)),
        ("1..16", "shift", np.array(17, np.int32)),
    ]
    return [(match, good | {f"adaptation/{name}": array}) for match, name, array in cases]


@pytest.mark.parametrize(("match", "arrays"), malformed())
def test_malformed_arrays_are_refused(match: str, arrays: dict[str, Any]) -> None:
    if arrays["adaptation/weight"].shape[2] in (0, 5):
        arrays["adaptation/bias"] = np.zeros(arrays["adaptation/weight"].shape[:3], np.int32)
    with pytest.raises(ModelError, match=match):
        Adaptation.from_arrays(arrays)


@pytest.mark.parametrize(("shift", "channels"), [(16, 80), (1, 4)])
def test_at_the_bound_indices_are_still_exact(shift: int, channels: int) -> None:
    weight = np.full((2, 4, channels, channels // BAND + 1), 127, np.int8)
    room = 2**24 - 1 - 127 * 127 * weight.shape[-1] - 2 ** (shift - 1)
    bias = np.full((2, 4, channels), -room, np.int32)
    adaptation = Adaptation(np.zeros((2, 64), np.int16), weight, bias, shift)
    planes = SurprisePlanes(8, 8, adaptation)
    of_network = np.full((8, 4, channels), 63, np.uint8)
    planes.begin(0, of_network)
    random = np.random.default_rng(0)
    planes.learn(0, 0, random.integers(-99, 100, of_network.shape).astype(np.int16))
    of_bands, own = (plane.astype(np.int64) for plane in planes.surprises(0, 1))
    sums = -room + of_bands @ np.full((channels // BAND, channels), 127) + 127 * own
    expected = np.clip(63 + ((sums + 2 ** (shift - 1)) >> shift), 0, 63)
    assert np.array_equal(planes.corrected(0, 1, of_network)[::2], expected)
    with pytest.raises(ModelError, match="below 2"):
        replace(adaptation, bias=bias - 1)


def test_a_payload_that_ends_between_waves_is_told_from_a_whole_one() -> None:
    tables = MODEL.steps[0]
    indices = np.full(40, 20, np.uint8)
    halves = tuple((np.arange(start, start + 20), indices[:20]) for start in (0, 20))
    residuals = np.random.default_rng(0).integers(-9, 10, 40).astype(np.int16) * 8
    residuals[30] = 8 * 3000  # an escape in the second wave
    data = encode_residuals(CodedStep(residuals, halves), tables, dependent=False)
    reader = PayloadReader(data)
    assert np.array_equal(reader.pull_wave(indices[:20], tables, dependent=False), residuals[:20])
    with pytest.raises(CorruptedError, match="use up a payload"):
        reader.finish()
    assert np.array_equal(reader.pull_wave(indices[:20], tables, dependent=False), residuals[20:])
    reader.finish()


@pytest.mark.parametrize("name", ["expected", "weight", "bias", "shift"])
def test_missing_arrays_are_refused(name: str) -> None:
    arrays = random_adaptation(0, 4).to_arrays()
    del arrays[f"adaptation/{name}"]
    with pytest.raises(ModelError, match=f"adaptation/{name}"):
        Adaptation.from_arrays(arrays)


def test_an_adaptation_for_other_groups_is_refused() -> None:
    with pytest.raises(ModelError, match="groups of 4 channels"):
        EntropyModel.from_arrays(ARRAYS | random_adaptation(0, 8).to_arrays())


def test_the_adaptation_shows_in_the_bytes_of_the_first_two_steps_alone() -> None:
    z, r = random_symbols(6, MODEL)
    other = replace(MODEL, adaptation=random_adaptation(1, 4))
    one, two = (encode_chunk(z, r, LEVEL, model, dependent=False).payloads for model in (MODEL, other))
    assert [a != b for a, b in zip(one, two, strict=True)] == [False, True, True, False, False, False]
