"""What the timing of the graphs reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("keras", reason="the graphs are timed in Keras")

from aecodec.errors import InputError
from aecodec.models import Model
from aecodec.training.throughput import load, measure
from tests.helpers import photograph


def test_both_graphs_are_timed_with_and_without_transfers(tiny_model: Model) -> None:
    rows = measure(tiny_model, "float32", [photograph(64, 128, 0)], level=112, repeats=1)
    assert [row["operation"] for row in rows] == ["encode", "decode"]
    assert all((row["width"], row["height"], row["precision"]) == (128, 64, "float32") for row in rows)
    assert all(row["with_transfers"] > 0 and row["without_transfers"] > 0 for row in rows)
    assert rows[0]["psnr_difference"] is None
    assert abs(rows[1]["psnr_difference"]) < 0.01


def test_pictures_are_cut_to_what_the_graphs_take(tmp_path: Path) -> None:
    for width, height in ((130, 70), (63, 500)):
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(tmp_path / f"{width}.png")
    assert load(tmp_path / "130.png").shape == (64, 128, 3)
    with pytest.raises(InputError, match="found 63x500"):
        load(tmp_path / "63.png")
