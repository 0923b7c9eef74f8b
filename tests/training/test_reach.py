"""How far a model looks, measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="what is measured was trained in Keras")

from aecodec.training.reach import HALO_CORE, decoder_halo, scenes
from tests.training.pictures import picture_set


class LookingLeft:
    """A runtime, and the coder on it, whose symbols are gray levels, and whose decoder gives each pixel the
    symbol so many pixels to the left of it, 0 beyond the border.
    """

    name = "left"

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def analyse(self, pixels: np.ndarray, level: int) -> np.ndarray:
        return pixels[::16, ::16, :1] + level

    def quantise(self, latents: np.ndarray, level: int, *, dependent: bool) -> tuple[np.ndarray, np.ndarray]:
        assert not dependent
        symbols = latents.astype(np.int16)
        return symbols[::4, ::4], symbols

    def reconstruct(self, z: np.ndarray, r: np.ndarray, level: int) -> np.ndarray:
        return r.astype(np.float32)

    def synthesise(self, latents: np.ndarray, level: int) -> np.ndarray:
        gray = np.repeat(np.repeat(latents, 16, axis=0), 16, axis=1)
        seen = np.pad(gray, ((0, 0), (self.reach, 0), (0, 0)))[:, : gray.shape[1]]
        return np.repeat(seen, 3, axis=2)


def test_scenes_have_room_for_the_halo_around_their_middle() -> None:
    found = scenes(picture_set((256, 300)), 192, count=3)
    assert [scene.shape for scene in found] == [(HALO_CORE + 384, HALO_CORE + 384, 3)] * 3
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("reach", "halo"), [(0, 64), (64, 64), (80, 128), (192, 192), (250, 256), (300, 256)]
)
def test_the_halo_is_measured_in_steps_of_the_coarsest_grid_up_to_the_bound(reach: int, halo: int) -> None:
    pictures = scenes(picture_set((256, 300)), 256, count=2)
    left: Any = LookingLeft(reach)
    assert decoder_halo(left, left, pictures, 256, (20, 100)) == halo
