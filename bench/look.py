"""A page on which a person looks: the original and each codec at the same number of bytes, side by side and
zoomed.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.codecs import Codec
from bench.images import ImageFile, data_uri, load
from bench.metrics import psnr_rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

DEFAULT_CODECS = "aecodec,jpeg,webp,avif"
CROP = (192, 128)
"""Width and height of the crops that are shown enlarged, in pixels of the picture."""


@dataclass(frozen=True)
class Coded:
    """One picture through one codec.

    Attributes:
        label: the codec's, or "Original".
        bytes: size of the file; of the source's file for the original.
        psnr: PSNR-RGB in dB, None for the original.
        pixels: uint8 (height, width, 3).
        too_large: whether even the codec's smallest file is above the target.
    """

    label: str
    bytes: int
    psnr: float | None
    pixels: Pixels
    too_large: bool = False


@dataclass(frozen=True)
class Exhibit:
    """One picture through all codecs, the original first.

    Attributes:
        name: of the picture.
        target: bytes that every file should have at most.
        versions: the original and what the codecs made of it.
        crop: left and top of the crop that is shown enlarged.
    """

    name: str
    target: int
    versions: Sequence[Coded]
    crop: tuple[int, int]


def largest_within(codec: Codec, pixels: Pixels, target: int) -> bytes:
    """The largest file of a codec that has at most ``target`` bytes, by bisection over its settings.

    Where even the coarsest setting is larger, that file is returned.
    """
    low, high = 0, len(codec.scale) - 1
    best = codec.encode(pixels, codec.scale[0])
    while low < high:
        middle = (low + high + 1) // 2
        data = codec.encode(pixels, codec.scale[middle])
        if len(data) <= target:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def exhibit(
    image: ImageFile, codecs: Sequence[Codec], bits_per_pixel: float, quality: float | None
) -> Exhibit:
    """One picture through all codecs.

    Args:
        image: the picture.
        codecs: which.
        bits_per_pixel: rate that files should have at most.
        quality: when given, the first codec's setting, whose size is the target instead.
    """
    pixels = load(image.path)
    target = int(bits_per_pixel * image.width * image.height / 8)
    if quality is not None:
        target = len(codecs[0].encode(pixels, quality))
    versions = [Coded("Original", image.path.stat().st_size, None, pixels)]
    for codec in codecs:
        data = largest_within(codec, pixels, target)
        decoded = codec.decode(data)
        psnr = psnr_rgb(pixels, decoded)
        versions.append(Coded(codec.label, len(data), psnr, decoded, too_large=len(data) > target))
    return Exhibit(image.name, target, versions, busiest(pixels, [v.pixels for v in versions[1:]]))


def busiest(original: Pixels, decoded: Sequence[Pixels]) -> tuple[int, int]:
    """Left and top of the crop where the codecs together are furthest from the original."""
    import numpy as np

    width, height = min(CROP[0], original.shape[1]), min(CROP[1], original.shape[0])
    error = np.zeros(original.shape[:2], np.float64)
    for pixels in decoded:
        difference = np.subtract(original, pixels, dtype=np.float64)
        error += np.square(difference).sum(axis=2)
    sums = np.pad(error, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    totals = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(np.argmax(totals), totals.shape)
    return int(left), int(top)


def page(exhibits: Sequence[Exhibit]) -> str:
    """The HTML page: one viewer with a slider per picture, and a row of enlarged crops. It needs no other
    file.
    """
    sections = "\n".join(_section(number, item) for number, item in enumerate(exhibits))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>aecodec: look</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>At the same number of bytes</h1>\n"
        "<p>Move the slider to compare the two chosen above it. Drag to move about when zoomed.</p>\n"
        f"{sections}\n</main>\n<script>{_SCRIPT}</script></body></html>\n"
    )


def build(
    images: Sequence[ImageFile],
    codecs: Sequence[Codec],
    bits_per_pixel: float,
    quality: float | None,
    report: Callable[[int, int, str], None],
) -> str:
    """The page for some pictures; ``report`` is called after each with (done, total, name)."""
    exhibits = []
    for image in images:
        exhibits.append(exhibit(image, codecs, bits_per_pixel, quality))
        report(len(exhibits), len(images), image.name)
    return page(exhibits)


def write_page(path: Path, text: str) -> None:
    """Write the page whole or not at all."""
    from bench.results import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _section(number: int, item: Exhibit) -> str:
    height, width = item.versions[0].pixels.shape[:2]
    uris = [data_uri(version.pixels) for version in item.versions]
    left, right = _options(item, 1), _options(item, min(2, len(item.versions) - 1))
    crops = "\n".join(
        f'<figure><div class="crop" data-index="{index}" style="{_crop_style(item, width, height)}"></div>'
        f"<figcaption>{_caption(version)}</figcaption></figure>"
        for index, version in enumerate(item.versions)
    )
    return f"""<section data-number="{number}" style="--width:{min(width, 768)}px">
