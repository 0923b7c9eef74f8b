"""Efforts above 1: better latents and hyper-latents, in an ordinary file with post-filters."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("keras", reason="the search needs Keras")

from aecodec import refinement
from aecodec.codec import decode, encode
from aecodec.container import read_header
from aecodec.entropy.scales import STEP_COUNT
from aecodec.errors import InputError
from aecodec.models import Model
from aecodec.networks.architecture import Architecture
from aecodec.networks.refinement import weight_of_level
from aecodec.refinement import Refinement
from aecodec.residuals import ResidualCoder, SettledSteps
from aecodec.targets import peak_signal_to_noise_ratio
from tests.helpers import all_symbols, photograph

LEVEL = 96


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few iterations, and parts so small that a small picture has several."""
    monkeypatch.setattr(refinement, "EFFORT_ITERATIONS", (0, 0, 6, 60))
    monkeypatch.setattr(refinement, "_PART_SIDE", 256)


def cost(data: bytes, picture: NDArray[np.uint8], model: Model) -> float:
    """Bits plus weighted distortion of a file, as the search sees them."""
    weight = float(weight_of_level(Architecture.from_dict(model.manifest["architecture"]), LEVEL))
    error = (decode(data, model=model).astype(float) - picture) ** 2
    return 8 * len(data) + weight * float(error.sum()) / 3


def test_a_squared_error_counts_what_it_did_in_training(tiny_model: Model) -> None:
    architecture = Architecture.from_dict(tiny_model.manifest["architecture"])
    for level in (0, LEVEL, 224):
        assert tiny_model.lambda_of_level(level) == pytest.approx(architecture.lambda_of_level(level))


def test_a_picture_of_several_parts_costs_less_with_more_effort(tiny_model: Model) -> None:
    picture = photograph(200, 330)
    files = [encode(picture, level=LEVEL, effort=effort, model=tiny_model) for effort in (0, 1, 3)]
    costs = [cost(data, picture, tiny_model) for data in files]
    assert costs[2] < costs[1] < costs[0]


def test_no_effort_makes_a_chunk_cost_more(tiny_model: Model) -> None:
    """The coding that was seen to cost least is kept, the first one included."""
    for seed in range(3):
        picture = photograph(64, 128, seed)
        files = [encode(picture, level=LEVEL, effort=effort, model=tiny_model) for effort in (0, 1, 2)]
        costs = [cost(data, picture, tiny_model) for data in files]
        # Real pixels are rounded, which the search does not see.
        assert costs[1] <= costs[0] * 1.002
        assert costs[2] <= costs[1] * 1.002


@pytest.mark.parametrize("effort", [0, 1, 2])
def test_files_of_any_effort_are_of_one_kind_but_for_post_filters(effort: int, tiny_model: Model) -> None:
    data = encode(photograph(70, 140), level=LEVEL, effort=effort, model=tiny_model, chunk_side=64)
    assert read_header(data).dependent
    assert read_header(data).filtered == (effort > 0)
    found = all_symbols(data, tiny_model)
    assert len(found) == 6
    assert all((chunk.coefficients is not None) == (effort > 0) for chunk in found)


def test_effort_1_changes_no_symbol(tiny_model: Model) -> None:
    plain, filtered = (
        all_symbols(encode(photograph(70, 140), 60, effort=effort, model=tiny_model), tiny_model)
        for effort in (0, 1)
    )
    for one, other in zip(plain, filtered, strict=True):
        assert np.array_equal(one.z, other.z)
        assert np.array_equal(one.r, other.r)


def test_a_search_moves_latents_and_hyper_latents(tiny_model: Model) -> None:
    picture = photograph(128, 192)
    [plain], [searched] = (
        all_symbols(encode(picture, level=LEVEL, effort=effort, model=tiny_model), tiny_model)
        for effort in (0, 3)
    )
    assert np.any(searched.z != plain.z)
    assert np.mean(searched.r != plain.r) > 0.01


def test_steps_are_settled_one_after_the_other(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a step is settled, the hyper-latents stay."""
    seen: list[tuple[int, NDArray[np.int16]]] = []
    encode_chunk = ResidualCoder.encode

    def noted(self: ResidualCoder, *arguments: object, **options: object) -> object:
        settled, z = options.get("settled"), options.get("z")
        if isinstance(settled, SettledSteps) and isinstance(z, np.ndarray):
            seen.append((settled.count, z))
        return encode_chunk(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ResidualCoder, "encode", noted)
    encode(photograph(64, 64), level=LEVEL, effort=3, model=tiny_model)
    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert set(counts) == set(range(STEP_COUNT))
    assert len(counts) == 60
    assert [counts.count(settled) for settled in range(STEP_COUNT)] == [
        count for _, count in refinement._schedule(60)
    ]
    kept = {z.tobytes() for count, z in seen if count}
    assert len(kept) == 1
    assert len({z.tobytes() for count, z in seen if not count}) > 1


@pytest.mark.parametrize("iterations", [1, 4, 6, 25, 80, 250])
def test_a_schedule_has_all_iterations(iterations: int) -> None:
    stages = refinement._schedule(iterations)
    assert [settled for settled, _ in stages] == list(range(STEP_COUNT))
    assert sum(count for _, count in stages) == iterations
    assert all(count >= 0 for _, count in stages)
    assert stages[0][1] >= iterations / 3


def test_chunks_are_searched_one_by_one(tiny_model: Model) -> None:
    """What lies in other chunks changes none of a chunk's symbols but through the analysis beside it."""
    first = photograph(64, 384)
    second = first.copy()
    second[:, 320:] = 255 - second[:, 320:]
    found = [
        all_symbols(encode(picture, 60, effort=2, model=tiny_model, chunk_side=64), tiny_model)
        for picture in (first, second)
    ]
    same = [
        all(np.array_equal(*parts) for parts in zip(one, other, strict=True))
        for one, other in zip(*found, strict=True)
    ]
    assert same[0]
    assert not same[-1]


@pytest.mark.parametrize("effort", [1, 2])
def test_bytes_are_the_same_from_run_to_run(effort: int, tiny_model: Model) -> None:
    picture = photograph(100, 130)
    files = {encode(picture, 60, effort=effort, model=tiny_model, jobs=jobs) for jobs in (1, 2)}
    assert len(files) == 1


@pytest.mark.parametrize("effort", [1, 2])
def test_progress_reaches_its_total(effort: int, tiny_model: Model) -> None:
    calls: list[tuple[int, int]] = []
    encode(
        photograph(70, 300),
        effort=effort,
        model=tiny_model,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))


@pytest.mark.parametrize("effort", [1, 2])
def test_gray_pictures_can_be_refined(effort: int, tiny_model: Model) -> None:
    picture = photograph(64, 90)[:, :, 1]
    data = encode(picture, effort=effort, model=tiny_model)
    assert peak_signal_to_noise_ratio(decode(data, model=tiny_model), picture) > 10


def test_chunks_have_post_filters_from_effort_1_on_and_are_searched_from_2_on(tiny_model: Model) -> None:
    found = [Refinement.of(effort, tiny_model) for effort in range(4)]
    assert [one.filtered for one in found] == [False, True, True, True]
    assert [one.iterations for one in found] == [0, 0, 6, 60]


@pytest.mark.parametrize("effort", [-1, 4, 1.5, "high"])
def test_an_effort_that_does_not_exist_is_refused(effort: object, tiny_model: Model) -> None:
    with pytest.raises(InputError, match="effort as a whole number from 0 to 3"):
        encode(photograph(64, 64), effort=effort, model=tiny_model)  # type: ignore[arg-type]
