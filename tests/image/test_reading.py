"""Picture files of other programs (here: Pillow, and files put together byte by byte)."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, features

from aecodec.errors import AecodecError, ImageError, LimitError, MissingDependencyError
from aecodec.image import Picture, load_picture, picture_from_pillow, picture_to_array
from tests.image.helpers import (
    ICC_PROFILE,
    assert_same_samples,
    exif_bytes,
    loaded,
    noise,
    noise_picture,
    saved_by_pillow,
    written,
)

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
AVIF = pytest.param("AVIF", marks=needs_avif)


def image_of(channels: int) -> Image.Image:
    return Image.fromarray(noise(channels, 8))


# Formats


@pytest.mark.parametrize(
    ("format", "channels", "options"),
    [
        ("PNG", 1, {}),
        ("PNG", 2, {}),
        ("PNG", 3, {}),
        ("PNG", 4, {}),
        ("TIFF", 1, {}),
        ("TIFF", 2, {}),
        ("TIFF", 3, {"compression": "tiff_lzw"}),
        ("TIFF", 4, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", 3, {"big_tiff": True}),
        ("WEBP", 3, {"lossless": True}),
        ("WEBP", 4, {"lossless": True, "exact": True}),
        ("BMP", 1, {}),
        ("BMP", 3, {}),
        ("PPM", 1, {}),
        ("PPM", 3, {}),
        ("GIF", 1, {}),
    ],
)
def test_files_without_loss_are_read_without_loss(
    format: str, channels: int, options: dict[str, Any]
) -> None:
    assert_same_samples(loaded(saved_by_pillow(image_of(channels), format, **options)), noise(channels, 8))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", AVIF])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_with_loss_are_read_as_pillow_reads_them(format: str, channels: int) -> None:
    data = saved_by_pillow(image_of(channels), format)
    with Image.open(io.BytesIO(data)) as image:
        assert_same_samples(loaded(data), np.asarray(image))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP", AVIF])
def test_metadata_is_read(format: str) -> None:
    options = {"icc_profile": ICC_PROFILE, "exif": exif_bytes(None)}
    picture = loaded(written(noise_picture(3, 8, metadata=True), format))
    plain = loaded(saved_by_pillow(image_of(3), format, **options))
    assert picture.icc_profile == plain.icc_profile == ICC_PROFILE
    assert picture.xmp is not None
    assert plain.xmp is None
    for found in (picture, plain):
        exif = Image.Exif()
        exif.load(found.exif or b"")
        assert exif[0x010F] == "Maker"
        assert exif.get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0a comment"
        assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", AVIF])
def test_the_orientation_is_kept_and_the_pixels_are_not_turned(format: str) -> None:
    picture = loaded(saved_by_pillow(image_of(3), format, exif=exif_bytes(6)))
    assert picture.orientation == 6
    assert (picture.width, picture.height) == (23, 19)


@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_pictures_are_turned_upright(depth: int) -> None:
    data = written(noise_picture(3, depth, metadata=True), "TIFF")
    picture = loaded(data)
    assert_same_samples(picture, np.rot90(noise(3, depth), -1))
    assert picture.orientation == 1


def test_metadata_behind_the_pixels_of_a_png_is_read() -> None:
    data = saved_by_pillow(image_of(3), "PNG")
    end = data.index(b"IEND") - 4
    exif = exif_bytes().removeprefix(b"Exif\0\0")
    picture = loaded(data[:end] + png_chunk(b"eXIf", exif) + data[end:])
    assert picture.exif == exif


def test_exif_that_imagemagick_hides_in_a_text_is_read() -> None:
    content = exif_bytes(5).hex()
    info = Image.new("L", (2, 2))
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(content) // 2}\n{content}\n")
    assert loaded(saved_by_pillow(info, "PNG", pnginfo=text)).orientation == 5


def test_a_tiff_without_description_has_no_exif() -> None:
    assert loaded(saved_by_pillow(image_of(1), "TIFF")).exif is None


def test_tiff_tags_about_the_storage_do_not_become_exif() -> None:
    picture = loaded(saved_by_pillow(image_of(1), "TIFF", software="program"))
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    assert dict(exif) == {0x0131: "program"}


def test_broken_exif_of_a_tiff_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved_by_pillow(image_of(1), "TIFF", software="program")

    def fail(self: object, offset: int = 8) -> bytes:
        raise struct.error("odd tag")

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    with pytest.warns(UserWarning, match="odd tag"):
        picture = loaded(data)
    assert picture.exif is None
    assert_same_samples(picture, noise(1, 8))


def test_a_gif_with_transparency_has_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    picture = loaded(saved_by_pillow(image, "GIF", transparency=1))
    assert picture_to_array(picture).tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_transparent_gray_of_a_png_is_scaled_like_its_pixels(bits: int) -> None:
    peak = 2**bits - 1
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    row = bytes([0, (peak << (8 - bits)) & 0xFF])  # the peak, then 0
    data = png_file(header, row, [(b"tRNS", struct.pack(">H", peak))])
    assert picture_to_array(loaded(data)).tolist() == [[[255, 0], [0, 255]]]


def test_several_frames_or_pages_are_refused_with_advice() -> None:
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        frames = [Image.new("L", (4, 4), value) for value in (0, 200)]
        data = saved_by_pillow(frames[0], format, save_all=True, append_images=frames[1:])
        with pytest.raises(ImageError, match=r"Found 2 frames or pages: choose one.*seek"):
            loaded(data)


def test_the_first_of_several_pictures_in_a_jpeg_is_taken() -> None:
    first, second = image_of(3), Image.new("RGB", (23, 19))
    data = saved_by_pillow(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
        assert_same_samples(loaded(data), np.asarray(image))


def test_cmyk_is_refused_with_advice() -> None:
    with pytest.raises(ImageError, match="profileToProfile"):
        loaded(saved_by_pillow(Image.new("CMYK", (8, 8)), "JPEG"))


def test_lab_tiff_is_converted() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (200, 30, 60)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    picture = loaded(saved_by_pillow(lab, "TIFF"))
    assert np.abs(picture.pixels[0, 0].astype(int) - (200, 30, 60)).max() <= 3


# 16 bits


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_file(header: bytes, rows: bytes, others: list[tuple[bytes, bytes]] | None = None) -> bytes:
    chunks = [(b"IHDR", header), *(others or []), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def interlaced_png(samples: np.ndarray, colour_type: int) -> bytes:
    """Adam7 (ISO/IEC 15948, 8.2) without filters."""
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    parts = [samples[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    height, width = samples.shape[:2]
    return png_file(struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 1), rows)


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bit_interlaced_png_keeps_16_bits(channels: int, colour_type: int) -> None:
    samples = noise(channels, 16)
    assert_same_samples(loaded(interlaced_png(samples, colour_type)), samples)


def test_a_transparent_colour_of_a_16_bit_png_is_compared_with_all_16_bits() -> None:
    colours = np.array([[[258, 259, 260], [258, 259, 261]]], ">u2")
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    key = struct.pack(">HHH", 258, 259, 260)
    picture = loaded(png_file(header, b"\0" + colours.tobytes(), [(b"tRNS", key)]))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 65535]]
    np.testing.assert_array_equal(picture.pixels, colours)


def tiff_of(samples: np.ndarray, tags: dict[int, Any], order: str = "<") -> bytes:
    """An uncompressed TIFF of one strip."""
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II" if order == "<" else b"MM")
    structure: dict[int, Any] = {
        256: samples.shape[1],
        257: samples.shape[0],
        258: (8 * samples.dtype.itemsize,) * channels,
        262: 1 if channels == 1 else 2,
        273: (0,),
        277: channels,
        278: samples.shape[0],
        279: (len(data),),
    }
    for tag, value in (structure | tags).items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    return stream.getvalue() + data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("channels", "extra"), [(1, None), (3, None), (4, None), (4, 2), (4, 0)])
def test_16_bit_tiff_keeps_16_bits(channels: int, extra: int | None, order: str) -> None:
    samples = noise(channels, 16)
    data = tiff_of(samples, {} if extra is None else {338: (extra,)}, order)
    expected = samples[:, :, :3] if extra == 0 else samples
    assert_same_samples(loaded(data), expected)


def test_16_bit_tiff_with_premultiplied_alpha_is_unpremultiplied() -> None:
    colours = np.array([[[1000, 2000, 65535, 32768], [5, 6, 7, 0], [65535, 9, 8, 65535]]], np.uint16)
    picture = loaded(tiff_of(colours, {338: (1,)}))
    assert picture.pixels.tolist() == [[[2000, 4000, 65535], [0, 0, 0], [65535, 9, 8]]]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[32768, 0, 65535]]


def test_16_bit_tiff_with_separate_planes_is_refused_with_advice() -> None:
    planes = np.ascontiguousarray(noise(3, 16).transpose(2, 0, 1)).reshape(-1, 23)
    size = planes.nbytes // 3
    tags = {
        257: 19,
        258: (16,) * 3,
        262: 2,
        273: (0, size, 2 * size),
        277: 3,
        278: 19,
        279: (size,) * 3,
        284: 2,
    }
    with pytest.raises(ImageError, match="contig"):
        loaded(tiff_of(planes, tags))


def test_a_tiff_where_white_is_zero_is_inverted() -> None:
    samples = noise(1, 16)
    assert_same_samples(loaded(tiff_of(samples, {262: 0})), 65535 - samples)


def test_a_12_bit_tiff_is_scaled_to_16_bits() -> None:
    packed = np.array([[0x00, 0x0F, 0xFF]], np.uint8)  # the samples 0x000 and 0xFFF
    picture = loaded(tiff_of(packed, {256: 2, 258: (12,)}))
    assert picture_to_array(picture).tolist() == [[0, 65535]]


def test_negative_samples_of_a_tiff_are_refused() -> None:
    samples = np.array([[-5, 7]], np.int16)
    with pytest.raises(ImageError, match=r"0\.\.65535"):
        loaded(tiff_of(samples, {339: (2,)}))


@pytest.mark.parametrize(("kind", "channels"), [("P5", 1), ("P6", 3)])
def test_16_bit_pgm_and_ppm_keep_16_bits(kind: str, channels: int) -> None:
    samples = noise(channels, 16)
    head = f"{kind} # a comment\n23\t19\n65535\n".encode()
    assert_same_samples(loaded(head + samples.astype(">u2").tobytes() + b"more"), samples)


@pytest.mark.parametrize(("kind", "channels"), [("P2", 1), ("P3", 3)])
def test_16_bit_plain_pgm_and_ppm_keep_16_bits(kind: str, channels: int) -> None:
    samples = noise(channels, 16)
    text = " ".join(str(value) for value in samples.ravel()).replace(" ", "\n# a comment 1 2\n", 3)
    assert_same_samples(loaded(f"{kind}\n# one\n23 19 65535\n{text}\n".encode()), samples)


def test_other_maxima_are_scaled_to_65535() -> None:
    data = b"P5 3 1 1023\n" + np.array([0, 512, 1023], ">u2").tobytes()
    assert picture_to_array(loaded(data)).tolist() == [[0, 32800, 65535]]


@pytest.mark.parametrize(
    "data",
    [
        b"P6 2 1 65535\n" + bytes(11),
        b"P5 2 1 1000\n" + np.array([0, 1001], ">u2").tobytes(),
        b"P5 2 1 65536\n" + bytes(9),
        b"P3 1 1 1000\n1 2",
        b"P3 1 1 1000\n1 2 1001\n",
        b"P3 1 1 1000\n1 -2 3\n",
        b"P3 1 1 1000\n1 two 3\n",
        b"P2 1 1 1000\n99999999999999999999999\n",
        b"P5 0 0 1000\n",
    ],
)
def test_broken_16_bit_ppm_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        loaded(data)


@pytest.mark.parametrize(
    "data",
    [
        written(noise_picture(3, 16), "PNG"),
        written(noise_picture(2, 16), "PNG"),
        written(noise_picture(4, 16), "TIFF"),
        written(noise_picture(3, 16), "PPM"),
        b"P3 1 1 65535 1 2 3\n",
    ],
)
def test_an_image_that_pillow_has_opened_but_not_loaded_keeps_16_bits(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        picture = picture_from_pillow(image)
        assert_same_samples(picture, loaded(data))
        assert picture.depth == 16
        image.load()  # Pillow's own view is not disturbed
        assert picture_from_pillow(image).depth == 8


def test_an_image_that_pillow_has_opened_by_its_path_keeps_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    path.write_bytes(written(noise_picture(3, 16), "TIFF"))
    with Image.open(path) as image:
        assert_same_samples(picture_from_pillow(image), noise(3, 16))
    assert_same_samples(load_picture(path), noise(3, 16))


# AVIF


@needs_avif
def test_avif_of_more_than_8_bits_is_refused_and_not_squeezed() -> None:
    data = bytearray(saved_by_pillow(image_of(3), "AVIF"))
    data[data.index(b"av1C") + 6] |= 0x40
    with pytest.raises(ImageError, match="more than 8 bits"):
        loaded(bytes(data))


@needs_avif
@pytest.mark.parametrize("size", [0, 1, 7, 2**32 - 1])
def test_boxes_of_an_avif_with_odd_sizes_do_no_harm(size: int) -> None:
    data = bytearray(saved_by_pillow(image_of(3), "AVIF"))
    at = data.index(b"meta") - 4
    data[at : at + 4] = struct.pack(">I", size)
    assert_refused_or_read(bytes(data))


@pytest.mark.parametrize(("format", "head"), [("webp", b"RIFF0000WEBP"), ("avif", b"0000ftypavif")])
def test_a_pillow_without_support_is_named(format: str, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != format)
    with pytest.raises(MissingDependencyError, match=f"{format.upper()} support"):
        loaded(head + bytes(64))


# Sources, limits and hostile files


def test_a_path_and_a_file_object_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a picture.dat"
    path.write_bytes(saved_by_pillow(image_of(3), "PNG"))
    assert_same_samples(load_picture(path), noise(3, 8))
    assert_same_samples(load_picture(str(path)), noise(3, 8))
    with path.open("rb") as stream:
        assert_same_samples(load_picture(stream), noise(3, 8))
        assert not stream.closed


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_a_file_object_is_read_from_where_it_stands(format: str) -> None:
    stream = io.BytesIO(b"before" + written(noise_picture(3, 16), format))
    stream.seek(6)
    assert_same_samples(load_picture(stream), noise(3, 16))


def test_a_pipe_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        stream.write(saved_by_pillow(image_of(1), "PNG"))
    with os.fdopen(reader, "rb") as stream:
        assert_same_samples(load_picture(stream), noise(1, 8))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png: cannot be read: No such file"):
        load_picture(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="Is a directory"):
        load_picture(tmp_path)
    with pytest.raises(ImageError, match="path or a binary file object"):
        load_picture(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        load_picture(io.StringIO("text"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", [b"", b"GIF", b"%PDF-1.7 ...", b"\xaeAEC\r\n\x1a\n" + bytes(28), b"%!PS-Adobe"]
)
def test_other_files_are_refused_with_the_kinds_that_are_read(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"PNG, JPEG, TIFF, WEBP, AVIF, BMP, PPM, GIF.*begins with"):
        loaded(data)


def test_the_name_of_the_file_is_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(saved_by_pillow(image_of(3), "PNG")[:200])
    with pytest.raises(ImageError, match=r"broken\.png"):
        load_picture(path)
    with path.open("rb") as stream, pytest.raises(ImageError, match=r"broken\.png"):
        load_picture(stream)
    with Image.open(path) as image, pytest.raises(ImageError, match=r"broken\.png"):
        picture_from_pillow(image)


def huge_files() -> dict[str, bytes]:
    """Small files that announce 60,000 x 60,000 pixels."""
    side = 60_000
    gif = saved_by_pillow(Image.new("L", (1, 1)), "GIF")
    bmp = saved_by_pillow(Image.new("L", (1, 1)), "BMP")
    return {
        "PNG": png_file(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b""),
        "PNG 16": png_file(struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0), b""),
        "TIFF": tiff_of(np.zeros((1, 1, 3), np.uint8), {256: side, 257: side}),
        "GIF": gif[:6] + struct.pack("<HH", side, side) + gif[10:],
        "BMP": bmp[:18] + struct.pack("<ii", side, side) + bmp[26:],
        "PPM": b"P6 60000 60000 255\n",
        "PPM 16": b"P6 60000 60000 65535\n",
    }


@pytest.mark.parametrize("kind", list(huge_files()))
def test_a_decompression_bomb_is_refused_before_it_is_decoded(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(LimitError, match=r"60000 x 60000|decompression bomb"):
            loaded(huge_files()[kind])


def test_the_limit_on_pixels_can_be_set() -> None:
    data = saved_by_pillow(Image.new("L", (40, 30)), "PNG")
    assert loaded(data, max_pixels=1200).width == 40
    with pytest.raises(LimitError, match=r"at most 1199 pixels\. Found: 40 x 30"):
        loaded(data, max_pixels=1199)


def test_the_limit_replaces_the_one_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved_by_pillow(Image.new("L", (40, 30)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert loaded(data).width == 40


def test_the_limit_of_pillow_is_named_where_it_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved_by_pillow(Image.new("L", (40, 30)), "TIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(LimitError, match="MAX_IMAGE_PIXELS"):
        loaded(data)


def test_too_little_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise MemoryError

    data = saved_by_pillow(image_of(3), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(LimitError, match="memory"):
        loaded(data)


def sample_files() -> dict[str, bytes]:
    """One file of each kind, with metadata where there can be some."""
    files = {
        format: written(noise_picture(3, 8, metadata=True), format)
        for format in ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "PPM")
    }
    files |= {f"{format} 16": written(noise_picture(3, 16), format) for format in ("PNG", "TIFF", "PPM")}
    if features.check("avif"):
        files["AVIF"] = written(noise_picture(3, 8), "AVIF")
    palette = image_of(1).convert("P")
    return files | {"GIF": saved_by_pillow(palette, "GIF"), "palette": saved_by_pillow(palette, "PNG")}


SAMPLE_FILES = sample_files()


def assert_refused_or_read(data: bytes) -> None:
    """A picture or one of our own errors, whatever the bytes are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = loaded(data, max_pixels=10**6)
        except AecodecError:
            return
    assert isinstance(picture, Picture)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLE_FILES if kind != "AVIF"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    data = SAMPLE_FILES[kind]
    for length in (len(data) // 8, len(data) // 3, len(data) * 3 // 4):
        with warnings.catch_warnings(), pytest.raises(ImageError):
            warnings.simplefilter("ignore")
            loaded(data[:length])


@pytest.mark.parametrize("kind", list(SAMPLE_FILES))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_hostile_files_give_a_picture_or_an_error_of_ours(kind: str, data: st.DataObject) -> None:
    content = bytearray(SAMPLE_FILES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    assert_refused_or_read(bytes(content[: end or None]))


@pytest.mark.parametrize("depth", [8, 16])
def test_damaged_pixels_of_a_png_are_noticed_by_their_checksum(depth: int) -> None:
    data = bytearray(written(noise_picture(3, depth), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageError, match="checksum"):
        loaded(bytes(data))
