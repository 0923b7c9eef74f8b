"""The Pillow plugin, through Pillow's own functions."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

import aecodec.codec
import aecodec.pillow
from aecodec.errors import ChecksumError, NotAnAecFileError, TruncatedError, UnsupportedError
from aecodec.image import Picture, picture_from_array, reduce_to_8_bit
from tests.helpers import photograph
from tests.image.helpers import ICC_PROFILE, XMP, exif_bytes

MODES = [("L", 1, 8), ("LA", 2, 8), ("RGB", 3, 8), ("RGBA", 4, 8), ("I;16", 1, 16)]
DEEP_MODES = [("LA", 2, 16), ("RGB", 3, 16), ("RGBA", 4, 16)]


@pytest.fixture(autouse=True)
def model_without_network(monkeypatch: pytest.MonkeyPatch, cosine: dict[str, Any]) -> None:
    """Pillow's functions have no argument for a model: make that of the tests the default."""
    monkeypatch.setattr(aecodec.codec, "encode", partial(aecodec.codec.encode, **cosine))
    monkeypatch.setattr(aecodec.codec, "decode_picture", partial(aecodec.codec.decode_picture, **cosine))


def samples(channels: int, depth: int) -> np.ndarray:
    """A picture (height, width) or (height, width, channels) with something to see in each channel."""
    colours = np.dstack([photograph(90, 70), np.linspace(0, 255, 6300).reshape(90, 70).astype(np.uint8)])
    chosen = colours[:, :, {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]]
    chosen = chosen[:, :, 0] if channels == 1 else chosen
    return chosen if depth == 8 else chosen.astype(np.uint16) * 257


def file_of(channels: int = 3, depth: int = 8, quality: float = 95, *, metadata: bool = False) -> bytes:
    given = {"icc_profile": ICC_PROFILE, "exif": exif_bytes(), "xmp": XMP} if metadata else {}
    return aecodec.codec.encode(picture_from_array(samples(channels, depth), **given), quality)


def saved(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "AEC", **options)
    return stream.getvalue()


def decoded(data: bytes) -> Picture:
    return aecodec.codec.decode_picture(data).picture


# Opening


@pytest.mark.parametrize(("mode", "channels", "depth"), MODES)
def test_a_file_is_opened_as_it_is_decoded(mode: str, channels: int, depth: int) -> None:
    data = file_of(channels, depth)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("AEC", mode, (70, 90))
        np.testing.assert_array_equal(np.asarray(image), aecodec.image.picture_to_array(decoded(data)))


@pytest.mark.parametrize(("mode", "channels", "depth"), DEEP_MODES)
def test_16_bit_colours_are_opened_with_8_bits(mode: str, channels: int, depth: int) -> None:
    data = file_of(channels, depth)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == mode
        expected = aecodec.image.picture_to_array(reduce_to_8_bit(decoded(data)))
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_opening_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(4, metadata=True)

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr(aecodec.codec, "decode_picture", fail)
        image = Image.open(io.BytesIO(data))
        assert (image.mode, image.size) == ("RGBA", (70, 90))
        assert image.info["icc_profile"] == ICC_PROFILE
        assert image.info["xmp"] == XMP
        assert image.getexif()[0x0112] == 6
        with pytest.raises(AssertionError, match="decoded"):
            image.load()
    image.load()
    assert image.getpixel((3, 3)) is not None


def test_the_pixels_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(io.BytesIO(file_of()))
    first = np.asarray(image)
    monkeypatch.delattr(aecodec.codec, "decode_picture")
    np.testing.assert_array_equal(np.asarray(image), first)
    assert image.resize((7, 9)).size == (7, 9)


def test_a_file_is_found_by_its_content_and_closed_after_loading(tmp_path: Path) -> None:
    path = tmp_path / "picture.dat"
    path.write_bytes(file_of())
    with Image.open(path) as image:
        assert image.get_format_mimetype() == "image/x-aecodec"
        image.load()
        path.unlink()
        assert image.getpixel((0, 0)) is not None


def test_a_file_without_metadata_has_none() -> None:
    with Image.open(io.BytesIO(file_of())) as image:
        assert not {"icc_profile", "exif", "xmp"} & set(image.info)


# Saving


@pytest.mark.parametrize(("mode", "channels", "depth"), MODES)
def test_an_image_is_saved_as_it_is_encoded(mode: str, channels: int, depth: int, tmp_path: Path) -> None:
    array = samples(channels, depth)
    path = tmp_path / "picture.aec"
    image = Image.fromarray(array)
    assert image.mode == mode
    image.save(path, quality=60)
    assert path.read_bytes() == aecodec.codec.encode(array, 60)


