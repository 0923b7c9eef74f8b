"""Comparisons of results: BD-rates on averaged curves and per picture, agreement with published curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.bdrate import MIN_POINTS, BdRate, BdRateError, bd_rate
from bench.results import Result

_MIN_PUBLISHED_POINTS = 5


@dataclass(frozen=True)
class Comparison:
    """One codec against another, by one measure.

    Attributes:
        anchor: label of the codec that is compared with.
        test: label of the codec that is judged.
        metric: the measure.
        average: BD-rate on the curves of means over the pictures, or None.
        images: BD-rate of each picture; empty when one of the two has no rows per picture.
        notes: why something could not be computed.
    """

    anchor: str
    test: str
    metric: str
    average: BdRate | None
    images: Mapping[str, BdRate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean of the pictures' BD-rates."""
        return statistics.fmean(b.percent for b in self.images.values()) if self.images else None

    @property
    def spread(self) -> tuple[float, float, float] | None:
        """Standard deviation, least and most of the pictures' BD-rates."""
        values = [b.percent for b in self.images.values()]
        return (statistics.pstdev(values), min(values), max(values)) if values else None

    def worst(self, count: int) -> list[str]:
        """Names of the pictures where the judged codec does worst, the worst first."""
        return sorted(self.images, key=lambda name: -self.images[name].percent)[:count]


def compare(anchor: Result, test: Result, metric: str) -> Comparison:
    """BD-rates of ``test`` against ``anchor``, as far as both have the measure."""
    if metric not in anchor.averages or metric not in test.averages:
        return Comparison(anchor.label, test.label, metric, None, notes=("not measured",))
    notes = []
    average = None
    published = anchor.published or test.published
    try:
        points = _MIN_PUBLISHED_POINTS if published else MIN_POINTS
        average = bd_rate(anchor.average_curve(metric), test.average_curve(metric), min_points=points)
    except BdRateError as error:
        notes.append(str(error))
    images: dict[str, BdRate] = {}
    for image in [name for name in test.images if name in set(anchor.images)]:
        try:
            images[image] = bd_rate(anchor.image_curve(image, metric), test.image_curve(image, metric))
        except BdRateError as error:
            notes.append(f"{image}: {error}")
    return Comparison(anchor.label, test.label, metric, average, images, tuple(notes))


@dataclass(frozen=True)
class Agreement:
    """A codec measured here beside its published curve.

    Attributes:
        measured: label.
        published: label, with the versions.
        percent: BD-rate of the measured curve against the published one, in per cent.
        low, high: range of PSNR compared, in dB.
    """

    measured: str
    published: str
    percent: float
    low: float
    high: float


AGREEMENTS = (
    ("jpeg-plain", "jpeg"),
    ("jpeg", "jpeg"),
    ("webp", "webp"),
    ("jpeg2000", "jpeg2000"),
    ("avif", "av1"),
    ("avif-444-psnr", "av1"),
    ("avif-444", "av1"),
    ("avif-slow", "av1"),
    ("heic-444", "bpg"),
)
"""Names of results and of the published curves that they should agree with."""


def agreements(measured: Sequence[Result], published: Sequence[Result]) -> list[Agreement]:
    """How far measured curves lie from published ones of the same codec."""
    by_name = {result.name: result for result in measured}
    curves = {result.name: result for result in published}
    found = []
    for name, other in AGREEMENTS:
        if name in by_name and other in curves:
            comparison = compare(curves[other], by_name[name], "psnr-rgb")
            if comparison.average is not None:
                average = comparison.average
                label = f"{curves[other].label}: {curves[other].description}"
                found.append(
                    Agreement(by_name[name].label, label, average.percent, average.low, average.high)
                )
    return found
