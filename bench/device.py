"""Throughput of the two graphs on a device, and what the device does to the pixels.

The graphs are timed by themselves, without the entropy coder: with transfers (NumPy arrays in and out, as a
codec uses them) and without (arrays that lie on the device already, one number fetched at the end). Decoded
pixels are compared with those of ONNX Runtime on the CPU from the same symbols.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.machine import describe_run
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("float32", "mixed_bfloat16")


class DeviceError(Exception):
    """The device that was asked for is not there."""


@dataclass(frozen=True)
class DevicePlan:
    """What to time.

    Attributes:
        pictures: uint8 (height, width, 3), sides multiples of 64.
        model: name, id or folder; None for the default.
        device: "cpu" or "gpu".
        level: position on the rate scale.
        repeats: repetitions, of which the median counts.
    """

    pictures: Sequence[NDArray[np.uint8]]
    model: str | None
    device: str
    level: int = 112
    repeats: int = 5


def run(plan: DevicePlan, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Time both graphs in every precision on every picture.

    Returns:
        The content of a result file: ``device``, ``framework``, ``run``, ``rows``.

    Raises:
        DeviceError: Keras' backend sees no such device.
        AecodecError: the model or a package is missing.
    """
    from aecodec.models import default_model, find_model
    from aecodec.runtime import open_runtime
    from aecodec.runtime.keras import KerasRuntime

    name = device_name(plan.device)
    model = default_model() if plan.model is None else find_model(plan.model)
    reference = open_runtime("onnx", model)
    rows: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        runtime = KerasRuntime(model, precision)
        for pixels in plan.pictures:
            rows += _rows(plan, runtime, reference, pixels, precision)
            report(len(rows), 2 * len(PRECISIONS) * len(plan.pictures), f"{precision} {pixels.shape[1]} wide")
    return {
        "device": name,
        "framework": _framework(),
        "model_id": model.model_id.hex(),
        "run": describe_run(),
        "rows": rows,
    }


def choose_device(device: str) -> None:
    """Tell the frameworks which device to use; to be called before any of them is imported."""
    if device == "cpu":
        os.environ.update({"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"})
        return
    if importlib.util.find_spec("jax") is not None:
        os.environ.setdefault("KERAS_BACKEND", "jax")


def device_name(device: str) -> str:
    """What Keras' backend calls the device.

    Raises:
        DeviceError: there is none of the kind.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        try:
            return str(jax.devices(device)[0].device_kind)
        except RuntimeError as error:
            raise DeviceError(f"JAX sees no {device} here: {error}") from error
    import tensorflow as tf

    found = tf.config.list_physical_devices(device.upper())
    if not found:
        raise DeviceError(f"TensorFlow sees no {device} here.")
    return str(tf.config.experimental.get_device_details(found[0]).get("device_name", found[0].name))


def _framework() -> str:
    import keras

    from bench.codecs.base import package_version

    backend = keras.backend.backend()
    return f"Keras {keras.__version__} on {backend} {package_version(backend)}"


def _rows(
    plan: DevicePlan, runtime: Any, reference: Any, pixels: NDArray[np.uint8], precision: str
) -> list[dict[str, Any]]:
    import numpy as np

    height, width = pixels.shape[:2]
    megapixels = height * width / 1e6
    floats = pixels.astype(np.float32)
    z, r = reference.encode(floats, plan.level)
    expected = _psnr(pixels, reference.decode(z, r, plan.level))
    found = _psnr(pixels, runtime.decode(z, r, plan.level))
    autoencoder = runtime.autoencoder
    weights = autoencoder.level_weights(np.array([plan.level]))
    symbols = [array[None].astype(np.float32) for array in (z, r)]
    inside = {
        "encode": _on_device(lambda x, w: autoencoder.encode(x, w)[1], (floats[None], weights)),
        "decode": _on_device(autoencoder.decode, (*symbols, weights)),
    }
    outside: dict[str, Callable[[], object]] = {
        "encode": lambda: runtime.encode(floats, plan.level),
        "decode": lambda: runtime.decode(z, r, plan.level),
    }
    base = {"width": width, "height": height, "precision": precision, "level": plan.level}
    return [
        {
            **base,
            "operation": operation,
            "with_transfers": round(megapixels / _median_seconds(outside[operation], plan.repeats), 3),
            "without_transfers": round(megapixels / _median_seconds(inside[operation], plan.repeats), 3),
            "psnr_difference": round(found - expected, 6) if operation == "decode" else None,
        }
        for operation in ("encode", "decode")
    ]


def _on_device(function: Callable[..., Any], arrays: Sequence[NDArray[Any]]) -> Callable[[], float]:
    """A call on arrays that lie on the device; only the sum of what comes out is fetched."""
    import keras

    placed = [keras.ops.convert_to_tensor(array) for array in arrays]

    def total(*tensors: Any) -> Any:
        return keras.ops.sum(keras.ops.cast(function(*tensors), "float32"))

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(total)
    else:
        import tensorflow as tf

        compiled = tf.function(total)
    return lambda: float(compiled(*placed))


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
    function()  # compiles
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _psnr(pixels: NDArray[np.uint8], decoded: NDArray[np.float32]) -> float:
    import numpy as np

    return psnr_rgb(pixels, np.floor(decoded.clip(0, 255) + 0.5).astype(np.uint8))
