"""What export chooses by measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="encoding is done by Keras")
pytest.importorskip("onnx", reason="held-out pictures pass through ONNX graphs")

from aecodec.entropy import EntropyModel, encode_chunk, fitted_tables
from aecodec.models import Model
from aecodec.runtime import open_runtime
from aecodec.training.fitting import (
    HISTOGRAM_LIMIT,
    measure_held_out,
    quality_levels,
    symbol_histograms,
)
from tests.networks.helpers import random_symbols
from tests.training.pictures import picture_set


def test_every_symbol_is_counted_once_under_its_table(tiny_model: Model) -> None:
    z, r = random_symbols(2, 3)
    r[0, 0, 0] = 32767
    counts = symbol_histograms(z, r, 100, tiny_model.entropy.scale_network)
    assert counts.shape == (64, 2 * HISTOGRAM_LIMIT + 1)
    assert counts.sum() == z.size + r.size
    assert counts[:, -1].sum() == 1
    values = np.concatenate([z.ravel(), r.ravel()]).astype(int).clip(-HISTOGRAM_LIMIT, HISTOGRAM_LIMIT)
    assert np.array_equal(
        counts.sum(axis=0), np.bincount(values + HISTOGRAM_LIMIT, minlength=counts.shape[1])
    )


def test_tables_that_fit_the_symbols_make_them_shorter(tiny_model: Model) -> None:
    z, r = random_symbols(2, 3)
    network = tiny_model.entropy.scale_network
    fitted = EntropyModel(fitted_tables(symbol_histograms(z, r, 100, network)), network)
    sizes = [sum(map(len, encode_chunk(z, r, 100, model))) for model in (tiny_model.entropy, fitted)]
    assert sizes[1] < sizes[0]


def test_held_out_pictures_are_measured_at_every_level(tiny_model: Model) -> None:
    pictures = picture_set((130, 200), (128, 128))
    model = tiny_model.entropy
    rows = measure_held_out(open_runtime("onnx", tiny_model), (model, model), pictures, (0, 120, 224))
    assert [row["level"] for row in rows] == [0, 120, 224]
    assert all(20 < row["psnr"] < 60 for row in rows)
    assert rows[0]["bits_per_pixel"] < rows[1]["bits_per_pixel"] < rows[2]["bits_per_pixel"]
    for row in rows:
        assert row["bits_per_pixel"][0] == row["bits_per_pixel"][1] > 0


def rows_of(*psnrs: float) -> list[dict[str, Any]]:
    levels = np.linspace(0, 224, len(psnrs)).round().astype(int).tolist()
    return [{"level": level, "psnr": psnr} for level, psnr in zip(levels, psnrs, strict=True)]


@pytest.mark.parametrize("psnrs", [(20, 50), (28, 31, 34, 36, 40, 46), (30, 30, 29, 35), (60, 70), (5, 9)])
def test_qualities_rise_strictly_to_the_end_of_the_scale(psnrs: tuple[float, ...]) -> None:
    found = quality_levels(rows_of(*psnrs), picture_set((128, 128)), 225)
    assert len(found) == 100
    assert found[-1] == 224
    assert found[0] >= 0
    assert np.all(np.diff(found) > 0)


def test_a_better_model_needs_lower_levels_for_the_same_quality() -> None:
    pictures = picture_set((128, 128))
    good, poor = (
        np.array(quality_levels(rows_of(low, high), pictures, 225)) for low, high in ((24, 54), (18, 48))
    )
    assert np.all(good <= poor)
    assert good[49] < poor[49]
