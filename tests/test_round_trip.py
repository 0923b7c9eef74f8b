"""The round-trip table: a picture file in, an .aec file, a picture file out, and what of it is kept.

The files are made by Pillow (those of 16-bit colours, which Pillow cannot write, by the package itself) and
the results are looked at with Pillow and in the bytes of the PNG header, not with the package's own eyes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, features

from aecodec.errors import ImageError
from aecodec.files import decode_file, encode_file
from aecodec.image import load_picture, picture_from_array
from aecodec.targets import peak_signal_to_noise_ratio
from tests.helpers import photograph
from tests.image.helpers import ICC_PROFILE, XMP, exif_bytes, saved_by_pillow, written

HEIGHT, WIDTH = 70, 90
#: Colour types of PNG (ISO/IEC 15948, 11.2.2).
GRAY, RGB, GRAY_ALPHA, RGB_ALPHA = 0, 2, 4, 6


def alpha_plane() -> NDArray[np.uint8]:
    """Every value, with edges."""
    plane = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    plane[20:40, 30:60] = 0
    return plane


def image(mode: str) -> Image.Image:
    """A picture in a mode of Pillow."""
    rgb = photograph(HEIGHT, WIDTH)
    alpha = alpha_plane()
    match mode:
        case "L":
            return Image.fromarray(rgb[:, :, 1])
        case "1":
            y, x = np.mgrid[:HEIGHT, :WIDTH] // 32
            return Image.fromarray((x + y) % 2 == 0)
        case "P":
            return Image.fromarray(rgb).quantize(64, dither=Image.Dither.NONE)
        case "CMYK" | "YCbCr":
            return Image.fromarray(rgb).convert(mode)
        case "LA":
            return Image.fromarray(np.dstack((rgb[:, :, 1], alpha)))
        case "RGBA":
            return Image.fromarray(np.dstack((rgb, alpha)))
        case "I;16":
            return Image.fromarray(rgb[:, :, 1].astype(np.uint16) * 257)
        case _:
            return Image.fromarray(rgb)


def pillow_file(format: str, mode: str, **options: Any) -> Callable[[], bytes]:
    return lambda: saved_by_pillow(image(mode), format, **options)


def deep_file(format: str, channels: int) -> Callable[[], bytes]:
    """A file of 16 bits a sample; the low bytes are not those that 8 bits would give."""
    planes = np.dstack((photograph(HEIGHT, WIDTH), alpha_plane())).astype(np.uint16) * 256 + 77
    chosen = planes[:, :, {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]]
    array = chosen[:, :, 0] if channels == 1 else chosen
    return lambda: written(picture_from_array(array), format)


def palette_file(format: str, **options: Any) -> Callable[[], bytes]:
    """A picture of 16 colours, the first of them transparent."""
    return lambda: saved_by_pillow(image("RGB").quantize(16), format, transparency=0, **options)


def bmp_with_alpha() -> bytes:
    """A BMP of version 4 with 32 bits a pixel and a mask for alpha."""
    rows = np.asarray(image("RGBA"))[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(rows), 2835, 2835, 0, 0)
    header = (header + masks + b"BGRs").ljust(108, b"\0")
    return struct.pack("<2sIHHI", b"BM", 122 + len(rows), 0, 0, 122) + header + rows


@dataclass(frozen=True)
class Case:
    """A row of the table: a file, and the kind of PNG that comes out."""

    name: str
    make: Callable[[], bytes]
    colour: int
    depth: int = 8

    @property
    def has_alpha(self) -> bool:
        return self.colour in (GRAY_ALPHA, RGB_ALPHA)


TABLE = [
    Case("PNG 1 bit", pillow_file("PNG", "1"), GRAY),
    Case("PNG gray", pillow_file("PNG", "L"), GRAY),
    Case("PNG gray alpha", pillow_file("PNG", "LA"), GRAY_ALPHA),
    Case("PNG palette", pillow_file("PNG", "P"), RGB),
    Case("PNG palette 2 bit", lambda: saved_by_pillow(image("RGB").quantize(4), "PNG", bits=2), RGB),
    Case("PNG palette transparent", palette_file("PNG"), RGB_ALPHA),
    Case("PNG palette alpha", lambda: saved_by_pillow(image("RGBA").quantize(64), "PNG"), RGB_ALPHA),
    Case("PNG RGB", pillow_file("PNG", "RGB"), RGB),
    Case(
        "PNG RGB colour key", pillow_file("PNG", "RGB", transparency=image("RGB").getpixel((5, 5))), RGB_ALPHA
    ),
    Case("PNG gray key", pillow_file("PNG", "L", transparency=image("L").getpixel((5, 5))), GRAY_ALPHA),
    Case("PNG RGB alpha", pillow_file("PNG", "RGBA"), RGB_ALPHA),
    Case("PNG gray 16", pillow_file("PNG", "I;16"), GRAY, 16),
    Case("PNG gray alpha 16", deep_file("PNG", 2), GRAY_ALPHA, 16),
    Case("PNG RGB 16", deep_file("PNG", 3), RGB, 16),
    Case("PNG RGB alpha 16", deep_file("PNG", 4), RGB_ALPHA, 16),
    Case("JPEG gray", pillow_file("JPEG", "L"), GRAY),
    Case("JPEG 4:2:0", pillow_file("JPEG", "RGB", quality=80, subsampling="4:2:0"), RGB),
    Case("JPEG progressive", pillow_file("JPEG", "RGB", progressive=True, subsampling="4:4:4"), RGB),
    Case(
        "JPEG several",
        lambda: saved_by_pillow(image("RGB"), "MPO", save_all=True, append_images=[image("L")]),
        RGB,
    ),
    Case("TIFF 1 bit", pillow_file("TIFF", "1", compression="group4"), GRAY),
    Case("TIFF gray", pillow_file("TIFF", "L"), GRAY),
    Case("TIFF gray alpha", pillow_file("TIFF", "LA"), GRAY_ALPHA),
    Case("TIFF palette", pillow_file("TIFF", "P", compression="packbits"), RGB),
    Case("TIFF RGB LZW", pillow_file("TIFF", "RGB", compression="tiff_lzw"), RGB),
    Case("TIFF RGB JPEG", pillow_file("TIFF", "RGB", compression="jpeg"), RGB),
    Case("TIFF YCbCr", pillow_file("TIFF", "YCbCr"), RGB),
    Case("TIFF RGB alpha deflate", pillow_file("TIFF", "RGBA", compression="tiff_adobe_deflate"), RGB_ALPHA),
    Case("TIFF big", pillow_file("TIFF", "RGB", big_tiff=True), RGB),
    Case("TIFF gray 16", pillow_file("TIFF", "I;16"), GRAY, 16),
    Case("TIFF RGB 16", deep_file("TIFF", 3), RGB, 16),
    Case("TIFF RGB alpha 16", deep_file("TIFF", 4), RGB_ALPHA, 16),
    Case("WebP", pillow_file("WEBP", "RGB", quality=80), RGB),
    Case("WebP without loss", pillow_file("WEBP", "RGB", lossless=True), RGB),
    Case("WebP alpha", pillow_file("WEBP", "RGBA", quality=80), RGB_ALPHA),
    Case("WebP alpha without loss", pillow_file("WEBP", "RGBA", lossless=True, exact=True), RGB_ALPHA),
    Case("AVIF gray", pillow_file("AVIF", "L"), GRAY),
    Case("AVIF", pillow_file("AVIF", "RGB"), RGB),
    Case("AVIF alpha", pillow_file("AVIF", "RGBA"), RGB_ALPHA),
    Case("BMP 1 bit", pillow_file("BMP", "1"), GRAY),
    Case("BMP gray", pillow_file("BMP", "L"), GRAY),
    Case("BMP palette", pillow_file("BMP", "P"), RGB),
    Case("BMP RGB", pillow_file("BMP", "RGB"), RGB),
    Case("BMP RGB unused byte", pillow_file("BMP", "RGBA"), RGB),
    Case("BMP RGB alpha", bmp_with_alpha, RGB_ALPHA),
    Case("PBM", pillow_file("PPM", "1"), GRAY),
    Case("PGM", pillow_file("PPM", "L"), GRAY),
    Case("PPM", pillow_file("PPM", "RGB"), RGB),
    Case("PGM 16", pillow_file("PPM", "I;16"), GRAY, 16),
    Case("PPM 16", deep_file("PPM", 3), RGB, 16),
    Case("GIF", pillow_file("GIF", "P"), RGB),
    Case("GIF transparent", palette_file("GIF"), RGB_ALPHA),
]


def parameters(cases: list[Case]) -> list[Any]:
    missing = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
    return [pytest.param(case, id=case.name, marks=missing if "AVIF" in case.name else ()) for case in cases]


@dataclass(frozen=True)
class RoundTrip:
    """Files there and back, with the model of the tests."""

    folder: Path
    cosine: dict[str, Any]

    def __call__(self, data: bytes, suffix: str = ".png", **options: Any) -> bytes:
        source, packed, target = (self.folder / name for name in ("in", "packed.aec", f"out{suffix}"))
        source.write_bytes(data)
        encode_file(source, packed, 95, force=True, **options, **self.cosine)
        decode_file(packed, target, force=True, **self.cosine)
        return target.read_bytes()


@pytest.fixture
def there_and_back(tmp_path: Path, cosine: dict[str, Any]) -> RoundTrip:
    return RoundTrip(tmp_path, cosine)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def png_kind(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, bits per sample and colour type from the bytes of a PNG header."""
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    return width, height, depth, colour


