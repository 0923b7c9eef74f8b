"""Writing a model folder and naming it in the registry (what `aecodec.models` reads)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aecodec.models import (
    ARRAYS_FILE,
    MANIFEST_FILE,
    MANIFEST_FORMAT,
    REGISTRY_FILE,
    Model,
    load_model_folder,
    model_id_of,
)
from aecodec.networks.architecture import Architecture
from aecodec.training.graphs import Graph, halos, model_graphs, synthesis_halo

ENCODER_ONLY = {"analysis", "hyper_analysis"}
"""Graphs that decoding does not run; encoding runs all but the synthesis."""


def write_model(
    folder: Path,
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    notes: Mapping[str, Any] | None = None,
) -> Model:
    """Write a model folder; the manifest, which makes it a model, comes last.

    Args:
        folder: made where it is missing; its name becomes the model's.
        architecture: of the networks.
        arrays: of `aecodec.networks.weights.arrays_of`, and the tables.
        notes: what the manifest says of the training.

    Returns:
        The model, loaded. Its manifest has a plain scale of qualities and no results.
    """
    graphs = model_graphs(architecture)
    manifest = _manifest(folder.name, architecture, graphs) | {"training": dict(notes or {})}
    manifest["model_id"] = model_id_of(manifest, arrays).hex()
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(stream, **named)
    _replace(folder / ARRAYS_FILE, stream.getvalue())
    for name, graph in graphs.items():
        _replace(folder / f"{name}.onnx", graph.model.SerializeToString())
    return write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Model:
    """Replace the manifest of a folder; returns the model, loaded anew."""
    _replace(folder / MANIFEST_FILE, _json(manifest))
    return load_model_folder(folder)


def register(folder: Path, *, default: bool) -> None:
    """Name the model in the ``registry.json`` beside its folder.

    Args:
        folder: of the model.
        default: whether encoders are to use it unless told otherwise; the first model is used anyway.
    """
    path = folder.parent / REGISTRY_FILE
    content: dict[str, Any] = {"default": "", "models": {}}
    if path.exists():
        content = json.loads(path.read_text())
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    others = {key: name for key, name in content["models"].items() if name != folder.name}
    content["models"] = others | {manifest["model_id"]: folder.name}
    if default or not content["default"]:
        content["default"] = folder.name
    _replace(path, _json(content))


def _manifest(name: str, architecture: Architecture, graphs: Mapping[str, Graph]) -> dict[str, Any]:
    last = architecture.level_count - 1
    costs = {name: graph.kmac_per_pixel for name, graph in graphs.items()}
    return {
        "name": name,
        "format": MANIFEST_FORMAT,
        "architecture": architecture.to_dict(),
        "latent_channels": architecture.latent_channels,
        "hyper_channels": architecture.hyper_channels,
        "level_count": architecture.level_count,
        "quality_levels": [round(last * index / 99) for index in range(100)],
        "lambdas": {"min": architecture.lambda_min, "max": architecture.lambda_max},
        "halo": halos(architecture) | {"synthesis": synthesis_halo(architecture)},
        "kmac_per_pixel": {
            "encoder": round(sum(costs[name] for name in costs if name != "synthesis"), 2),
            "decoder": round(sum(costs[name] for name in costs if name not in ENCODER_ONLY), 2),
        },
        "graph_weights": {f"{name}.onnx": list(graph.weights) for name, graph in graphs.items()},
        "results": {},
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
