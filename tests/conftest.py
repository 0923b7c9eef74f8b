"""Fixtures for all tests: a model and a runtime that need no training and no network."""

from __future__ import annotations

from typing import Any

import pytest

from aecodec.models import Model
from tests.helpers import CosineRuntime, fake_model


@pytest.fixture(scope="session")
def cosine_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random entropy model with a manifest."""
    return fake_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def cosine(cosine_model: Model) -> dict[str, Any]:
    """The arguments that make the public functions use that model with a runtime that fits it."""
    return {"model": cosine_model, "runtime": CosineRuntime()}
