"""What is measured of truncated files: every length, and how the table reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aecodec
from aecodec.container import read_container
from bench.images import find_images
from bench.robustness.truncate import (
    PERCENTS,
    TruncatePlan,
    measure_picture,
    pictures_of,
    section_count,
    table,
    write_strip,
)
from tests.helpers import photograph


def test_sections_are_counted_by_their_lengths() -> None:
    sections = [bytes((kind,)) + len(payload).to_bytes(3, "little") + bytes(4) + payload
                for kind, payload in ((1, b"abc"), (2, b""), (3, bytes(300)))]  # fmt: skip
    assert [section_count(bytes(36) + b"".join(sections[:count])) for count in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(("chunk_side", "sections"), [(128, 1), (64, 24)])
def test_every_length_is_decoded_whatever_the_sections(
    chunk_side: int, sections: int, cosine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, decode_picture, files, parts = aecodec.encode, aecodec.decode_picture, list[bytes](), list[Any]()

    def noted(pixels: Any, quality: float, **options: Any) -> bytes:
        files.append(encode(pixels, quality, **options | cosine))
        return files[-1]

    def decoded(data: bytes, **options: Any) -> Any:
        parts.append(decode_picture(data, **options | cosine))
        return parts[-1]

    monkeypatch.setattr(aecodec, "encode", noted)
    monkeypatch.setattr(aecodec, "decode_picture", decoded)
    row, pictures = measure_picture(TruncatePlan((), None, 75, chunk_side), "waves", photograph(128, 128))
    [data] = files
    assert row["sections"] == len(read_container(data).sections) == sections
    assert row["bytes"] == len(data)
    assert row["rises"]
    assert len(row["psnr"]) == len(pictures) == len(parts) == len(PERCENTS)
    assert row["missing"] == [round(part.missing, 3) for part in parts]
    assert all(one > other for one, other in zip(row["missing"], row["missing"][1:], strict=False)) == (
        sections == 1
    )
    assert parts[-1].complete
    assert not parts[-2].complete
    for picture, part in zip(pictures, parts, strict=True):
        assert np.array_equal(picture, part.picture.pixels)


def test_the_mosaic_is_made_of_the_landscape_pictures(tmp_path: Path) -> None:
    for name, size in (("a", (20, 30)), ("b", (30, 20)), ("c", (30, 20))):
        Image.new("RGB", size, "red" if name == "b" else "blue").save(tmp_path / f"{name}.png")
    images = tuple(find_images(tmp_path)[1])
    named = pictures_of(TruncatePlan(images, None))
    assert [name for name, _ in named] == ["a", "b", "c", "2 x 2 pictures"]
    assert named[-1][1].shape == (40, 60, 3)
    assert len(pictures_of(TruncatePlan(images, None, mosaic=0))) == 3


def test_the_table_and_the_strip_have_a_place_for_each_length(tmp_path: Path) -> None:
    ratios = [20.0 + index for index in range(len(PERCENTS))]
    rows = [
        {"image": "kodim01", "size": "768x512", "sections": sections, "psnr": ratios} for sections in (12, 1)
    ]
    lines = table({"what": "What", "percent": list(PERCENTS), "rows": rows}).splitlines()
    assert lines[0].startswith("What. What a file holds grows by parts, six for each chunk")
    assert lines[2] == "| of the file | kodim01, 768x512, 12 sections | kodim01, 768x512, 1 section |"
    assert lines[4:] == [
        f"| {percent} % | {ratio:.2f} dB | {ratio:.2f} dB |"
        for percent, ratio in zip(PERCENTS, ratios, strict=True)
    ]
    write_strip(tmp_path / "strip.png", [np.zeros((40, 60, 3), np.uint8)] * len(PERCENTS), ratios)
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (960, 712)
