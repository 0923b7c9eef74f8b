"""The throughput of the graphs: what can be told without a model and without a GPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import device
from bench.__main__ import main
from bench.images import load
from tests.bench.helpers import picture


def test_the_cpu_is_chosen_by_hiding_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    device.choose_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
    assert os.environ["JAX_PLATFORMS"] == "cpu"


@pytest.mark.parametrize(
    ("installed", "backend"),
    [({"jax", "tensorflow"}, None), ({"jax"}, "jax"), ({"tensorflow"}, None), (set(), None)],
)
def test_the_cpu_is_used_through_jax_only_where_there_is_no_tensorflow(
    installed: set[str], backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in installed else None)
    device.choose_device("cpu")
    assert os.environ.get("KERAS_BACKEND") == backend


def test_a_gpu_is_used_through_jax_where_it_is_installed_and_nothing_else_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    device.choose_device("gpu")
    assert os.environ["KERAS_BACKEND"] == "jax"
    monkeypatch.setattr(os, "environ", {"KERAS_BACKEND": "tensorflow"})
    device.choose_device("gpu")
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_a_gpu_is_shared_by_two_processes_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {"NVIDIA_TF32_OVERRIDE": "1"})
    device.choose_device("gpu")
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_devices_are_named_by_the_backend_that_is_in_use() -> None:
    pytest.importorskip("keras")
    assert device.backend_name() in {"jax", "tensorflow"}
    assert device.device_name("cpu").lower() == "cpu"


def test_a_device_that_the_backend_does_not_see_is_an_error_not_a_result_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "backend_name", lambda: "jax")
    monkeypatch.setattr(device, "_jax_devices", lambda name: [])
    with pytest.raises(device.DeviceError, match="Expected Keras on jax to see a gpu"):
        device.device_name("gpu")
    monkeypatch.setattr(device, "backend_name", lambda: "openvino")
    with pytest.raises(device.DeviceError, match="openvino"):
        device.device_name("cpu")


def test_a_gpu_without_keras_is_refused() -> None:
    result = CliRunner().invoke(main, ["rd", "--device", "gpu"])
    assert result.exit_code == 1
    assert "--runtime keras" in result.output


def test_a_row_of_the_other_process_becomes_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def answer(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        assert picture(64, 64).shape == load(Path(command[-1])).shape
        return subprocess.CompletedProcess(command, 0, 'a warning\n{"device": "H", "rows": []}\n', "")

    monkeypatch.setattr(subprocess, "run", answer)
    monkeypatch.setattr(device, "describe_run", lambda: {"commit": "c"})
    content = device.measure([picture(64, 64)], "large", "gpu")
    assert content == {"device": "H", "rows": [], "run": {"commit": "c"}}
    assert seen[0][3:7] == ["--device", "gpu", "--model", "large"]


def test_a_device_that_is_not_there_is_told_with_the_words_of_the_other_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Expected TensorFlow to see a gpu, found none")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(device.DeviceError, match="Expected TensorFlow to see a gpu"):
        device.measure([picture(64, 64)], None, "gpu")
