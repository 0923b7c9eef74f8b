"""Whether the runtimes agree, and no block edges show.

python -m bench.agreement runtimes --images DIR      files made under each runtime, decoded under every other
python -m bench.agreement rate --images DIR          estimated bits against the bytes of the file
python -m bench.agreement borders --images DIR       error beside 16x16 borders against elsewhere
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

import aecodec
from bench.images import find_images

RUNTIMES = {"onnx": ("onnx", ""), "tensorflow": ("keras", "tensorflow"), "jax": ("keras", "jax")}
"""Name here: (name of the runtime, Keras backend)."""
QUALITIES = (5, 40, 75, 100)
PEAK_TOLERANCE = 1
BLOCK = 16

images_option = click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures. [default: Kodak's]",
)
model_option = click.option("--model", help="Model of aecodec: name, id or folder.")
qualities_option = click.option("--quality", "qualities", multiple=True, type=int, default=QUALITIES)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Checks of aecodec against itself."""


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _cases(images: Path | None, qualities: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray, int]]:
    _, pictures = find_images(images)
    for number, picture in enumerate(pictures):
        quality = qualities[number % len(qualities)]
        yield picture.path.stem, _pixels(picture.path), quality


@main.command()
@images_option
@model_option
@qualities_option
def runtimes(images: Path | None, model: str | None, qualities: tuple[int, ...]) -> None:
    """Encode under each runtime, decode under every one; compare symbols (hash) and pixels.

    The pictures take turns with the qualities. Exit code 1 when pixels differ by more than one level.
    """
    cases = list(_cases(images, qualities))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, pixels, quality in cases:
            np.savez(root / f"{name}.npz", pixels=pixels, quality=quality)
        for task, runtime in product(("encode", "decode"), RUNTIMES):
            click.echo(f"{task} under {runtime} ...", err=True)
            _work(task, runtime, root, model)
        _compare(root, [name for name, _, _ in cases], model)


def _work(task: str, runtime: str, root: Path, model: str | None) -> None:
    """One process per runtime: Keras knows one backend a process."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": RUNTIMES[runtime][1] or "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", "bench.agreement", "worker", task, runtime, str(root)]
    subprocess.run([*command, *(["--model", model] if model else [])], env=environment, check=True)


@main.command(hidden=True)
@click.argument("task", type=click.Choice(["encode", "decode"]))
@click.argument("runtime", type=click.Choice(list(RUNTIMES)))
@click.argument("root", type=click.Path(path_type=Path))
@model_option
def worker(task: str, runtime: str, root: Path, model: str | None) -> None:
    """Encode all pictures, or decode all files, of a folder under one runtime."""
    options: dict[str, Any] = {"runtime": RUNTIMES[runtime][0], "model": model}
    if task == "encode":
        for path in sorted(root.glob("*.npz")):
            with np.load(path) as case:
                data = aecodec.encode(case["pixels"], int(case["quality"]), **options)
            (root / f"{path.stem}.{runtime}.aec").write_bytes(data)
        return
    for path in sorted(root.glob("*.aec")):
        np.save(root / f"{path.stem}.{runtime}.npy", aecodec.decode(path.read_bytes(), **options))
        text = aecodec.symbols_hash(path.read_bytes(), model=model)
        (root / f"{path.stem}.{runtime}.hash").write_text(text)


def _compare(root: Path, names: list[str], model: str | None) -> None:
    worst_peak, worst_rms, hashes_differ = 0, 0.0, 0
    same_file = 0
    for name, maker in product(names, RUNTIMES):
        decoded = [np.load(root / f"{name}.{maker}.{runtime}.npy").astype(np.int64) for runtime in RUNTIMES]
        hashes = {(root / f"{name}.{maker}.{runtime}.hash").read_text() for runtime in RUNTIMES}
        hashes_differ += len(hashes) > 1
        for other in decoded[1:]:
            difference = np.abs(other - decoded[0])
            worst_peak = max(worst_peak, int(difference.max()))
            worst_rms = max(worst_rms, float(np.sqrt(np.mean(difference**2.0))))
        same_file += (root / f"{name}.{maker}.aec").read_bytes() == (root / f"{name}.onnx.aec").read_bytes()
    total = len(names) * len(RUNTIMES)
    click.echo(f"files: {total} ({len(names)} pictures, made under {', '.join(RUNTIMES)})")
    click.echo(f"files whose symbols differ between runtimes: {hashes_differ}")
    click.echo(
        f"largest difference of decoded 8-bit samples: {worst_peak}; "
        f"largest rms of a picture: {worst_rms:.4f}"
    )
    click.echo(f"files equal byte for byte to the one made under onnx: {same_file} of {total}")
    if worst_peak > PEAK_TOLERANCE or hashes_differ:
        raise SystemExit(1)


@main.command()
@images_option
@model_option
@qualities_option
def borders(images: Path | None, model: str | None, qualities: tuple[int, ...]) -> None:
    """Mean absolute error in the columns and rows on both sides of 16x16 borders, against all others."""
    for quality in qualities:
        at_border, elsewhere = [], []
        for _, pixels, _ in _cases(images, qualities):
            decoded = aecodec.decode(aecodec.encode(pixels, quality, model=model), model=model)
            error = np.abs(decoded.astype(np.float64) - pixels).mean(axis=2)
            for plane in (error, error.T):
                column = np.arange(plane.shape[1]) % BLOCK
                beside = (column == 0) | (column == BLOCK - 1)
                at_border.append(plane[:, beside].mean())
                elsewhere.append(plane[:, ~beside].mean())
        ratio = float(np.mean(at_border) / np.mean(elsewhere))
        click.echo(
            f"quality {quality}: {np.mean(at_border):.4f} at borders, "
            f"{np.mean(elsewhere):.4f} elsewhere, {ratio - 1:+.2%}"
        )


if __name__ == "__main__":
    main()
