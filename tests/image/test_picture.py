from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from aecodec.errors import ImageError
from aecodec.image import (
    Picture,
    apply_orientation,
    from_float_rgb,
    picture_from_array,
    picture_from_pillow,
    picture_to_array,
    picture_to_pillow,
    reduce_to_8_bit,
    samples_from_float_rgb,
    to_float_rgb,
)
from tests.image.helpers import (
    CHANNELS,
    DEPTHS,
    XMP,
    assert_same_samples,
    exif_bytes,
    noise,
    noise_picture,
)

SAMPLES = st.sampled_from(["uint8", "uint16"]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])))
)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_an_array_comes_back_as_it_went_in(channels: int, depth: int) -> None:
    array = noise(channels, depth)
    picture = picture_from_array(array)
    assert (picture.height, picture.width) == array.shape[:2]
    assert (picture.layout, picture.depth) == (1 if channels < 3 else 3, depth)
    assert (picture.alpha is not None) == (channels in (2, 4))
    assert_same_samples(picture, array)


def test_a_third_axis_of_one_channel_is_gray() -> None:
    array = noise(1, 8)
    assert_same_samples(picture_from_array(array[:, :, np.newaxis]), array)


def test_big_endian_and_strided_arrays_are_taken() -> None:
    array = noise(4, 16)
    assert_same_samples(picture_from_array(array.astype(">u2")), array)
    assert_same_samples(picture_from_array(array[::2, ::-1]), array[::2, ::-1])


@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "uint32", "int8"])
def test_other_dtypes_are_refused_with_advice(dtype: str) -> None:
    with pytest.raises(ImageError, match=rf"uint8 or uint16.*{dtype}.*astype"):
        picture_from_array(np.zeros((4, 4), dtype))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 5), (4, 4, 0), (0, 4), (4, 0, 3), (1, 4, 4, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="shape"):
        picture_from_array(np.zeros(shape, np.uint8))


def test_channels_that_come_first_are_noticed() -> None:
    with pytest.raises(ImageError, match="Move the channels last"):
        picture_from_array(np.zeros((3, 40, 50), np.uint8))


def test_lists_are_no_arrays() -> None:
    with pytest.raises(ImageError, match="NumPy array"):
        picture_from_array([[1, 2], [3, 4]])  # type: ignore[arg-type]


def test_a_picture_checks_its_parts() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ImageError, match="alpha"):
        Picture(pixels, np.zeros((5, 4), np.uint8))
    with pytest.raises(ImageError, match="alpha"):
        Picture(pixels, np.zeros((4, 5), np.uint16))
    with pytest.raises(ImageError, match="pixels"):
        Picture(pixels[:, :, :2])
    with pytest.raises(ImageError, match="byte order"):
        Picture(pixels.astype(">u2"))
    with pytest.raises(ImageError, match="xmp"):
        Picture(pixels, xmp="text")  # type: ignore[arg-type]


def test_empty_metadata_is_none_and_exif_has_no_prefix() -> None:
    pixels = np.zeros((1, 1, 1), np.uint8)
    picture = Picture(pixels, icc_profile=b"", exif=b"Exif\0\0Exif\0\0II", xmp=b"")
    assert (picture.icc_profile, picture.exif, picture.xmp) == (None, b"II", None)


# Floats


@given(SAMPLES)
def test_floats_lead_back_to_the_same_samples(samples: np.ndarray) -> None:
    picture = Picture(samples)
    rgb = to_float_rgb(picture)
    assert rgb.dtype == np.float32
    assert rgb.shape == (*samples.shape[:2], 3)
    assert rgb.min() >= 0
    assert rgb.max() <= 255
    assert_same_samples(from_float_rgb(rgb, picture.layout, picture.depth), picture)


@pytest.mark.parametrize("layout", [1, 3])
def test_every_16_bit_value_survives_the_floats(layout: int) -> None:
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(layout, 2)
    np.testing.assert_array_equal(samples_from_float_rgb(to_float_rgb(Picture(samples)), layout, 16), samples)


@given(hnp.arrays("float32", (3, 4, 3), elements=st.floats(-300, 600, width=32)), st.sampled_from([1, 3]))
def test_floats_are_rounded_half_up_and_clipped(rgb: np.ndarray, layout: int) -> None:
    mean = rgb.mean(axis=2, keepdims=True, dtype=np.float32) if layout == 1 else rgb
    for depth, scale, peak in ((8, 1, 255), (16, 257, 65535)):
        expected = np.clip(np.floor(mean * np.float32(scale) + np.float32(0.5)), 0, peak)
        np.testing.assert_array_equal(samples_from_float_rgb(rgb, layout, depth), expected)


def test_a_half_is_rounded_up() -> None:
    rgb = np.full((1, 1, 3), 2.5, np.float32)
    assert samples_from_float_rgb(rgb, 3, 8)[0, 0, 0] == 3


def test_floats_that_are_no_numbers_become_samples() -> None:
    rgb = np.array([np.nan, np.inf, -np.inf], np.float32).reshape(1, 1, 3)
    assert samples_from_float_rgb(rgb, 3, 8).tolist() == [[[0, 255, 0]]]
    assert samples_from_float_rgb(rgb, 3, 16).tolist() == [[[0, 65535, 0]]]


