"""What a header says is read without decoding anything."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecodec.codec import encode
from aecodec.container import Limits
from aecodec.errors import LimitError, NotAnAecFileError, TruncatedError
from aecodec.image import Picture
from aecodec.inspection import info_of, probe, section_sizes
from tests.helpers import photograph


@pytest.fixture(scope="module")
def data(cosine: dict[str, Any]) -> bytes:
    gray = photograph(65, 130).astype(np.uint16)[:, :, :1]
    return encode(Picture(gray, gray[:, :, 0], b"icc", b"II*\0", b"xmp"), 30, chunk_side=64, **cosine)


def test_the_header_is_told_from_bytes_paths_and_files(
    data: bytes, cosine: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(data)
    model = cosine["model"]
    info = probe(data)
    assert (info.width, info.height, info.layout, info.depth, info.has_alpha) == (130, 65, 1, 16, True)
    assert info.dependent
    assert not info.filtered
    assert (info.level, info.chunk_side, info.model_id) == (66, 64, model.model_id.hex())
    assert (info.model, info.quality) == (None, None)
    assert info.bytes == len(data)
    assert info.bits_per_pixel == 8 * len(data) / (130 * 65)
    assert probe(path) == probe(io.BytesIO(data)) == info


def test_post_filters_are_told(cosine: dict[str, Any]) -> None:
    picture = photograph(40, 40)
    assert [probe(encode(picture, effort=effort, **cosine)).filtered for effort in (0, 1)] == [False, True]


def test_whether_chunks_have_one_section_is_told(data: bytes, cosine: dict[str, Any]) -> None:
    joined = encode(photograph(65, 130), 30, **cosine)
    assert [probe(one).joined for one in (data, joined)] == [False, True]
    assert [(size.name.split()[0], size.count) for size in section_sizes(joined)] == [("SYMBOLS", 1)]


def test_a_known_model_gives_name_and_quality(data: bytes, cosine: dict[str, Any]) -> None:
    from aecodec.container import read_header

    info = info_of(read_header(data), len(data), cosine["model"])
    assert (info.model, info.quality) == ("fake", 30)


def test_the_header_alone_suffices(data: bytes) -> None:
    assert probe(data[:36]).width == 130
    with pytest.raises(TruncatedError):
        probe(data[:35])
    with pytest.raises(NotAnAecFileError):
        probe(b"\x89PNG\r\n\x1a\n" + bytes(36))
    with pytest.raises(LimitError):
        probe(data, limits=Limits(max_side=100))


def test_sections_are_counted_in_their_order(data: bytes) -> None:
    sizes = section_sizes(data)
    assert [(size.name.split()[0], size.count) for size in sizes] == [
        ("ICC_PROFILE", 1),
        ("EXIF", 1),
        ("XMP", 1),
        ("HYPER_LATENTS", 6),
        *((f"RESIDUALS_{step}", 6) for step in range(5)),
        ("ALPHA", 1),
    ]
    assert 36 + sum(size.bytes + 8 * size.count for size in sizes) == len(data)
