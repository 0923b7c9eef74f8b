"""The pipeline: what goes in comes out, whatever the windows, chunks, threads, regions and scales."""

from __future__ import annotations

import io
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from aecodec import refinement
from aecodec.codec import decode, decode_picture, encode
from aecodec.container import Box, Header, Limits, SectionKind, read_container, read_header
from aecodec.errors import (
    ChecksumError,
    CorruptedError,
    FormatError,
    InputError,
    LimitError,
    MissingDependencyError,
    ModelError,
    TruncatedError,
    UnknownModelError,
    UnsupportedError,
)
from aecodec.image import Picture
from aecodec.models import Model, load_model_folder
from aecodec.post_filter import FilterBasis, filtered_core
from aecodec.residuals import ResidualCoder
from aecodec.targets import peak_signal_to_noise_ratio
from aecodec.windows import Window
from tests.entropy.helpers import FILTER_COEFFICIENTS
from tests.helpers import (
    CosineRuntime,
    all_symbols,
    chunk_bytes,
    fake_model,
    model_arrays,
    photograph,
    random_coefficients,
    with_coefficients,
    with_layout,
    write_model,
)

ORIENTED = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return photograph(300, 420)


@pytest.fixture(scope="module")
def data(picture: NDArray[np.uint8], cosine: dict[str, Any]) -> bytes:
    """Many chunks, so that regions and truncation have something to choose from."""
    return encode(picture, 90, chunk_side=128, **cosine)


@pytest.fixture(scope="module")
def decoded(data: bytes, cosine: dict[str, Any]) -> NDArray[np.uint8]:
    return decode(data, **cosine)


@pytest.fixture(scope="module")
def tiny(picture: NDArray[np.uint8], tiny_model: Model) -> bytes:
    """The same of networks."""
    return encode(picture, 90, chunk_side=128, model=tiny_model)


def levels_apart(first: NDArray[Any], second: NDArray[Any]) -> int:
    assert first.shape == second.shape
    assert first.dtype == second.dtype
    return int(np.abs(first.astype(int) - second).max())


