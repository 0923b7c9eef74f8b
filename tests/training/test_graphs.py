"""ONNX graphs: what they cost, what they hold, and how far they see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="the graphs are those of Keras networks")
pytest.importorskip("onnx", reason="the graphs are built with onnx")

import onnx
import onnxruntime

from aecodec.networks.architecture import PRESETS, STEPS, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.layers import GatedBlock
from aecodec.networks.weights import arrays_of
from aecodec.training.graphs import (
    Graph,
    encoder_graph,
    halos,
    prediction_graph,
    synthesis_graph,
    synthesis_halo,
)
from tests.networks.helpers import TINY, levels, numpy, random_symbols, tiny_autoencoder

LEVEL = 210


def decoder_cost(architecture: Architecture) -> float:
    """kMAC per pixel of both halves."""
    return prediction_graph(architecture).kmac_per_pixel + synthesis_graph(architecture).kmac_per_pixel


def test_the_default_preset_decodes_below_60_kmac_a_pixel() -> None:
    assert 5 < decoder_cost(PRESETS["base"]) < 60


def test_the_large_preset_costs_what_a_gpu_should_do() -> None:
    assert 200 < decoder_cost(PRESETS["large"]) < 350


def test_the_cost_is_that_of_the_matrix_products() -> None:
    """Counted again from the shapes of the weights and the grids that they work on."""
    grids = {"eighth": 8, "sixteenth": 16, "thirtysecond": 32, "blocks": 16}
    special = {"synthesis/leave": 8, "hyper_synthesis/enter": 64, "hyper_synthesis/up_0": 64}
    special |= {"hyper_synthesis/up_1": 32}
    total = 0.0
    halves = prediction_graph(TINY), synthesis_graph(TINY)
    for tensor in (tensor for half in halves for tensor in half.model.graph.initializer):
        path = tensor.name.removesuffix("/kernel")
        if path != tensor.name:
            inner = path.split("/")
            grid = special.get(path) or grids.get(inner[1] if len(inner) > 2 else "", 16)
            total += float(np.prod(tensor.dims)) / grid**2 / 1000
    assert decoder_cost(TINY) == pytest.approx(total)


@pytest.mark.parametrize("build", [encoder_graph, prediction_graph, synthesis_graph])
def test_graphs_hold_no_weights_and_are_valid_with_them(build: Callable[[Architecture], Graph]) -> None:
    graph = build(TINY)
    external = [tensor for tensor in graph.model.graph.initializer if tensor.external_data]
    assert tuple(tensor.name for tensor in external) == graph.weights
    assert not any(tensor.raw_data for tensor in external)
    assert len(graph.model.SerializeToString()) < 200_000
    for tensor in external:
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = bytes(4 * int(np.prod(tensor.dims)))
    onnx.checker.check_model(graph.model, full_check=True)


@pytest.mark.parametrize("build", [encoder_graph, prediction_graph, synthesis_graph])
def test_constants_and_what_is_made_of_them_are_there_once(build: Callable[[Architecture], Graph]) -> None:
    """A constant has one name wherever it is used, so blocks on one grid share the repeated level weights."""
    graph = build(replace(TINY, synthesis_eighth_blocks=3, prediction_blocks=3)).model.graph
    constants = [tensor for tensor in graph.initializer if not tensor.external_data]
    contents = {(tensor.data_type, tuple(tensor.dims), tensor.raw_data) for tensor in constants}
    assert len(contents) == len(constants)
    repeated = [tuple(node.input) for node in graph.node if node.op_type == "Expand"]
    assert repeated
    assert len(set(repeated)) == len(repeated)


def test_graphs_name_arrays_of_the_model_folder() -> None:
    arrays = arrays_of(tiny_autoencoder())
    graphs = [build(TINY) for build in (encoder_graph, prediction_graph, synthesis_graph)]
    for graph in graphs:
        for tensor in graph.model.graph.initializer:
            if tensor.external_data:
                shape = sorted(arrays[tensor.name].shape)
                filters = tensor.name.endswith("/kernel") and len(shape) == 2
                assert sorted(tensor.dims) == ([1, 1, *shape] if filters else shape), tensor.name
    floats = {name for name in arrays if not name.startswith("scales/")}
    used = {name for graph in graphs for name in graph.weights}
    assert floats == {name for name in used if not name.startswith("scales/")}


def operators_as_run(graph: Graph, folder: Path) -> Counter[str]:
    """How often ONNX Runtime runs each operator, with random weights, once it has optimised a graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    tensors = {tensor.name: tensor for tensor in graph.model.graph.initializer}
    values = [np.ones(tensors[name].dims, np.float32) for name in graph.weights]
    options.add_external_initializers(
        list(graph.weights), [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in values]
    )
    onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.parametrize("build", [prediction_graph, synthesis_graph])