def as_rgba(data: bytes) -> NDArray[np.uint8]:
    """The picture as Pillow shows it, with 8 bits."""
    picture = opened(data)
    if picture.mode.startswith("I"):
        return np.asarray(Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGBA"))
    return np.asarray(picture.convert("RGBA"))


class TestTheTable:
    @pytest.mark.parametrize("case", parameters(TABLE))
    def test_size_mode_and_depth_are_kept(self, case: Case, there_and_back: RoundTrip) -> None:
        assert png_kind(there_and_back(case.make())) == (WIDTH, HEIGHT, case.depth, case.colour)

    @pytest.mark.parametrize("case", parameters(TABLE))
    def test_colours_are_nearly_kept(self, case: Case, there_and_back: RoundTrip) -> None:
        data = case.make()
        source, result = as_rgba(data), as_rgba(there_and_back(data))
        assert peak_signal_to_noise_ratio(source[:, :, :3], result[:, :, :3]) > 28

    @pytest.mark.parametrize("case", parameters([case for case in TABLE if case.has_alpha]))
    def test_alpha_is_kept_exactly(self, case: Case, there_and_back: RoundTrip) -> None:
        data = case.make()
        expected = as_rgba(data)[:, :, 3]
        assert len(np.unique(expected)) > 1
        assert np.array_equal(as_rgba(there_and_back(data))[:, :, 3], expected)

    @pytest.mark.parametrize("case", parameters([case for case in TABLE if case.depth == 16]))
    def test_deep_files_have_more_values_than_8_bits(self, case: Case, there_and_back: RoundTrip) -> None:
        (there_and_back.folder / "again.png").write_bytes(there_and_back(case.make()))
        picture = load_picture(there_and_back.folder / "again.png")
        assert picture.depth == 16
        assert len(np.unique(picture.pixels)) > 256

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_16_bit_alpha_is_kept_exactly(self, format: str, there_and_back: RoundTrip) -> None:
        (there_and_back.folder / "again.png").write_bytes(there_and_back(deep_file(format, 4)()))
        alpha = load_picture(there_and_back.folder / "again.png").alpha
        assert np.array_equal(alpha, alpha_plane().astype(np.uint16) * 256 + 77)


WITH_FILTERS = ("PNG gray", "PNG RGB", "PNG RGB alpha", "PNG gray 16", "PNG RGB alpha 16", "JPEG 4:2:0")


class TestPostFilters:
    """The same with the least effort that corrects what is decoded."""

    @pytest.mark.parametrize("case", parameters([case for case in TABLE if case.name in WITH_FILTERS]))
    def test_all_is_kept_as_without_them(self, case: Case, there_and_back: RoundTrip) -> None:
        data = case.make()
        plain, result = (there_and_back(data, effort=effort) for effort in (0, 1))
        assert png_kind(result) == png_kind(plain) == (WIDTH, HEIGHT, case.depth, case.colour)
        source = as_rgba(data)
        ratios = [
            peak_signal_to_noise_ratio(source[:, :, :3], as_rgba(one)[:, :, :3]) for one in (plain, result)
        ]
        assert ratios[1] > ratios[0] - 0.01
        assert np.array_equal(as_rgba(result)[:, :, 3], source[:, :, 3])


HOLDS_METADATA = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"]
PLAIN_XMP = XMP.replace(b' tiff:Orientation="6"', b"")  # for Pillow turns by what XMP says, too


def with_metadata(format: str, *, icc_profile: bool = True, exif: bool = True, xmp: bool = True) -> bytes:
    """A file with all metadata, or some."""
    options: dict[str, Any] = {"icc_profile": ICC_PROFILE} if icc_profile else {}
    tags = Image.Exif()
    if exif:
        tags.load(exif_bytes(None))
    if xmp and format == "TIFF":
        tags[700] = PLAIN_XMP
    elif xmp and format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", PLAIN_XMP.decode())
    elif xmp:
        options["xmp"] = PLAIN_XMP
    if len(tags):
        options["exif"] = tags if format == "TIFF" else tags.tobytes()
    return saved_by_pillow(image("RGB"), format, **options)


def metadata(data: bytes) -> dict[str, Any]:
    """Profile, EXIF tags and XMP as Pillow reads them."""
    picture = opened(data)
    picture.load()
    exif = picture.getexif()
    tags = {tag: exif[tag] for tag in (0x010F, 0x0112) if tag in exif}
    if tags.get(0x0112) == 1:
        del tags[0x0112]  # upright, which is what none means
    return {
        "icc_profile": picture.info.get("icc_profile"),
        "tags": tags,
        "comment": exif.get_ifd(0x8769).get(0x9286),
        "gps": exif.get_ifd(0x8825).get(1),
        "xmp": picture.info.get("xmp"),
    }


class TestMetadata:
    @pytest.mark.parametrize("target", HOLDS_METADATA)
    @pytest.mark.parametrize("source", HOLDS_METADATA)
    def test_profile_exif_and_xmp_pass_from_any_format_to_any(
        self, source: str, target: str, there_and_back: RoundTrip
    ) -> None:
        if "AVIF" in (source, target) and not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        result = metadata(there_and_back(with_metadata(source), f".{target.lower()}"))
        assert result["icc_profile"] == ICC_PROFILE
        assert result["tags"] == {0x010F: "Maker"}
        assert result["comment"] == b"ASCII\0\0\0a comment"
        assert result["gps"] == "N"
        assert result["xmp"] == PLAIN_XMP

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("missing", ["icc_profile", "exif", "xmp"])
    def test_what_was_not_there_does_not_appear(
        self, missing: str, format: str, there_and_back: RoundTrip
    ) -> None:
        result = metadata(there_and_back(with_metadata(format, **{missing: False})))
        assert (result["icc_profile"] is None) == (missing == "icc_profile")
        assert (result["tags"] == {}) == (missing == "exif")
        assert (result["xmp"] is None) == (missing == "xmp")

    def test_stripping_leaves_everything_out(self, there_and_back: RoundTrip) -> None:
        result = metadata(there_and_back(with_metadata("PNG"), strip=True))
        assert result == {"icc_profile": None, "tags": {}, "comment": None, "gps": None, "xmp": None}

    @pytest.mark.parametrize("strip", [False, True])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_picture_is_shown_as_upright_as_before(
        self, orientation: int, strip: bool, there_and_back: RoundTrip
    ) -> None:
        data = saved_by_pillow(image("RGB"), "JPEG", quality=95, exif=exif_bytes(orientation))
        result = opened(there_and_back(data, strip=strip))
        assert result.getexif().get(0x0112, 1) == (1 if strip else orientation)
        shown, expected = ImageOps.exif_transpose(result), ImageOps.exif_transpose(opened(data))
        assert shown.size == expected.size
        assert peak_signal_to_noise_ratio(np.asarray(expected), np.asarray(shown)) > 25

    def test_a_profile_of_many_segments_is_kept(self, there_and_back: RoundTrip) -> None:
        profile = ICC_PROFILE + bytes(200_000)
        data = saved_by_pillow(image("RGB"), "JPEG", icc_profile=profile)
        assert metadata(there_and_back(data))["icc_profile"] == profile
        assert metadata(there_and_back(data, ".jpg"))["icc_profile"] == profile


class TestOddSizes:
    @pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (63, 65), (128, 64)])
    @pytest.mark.parametrize("mode", ["L", "RGBA"])
    def test_the_size_is_kept(self, size: tuple[int, int], mode: str, there_and_back: RoundTrip) -> None:
        data = saved_by_pillow(image(mode).resize(size), "PNG")
        assert png_kind(there_and_back(data)) == (*size, 8, GRAY if mode == "L" else RGB_ALPHA)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("make", "advice"),
        [
            (pillow_file("JPEG", "CMYK"), "CMYK"),
            (pillow_file("TIFF", "CMYK"), "CMYK"),
            (lambda: saved_by_pillow(image("L").convert("F"), "TIFF"), "F"),
            (lambda: saved_by_pillow(image("L"), "GIF", save_all=True, append_images=[image("1")]), "frames"),
            (lambda: saved_by_pillow(image("L"), "TIFF", save_all=True, append_images=[image("1")]), "pages"),
            (lambda: pillow_file("JPEG", "RGB")()[:900], "truncated"),
            (lambda: b"%PDF-1.7 and so on", "expected a picture file"),
        ],
    )
    def test_it_is_named_and_leaves_no_file(
        self, make: Callable[[], bytes], advice: str, there_and_back: RoundTrip
    ) -> None:
        with pytest.raises(ImageError, match=advice):
            there_and_back(make())
        assert [path.name for path in there_and_back.folder.iterdir()] == ["in"]
