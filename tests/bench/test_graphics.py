"""The graphics are drawn from what the checkout holds, and their table tells what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.graphics import SIZE, drawings, lossless_sizes, make, table
from bench.results import Point, Result, averages


def result(name: str, factor: float) -> Result:
    points = [
        Point(image, step, int(1000 * factor * 1.5**step), factor * 1.5**step, {"psnr-rgb": 26.0 + 2 * step})
        for image in ("text", "map")
        for step in range(6)
    ]
    return Result(name, name.title(), "library 1.0", averages(points), points)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.graphics.BROWSERS", ())
        made, notes = make(tmp_path_factory.mktemp("graphics"))
    assert notes == ["No Chromium is installed: the two screenshots are left out."]
    return made


def test_every_drawing_becomes_a_picture_with_something_on_it(folder: Path) -> None:
    paths = sorted(folder.glob("*.png"))
    assert [path.stem for path in paths] == sorted(drawing.name for drawing in drawings())
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("RGB", SIZE)
            pixels = np.asarray(picture)
        common = np.mean(np.all(pixels == np.median(pixels, axis=(0, 1)), axis=2))
        assert pixels.std() > 10
        assert common < 0.99


def test_the_same_pictures_are_drawn_again(folder: Path) -> None:
    for drawing in drawings():
        with Image.open(folder / f"{drawing.name}.png") as picture:
            assert np.array_equal(np.asarray(drawing.draw().convert("RGB")), np.asarray(picture))


def test_lossless_files_hold_the_picture(folder: Path) -> None:
    with Image.open(folder / "text.png") as picture:
        sizes = lossless_sizes(picture)
    assert 1000 < sizes["webp-lossless"] < sizes["png"] < SIZE[0] * SIZE[1]


def test_the_table_compares_per_picture() -> None:
    sizes = {name: {"png": 9000, "webp-lossless": 4000} for name in ("text", "map")}
    text = table([result("aecodec", 0.1), result("webp", 0.2)], sizes)
    rows = text.splitlines()
    assert rows[0] == "| Picture | against Webp | largest file | lossless WebP | PNG |"
    assert rows[2] == "| text | -50 % (26 to 36 dB) | 759 at 36.0 dB | 4,000 | 9,000 |"
    assert rows[4] == "| mean | -50 % (2 pictures) |  |  |  |"


def test_a_picture_without_common_quality_has_an_empty_cell() -> None:
    better = result("webp", 0.2)
    points = [replace(p, metrics={"psnr-rgb": p.metrics["psnr-rgb"] + 40}) for p in better.points]
    sizes = {name: {"png": 9000, "webp-lossless": 4000} for name in ("text", "map")}
    text = table([result("aecodec", 0.1), replace(better, points=points)], sizes)
    assert text.splitlines()[2].startswith("| text |  | 759")
