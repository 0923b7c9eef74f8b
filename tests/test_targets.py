"""Searching the level that keeps to a size, a rate or a distortion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aecodec.codec import decode, encode
from aecodec.errors import InputError, OutputError
from aecodec.targets import encode_file_to_target, encode_to_target, peak_signal_to_noise_ratio
from tests.helpers import photograph

PICTURE = photograph(100, 130)


@pytest.fixture(scope="module")
def files(cosine: dict[str, Any]) -> dict[int, bytes]:
    return {level: encode(PICTURE, level=level, **cosine) for level in (0, 99, 100, 101, 224)}


def test_a_size_is_kept_to_with_the_highest_level_that_does(
    files: dict[int, bytes], cosine: dict[str, Any]
) -> None:
    result = encode_to_target(PICTURE, size=len(files[100]), **cosine)
    assert result.reached
    assert result.level == 100
    assert result.data == files[100]
    assert result.psnr is None
    assert result.bits_per_pixel == 8 * len(files[100]) / (100 * 130)


def test_a_rate_is_kept_to(files: dict[int, bytes], cosine: dict[str, Any]) -> None:
    rate = 8 * len(files[100]) / (100 * 130)
    assert encode_to_target(PICTURE, bits_per_pixel=rate, **cosine).level == 100
    assert encode_to_target(PICTURE, bits_per_pixel=rate - 1e-6, **cosine).level == 99


def test_a_distortion_is_kept_to_with_the_lowest_level_that_does(
    files: dict[int, bytes], cosine: dict[str, Any]
) -> None:
    wanted = peak_signal_to_noise_ratio(PICTURE, decode(files[100], **cosine))
    result = encode_to_target(PICTURE, psnr=wanted, **cosine)
    assert result.reached
    assert result.psnr is not None
    assert result.psnr >= wanted
    assert result.level <= 100


def test_out_of_range_the_nearest_is_given_and_told(files: dict[int, bytes], cosine: dict[str, Any]) -> None:
    small = encode_to_target(PICTURE, size=10, **cosine)
    assert (small.reached, small.level, small.data) == (False, 0, files[0])
    sharp = encode_to_target(PICTURE, psnr=99, **cosine)
    assert (sharp.reached, sharp.level, sharp.data) == (False, 224, files[224])
    assert encode_to_target(PICTURE, size=10**9, **cosine).level == 224


@pytest.mark.parametrize("targets", [{}, {"size": 1, "psnr": 30}])
def test_exactly_one_target_is_expected(targets: dict[str, Any], cosine: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="exactly one"):
        encode_to_target(PICTURE, **targets, **cosine)


@pytest.mark.parametrize("targets", [{"size": 0}, {"size": "200k"}, {"psnr": float("nan")}, {"psnr": True}])
def test_a_target_is_a_number_above_0(targets: dict[str, Any], cosine: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Expected {next(iter(targets))} as a number above 0"):
        encode_to_target(PICTURE, **targets, **cosine)


def test_progress_counts_trials(cosine: dict[str, Any]) -> None:
    seen: list[tuple[int, int]] = []
    encode_to_target(PICTURE, size=3000, progress=lambda done, total: seen.append((done, total)), **cosine)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, total in seen} == {8}
    assert 6 <= len(seen) <= 8


def test_files(files: dict[int, bytes], cosine: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "in.png")
    target = tmp_path / "out.aec"
    result = encode_file_to_target(tmp_path / "in.png", target, size=len(files[100]), **cosine)
    assert target.read_bytes() == result.data == files[100]
    with pytest.raises(OutputError):
        encode_file_to_target(tmp_path / "in.png", target, size=5000, **cosine)


def test_psnr_is_that_of_all_samples_at_the_peak_of_the_depth() -> None:
    first = np.zeros((600, 2, 1), np.uint8)
    second = first.copy()
    second[599] = 10
    assert peak_signal_to_noise_ratio(first, second) == pytest.approx(10 * np.log10(255**2 * 600 / 100))
    deep = first.astype(np.uint16) * 257, second.astype(np.uint16) * 257
    assert peak_signal_to_noise_ratio(*deep) == pytest.approx(peak_signal_to_noise_ratio(first, second))
    assert peak_signal_to_noise_ratio(first, first) == float("inf")
