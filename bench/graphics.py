"""Pictures that are no photographs, made from what this checkout and matplotlib hold: text, code, a plot, a
diagram, a map, icons, and two screenshots of a page in Chromium.

Nothing is downloaded and nothing large is committed: whoever runs ``python -m bench graphics`` draws the same
pictures, up to the versions of Pillow, matplotlib and Chromium (result files carry the pictures' hashes).
"""

from __future__ import annotations

import io
import itertools
import keyword
import shutil
import subprocess
import tempfile
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bdrate import BdRate
from bench.machine import ROOT
from bench.results import PUBLISHED, RESULTS, Result, read_results

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    from bench.compare import Comparison

SIZE = (960, 640)
"""Width and height of every picture."""
FOLDER = ROOT / "bench" / "cache" / "graphics"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PAGE_CODECS = ("jpeg", "webp", "avif", "avif-444-psnr", "jpegxl")
_DARK = {"background": "#1e1e2e", "text": "#cdd6f4", "keyword": "#cba6f7", "string": "#a6e3a1",
         "comment": "#7f849c", "number": "#fab387", "margin": "#585b70"}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One picture to be made.

    Attributes:
        name: of its file, without an ending.
        about: what it shows.
        draw: makes it.
    """

    name: str
    about: str
    draw: Callable[[], Image.Image]


def drawings() -> tuple[Drawing, ...]:
    """What can be drawn without a browser."""
    return (
        Drawing("text", "a page of text, black on white", draw_text),
        Drawing("code", "source code in colours on a dark ground", draw_code),
        Drawing("plot", "curves with axes and a legend", draw_plot),
        Drawing("diagram", "boxes and arrows in flat colours", draw_diagram),
        Drawing("map", "filled contours with lines and labels", draw_map),
        Drawing("icons", "matplotlib's icons, enlarged to three sizes", draw_icons),
    )


def make(folder: Path = FOLDER) -> tuple[Path, list[str]]:
    """Draw all pictures into a folder as PNG files.

    Returns:
        The folder, and notes on what could not be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in drawings():
        drawing.draw().convert("RGB").save(folder / f"{drawing.name}.png")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return folder, ["No Chromium is installed: the two screenshots are left out."]
    for name, picture in screenshots(browser).items():
        picture.save(folder / f"{name}.png")
    return folder, []


def draw_text() -> Image.Image:
    """A page of the format's normative text, as it stands in the file."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(picture), _font("DejaVuSerif", 13)
    for number, line in enumerate(_lines(ROOT / "formats" / "aec.md", 40, 36)):
        pen.text((32, 24 + 17 * number), line, fill="black", font=font)
    return picture


def draw_code() -> Image.Image:
    """A module of aecodec as an editor with a dark theme shows it."""
    from PIL import Image, ImageDraw

    source, first = (ROOT / "aecodec" / "container.py").read_text(), 100
    picture = Image.new("RGB", SIZE, _DARK["background"])
    pen, font = ImageDraw.Draw(picture), _font("DejaVuSansMono", 13)
    width, height = font.getlength("0"), 17
    for row in range(SIZE[1] // height):
        pen.text((8, height * row + 8), f"{row + first:4d}", fill=_DARK["margin"], font=font)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        for offset, text in enumerate(token.string.splitlines()):
            row = token.start[0] - first + offset
            column = token.start[1] if offset == 0 else 0
            place = (56 + width * column, height * row + 8)
            pen.text(place, text, fill=_DARK[_kind(token)], font=font)
    return picture


def draw_plot() -> Image.Image:
    """The published curves of Kodak, coloured."""
    from PIL import Image

    from bench.plots import rate_distortion

    names = ("jpeg", "webp", "av1", "vtm", "bmshj2018-hyperprior")
    curves = [_as_measured(r) for r in read_results(PUBLISHED / "kodak", published=True) if r.name in names]
    plot = rate_distortion("plot", "Kodak: mean over the pictures", "psnr-rgb", curves)
    return _fitted(Image.open(io.BytesIO(plot.png)))


def draw_diagram() -> Image.Image:
    """How the codec is built."""
    figure, axes = _canvas()
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    labels = ("picture", "patches\n16 x 16", "encoder", "latents", "hyper-prior", "prediction\nfive steps",
              "residuals", "integer\ntables", "file")  # fmt: skip
    colours = ("#d1495b", "#2e86ab", "#5b8e3e", "#e39b2d", "#7a5195")
    places = [(0.5 + 3.1 * (n % 3), 4.6 - 2 * (n // 3)) for n in range(len(labels))]
    for number, (label, (x, y)) in enumerate(zip(labels, places, strict=True)):
        style = "round,pad=0.1,rounding_size=0.2" if number % 2 else "square,pad=0.1"
        colour = colours[number % len(colours)]
        axes.add_patch(FancyBboxPatch((x, y), 2, 1, boxstyle=style, fc=colour, ec="black", lw=1.5))
        axes.text(x + 1, y + 0.5, label, ha="center", va="center", color="white", fontsize=14)
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        across = ((x0 + 2.1, y0 + 0.5), (x1 - 0.1, y1 + 0.5))
        down = ((x0 + 1, y0 - 0.1), (x1 + 1, y1 + 1.1))
        start, end = across if y0 == y1 else down
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=18, lw=1.5))
    axes.set(xlim=(0, 9.6), ylim=(0, 6.2))
    axes.axis("off")
    return _rendered(figure)


def draw_map() -> Image.Image:
    """Contours of a fault valley (matplotlib's sample data)."""
    import numpy as np

    figure, axes = _canvas()
    with np.load(_matplotlib_data() / "sample_data" / "jacksboro_fault_dem.npz") as data:
        heights = data["elevation"][::-1][::3, ::3]
    axes.contourf(heights, levels=12, cmap="terrain")
    lines = axes.contour(heights, levels=12, colors="black", linewidths=0.5)
    axes.clabel(lines, fontsize=7)
    axes.grid(alpha=0.5)
    axes.set_title("Height above the sea, metres")
    return _rendered(figure)


def draw_icons() -> Image.Image:
    """Icons of a toolbar, a box of presents and a logo."""
    from PIL import Image

    picture = Image.new("RGB", SIZE, "#ececec")
    folder = _matplotlib_data()
    large = sorted((folder / "images").glob("*_large.png"))
    samples = [folder / "sample_data" / name for name in ("Minduka_Present_Blue_Pack.png", "logo2.png")]
    for row, scale in enumerate((1, 2, 3)):
        for column, path in enumerate(large):
            icon = _opened(path)
            icon = icon.resize((icon.width * scale, icon.height * scale), Image.Resampling.LANCZOS)
            place = (16 + column * (icon.width + 12), (16, 88, 208)[row])
            picture.paste(icon, place, icon)
    for path, place in zip(samples, ((60, 420), (280, 420)), strict=True):
        icon = _opened(path)
        picture.paste(icon, place, icon)
    return picture


def screenshots(browser: str) -> dict[str, Image.Image]:
    """The top of a report on the other codecs, and some tables of it, as Chromium shows them."""
    from PIL import Image

    from bench.report import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kodak = folder / "results" / "kodak"
        kodak.mkdir(parents=True)
        for codec in _PAGE_CODECS:
            shutil.copy(RESULTS / "kodak" / f"{codec}.json", kodak)
        build(folder / "report", folder / "results")
        target = folder / "page.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={folder / 'profile'}", f"--screenshot={target}",
                   f"--window-size={SIZE[0]},{4 * SIZE[1]}"]  # fmt: skip
        page = (folder / "report" / "report.html").as_uri()
        subprocess.run([browser, *options, page], capture_output=True, check=True, timeout=300)
        with Image.open(target) as whole:
            shot = whole.convert("RGB")
    width, height = SIZE
    return {
        "page": shot.crop((0, 0, width, height)),
        "tables": shot.crop((0, 2 * height, width, 3 * height)),
    }


