"""The alpha plane as PNG, and what hostile bytes do to it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from aecodec.errors import CorruptedError, ImageError
from aecodec.image import plane_from_png, plane_to_png
from tests.image.helpers import DEPTHS, noise, saved_by_pillow

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PLANES = st.sampled_from(["uint8", "uint16"]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 20), st.integers(1, 20)))
)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


IDAT = chunk(b"IDAT", zlib.compress(bytes(3 * (4 + 1))))
IEND = chunk(b"IEND", b"")
WHOLE = SIGNATURE + header(4, 3) + IDAT + IEND


@given(PLANES)
def test_a_plane_comes_back_as_it_went_in(plane: np.ndarray) -> None:
    back = plane_from_png(plane_to_png(plane), plane.shape[1], plane.shape[0], 8 * plane.dtype.itemsize)
    assert back.dtype == plane.dtype
    np.testing.assert_array_equal(back, plane)


def test_big_endian_planes_are_taken() -> None:
    plane = noise(1, 16)
    np.testing.assert_array_equal(plane_from_png(plane_to_png(plane.astype(">u2")), 23, 19, 16), plane)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_plane_is_a_png_that_others_read(depth: int) -> None:
    plane = noise(1, depth)
    with Image.open(io.BytesIO(plane_to_png(plane))) as image:
        assert image.mode == ("L" if depth == 8 else "I;16")
        np.testing.assert_array_equal(np.asarray(image), plane)


def test_an_opaque_plane_becomes_small() -> None:
    assert len(plane_to_png(np.full((512, 512), 255, np.uint8))) < 1000


def test_a_plane_that_others_wrote_in_several_pieces_is_read() -> None:
    packed = zlib.compress(b"".join(b"\0" + bytes(row) for row in ([1, 2], [3, 4])))
    pieces = b"".join(chunk(b"IDAT", packed[at : at + 3]) for at in range(0, len(packed), 3))
    data = SIGNATURE + header(2, 2) + pieces + IEND
    assert plane_from_png(data, 2, 2, 8).tolist() == [[1, 2], [3, 4]]


def test_the_plane_can_be_written_to() -> None:
    plane = plane_from_png(WHOLE, 4, 3, 8)
    plane[0, 0] = 1
    assert plane[0, 0] == 1


@pytest.mark.parametrize(
    "plane",
    [
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros(3, np.uint8),
        np.zeros((2, 2), "f4"),
    ],
)
def test_what_is_no_plane_is_refused(plane: np.ndarray) -> None:
    with pytest.raises(ImageError, match="Expected"):
        plane_to_png(plane)


@pytest.mark.parametrize(
    "data",
    {
        "empty": b"",
        "signature": SIGNATURE,
        "no signature": WHOLE[1:],
        "no end": WHOLE[: -len(IEND)],
        "no data": SIGNATURE + header(4, 3) + IEND,
        "trailing byte": WHOLE + b"\0",
        "trailing chunk": WHOLE + IEND,
        "two headers": SIGNATURE + header(4, 3) + header(4, 3) + IDAT + IEND,
        "content in the end": SIGNATURE + header(4, 3) + IDAT + chunk(b"IEND", b"x"),
        "another chunk": SIGNATURE + header(4, 3) + chunk(b"tEXt", b"a\0b") + IDAT + IEND,
        "animation": SIGNATURE + header(4, 3) + chunk(b"acTL", bytes(8)) + IDAT + IEND,
        "wrong checksum": WHOLE.replace(IDAT, IDAT[:-1] + b"\0"),
        "length beyond the end": SIGNATURE + b"\xff\xff\xff\xff" + header(4, 3)[4:] + IDAT + IEND,
        "wider": SIGNATURE + header(5, 3) + IDAT + IEND,
        "huge": SIGNATURE + header(2**31 - 1, 2**31 - 1) + IDAT + IEND,
        "16 bits": SIGNATURE + header(4, 3, depth=16) + IDAT + IEND,
        "colours": SIGNATURE + header(4, 3, colour=2) + IDAT + IEND,
        "interlaced": SIGNATURE + header(4, 3, interlaced=1) + IDAT + IEND,
        "short header": SIGNATURE + chunk(b"IHDR", b"") + IDAT + IEND,
        "too few rows": SIGNATURE + header(4, 3) + chunk(b"IDAT", zlib.compress(bytes(5))) + IEND,
        "no rows": SIGNATURE + header(4, 3) + chunk(b"IDAT", b"") + IEND,
        "too many rows": SIGNATURE + header(4, 3) + chunk(b"IDAT", zlib.compress(bytes(20))) + IEND,
        "bytes behind the rows": WHOLE.replace(IDAT, IDAT + chunk(b"IDAT", b"x")),
        "no zlib": SIGNATURE + header(4, 3) + chunk(b"IDAT", b"nonsense") + IEND,
        "filter": SIGNATURE + header(4, 3) + chunk(b"IDAT", zlib.compress(b"\x09" + bytes(14))) + IEND,
        "GIF": saved_by_pillow(Image.new("L", (4, 3)), "GIF"),
    }.items(),
    ids=lambda item: item[0],
)
def test_hostile_planes_are_corrupted_files(data: tuple[str, bytes]) -> None:
    with pytest.raises(CorruptedError, match="alpha plane"):
        plane_from_png(data[1], 4, 3, 8)


def test_the_size_is_checked_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import PngImagePlugin

    monkeypatch.delattr(PngImagePlugin, "PngImageFile")
    with pytest.raises(CorruptedError, match="4 x 4 and 8 bits"):
        plane_from_png(WHOLE, 4, 4, 8)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_planes_never_raise_anything_else(data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=40))
    tampered = SIGNATURE + header(4, 3) + chunk(b"IDAT", content) + IEND
    try:
        plane = plane_from_png(tampered, 4, 3, 8)
    except CorruptedError:
        return
    assert plane.shape == (3, 4)


@given(st.data())
def test_a_flipped_bit_is_noticed(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptedError):
        plane_from_png(bytes(content), 4, 3, 8)
