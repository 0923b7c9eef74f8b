from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from aecodec.errors import ImageError, InputError, MissingDependencyError, OutputError
from aecodec.image import (
    WRITABLE_FORMATS,
    apply_orientation,
    format_of,
    load_picture,
    picture_from_array,
    save_picture,
)
from tests.image.helpers import (
    CHANNELS,
    DEPTHS,
    ICC_PROFILE,
    XMP,
    assert_same_samples,
    exif_bytes,
    loaded,
    noise_picture,
    written,
)

WITHOUT_LOSS = {
    "PNG": [(channels, depth) for depth in DEPTHS for channels in CHANNELS],
    "TIFF": [(channels, depth) for depth in DEPTHS for channels in CHANNELS if (channels, depth) != (2, 16)],
    "WEBP": [(3, 8), (4, 8)],
    "BMP": [(1, 8), (3, 8)],
    "PPM": [(1, 8), (3, 8), (1, 16), (3, 16)],
}
WITH_LOSS = {"JPEG": [(1, 8), (3, 8)], "AVIF": [(1, 8), (2, 8), (3, 8), (4, 8)], "WEBP": [(1, 8), (2, 8)]}
NOT_HELD = {
    format: [
        (channels, depth)
        for channels in CHANNELS
        for depth in DEPTHS
        if (channels, depth) not in WITHOUT_LOSS.get(format, []) + WITH_LOSS.get(format, [])
    ]
    for format in WITHOUT_LOSS | WITH_LOSS
}


def cases(table: dict[str, list[tuple[int, int]]]) -> list[Any]:
    missing = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
    return [
        pytest.param(format, *kind, marks=missing if format == "AVIF" else ())
        for format, kinds in table.items()
        for kind in kinds
    ]


@pytest.mark.parametrize(("format", "channels", "depth"), cases(WITHOUT_LOSS))
@pytest.mark.parametrize("metadata", [False, True])
def test_formats_without_loss_give_back_every_sample(
    format: str, channels: int, depth: int, metadata: bool
) -> None:
    picture = noise_picture(channels, depth, metadata=metadata)
    expected = apply_orientation(picture) if format == "TIFF" else picture  # Pillow turns TIFF on reading
    assert_same_samples(loaded(written(picture, format)), expected)


@pytest.mark.parametrize(("format", "channels", "depth"), cases(WITH_LOSS))
def test_formats_with_loss_give_back_nearly_the_same(format: str, channels: int, depth: int) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None], (64, 48, channels)).copy()
    back = loaded(written(picture_from_array(pixels), format))
    assert (back.width, back.height, back.depth) == (48, 64, depth)
    assert (back.alpha is not None) == (channels in (2, 4))
    assert np.abs(back.pixels.astype(int) - ramp[:, None, None]).max() <= 4


@pytest.mark.parametrize(("format", "channels", "depth"), cases(NOT_HELD))
def test_what_a_format_cannot_hold_is_refused_with_those_that_can(
    format: str, channels: int, depth: int
) -> None:
    stream = io.BytesIO()
    with pytest.raises(ImageError, match=rf"{format} cannot hold .*PNG.* can"):
        save_picture(noise_picture(channels, depth), stream, format)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(("format", "side"), [("WEBP", 16_384), ("JPEG", 65_501)])
def test_sides_that_a_format_cannot_hold_are_refused(format: str, side: int) -> None:
    with pytest.raises(ImageError, match=r"sides above .*PNG and TIFF can"):
        written(picture_from_array(np.zeros((1, side), np.uint8)), format)


def test_sides_at_the_limit_are_written() -> None:
    assert loaded(written(picture_from_array(np.zeros((1, 16_383), np.uint8)), "WEBP")).width == 16_383


# Metadata


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_metadata_is_given_back_byte_for_byte(channels: int, format: str) -> None:
    picture = noise_picture(channels, 8, metadata=True)
    back = loaded(written(picture, format))
    assert (back.icc_profile, back.exif, back.xmp) == (picture.icc_profile, picture.exif, picture.xmp)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_metadata_of_a_16_bit_png_is_given_back_byte_for_byte(channels: int) -> None:
    picture = noise_picture(channels, 16, metadata=True)
    back = loaded(written(picture, "PNG"))
    assert (back.icc_profile, back.exif, back.xmp) == (picture.icc_profile, picture.exif, picture.xmp)


@pytest.mark.parametrize("depth", DEPTHS)
def test_metadata_of_a_tiff_says_the_same(depth: int) -> None:
    data = written(noise_picture(3, depth, metadata=True), "TIFF")
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == ICC_PROFILE
        assert image.info["xmp"] == XMP
        exif = image.getexif()
        assert (exif[0x010F], exif[0x0112]) == ("Maker", 6)
        assert exif.get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0a comment"
        assert exif.get_ifd(0x8825)[1] == "N"
    assert loaded(data).exif is not None


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_metadata_of_an_avif_says_the_same() -> None:
    back = loaded(written(noise_picture(3, 8, metadata=True), "AVIF"))
    assert (back.icc_profile, back.xmp, back.orientation) == (ICC_PROFILE, XMP, 6)


