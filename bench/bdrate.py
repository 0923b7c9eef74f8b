"""Bjontegaard's delta rate: how many per cent more (or less) rate one codec needs than another at equal
quality.

Log rate is interpolated over quality with PCHIP (monotone piecewise cubic Hermite, Fritsch and Carlson
1980), which does not overshoot where the polynomial of the first proposal (VCEG-M33, 2001) does, and
averaged over the range of quality that both curves cover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_POINTS = 6


@dataclass(frozen=True)
class Curve:
    """Points of one rate-distortion curve, rising in rate and in quality.

    Attributes:
        rates: bits per pixel (or bytes), rising.
        qualities: of the same length, rising: PSNR in dB or another measure where more is better.
        dropped: points that were left out because another had at least their quality for no more rate.
    """

    rates: tuple[float, ...]
    qualities: tuple[float, ...]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.rates)


@dataclass(frozen=True)
class BdRate:
    """A delta rate and the range of quality over which it was averaged.

    Attributes:
        percent: rate of the tested codec less that of the anchor, in per cent of the anchor's; negative is
            better.
        low: lower end of the common range of quality.
        high: upper end.
        coverage: length of the common range as a fraction of the range that the two curves span together.
    """

    percent: float
    low: float
    high: float
    coverage: float


class BdRateError(ValueError):
    """The two curves cannot be compared."""


def curve(rates: Sequence[float], qualities: Sequence[float]) -> Curve:
    """Sort points by rate and drop those that are not better than a cheaper one.

    Raises:
        ValueError: different numbers of rates and qualities, or values that are not finite and positive in
            rate.
    """
    if len(rates) != len(qualities):
        raise ValueError(f"Expected as many rates as qualities. Received: {len(rates)} and {len(qualities)}.")
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError("Expected finite rates above 0.")
    if not all(math.isfinite(quality) for quality in qualities):
        raise ValueError("Expected finite qualities.")
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(zip(rates, qualities, strict=True), key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return Curve(
        rates=tuple(rate for rate, _ in kept),
        qualities=tuple(quality for _, quality in kept),
        dropped=len(rates) - len(kept),
    )


def bd_rate(anchor: Curve, test: Curve, *, min_points: int = MIN_POINTS) -> BdRate:
    """The delta rate of ``test`` against ``anchor``.

    Raises:
        BdRateError: a curve has fewer than ``min_points`` points, or the curves have no quality in common.
    """
    for name, points in (("anchor", anchor), ("test", test)):
        if len(points) < min_points:
            raise BdRateError(
                f"Expected at least {min_points} points. Found in the {name} curve: {len(points)}."
            )
    low = max(anchor.qualities[0], test.qualities[0])
    high = min(anchor.qualities[-1], test.qualities[-1])
    if low >= high:
        raise BdRateError(
            f"Expected curves that overlap in quality. Found: {_range(anchor)} and {_range(test)}."
        )
    mean_difference = (_integral(test, low, high) - _integral(anchor, low, high)) / (high - low)
    span = max(anchor.qualities[-1], test.qualities[-1]) - min(anchor.qualities[0], test.qualities[0])
    return BdRate(percent=100 * math.expm1(mean_difference), low=low, high=high, coverage=(high - low) / span)


def rate_at(points: Curve, quality: float) -> float:
    """The rate that a curve needs for a quality within its range.

    Raises:
        BdRateError: the quality is outside the range.
    """
    from scipy.interpolate import PchipInterpolator

    if not points.qualities[0] <= quality <= points.qualities[-1]:
        raise BdRateError(f"Expected a quality from {_range(points)}. Received: {quality:.2f}.")
    log_rates = [math.log(rate) for rate in points.rates]
    return math.exp(float(PchipInterpolator(points.qualities, log_rates)(quality)))


def _range(points: Curve) -> str:
    return f"{points.qualities[0]:.2f} to {points.qualities[-1]:.2f}"


def _integral(points: Curve, low: float, high: float) -> float:
    """Integral of the log rate over quality."""
    from scipy.interpolate import PchipInterpolator

    log_rates = [math.log(rate) for rate in points.rates]
    return float(PchipInterpolator(points.qualities, log_rates).integrate(low, high))
