"""Pictures of one chunk have one section for it: which these are, and what a part of such a file gives."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aecodec.codec import decode, decode_picture, encode
from aecodec.container import (
    CHUNK_KINDS,
    HEADER_SIZE,
    SECTION_OVERHEAD,
    ContainerReader,
    Section,
    SectionKind,
    read_container,
    read_header,
    write_container,
)
from aecodec.entropy import PART_COUNT, decode_parts, empty_planes
from aecodec.errors import ChecksumError, CorruptedError, TruncatedError
from aecodec.image import Picture
from aecodec.models import Model
from aecodec.residuals import ResidualCoder
from aecodec.sections import SectionSource
from aecodec.targets import peak_signal_to_noise_ratio
from aecodec.verification import symbols, symbols_hash, verify
from aecodec.windows import HYPER_STRIDE
from tests.entropy.helpers import FILTER_COEFFICIENTS
from tests.helpers import (
    all_symbols,
    chunk_bytes,
    photograph,
    random_coefficients,
    with_coefficients,
    with_layout,
)

Pixels = NDArray[np.uint8]
BEFORE_PAYLOAD = HEADER_SIZE + SECTION_OVERHEAD


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return photograph(300, 420)


@pytest.fixture(scope="module")
def data(picture: Pixels, cosine: dict[str, Any]) -> bytes:
    """A header and one section."""
    return encode(picture, 90, **cosine)


@pytest.fixture(scope="module")
def decoded(data: bytes, cosine: dict[str, Any]) -> Pixels:
    return decode(data, **cosine)


@pytest.fixture(scope="module")
def in_six(data: bytes, cosine_model: Model) -> bytes:
    """The same symbols in six sections."""
    return with_layout(data, cosine_model, joined=False)


@pytest.fixture(scope="module")
def chunks(picture: Pixels, cosine: dict[str, Any]) -> bytes:
    """A picture of twelve chunks in six sections each."""
    return encode(picture, 90, chunk_side=128, **cosine)


@pytest.fixture(scope="module")
def joined_chunks(chunks: bytes, cosine_model: Model) -> bytes:
    """The same in one section each, which the format allows, too."""
    return with_layout(chunks, cosine_model, joined=True)


def partial(data: bytes, cosine: dict[str, Any], **options: Any) -> tuple[Pixels, float, tuple[str, ...]]:
    """Pixels, the fraction missing, and the problems."""
    result = decode_picture(data, allow_partial=True, **options, **cosine)
    assert not result.complete
    return result.picture.pixels, result.missing, result.problems


def flipped(data: bytes, place: int) -> bytes:
    damaged = bytearray(data)
    damaged[place] ^= 0x5A
    return bytes(damaged)


class TestWhichPictures:
    @pytest.mark.parametrize(
        ("height", "width", "options", "joined"),
        [
            (1, 1, {}, True),
            (100, 90, {}, True),
            (100, 90, {"chunk_side": 128}, True),
            (100, 128, {"chunk_side": 128}, True),
            (100, 129, {"chunk_side": 128}, False),
            (129, 100, {"chunk_side": 128}, False),
            (100, 90, {"chunk_side": 2048}, True),
            (16, 1024, {}, True),
            (1024, 16, {}, True),
            (16, 1025, {}, False),
            (1025, 16, {}, False),
            (16, 1025, {"chunk_side": 2048}, False),
            (100, 90, {"effort": 1}, True),
            (100, 129, {"chunk_side": 128, "effort": 1}, False),
        ],
    )
    def test_those_of_one_chunk_of_up_to_1024_pixels_a_side(
        self, height: int, width: int, options: dict[str, Any], joined: bool, cosine: dict[str, Any]
    ) -> None:
        source = photograph(height, width)
        data = encode(source, 95, **options, **cosine)
        container = read_container(data)
        assert container.header.joined == joined
        kinds = [section.kind for section in container.sections]
        expected = [SectionKind.SYMBOLS] if joined else CHUNK_KINDS
        assert kinds == [kind for kind in expected for _ in range(container.header.chunk_count)]
        assert peak_signal_to_noise_ratio(source, decode(data, **cosine)) > 25

    def test_alpha_and_metadata_are_beside_the_one_section(self, cosine: dict[str, Any]) -> None:
        gray = photograph(65, 130)[:, :, :1]
        source = Picture(gray, gray[:, :, 0], b"icc", b"II*\0", b"xmp")
        data = encode(source, 30, **cosine)
        kinds = [section.kind for section in read_container(data).sections]
        kind = SectionKind
        assert kinds == [kind.ICC_PROFILE, kind.EXIF, kind.XMP, kind.SYMBOLS, kind.ALPHA]
        found = decode_picture(data, **cosine).picture
        assert np.array_equal(found.alpha, gray[:, :, 0])
        assert (found.icc_profile, found.exif, found.xmp) == (b"icc", b"II*\0", b"xmp")

    def test_the_section_holds_what_the_coder_makes_of_the_chunk(
        self, data: bytes, picture: Pixels, cosine: dict[str, Any]
    ) -> None:
        header, coder = read_header(data), ResidualCoder(cosine["model"], cosine["runtime"])
        padded = np.pad(picture, ((0, 20), (0, 28), (0, 0)), mode="edge").astype(np.float32)
        coded = coder.encode(coder.runtime.analyse(padded, header.level), header.level)
        assert chunk_bytes(read_container(data), 0) == coder.pack(coded, joined=True)


class TestTheSameAsInSix:
    def test_the_pixels_and_the_hash_of_the_symbols_are_the_same(
        self, data: bytes, in_six: bytes, decoded: Pixels, cosine: dict[str, Any]
    ) -> None:
        assert not read_header(in_six).joined
        assert np.array_equal(decode(in_six, **cosine), decoded)
        assert symbols_hash(data, model=cosine["model"]) == symbols_hash(in_six, model=cosine["model"])
        [(z, r)], [(other_z, other_r)] = (symbols(one, model=cosine["model"]) for one in (data, in_six))
        assert np.array_equal(z, other_z)
        assert np.array_equal(r, other_r)

    def test_the_file_is_shorter_by_five_heads_and_states(self, data: bytes, in_six: bytes) -> None:
        of_states = len(in_six) - len(data) - 5 * SECTION_OVERHEAD
        assert 5 <= of_states <= 20

    def test_post_filters_are_the_same(self, data: bytes, in_six: bytes, cosine: dict[str, Any]) -> None:
        model, [coefficients] = cosine["model"], random_coefficients(1)
        strong, other = (with_coefficients(one, model, [coefficients]) for one in (data, in_six))
        assert read_header(strong).joined
        assert not read_header(other).joined
        assert np.array_equal(all_symbols(strong, model)[0].coefficients, coefficients)
        pixels = decode(strong, **cosine)
        assert np.array_equal(pixels, decode(other, **cosine))
        assert np.abs(pixels.astype(int) - decode(data, **cosine)).mean() > 1
        assert symbols_hash(strong, model=model) == symbols_hash(other, model=model)
        assert symbols_hash(strong, model=model) != symbols_hash(data, model=model)

    def test_several_chunks_may_be_joined(
        self, chunks: bytes, joined_chunks: bytes, cosine: dict[str, Any]
    ) -> None:
        assert read_header(joined_chunks).joined
        assert np.array_equal(decode(joined_chunks, **cosine), decode(chunks, **cosine))
        hashes = [symbols_hash(one, model=cosine["model"], jobs=3) for one in (chunks, joined_chunks)]
        assert hashes[0] == hashes[1]
        assert verify(joined_chunks, model=cosine["model"]).symbols_hash == hashes[0]


class TestWhole:
    def test_bytes_and_pixels_do_not_depend_on_windows_and_jobs(
        self, data: bytes, decoded: Pixels, picture: Pixels, cosine: dict[str, Any]
    ) -> None:
        for options in ({"jobs": 1}, {"jobs": 5}, {"window_side": 64}, {"window_side": 256, "jobs": 2}):
            assert encode(picture, 90, **options, **cosine) == data
            assert np.abs(decode(data, **options, **cosine).astype(int) - decoded).max() <= 1

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_a_region_is_that_part_of_the_picture(
        self, data: bytes, decoded: Pixels, cosine: dict[str, Any], draw: st.DataObject
    ) -> None:
        x, y = draw.draw(st.integers(0, 419)), draw.draw(st.integers(0, 299))
        width, height = draw.draw(st.integers(1, 420 - x)), draw.draw(st.integers(1, 300 - y))
        part = decode(data, region=(x, y, width, height), window_side=256, **cosine)
        expected = decoded[y : y + height, x : x + width].astype(int)
        assert part.shape == expected.shape
        assert np.abs(part - expected).max() <= 1

    @pytest.mark.parametrize("scale", [2, 4, 8, 16, 32])
    def test_a_preview_is_that_of_six_sections(
        self, data: bytes, in_six: bytes, scale: int, cosine: dict[str, Any]
    ) -> None:
        preview = decode(data, scale=scale, **cosine)
        assert preview.shape == (-(-300 // scale), -(-420 // scale), 3)
        assert np.array_equal(preview, decode(in_six, scale=scale, **cosine))

    def test_a_payload_that_decodes_to_nothing_is_refused(self, data: bytes, cosine: dict[str, Any]) -> None:
        container = read_container(data)
        [section] = container.sections
        for payload in (b"\1\2\3\4", section.payload + b"\1" * 4, b"\0" + section.payload):
            hostile = write_container(container.header, [Section(section.kind, payload)])
            for options in ({}, {"allow_partial": True}):
                with pytest.raises(CorruptedError):
                    decode_picture(hostile, **options, **cosine)
            report = verify(hostile, model=cosine["model"])
            assert [type(problem) for problem in report.problems] == [CorruptedError]


def parts_of(data: bytes, model: Model) -> int:
    """How many parts of its chunk the file holds that begins with these bytes of another."""
    reader = ContainerReader(io.BytesIO(data), allow_truncated=True)
    header, box = reader.header, reader.header.chunk_box(0)
    z, r = empty_planes((box.height // HYPER_STRIDE, box.width // HYPER_STRIDE), model.entropy)
    parts = decode_parts(
        SectionSource(reader, tolerant=True).chunk(0),
        z,
        r,
        header.level,
        model.entropy,
        dependent=header.dependent,
        coefficients=np.zeros(FILTER_COEFFICIENTS, np.int16) if header.filtered else None,
    )
    return len(list(parts))


class TestCutOff:
    def test_the_more_there_is_the_better_the_picture(
        self, picture: Pixels, data: bytes, cosine: dict[str, Any]
    ) -> None:
        cuts = [max(HEADER_SIZE, len(data) * percent // 100) for percent in range(0, 100, 5)]
        results = [partial(data[:cut], cosine) for cut in cuts]
        ratios = [peak_signal_to_noise_ratio(picture, pixels) for pixels, _, _ in results]
        assert ratios == sorted(ratios)
        assert len(set(ratios)) == PART_COUNT
        assert ratios[-1] > ratios[0] + 3
        for cut, (_, missing, problems) in zip(cuts, results, strict=True):
            there = max(cut - BEFORE_PAYLOAD, 0)
            assert missing == pytest.approx(1 - there / (len(data) - BEFORE_PAYLOAD))
            assert "ends early" in problems[0]
            assert "SYMBOLS" in problems[0]

    def test_it_gives_what_six_sections_give_behind_the_same_part(
        self, data: bytes, in_six: bytes, cosine: dict[str, Any]
    ) -> None:
        ends = [HEADER_SIZE]
        for section in read_container(in_six).sections:
            ends.append(ends[-1] + SECTION_OVERHEAD + len(section.payload))
        seen = set()
        for percent in range(0, 100, 7):
            cut = data[: max(HEADER_SIZE, len(data) * percent // 100)]
            parts = parts_of(cut, cosine["model"])
            seen.add(parts)
            expected, _, _ = partial(in_six[: ends[parts]], cosine)
            assert np.array_equal(partial(cut, cosine)[0], expected)
        assert seen == set(range(PART_COUNT))

    def test_right_before_its_end_almost_nothing_is_missing(
        self, picture: Pixels, data: bytes, decoded: Pixels, cosine: dict[str, Any]
    ) -> None:
        pixels, missing, _ = partial(data[:-1], cosine)
        assert missing == pytest.approx(1 / (len(data) - BEFORE_PAYLOAD))
        assert parts_of(data[:-1], cosine["model"]) == PART_COUNT - 1
        assert not np.array_equal(pixels, decoded)

    def test_any_length_gives_a_picture(self, cosine: dict[str, Any]) -> None:
        data = encode(photograph(20, 30), 40, **cosine)
        for length in (*range(HEADER_SIZE, len(data), 5), BEFORE_PAYLOAD, len(data) - 1):
            with pytest.raises(TruncatedError):
                decode(data[:length], **cosine)
            pixels, missing, _ = partial(data[:length], cosine)
            assert pixels.shape == (20, 30, 3)
            assert (missing == 1) == (length <= BEFORE_PAYLOAD)

    def test_regions_and_previews_are_those_of_the_partial_picture(
        self, data: bytes, cosine: dict[str, Any]
    ) -> None:
        cut = data[: len(data) * 2 // 3]
        whole = partial(cut, cosine)[0].astype(int)
        part, missing, _ = partial(cut, cosine, region=(101, 37, 83, 120), window_side=256)
        assert np.abs(part - whole[37:157, 101:184]).max() <= 1
        assert missing == pytest.approx(partial(cut, cosine)[1])
        preview = partial(cut, cosine, scale=2)[0]
        means = whole.reshape(150, 2, 210, 2, 3).mean(axis=(1, 3))
        assert np.abs(preview - means).max() < 1.1

    def test_the_post_filter_is_there_with_the_hyper_latents(
        self, data: bytes, cosine: dict[str, Any]
    ) -> None:
        strong = with_coefficients(data, cosine["model"], random_coefficients(1))
        for percent in (0, 1, 20, 60, 99):
            cut, plain = (one[: max(HEADER_SIZE, len(one) * percent // 100)] for one in (strong, data))
            same = np.array_equal(partial(cut, cosine)[0], partial(plain, cosine)[0])
            assert same == (parts_of(cut, cosine["model"]) == 0)

    def test_chunks_before_the_cut_are_whole_and_those_behind_it_are_missing(
        self, chunks: bytes, joined_chunks: bytes, cosine: dict[str, Any]
    ) -> None:
        sizes = [
            SECTION_OVERHEAD + len(section.payload) for section in read_container(joined_chunks).sections
        ]
        cut = joined_chunks[: HEADER_SIZE + sum(sizes[:5]) + sizes[5] // 2]
        pixels, missing, problems = partial(cut, cosine)
        assert 6.4 / 12 < missing < 6.6 / 12
        assert "7 of SYMBOLS" in problems[0]
        assert np.array_equal(pixels[:100, :400], decode(chunks, **cosine)[:100, :400])
        assert not np.array_equal(pixels[256:], decode(chunks, **cosine)[256:])

    def test_alpha_behind_the_cut_is_opaque(self, cosine: dict[str, Any]) -> None:
        source = np.dstack((photograph(64, 64), np.zeros((64, 64), np.uint8)))
        data = encode(source, **cosine)
        size = len(read_container(data).sections[0].payload)
        for length in (BEFORE_PAYLOAD + size // 2, BEFORE_PAYLOAD + size, len(data) - 1):
            result = decode_picture(data[:length], allow_partial=True, **cosine)
            assert result.picture.alpha is not None
            assert (result.picture.alpha == 255).all()
            assert (result.missing > 0) == (length < BEFORE_PAYLOAD + size)
            assert any("opaque" in problem for problem in result.problems)

    def test_it_is_told_by_verify(self, data: bytes, cosine_model: Model) -> None:
        for length in (HEADER_SIZE, BEFORE_PAYLOAD, len(data) // 2, len(data) - 1):
            report = verify(data[:length], model=cosine_model)
            assert [type(problem) for problem in report.problems] == [TruncatedError]
            assert report.symbols_hash is None


class TestDamaged:
    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_it_is_refused_or_decoded_as_it_stands(
        self, data: bytes, cosine: dict[str, Any], draw: st.DataObject
    ) -> None:
        damaged = flipped(data, draw.draw(st.integers(BEFORE_PAYLOAD, len(data) - 1)))
        with pytest.raises(ChecksumError, match="SYMBOLS"):
            decode(damaged, **cosine)
        pixels, missing, [problem] = partial(damaged, cosine)
        assert pixels.shape == (300, 420, 3)
        assert missing == 1
        assert "SYMBOLS" in problem

    def test_the_later_the_damage_the_better_the_picture(
        self, picture: Pixels, data: bytes, cosine: dict[str, Any]
    ) -> None:
        places = [BEFORE_PAYLOAD + 1, len(data) // 2, len(data) - 40]
        ratios = [
            peak_signal_to_noise_ratio(picture, partial(flipped(data, place), cosine)[0]) for place in places
        ]
        assert ratios == sorted(ratios)
        assert ratios[-1] > ratios[0] + 10

    def test_where_the_checksum_is_damaged_nothing_is_lost(
        self, data: bytes, decoded: Pixels, cosine: dict[str, Any]
    ) -> None:
        pixels, missing, _ = partial(flipped(data, HEADER_SIZE + 4), cosine)
        assert np.array_equal(pixels, decoded)
        assert missing == 1  # nothing vouches for it

    def test_one_chunk_spoils_only_its_surroundings(
        self, chunks: bytes, joined_chunks: bytes, cosine: dict[str, Any]
    ) -> None:
        damaged = flipped(joined_chunks, len(joined_chunks) - 100)  # the last chunk, at the lower right
        pixels, missing, [problem] = partial(damaged, cosine)
        assert "SYMBOLS" in problem
        assert missing == pytest.approx(1 / 12)
        whole = decode(chunks, **cosine)
        assert np.array_equal(pixels[:200, :300], whole[:200, :300])
        assert not np.array_equal(pixels, whole)

    def test_what_is_damaged_and_cut_off_is_a_picture(self, data: bytes, cosine: dict[str, Any]) -> None:
        for place in range(BEFORE_PAYLOAD, len(data), len(data) // 12):
            damaged = flipped(data, place)[: max(place + 1, len(data) * 2 // 3)]
            pixels, _, _ = partial(damaged, cosine)
            assert pixels.shape == (300, 420, 3)

    def test_it_is_told_by_verify(self, data: bytes, joined_chunks: bytes, cosine_model: Model) -> None:
        for whole in (data, joined_chunks):
            report = verify(flipped(whole, len(whole) // 2), model=cosine_model)
            assert [type(problem) for problem in report.problems] == [ChecksumError]
            assert report.symbols_hash is None
            assert "SYMBOLS" in str(report.problems[0])
