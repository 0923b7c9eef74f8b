"""aecodec's graphs on a device: megapixels per second with and without transfers, and what it does to the
pixels.

The timing itself is aecodec's (``python -m aecodec.training.throughput``), run as a process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import ROOT, describe_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DeviceError(Exception):
    """The device that was asked for is not there, or timing on it failed."""


_ON_A_GPU = {
    # Two processes compute on it: this one and the one that times the graphs.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # Whole float32 products, as aecodec's tolerance between runtimes asks for.
    "NVIDIA_TF32_OVERRIDE": "0",
}


def choose_device(device: str) -> None:
    """Tell the frameworks which device to use; to be called before any of them is imported.

    Keras computes with JAX on a GPU and where there is no TensorFlow, unless the environment says otherwise.
    """
    if device == "cpu":
        os.environ.update({"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"})
    else:
        for name, value in _ON_A_GPU.items():
            os.environ.setdefault(name, value)
    if _installed("jax") and (device == "gpu" or not _installed("tensorflow")):
        os.environ.setdefault("KERAS_BACKEND", "jax")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def backend_name() -> str:
    """What Keras computes with here: "jax", "tensorflow" ...

    Raises:
        ImportError: Keras, or what it computes with, is not installed.
    """
    import keras

    return str(keras.backend.backend())


def device_name(device: str) -> str:
    """What Keras' backend calls the "cpu" or the "gpu".

    Raises:
        ImportError: Keras, or what it computes with, is not installed.
        DeviceError: the backend sees no such device. Frameworks would compute on the CPU instead.
    """
    backend = backend_name()
    names = {"jax": _jax_devices, "tensorflow": _tensorflow_devices}
    found = names[backend](device) if backend in names else []
    if not found:
        raise DeviceError(f"Expected Keras on {backend} to see a {device}, found none")
    return found[0]


def _jax_devices(device: str) -> list[str]:
    import jax

    try:
        return [str(found.device_kind) for found in jax.devices(device)]
    except RuntimeError:  # JAX has no such platform, or it could not be started
        return []


def _tensorflow_devices(device: str) -> list[str]:
    import tensorflow as tf

    found = tf.config.list_physical_devices(device.upper())
    details = [tf.config.experimental.get_device_details(one) for one in found]
    return [str(detail.get("device_name", device)) for detail in details]


def measure(pictures: Sequence[NDArray[np.uint8]], model: str | None, device: str) -> dict[str, Any]:
    """Time both graphs in float32 and mixed bfloat16 on pictures, uint8 (height, width, 3).

    Returns:
        The content of a result file: ``device``, ``framework``, ``model_id``, ``run``, ``rows``.

    Raises:
        DeviceError: there is no such device, or no model.
    """
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.ppm") for number in range(len(pictures))]
        for path, pixels in zip(paths, pictures, strict=True):
            Image.fromarray(pixels).save(path)
        named = ["--model", model] if model else []
        program = [sys.executable, "-m", "aecodec.training.throughput", "--device", device, *named]
        command = [*program, *map(str, paths)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if result.returncode != 0:
        raise DeviceError(f"Timing on the {device} failed: {result.stderr.strip()[-400:]}")
    content: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {**content, "run": describe_run()}
