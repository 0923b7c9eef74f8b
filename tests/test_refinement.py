"""Efforts above 0: better latents, in an ordinary file."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the search needs Keras")

from aecodec import refinement
from aecodec.codec import decode, encode
from aecodec.container import read_header
from aecodec.errors import InputError
from aecodec.models import Model
from aecodec.networks.architecture import Architecture
from aecodec.networks.refinement import weight_of_level
from aecodec.targets import peak_signal_to_noise_ratio
from aecodec.verification import symbols
from tests.helpers import photograph

LEVEL = 96


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few iterations, and parts so small that a small picture has several."""
    monkeypatch.setattr(refinement, "EFFORT_ITERATIONS", (0, 6, 60))
    monkeypatch.setattr(refinement, "_PART_SIDE", 256)


def cost(data: bytes, picture: np.ndarray, model: Model) -> float:
    """Bits plus lambda times distortion of a file."""
    weight = float(weight_of_level(Architecture.from_dict(model.manifest["architecture"]), LEVEL))
    error = (decode(data, model=model).astype(float) - picture) ** 2
    return 8 * len(data) + weight * float(error.sum()) / 3


def test_a_picture_of_several_parts_costs_less_with_more_effort(tiny_model: Model) -> None:
    picture = photograph(200, 330)
    files = [encode(picture, level=LEVEL, effort=effort, model=tiny_model) for effort in (0, 2)]
    costs = [cost(data, picture, tiny_model) for data in files]
    assert costs[1] < costs[0]


def test_no_effort_makes_a_chunk_cost_more(tiny_model: Model) -> None:
    """The coding that was seen to cost least is kept, the first one included."""
    for seed in range(3):
        picture = photograph(64, 128, seed)
        files = [encode(picture, level=LEVEL, effort=effort, model=tiny_model) for effort in (0, 1)]
        costs = [cost(data, picture, tiny_model) for data in files]
        # Real pixels are rounded, which the search does not see.
        assert costs[1] <= costs[0] * 1.002


def test_files_of_any_effort_are_of_one_kind(tiny_model: Model) -> None:
    picture = photograph(70, 140)
    for effort in (0, 1):
        data = encode(picture, level=LEVEL, effort=effort, model=tiny_model, chunk_side=64)
        assert read_header(data).dependent
        assert len(list(symbols(data, model=tiny_model))) == 6


def test_chunks_are_searched_one_by_one(tiny_model: Model) -> None:
    """What lies in other chunks changes none of a chunk's symbols but through the analysis beside it."""
    first = photograph(64, 384)
    second = first.copy()
    second[:, 320:] = 255 - second[:, 320:]
    found = [
        [*symbols(encode(picture, 60, effort=1, model=tiny_model, chunk_side=64), model=tiny_model)]
        for picture in (first, second)
    ]
    same = [np.array_equal(one[1], other[1]) for one, other in zip(*found, strict=True)]
    assert same[0]
    assert not same[-1]


def test_bytes_are_the_same_from_run_to_run(tiny_model: Model) -> None:
    picture = photograph(100, 130)
    files = {encode(picture, 60, effort=1, model=tiny_model, jobs=jobs) for jobs in (1, 2)}
    assert len(files) == 1


def test_progress_reaches_its_total(tiny_model: Model) -> None:
    calls: list[tuple[int, int]] = []
    encode(
        photograph(70, 300),
        effort=1,
        model=tiny_model,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))


def test_gray_pictures_can_be_refined(tiny_model: Model) -> None:
    picture = photograph(64, 90)[:, :, 1]
    data = encode(picture, effort=1, model=tiny_model)
    assert peak_signal_to_noise_ratio(decode(data, model=tiny_model), picture) > 10


@pytest.mark.parametrize("effort", [-1, 3, 1.5, "high"])
def test_an_effort_that_does_not_exist_is_refused(effort: object, tiny_model: Model) -> None:
    with pytest.raises(InputError, match="effort as a whole number from 0 to 2"):
        encode(photograph(64, 64), effort=effort, model=tiny_model)  # type: ignore[arg-type]
