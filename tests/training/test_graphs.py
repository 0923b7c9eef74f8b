"""ONNX graphs: what they cost, what they hold, and how far they see."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="the graphs are those of Keras networks")
pytest.importorskip("onnx", reason="the graphs are built with onnx")

import onnx
import onnxruntime

from aecodec.networks.architecture import PRESETS, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.layers import GatedBlock
from aecodec.networks.weights import arrays_of
from aecodec.training.graphs import Graph, halos, model_graphs, synthesis_halo
from tests.networks.helpers import TINY, levels, numpy, random_symbols, tiny_autoencoder

LEVEL = 210


NAMES = tuple(model_graphs(TINY))


def decoder_graphs(architecture: Architecture) -> list[Graph]:
    """What a file is decoded with."""
    ours = model_graphs(architecture).items()
    return [graph for name, graph in ours if name not in ("analysis", "hyper_analysis")]


def decoder_cost(architecture: Architecture) -> float:
    """kMAC per pixel of all that decodes."""
    return sum(graph.kmac_per_pixel for graph in decoder_graphs(architecture))


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
    for tensor in (tensor for graph in decoder_graphs(TINY) for tensor in graph.model.graph.initializer):
        path = tensor.name.removesuffix("/kernel")
        if path != tensor.name:
            inner = path.split("/")
            grid = special.get(path) or grids.get(inner[1] if len(inner) > 2 else "", 16)
            total += float(np.prod(tensor.dims)) / grid**2 / 1000
    assert decoder_cost(TINY) == pytest.approx(total)


@pytest.mark.parametrize("name", NAMES)
def test_graphs_hold_no_weights_and_are_valid_with_them(name: str) -> None:
    graph = model_graphs(TINY)[name]
    external = [tensor for tensor in graph.model.graph.initializer if tensor.external_data]
    assert tuple(tensor.name for tensor in external) == graph.weights
    assert not any(tensor.raw_data for tensor in external)
    assert len(graph.model.SerializeToString()) < 200_000
    for tensor in external:
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = bytes(4 * int(np.prod(tensor.dims)))
    onnx.checker.check_model(graph.model, full_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_constants_and_what_is_made_of_them_are_there_once(name: str) -> None:
    """A constant has one name wherever it is used, so blocks on one grid share the repeated level weights."""
    graph = model_graphs(replace(TINY, synthesis_eighth_blocks=3, prediction_blocks=3))[name].model.graph
    constants = [tensor for tensor in graph.initializer if not tensor.external_data]
    contents = {(tensor.data_type, tuple(tensor.dims), tensor.raw_data) for tensor in constants}
    assert len(contents) == len(constants)
    repeated = [tuple(node.input) for node in graph.node if node.op_type == "Expand"]
    assert repeated
    assert len(set(repeated)) == len(repeated)


def test_graphs_name_arrays_of_the_model_folder() -> None:
    arrays = arrays_of(tiny_autoencoder())
    graphs = model_graphs(TINY).values()
    for graph in graphs:
        for tensor in graph.model.graph.initializer:
            if tensor.external_data:
                shape = sorted(arrays[tensor.name].shape)
                filters = tensor.name.endswith("/kernel") and len(shape) == 2
                assert sorted(tensor.dims) == ([1, 1, *shape] if filters else shape), tensor.name
    floats = {name for name, array in arrays.items() if array.dtype.kind == "f"}
    used = {name for graph in graphs for name in graph.weights}
    assert used <= floats
    quantisation = {"log_inverse_gain/rows", "encoder/log_gain/rows", "encoder/rounding_strength/rows"}
    assert floats - used == quantisation


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


@pytest.mark.parametrize("name", ["analysis", "step_0", "step_3", "synthesis"])
def test_blocks_reorder_nothing(name: str, tmp_path: Path) -> None:
    """Each further block is six convolutions, one of them the map of its scale, and two products."""
    deep = replace(TINY, analysis_eighth_blocks=3, synthesis_eighth_blocks=3, prediction_blocks=3)
    found, more = (
        operators_as_run(model_graphs(architecture)[name], tmp_path) for architecture in (TINY, deep)
    )
    if not found["ReorderInput"]:
        pytest.skip("ONNX Runtime has no blocks of channels on this processor")
    assert more - found == Counter({"Conv": 6 * 2, "Mul": 2 * 2})


def test_a_step_reorders_only_what_it_takes_and_gives(tmp_path: Path) -> None:
    """Features and known latents in; features and means out."""
    found = operators_as_run(model_graphs(TINY)["step_1"], tmp_path)
    if not found["ReorderInput"]:
        pytest.skip("ONNX Runtime has no blocks of channels on this processor")
    assert found["ReorderInput"] <= 3  # the weights of the level are one more
    assert found["ReorderOutput"] <= 2


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


def analyse_core(model: Autoencoder, pixels: np.ndarray, core: int, reach: int) -> np.ndarray:
    """Latents of one column of 64 pixels, from ``reach`` columns on both sides."""
    window = pixels[:, :, 64 * (core - reach) : 64 * (core + reach + 1)]
    return numpy(model.analysis(window, levels(LEVEL)))[0, :, 4 * reach : 4 * (reach + 1)]


def test_analysing_a_window_with_its_halo_gives_the_crop_of_the_whole() -> None:
    model, reach = far_sighted(), halos(TINY)["analysis"] // 64
    core = reach + 1
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 64, 64 * (2 * core + 1), 3)).astype(np.float32)
    whole = analyse_core(model, pixels, core, core)
    scale = np.abs(whole).max()
    assert np.abs(analyse_core(model, pixels, core, reach) - whole).max() < 1e-5 * scale
    assert np.abs(analyse_core(model, pixels, core, reach - 1) - whole).max() > 1e-4 * scale


def test_deeper_networks_see_further() -> None:
    deep = replace(TINY, synthesis_sixteenth_blocks=9, analysis_sixteenth_blocks=9)
    assert halos(deep)["decoder"] == halos(TINY)["decoder"] + 128
    assert halos(deep)["analysis"] == halos(TINY)["analysis"] + 128
    for preset in PRESETS.values():
        assert all(pixels % 64 == 0 for pixels in halos(preset).values())


def test_the_halo_of_the_synthesis_is_part_of_the_decoders() -> None:
    # A pixel of the post-filter, blocks at 1/8 and at 1/16, rounded up to the coarser grid each time.
    assert synthesis_halo(TINY) == 32
    assert synthesis_halo(Architecture()) == 112
    for preset in PRESETS.values():
        assert 0 < synthesis_halo(preset) < halos(preset)["decoder"]
        assert synthesis_halo(preset) % 16 == 0
