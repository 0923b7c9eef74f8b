"""Throughput of a model's networks in Keras, and what the device does to the pixels.

``python -m aecodec.training.throughput PICTURE...`` prints JSON. Networks are timed by themselves, without
quantisation and entropy coder: with transfers (NumPy arrays in and out of each stage, as the codec uses them)
and without (the whole as one pass over arrays that lie on the device already; one number is fetched at the
end). Decoded pixels are compared with those of ONNX
Runtime on the CPU from the same symbols. The backend is Keras' own choice (``KERAS_BACKEND``).
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import RESIDUAL_UNIT
from aecodec.errors import InputError, MissingDependencyError
from aecodec.models import Model, default_model, find_model
from aecodec.networks.architecture import STEPS
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled
from aecodec.residuals import ResidualCoder
from aecodec.runtime import Runtime, open_runtime
from aecodec.runtime.keras import KerasRuntime
from aecodec.training.console import run

PRECISIONS = ("float32", "mixed_bfloat16")


@click.command()
@click.argument(
    "pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", help="Name, id or folder of the model.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--level", type=click.IntRange(0, 224), default=112, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def command(pictures: tuple[Path, ...], model: str | None, device: str, level: int, repeats: int) -> None:
    """Time the graphs of a model on pictures; sides are cut to multiples of 64."""
    chosen = default_model() if model is None else find_model(model)
    name = device_name(device)
    loaded = [load(path) for path in pictures]
    rows = [row for precision in PRECISIONS for row in measure(chosen, precision, loaded, level, repeats)]
    backend = keras.backend.backend()
    framework = f"Keras {keras.__version__} on {backend} {version(backend)}"
    content = {"device": name, "framework": framework, "model_id": chosen.model_id.hex(), "rows": rows}
    click.echo(json.dumps(content))


def measure(
    model: Model, precision: str, pictures: Sequence[NDArray[np.uint8]], level: int, repeats: int
) -> list[dict[str, Any]]:
    """Two rows, encode and decode, for each picture.

    Args:
        model: whose graphs.
        precision: Keras' name of a dtype policy: "float32", "mixed_bfloat16" ...
        pictures: uint8 (height, width, 3), sides multiples of 64.
        level: position on the rate scale.
        repeats: repetitions, of which the median counts.

    Returns:
        objects with ``width``, ``height``, ``precision``, ``operation``, megapixels per second
        ``with_transfers`` and ``without_transfers``, and for decoding ``psnr_difference`` in dB: PSNR-RGB
        less that of ONNX Runtime's pixels; None where one of them has no error.
    """
    runtime, reference = KerasRuntime(model, precision), open_runtime("onnx", model)
    rows = [row for pixels in pictures for row in _rows(model, runtime, reference, pixels, level, repeats)]
    return [{"precision": precision, **row} for row in rows]


def device_name(device: str) -> str:
    """What Keras' backend calls the device.

    Raises:
        MissingDependencyError: the backend sees none of the kind.
    """
    if keras.backend.backend() == "jax":
        import jax

        try:
            return str(jax.devices(device)[0].device_kind)
        except RuntimeError as error:
            raise MissingDependencyError(f"Expected JAX to see a {device}, but: {error}") from error
    import tensorflow as tf

    found = tf.config.list_physical_devices(device.upper())
    if not found:
        raise MissingDependencyError(f"Expected TensorFlow to see a {device}, found none")
    details = tf.config.experimental.get_device_details(found[0])
    return str(details.get("device_name", found[0].device_type))


def load(path: Path) -> NDArray[np.uint8]:
    """A picture as uint8 (height, width, 3), cut to sides that are multiples of 64.

    Raises:
        InputError: a side is shorter.
    """
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    if min(pixels.shape[:2]) < 64:
        raise InputError(
            f"expected a picture of 64 pixels a side at least, found {pixels.shape[1]}x{pixels.shape[0]} "
            f"in {path}"
        )
    return pixels[: pixels.shape[0] // 64 * 64, : pixels.shape[1] // 64 * 64]


def _rows(
    model: Model,
    runtime: KerasRuntime,
    reference: Runtime,
    pixels: NDArray[np.uint8],
    level: int,
    repeats: int,
) -> list[dict[str, Any]]:
    height, width = pixels.shape[:2]
    floats = pixels.astype(np.float32)
    z, r = ResidualCoder(model, reference).quantise(reference.analyse(floats, level), level)
    latents = ResidualCoder(model, reference).reconstruct(z, r, level)
    ours, theirs = (_decoded(model, which, z, r, level) for which in (runtime, reference))
    difference = psnr(pixels, ours) - psnr(pixels, theirs)
    autoencoder = runtime.autoencoder
    weights = autoencoder.level_weights(np.array([level]))
    symbols = [plane[None].astype(np.float32) for plane in (z, r / RESIDUAL_UNIT)]
    outside: dict[str, Callable[[], object]] = {
        "encode": lambda: _encode_stages(runtime, floats, level),
        "decode": lambda: _decode_stages(runtime, z, latents, level),
    }
    inside = {
        "encode": _on_device(autoencoder, lambda x, w: autoencoder.encode(x, w)[1], [floats[None], weights]),
        "decode": _on_device(autoencoder, autoencoder.decode, [*symbols, weights]),
    }
    megapixels = height * width / 1e6
    return [
        {
            "width": width,
            "height": height,
            "level": level,
            "operation": operation,
            "with_transfers": round(megapixels / _median_seconds(outside[operation], repeats), 3),
            "without_transfers": round(megapixels / _median_seconds(inside[operation], repeats), 3),
            "psnr_difference": round(difference, 6)
            if operation == "decode" and math.isfinite(difference)
            else None,
        }
        for operation in ("encode", "decode")
    ]


def _decoded(
    model: Model, runtime: Runtime, z: NDArray[np.int16], r: NDArray[np.int16], level: int
) -> NDArray[np.float32]:
    return runtime.synthesise(ResidualCoder(model, runtime).reconstruct(z, r, level), level)


def _encode_stages(runtime: Runtime, pixels: NDArray[np.float32], level: int) -> None:
    """All networks that encoding runs; what the steps know of the latents does not matter for their time."""
    latents = runtime.analyse(pixels, level)
    _predict(runtime, runtime.hyper_latents(latents, level), latents, level)


def _decode_stages(runtime: Runtime, z: NDArray[np.int16], latents: NDArray[np.float32], level: int) -> None:
    """All networks that decoding runs."""
    _predict(runtime, z, latents, level)
    runtime.synthesise(latents, level)


def _predict(runtime: Runtime, z: NDArray[np.int16], known: NDArray[np.float32], level: int) -> None:
    features = runtime.hyper_features(z, level)
    for step in range(STEPS):
        features, _ = runtime.predict_step(step, features, known if step else None, level)


def psnr(pixels: NDArray[np.uint8], decoded: NDArray[np.float32]) -> float:
    """PSNR-RGB in dB of decoded pixels, clipped and rounded to 8 bits; infinite where they are all right."""
    rounded = np.floor(decoded.clip(0, 255) + 0.5)
    error = float(np.mean(np.square(rounded - pixels), dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _on_device(
    autoencoder: Autoencoder, function: Callable[..., Any], arrays: Sequence[NDArray[Any]]
) -> Callable[[], float]:
    """A call on arrays that lie on the device; only the sum of what comes out is fetched."""
    placed = [keras.ops.convert_to_tensor(array) for array in arrays]
    total = compiled(autoencoder, lambda *given: keras.ops.sum(keras.ops.cast(function(*given), "float32")))
    return lambda: float(total(*placed))


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
    function()  # compiles
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    run(command)
