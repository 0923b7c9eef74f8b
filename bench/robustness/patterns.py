"""Patterns that no photograph holds: stripes, chequers and noise in saturated colours, against JPEG.

They say nothing of compression. They say whether a network that is far from what it has learned still gives
back a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.codecs.jpeg import Jpeg
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_JPEG = Jpeg()
QUALITIES = (10, 50, 75, 97)
PAIRS = {
    "black and white": ((0, 0, 0), (255, 255, 255)),
    "magenta and green": ((255, 0, 255), (0, 255, 0)),
    "red and cyan": ((255, 0, 0), (0, 255, 255)),
    "blue and yellow": ((0, 0, 255), (255, 255, 0)),
}
WIDTHS = (1, 2, 3, 4, 8)
"""Pixels of a stripe or of a cell."""
ENOUGH = 25.0
"""dB that are enough, whatever JPEG reaches."""
SLACK = 3.0
"""dB that aecodec may fall short of JPEG of the same quality below that."""


@dataclass(frozen=True)
class PatternsPlan:
    """What to encode.

    Attributes:
        model: of aecodec; None for the default.
        side: pixels of each pattern, along both sides.
        widths: of stripes and cells.
    """

    model: str | None
    side: int = 256
    widths: tuple[int, ...] = WIDTHS


def run(plan: PatternsPlan, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Encode every pattern at every quality with both codecs."""
    drawn = dict(patterns(plan.side, plan.widths))
    rows: list[dict[str, Any]] = []
    for name, pixels in drawn.items():
        for quality in QUALITIES:
            rows.append({"pattern": name, "quality": quality, **_measured(pixels, quality, plan.model)})
            report(len(rows), len(drawn) * len(QUALITIES), f"{name} at {quality}")
    below = [row for row in rows if row["psnr"] < min(row["jpeg_psnr"] - SLACK, ENOUGH)]
    return {
        "what": f"{len(drawn)} patterns of {plan.side}x{plan.side} pixels at quality "
        f"{', '.join(map(str, QUALITIES))}: PSNR-RGB of {ENOUGH:g} dB, or at most {SLACK:g} dB less than "
        "Pillow's JPEG 4:2:0 of the same quality",
        "least_psnr": min(row["psnr"] for row in rows),
        "below": len(below),
        "held": not below,
        "rows": rows,
    }


def table(content: dict[str, Any]) -> str:
    """The rows in Markdown: dB of aecodec, and in brackets of JPEG."""
    head = f"| | {' | '.join(f'quality {quality}' for quality in QUALITIES)} |"
    lines = [head, "|---" + "|---:" * len(QUALITIES) + "|"]
    for start in range(0, len(content["rows"]), len(QUALITIES)):
        rows = content["rows"][start : start + len(QUALITIES)]
        cells = " | ".join(f"{row['psnr']:.1f} ({row['jpeg_psnr']:.1f})" for row in rows)
        lines.append(f"| {rows[0]['pattern']} | {cells} |")
    return "\n".join(lines)


def patterns(side: int, widths: tuple[int, ...] = WIDTHS) -> Iterator[tuple[str, Pixels]]:
    """Names and pixels, uint8 (side, side, 3)."""
    rows, columns = np.mgrid[:side, :side]
    for pair, (one, other) in PAIRS.items():
        colours = np.array([one, other], np.uint8)
        for width in widths:
            yield f"stripes of {width}, {pair}", colours[columns // width % 2]
            yield f"chequers of {width}, {pair}", colours[(rows // width + columns // width) % 2]
    generator = np.random.default_rng(0)
    yield "noise", generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
    yield "black and white noise", 255 * generator.integers(0, 2, (side, side, 1), np.uint8).repeat(3, 2)
    yield "noise of eight colours", 255 * generator.integers(0, 2, (side, side, 3), np.uint8)
    rings = 127.5 + 127.5 * np.cos((rows**2 + columns**2) * np.pi / (2 * side))
    yield "rings", rings.astype(np.uint8)[..., None].repeat(3, 2)


def _measured(pixels: Pixels, quality: int, model: str | None) -> dict[str, Any]:
    import aecodec

    data = aecodec.encode(pixels, quality, model=model)
    decoded = np.asarray(aecodec.decode(data, model=model))
    jpeg = _JPEG.encode(pixels, quality)
    return {
        "bytes": len(data),
        "psnr": round(psnr_rgb(pixels, decoded), 2),
        "jpeg_bytes": len(jpeg),
        "jpeg_psnr": round(psnr_rgb(pixels, _JPEG.decode(jpeg)), 2),
    }