@pytest.mark.parametrize("format", ["BMP", "PPM"])
def test_formats_without_metadata_are_written_without(format: str) -> None:
    back = loaded(written(noise_picture(3, 8, metadata=True), format))
    assert (back.icc_profile, back.exif, back.xmp) == (None, None, None)


@pytest.mark.parametrize("name", ["exif", "xmp"])
def test_metadata_that_is_too_long_for_jpeg_is_refused_with_advice(name: str) -> None:
    long = {"exif": exif_bytes(None) + bytes(70_000), "xmp": b"<x/>" + b" " * 70_000}
    picture = picture_from_array(np.zeros((2, 2), np.uint8), **{name: long[name]})
    with pytest.raises(ImageError, match=r"JPEG.*too long.*PNG"):
        written(picture, "JPEG")
    back = loaded(written(picture, "PNG"))
    assert getattr(back, name) == getattr(picture, name)


@pytest.mark.parametrize("exif", [b"no EXIF at all", b"II", b"MM\0*" + bytes(3), exif_bytes(None)[:-9]])
def test_broken_exif_does_not_keep_a_tiff_from_being_written(exif: bytes) -> None:
    others = {"xmp": b"<x:xmpmeta/>", "icc_profile": ICC_PROFILE}
    picture = picture_from_array(np.full((2, 2), 7, np.uint8), exif=exif, **others)
    with pytest.warns(UserWarning, match="EXIF"):
        content = written(picture, "TIFF")
    back = loaded(content)
    assert_same_samples(back, picture)
    assert {"xmp": back.xmp, "icc_profile": back.icc_profile} == others


def test_large_profiles_pass_through_jpeg() -> None:
    profile = ICC_PROFILE + np.random.default_rng(0).bytes(200_000)
    picture = picture_from_array(np.zeros((2, 2), np.uint8), icc_profile=profile)
    assert loaded(written(picture, "JPEG")).icc_profile == profile


# Structure


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (700, 1), (5, 7, 3), (3, 3, 4), (300, 400, 3)])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_pictures_of_every_shape_are_written(shape: tuple[int, ...], format: str) -> None:
    samples = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    samples[: shape[0] // 2] = 40_000  # a flat part, for the filters
    assert_same_samples(loaded(written(picture_from_array(samples), format)), samples)


def test_a_16_bit_png_of_several_bands_is_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecodec.image.png._BAND_BYTES", 300)
    picture = noise_picture(4, 16)
    assert_same_samples(loaded(written(picture, "PNG")), picture)


def test_a_smooth_16_bit_png_becomes_small() -> None:
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16) * 64
    picture = picture_from_array(np.dstack([ramp] * 3))
    assert len(written(picture, "PNG")) < picture.pixels.nbytes / 50
    assert len(written(picture, "TIFF")) < picture.pixels.nbytes / 50


# Targets


@pytest.mark.parametrize(("suffix", "name"), sorted(WRITABLE_FORMATS.items()))
def test_the_suffix_decides(suffix: str, name: str) -> None:
    assert format_of(f"folder/picture{suffix.upper()}") == name
    assert format_of(Path(f"picture{suffix}")) == name
    assert format_of(None, suffix) == format_of(io.BytesIO(), name.lower()) == name


def test_the_given_format_wins(tmp_path: Path) -> None:
    path = tmp_path / "picture.dat"
    save_picture(noise_picture(3, 8), path, "bmp")
    assert path.read_bytes().startswith(b"BM")


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.aec", ".png"])
def test_unknown_formats_are_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PNG \(\.png\), TIFF \(\.tif, \.tiff\)"):
        save_picture(noise_picture(1, 8), tmp_path / name)


def test_a_file_object_needs_a_format_or_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a format"):
        save_picture(noise_picture(1, 8), io.BytesIO())
    with (tmp_path / "picture.png").open("wb") as stream:
        save_picture(noise_picture(1, 8), stream)
    assert_same_samples(load_picture(tmp_path / "picture.png"), noise_picture(1, 8))


def test_a_file_is_replaced_only_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        save_picture(noise_picture(1, 8), path, overwrite=False)
    assert path.read_bytes() == b"old"
    save_picture(noise_picture(1, 8), path)
    assert_same_samples(load_picture(path), noise_picture(1, 8))


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_picture(noise_picture(1, 8), path)
    assert [item.name for item in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        save_picture(noise_picture(1, 8), tmp_path / "nowhere" / "picture.png")


def test_a_file_object_that_fails_is_an_output_error() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        save_picture(noise_picture(1, 8), Full(), "PNG")


def test_a_pillow_without_support_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(MissingDependencyError, match="AVIF support"):
        written(noise_picture(3, 8), "AVIF")


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP"])
def test_large_pictures_are_written_as_small_ones(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise_picture(3, 8, metadata=format != "BMP")
    expected = written(picture, format)
    monkeypatch.setattr("aecodec.image.writing._MEMORY_BYTES", 100)
    assert written(picture, format) == expected
