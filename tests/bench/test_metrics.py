"""Metrics give known answers."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import numpy as np
import pytest

from bench import metrics
from tests.bench.helpers import noisy, picture


def test_psnr_of_a_constant_difference_is_that_of_the_formula() -> None:
    original = np.full((40, 30, 3), 100, np.uint8)
    assert metrics.psnr_rgb(original, original + np.uint8(5)) == pytest.approx(
        20 * math.log10(255 / 5), abs=1e-12
    )


def test_psnr_rgb_averages_the_squared_error_over_the_channels() -> None:
    original = np.zeros((700, 20, 3), np.uint8)
    decoded = original.copy()
    decoded[..., 1] = 6
    assert metrics.psnr_rgb(original, decoded) == pytest.approx(10 * math.log10(255**2 / 12))


def test_psnr_y_weighs_the_channels_as_bt_601_does() -> None:
    original = np.zeros((16, 16, 3), np.uint8)
    decoded = original.copy()
    decoded[..., 1] = 10
    assert metrics.psnr_y(original, decoded) == pytest.approx(20 * math.log10(255 / 5.87))


@pytest.mark.parametrize("name", ["psnr-rgb", "psnr-y"])
def test_psnr_of_equal_pictures_is_100(name: str) -> None:
    assert metrics.METRICS[name](picture(), picture()) == 100


# tf.image.ssim_multiscale(original, decoded, 255.0) of TensorFlow 2.21.
@pytest.mark.parametrize(("kind", "expected"), [("noise", 0.92619925), ("steps", 0.92567080)])
def test_ms_ssim_is_that_of_another_implementation(kind: str, expected: float) -> None:
    original = picture()
    decoded = noisy(original) if kind == "noise" else (original // 32 * 32 + 16).astype(np.uint8)
    assert metrics.ms_ssim(original, decoded) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_of_equal_pictures_is_1_and_100_db() -> None:
    assert metrics.ms_ssim(picture(161, 175), picture(161, 175)) == pytest.approx(1, abs=1e-7)
    assert metrics.ms_ssim_db(1) == 100
    assert metrics.ms_ssim_db(0.99) == pytest.approx(20)


def test_ms_ssim_refuses_pictures_that_are_too_small_and_measure_leaves_it_out() -> None:
    with pytest.raises(ValueError, match="at least 161 pixels"):
        metrics.ms_ssim(picture(160, 300), picture(160, 300))
    assert set(metrics.measure(["psnr-rgb", "ms-ssim-rgb"], picture(64, 64), picture(64, 64))) == {"psnr-rgb"}


def test_ssimulacra2_of_equal_pictures_is_100_and_falls_with_noise() -> None:
    pytest.importorskip("ssimulacra2")
    original = picture(128, 160)
    values = [metrics.ssimulacra2(original, noisy(original, amount)) for amount in (0, 4, 12, 40)]
    assert values[0] == pytest.approx(100)
    assert values == sorted(values, reverse=True)
    assert values[3] < 40


def test_ssimulacra2_is_the_packages_own_where_the_border_plays_no_part(tmp_path: Path) -> None:
    package = pytest.importorskip("ssimulacra2")
    from tests.bench.helpers import save

    original = picture(448, 448)
    decoded = original.copy()
    decoded[208:240, 208:240] = noisy(original, 30)[208:240, 208:240]
    expected = package.compute_ssimulacra2(
        save(original, tmp_path / "original.png"), save(decoded, tmp_path / "decoded.png")
    )
    assert expected < 99
    assert metrics.ssimulacra2(original, decoded) == pytest.approx(expected, abs=0.01)


def test_butteraugli_reads_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "butteraugli"
    command.write_text('#!/bin/sh\ntest -s "$1" && test -s "$2" && echo 1.500000\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert metrics.butteraugli(picture(), picture()) == 1.5
    assert metrics.unavailable("butteraugli") is None


def test_a_missing_butteraugli_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "butteraugli" in (metrics.unavailable("butteraugli") or "")
    with pytest.raises(FileNotFoundError, match="butteraugli"):
        metrics.butteraugli(picture(), picture())


def test_the_installed_butteraugli_is_0_for_equal_pictures_and_grows_with_noise() -> None:
    if (reason := metrics.unavailable("butteraugli")) is not None:
        pytest.skip(reason)
    original = picture()
    assert metrics.butteraugli(original, original) == 0
    assert (
        0
        < metrics.butteraugli(original, noisy(original, 3))
        < metrics.butteraugli(original, noisy(original, 20))
    )


@pytest.mark.parametrize("name", list(metrics.METRICS))
def test_every_metric_refuses_pictures_of_two_sizes(name: str) -> None:
    if (reason := metrics.unavailable(name)) is not None:
        pytest.skip(reason)
    with pytest.raises(ValueError, match="one size"):
        metrics.METRICS[name](picture(192, 256), picture(192, 255))


def test_the_rising_scale_turns_distances_round() -> None:
    assert metrics.on_rising_scale("butteraugli", 2.0) == -2
    assert metrics.on_rising_scale("ms-ssim-rgb", 0.9) == pytest.approx(10)
    assert metrics.on_rising_scale("psnr-rgb", 33.0) == 33
