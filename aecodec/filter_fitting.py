"""The encoder's choice of a chunk's post-filter: coefficients that save more errors than they cost bits.

What a filter saves is a quadratic function of its coefficients, known from products of pixels with those
beside them (Wiener's normal equations). So the search for whole coefficients needs no pixels: each in turn
takes its best value, given the others, until none changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import HyperTables
from aecodec.post_filter import PIXEL_CENTRE, FilterBasis

__all__ = [
    "MAX_COEFFICIENT",
    "TERMS",
    "FilterFitting",
    "FilterStatistics",
    "cheapest",
    "quadratic_form",
    "taps_of_terms",
    "terms_of_taps",
]

MAX_COEFFICIENT: Final = 31
TERMS: Final = 28
"""Of a filter: 3 colours of the pixel itself, of the sums and of the differences of the four pairs of pixels
around it, and a constant. Differences tell smooth pictures better than pixels, which are nearly the same."""
CONSTANT: Final = 50.0
_PAIRS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
_SWEEPS: Final = 8
_BAND: Final = 1 << 13
"""Pixels whose terms are made at once: they fit into a core's cache."""
_Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FilterStatistics:
    """What choosing a filter needs to know of decoded pixels and their errors, as sums over the pixels.

    Attributes:
        products: float64 (term, term).
        errors: float64 (term, colour): of the terms with the original less the decoded pixels.
        energy: of the squared errors of all colours.
    """

    products: _Float
    errors: _Float
    energy: float

    @classmethod
    def of(cls, bordered: NDArray[np.float32], original: NDArray[np.float32]) -> FilterStatistics:
        """Measure.

        Args:
            bordered: float32 (height + 2, width + 2, 3), 0..255: decoded pixels, and those beside them.
            original: float32 (height, width, 3).
        """
        height, width, _ = original.shape
        products, errors = np.zeros((TERMS, TERMS)), np.zeros((TERMS, 3))
        rows = max(_BAND // max(width, 1), 1)
        for top in range(0, height, rows):
            band = bordered[top : min(top + rows, height) + 2]
            terms = _terms(np.ascontiguousarray(band.transpose(2, 0, 1)) - np.float32(PIXEL_CENTRE))
            error = (original[top : top + rows] - band[1:-1, 1:-1]).reshape(-1, 3)
            products += terms @ terms.T
            errors += terms @ error
        energy = float(np.square(original - bordered[1:-1, 1:-1]).sum(dtype=np.float64))
        return cls(products, errors, energy)


def _terms(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """(term, pixel) of pixels around 0, (3, height + 2, width + 2)."""
    height, width = centred.shape[1] - 2, centred.shape[2] - 2

    def moved(row: int, column: int) -> NDArray[np.float32]:
        return centred[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    middle = moved(0, 0)
    twice = 2 * middle
    terms = np.empty((TERMS, height, width), np.float32)
    terms[:3] = middle
    for number, (row, column) in enumerate(_PAIRS):
        after, before = moved(row, column), moved(-row, -column)
        total = terms[3 + 3 * number : 6 + 3 * number]
        np.add(after, before, out=total)
        total -= twice
        np.subtract(after, before, out=terms[15 + 3 * number : 18 + 3 * number])
    terms[-1] = CONSTANT
    return terms.reshape(TERMS, -1)


def taps_of_terms(weights: _Float) -> tuple[_Float, _Float]:
    """Weights (..., term, colour) of terms as a kernel (..., 3, 3, 3, colour) and a bias (..., colour)."""
    outer = weights.shape[:-2]
    kernel = np.zeros((*outer, 3, 3, 3, weights.shape[-1]))
    kernel[..., 1, 1, :, :] = weights[..., :3, :]
    for number, (row, column) in enumerate(_PAIRS):
        total = weights[..., 3 + 3 * number : 6 + 3 * number, :]
        difference = weights[..., 15 + 3 * number : 18 + 3 * number, :]
        kernel[..., 1, 1, :, :] -= 2 * total
        kernel[..., 1 + row, 1 + column, :, :] += total + difference
        kernel[..., 1 - row, 1 - column, :, :] += total - difference
    return kernel, CONSTANT * weights[..., -1, :]


def terms_of_taps(kernel: _Float, bias: _Float) -> _Float:
    """The inverse of `taps_of_terms`."""
    weights = np.zeros((*kernel.shape[:-4], TERMS, kernel.shape[-1]))
    weights[..., :3, :] = kernel.sum(axis=(-4, -3))
    for number, (row, column) in enumerate(_PAIRS):
        after, before = kernel[..., 1 + row, 1 + column, :, :], kernel[..., 1 - row, 1 - column, :, :]
        weights[..., 3 + 3 * number : 6 + 3 * number, :] = (after + before) / 2
        weights[..., 15 + 3 * number : 18 + 3 * number, :] = (after - before) / 2
    weights[..., -1, :] = bias / CONSTANT
    return weights


@dataclass(frozen=True, eq=False)
class FilterFitting:
    """Chooses post-filters.

    Attributes:
        basis: of the model.
        hyper: whose tables code the coefficients.
    """

    basis: FilterBasis
    hyper: HyperTables

    def choose(self, statistics: FilterStatistics, level: int, weight: float) -> NDArray[np.int16]:
        """The coefficients of the best filter that is found.

        Args:
            statistics: of the chunk's pixels.
            level: 0..224.
            weight: bits that a squared error of one grey level of all colours of a pixel counts.

        Returns:
            int16 (coefficient,), -31..31.
        """
        return cheapest(*self.quadratic_form(statistics, level, weight), self._bits)

    def quadratic_form(
        self, statistics: FilterStatistics, level: int, weight: float
    ) -> tuple[_Float, _Float]:
        """What `cheapest` takes, in bits: of the whole coefficients at a level."""
        units = self.basis.units(level).astype(np.float64)
        return quadratic_form(statistics, units[:, np.newaxis, np.newaxis] * self._terms, weight)

    @cached_property
    def _terms(self) -> _Float:
        """(coefficient, term, colour)."""
        return terms_of_taps(self.basis.kernel.astype(np.float64), self.basis.bias.astype(np.float64))

    @cached_property
    def _bits(self) -> _Float:
        """(coefficient, value): what the values -31..31 cost."""
        values = np.arange(-MAX_COEFFICIENT, MAX_COEFFICIENT + 1)
        bits: _Float = self.hyper.tables.bits_table(values)[self.hyper.of_filter]
        return bits


def quadratic_form(statistics: FilterStatistics, terms: _Float, weight: float) -> tuple[_Float, _Float]:
    """Curvature (filter, filter) and saved (filter,), of what the weighted error becomes by a sum of filters.

    Args:
        statistics: of pixels.
        terms: (filter, term, colour).
        weight: bits that a squared error of one grey level of all colours of a pixel counts.
    """
    seen = np.einsum("ij,kjo->kio", statistics.products, terms)
    curvature = weight / 3 * np.einsum("kio,mio->km", seen, terms)
    return curvature, weight / 3 * np.einsum("kio,io->k", terms, statistics.errors)


def cheapest(curvature: _Float, saved: _Float, bits: _Float) -> NDArray[np.int16]:
    """Whole numbers n with nearly the least ``n @ curvature @ n - 2 * saved @ n + bits``.

    Args:
        curvature: (number, number), symmetric.
        saved: (number,).
        bits: (number, value), of the values ``-m .. m``.
    """
    most = bits.shape[1] // 2
    candidates = np.arange(-most, most + 1)
    chosen = np.zeros(len(saved), np.int64)
    for _ in range(_SWEEPS):
        former = chosen.copy()
        for number in range(len(saved)):
            own = curvature[number, number]
            slope = saved[number] - curvature[number] @ chosen + own * chosen[number]
            costs = own * np.square(candidates) - 2 * slope * candidates + bits[number]
            chosen[number] = candidates[np.argmin(costs)]
        if np.array_equal(chosen, former):
            break
    return chosen.astype(np.int16)