def test_the_float_array_is_left_as_it_was() -> None:
    rgb = np.full((2, 2, 3), 300.25, np.float32)
    from_float_rgb(rgb, 3, 8)
    from_float_rgb(rgb, 1, 16)
    assert (rgb == 300.25).all()


def test_floats_are_combined_with_alpha_and_metadata() -> None:
    alpha = np.full((2, 2), 7, np.uint8)
    picture = from_float_rgb(np.zeros((2, 2, 3), np.float32), 1, 8, alpha, icc_profile=b"p", xmp=b"x")
    assert picture_to_array(picture).tolist() == [[[0, 7]] * 2] * 2
    assert (picture.icc_profile, picture.xmp) == (b"p", b"x")


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "depth"),
    [((2, 2), "f4", 3, 8), ((2, 2, 3), "u1", 3, 8), ((2, 2, 3), "f4", 2, 8), ((2, 2, 3), "f4", 3, 12)],
)
def test_what_is_no_float_picture_is_refused(
    shape: tuple[int, ...], dtype: str, layout: int, depth: int
) -> None:
    with pytest.raises(ImageError, match="Expected"):
        from_float_rgb(np.zeros(shape, dtype), layout, depth)


# Depth


def test_8_bits_are_16_bits_divided_by_257_and_rounded() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    reduced = picture_to_array(reduce_to_8_bit(picture_from_array(values)))
    np.testing.assert_array_equal(reduced, np.floor(values / 257 + 0.5).astype(np.uint8))


def test_reducing_keeps_alpha_metadata_and_8_bit_pictures() -> None:
    deep = noise_picture(4, 16, metadata=True)
    reduced = reduce_to_8_bit(deep)
    assert reduced.alpha is not None
    assert reduced.alpha.dtype == np.uint8
    assert (reduced.icc_profile, reduced.exif, reduced.xmp) == (deep.icc_profile, deep.exif, deep.xmp)
    assert reduce_to_8_bit(reduced) is reduced


# Orientation and metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 4])
def test_the_pixels_are_turned_as_pillow_turns_them(channels: int, orientation: int) -> None:
    picture = picture_from_array(noise(channels, 8), exif=exif_bytes(orientation), xmp=XMP)
    assert picture.orientation == orientation
    turned = apply_orientation(picture)
    expected = ImageOps.exif_transpose(picture_to_pillow(picture))
    assert_same_samples(turned, np.asarray(expected))
    assert turned.orientation == 1


def test_only_the_orientation_is_changed_in_the_metadata() -> None:
    picture = picture_from_array(noise(3, 8), exif=exif_bytes(6), xmp=XMP)
    turned = apply_orientation(picture)
    assert picture.exif is not None
    assert turned.exif == exif_bytes(1).removeprefix(b"Exif\0\0")
    assert turned.xmp == XMP.replace(b'"6"', b'"1"')


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_orientation_is_found_in_both_byte_orders_and_types(order: str, kind: int) -> None:
    import struct

    packed = struct.pack(order + ("HH" if kind == 3 else "I"), *((8, 0) if kind == 3 else (8,)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    exif = head + struct.pack(order + "HHI", 0x0112, kind, 1) + packed + bytes(4)
    picture = picture_from_array(noise(1, 8), exif=exif)
    assert picture.orientation == 8
    assert apply_orientation(picture).orientation == 1


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"nonsense" * 9,
        exif_bytes(9),
        exif_bytes(0),
        exif_bytes(None),
        exif_bytes(6)[:20],
    ],
)
def test_exif_without_a_sound_orientation_changes_nothing(exif: bytes) -> None:
    picture = picture_from_array(noise(3, 8), exif=exif)
    assert picture.orientation == 1
    assert apply_orientation(picture) is picture


@given(st.binary(max_size=64))
def test_hostile_exif_does_no_harm(tail: bytes) -> None:
    picture = picture_from_array(noise(1, 8, 2, 3), exif=b"II*\0\x08\0\0\0" + tail)
    assert apply_orientation(picture).orientation == 1


# Pillow images


@pytest.mark.parametrize(
    ("channels", "depth", "mode"), [(1, 8, "L"), (2, 8, "LA"), (3, 8, "RGB"), (4, 8, "RGBA"), (1, 16, "I;16")]
)
def test_a_pillow_image_comes_back_as_it_went_in(channels: int, depth: int, mode: str) -> None:
    picture = noise_picture(channels, depth, metadata=True)
    image = picture_to_pillow(picture)
    assert image.mode == mode
    assert image.getexif()[0x010F] == "Maker"
    back = picture_from_pillow(image)
    assert_same_samples(back, picture)
    assert (back.icc_profile, back.exif, back.xmp) == (picture.icc_profile, picture.exif, picture.xmp)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colours_do_not_become_a_pillow_image(channels: int) -> None:
    with pytest.raises(ImageError, match="reduce_to_8_bit"):
        picture_to_pillow(noise_picture(channels, 16))


def test_importing_the_module_loads_neither_plugins_nor_runtimes() -> None:
    code = (
        "import sys; import aecodec.image; "
        "print([m for m in sys.modules if m.endswith('ImagePlugin') or "
        "m in ('PIL.features', 'PIL.ImageCms', 'scipy', 'onnxruntime', 'keras', 'constriction')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_pillow_image_without_a_file_may_be_of_any_size() -> None:
    assert picture_from_pillow(Image.new("RGB", (1, 1))).width == 1
