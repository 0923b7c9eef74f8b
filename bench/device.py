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


def choose_device(device: str) -> None:
    """Tell the frameworks which device to use; to be called before any of them is imported."""
    if device == "cpu":
        os.environ.update({"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"})
        return
    if importlib.util.find_spec("jax") is not None:
        os.environ.setdefault("KERAS_BACKEND", "jax")


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