def test_blocks_reorder_nothing(build: Callable[[Architecture], Graph], tmp_path: Path) -> None:
    """Each further block is five convolutions, the map of its scale, and two products."""
    deep = replace(TINY, synthesis_eighth_blocks=3, prediction_blocks=3)
    found, more = (operators_as_run(build(architecture), tmp_path) for architecture in (TINY, deep))
    if not found["ReorderInput"]:
        pytest.skip("ONNX Runtime has no blocks of channels on this processor")
    added = 2 if build is synthesis_graph else 2 * STEPS
    assert more - found == Counter({"Conv": 6 * added, "Mul": 2 * added})


def far_sighted() -> Autoencoder:
    """A model whose blocks add both horizontal neighbours, twice each: what is beyond a halo would show."""
    model = tiny_autoencoder()
    for block in model._flatten_layers():
        if isinstance(block, GatedBlock):
            channels = int(block.project.kernel.shape[0])
            kernel = np.zeros((3, 3, 2 * channels, 1))
            kernel[1, [0, 2]] = 1
            block.expand.kernel.assign(np.eye(channels, 2 * channels))
            block.mix.kernel.assign(kernel)
            block.project.kernel.assign(4 * np.eye(channels))
            for layer in (block.expand, block.mix, block.project):
                layer.bias.assign(np.zeros(layer.bias.shape))
    return model


def decode_core(model: Autoencoder, z: np.ndarray, r: np.ndarray, core: int, reach: int) -> np.ndarray:
    """One column of 64 pixels, decoded from ``reach`` columns on both sides."""
    first, last = core - reach, core + reach + 1
    symbols = z[None, :, first:last], r[None, :, 4 * first : 4 * last]
    decoded = numpy(model.decode(*(part.astype(np.float32) for part in symbols), levels(LEVEL)))
    return decoded[0, :, 64 * reach : 64 * (reach + 1)]


def test_decoding_a_window_with_its_halo_gives_the_crop_of_the_whole() -> None:
    model, reach = far_sighted(), halos(TINY)["decoder"] // 64
    core = reach + 1
    z, r = random_symbols(1, 2 * core + 1)
    whole = decode_core(model, z, r, core, core)
    scale = np.abs(whole - whole.mean()).max()
    assert np.abs(decode_core(model, z, r, core, reach) - whole).max() < 1e-5 * scale
    assert np.abs(decode_core(model, z, r, core, reach - 1) - whole).max() > 1e-4 * scale


def encode_core(model: Autoencoder, pixels: np.ndarray, core: int, reach: int) -> tuple[np.ndarray, ...]:
    """z and r of one column of 64 pixels, encoded from ``reach`` columns on both sides."""
    window = pixels[:, :, 64 * (core - reach) : 64 * (core + reach + 1)]
    z, r = (numpy(symbols) for symbols in model.encode(window, levels(LEVEL)))
    return z[0, :, reach], r[0, :, 4 * reach : 4 * (reach + 1)]


def test_encoding_a_window_with_its_halo_gives_the_crop_of_the_whole() -> None:
    model, reach = far_sighted(), halos(TINY)["encoder"] // 64
    core = reach + 1
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 64, 64 * (2 * core + 1), 3)).astype(np.float32)
    whole = encode_core(model, pixels, core, core)
    for found, expected in zip(encode_core(model, pixels, core, reach), whole, strict=True):
        assert np.all(np.abs(found - expected) <= 1 + 1e-5 * np.abs(expected))
    narrow = encode_core(model, pixels, core, reach - 2)
    assert any(np.any(np.abs(found - expected) > 10) for found, expected in zip(narrow, whole, strict=True))


def test_deeper_networks_see_further() -> None:
    deep = replace(TINY, synthesis_sixteenth_blocks=9, analysis_sixteenth_blocks=9)
    assert halos(deep)["decoder"] == halos(TINY)["decoder"] + 128
    assert halos(deep)["encoder"] == halos(TINY)["encoder"] + 128
    for preset in PRESETS.values():
        assert all(pixels % 64 == 0 for pixels in halos(preset).values())


def test_the_halo_of_the_synthesis_is_part_of_the_decoders() -> None:
    assert synthesis_halo(TINY) == 32  # one block at 1/8 and one at 1/16, rounded up to the coarser grid
    assert synthesis_halo(Architecture()) == 96
    for preset in PRESETS.values():
        assert 0 < synthesis_halo(preset) < halos(preset)["decoder"]
        assert synthesis_halo(preset) % 16 == 0