<h2>{html.escape(item.name)} <small>{width}x{height}, at most {item.target:,} bytes</small></h2>
<div class="bar"><select class="left" aria-label="left">{left}</select>
<label>zoom <select class="zoom"><option>1</option><option>2</option><option>4</option></select></label>
<select class="right" aria-label="right">{right}</select></div>
<div class="scroll"><div class="stage" data-width="{width}" data-height="{height}">
<img class="below" alt=""><img class="above" alt=""><div class="line"></div></div></div>
<input class="slider" type="range" min="0" max="100" value="50" step="0.1" aria-label="the border's place">
<script type="application/json" class="uris">{json.dumps(uris)}</script>
<div class="crops">
{crops}
</div>
</section>"""


def _options(item: Exhibit, chosen: int) -> str:
    return "".join(
        f'<option value="{index}"{" selected" if index == chosen else ""}>{_caption(version)}</option>'
        for index, version in enumerate(item.versions)
    )


def _caption(version: Coded) -> str:
    quality = "" if version.psnr is None else f", {version.psnr:.2f} dB"
    note = " (its smallest file)" if version.too_large else ""
    return html.escape(f"{version.label}: {version.bytes:,} bytes{quality}{note}")


def _crop_style(item: Exhibit, width: int, height: int) -> str:
    left, top = item.crop
    zoom = 2
    return (
        f"width:{CROP[0] * zoom}px;height:{CROP[1] * zoom}px;"
        f"background-size:{width * zoom}px {height * zoom}px;"
        f"background-position:-{left * zoom}px -{top * zoom}px"
    )


_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem 1.2rem 4rem; }
h2 { margin: 2.5rem 0 .5rem; }
small { font-weight: normal; opacity: .7; font-size: .9rem; }
.bar { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .3rem 1rem; }
.bar { max-width: 768px; margin-bottom: .4rem; }
.scroll, .slider { max-width: var(--width); box-sizing: border-box; }
.scroll { overflow: auto; max-height: 80vh; background: #888; cursor: grab; }
.stage { position: relative; overflow: hidden; }
.stage img { position: absolute; inset: 0; width: 100%; height: 100%; }
.stage img { image-rendering: pixelated; user-select: none; }
.line { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; }
.line { background: #fff; box-shadow: 0 0 3px #000; }
.slider { display: block; width: 100%; margin: .4rem 0 1rem; }
.crops { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: .85rem; }
.crop { background-repeat: no-repeat; image-rendering: pixelated; max-width: 100%; }
"""

# The slider runs over the part of the picture that is in sight, so that the border stays there when zoomed.
_SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  const find = (name) => section.querySelector("." + name);
  const uris = JSON.parse(find("uris").textContent);
  const stage = find("stage"), above = find("above"), below = find("below"), scroll = find("scroll");
  const border = () => {
    const place = scroll.scrollLeft + scroll.clientWidth * Number(find("slider").value) / 100;
    const share = Math.min(100, 100 * place / stage.offsetWidth);
    above.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    find("line").style.left = share + "%";
  };
  const show = () => {
    above.src = uris[find("left").value];
    below.src = uris[find("right").value];
    const zoom = Number(find("zoom").value);
    stage.style.width = stage.dataset.width * zoom + "px";
    stage.style.height = stage.dataset.height * zoom + "px";
    border();
  };
  for (const crop of section.querySelectorAll(".crop"))
    crop.style.backgroundImage = `url(${uris[crop.dataset.index]})`;
  for (const name of ["left", "right", "zoom"]) find(name).addEventListener("input", show);
  find("slider").addEventListener("input", border);
  scroll.addEventListener("scroll", border);
  addEventListener("resize", border);
  stage.addEventListener("pointerdown", (down) => {
    if (down.pointerType !== "mouse") return;
    down.preventDefault();
    const from = { x: scroll.scrollLeft + down.clientX, y: scroll.scrollTop + down.clientY };
    const move = (event) => {
      scroll.scrollLeft = from.x - event.clientX;
      scroll.scrollTop = from.y - event.clientY;
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  });
  show();
}
"""
