"""Dependent quantisation: which of two quantisers a residual belongs to, told by the symbols before it.

Two scalar quantisers, each with points 10/8 of a step apart, share a grid that is twice as fine. A machine of
128 states, driven by the parities of the symbols, says which of them is in turn; so an encoder that looks
ahead chooses among sequences of points that fill the space better than the points of any scalar quantiser
(trellis-coded quantisation: Marcellin and Fischer, IEEE Trans. Comm. 1990; Fischer and Wang's entropy-coded
form; in video coding: Schwarz et al., "Hybrid video coding with trellis-coded quantization", DCC 2019, whose
quantisers these are). The machine is Ungerboeck's code of that many states for one dimension ("Channel
coding with multilevel/phase signals", IEEE Trans. Inf. Theory 1982; parity checks 235 and 126, octal). Video
codecs have 4 or 8 states; a decoder does not feel how many there are. Everything here is integers: it is the
decoder's side. How an encoder chooses is `aecodec.quantisation`'s matter.

The residuals of a wave are put into *columns*, down each of which a machine runs, 256 rows at most: what
is decoded at a time is a row, and long enough columns lose little at their starts. Narrow tables come first:
a machine that has just started offers few choices, which costs least where residuals are small. The normative
text is sections 9.5 and 9.6 of ``formats/aec.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.tables import FINE_UNIT, INDEX_COUNT
from aecodec.errors import InputError

STATE_COUNT: Final = 128
MAX_ROWS: Final = 256
_OF_QUANTISER: Final = 78  # 235 (octal) without its last one
_OF_COSET: Final = 43  # 126 (octal), halved


def next_state(state: int, parity: int) -> int:
    """The state behind a symbol of this parity.

    A state is a shift register. Its last bit is the quantiser in turn; that and the coset, which tells two
    neighbouring points of one quantiser apart, are fed back.
    """
    quantiser = state & 1
    coset = parity ^ quantiser
    return (state >> 1) ^ _OF_QUANTISER * quantiser ^ _OF_COSET * coset


_NEXT: Final = np.array(
    [next_state(state, parity) for state in range(STATE_COUNT) for parity in (0, 1)], np.uint8
)


@dataclass(frozen=True, eq=False)
class Lanes:
    """The dependent residuals of a wave, as they lie in rows and columns.

    Attributes:
        order: intp (residual,), where each lies among all residuals of the wave in coding order: those of
            narrow tables first. Row j holds the elements from ``j * columns`` on.
        indices: uint8 (residual,), of their tables, 0..63, ascending.
    """

    order: NDArray[np.intp]
    indices: NDArray[np.uint8]

    @classmethod
    def of(cls, indices: NDArray[np.uint8], first_dependent: int) -> Lanes:
        """Of a wave.

        Args:
            indices: uint8 (residual,), 0..63, of all its residuals in coding order.
            first_dependent: the least index of dependent residuals; 64 where all are plain.
        """
        dependent = np.flatnonzero(indices >= first_dependent)
        found = indices[dependent]
        order = np.argsort(found, kind="stable")
        return cls(dependent[order], found[order])

    @property
    def columns(self) -> int:
        """How many machines run."""
        return -(-len(self.order) // MAX_ROWS)

    @cached_property
    def rows(self) -> tuple[slice, ...]:
        """The elements of each row, from the first to the last; the last may be shorter."""
        count, columns = len(self.order), self.columns
        return tuple(slice(start, min(start + columns, count)) for start in range(0, count, columns or 1))

    def trace(self, residuals: NDArray[np.int16]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Symbols and tables of residuals.

        Args:
            residuals: int16 (residual,), eighths of a step, in the order of ``order``.

        Returns:
            int32 (residual,) and uint8 (residual,), 64..191.

        Raises:
            InputError: A residual is no point of the quantiser that is in turn.
        """
        points = residuals.astype(np.int32) // FINE_UNIT
        magnitudes = np.abs(points)
        quantiser = self._quantisers(magnitudes)
        of_quantiser = (points == 0) | (magnitudes & 1 == quantiser)
        if not of_quantiser.all() or np.any(points * FINE_UNIT != residuals):
            raise InputError(
                "Expected residuals that are points of the quantiser which is in turn. Received others: "
                "quantise with aecodec.quantisation, or encode them as plain residuals."
            )
        symbols = np.sign(points) * ((magnitudes + quantiser) >> 1)
        return symbols.astype(np.int32), self.indices + INDEX_COUNT * (1 + quantiser)

    def _quantisers(self, magnitudes: NDArray[np.int32]) -> NDArray[np.uint8]:
        """uint8 (residual,): the quantiser that is in turn, for places on the fine grid."""
        # Of a quantiser, places of one coset are four apart; zero counts as the place 3 where it is odd.
        upper = (magnitudes >> 1 & 1).astype(np.uint8)
        zero = (magnitudes == 0).astype(np.uint8)
        found = np.empty(len(magnitudes), np.uint8)
        states = np.zeros(self.columns, np.uint8)
        for row in self.rows:
            states = states[: row.stop - row.start]
            quantiser = found[row] = states & 1
            parity = (upper[row] | (zero[row] & quantiser)) ^ quantiser
            states = _NEXT[2 * states + parity]
        return found


def advanced(states: NDArray[np.uint8], symbols: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The states behind these symbols, one for each of them."""
    result: NDArray[np.uint8] = _NEXT[2 * states + (symbols & 1).astype(np.uint8)]
    return result


def residuals_of(symbols: NDArray[np.int32], quantiser: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Eighths of a step that symbols stand for: every second place on the fine grid, on its even side or on
    its odd one.
    """
    points = 2 * symbols - (np.sign(symbols) * quantiser).astype(np.int32)
    return np.int32(FINE_UNIT) * points
