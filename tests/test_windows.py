"""Windows tile a picture, bound what runs at once, and lose nothing between windows and chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecodec.container import Box, Header
from aecodec.errors import InputError
from aecodec.image import Picture
from aecodec.models import default_model
from aecodec.windows import (
    LatentStore,
    Symbols,
    View,
    Window,
    box_average,
    chunk_uses,
    intersection,
    plan_windows,
    window_pixels,
)

SIDES = st.integers(1, 30).map(lambda count: 64 * count)


def header(width: int, height: int, chunk_side: int = 128) -> Header:
    return Header(width=width, height=height, level=0, model_id=bytes(8), chunk_side=chunk_side)


@given(st.integers(1, 3000), st.integers(1, 3000), SIDES, st.integers(0, 3))
def test_cores_tile_the_padded_picture(width: int, height: int, side: int, halo_units: int) -> None:
    head = header(width, height)
    windows = plan_windows(head, 64 * halo_units, side=side)
    covered = np.zeros((head.padded_height // 64, head.padded_width // 64), int)
    for window in windows:
        core = window.core
        covered[core.y // 64 : core.bottom // 64, core.x // 64 : core.right // 64] += 1
    assert (covered == 1).all()


@given(st.integers(1, 3000), st.integers(1, 3000), SIDES, st.integers(0, 3))
def test_a_window_reaches_a_halo_around_its_core_and_no_further_than_the_bound(
    width: int, height: int, side: int, halo_units: int
) -> None:
    head = header(width, height)
    halo = 64 * halo_units
    for window in plan_windows(head, halo, side=side):
        assert window.reach.x == max(window.core.x - halo, 0)
        assert window.reach.y == max(window.core.y - halo, 0)
        assert window.reach.right == min(window.core.right + halo, head.padded_width)
        assert window.reach.bottom == min(window.core.bottom + halo, head.padded_height)
        assert max(window.reach.width, window.reach.height) <= max(side, 64 + 2 * halo)


def test_a_picture_as_large_as_a_window_is_one() -> None:
    assert len(plan_windows(header(1152, 1152), 64, side=1152)) == 1
    assert len(plan_windows(header(1153, 1152), 64, side=1152)) == 2


def test_a_large_picture_costs_the_encoder_about_as_much_per_pixel_as_a_small_one() -> None:
    def computed_per_pixel(width: int, height: int) -> float:
        head = header(width, height)
        windows = plan_windows(head, default_model().halo.analysis)
        return sum(window.reach.width * window.reach.height for window in windows) / (width * height)

    assert computed_per_pixel(12288, 8192) < 1.1 * computed_per_pixel(3904, 2560)
    assert computed_per_pixel(30000, 3400) < 1.1 * computed_per_pixel(3904, 2560)


def test_windows_of_an_area_cover_that_area_alone() -> None:
    windows = plan_windows(header(2000, 2000), 64, area=Box(640, 128, 256, 64), side=256)
    assert [window.core for window in windows] == [Box(640, 128, 128, 64), Box(768, 128, 128, 64)]
    assert windows[0].reach == Box(576, 64, 256, 192)


def test_beyond_the_picture_a_window_repeats_its_edge() -> None:
    pixels = np.arange(70 * 3 * 3, dtype=np.uint8).reshape(70, 3, 3)
    window = window_pixels(Picture(pixels), Box(0, 64, 64, 64))
    assert window.shape == (64, 64, 3)
    assert (window[:6, :3] == pixels[64:]).all()
    assert (window[6:, 5:] == pixels[69, 2]).all()


@given(st.integers(65, 700), st.integers(65, 700), st.sampled_from([64, 128, 320]), SIDES)
def test_latents_pass_from_windows_to_chunks_and_back_unchanged(
    width: int, height: int, chunk_side: int, side: int
) -> None:
    head = header(width, height, chunk_side)
    rows, columns = head.padded_height // 16, head.padded_width // 16
    whole = np.arange(rows * columns * 4, dtype=np.float32).reshape(rows, columns, 4)
    everything = Box(0, 0, head.padded_width, head.padded_height)
    by_window, by_chunk = LatentStore(head, 4), LatentStore(head, 4)
    for window in plan_windows(head, 0, side=side):
        by_window.write(window.core, Window(window.core, everything).crop_latents(whole))
    for index in range(head.chunk_count):
        latents = by_window.take(index)
        assert np.array_equal(latents, Window(head.chunk_box(index), everything).crop_latents(whole))
        by_chunk.write(head.chunk_box(index), latents)
    assert np.array_equal(by_chunk.read(everything), whole)
    with pytest.raises(KeyError):
        by_window.take(0)


def test_what_was_not_written_of_a_chunk_is_zero() -> None:
    store = LatentStore(header(200, 100), 2)
    store.write(Box(64, 0, 64, 64), np.ones((4, 4, 2), np.float32))
    latents = store.read(Box(0, 0, 128, 128))
    assert latents.shape == (8, 8, 2)
    assert latents[:4, 4:].all()
    assert latents.sum() == 32


def test_symbols_of_a_part_are_views() -> None:
    z, r = np.arange(24, dtype=np.int16).reshape(3, 4, 2), np.zeros((12, 16, 3), np.int16)
    part = Symbols(z, r).crop(Box(64, 128, 256, 192), Box(128, 256, 192, 64))
    assert np.array_equal(part.z, z[2:3, 1:4])
    assert part.r.shape == (4, 12, 3)
    part.r[...] = 1
    assert r[8:12, 4:16].all()
    assert r.sum() == part.r.size
    assert part.coefficients is None


def test_symbols_of_a_part_have_the_post_filter_of_the_whole() -> None:
    z, r, coefficients = np.zeros((3, 4, 2)), np.zeros((12, 16, 3)), np.array([3, -1])
    whole = Symbols(*(part.astype(np.int16) for part in (z, r, coefficients)))
    assert whole.crop(Box(0, 0, 256, 192), Box(64, 0, 64, 128)).coefficients is whole.coefficients


def test_every_chunk_has_one_first_and_one_last_use_in_that_order() -> None:
    head = header(1000, 700, 64)
    boxes = [window.reach for window in plan_windows(head, 64, side=256)]
    first, last = chunk_uses(head, boxes)
    began = {index: number for number, indices in enumerate(first) for index in indices}
    ended = {index: number for number, indices in enumerate(last) for index in indices}
    assert sorted(began) == sorted(ended) == list(range(head.chunk_count))
    assert sum(map(len, first)) == sum(map(len, last)) == head.chunk_count
    assert all(began[index] <= ended[index] for index in began)


def test_boxes_that_overlap_share_a_box() -> None:
    assert intersection(Box(0, 64, 128, 64), Box(64, 0, 256, 256)) == Box(64, 64, 64, 64)


def test_box_average_gives_the_means_of_squares() -> None:
    pixels = np.arange(4 * 6, dtype=np.float32).reshape(4, 6, 1)
    assert box_average(pixels, 2)[:, :, 0].tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]


@pytest.mark.parametrize(
    "region",
    [(0, 0, 0, 1), (-1, 0, 2, 2), (0, 0, 11, 1), (10, 0, 1, 1), (0, 5, 1, 1), (1, 2), "abcd", (0, 0, 1, -1)],
)
def test_a_region_outside_of_the_picture_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="region"):
        View.of(header(10, 5), region, 1)


@pytest.mark.parametrize("scale", [0, 3, 64, -1])
def test_a_scale_that_is_not_offered_is_refused(scale: int) -> None:
    with pytest.raises(InputError, match="scale"):
        View.of(header(10, 5), None, scale)


def test_a_core_has_its_part_of_the_hyper_latents_of_a_reach() -> None:
    z = np.arange(3 * 5 * 2, dtype=np.int16).reshape(3, 5, 2)
    window = Window(Box(128, 64, 192, 64), Box(64, 0, 320, 192))
    assert np.array_equal(window.crop_hyper_latents(z), z[1:2, 1:4])
    window.crop_hyper_latents(z)[...] = -1
    assert np.count_nonzero(z == -1) == 6


def test_a_nearer_window_keeps_its_core_and_what_it_can_of_the_halo() -> None:
    window = Window(Box(256, 0, 128, 64), Box(0, 0, 640, 320))
    near = window.nearer(96)
    assert near.core == window.core
    assert near.reach == Box(160, 0, 320, 160)
    latents = np.arange(20 * 40 * 2, dtype=np.float32).reshape(20, 40, 2)
    part = Window(near.reach, window.reach).crop_latents(latents)
    assert np.array_equal(part, latents[:10, 10:30])
    assert np.array_equal(near.crop_latents(part), window.crop_latents(latents))
    assert window.nearer(4096) == window
