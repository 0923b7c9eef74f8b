"""What post-filters and the encoder's search save: efforts against effort 0, by real files.

python -m bench.effort --effort 3 --pictures 4       central crops of Kodak's first pictures

The search takes minutes for each megapixel, so crops are measured. BD-rate is per picture, then averaged.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

import aecodec
from bench.bdrate import bd_rate, curve
from bench.images import find_images, load
from bench.machine import describe_run
from bench.metrics import psnr_rgb
from bench.results import RESULTS

if TYPE_CHECKING:
    from bench.images import Pixels

QUALITIES = (12.0, 30.0, 48.0, 64.0, 80.0, 94.0)


@dataclass(frozen=True)
class EffortPoint:
    """One file: bytes, PSNR-RGB in dB of what it decodes to, and seconds that encoding took."""

    picture: str
    effort: int
    quality: float
    bytes: int
    psnr: float
    seconds: float


def central_crop(pixels: Pixels, side: int) -> Pixels:
    """The central square (side, side, 3), or as much of it as there is."""
    height, width = pixels.shape[:2]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def measure(name: str, pixels: Pixels, effort: int, quality: float) -> EffortPoint:
    """Encode with an effort, decode, compare."""
    began = time.perf_counter()
    data = aecodec.encode(pixels, quality, effort=effort)
    seconds = time.perf_counter() - began
    psnr = psnr_rgb(pixels, aecodec.decode(data))
    return EffortPoint(name, effort, quality, len(data), round(psnr, 4), round(seconds, 2))


def saving(points: list[EffortPoint], picture: str, effort: int) -> float:
    """BD-rate of an effort against effort 0 on one picture, in per cent; negative is better."""
    curves = [
        curve([p.bytes for p in chosen], [p.psnr for p in chosen])
        for chosen in (
            [p for p in points if p.picture == picture and p.effort == wanted] for wanted in (0, effort)
        )
    ]
    return bd_rate(curves[0], curves[1]).percent


@click.command()
@click.option("--images", type=click.Path(path_type=Path, file_okay=False), help="[default: Kodak's]")
@click.option("--effort", "efforts", multiple=True, type=click.IntRange(1), default=(3,), show_default=True)
@click.option("--pictures", type=click.IntRange(1), default=4, show_default=True, help="The first so many.")
@click.option("--crop", type=click.IntRange(64), default=256, show_default=True, help="Pixels along a side.")
def main(images: Path | None, efforts: tuple[int, ...], pictures: int, crop: int) -> None:
    """Measure what efforts save against effort 0; writes bench/results/effort.json."""
    _, files = find_images(images)
    points: list[EffortPoint] = []
    savings: dict[int, list[float]] = {effort: [] for effort in efforts}
    for file in files[:pictures]:
        pixels = central_crop(load(file.path), crop)
        for effort in (0, *efforts):
            points += [measure(file.name, pixels, effort, quality) for quality in QUALITIES]
        for effort in efforts:
            savings[effort].append(saving(points, file.name, effort))
            click.echo(f"{file.name} effort {effort}: {savings[effort][-1]:+.2f} %")
    for effort, values in savings.items():
        taken = [p.seconds for p in points if p.effort == effort]
        click.echo(f"effort {effort}: BD-rate {np.mean(values):+.2f} %, {np.median(taken):.1f} s a crop")
    report = {
        "run": describe_run(),
        "crop": crop,
        "bd_rate_percent": {str(effort): values for effort, values in savings.items()},
        "points": [asdict(point) for point in points],
    }
    (RESULTS / "effort.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
