"""Opening a runtime: by name, lazily, with a remedy when a package is missing."""

from __future__ import annotations

import sys

import pytest

from aecodec.errors import InputError, MissingDependencyError
from aecodec.models import Model
from aecodec.runtime import RUNTIMES, Runtime, open_runtime
from tests.helpers import CosineRuntime


def test_an_unknown_name_is_refused_with_those_that_exist(cosine_model: Model) -> None:
    with pytest.raises(InputError, match="onnx, keras"):
        open_runtime("torch", cosine_model)


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime"), ("keras", "keras")])
def test_a_missing_package_is_named_with_what_to_install(
    name: str, package: str, cosine_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [*sys.modules]:
        if module == f"aecodec.runtime.{name}" or module.startswith("aecodec.networks"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"{package}.*pip install"):
        open_runtime(name, cosine_model)


def test_objects_with_the_methods_are_runtimes() -> None:
    assert isinstance(CosineRuntime(), Runtime)
    assert not isinstance(object(), Runtime)
    assert RUNTIMES == ("onnx", "keras")
