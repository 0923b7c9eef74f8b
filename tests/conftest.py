"""Fixtures for all tests: a stand-in model and runtime without any network, and a tiny real model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from aecodec.models import Model
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime
from tests.helpers import CosineRuntime, fake_model, photograph

#: Positions on the rate scale at which runtimes and backends are compared: at a node, and between two.
COMPARED_LEVELS = (32, 200)

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Slow machines are no failure: examples have no deadline.
settings.register_profile("aecodec", deadline=None)
settings.load_profile("aecodec")


@pytest.fixture(scope="session")
def cosine_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random entropy model with a manifest."""
    return fake_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def cosine(cosine_model: Model) -> dict[str, Any]:
    """The arguments that make the public functions use that model with a runtime that fits it."""
    return {"model": cosine_model, "runtime": CosineRuntime()}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of the preset ``tiny``, no weight of which is zero."""
    for package in ("keras", "onnx"):
        pytest.importorskip(package, reason=f"a model is built with {package}")
    from tests.networks.helpers import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def compared(tiny_model: Model) -> dict[str, np.ndarray]:
    """A picture, and what ONNX Runtime makes of it: ``pixels``, ``levels``, then by level ``z``, ``r`` (in
    eighths of a step), ``decoded``.
    """
    runtime = open_runtime("onnx", tiny_model)
    coder = ResidualCoder(tiny_model, runtime)
    found: dict[str, np.ndarray] = {
        "pixels": photograph(128, 192).astype(np.float32),
        "levels": np.array(COMPARED_LEVELS),
    }
    for level in COMPARED_LEVELS:
        z, r = coder.quantise(runtime.analyse(found["pixels"], level), level)
        decoded = runtime.synthesise(coder.reconstruct(z, r, level), level)
        found |= {f"z {level}": z, f"r {level}": r, f"decoded {level}": decoded}
    return found


@pytest.fixture(scope="session")
def on_jax(
    tiny_model: Model, compared: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """What ``tests.networks.on_jax`` finds: the same on Keras with JAX, and some steps of training."""
    pytest.importorskip("jax", reason="compared with JAX")
    from tests.networks.helpers import run_on_jax

    folder = tmp_path_factory.mktemp("jax")
    given: Path = folder / "given.npz"
    named: dict[str, Any] = compared
    np.savez(given, **named)
    return run_on_jax(tiny_model.folder, given, folder / "found.npz")
