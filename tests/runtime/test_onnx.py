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
from aecodec.runtime import Runtime, StagedRuntime, open_runtime
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


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_the_decoder_graph_gives_the_pixels_of_keras(
    level: int, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    model = build_autoencoder(tiny_model)
    symbols = (compared[f"{kind} {level}"][None].astype(np.float32) for kind in "zr")
    pixels = numpy(model.decode(*symbols, model.level_weights(np.array([level]))))[0]
    assert np.abs(pixels - compared[f"decoded {level}"]).max() < 1e-2


@pytest.mark.parametrize("level", COMPARED_LEVELS)
def test_the_encoder_graph_gives_the_symbols_of_keras(
    level: int, tiny_model: Model, compared: dict[str, np.ndarray]
) -> None:
    """But for ties: values near a half are rounded to either side, and the steps behind them follow."""
    model = build_autoencoder(tiny_model)
    symbols = model.encode(compared["pixels"][None], model.level_weights(np.array([level])))
    for kind, expected in zip("zr", symbols, strict=True):
        found = compared[f"{kind} {level}"]
        assert found.dtype == np.int16
        difference = np.abs(found - numpy(expected)[0])
        assert difference.max() <= 1
        assert np.mean(difference != 0) < 1e-3
        assert len(np.unique(found)) > 3


def test_shapes_follow_the_picture(runtime: Runtime, tiny_model: Model) -> None:
    for rows, columns in ((1, 1), (2, 1), (1, 3)):
        pixels = np.full((64 * rows, 64 * columns, 3), 100, np.float32)
        z, r = runtime.encode(pixels, 150)
        assert z.shape == (rows, columns, tiny_model.hyper_channels)
        assert r.shape == (4 * rows, 4 * columns, tiny_model.latent_channels)
        decoded = runtime.decode(z, r, 150)
        assert decoded.shape == pixels.shape
        assert decoded.dtype == np.float32


def test_symbols_stay_inside_of_16_bits(runtime: Runtime) -> None:
    wild = np.where(np.indices((64, 64)).sum(axis=0)[..., None] % 2, 1e6, -1e6)
    z, r = runtime.encode(np.broadcast_to(wild, (64, 64, 3)).astype(np.float32), 224)
    assert max(np.abs(z.astype(int)).max(), np.abs(r.astype(int)).max()) == 32767


def test_level_weights_are_those_of_the_networks(tiny_model: Model) -> None:
    runtime = OnnxRuntime(tiny_model)
    found = np.concatenate([runtime._level_weights(level) for level in range(225)])
    assert np.array_equal(found, level_weights_of(np.arange(225), 8, 32))


def test_threads_share_a_runtime(runtime: Runtime, compared: dict[str, np.ndarray]) -> None:
    levels = [*COMPARED_LEVELS] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda level: runtime.encode(compared["pixels"], level)[1], levels))
    for level, r in zip(levels, found, strict=True):
        assert np.array_equal(r, compared[f"r {level}"])


def test_weights_outlive_what_they_were_read_from(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    runtime = OnnxRuntime(load_model_folder(copy))
    level = COMPARED_LEVELS[0]
    symbols = compared[f"z {level}"], compared[f"r {level}"], level
    first = runtime.decode(*symbols)
    shutil.rmtree(copy)
    gc.collect()
    assert np.array_equal(runtime.decode(*symbols), first)
    assert np.array_equal(first, compared[f"decoded {level}"])


def test_decoding_reads_no_encoder(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "encoder.onnx").unlink()
    runtime = OnnxRuntime(load_model_folder(copy))
    level = COMPARED_LEVELS[0]
    decoded = runtime.decode(compared[f"z {level}"], compared[f"r {level}"], level)
    assert np.array_equal(decoded, compared[f"decoded {level}"])
    with pytest.raises(ModelError, match=r"encoder\.onnx.*reinstall"):
        runtime.encode(compared["pixels"], level)


def test_a_damaged_graph_is_a_model_error(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "encoder.onnx").write_bytes(DAMAGED)
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        OnnxRuntime(load_model_folder(copy)).encode(compared["pixels"], 0)


def test_damaged_arrays_are_told_as_such(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / "arrays.npz").write_bytes(DAMAGED)
    with pytest.raises(ModelError, match="arrays") as caught:
        OnnxRuntime(load_model_folder(copy)).encode(compared["pixels"], 0)
    assert "onnxruntime" not in str(caught.value)


@pytest.fixture(scope="module")
def wide(runtime: OnnxRuntime) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of 512 x 448 pixels of a picture."""
    z, r = runtime.encode(photograph(448, 512).astype(np.float32), 150)
    return z, r


def test_stages_give_what_the_whole_decoder_gives(tiny_model: Model, compared: dict[str, np.ndarray]) -> None:
    runtime = OnnxRuntime(tiny_model)
    assert isinstance(runtime, StagedRuntime)
    model = build_autoencoder(tiny_model)
    level = COMPARED_LEVELS[1]
    z, r = compared[f"z {level}"], compared[f"r {level}"]
    latents = runtime.predict(z, r, level)
    assert latents.shape == r.shape
    symbols = (symbol[None].astype(np.float32) for symbol in (z, r))
    pixels = numpy(model.decode(*symbols, model.level_weights(np.array([level]))))[0]
    assert np.abs(runtime.synthesise(latents, level) - pixels).max() < 1e-2


def test_the_synthesis_sees_no_further_than_its_halo(
    runtime: OnnxRuntime, wide: tuple[np.ndarray, np.ndarray]
) -> None:
    latents = runtime.predict(*wide, 150)
    whole = runtime.synthesise(latents, 150)
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


@pytest.mark.parametrize("scale", [8, 16])
def test_a_preview_is_the_mean_of_the_linear_part(
    scale: int, runtime: OnnxRuntime, tiny_model: Model, wide: tuple[np.ndarray, np.ndarray]
) -> None:
    latents = runtime.predict(*wide, 150)
    kernel, bias = (
        np.asarray(tiny_model.arrays[f"synthesis/shortcut/map/{name}"], np.float32)
        for name in ("kernel", "bias")
    )
    rows, columns, _ = latents.shape
    patches = (0.64 * latents) @ kernel + bias + 127.5
    pixels = patches.reshape(rows, columns, 16, 16, 3).transpose(0, 2, 1, 3, 4)
    expected = box_average(pixels.reshape(16 * rows, 16 * columns, 3), scale)
    assert np.abs(runtime.preview(latents, scale) - expected).max() < 1e-2


@pytest.mark.parametrize("graph", ["prediction.onnx", "synthesis.onnx"])
def test_half_a_decoder_is_a_model_error(
    graph: str, tiny_model: Model, compared: dict[str, np.ndarray], tmp_path: Path
) -> None:
    copy = copy_of(tiny_model, tmp_path)
    (copy / graph).unlink()
    level = COMPARED_LEVELS[0]
    with pytest.raises(ModelError, match=rf"{graph}.*reinstall"):
        OnnxRuntime(load_model_folder(copy)).decode(compared[f"z {level}"], compared[f"r {level}"], level)


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
