"""Plots of results: rate-distortion curves, and time per pixel over size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.metrics import LABELS
from bench.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (
    "#d1495b",
    "#2e86ab",
    "#5b8e3e",
    "#e39b2d",
    "#7a5195",
    "#3bb5b0",
    "#8c6d46",
    "#586f7c",
    "#c65bcf",
    "#111111",
)
_GREYS = ("#333333", "#666666", "#888888", "#a0a0a0", "#b4b4b4")
_LINES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


@dataclass(frozen=True)
class Plot:
    """One figure in both forms.

    Attributes:
        name: of the files, without an ending.
        png: bytes.
        svg: text.
    """

    name: str
    png: bytes
    svg: str


def rate_distortion(
    name: str, title: str, metric: str, results: Sequence[Result], *, most_bpp: float = 2.0
) -> Plot:
    """Averaged curves: measured ones coloured with dots, published ones grey and dashed."""
    figure, axes = _figure()
    measured = [result for result in results if not result.published]
    published = [result for result in results if result.published]
    for index, result in enumerate(measured):
        points = result.average_curve(metric)
        axes.plot(
            points.rates,
            points.qualities,
            marker="o",
            markersize=3,
            color=_COLOURS[index % len(_COLOURS)],
            linestyle="-" if index < len(_COLOURS) else "--",
            linewidth=2.4 if result.name.startswith("aecodec") else 1.4,
            label=result.label,
            zorder=3,
        )
    for index, result in enumerate(published):
        points = result.average_curve(metric)
        axes.plot(
            points.rates,
            points.qualities,
            color=_GREYS[index % len(_GREYS)],
            linestyle=_LINES[index % len(_LINES)],
            linewidth=1.2,
            label=f"{result.label}, published",
            zorder=2,
        )
    axes.set(xlabel="bits per pixel", ylabel=LABELS.get(metric, metric), title=title, xlim=(0, most_bpp))
    _fit_height(axes, [result.average_curve(metric) for result in results], most_bpp)
    axes.legend(fontsize=8, loc="lower right", frameon=False)
    return _finish(name, figure)


def seconds_per_megapixel(name: str, title: str, rows: Sequence[dict[str, Any]], operation: str) -> Plot:
    """Time per megapixel over the size of the picture, one line a codec; both axes logarithmic."""
    figure, axes = _figure()
    labels = list(dict.fromkeys(row["label"] for row in rows))
    for index, label in enumerate(labels):
        points = sorted(
            (r["megapixels"], r[operation]) for r in rows if r["label"] == label and operation in r
        )
        if not points:
            continue
        sizes = [size for size, _ in points]
        middle = [times["median"] / size for size, times in points]
        below = [(times["median"] - times["least"]) / size for size, times in points]
        above = [(times["most"] - times["median"]) / size for size, times in points]
        axes.errorbar(
            sizes,
            middle,
            yerr=(below, above),
            marker="o",
            markersize=4,
            capsize=2,
            color=_COLOURS[index % len(_COLOURS)],
            linewidth=2.4 if label.startswith("aecodec") else 1.4,
            label=label,
        )
    axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds per megapixel", title=title)
    sizes = sorted({row["megapixels"] for row in rows})
    axes.set_xticks(sizes, [f"{size:.2g}" for size in sizes])
    axes.minorticks_off()
    axes.legend(fontsize=8, frameon=False)
    return _finish(name, figure)


def _figure() -> tuple[Figure, Any]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "aecodec", "svg.fonttype": "path", "font.size": 10})
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _fit_height(axes: Any, curves: Sequence[Any], most_bpp: float) -> None:
    """Height of what lies left of the largest rate shown."""
    shown = [q for c in curves for rate, q in zip(c.rates, c.qualities, strict=True) if rate <= most_bpp]
    if shown:
        margin = 0.03 * (max(shown) - min(shown)) or 1.0
        axes.set_ylim(min(shown) - margin, max(shown) + margin)


def _finish(name: str, figure: Figure) -> Plot:
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=130, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return Plot(name, png.getvalue(), svg.getvalue().decode())
