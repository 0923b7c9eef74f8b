"""Training pictures, crops and levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aecodec.errors import InputError
from aecodec.training.data import (
    CropPlan,
    centres,
    draw_crops,
    draw_levels,
    draw_patches,
    is_held_out,
    load_pictures,
    take_crops,
)
from tests.helpers import photograph
from tests.training.pictures import picture_set, write_pictures, write_shard

NAMES = ("a.png", "b.webp", "deep/er/c.PNG", "d37.png", "e137.png", "f370.png")


def symmetry(pixels: np.ndarray, turn: int) -> np.ndarray:
    """The crop that a turn stands for, by NumPy's own words."""
    pixels = np.fliplr(pixels) if turn & 1 else pixels
    pixels = np.flipud(pixels) if turn & 2 else pixels
    return np.swapaxes(pixels, 0, 1) if turn & 4 else pixels


def test_a_folder_is_searched_deeply_and_split(tmp_path: Path) -> None:
    write_pictures(tmp_path, NAMES)
    (tmp_path / "notes.txt").write_text("no picture")
    training, held_out = load_pictures([tmp_path], minimum_side=64)
    assert training.names == ("a.png", "b.webp", "c.PNG", "f370.png")
    assert held_out.names == ("d37.png", "e137.png")
    assert len(training) == len(training.pictures) == 4
    assert np.array_equal(training.pictures[0], photograph(96, 128, 0))


def test_a_tar_shard_holds_the_same_pictures_as_its_folder(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "folder", NAMES)
    shards = tmp_path / "shards"
    shards.mkdir()
    shard = write_shard(shards / "tiles.tar", folder)
    expected = {
        name: pixels.tobytes()
        for part in load_pictures([folder], minimum_side=64)
        for name, pixels in zip(part.names, part.pictures, strict=True)
    }
    for source in (shard, shards):
        found = {
            name: pixels.tobytes()
            for part in load_pictures([source], minimum_side=64)
            for name, pixels in zip(part.names, part.pictures, strict=True)
        }
        assert found == expected


def test_small_pictures_are_left_out(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["large.png"], 128, 128)
    write_pictures(tmp_path, ["low.png"], 127, 300)
    training, _ = load_pictures([tmp_path], minimum_side=128)
    assert training.names == ("large.png",)


def test_pictures_of_any_kind_become_rgb(tmp_path: Path) -> None:
    rgb = photograph(64, 64)
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        Image.fromarray(rgb).convert(mode).save(tmp_path / f"{mode}.tif")
    training, _ = load_pictures([tmp_path], minimum_side=64)
    assert {pixels.shape for pixels in training.pictures} == {(64, 64, 3)}
    assert {pixels.dtype for pixels in training.pictures} == {np.dtype(np.uint8)}


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing at .*absent"):
        load_pictures([tmp_path / "absent"], minimum_side=64)


def test_a_source_that_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_text("no archive")
    for source in (tmp_path, tmp_path / "shard.tar"):
        with pytest.raises(InputError, match=r"something else at .*shard\.tar"):
            load_pictures([source], minimum_side=64)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["whole.png", "half.png"])
    half = tmp_path / "half.png"
    half.write_bytes(half.read_bytes()[:600])
    with pytest.raises(InputError, match=r"half\.png.*cannot be decoded"):
        load_pictures([tmp_path], minimum_side=64)


@pytest.mark.parametrize("names", [(), ("only37.png",)])
def test_nothing_to_train_on_is_an_error(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_pictures(tmp_path, names)
    with pytest.raises(InputError, match="at least 64 pixels a side"):
        load_pictures([tmp_path], minimum_side=64)


def test_held_out_names_end_in_37() -> None:
    assert is_held_out("photo-037.png")
    assert is_held_out("37.jpeg")
    assert not is_held_out("photo-37b.png")
    assert not is_held_out("photo-371.png")


@pytest.mark.parametrize("size", [64, 96])
def test_crops_have_the_planned_size_and_lie_inside(size: int) -> None:
    pictures = picture_set((96, 96), (128, 200), (100, 97))
    plan = draw_crops(pictures, 300, size, np.random.default_rng(0))
    for index, top, left in zip(plan.picture, plan.top, plan.left, strict=True):
        height, width = pictures.pictures[index].shape[:2]
        assert 0 <= top <= height - size
        assert 0 <= left <= width - size
    assert set(plan.turn) == set(range(8))
    crops = take_crops(pictures, plan)
    assert crops.shape == (300, size, size, 3)
    assert crops.dtype == np.uint8


def test_the_last_row_and_column_can_be_drawn() -> None:
    plan = draw_crops(picture_set((66, 67)), 200, 64, np.random.default_rng(0))
    assert set(plan.top) == {0, 1, 2}
    assert set(plan.left) == {0, 1, 2, 3}


def test_pictures_are_drawn_by_their_area() -> None:
    plan = draw_crops(picture_set((64, 64), (64, 192)), 4000, 64, np.random.default_rng(0))
    assert 0.72 < np.mean(plan.picture == 1) < 0.78


def test_the_eight_turns_are_the_symmetries_of_the_square() -> None:
    pictures = picture_set((80, 90))
    fixed = np.full(8, 5, np.int32)
    plan = CropPlan(64, np.zeros(8, np.int32), fixed, fixed + 1, np.arange(8, dtype=np.int32))
    crops = take_crops(pictures, plan)
    upright = pictures.pictures[0][5:69, 6:70]
    assert len({crop.tobytes() for crop in crops}) == 8
    for turn, crop in enumerate(crops):
        assert np.array_equal(crop, symmetry(upright, turn))


def test_crops_follow_the_seed() -> None:
    pictures = picture_set((96, 96), (128, 200))
    plans = [draw_crops(pictures, 20, 64, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    crops = [take_crops(pictures, plan) for plan in plans]
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_patches_are_flat_in_raster_order() -> None:
    pictures = picture_set((64, 64))
    patches = draw_patches(pictures, 50, 16, seed=3)
    crops = take_crops(pictures, draw_crops(pictures, 50, 16, np.random.default_rng(3)))
    assert patches.shape == (50, 768)
    assert patches.dtype == np.float32
    assert np.array_equal(patches[7].reshape(16, 16, 3), crops[7])


def test_centres_are_of_one_size_and_central() -> None:
    pictures = picture_set((200, 300), (131, 400))
    squares = centres(pictures, 256)
    assert [square.shape for square in squares] == [(128, 128, 3)] * 2
    assert np.array_equal(squares[0], pictures.pictures[0][36:164, 86:214])
    assert centres(pictures, 64)[1].shape == (64, 64, 3)


@pytest.mark.parametrize("sides", [(), ((63, 200),)])
def test_centres_need_64_pixels(sides: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(InputError, match="64 pixels"):
        centres(picture_set(*sides), 256)


@given(st.integers(1, 40), st.integers(1, 225), st.integers(0, 2**32 - 1))
def test_a_batch_has_one_level_of_each_part_of_the_scale(batch: int, count: int, seed: int) -> None:
    levels = draw_levels(batch, count, np.random.default_rng(seed))
    assert levels.shape == (batch,)
    assert np.all(np.diff(levels) >= 0)
    for number, level in enumerate(levels):
        assert number * count // batch <= level <= min((number + 1) * count / batch, count - 1)
