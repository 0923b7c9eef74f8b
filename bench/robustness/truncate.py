"""What the first so many per cent of a file give: PSNR of partial pictures, and how they look."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.images import ImageFile, load
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

PERCENTS = tuple(range(5, 101, 5))
_TILE = (192, 160)
_CAPTION = 18
_TILES_A_ROW = 5


@dataclass(frozen=True)
class TruncatePlan:
    """What to truncate.

    Attributes:
        images: pictures.
        model: of aecodec; None for the default.
        quality: of the files.
        chunk_side: pixels; the smaller, the finer what a part of a file holds.
    """

    images: Sequence[ImageFile]
    model: str | None
    quality: float = 75
    chunk_side: int = 1024


def run(plan: TruncatePlan, strip: Path | None, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Decode every 5 % of every file; draw the first picture's to ``strip`` (a PNG)."""
    rows = []
    for number, image in enumerate(plan.images):
        pixels = load(image.path)
        row, pictures = measure_picture(plan, image.name, pixels)
        rows.append(row)
        if number == 0 and strip is not None:
            write_strip(strip, pictures, row["psnr"])
        report(number + 1, len(plan.images), image.name)
    ratios = [row["psnr"] for row in rows]
    return {
        "what": f"PSNR-RGB in dB of what the first 5 % to 100 % of a file give, quality {plan.quality:g}, "
        f"chunks of {plan.chunk_side} pixels",
        "percent": list(PERCENTS),
        "mean_psnr": [round(statistics.mean(values), 3) for values in zip(*ratios, strict=True)],
        "held": all(row["rises"] for row in rows),
        "rows": rows,
    }


def measure_picture(plan: TruncatePlan, name: str, pixels: Pixels) -> tuple[dict[str, Any], list[Pixels]]:
    """A row of PSNRs, and the partial pictures."""
    import aecodec

    data = aecodec.encode(pixels, plan.quality, model=plan.model, chunk_side=plan.chunk_side)
    pictures, missing = [], []
    for percent in PERCENTS:
        length = max(36, len(data) * percent // 100)  # a file without its whole header is no picture
        decoded = aecodec.decode_picture(data[:length], allow_partial=True, model=plan.model)
        pictures.append(decoded.picture.pixels)
        missing.append(round(decoded.missing, 3))
    ratios = [round(psnr_rgb(pixels, picture), 3) for picture in pictures]
    return {
        "image": name,
        "bytes": len(data),
        "rises": ratios == sorted(ratios),
        "psnr": ratios,
        "missing": missing,
    }, pictures


def table(content: dict[str, Any]) -> str:
    """The means over the pictures, one line for each length."""
    lines = [" of the file  mean PSNR"]
    for percent, ratio in zip(content["percent"], content["mean_psnr"], strict=True):
        lines.append(f"{percent:10} %  {ratio:6.2f} dB")
    return "\n".join(lines)


def write_strip(path: Path, pictures: Sequence[Pixels], ratios: Sequence[float]) -> None:
    """Draw the partial pictures, made smaller, with their share of the file and their PSNR."""
    import io

    from PIL import Image, ImageDraw

    from bench.results import write_bytes

    width, height = _TILE
    lines = -(-len(pictures) // _TILES_A_ROW)
    sheet = Image.new("RGB", (_TILES_A_ROW * width, lines * (height + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    shown = zip(PERCENTS, pictures, ratios, strict=True)
    for number, (percent, picture, ratio) in enumerate(shown):
        left = number % _TILES_A_ROW * width
        top = number // _TILES_A_ROW * (height + _CAPTION)
        tile = Image.fromarray(picture)
        tile.thumbnail((width - 4, height - 4), Image.Resampling.LANCZOS)
        sheet.paste(tile, (left + 2, top + _CAPTION))
        draw.text((left + 4, top + 3), f"{percent} %  {ratio:.2f} dB", fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