class TestWhatGoesInComesOut:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [0, 2, 3, 4])
    def test_shape_depth_and_alpha(self, channels: int, dtype: type, cosine: dict[str, Any]) -> None:
        rgb = photograph(70, 90).astype(dtype) * (1 if dtype is np.uint8 else 257)
        alpha = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (70, 90, 1)).astype(dtype)
        gray = rgb[:, :, :1]
        parts = {0: gray[:, :, 0], 2: np.dstack((gray, alpha)), 3: rgb, 4: np.dstack((rgb, alpha))}
        result = decode(encode(parts[channels], 95, **cosine), **cosine)
        assert result.shape == parts[channels].shape
        assert result.dtype == dtype
        if channels in (2, 4):
            assert np.array_equal(result[:, :, -1:], alpha)
        colours = slice(0, channels - 1) if channels in (2, 4) else slice(None)
        source, target = np.atleast_3d(parts[channels])[:, :, colours], np.atleast_3d(result)[:, :, colours]
        assert peak_signal_to_noise_ratio(source, target) > 30

    def test_a_deep_picture_is_not_squeezed_to_8_bits(self, cosine: dict[str, Any]) -> None:
        ramp = np.broadcast_to(np.linspace(20000, 20400, 128), (64, 128)).astype(np.uint16)
        result = decode(encode(ramp, 100, **cosine), **cosine)
        assert np.abs(result.astype(int) - ramp).max() < 150
        assert len(np.unique(result // 257)) < len(np.unique(result))

    @pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (63, 65), (64, 64), (129, 127)])
    def test_odd_sizes(self, size: tuple[int, int], cosine: dict[str, Any]) -> None:
        source = photograph(*size)
        result = decode(encode(source, 95, **cosine), **cosine)
        assert result.shape == source.shape
        assert peak_signal_to_noise_ratio(source, result) > 25

    def test_profile_and_metadata_of_any_length(self, cosine: dict[str, Any]) -> None:
        source = Picture(photograph(20, 30), icc_profile=b"i" * 70000, exif=ORIENTED, xmp=b"<x/>")
        picture = decode_picture(encode(source, **cosine), **cosine).picture
        assert (picture.icc_profile, picture.exif, picture.xmp) == (source.icc_profile, ORIENTED, b"<x/>")

    def test_a_stripped_picture_is_turned_upright_and_keeps_a_profile_that_cannot_be_applied(
        self, cosine: dict[str, Any]
    ) -> None:
        source = Picture(photograph(20, 30), icc_profile=b"icc", exif=ORIENTED, xmp=b"<x/>")
        picture = decode_picture(encode(source, strip=True, **cosine), **cosine).picture
        assert (picture.icc_profile, picture.exif, picture.xmp) == (b"icc", None, None)
        assert (picture.width, picture.height) == (20, 30)
        upright = np.rot90(source.pixels, -1)
        assert peak_signal_to_noise_ratio(upright, picture.pixels) > 25

    def test_arrays_images_and_pictures_give_the_same_bytes(
        self, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        expected = encode(picture, **cosine)
        assert encode(Image.fromarray(picture), **cosine) == expected
        assert encode(Picture(picture), **cosine) == expected
        assert encode(picture[::-1][::-1], **cosine) == expected

    def test_better_quality_is_larger_and_closer(
        self, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        files = [encode(picture, quality, **cosine) for quality in (1, 40, 70.5, 100)]
        assert [read_header(file).level for file in files] == [0, 88, 157, 224]
        ratios = [peak_signal_to_noise_ratio(picture, decode(file, **cosine)) for file in files]
        assert ratios == sorted(ratios)
        assert [len(file) for file in files] == sorted(len(file) for file in files)

    def test_residuals_are_dependent(self, data: bytes) -> None:
        assert read_header(data).dependent

    def test_a_level_replaces_the_quality(self, picture: NDArray[np.uint8], cosine: dict[str, Any]) -> None:
        assert read_header(encode(picture, 10, level=200, **cosine)).level == 200


class TestTheSameBytesAndPixels:
    def test_from_run_to_run_with_any_number_of_jobs_and_any_windows(
        self, picture: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        for options in ({}, {"jobs": 1}, {"jobs": 5}, {"window_side": 64}, {"window_side": 256, "jobs": 2}):
            assert encode(picture, 90, chunk_side=128, **options, **cosine) == data

    def test_pixels_do_not_depend_on_windows_and_jobs(
        self, data: bytes, decoded: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        for options in ({"jobs": 1}, {"jobs": 5}, {"window_side": 64}, {"window_side": 256, "jobs": 2}):
            assert levels_apart(decode(data, **options, **cosine), decoded) <= 1

    def test_without_its_halo_a_window_would_show(
        self, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        class Blind(CosineRuntime):
            synthesis_halo = 0

        data = encode(picture.astype(np.uint16) * 257, 90, **cosine)
        whole = decode(data, **cosine)
        assert levels_apart(decode(data, window_side=64, **cosine), whole) <= 1
        result = decode(data, model=cosine["model"], runtime=Blind(), window_side=64)
        assert levels_apart(result, whole) > 100

    def test_without_its_halo_a_window_of_the_analysis_would_tell(
        self, picture: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        manifest = cosine["model"].manifest | {"halo": {"analysis": 0, "decoder": 64}}
        blind = replace(cosine["model"], manifest=manifest)
        options = {"model": blind, "runtime": cosine["runtime"], "chunk_side": 128}
        assert encode(picture, 90, window_side=1024, **options) == data
        assert encode(picture, 90, window_side=64, **options) != data

    @pytest.mark.parametrize("chunk_side", [64, 192, 1024])
    def test_the_quality_does_not_depend_on_chunks(
        self, picture: NDArray[np.uint8], decoded: NDArray[np.uint8], chunk_side: int, cosine: dict[str, Any]
    ) -> None:
        data = encode(picture, 90, chunk_side=chunk_side, window_side=256, **cosine)
        result = decode(data, **cosine)
        expected = peak_signal_to_noise_ratio(picture, decoded)
        assert peak_signal_to_noise_ratio(picture, result) == pytest.approx(expected, abs=0.1)

    @pytest.mark.parametrize("chunk_side", [64, 192])
    def test_a_picture_of_many_chunks_and_windows_is_that_of_its_latents(
        self, picture: NDArray[np.uint8], chunk_side: int, cosine: dict[str, Any]
    ) -> None:
        """What an encoder without windows gives: the whole picture analysed at once, then chunk by chunk."""
        model, runtime = cosine["model"], cosine["runtime"]
        coder = ResidualCoder(model, runtime)
        padded = np.pad(picture, ((0, 20), (0, 28), (0, 0)), mode="edge").astype(np.float32)
        latents = runtime.analyse(padded, 200)
        header = Header(420, 300, 200, model.model_id, chunk_side=chunk_side, dependent=True)
        expected = np.empty_like(latents)
        chunks = []
        for index in range(header.chunk_count):
            box = header.chunk_box(index)
            part = slice(box.y // 16, box.bottom // 16), slice(box.x // 16, box.right // 16)
            chunks.append(coder.encode(latents[part], 200))
            expected[part] = coder.reconstruct(chunks[-1].z, chunks[-1].r, 200)
        data = encode(picture, level=200, chunk_side=chunk_side, window_side=192, **cosine)
        container = read_container(data)
        assert container.header == header
        for index, chunk in enumerate(chunks):
            assert chunk_bytes(container, index) == coder.pack(chunk)
        pixels = runtime.synthesise(expected, 200)[:300, :420]
        assert np.abs(decode(data, window_side=192, **cosine) - pixels.clip(0, 255)).max() < 0.51

    def test_from_several_threads_at_once(
        self, picture: NDArray[np.uint8], data: bytes, decoded: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        def both(_: int) -> tuple[bytes, NDArray[np.uint8]]:
            return encode(picture, 90, chunk_side=128, jobs=2, **cosine), decode(data, jobs=2, **cosine)

        with ThreadPoolExecutor(4) as pool:
            for encoded, pixels in pool.map(both, range(8)):
                assert encoded == data
                assert np.array_equal(pixels, decoded)


def check_region(
    draw: st.DataObject, data: bytes, decoded: NDArray[np.uint8], cosine: dict[str, Any]
) -> None:
    """A region of a file decodes to that part of the whole picture, to within one level."""
    x, y = draw.draw(st.integers(0, 419)), draw.draw(st.integers(0, 299))
    width, height = draw.draw(st.integers(1, 420 - x)), draw.draw(st.integers(1, 300 - y))
    part = decode(data, region=(x, y, width, height), window_side=256, **cosine)
    assert levels_apart(part, decoded[y : y + height, x : x + width]) <= 1


class TestRegionsAndScales:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_a_region_is_that_part_of_the_picture(
        self, data: bytes, decoded: NDArray[np.uint8], cosine: dict[str, Any], draw: st.DataObject
    ) -> None:
        check_region(draw, data, decoded, cosine)

    def test_a_region_reads_only_the_chunks_that_it_touches(self, cosine: dict[str, Any]) -> None:
        data = encode(photograph(768, 768), 90, chunk_side=64, **cosine)
        stream = CountingStream(data)
        decode(stream, region=(340, 340, 20, 20), **cosine)
        header = read_header(data)
        heads = 36 + 8 * 6 * header.chunk_count
        assert stream.bytes_read - heads < len(data) / 10

    @pytest.mark.parametrize("scale", [2, 4, 8, 16, 32])
    def test_a_preview_is_the_mean_of_squares(
        self, data: bytes, decoded: NDArray[np.uint8], scale: int, cosine: dict[str, Any]
    ) -> None:
        preview = decode(data, scale=scale, window_side=256, **cosine)
        assert preview.shape == (-(-300 // scale), -(-420 // scale), 3)
        whole = decoded[: 300 // scale * scale, : 420 // scale * scale].astype(float)
        means = whole.reshape(300 // scale, scale, 420 // scale, scale, 3).mean(axis=(1, 3))
        inside = preview[: 300 // scale, : 420 // scale]
        assert np.abs(inside - means).max() < (1.1 if scale < 8 else 2)  # from 8 on nearly

    @pytest.mark.parametrize("scale", [2, 4, 8, 16, 32])
    def test_a_preview_of_a_region_is_that_part_of_the_preview(
        self, data: bytes, scale: int, cosine: dict[str, Any]
    ) -> None:
        whole = decode(data, scale=scale, **cosine)
        part = decode(data, scale=scale, region=(101, 37, 83, 120), **cosine)
        x, y, right, bottom = 101 // scale, 37 // scale, -(-184 // scale), -(-157 // scale)
        assert levels_apart(part, whole[y:bottom, x:right]) <= 1

    def test_alpha_follows_region_and_scale(self, cosine: dict[str, Any]) -> None:
        alpha = np.zeros((65, 70), np.uint8)
        alpha[10:21, 30:] = 200
        data = encode(np.dstack((photograph(65, 70), alpha)), **cosine)
        assert np.array_equal(decode(data, region=(25, 5, 20, 20), **cosine)[:, :, 3], alpha[5:25, 25:45])
        preview = decode(data, scale=2, **cosine)[:, :, 3]
        assert preview.shape == (33, 35)
        assert preview[10, 20] == 100
        assert preview[7, 20] == 200


class TestNetworks:
    """The same with real transforms, whose sums depend on the windows in their last bits."""

    def test_bytes_do_not_depend_on_jobs(
        self, picture: NDArray[np.uint8], tiny: bytes, tiny_model: Model
    ) -> None:
        for jobs in (1, 4):
            assert encode(picture, 90, chunk_side=128, jobs=jobs, model=tiny_model) == tiny

    def test_bytes_depend_on_windows_no_more_than_by_rounding(
        self, picture: NDArray[np.uint8], tiny: bytes, tiny_model: Model
    ) -> None:
        other = encode(picture, 90, chunk_side=128, window_side=64, model=tiny_model)
        assert len(other) == pytest.approx(len(tiny), rel=0.005)
        ratios = [
            peak_signal_to_noise_ratio(picture, decode(data, model=tiny_model)) for data in (tiny, other)
        ]
        assert ratios[1] == pytest.approx(ratios[0], abs=0.02)

    @pytest.mark.parametrize("options", [{"window_side": 64}, {"jobs": 1, "window_side": 192}])
    def test_pixels_do_not_depend_on_windows(
        self, tiny: bytes, tiny_model: Model, options: dict[str, Any]
    ) -> None:
        assert levels_apart(decode(tiny, model=tiny_model, **options), decode(tiny, model=tiny_model)) <= 1

    @pytest.mark.parametrize(
        "region", [(0, 0, 1, 1), (130, 120, 150, 20), (300, 5, 120, 290), (419, 299, 1, 1)]
    )
    def test_a_region_is_that_part_of_the_picture(
        self, tiny: bytes, tiny_model: Model, region: tuple[int, int, int, int]
    ) -> None:
        x, y, width, height = region
        whole = decode(tiny, model=tiny_model)
        part = decode(tiny, region=region, model=tiny_model)
        assert levels_apart(part, whole[y : y + height, x : x + width]) <= 1


@pytest.fixture(scope="module")
def filtered(picture: NDArray[np.uint8], cosine: dict[str, Any]) -> bytes:
    return encode(picture, 90, effort=1, chunk_side=192, **cosine)


@pytest.fixture(scope="module")
def strong(data: bytes, cosine: dict[str, Any]) -> bytes:
    """Filters that show: each chunk has its own, of random coefficients."""
    return with_coefficients(data, cosine["model"], random_coefficients(12))


@pytest.fixture(scope="module")
def strong_pixels(strong: bytes, cosine: dict[str, Any]) -> NDArray[np.uint8]:
    return decode(strong, **cosine)


class TestPostFilters:
    """Effort 1: the symbols of effort 0, and a filter for each chunk."""

    def test_only_filters_are_added(
        self, filtered: bytes, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        plain = encode(picture, 90, chunk_side=192, **cosine)
        headers = [read_header(one) for one in (plain, filtered)]
        assert not headers[0].filtered
        assert headers[1] == replace(headers[0], filtered=True)
        found = [all_symbols(one, cosine["model"]) for one in (plain, filtered)]
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one.z, other.z)
            assert np.array_equal(one.r, other.r)
            assert one.coefficients is None
        coefficients = [chunk.coefficients for chunk in found[1] if chunk.coefficients is not None]
        assert len(coefficients) == 6
        assert len({one.tobytes() for one in coefficients}) > 3

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("level", [0, 80, 150, 224])
    def test_a_file_costs_no_more_than_without_them(
        self, level: int, seed: int, cosine: dict[str, Any]
    ) -> None:
        source = photograph(200, 150, seed)
        weight = cosine["model"].lambda_of_level(level)

        def cost(effort: int) -> float:
            data = encode(source, level=level, effort=effort, chunk_side=128, **cosine)
            error = np.square(decode(data, **cosine).astype(float) - source)
            return 8 * len(data) + weight * float(error.sum()) / 3

        # Real pixels are rounded and clipped, which the choice does not see.
        assert cost(1) <= 1.005 * cost(0)

    def test_they_make_a_picture_better(
        self, filtered: bytes, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        plain = encode(picture, 90, chunk_side=192, **cosine)
        ratios = [peak_signal_to_noise_ratio(picture, decode(one, **cosine)) for one in (plain, filtered)]
        assert ratios[1] > ratios[0]
        assert len(filtered) < len(plain) + 6 * 16

    def test_bytes_do_not_depend_on_jobs(
        self, filtered: bytes, picture: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        for options in ({}, {"jobs": 1}, {"jobs": 5}, {"window_side": 256, "jobs": 2}):
            assert encode(picture, 90, effort=1, chunk_side=192, **options, **cosine) == filtered

    def test_pixels_are_those_of_the_whole_picture_filtered(
        self, strong: bytes, strong_pixels: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        model, runtime = cosine["model"], cosine["runtime"]
        header, coder = read_header(strong), ResidualCoder(model, runtime)
        latents = np.empty((20, 28, model.latent_channels), np.float32)
        coefficients = {}
        for index, chunk in enumerate(all_symbols(strong, model)):
            box = header.chunk_box(index)
            part = slice(box.y // 16, box.bottom // 16), slice(box.x // 16, box.right // 16)
            latents[part] = coder.reconstruct(chunk.z, chunk.r, header.level)
            coefficients[index] = chunk.coefficients
        whole = Box(0, 0, 448, 320)
        synthesised = runtime.synthesise(latents, header.level)
        pixels = filtered_core(synthesised, Window(whole, whole), header, FilterBasis.of(model), coefficients)
        assert np.abs(strong_pixels - pixels[:300, :420].clip(0, 255)).max() < 0.51
        assert np.abs(pixels - synthesised).mean() > 2

    @pytest.mark.parametrize("options", [{"jobs": 1}, {"jobs": 5}, {"window_side": 64}, {"window_side": 192}])
    def test_pixels_do_not_depend_on_windows_and_jobs(
        self, strong: bytes, strong_pixels: NDArray[np.uint8], options: dict[str, Any], cosine: dict[str, Any]
    ) -> None:
        assert levels_apart(decode(strong, **options, **cosine), strong_pixels) <= 1

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_a_region_is_that_part_of_the_picture(
        self, strong: bytes, strong_pixels: NDArray[np.uint8], cosine: dict[str, Any], draw: st.DataObject
    ) -> None:
        check_region(draw, strong, strong_pixels, cosine)

    @pytest.mark.parametrize("scale", [2, 4])
    def test_a_preview_is_the_mean_of_filtered_pixels(self, scale: int, cosine: dict[str, Any]) -> None:
        source = photograph(300, 420).astype(np.uint16) * 128 + 10000
        plain = encode(source, 90, chunk_side=128, **cosine)
        data = with_coefficients(plain, cosine["model"], random_coefficients(12, most=10))
        whole = decode(data, **cosine).astype(float)
        assert 0 < whole.min() < whole.max() < 65535  # nothing was clipped
        means = whole.reshape(300 // scale, scale, 420 // scale, scale, 3).mean(axis=(1, 3))
        preview = decode(data, scale=scale, window_side=256, **cosine)
        assert np.abs(preview - means).max() < 40
        assert np.abs(decode(plain, scale=scale, **cosine) - means).max() > 400

    @pytest.mark.parametrize("scale", [8, 16])
    def test_a_small_preview_does_without_them(
        self, strong: bytes, data: bytes, scale: int, cosine: dict[str, Any]
    ) -> None:
        assert np.array_equal(decode(strong, scale=scale, **cosine), decode(data, scale=scale, **cosine))

    def test_a_truncated_file_has_them_as_far_as_it_goes(
        self, strong: bytes, strong_pixels: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        """The first sections are the hyper-latents of the chunks, with the filters."""
        for percent in (0, 1, 2, 5, 20, 60, 99):
            cut = max(36, len(strong) * percent // 100)
            result = decode_picture(strong[:cut], allow_partial=True, **cosine)
            assert result.picture.pixels.shape == (300, 420, 3)
            assert not result.complete
        first = 36 + 8 + len(read_container(strong).chunk_payload(SectionKind.HYPER_LATENTS, 0) or b"")
        [one, none] = (
            decode_picture(strong[:cut], allow_partial=True, **cosine).picture.pixels for cut in (first, 36)
        )
        plain = decode_picture(data[:36], allow_partial=True, **cosine).picture.pixels
        assert np.array_equal(none, plain)
        assert np.array_equal(one[130:, 140:], none[130:, 140:])
        assert not np.array_equal(one[:100, :100], none[:100, :100])
        last = decode_picture(strong[:-1], allow_partial=True, **cosine).picture.pixels
        assert np.array_equal(last[:100, :100], strong_pixels[:100, :100])

    def test_a_chunk_whose_hyper_latents_are_damaged_is_not_filtered(
        self, strong: bytes, strong_pixels: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        def without_first(whole: bytes) -> NDArray[np.uint8]:
            payload = read_container(whole).chunk_payload(SectionKind.HYPER_LATENTS, 0)
            assert payload
            damaged = bytearray(whole)
            damaged[whole.index(payload)] ^= 1
            with pytest.raises(ChecksumError):
                decode(bytes(damaged), **cosine)
            result = decode_picture(bytes(damaged), allow_partial=True, **cosine)
            assert "HYPER_LATENTS" in result.problems[0]
            return result.picture.pixels

        found = without_first(strong)
        assert np.array_equal(found[:110, :110], without_first(data)[:110, :110])
        assert np.array_equal(found[150:, 150:], strong_pixels[150:, 150:])

    @pytest.mark.parametrize("value", [32767, -32767])
    def test_the_largest_coefficients_give_a_picture(
        self, value: int, data: bytes, cosine: dict[str, Any]
    ) -> None:
        largest = [np.full(FILTER_COEFFICIENTS, value, np.int16)] * 12
        hostile = with_coefficients(data, cosine["model"], largest)
        for scale in (1, 2):
            result = decode(hostile, scale=scale, **cosine)
            assert result.shape == (300 // scale, 420 // scale, 3)
            assert np.mean((result == 0) | (result == 255)) > 0.8

    def test_they_need_no_keras(
        self,
        filtered: bytes,
        picture: NDArray[np.uint8],
        cosine: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(model: Model) -> None:
            raise MissingDependencyError("pip install 'aecodec[keras]'")

        monkeypatch.setattr(refinement, "open_search", refuse)
        assert encode(picture, 90, effort=1, chunk_side=192, **cosine) == filtered
        with pytest.raises(MissingDependencyError):
            encode(picture, 90, effort=2, chunk_side=192, **cosine)

    @pytest.mark.parametrize("shape", [(1, 1), (70, 90), (64, 65, 3), (30, 200, 4)])
    def test_pictures_of_any_kind_have_them(self, shape: tuple[int, ...], cosine: dict[str, Any]) -> None:
        source = np.dstack((photograph(*shape[:2]), photograph(*shape[:2])[:, :, :1]))
        source = source[:, :, 0] if len(shape) == 2 else source[:, :, : shape[2]]
        for deep in (source, source.astype(np.uint16) * 257):
            data = encode(deep, 80, effort=1, **cosine)
            assert read_header(data).filtered
            result = decode(data, **cosine)
            assert result.shape == deep.shape
            assert result.dtype == deep.dtype
            assert peak_signal_to_noise_ratio(deep, result) > 20

    def test_a_model_without_a_basis_is_refused(
        self, picture: NDArray[np.uint8], cosine: dict[str, Any], tmp_path: Path
    ) -> None:
        folder = write_model(tmp_path / "poor")
        kept = {name: array for name, array in model_arrays().items() if not name.startswith("post_filter/")}
        np.savez(folder / "arrays.npz", **cast("dict[str, Any]", kept))
        options = {"model": load_model_folder(folder), "runtime": cosine["runtime"]}
        assert not read_header(encode(picture, 60, **options)).filtered
        with pytest.raises(ModelError, match="post_filter/"):
            encode(picture, 60, effort=1, **options)

    def test_with_networks_too_pixels_do_not_depend_on_windows(self, tiny: bytes, tiny_model: Model) -> None:
        strong = with_coefficients(tiny, tiny_model, random_coefficients(12))
        whole = decode(strong, model=tiny_model)
        assert levels_apart(whole, decode(tiny, model=tiny_model)) > 20
        for window_side in (64, 192):
            assert levels_apart(decode(strong, window_side=window_side, model=tiny_model), whole) <= 1
        for x, y, width, height in ((0, 0, 1, 1), (120, 120, 150, 20), (300, 5, 120, 290)):
            part = decode(strong, region=(x, y, width, height), model=tiny_model)
            assert levels_apart(part, whole[y : y + height, x : x + width]) <= 1


class CountingStream(io.BytesIO):
    """Counts the bytes that are read from it."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


class TestPartialFiles:
    def test_the_more_there_is_the_better_the_picture(
        self, picture: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        cuts = [max(36, len(data) * percent // 100) for percent in range(0, 100, 5)]
        results = [decode_picture(data[:cut], allow_partial=True, **cosine) for cut in cuts]
        ratios = [peak_signal_to_noise_ratio(picture, result.picture.pixels) for result in results]
        missing = [result.missing for result in results]
        assert ratios == sorted(ratios)
        assert ratios[-1] > ratios[0] + 3
        assert missing == sorted(missing, reverse=True)
        assert missing[0] == 1
        assert not any(result.complete for result in results)
        assert "ends early" in results[5].problems[0]

    def test_a_whole_file_is_complete(self, data: bytes, cosine: dict[str, Any]) -> None:
        result = decode_picture(data, allow_partial=True, **cosine)
        assert (result.complete, result.missing, result.problems) == (True, 0.0, ())

    def test_a_truncated_file_is_refused_unless_allowed(self, data: bytes, cosine: dict[str, Any]) -> None:
        with pytest.raises(TruncatedError):
            decode(data[:-1], **cosine)

    def test_a_damaged_chunk_spoils_only_its_surroundings(
        self, data: bytes, decoded: NDArray[np.uint8], cosine: dict[str, Any]
    ) -> None:
        damaged = bytearray(data)
        damaged[-1] ^= 1  # the last step of the last chunk, at the lower right
        with pytest.raises(ChecksumError):
            decode(bytes(damaged), **cosine)
        result = decode_picture(bytes(damaged), allow_partial=True, **cosine)
        assert "RESIDUALS_4" in result.problems[0]
        assert 0 < result.missing < 0.1
        assert np.array_equal(result.picture.pixels[:100, :100], decoded[:100, :100])
        assert not np.array_equal(result.picture.pixels, decoded)

    def test_missing_alpha_is_opaque(self, cosine: dict[str, Any]) -> None:
        source = np.dstack((photograph(64, 64), np.zeros((64, 64), np.uint8)))
        result = decode_picture(encode(source, **cosine)[:-9], allow_partial=True, **cosine)
        assert result.picture.alpha is not None
        assert (result.picture.alpha == 255).all()
        assert result.missing == 0
        assert any("opaque" in problem for problem in result.problems)


class TestRefusals:
    @pytest.mark.parametrize("quality", [0, 0.99, 101, float("nan"), "75", None, True])
    def test_a_quality_out_of_range(self, quality: Any, cosine: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="quality"):
            encode(photograph(8, 8), quality, **cosine)

    @pytest.mark.parametrize("level", [-1, 225, 1.5, True])
    def test_a_level_out_of_range(self, level: Any, cosine: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="level"):
            encode(photograph(8, 8), level=level, **cosine)

    @pytest.mark.parametrize(
        "options",
        [{"chunk_side": 100}, {"chunk_side": 8192}, {"window_side": 0}, {"window_side": 96}, {"jobs": 0}],
    )
    def test_sides_and_jobs_out_of_range(self, options: dict[str, Any], cosine: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=next(iter(options)).rstrip("s")):
            encode(photograph(8, 8), **options, **cosine)

    @pytest.mark.parametrize("image", ["picture.png", b"", None, [[1, 2]]])
    def test_what_is_no_picture(self, image: Any, cosine: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="encode_file"):
            encode(image, **cosine)

    def test_more_pixels_than_the_limits(self, data: bytes, cosine: dict[str, Any]) -> None:
        limits = Limits(max_pixels=1000)
        with pytest.raises(LimitError):
            encode(photograph(32, 32), limits=limits, **cosine)
        with pytest.raises(LimitError):
            decode(data, limits=limits, **cosine)

    def test_a_model_that_is_not_installed_is_named(self, data: bytes, cosine: dict[str, Any]) -> None:
        with pytest.raises(UnknownModelError, match=cosine["model"].model_id.hex()):
            decode(data, runtime=cosine["runtime"])

    def test_another_model_than_the_file_needs(
        self, data: bytes, cosine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        other = fake_model(tmp_path_factory.mktemp("other"), seed=1)
        with pytest.raises(UnknownModelError, match=other.model_id.hex()):
            decode(data, model=other, runtime=cosine["runtime"])

    def test_a_runtime_that_does_not_exist(self, data: bytes, cosine_model: Model) -> None:
        with pytest.raises(InputError, match="onnx, keras"):
            decode(data, model=cosine_model, runtime="numpy")

    def test_graphs_that_do_not_fit_the_model(self, data: bytes, cosine_model: Model) -> None:
        class Cropping(CosineRuntime):
            def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
                return super().analyse(pixels, level)[1:]

            def synthesise(self, latents: NDArray[np.float32], level: int) -> NDArray[np.float32]:
                return super().synthesise(latents, level)[1:]

        with pytest.raises(ModelError, match="latents"):
            encode(photograph(8, 8), model=cosine_model, runtime=Cropping())
        with pytest.raises(ModelError, match="pixels"):
            decode(data, model=cosine_model, runtime=Cropping())

    def test_a_runtime_whose_package_is_missing(
        self, data: bytes, cosine_model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        monkeypatch.delitem(sys.modules, "aecodec.runtime.onnx", raising=False)
        with pytest.raises(MissingDependencyError, match="pip install"):
            decode(data, model=cosine_model)


class TestHostileFiles:
    @pytest.fixture(params=[False, True])
    def small(self, request: pytest.FixtureRequest, cosine: dict[str, Any]) -> bytes:
        gray = np.full((2, 3, 1), 100, np.uint8)
        data = encode(Picture(gray, gray[:, :, 0], b"icc", ORIENTED, b"<x/>"), 1, **cosine)
        return with_layout(data, cosine["model"], joined=request.param)

    def test_every_truncation_is_a_typed_error(self, small: bytes, cosine: dict[str, Any]) -> None:
        for length in range(len(small)):
            try:
                decode(small[:length], **cosine)
            except (TruncatedError, CorruptedError):
                continue
            # A file may end before optional sections: it is then another, whole file.
            assert length > len(small) - 64

    def test_every_flipped_bit_is_a_typed_error(self, small: bytes, cosine: dict[str, Any]) -> None:
        for position in range(8 * len(small)):
            damaged = bytearray(small)
            damaged[position // 8] ^= 1 << position % 8
            with pytest.raises((FormatError, UnsupportedError)):
                decode(bytes(damaged), **cosine)

    def test_a_contradicting_alpha_plane(self, cosine: dict[str, Any]) -> None:
        from aecodec.container import Section, write_container
        from aecodec.image import plane_to_png

        container = read_container(encode(np.zeros((64, 64, 4), np.uint8), **cosine))
        other = Section(SectionKind.ALPHA, plane_to_png(np.zeros((64, 65), np.uint8)))
        sections = [other if section.kind == SectionKind.ALPHA else section for section in container.sections]
        with pytest.raises(CorruptedError, match="alpha"):
            decode(write_container(container.header, sections), **cosine)

    @pytest.mark.parametrize("kind", [SectionKind.ICC_PROFILE, SectionKind.XMP, SectionKind.ALPHA])
    def test_damage_beside_the_symbols_is_found_before_pixels_are_decoded(
        self, kind: SectionKind, small: bytes, cosine: dict[str, Any]
    ) -> None:
        class NoRuntime(CosineRuntime):
            def hyper_features(self, *arguments: Any) -> Any:
                raise AssertionError("the pixels are decoded")

        [payload] = [section.payload for section in read_container(small).sections if section.kind == kind]
        damaged = small.replace(payload, bytes(len(payload)))
        with pytest.raises(ChecksumError, match=kind.name):
            decode(damaged, model=cosine["model"], runtime=NoRuntime())


class TestProgress:
    def test_it_counts_windows_and_chunks_to_the_end(
        self, picture: NDArray[np.uint8], data: bytes, cosine: dict[str, Any]
    ) -> None:
        chunk_count = read_header(data).chunk_count
        for call in (
            lambda seen: encode(picture, 90, chunk_side=128, window_side=64, progress=seen, **cosine),
            lambda seen: decode(data, window_side=64, progress=seen, **cosine),
        ):
            calls: list[tuple[int, int]] = []
            call(lambda done, total, calls=calls: calls.append((done, total)))
            total = calls[0][1]
            assert calls == [(done, total) for done in range(1, total + 1)]
            assert total > chunk_count

    def test_an_error_in_it_ends_the_work(self, picture: NDArray[np.uint8], cosine: dict[str, Any]) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encode(picture, chunk_side=64, progress=stop, **cosine)
