"""Whether the rate of a file is the one that the tables promise: ``python -m aecodec.training.rate DATA``."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from aecodec.entropy import estimate_bits
from aecodec.models import Model, default_model, find_model
from aecodec.networks.architecture import HYPER_PATCH
from aecodec.residuals import ResidualCoder
from aecodec.runtime import Runtime, open_runtime
from aecodec.training.data import load_pictures

LEVELS = (10, 75, 145, 215)


def payload_and_estimate(runtime: Runtime, model: Model, pixels: np.ndarray, level: int) -> tuple[int, float]:
    """(bytes of the payload, bits by the tables over 8) of a picture coded as one chunk.

    Args:
        pixels: uint8 (height, width, 3), sides multiples of 64.
    """
    coder = ResidualCoder(model, runtime)
    coded = coder.encode(runtime.analyse(pixels.astype(np.float32), level), level)
    bits = estimate_bits(coded.z, coded.r, level, model.entropy, dependent=True)
    return coder.pack(coded, joined=True).size, float(bits.sum()) / 8


@click.command("rate")
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", "name", help="Name, id or folder of a model. [default: the default model]")
def command(data: tuple[Path, ...], name: str | None) -> None:
    """Compare estimated and real bytes on all pictures of DATA at four levels."""
    model = find_model(name) if name else default_model()
    runtime = open_runtime("onnx", model)
    differences = []
    for pictures in load_pictures(data, minimum_side=HYPER_PATCH):
        for pixels in pictures.pictures:
            height, width = (side // HYPER_PATCH * HYPER_PATCH for side in pixels.shape[:2])
            for level in LEVELS:
                real, estimate = payload_and_estimate(runtime, model, pixels[:height, :width], level)
                differences.append(real / estimate - 1)
    click.echo(
        f"{len(differences)} codings; payload over estimate: mean {np.mean(differences):+.4%}, "
        f"from {min(differences):+.4%} to {max(differences):+.4%}"
    )


if __name__ == "__main__":
    command()
