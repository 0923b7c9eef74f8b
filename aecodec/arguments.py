"""Checks of numbers that callers pass: NumPy's count as Python's, everything else is refused by name."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from aecodec.errors import InputError

__all__ = ["positive_number", "whole_number"]


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """An integer of any type (but no bool) within bounds, both included.

    Raises:
        InputError: it is none.
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        raise InputError(f"Expected {name} as a whole number {bounds}. Received: {value!r}")
    return number


def positive_number(name: str, value: Any) -> float:
    """A finite number above 0 of any real type (but no bool).

    Raises:
        InputError: it is none.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise InputError(f"Expected {name} as a number above 0. Received: {value!r}")
    return number
