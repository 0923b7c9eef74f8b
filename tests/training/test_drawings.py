"""Drawn training pictures."""

from __future__ import annotations

import numpy as np
import pytest

from aecodec.training.data import PictureSet
from aecodec.training.drawings import FILLS, SMALLEST_PATCH, Fill, draw_pictures, with_drawings


def test_equal_seeds_draw_equal_pictures_and_others_do_not() -> None:
    first, again, other = (draw_pictures(3, 64, seed) for seed in (1, 1, 2))
    assert first.names == ("drawn-0000", "drawn-0001", "drawn-0002")
    assert all(pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8 for pixels in first.pictures)
    assert all(np.array_equal(a, b) for a, b in zip(first.pictures, again.pictures, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first.pictures, other.pictures, strict=True))


def test_the_smallest_side_can_be_drawn() -> None:
    assert draw_pictures(20, SMALLEST_PATCH).pictures[-1].shape == (SMALLEST_PATCH, SMALLEST_PATCH, 3)


def test_drawn_pictures_make_up_the_share_of_pixels_that_is_asked_for() -> None:
    photographs = PictureSet(("a", "b"), (np.zeros((256, 320, 3), np.uint8),) * 2)
    both = with_drawings(photographs, 0.25, 64)
    assert both.names[:2] == photographs.names
    assert sum(name.startswith("drawn") for name in both.names) * 64**2 / both.pixels == pytest.approx(
        0.25, abs=0.01
    )
    assert with_drawings(photographs, 0.0, 64).names == photographs.names


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_has_the_size_that_is_asked_for(fill: Fill) -> None:
    for seed in range(20):
        pixels = fill(np.random.default_rng(seed), 33, 50)
        assert pixels.shape == (33, 50, 3)
        assert pixels.dtype == np.uint8


def test_fills_are_drawn_with_shares_of_one() -> None:
    assert sum(FILLS.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["stripes", "chequers", "mosaic", "waves", "noise", "shapes", "text"])
def test_a_pattern_is_not_flat(name: str) -> None:
    fill = next(fill for fill in FILLS if fill.__name__ == name)
    flat = [np.ptp(fill(np.random.default_rng(seed), 64, 64)) == 0 for seed in range(20)]
    assert np.mean(flat) < 0.6, "two colours of a palette are the same now and then, but mostly not"
