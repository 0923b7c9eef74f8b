"""Post-filters: what they make of pixels, chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.container import Box, Header
from aecodec.errors import ModelError
from aecodec.models import Model, load_model_folder
from aecodec.post_filter import FilterBasis, filtered_core, with_border
from aecodec.windows import Window, plan_windows
from tests.entropy.helpers import FILTER_COEFFICIENTS
from tests.helpers import (
    model_arrays,
    photograph,
    random_coefficients,
    random_filter_basis,
    write_model,
)

BASIS = random_filter_basis(3)
LEVEL = 75
HEADER = Header(width=180, height=120, level=LEVEL, model_id=bytes(8), filtered=True, chunk_side=64)
"""Of a picture of 2 x 3 chunks."""
WHOLE = Box(0, 0, HEADER.padded_width, HEADER.padded_height)


def decoded_pixels(seed: int = 0) -> NDArray[np.float32]:
    """The padded picture, before it is filtered."""
    return photograph(WHOLE.height, WHOLE.width, seed).astype(np.float32)


def naively_corrected(
    bordered: NDArray[np.float32], coefficients: NDArray[np.int16], basis: FilterBasis, level: int
) -> NDArray[np.float64]:
    """One pixel after the other, in float64."""
    weights = coefficients * basis.units(level).astype(np.float64)
    height, width = bordered.shape[0] - 2, bordered.shape[1] - 2
    result = bordered[1:-1, 1:-1].astype(np.float64)
    for number, weight in enumerate(weights.tolist()):
        for row, column in np.ndindex(height, width):
            square = bordered[row : row + 3, column : column + 3].astype(np.float64) - 127.5
            for colour in range(3):
                seen = float((square * basis.kernel[number, :, :, :, colour]).sum())
                result[row, column, colour] += weight * (seen + float(basis.bias[number, colour]))
    return result


class TestOneRectangle:
    @settings(max_examples=30)
    @given(st.integers(0, 10**6), st.integers(0, 224), st.integers(1, 5), st.integers(1, 6))
    def test_it_is_filtered_as_a_loop_over_pixels_does(
        self, seed: int, level: int, height: int, width: int
    ) -> None:
        random = np.random.default_rng(seed)
        bordered = random.uniform(0, 255, (height + 2, width + 2, 3)).astype(np.float32)
        [coefficients] = random_coefficients(1, seed)
        found = BASIS.corrected(bordered, coefficients, level)
        assert found.dtype == np.float32
        assert found.shape == (height, width, 3)
        np.testing.assert_allclose(
            found, naively_corrected(bordered, coefficients, BASIS, level), rtol=1e-4, atol=2e-3
        )

    def test_coefficients_of_zero_change_nothing(self) -> None:
        pixels = decoded_pixels()
        found = BASIS.corrected(with_border(pixels), np.zeros(FILTER_COEFFICIENTS, np.int16), LEVEL)
        assert np.array_equal(found, pixels)

    def test_coefficients_add_up(self) -> None:
        pixels, (one, other) = decoded_pixels(), random_coefficients(2)
        moves = [
            BASIS.corrected(with_border(pixels), given_coefficients, LEVEL) - pixels
            for given_coefficients in (one, other, one + other)
        ]
        np.testing.assert_allclose(moves[0] + moves[1], moves[2], atol=2e-3)

    def test_a_medium_gray_is_moved_by_the_bias_alone(self) -> None:
        [coefficients] = random_coefficients(1)
        gray = np.full((5, 6, 3), 127.5, np.float32)
        expected = 127.5 + (coefficients * BASIS.units(LEVEL)) @ BASIS.bias
        np.testing.assert_allclose(
            BASIS.corrected(gray, coefficients, LEVEL), np.tile(expected, (3, 4, 1)), rtol=1e-5
        )

    def test_the_pixels_are_left_as_they_were(self) -> None:
        bordered = with_border(decoded_pixels())
        before = bordered.copy()
        BASIS.corrected(bordered, random_coefficients(1)[0], LEVEL)
        assert np.array_equal(bordered, before)

    def test_the_largest_coefficients_give_numbers(self) -> None:
        for value in (32767, -32767):
            coefficients = np.full(FILTER_COEFFICIENTS, value, np.int16)
            assert np.isfinite(BASIS.corrected(with_border(decoded_pixels()), coefficients, 0)).all()

    def test_a_basis_without_filters_changes_nothing(self) -> None:
        basis, pixels = random_filter_basis(count=0), decoded_pixels()
        found = basis.corrected(with_border(pixels), np.zeros(0, np.int16), LEVEL)
        assert np.array_equal(found, pixels)


class TestUnits:
    def test_at_a_node_they_are_those_of_the_node(self) -> None:
        for node in range(8):
            np.testing.assert_allclose(BASIS.units(32 * node), np.exp(BASIS.log_unit[node]), rtol=1e-6)

    @given(st.integers(0, 223))
    @example(223)
    def test_between_nodes_their_logarithms_are_interpolated(self, level: int) -> None:
        node, sublevel = divmod(level, 32)
        share = sublevel / 32
        expected = np.exp((1 - share) * BASIS.log_unit[node].astype(float) + share * BASIS.log_unit[node + 1])
        found = BASIS.units(level)
        assert found.shape == (FILTER_COEFFICIENTS,)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


class TestThePicturesChunks:
    """`filtered_core`."""

    def test_chunks_of_equal_coefficients_are_filtered_as_one(self) -> None:
        pixels, [coefficients] = decoded_pixels(), random_coefficients(1)
        found = filtered_core(
            pixels, Window(WHOLE, WHOLE), HEADER, BASIS, dict.fromkeys(range(6), coefficients)
        )
        np.testing.assert_allclose(
            found, BASIS.corrected(with_border(pixels), coefficients, LEVEL), atol=1e-3
        )

    def test_each_chunk_has_its_own_filter_and_sees_the_pixels_of_its_neighbours_unfiltered(self) -> None:
        pixels, chosen = decoded_pixels(), random_coefficients(6)
        found = filtered_core(pixels, Window(WHOLE, WHOLE), HEADER, BASIS, dict(enumerate(chosen)))
        for index, coefficients in enumerate(chosen):
            box = HEADER.chunk_box(index)
            part = slice(box.y, box.bottom), slice(box.x, box.right)
            expected = BASIS.corrected(with_border(pixels), coefficients, LEVEL)[part]
            np.testing.assert_allclose(found[part], expected, atol=1e-3)

    @pytest.mark.parametrize("nothing", [None, np.zeros(FILTER_COEFFICIENTS, np.int16)])
    def test_a_chunk_without_a_filter_stays_as_it_was_synthesised(
        self, nothing: NDArray[np.int16] | None
    ) -> None:
        pixels, [coefficients] = decoded_pixels(), random_coefficients(1)
        chosen: dict[int, NDArray[np.int16] | None] = dict.fromkeys(range(6), coefficients)
        found = filtered_core(pixels, Window(WHOLE, WHOLE), HEADER, BASIS, chosen | {4: nothing})
        box = HEADER.chunk_box(4)
        own = slice(box.y, box.bottom), slice(box.x, box.right)
        assert np.array_equal(found[own], pixels[own])
        changed = np.any(found != pixels, axis=2)
        changed[own] = True
        assert changed.mean() > 0.99

    def test_at_the_border_of_the_padded_picture_the_edge_is_repeated(self) -> None:
        pixels, [coefficients] = decoded_pixels(), random_coefficients(1)
        found = filtered_core(
            pixels, Window(WHOLE, WHOLE), HEADER, BASIS, dict.fromkeys(range(6), coefficients)
        )
        rows, columns = [0, 0, 1], [0, 0, 1]
        corner = naively_corrected(pixels[np.ix_(rows, columns)], coefficients, BASIS, LEVEL)
        np.testing.assert_allclose(found[0, 0], corner[0, 0], atol=2e-3)
        rows, columns = [126, 127, 127], [190, 191, 191]
        corner = naively_corrected(pixels[np.ix_(rows, columns)], coefficients, BASIS, LEVEL)
        np.testing.assert_allclose(found[127, 191], corner[0, 0], atol=2e-3)

    @pytest.mark.parametrize("halo", [1, 16, 64])
    def test_windows_give_what_the_whole_picture_does(self, halo: int) -> None:
        """They share chunks, and cut them; of what is around a window one pixel is needed."""
        header = Header(width=300, height=200, level=LEVEL, model_id=bytes(8), filtered=True, chunk_side=128)
        whole = Box(0, 0, header.padded_width, header.padded_height)
        pixels = photograph(whole.height, whole.width).astype(np.float32)
        chosen = dict(enumerate(random_coefficients(header.chunk_count)))
        expected = filtered_core(pixels, Window(whole, whole), header, BASIS, chosen)
        for window in plan_windows(header, 64, side=192):
            near = window.nearer(halo)
            found = filtered_core(Window(near.reach, whole).crop_pixels(pixels), near, header, BASIS, chosen)
            np.testing.assert_allclose(found, Window(near.core, whole).crop_pixels(expected), atol=1e-3)

    def test_the_pixels_are_left_as_they_were(self) -> None:
        pixels = decoded_pixels()
        before = pixels.copy()
        chosen = dict(enumerate(random_coefficients(6)))
        filtered_core(pixels, Window(WHOLE, WHOLE), HEADER, BASIS, chosen)
        assert np.array_equal(pixels, before)


class TestArrays:
    def test_a_basis_comes_back_from_its_arrays(self) -> None:
        again = FilterBasis.from_arrays(BASIS.to_arrays())
        for name in ("kernel", "bias", "log_unit"):
            assert np.array_equal(getattr(again, name), getattr(BASIS, name))

    def test_half_precision_is_taken_in(self) -> None:
        stored = {name: array.astype(np.float16) for name, array in BASIS.to_arrays().items()}
        again = FilterBasis.from_arrays(stored)
        assert again.kernel.dtype == again.bias.dtype == again.log_unit.dtype == np.float32
        np.testing.assert_allclose(again.kernel, BASIS.kernel, rtol=1e-3, atol=1e-6)

    def test_it_is_that_of_the_model(self, cosine_model: Model) -> None:
        basis = FilterBasis.of(cosine_model)
        assert np.array_equal(basis.kernel, cosine_model.arrays["post_filter/kernel"])
        assert len(basis.kernel) == cosine_model.entropy.hyper.coefficient_count

    @pytest.mark.parametrize("count", [0, FILTER_COEFFICIENTS - 1, FILTER_COEFFICIENTS + 1])
    def test_a_model_whose_coefficients_have_more_or_fewer_tables_is_refused(
        self, count: int, tmp_path: Path
    ) -> None:
        folder = write_model(tmp_path / "fake")
        arrays = model_arrays() | random_filter_basis(count=count).to_arrays()
        np.savez(folder / "arrays.npz", **cast("dict[str, Any]", arrays))
        with pytest.raises(ModelError, match=f"5 filters.*Found {count}"):
            FilterBasis.of(load_model_folder(folder))

    @pytest.mark.parametrize("name", list(BASIS.to_arrays()))
    def test_a_missing_array_is_named(self, name: str) -> None:
        arrays = BASIS.to_arrays()
        del arrays[name]
        with pytest.raises(ModelError, match=name):
            FilterBasis.from_arrays(arrays)

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("kernel", BASIS.kernel[:-1]),
            ("kernel", BASIS.kernel[:, :2]),
            ("kernel", BASIS.kernel[..., :1]),
            ("kernel", BASIS.kernel[..., 0]),
            ("kernel", BASIS.kernel[0, 0, 0, 0, 0]),
            ("bias", BASIS.bias[:-1]),
            ("bias", BASIS.bias[:, :2]),
            ("bias", BASIS.bias[0]),
            ("log_unit/rows", BASIS.log_unit[:-1]),
            ("log_unit/rows", BASIS.log_unit[:, 1:]),
            ("log_unit/rows", BASIS.log_unit.T),
        ],
    )
    def test_arrays_of_other_shapes_are_refused(self, name: str, wrong: NDArray[Any]) -> None:
        with pytest.raises(ModelError, match="basis of post-filters"):
            FilterBasis.from_arrays(BASIS.to_arrays() | {f"post_filter/{name}": wrong})
