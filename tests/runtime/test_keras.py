"""The reference runtime, and what it shares with the others: symbols exactly, pixels nearly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="the runtime needs Keras")

from aecodec.codec import decode, encode
from aecodec.entropy import decode_chunk, encode_chunk
from aecodec.errors import ModelError
from aecodec.models import Model, load_model_folder
from aecodec.residuals import ResidualCoder
from aecodec.runtime import Runtime, open_runtime
from aecodec.runtime.keras import build_autoencoder
from tests.conftest import COMPARED_LEVELS
from tests.helpers import photograph

PEAK, RMS = 1.0, 0.02


@pytest.fixture(scope="module")
def runtime(tiny_model: Model) -> Runtime:
    return open_runtime("keras", tiny_model)


def assert_pixels_agree(found: np.ndarray, expected: np.ndarray) -> None:
    difference = found - expected
    assert np.abs(difference).max() < PEAK
    assert np.sqrt(np.mean(difference**2)) < RMS


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_tensorflow_decodes_the_pixels_of_onnx_runtime(
    level: int, runtime: Runtime, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    symbols = compared[f"z {level}"], compared[f"r {level}"]
    decoded = runtime.synthesise(ResidualCoder(tiny_model, runtime).reconstruct(*symbols, level), level)
    assert decoded.dtype == np.float32
    assert_pixels_agree(decoded, compared[f"decoded {level}"])


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_jax_decodes_the_pixels_of_onnx_runtime(
    level: int, on_jax: dict[str, np.ndarray], compared: dict[str, np.ndarray]
) -> None:
    assert_pixels_agree(on_jax[f"decoded {level}"], compared[f"decoded {level}"])


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_all_runtimes_choose_the_same_symbols_but_for_ties(
    level: int,
    runtime: Runtime,
    tiny_model: Model,
    on_jax: dict[str, np.ndarray],
    compared: dict[str, np.ndarray],
) -> None:
    latents = runtime.analyse(compared["pixels"], level)
    on_tensorflow = dict(zip("zr", ResidualCoder(tiny_model, runtime).quantise(latents, level), strict=True))
    for kind in "zr":
        expected = compared[f"{kind} {level}"]
        for found in (on_tensorflow[kind], on_jax[f"{kind} {level}"]):
            assert found.dtype == np.int16
            assert found.shape == expected.shape
            assert np.mean(found != expected) < 1e-3


def test_a_file_holds_the_same_symbols_for_every_runtime(
    tiny_model: Model, on_jax: dict[str, np.ndarray], compared: dict[str, np.ndarray]
) -> None:
    """What was encoded on one runtime's symbols is decoded without any: no float decides."""
    for level in COMPARED_LEVELS:
        for symbols in (compared, on_jax):
            z, r = symbols[f"z {level}"], symbols[f"r {level}"]
            coded = encode_chunk(z, r, level, tiny_model.entropy, dependent=True)
            parsed = decode_chunk(coded, z.shape[:2], level, tiny_model.entropy, dependent=True)
            assert np.array_equal(parsed[0], z)
            assert np.array_equal(parsed[1], r)


@pytest.mark.parametrize("effort", [0, 1])
def test_a_file_of_one_runtime_opens_with_the_other(effort: int, tiny_model: Model) -> None:
    picture = photograph(100, 150)
    pictures = {}
    for writer in ("onnx", "keras"):
        data = encode(picture, 70, effort=effort, model=tiny_model, runtime=writer)
        for reader in ("onnx", "keras"):
            pictures[writer, reader] = decode(data, model=tiny_model, runtime=reader)
        ours, theirs = (pictures[writer, reader].astype(int) for reader in ("onnx", "keras"))
        assert ours.shape == picture.shape
        assert np.abs(ours - theirs).max() <= 1
        assert np.mean(ours != theirs) < 0.01


def test_weights_that_do_not_fit_are_a_model_error(tiny_model: Model, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model.folder, tmp_path / "tiny")
    named = dict(tiny_model.arrays)
    del named["synthesis/up/bias"]
    np.savez(copy / "arrays.npz", **named)
    with pytest.raises(ModelError, match=r"synthesis/up/bias.*reinstall"):
        build_autoencoder(load_model_folder(copy))
