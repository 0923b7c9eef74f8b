"""Previews against the means of decoded pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aecodec.models import registry
from bench.images import find_images
from bench.previews import SCALES, measure_all, square_means
from tests.helpers import photograph


def test_means_are_of_whole_squares_and_rounded_half_up() -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[:2, :2] = np.array([1, 0, 1, 0])[:, None].reshape(2, 2, 1)
    pixels[2, 4] = 255
    means = square_means(pixels, 2)
    assert means.shape == (2, 3, 3)
    assert means[0, 0].tolist() == [1, 1, 1], "a half is rounded up"
    assert means[1, 2].tolist() == [64, 64, 64]
    assert int(means.astype(int).sum()) == 3 + 3 * 64


@pytest.mark.skipif(not registry().default, reason="no model is installed")
def test_previews_of_one_half_are_the_means_themselves(tmp_path: Path) -> None:
    Image.fromarray(photograph(128, 192, 3)).save(tmp_path / "a.png")
    content = measure_all(find_images(tmp_path)[1], 75, None, lambda done, total, name: None)
    assert [row["scale"] for row in content["rows"]] == list(SCALES)
    half, *_, smallest = content["rows"]
    assert half["least_psnr"] > 50, "decoded pixels are rounded before their mean is taken here"
    assert smallest["least_psnr"] > 20
    assert all(row["least_psnr"] <= row["mean_psnr"] and row["time_share"] > 0 for row in content["rows"])
