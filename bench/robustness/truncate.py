"""What the first so many per cent of a file give: PSNR of partial pictures, and how they look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.images import ImageFile, load, mosaic
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

PERCENTS = tuple(range(5, 101, 5))
_TILE = (192, 160)
_CAPTION = 18
_TILES_A_ROW = 5
_HEADER_BYTES = 36
_HEAD_BYTES = 8


@dataclass(frozen=True)
class TruncatePlan:
    """What to truncate.

    Attributes:
        images: pictures.
        model: of aecodec; None for the default.
        quality: of the files.
        chunk_side: pixels; the smaller, the finer what a part of a file of several chunks holds.
        mosaic: so many pictures beside and above one another are the last picture, of several chunks; 0 for
            none.
    """

    images: Sequence[ImageFile]
    model: str | None
    quality: float = 75
    chunk_side: int = 1024
    mosaic: int = 2


def run(plan: TruncatePlan, strip: Path | None, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Decode every 5 % of every file; draw the last picture's to ``strip`` (a PNG)."""
    rows: list[dict[str, Any]] = []
    named = pictures_of(plan)
    for number, (name, pixels) in enumerate(named):
        row, pictures = measure_picture(plan, name, pixels)
        rows.append(row)
        if number == len(named) - 1 and strip is not None:
            write_strip(strip, pictures, row["psnr"])
        report(number + 1, len(named), name)
    return {
        "what": f"PSNR-RGB in dB of what the first 5 % to 100 % of a file give, quality {plan.quality:g}, "
        f"chunks of {plan.chunk_side} pixels",
        "percent": list(PERCENTS),
        "held": all(row["rises"] for row in rows),
        "rows": rows,
    }


def pictures_of(plan: TruncatePlan) -> list[tuple[str, Pixels]]:
    """The pictures by name, and the mosaic of the first landscape ones of one size."""
    named = [(image.name, load(image.path)) for image in plan.images]
    count = plan.mosaic**2
    if count:
        shape = next((pixels.shape for _, pixels in named if pixels.shape[1] >= pixels.shape[0]), None)
        tiles = [pixels for _, pixels in named if pixels.shape == shape][:count]
        if tiles:
            rows, columns = tiles[0].shape[:2]
            whole = mosaic(plan.mosaic * columns, plan.mosaic * rows, tiles)
            named.append((f"{plan.mosaic} x {plan.mosaic} pictures", whole))
    return named


def measure_picture(plan: TruncatePlan, name: str, pixels: Pixels) -> tuple[dict[str, Any], list[Pixels]]:
    """A row of PSNRs, and the partial pictures."""
    import aecodec

    data = aecodec.encode(pixels, plan.quality, model=plan.model, chunk_side=plan.chunk_side)
    parts = []
    for percent in PERCENTS:
        length = max(_HEADER_BYTES, len(data) * percent // 100)  # without its header a file is no picture
        parts.append(aecodec.decode_picture(data[:length], allow_partial=True, model=plan.model))
    pictures = [part.picture.pixels for part in parts]
    psnr = [round(psnr_rgb(pixels, picture), 3) for picture in pictures]
    return {
        "image": name,
        "size": f"{pixels.shape[1]}x{pixels.shape[0]}",
        "bytes": len(data),
        "sections": section_count(data),
        "rises": psnr == sorted(psnr),
        "psnr": psnr,
        "missing": [round(part.missing, 3) for part in parts],
    }, pictures


def section_count(data: bytes) -> int:
    """How many sections a file has (formats/aec.md, section 5)."""
    count, at = 0, _HEADER_BYTES
    while at < len(data):
        at += _HEAD_BYTES + int.from_bytes(data[at + 1 : at + 4], "little")
        count += 1
    return count


def table(content: dict[str, Any]) -> str:
    """Markdown: a column for each picture, one line for each length."""
    rows = content["rows"]
    names = [
        f"{row['image']}, {row['size']}, {row['sections']} section{'s' * (row['sections'] > 1)}"
        for row in rows
    ]
    lines = [
        f"{content['what']}. What a file holds grows by parts, six for each chunk; a file of one section has "
        "those that it has whole.",
        "",
        f"| of the file | {' | '.join(names)} |",
        f"|---:|{'---:|' * len(rows)}",
    ]
    for index, percent in enumerate(content["percent"]):
        ratios = " | ".join(f"{row['psnr'][index]:.2f} dB" for row in rows)
        lines.append(f"| {percent} % | {ratios} |")
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
    sheet.quantize(256).save(buffer, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