def test_the_default_quality_is_75() -> None:
    array = samples(3, 8)
    assert saved(Image.fromarray(array)) == aecodec.codec.encode(array, 75)
    assert len(saved(Image.fromarray(array), quality=20)) < len(saved(Image.fromarray(array)))


def test_metadata_of_the_image_is_kept() -> None:
    image = Image.fromarray(samples(3, 8))
    image.info |= {"icc_profile": ICC_PROFILE, "exif": exif_bytes(), "xmp": XMP}
    picture = decoded(saved(image))
    assert (picture.icc_profile, picture.orientation, picture.xmp) == (ICC_PROFILE, 6, XMP)
    with Image.open(io.BytesIO(saved(image))) as first:
        again = decoded(saved(first))
    assert (again.icc_profile, again.exif, again.xmp) == (picture.icc_profile, picture.exif, picture.xmp)


def test_metadata_given_to_save_wins() -> None:
    image = Image.fromarray(samples(3, 8))
    image.info |= {"icc_profile": ICC_PROFILE, "exif": exif_bytes(), "xmp": XMP}
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = decoded(saved(image, icc_profile=None, exif=exif, xmp="<x/>"))
    assert (picture.icc_profile, picture.orientation, picture.xmp) == (None, 3, b"<x/>")


def test_strip_turns_the_pixels_and_leaves_all_metadata_out() -> None:
    image = Image.fromarray(samples(3, 8))
    image.info |= {"icc_profile": ICC_PROFILE, "exif": exif_bytes(6), "xmp": XMP}
    picture = decoded(saved(image, strip=True))
    assert (picture.icc_profile, picture.exif, picture.xmp) == (None, None, None)
    assert (picture.width, picture.height) == (90, 70)


def test_an_image_that_cannot_be_encoded_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.aec"
    with pytest.raises(aecodec.errors.ImageError, match="CMYK"):
        Image.new("CMYK", (9, 9)).save(path)
    assert not path.exists()


# Broken files


def test_verify_accepts_a_whole_file() -> None:
    with Image.open(io.BytesIO(file_of())) as image:
        image.verify()


def test_verify_finds_a_damaged_and_a_truncated_file() -> None:
    data = bytearray(file_of())
    data[-1] ^= 1
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ChecksumError):
        image.verify()
    with Image.open(io.BytesIO(data[:-1])) as image, pytest.raises(TruncatedError):
        image.verify()


def test_a_truncated_file_is_opened_and_fails_when_it_is_loaded() -> None:
    data = file_of()
    with Image.open(io.BytesIO(data[: len(data) // 2])) as image:
        assert image.size == (70, 90)
        with pytest.raises(TruncatedError):
            image.load()


def test_a_truncated_file_is_loaded_where_pillow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(data[: len(data) * 2 // 3])) as image:
        assert np.asarray(image).shape == (90, 70, 3)


@pytest.mark.parametrize(
    ("position", "value", "error"),
    [(8, 2, UnsupportedError), (20, 0xFF, ChecksumError)],
)
def test_a_broken_header_is_explained(position: int, value: int, error: type[Exception]) -> None:
    data = bytearray(file_of())
    data[position] = value
    with pytest.raises(error):
        Image.open(io.BytesIO(data))


def test_other_files_are_left_to_other_plugins() -> None:
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(b"\xaeAEC\n\x1a\n" + bytes(30)))
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    with Image.open(stream) as image:
        assert image.format == "PNG"
    with pytest.raises(NotAnAecFileError):
        aecodec.pillow.AecImageFile(stream)


def test_exif_goes_into_other_formats_by_pillows_idiom() -> None:
    packed = io.BytesIO()
    image = Image.fromarray(photograph(40, 50))
    image.info["exif"] = exif_bytes(6)
    image.save(packed, "AEC")
    jpeg = io.BytesIO()
    with Image.open(packed) as again:
        again.save(jpeg, "JPEG", exif=again.info["exif"])
    with Image.open(jpeg) as last:
        assert last.getexif()[0x0112] == 6


def test_importing_the_plugin_registers_it_and_loads_no_runtime() -> None:
    code = (
        "import sys; from PIL import Image; assert '.aec' not in Image.registered_extensions(); "
        "import aecodec.pillow; "
        "assert Image.registered_extensions()['.aec'] == 'AEC'; "
        "assert Image.MIME['AEC'] == 'image/x-aecodec'; "
        "print({'onnxruntime', 'keras', 'constriction', 'aecodec.codec', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
