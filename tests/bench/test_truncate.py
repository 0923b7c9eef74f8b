"""What is measured of truncated files: which lengths differ, and how the table reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.images import find_images
from bench.robustness.truncate import PERCENTS, TruncatePlan, pictures_of, section_ends, table, write_strip


def test_sections_end_where_their_lengths_say() -> None:
    sections = [bytes((kind,)) + len(payload).to_bytes(3, "little") + bytes(4) + payload
                for kind, payload in ((1, b"abc"), (2, b""), (3, bytes(300)))]  # fmt: skip
    assert section_ends(bytes(36) + b"".join(sections)) == [47, 55, 363]


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
    row = {"image": "kodim01", "size": "768x512", "sections": 5, "psnr": ratios}
    lines = table({"what": "What", "percent": list(PERCENTS), "rows": [row]}).splitlines()
    assert lines[2] == "| of the file | kodim01, 768x512, 5 sections |"
    assert lines[4:] == [
        f"| {percent} % | {ratio:.2f} dB |" for percent, ratio in zip(PERCENTS, ratios, strict=True)
    ]
    write_strip(tmp_path / "strip.png", [np.zeros((40, 60, 3), np.uint8)] * len(PERCENTS), ratios)
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (960, 712)
