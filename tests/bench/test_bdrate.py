"""BD-rates: known answers, another implementation's answers, and what cannot be compared."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.bdrate import BdRateError, Curve, bd_rate, curve, rate_at
from bench.results import PUBLISHED, read_results

JPEG = curve([0.2, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0], [24.0, 27.0, 29.0, 31.0, 32.5, 34.5, 37.0])


def scaled(points: Curve, factor: float) -> Curve:
    return curve([rate * factor for rate in points.rates], points.qualities)


@settings(deadline=None)
@given(st.floats(0.05, 20))
def test_a_rate_that_is_everywhere_the_same_multiple_gives_that_multiple(factor: float) -> None:
    result = bd_rate(JPEG, scaled(JPEG, factor))
    assert result.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert (result.low, result.high, result.coverage) == (24.0, 37.0, 1.0)


@settings(deadline=None)
@given(st.floats(0.2, 5), st.floats(-2, 2))
def test_changing_sides_inverts_the_ratio(factor: float, shift: float) -> None:
    other = curve([rate * factor for rate in JPEG.rates], [quality + shift for quality in JPEG.qualities])
    there, back = bd_rate(JPEG, other).percent, bd_rate(other, JPEG).percent
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


@pytest.mark.parametrize("anchor", ["jpeg", "vtm"])
def test_published_curves_give_the_answers_of_the_bjontegaard_package(anchor: str) -> None:
    bjontegaard = pytest.importorskip("bjontegaard")
    curves = {result.name: result.average_curve("psnr-rgb") for result in read_results(PUBLISHED / "kodak")}
    compared = [name for name, points in curves.items() if len(points) >= 6]
    assert len(compared) >= 15
    for name in compared:
        first, second = curves[anchor], curves[name]
        expected = bjontegaard.bd_rate(
            first.rates, first.qualities, second.rates, second.qualities,
            method="pchip", require_matching_points=False, min_overlap=0,
        )  # fmt: skip
        assert bd_rate(first, second).percent == pytest.approx(expected, abs=1e-6), name


def test_only_the_common_range_counts() -> None:
    low = curve(JPEG.rates[:6], JPEG.qualities[:6])
    result = bd_rate(low, scaled(curve(JPEG.rates[1:], JPEG.qualities[1:]), 1.5))
    assert (result.low, result.high) == (27.0, 34.5)
    assert result.coverage == pytest.approx(7.5 / 13)
    assert result.percent == pytest.approx(50, abs=1)


def test_points_that_a_cheaper_one_equals_or_beats_are_dropped_and_counted() -> None:
    points = curve([3, 1, 2, 4, 2.5], [33, 30, 32, 34, 31.5])
    assert points == Curve(rates=(1, 2, 3, 4), qualities=(30, 32, 33, 34), dropped=1)


def test_too_few_points_are_refused() -> None:
    few = curve(JPEG.rates[:5], JPEG.qualities[:5])
    with pytest.raises(BdRateError, match="at least 6 points"):
        bd_rate(JPEG, few)
    assert bd_rate(JPEG, few, min_points=5).percent == pytest.approx(0, abs=1)


def test_curves_without_a_common_quality_are_refused() -> None:
    with pytest.raises(BdRateError, match="overlap"):
        bd_rate(JPEG, curve(JPEG.rates, [quality + 13 for quality in JPEG.qualities]))


@pytest.mark.parametrize(
    ("rates", "qualities"),
    [([1.0], [1.0, 2.0]), ([0.0], [30.0]), ([float("nan")], [30.0]), ([1.0], [float("inf")])],
)
def test_nonsense_is_refused(rates: list[float], qualities: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        curve(rates, qualities)


def test_the_rate_at_a_point_of_the_curve_is_that_points() -> None:
    assert rate_at(JPEG, 31.0) == pytest.approx(0.75)
    with pytest.raises(BdRateError, match="Received: 40"):
        rate_at(JPEG, 40)


def test_published_curves_name_their_source() -> None:
    for path in (PUBLISHED / "kodak").glob("*.json"):
        assert json.loads(path.read_text())["source"], path.name
