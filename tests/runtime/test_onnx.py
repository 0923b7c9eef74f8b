"""ONNX Runtime against the networks that its graphs were built from."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="the graphs are compared with Keras")

from aecodec.errors import ModelError
from aecodec.models import Model, load_model_folder
from aecodec.networks.layers import level_weights_of
from aecodec.residuals import ResidualCoder
from aecodec.runtime import RUNTIMES, Runtime, open_runtime
from aecodec.runtime.keras import build_autoencoder
from aecodec.runtime.onnx import OnnxRuntime
from aecodec.windows import box_average
from tests.conftest import COMPARED_LEVELS
from tests.helpers import photograph
from tests.networks.helpers import numpy

DAMAGED = b"\x08\x0a\x12 damaged"


@pytest.fixture(scope="module")
def runtime(tiny_model: Model) -> Runtime:
    return open_runtime("onnx", tiny_model)


def copy_of(model: Model, folder: Path) -> Path:
    return shutil.copytree(model.folder, folder / "tiny")


def decoded_by(runtime: Runtime, model: Model, compared: dict[str, np.ndarray], level: int) -> np.ndarray:
    """Pixels of the compared symbols of a level."""
    latents = ResidualCoder(model, runtime).reconstruct(compared[f"z {level}"], compared[f"r {level}"], level)
    return runtime.synthesise(latents, level)


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_the_decoder_gives_the_pixels_of_keras(
    level: int, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    model = build_autoencoder(tiny_model)
    z, r = (compared[f"{kind} {level}"][None].astype(np.float32) for kind in "zr")
    pixels = numpy(model.decode(z, r / 8, model.level_weights(np.array([level]))))[0]
    assert np.abs(pixels - compared[f"decoded {level}"]).max() < 1e-2


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_every_stage_gives_what_keras_gives(
    level: int, runtime: Runtime, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    model = build_autoencoder(tiny_model)
    weights = model.level_weights(np.array([level]))
    latents = runtime.analyse(compared["pixels"], level)
    np.testing.assert_allclose(
        latents, numpy(model.analysis(compared["pixels"][None], weights))[0], atol=1e-3
    )
    z = runtime.hyper_latents(latents, level)
    assert z.dtype == np.int16
    assert np.mean(z != numpy(model.hyper_latents(latents[None], weights))[0]) < 1e-2
    assert len(np.unique(z)) > 3
    features = runtime.hyper_features(z, level)
    expected = model.hyper_features(z[None].astype(np.float32), weights)
    for step in range(5):
        known = latents if step else None
        features, means = runtime.predict_step(step, features, known, level)
        seen = None if known is None else known[None]
        expected, expected_means = model.predict_step(step, expected, seen, weights)
        assert means.shape == latents.shape
        assert means.dtype == np.float32
        np.testing.assert_allclose(means, numpy(expected_means)[0], atol=1e-4)
    pixels = numpy(model.synthesise(latents[None], weights))[0]
    assert np.abs(runtime.synthesise(latents, level) - pixels).max() < 1e-2


def test_shapes_follow_the_picture(runtime: Runtime, tiny_model: Model) -> None:
    for rows, columns in ((1, 1), (2, 1), (1, 3)):
        pixels = np.full((64 * rows, 64 * columns, 3), 100, np.float32)
        latents = runtime.analyse(pixels, 150)
        assert latents.shape == (4 * rows, 4 * columns, tiny_model.latent_channels)
        z = runtime.hyper_latents(latents, 150)
        assert z.shape == (rows, columns, tiny_model.hyper_channels)
        _, means = runtime.predict_step(0, runtime.hyper_features(z, 150), None, 150)
        assert means.shape == latents.shape
        decoded = runtime.synthesise(means, 150)
        assert decoded.shape == pixels.shape
        assert decoded.dtype == np.float32


def test_hyper_latents_stay_inside_of_16_bits(runtime: Runtime, tiny_model: Model) -> None:
    wild = np.where(np.indices((4, 4)).sum(axis=0)[..., None] % 2, 1e8, -1e8)
    latents = np.broadcast_to(wild, (4, 4, tiny_model.latent_channels)).astype(np.float32)
    z = runtime.hyper_latents(latents, 224)
    assert np.abs(z.astype(int)).max() == 32767


def test_level_weights_are_those_of_the_networks(tiny_model: Model) -> None:
    runtime = OnnxRuntime(tiny_model)
    found = np.concatenate([runtime._level_weights(level) for level in range(225)])
    assert np.array_equal(found, level_weights_of(np.arange(225), 8, 32))


def test_threads_share_a_runtime(
    runtime: Runtime, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    levels = [*COMPARED_LEVELS] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda level: decoded_by(runtime, tiny_model, compared, level), levels))
    for level, pixels in zip(levels, found, strict=True):
        assert np.array_equal(pixels, compared[f"decoded {level}"])


def test_weights_outlive_what_they_were_read_from(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    runtime = OnnxRuntime(load_model_folder(copy))
    level = COMPARED_LEVELS[0]
    first = decoded_by(runtime, tiny_model, compared, level)
    shutil.rmtree(copy)
    gc.collect()
    assert np.array_equal(decoded_by(runtime, tiny_model, compared, level), first)
    assert np.array_equal(first, compared[f"decoded {level}"])


def test_decoding_reads_no_encoder(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    for name in ("analysis", "hyper_analysis"):
        (copy / f"{name}.onnx").unlink()
    runtime = OnnxRuntime(load_model_folder(copy))
    level = COMPARED_LEVELS[0]
    runtime.load_decoder(synthesis=True)
    assert np.array_equal(decoded_by(runtime, tiny_model, compared, level), compared[f"decoded {level}"])
    with pytest.raises(ModelError, match=r"analysis\.onnx.*reinstall"):
        runtime.analyse(compared["pixels"], level)


def test_a_preview_reads_no_synthesis(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "synthesis.onnx").unlink()
    runtime = OnnxRuntime(load_model_folder(copy))
    runtime.load_decoder(synthesis=False)
    with pytest.raises(ModelError, match=r"synthesis\.onnx.*reinstall"):
        runtime.load_decoder(synthesis=True)


def test_a_damaged_graph_is_a_model_error(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "analysis.onnx").write_bytes(DAMAGED)
    with pytest.raises(ModelError, match=r"analysis\.onnx"):
        OnnxRuntime(load_model_folder(copy)).analyse(compared["pixels"], 0)


def test_damaged_arrays_are_told_as_such(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "arrays.npz").write_bytes(DAMAGED)
    with pytest.raises(ModelError, match="arrays") as caught:
        OnnxRuntime(load_model_folder(copy)).analyse(compared["pixels"], 0)
    assert "onnxruntime" not in str(caught.value)


@pytest.fixture(scope="module")
def wide(runtime: Runtime) -> np.ndarray:
    """Latents of 512 x 448 pixels of a picture."""
    return runtime.analyse(photograph(448, 512).astype(np.float32), 150)


def test_the_synthesis_sees_no_further_than_its_halo(runtime: Runtime, wide: np.ndarray) -> None:
    latents, whole = wide, runtime.synthesise(wide, 150)
    halo = runtime.synthesis_halo // 16
    top, left, size = halo + 1, halo + 2, 3
    part = runtime.synthesise(latents[1 : top + size + halo, 2 : left + size + halo], 150)
    inner = slice(16 * halo, 16 * (halo + size))
    expected = whole[16 * top : 16 * (top + size), 16 * left : 16 * (left + size)]
    assert halo > 0
    assert part.shape[0] < whole.shape[0] > part.shape[1]
    assert np.abs(part[inner, inner] - expected).max() < 1e-2
    nearer = runtime.synthesise(latents[2 : top + size + halo, 3 : left + size + halo], 150)
    assert np.abs(nearer[: 16 * size] - part[16 : 16 * (1 + size), 16:]).max() > 0


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("scale", [8, 16])
def test_a_preview_is_the_mean_of_the_linear_part(
    scale: int, name: str, tiny_model: Model, wide: np.ndarray
) -> None:
    latents = wide
    kernel, bias = (
        np.asarray(tiny_model.arrays[f"synthesis/shortcut/map/{name}"], np.float32)
        for name in ("kernel", "bias")
    )
    rows, columns, _ = latents.shape
    patches = (0.64 * latents) @ kernel + bias + 127.5
    pixels = patches.reshape(rows, columns, 16, 16, 3).transpose(0, 2, 1, 3, 4)
    expected = box_average(pixels.reshape(16 * rows, 16 * columns, 3), scale)
    found = open_runtime(name, tiny_model).preview(latents, scale)
    assert np.abs(found - expected).max() < 1e-2


@pytest.mark.parametrize("graph", ["hyper_synthesis.onnx", "step_2.onnx", "synthesis.onnx"])
def test_a_part_of_a_decoder_is_a_model_error(
    graph: str, tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / graph).unlink()
    runtime = OnnxRuntime(load_model_folder(copy))
    with pytest.raises(ModelError, match=rf"{graph}.*reinstall"):
        decoded_by(runtime, tiny_model, compared, COMPARED_LEVELS[0])


def test_graphs_take_pointwise_kernels_as_filters(tiny_model: Model) -> None:
    name = "synthesis/enter/kernel"
    stored = np.asarray(tiny_model.arrays[name], np.float32)
    filters = OnnxRuntime(tiny_model)._initialiser(name).numpy()
    assert np.array_equal(filters, stored.T[:, :, None, None])


def test_memory_is_kept_for_small_windows_alone(tiny_model: Model) -> None:
    runtime = OnnxRuntime(tiny_model)
    entry = "memory.enable_memory_arena_shrinkage"
    assert runtime._options(2048 * 2048).get_run_config_entry(entry) == "cpu:0"
    with pytest.raises(RuntimeError, match="arena_shrinkage"):
        runtime._options(768 * 512).get_run_config_entry(entry)


def test_decoding_leaves_nothing_in_the_home_folder(tiny_model: Model, tmp_path: Path) -> None:
    """From 1.32 on, ONNX Runtime keeps an id of the machine there, and sends it, unless told not to."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import numpy as np, aecodec, time; "
        f"model = {str(tiny_model.folder)!r}; "
        "aecodec.decode(aecodec.encode(np.zeros((64, 64, 3), np.uint8), model=model), model=model); "
        "time.sleep(1)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", code], env={**environment, "HOME": str(home)}, check=True)
    assert list(home.rglob("*")) == []
