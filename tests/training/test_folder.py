"""Model folders and the registry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="a folder holds Keras networks")
pytest.importorskip("onnx", reason="a folder holds ONNX graphs")

from aecodec.models import Model, model_id_of, read_registry
from aecodec.training.folder import register, write_manifest, write_model
from aecodec.training.graphs import halos, model_graphs, synthesis_halo
from tests.networks.helpers import TINY


def test_a_folder_holds_the_files_of_a_model(tiny_model: Model) -> None:
    names = sorted(path.name for path in tiny_model.folder.iterdir())
    assert names == sorted(["arrays.npz", "model.json", *(f"{name}.onnx" for name in model_graphs(TINY))])


def test_the_manifest_describes_the_model(tiny_model: Model) -> None:
    manifest = tiny_model.manifest
    assert manifest["name"] == tiny_model.name == "tiny"
    assert manifest["architecture"] == TINY.to_dict()
    assert (tiny_model.latent_channels, tiny_model.hyper_channels) == (64, 16)
    assert tiny_model.level_count == 225
    assert manifest["halo"] == halos(TINY) | {"synthesis": synthesis_halo(TINY)}
    assert manifest["lambdas"] == {"min": TINY.lambda_min, "max": TINY.lambda_max}
    assert manifest["quality_levels"][0] == 0
    assert manifest["quality_levels"][-1] == 224
    graphs = model_graphs(TINY)
    costs = {name: graph.kmac_per_pixel for name, graph in graphs.items()}
    total, ends = sum(costs.values()), costs["analysis"] + costs["hyper_analysis"]
    assert manifest["kmac_per_pixel"]["encoder"] == pytest.approx(total - costs["synthesis"], abs=0.01)
    assert manifest["kmac_per_pixel"]["decoder"] == pytest.approx(total - ends, abs=0.01)
    assert manifest["graph_weights"] == {f"{name}.onnx": list(graphs[name].weights) for name in graphs}
    assert manifest["training"] == {"data": "synthetic"}


def test_the_model_id_is_that_of_manifest_and_arrays(tiny_model: Model) -> None:
    arrays = {name: tiny_model.arrays[name] for name in tiny_model.arrays}
    assert tiny_model.model_id == model_id_of(tiny_model.manifest, arrays)
    arrays["analysis/enter/bias"] = arrays["analysis/enter/bias"] + 1
    assert tiny_model.model_id == model_id_of(tiny_model.manifest, arrays)
    arrays["synthesis/enter/bias"] = arrays["synthesis/enter/bias"] + 1
    assert tiny_model.model_id != model_id_of(tiny_model.manifest, arrays)


def test_a_folder_is_written_again_in_place(tiny_model: Model, tmp_path: Path) -> None:
    arrays = {name: np.asarray(tiny_model.arrays[name]) for name in tiny_model.arrays}
    first = write_model(tmp_path / "again", TINY, arrays)
    arrays["synthesis/enter/bias"] = arrays["synthesis/enter/bias"] + 1
    second = write_model(tmp_path / "again", TINY, arrays)
    assert first.model_id == tiny_model.model_id != second.model_id
    assert len(list((tmp_path / "again").iterdir())) == 2 + len(model_graphs(TINY))
    third = write_manifest(second.folder, {**second.manifest, "results": {"psnr": 40.5}})
    assert third.model_id == second.model_id
    assert third.manifest["results"] == {"psnr": 40.5}


def fake_folder(parent: Path, name: str, model_id: str) -> Path:
    (parent / name).mkdir(exist_ok=True)
    (parent / name / "model.json").write_text(json.dumps({"model_id": model_id}))
    return parent / name


def test_the_registry_names_models_and_one_default(tmp_path: Path) -> None:
    register(fake_folder(tmp_path, "one", "aa"), default=False)
    assert read_registry(tmp_path).default == "one"
    register(fake_folder(tmp_path, "two", "bb"), default=False)
    assert read_registry(tmp_path).default == "one"
    register(fake_folder(tmp_path, "two", "cc"), default=True)
    found = read_registry(tmp_path)
    assert found.default == "two"
    assert dict(found.models) == {"aa": "one", "cc": "two"}
