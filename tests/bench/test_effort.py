"""What the encoder's search saves."""

from __future__ import annotations

import numpy as np
import pytest

from bench.effort import EffortPoint, central_crop, saving


def points(effort: int, factor: float) -> list[EffortPoint]:
    return [
        EffortPoint("a", effort, quality, round(factor * 1000 * 2**step), 25.0 + 3 * step, 1.0)
        for step, quality in enumerate((10.0, 30.0, 50.0, 70.0, 90.0, 99.0))
    ]


def test_a_crop_is_central_and_no_larger_than_the_picture() -> None:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    assert np.array_equal(central_crop(pixels, 20), pixels[10:30, 20:40])
    assert central_crop(pixels, 50).shape == (40, 50, 3)


def test_files_that_are_smaller_at_equal_quality_give_a_negative_rate() -> None:
    assert saving(points(0, 1.0) + points(2, 0.9), "a", 2) == pytest.approx(-10, abs=0.1)


def test_other_pictures_and_efforts_have_no_say() -> None:
    others = [EffortPoint("b", 2, 10.0, 1, 99.0, 1.0), EffortPoint("a", 1, 10.0, 1, 99.0, 1.0)]
    assert saving(points(0, 1.0) + points(2, 1.0) + others, "a", 2) == pytest.approx(0, abs=1e-6)
