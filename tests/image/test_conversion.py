"""What becomes of each mode of Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from aecodec.errors import ImageError, LimitError
from aecodec.image import picture_from_pillow, picture_to_array
from tests.image.helpers import ICC_PROFILE, assert_same_samples, exif_bytes, noise, saved_by_pillow


def image_of(mode: str) -> Image.Image:
    """Noise in any of the 8-bit modes."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (23, 19), noise(max(bands, 2), 8)[:, :, :bands].tobytes())


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_plain_modes_are_taken_as_they_are(mode: str) -> None:
    image = image_of(mode)
    assert_same_samples(picture_from_pillow(image), np.asarray(image))


@pytest.mark.parametrize(
    ("mode", "target"),
    [("La", "LA"), ("RGBa", "RGBA"), ("RGBX", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("1", "L")],
)
def test_other_modes_are_converted(mode: str, target: str) -> None:
    image = image_of("RGBA").convert(mode) if mode in ("RGBa", "1") else None
    image = image or (image_of("LA").convert("La") if mode == "La" else image_of(mode))
    assert_same_samples(picture_from_pillow(image), np.asarray(image.convert(target)))


def test_black_and_white_are_0_and_255() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert picture_to_array(picture_from_pillow(image)).tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_16_bit_gray_is_kept(mode: str) -> None:
    samples = noise(1, 16)
    data = samples.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    assert_same_samples(picture_from_pillow(Image.frombytes(mode, (23, 19), data)), samples)


def test_32_bit_gray_within_16_bits_is_16_bit_gray() -> None:
    samples = noise(1, 16)
    image = Image.fromarray(samples.astype(np.int32))
    assert image.mode == "I"
    assert_same_samples(picture_from_pillow(image), samples)


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_32_bit_gray_beyond_16_bits_is_refused(value: int) -> None:
    image = Image.new("I", (2, 2))
    image.putpixel((1, 1), value)
    with pytest.raises(ImageError, match=rf"0\.\.65535.*{value}.*[Ss]cale"):
        picture_from_pillow(image)


@pytest.mark.parametrize(("mode", "advice"), [("CMYK", "profileToProfile"), ("F", "uint16")])
def test_modes_without_a_faithful_conversion_are_refused_with_advice(mode: str, advice: str) -> None:
    with pytest.raises(ImageError, match=advice):
        picture_from_pillow(Image.new(mode, (2, 2)))


def test_lab_is_converted_to_srgb_and_loses_its_profile() -> None:
    colours = image_of("RGB")
    lab = ImageCms.profileToProfile(
        colours, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.info["icc_profile"] = b"a profile of LAB"
    picture = picture_from_pillow(lab)
    assert picture.icc_profile is None
    difference = picture_to_array(picture).astype(int) - np.asarray(colours)
    assert np.abs(difference).mean() < 3


# Palettes


def palette_image(colours: list[tuple[int, int, int]], mode: str = "P") -> Image.Image:
    image = Image.new("P", (4, 1))
    image.putpalette([value for colour in colours for value in colour])
    image.putdata(list(range(4)))
    return image if mode == "P" else image.convert(mode)


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]
GRAYS = [(5, 5, 5), (0, 0, 0), (255, 255, 255), (9, 9, 9)]


def test_a_palette_becomes_its_colours() -> None:
    picture = picture_from_pillow(palette_image(COLOURS))
    assert picture_to_array(picture).tolist() == [[list(colour) for colour in COLOURS]]


def test_a_gray_palette_becomes_gray() -> None:
    picture = picture_from_pillow(palette_image(GRAYS))
    assert picture_to_array(picture).tolist() == [[5, 0, 255, 9]]


def test_a_gray_palette_with_a_profile_stays_rgb() -> None:
    image = palette_image(GRAYS)
    image.info["icc_profile"] = ICC_PROFILE
    assert picture_from_pillow(image).layout == 3


@pytest.mark.parametrize(
    ("transparency", "alpha"), [(1, [255, 0, 255, 255]), (b"\x00\x80", [0, 128, 255, 255])]
)
@pytest.mark.parametrize(("colours", "layout"), [(COLOURS, 3), (GRAYS, 1)])
def test_transparency_of_a_palette_becomes_alpha(
    transparency: int | bytes, alpha: list[int], colours: list[tuple[int, int, int]], layout: int
) -> None:
    image = palette_image(colours)
    image.info["transparency"] = transparency
    picture = picture_from_pillow(image)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [alpha]
    assert picture.layout == layout
    assert picture.pixels[0, :, 0].tolist() == [colour[0] for colour in colours]


def test_a_palette_of_rgba_colours_gives_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 40, 5, 6, 7, 80], "RGBA")
    image.putdata([0, 1])
    assert picture_to_array(picture_from_pillow(image)).tolist() == [[[1, 2, 3, 40], [5, 6, 7, 80]]]


