"""How far a model looks, measured."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="what is measured was trained in Keras")

from aecodec.training.reach import HALO_CORE, decoder_halo, encoder_halo, scenes
from tests.training.pictures import picture_set


class LookingLeft:
    """A runtime whose symbols are the gray levels so many pixels to the left, 0 beyond the border, and whose
    pixels are the symbols so many pixels to the left.
    """

    name = "left"

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def encode(self, pixels: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        padded = np.pad(pixels[:, :, :1], ((0, 0), (self.reach, 0), (0, 0)))[:, : pixels.shape[1]]
        symbols = (padded + level).astype(np.int16)
        return symbols[::64, ::64], symbols[::16, ::16]

    def decode(self, z: np.ndarray, r: np.ndarray, level: int) -> np.ndarray:
        gray = np.repeat(np.repeat(r[:, :, :1], 16, axis=0), 16, axis=1).astype(np.float32)
        seen = np.pad(gray, ((0, 0), (self.reach, 0), (0, 0)))[:, : gray.shape[1]]
        return np.repeat(seen, 3, axis=2)


@pytest.mark.parametrize(("reach", "halo"), [(0, 64), (64, 64), (80, 128), (192, 192), (250, 256)])
def test_the_halo_is_measured_in_steps_of_the_coarsest_grid(reach: int, halo: int) -> None:
    pictures = scenes(picture_set((256, 300)), 256, count=2)
    assert encoder_halo(LookingLeft(reach), pictures, 256, (20, 100)) == halo


def test_the_measured_halo_is_at_most_the_bound() -> None:
    assert encoder_halo(LookingLeft(300), scenes(picture_set((256, 300)), 128, count=1), 128, (50,)) == 128


def test_scenes_have_room_for_the_halo_around_their_middle() -> None:
    found = scenes(picture_set((256, 300)), 192, count=3)
    assert [scene.shape for scene in found] == [(HALO_CORE + 384, HALO_CORE + 384, 3)] * 3
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("reach", "halo"), [(0, 64), (64, 64), (80, 128), (192, 192), (250, 256), (300, 256)]
)
def test_the_halo_of_the_decoder_is_measured_likewise(reach: int, halo: int) -> None:
    pictures = scenes(picture_set((256, 300)), 256, count=2)
    assert decoder_halo(LookingLeft(reach), pictures, 256, (20, 100)) == halo
