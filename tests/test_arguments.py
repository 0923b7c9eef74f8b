"""Numbers that callers pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import aecodec
from aecodec.arguments import positive_number, whole_number
from aecodec.errors import InputError
from aecodec.models import registry


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_any_type_are_whole_numbers(value: Any) -> None:
    found = whole_number("level", value, 0, 5)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [-1, 6, 3.0, "3", None, True, np.bool_(True), np.float32(3)])
def test_everything_else_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InputError, match="Expected level as a whole number from 0 to 5"):
        whole_number("level", value, 0, 5)


def test_a_bound_may_be_missing() -> None:
    assert whole_number("jobs", 10**6, 1) == 10**6
    with pytest.raises(InputError, match="Expected jobs as a whole number of at least 1"):
        whole_number("jobs", 0, 1)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int16(2)])
def test_real_numbers_of_any_type_are_numbers(value: Any) -> None:
    assert positive_number("psnr", value) == float(value)


@pytest.mark.parametrize("value", [0, -1, "1", None, False, float("nan"), float("inf"), 1j])
def test_what_is_no_number_above_0_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="Expected psnr as a number above 0"):
        positive_number("psnr", value)


@pytest.mark.skipif(not registry().default, reason="no model is installed")
def test_the_api_takes_numpys_numbers_and_refuses_others_with_its_own_errors() -> None:
    pixels = np.full((40, 50, 3), 90, np.uint8)
    data = aecodec.encode(pixels, np.float32(50), effort=np.int64(0), chunk_side=np.int64(128))  # type: ignore[arg-type]
    assert data == aecodec.encode(pixels, np.int64(50), chunk_side=128)  # type: ignore[arg-type]
    assert aecodec.decode(data, region=tuple(np.array([1, 2, 3, 4]))).shape == (4, 3, 3)
    wrong: list[dict[str, Any]] = [
        {"scale": 2.0},
        {"region": (0.9, 0.9, 5.9, 5.9)},
        {"region": "1155"},
        {"region": (0, 0, float("inf"), 5)},
        {"jobs": "2"},
        {"model": 3},
        {"window_side": 128.0},
    ]
    for arguments in wrong:
        with pytest.raises(InputError):
            aecodec.decode(data, **arguments)
    for arguments in ({"chunk_side": 128.0}, {"level": "3"}, {"effort": None}, {"quality": "75"}):
        with pytest.raises(InputError):
            aecodec.encode(pixels, **arguments)