def test_a_palette_with_an_alpha_band_gives_alpha() -> None:
    picture = picture_from_pillow(palette_image(COLOURS, "PA"))
    assert picture.layout == 3
    assert picture.alpha is not None
    assert picture.pixels[0, :, 0].tolist() == [255, 0, 0, 9]


# Transparent colours


@pytest.mark.parametrize(
    ("mode", "pixels", "key", "alpha"),
    [
        ("L", [3, 4], 4, [255, 0]),
        ("1", [0, 255], 255, [255, 0]),
        ("RGB", [(1, 2, 3), (1, 2, 4)], (1, 2, 3), [0, 255]),
        ("I;16", [300, 44], 300, [0, 65535]),
        ("I", [300, 44], 300, [0, 65535]),
    ],
)
def test_a_transparent_colour_becomes_alpha(
    mode: str, pixels: list[int], key: object, alpha: list[int]
) -> None:
    image = Image.new(mode, (2, 1))
    image.putdata(pixels)
    image.info["transparency"] = key
    picture = picture_from_pillow(image)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [alpha]


def test_a_transparent_colour_of_another_kind_is_refused() -> None:
    image = Image.new("RGB", (2, 2))
    image.info["transparency"] = 7
    with pytest.raises(ImageError, match="transparent colour"):
        picture_from_pillow(image)


def test_a_left_over_transparent_colour_beside_alpha_is_ignored() -> None:
    image = image_of("RGBA")
    image.info["transparency"] = (1, 2, 3)
    assert_same_samples(picture_from_pillow(image), np.asarray(image))


# Metadata and opened files


def test_metadata_comes_from_info() -> None:
    image = image_of("RGB")
    image.info |= {"icc_profile": ICC_PROFILE, "exif": exif_bytes(), "xmp": "<x/>"}
    picture = picture_from_pillow(image)
    assert picture.icc_profile == ICC_PROFILE
    assert picture.exif == exif_bytes().removeprefix(b"Exif\0\0")
    assert picture.xmp == b"<x/>"


def test_an_exif_object_in_info_is_taken() -> None:
    image = image_of("RGB")
    image.info["exif"] = Image.Exif()
    image.info["exif"][0x0112] = 3
    assert picture_from_pillow(image).orientation == 3


def test_a_picture_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(LimitError, match="100 x 10"):
        picture_from_pillow(Image.new("L", (100, 10)), max_pixels=999)


def test_an_animation_is_refused_whichever_frame_it_shows() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 200)]
    data = saved_by_pillow(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        with pytest.raises(ImageError, match="2 frames"):
            picture_from_pillow(image)
        assert picture_from_pillow(image.copy()).width == 4


def test_one_picture_of_several_in_a_jpeg_is_taken() -> None:
    first, second = image_of("RGB"), Image.new("RGB", (23, 19))
    data = saved_by_pillow(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, ImageFile.ImageFile)
        assert image.format == "MPO"
        picture = picture_from_pillow(image)
        assert_same_samples(picture, np.asarray(image))
    assert picture.pixels.any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
def test_large_images_are_taken_a_band_at_a_time(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(noise(4, 8)).convert(mode)
    expected = picture_to_array(picture_from_pillow(image))
    monkeypatch.setattr("aecodec.image.conversion._BAND_PIXELS", 70)
    np.testing.assert_array_equal(picture_to_array(picture_from_pillow(image)), expected)
    assert expected.shape[:2] == image.size[::-1]
