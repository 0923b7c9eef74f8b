"""What export chooses by measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="a model is built with Keras")
pytest.importorskip("onnx", reason="held-out pictures pass through ONNX graphs")

from aecodec.entropy import Adaptation, EntropyModel, Tables
from aecodec.models import Model
from aecodec.training import fitting
from aecodec.training.fitting import (
    FIRST_DEPENDENT,
    HISTOGRAM_LIMIT,
    fit_adaptation,
    fit_tables,
    measure_held_out,
    quality_levels,
    symbol_histograms,
    trial_tables,
)
from aecodec.training.folder import write_model
from aecodec.training.hyper_tables import HyperCounts
from tests.networks.helpers import TINY
from tests.training.pictures import picture_set


def test_every_symbol_is_counted_once_under_its_table() -> None:
    symbols = np.array([0, 0, -1, 1000, -1000, HISTOGRAM_LIMIT], np.int32)
    tables = np.array([3, 3, 3, 191, 191, 0], np.int32)
    counts = symbol_histograms(symbols, tables)
    assert counts.shape == (192, 2 * HISTOGRAM_LIMIT + 1)
    assert counts.sum() == 6
    assert counts[3, HISTOGRAM_LIMIT - 1 : HISTOGRAM_LIMIT + 1].tolist() == [1, 2]
    assert counts[191, [0, -1]].tolist() == [1, 1]
    assert counts[0, -1] == 1


def test_all_symbols_of_random_crops_are_counted(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    of_steps, of_hyper_latents = [], []

    class Counts(HyperCounts):
        def add(self, z: np.ndarray, level: int) -> None:
            of_hyper_latents.append(z.shape)
            super().add(z, level)

    def counted(symbols: np.ndarray, tables: np.ndarray) -> np.ndarray:
        of_steps.append(len(symbols))
        return symbol_histograms(symbols, tables)

    monkeypatch.setattr(fitting, "HyperCounts", Counts)
    monkeypatch.setattr(fitting, "symbol_histograms", counted)
    fit_tables(tiny_model, picture_set((200, 130)), 3)
    assert of_hyper_latents == 3 * [(2, 2, tiny_model.hyper_channels)]
    eighth = 8 * 8 * tiny_model.latent_channels // 8
    assert of_steps == 3 * [eighth, eighth, 2 * eighth, 2 * eighth, 2 * eighth]


def test_fitted_tables_are_those_that_a_model_needs_and_the_same_each_time(tiny_model: Model) -> None:
    fitted, again = (fit_tables(tiny_model, picture_set((200, 130)), 3) for _ in range(2))
    assert fitted.keys() == {name for name in tiny_model.arrays if name.startswith("tables/")}
    assert all(np.array_equal(array, again[name]) for name, array in fitted.items())
    entropy = EntropyModel.from_arrays({**tiny_model.arrays, **fitted})
    assert entropy.first_dependent == FIRST_DEPENDENT


def test_each_step_has_the_tables_of_its_own_symbols(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The symbols of the step ``s`` are made ``s`` everywhere, all coded with table 40."""

    def coded(z: np.ndarray, *_: object, **__: object) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.full(10**5, step), np.full(10**5, 40)) for step in range(5)]

    monkeypatch.setattr(fitting, "coded_symbols", coded)
    fitted = fit_tables(tiny_model, picture_set((128, 128)), 1)
    for step in range(5):
        bits = Tables.from_arrays(fitted, f"step{step}").cost_in_bits(np.arange(5), 40)
        assert np.argmin(bits) == step


def test_a_fitted_adaptation_is_one_for_the_model_and_the_same_each_time(tiny_model: Model) -> None:
    fitted, again = (fit_adaptation(tiny_model, picture_set((200, 130)), 3) for _ in range(2))
    assert all(np.array_equal(array, again[name]) for name, array in fitted.items())
    entropy = EntropyModel.from_arrays({**tiny_model.arrays, **fitted})
    assert entropy.adaptation.expected.any()


def test_before_anything_is_counted_no_index_is_moved() -> None:
    adaptation = Adaptation.from_arrays(trial_tables(TINY))
    assert not adaptation.weight.any()
    assert not adaptation.bias.any()


def test_before_anything_is_counted_all_steps_have_the_same_tables() -> None:
    entropy = trial_tables(TINY)
    steps = [Tables.from_arrays(entropy, f"step{step}") for step in range(5)]
    assert [tables.first_dependent for tables in steps] == [FIRST_DEPENDENT] * 5
    assert all(np.array_equal(tables.frequencies, steps[0].frequencies) for tables in steps)


def test_tables_that_fit_the_symbols_make_them_shorter(tiny_model: Model, tmp_path: Path) -> None:
    pictures = picture_set((128, 128))
    arrays = {**tiny_model.arrays, **fit_tables(tiny_model, pictures, 8)}
    other = write_model(tmp_path / "fitted", TINY, arrays)
    rows = measure_held_out((other, tiny_model), pictures, (97,))
    better, plain = rows[0]["bits_per_pixel"]
    assert 0 < better < plain


def test_held_out_pictures_are_measured_at_every_level(tiny_model: Model) -> None:
    pictures = picture_set((130, 200), (128, 128))
    rows = measure_held_out((tiny_model, tiny_model), pictures, (0, 120, 224))
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
