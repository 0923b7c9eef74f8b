"""Pictures without their profile look as they did with it."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from aecodec.image import Picture, picture_to_array, strip_metadata
from tests.image.helpers import ICC_PROFILE, XMP, assert_same_samples, exif_bytes, noise, noise_picture

#: A colour space whose red is the green of sRGB, and the other way round.
SWAPPED = ICC_PROFILE.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")


def gray_profile(gamma: float) -> bytes:
    """An ICC profile of gray with a power for its curve (ICC.1, 7 and 8.5.2)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), b"kTRC", 156 + len(white), len(curve))
    size = 156 + len(white) + len(curve)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"lcms", 0x04000000, b"mntr", b"GRAY", b"XYZ ", bytes(12), b"acsp"
    )
    illuminant = struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(68, b"\0") + illuminant + bytes(128 - 80) + tags + white + curve


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_pixels_in_srgb_stay_as_they_are(channels: int, depth: int) -> None:
    picture = noise_picture(channels, depth, metadata=True)
    stripped = strip_metadata(picture)
    assert (stripped.exif, stripped.xmp, stripped.icc_profile) == (None, None, None)
    assert_same_samples(stripped, np.rot90(picture_to_array(picture), -1))


@pytest.mark.parametrize("band", [2**22, 40])
def test_colours_of_another_space_are_converted(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecodec.image.colours._BAND_PIXELS", band)
    samples = noise(4, 8)
    picture = Picture(samples[:, :, :3].copy(), samples[:, :, 3].copy(), SWAPPED, exif_bytes(None), XMP)
    stripped = strip_metadata(picture)
    assert (stripped.exif, stripped.xmp, stripped.icc_profile) == (None, None, None)
    assert np.abs(stripped.pixels.astype(int) - picture.pixels[:, :, [1, 0, 2]]).max() <= 1
    assert np.array_equal(stripped.alpha, picture.alpha)


def test_gray_gets_the_curve_of_srgb() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    stripped = strip_metadata(Picture(ramp, icc_profile=gray_profile(1.8)))
    linear = (ramp / 255) ** 1.8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert stripped.icc_profile is None
    assert stripped.layout == 1
    assert np.abs(stripped.pixels - expected).max() <= 3
    assert np.abs(stripped.pixels - expected).mean() < 0.5


@pytest.mark.parametrize(
    ("channels", "depth", "profile"),
    [
        (3, 16, SWAPPED),
        (1, 16, gray_profile(1.0)),
        (1, 8, SWAPPED),
        (3, 8, b"no profile"),
        (3, 8, SWAPPED[:200]),
    ],
)
def test_a_profile_that_cannot_be_applied_stays(channels: int, depth: int, profile: bytes) -> None:
    pixels = noise(channels, depth).reshape(19, 23, channels)
    stripped = strip_metadata(Picture(pixels, icc_profile=profile, exif=exif_bytes(None), xmp=XMP))
    assert (stripped.exif, stripped.xmp, stripped.icc_profile) == (None, None, profile)
    assert np.array_equal(stripped.pixels, pixels)


def test_without_a_profile_nothing_changes() -> None:
    picture = noise_picture(3, 8)
    assert np.array_equal(strip_metadata(picture).pixels, picture.pixels)
