"""Estimates of the residuals that a partial file does not hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aecodec.entropy import put_step, take_step
from aecodec.partial import estimate_missing

ROWS, COLUMNS, CHANNELS = 24, 32, 8


def smooth_residuals() -> NDArray[np.int16]:
    """Each channel a slow wave, as means of blocks are that nothing predicts."""
    y, x = np.mgrid[:ROWS, :COLUMNS, :CHANNELS][:2]
    waves = 60 * np.sin(x / 9 + np.arange(CHANNELS)) + 40 * np.cos(y / 7)
    return np.rint(waves).astype(np.int16)


def white_residuals() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-50, 51, (ROWS, COLUMNS, CHANNELS)).astype(np.int16)


def first_steps(r: NDArray[np.int16], steps: int) -> NDArray[np.int16]:
    """What the first steps hold, zeros elsewhere."""
    held = np.zeros_like(r)
    for step in range(steps):
        put_step(held, step, take_step(r, step))
    return held


def error(found: NDArray[np.int16], expected: NDArray[np.int16]) -> float:
    return float(np.square(found.astype(float) - expected).mean())


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_smooth_residuals_are_estimated(steps: int) -> None:
    r = smooth_residuals()
    held = first_steps(r, steps)
    assert error(estimate_missing(held, steps), r) < 0.25 * error(held, r)


def test_the_first_step_alone_tells_of_half_of_the_channels() -> None:
    r = smooth_residuals()
    held = first_steps(r, 1)
    estimated = estimate_missing(held, 1)
    half = CHANNELS // 2
    assert error(estimated[..., :half], r[..., :half]) < 0.3 * error(held[..., :half], r[..., :half])
    assert not estimated[..., half:].any()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_white_residuals_stay_about_zero(steps: int) -> None:
    r = white_residuals()
    held = first_steps(r, steps)
    assert error(estimate_missing(held, steps), r) < 1.1 * error(held, r)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5])
def test_what_is_there_stays_what_it_is(steps: int) -> None:
    held = first_steps(smooth_residuals(), steps)
    before = held.copy()
    estimated = estimate_missing(held, steps)
    assert np.array_equal(held, before)
    for step in range(steps):
        assert np.array_equal(take_step(estimated, step), take_step(held, step))


@pytest.mark.parametrize("steps", [0, 5])
def test_nothing_and_everything_are_left_alone(steps: int) -> None:
    held = first_steps(smooth_residuals(), steps)
    assert np.array_equal(estimate_missing(held, steps), held)


@pytest.mark.parametrize("extreme", [-32768, 32767])
def test_the_range_of_symbols_is_not_left(extreme: int) -> None:
    held = first_steps(np.full((4, 4, 4), extreme, np.int16), 2)
    estimated = estimate_missing(held, 2)
    assert np.array_equal(np.sign(estimated), np.full((4, 4, 4), np.sign(extreme)))
    assert np.abs(estimated.astype(int)).max() <= abs(extreme)
