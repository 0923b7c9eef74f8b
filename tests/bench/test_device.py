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
    assert os.environ == {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


def test_a_gpu_is_used_through_jax_where_it_is_installed_and_nothing_else_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    device.choose_device("gpu")
    assert os.environ == {"KERAS_BACKEND": "jax"}
    monkeypatch.setattr(os, "environ", {"KERAS_BACKEND": "tensorflow"})
    device.choose_device("gpu")
    assert os.environ == {"KERAS_BACKEND": "tensorflow"}


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
