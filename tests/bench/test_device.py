"""The throughput of the graphs: what can be told without a model and without a GPU."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from bench import device
from bench.__main__ import main


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


def test_the_median_leaves_out_the_first_call() -> None:
    calls: list[int] = []
    device._median_seconds(lambda: calls.append(1), 3)
    assert len(calls) == 4