def lossless_sizes(picture: Image.Image) -> dict[str, int]:
    """Bytes of a picture as PNG (optimised) and as lossless WebP."""
    sizes = {}
    for name, kind, options in (
        ("png", "PNG", {"optimize": True}),
        ("webp-lossless", "WEBP", {"lossless": True}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        sizes[name] = len(buffer.getvalue())
    return sizes


def table(results: Sequence[Result], sizes: dict[str, dict[str, int]]) -> str:
    """Per picture: BD-rates of the judged codec against the others, its best point, lossless sizes; Markdown.

    Args:
        results: rate-distortion results on the pictures, the judged codec first.
        sizes: by picture, what :func:`lossless_sizes` gave.
    """
    from bench.compare import compare
    from bench.document import Table, to_markdown

    codec, *others = results
    comparisons = [compare(other, codec, "psnr-rgb") for other in others]
    rows = []
    for image in codec.images:
        best = max(
            (p for p in codec.points if p.image == image and not p.failure), key=lambda point: point.quality
        )
        found = [_cell(comparison.images.get(image)) for comparison in comparisons]
        largest = f"{best.bytes:,} at {best.metrics['psnr-rgb']:.1f} dB"
        rows.append(
            [image, *found, largest, *(f"{sizes[image][kind]:,}" for kind in ("webp-lossless", "png"))]
        )
    rows.append(["mean", *map(_mean_cell, comparisons), "", "", ""])
    against = [f"against {other.label}" for other in others]
    header = ["Picture", *against, "largest file", "lossless WebP", "PNG"]
    return to_markdown([Table(header, rows)])


def _mean_cell(comparison: Comparison) -> str:
    count = len(comparison.images)
    return "" if comparison.mean is None else f"{comparison.mean:+.0f} % ({count} pictures)"


def _cell(found: BdRate | None) -> str:
    return "" if found is None else f"{found.percent:+.0f} % ({found.low:.0f} to {found.high:.0f} dB)"


def _kind(token: tokenize.TokenInfo) -> str:
    kinds = {tokenize.STRING: "string", tokenize.COMMENT: "comment", tokenize.NUMBER: "number"}
    if token.type == tokenize.NAME and keyword.iskeyword(token.string):
        return "keyword"
    return kinds.get(token.type, "text")


def _lines(path: Path, first: int, count: int) -> list[str]:
    return path.read_text().splitlines()[first : first + count]


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(str(_matplotlib_data() / "fonts" / "ttf" / f"{name}.ttf"), size)


def _matplotlib_data() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path())


def _as_measured(result: Result) -> Result:
    """Plots draw measured curves in colours."""
    return replace(result, published=False)


def _opened(path: Path) -> Image.Image:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGBA")


def _canvas() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, layout="constrained")
    return figure, figure.subplots()


def _rendered(figure: Any) -> Image.Image:
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)


def _fitted(picture: Image.Image) -> Image.Image:
    from PIL import Image

    return picture.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
