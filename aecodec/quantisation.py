"""The encoder's choice of residuals: least bits and squared errors, by the tables that will code them.

Plain residuals are rounded one by one, with a threshold that moves up where the larger symbol costs more.
For dependent ones (`aecodec.entropy.dependent`) the best sequence down each column is found by dynamic
programming (Viterbi's algorithm), all columns of a wave at the same time.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import FINE_UNIT, INDEX_COUNT, RESIDUAL_UNIT, STATE_COUNT, Lanes, Tables, next_state

__all__ = ["Quantiser"]

BITS_PER_SQUARED_STEP: Final = 16.0 / 3.0
"""What one squared quantisation step of error costs, in bits: as in training
(`aecodec.networks.quantisation`)."""
OFFSET_LIMIT: Final = 0.4
"""No magnitude is rounded down further than from 0.9 above."""
_SHARE_OF_PLAIN: Final = 0.8
"""Of the strength, for plain residuals among dependent ones: measured on held-out tiles, 0.2 % less rate."""
_PLAIN_LIMIT: Final = 4095
_FINE_LIMIT: Final = 6550
_COST_LIMIT: Final = 400
"""Magnitude from which on symbols are taken to cost the same."""
_Float = NDArray[np.float32]

_HALF: Final = STATE_COUNT // 2
_DEAREST: Final = 2000
"""In 64ths of a bit: no choice counts as dearer above the best one."""
_MEMORY: Final = STATE_COUNT.bit_length() - 1
"""Symbols that a state remembers: any state is that many from any other."""
_ROWS_UNTIL_OVERFLOW: Final = 6
"""Of 16 bits: sums spread over up to `_MEMORY` times the dearest, and grow by it with each row."""
#: Of the fine grid every fourth place has one quantiser and one coset: which places modulo 4.
_RESIDUE_OF_ZERO: Final = (0, 3)


def _arrivals() -> NDArray[np.intp]:
    """(state, 2): for each state the two moves that lead to it.

    States stand here in an order of their own: all of quantiser 0 come first. Move ``STATE_COUNT * coset +
    state`` leaves a state with a point of a coset, that is with a place of the residue ``2 * coset +
    quantiser`` modulo 4.
    """
    order = sorted(range(STATE_COUNT), key=lambda state: (state & 1, state))
    place = {state: position for position, state in enumerate(order)}
    moves: list[list[int]] = [[] for _ in order]
    for coset in (0, 1):
        for state in order:
            goal = next_state(state, coset ^ (state & 1))
            moves[place[goal]].append(STATE_COUNT * coset + place[state])
    return np.array(moves)


_ARRIVALS: Final = _arrivals()


class Quantiser:
    """Chooses residuals that the tables of a step code; each step has a quantiser.

    Args:
        tables: of the step.
        dependent: whether residuals of large indices are dependent.
    """

    def __init__(self, tables: Tables, *, dependent: bool) -> None:
        self._costs = tables.bits_table(np.arange(_COST_LIMIT + 1)).astype(np.float32)
        self._first_dependent = tables.first_dependent if dependent else INDEX_COUNT
        self._share_of_plain = np.float32(_SHARE_OF_PLAIN if dependent else 1)

    def quantise(self, scaled: _Float, indices: NDArray[np.uint8], strength: _Float) -> NDArray[np.int16]:
        """Choose the residuals of a wave.

        Args:
            scaled: float32 (residual,), in coding order, in quantisation steps.
            indices: uint8 (residual,), 0..63, of their tables.
            strength: float32 (residual,), what a bit counts: 0 rounds to the nearest, 1 follows the full
                cost. Between lies the best: a residual rounded away also makes the later steps' predictions
                worse.

        Returns:
            int16 (residual,), in eighths of a step.
        """
        scaled = scaled if np.isfinite(scaled).all() else np.nan_to_num(scaled)
        residuals = np.empty(len(scaled), np.int16)
        plain, lanes = (
            np.flatnonzero(indices < self._first_dependent),
            Lanes.of(indices, self._first_dependent),
        )
        of_plain = self._share_of_plain * strength[plain]
        residuals[plain] = self._plain(scaled[plain], indices[plain], of_plain)
        if len(lanes.order):
            residuals[lanes.order] = self._dependent(scaled[lanes.order], lanes, strength[lanes.order])
        return residuals

    @cached_property
    def _offsets(self) -> _Float:
        """(2 * 64,): by how much the threshold of rounding moves up at full strength, for magnitude 1 and for
        larger ones, by index: rounding to k instead of k - 1 pays when it saves more distortion than it costs
        bits (Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables", 1996).
        """
        costs = self._costs[:INDEX_COUNT]
        steps = np.concatenate([costs[:, 1] - costs[:, 0], costs[:, 3] - costs[:, 2]])
        offsets: _Float = np.maximum(steps, 0) / np.float32(2 * BITS_PER_SQUARED_STEP)
        return offsets

    def _plain(self, scaled: _Float, indices: NDArray[np.uint8], strength: _Float) -> NDArray[np.int16]:
        magnitude = np.abs(scaled)
        offset = self._offsets[indices + INDEX_COUNT * (magnitude >= 1.5)]
        offset = np.minimum(offset * strength, np.float32(OFFSET_LIMIT))
        rounded = np.clip(np.floor(magnitude + np.float32(0.5) - offset), 0, _PLAIN_LIMIT)
        residuals: NDArray[np.int16] = (RESIDUAL_UNIT * np.copysign(rounded, scaled)).astype(np.int16)
        return residuals

    def _dependent(self, scaled: _Float, lanes: Lanes, strength: _Float) -> NDArray[np.int16]:
        """The same of dependent residuals, in the order of the lanes."""
        steps = np.minimum(np.abs(scaled), np.float32(_FINE_LIMIT * FINE_UNIT / RESIDUAL_UNIT))
        magnitude = steps * np.float32(RESIDUAL_UNIT / FINE_UNIT)
        places, costs = self._candidates(magnitude, lanes.indices, strength)
        residues = _best_paths(costs, lanes)
        chosen = FINE_UNIT * np.take_along_axis(places, residues[np.newaxis], axis=0)[0]
        residuals: NDArray[np.int16] = np.where(scaled < 0, -chosen, chosen).astype(np.int16)
        return residuals

    def _candidates(
        self, magnitude: _Float, indices: NDArray[np.uint8], strength: _Float
    ) -> tuple[NDArray[np.int32], _Float]:
        """For each residue modulo 4 of places on the fine grid the best place near a magnitude on that grid:
        int32 (4, residual), and what it costs in bits, float32 (4, residual).

        The four places around a magnitude have all residues. Zero is a choice, too, where it is near: it
        belongs to both quantisers, with an even parity.
        """
        lowest = np.maximum(magnitude.astype(np.int32) - 1, 0)
        places = lowest + ((np.arange(4, dtype=np.int32)[:, None] - lowest) & 3)
        costs = self._costs_of(places, magnitude, indices, strength)
        near = magnitude < 4
        for quantiser in (0, 1):
            zero = self._cost_of_zero(quantiser, magnitude, indices, strength)
            row = _RESIDUE_OF_ZERO[quantiser]
            better = near & (zero < costs[row])
            np.copyto(places[row], 0, where=better)
            np.copyto(costs[row], zero, where=better)
        return places, costs

    def _costs_of(
        self, places: NDArray[np.int32], magnitude: _Float, indices: NDArray[np.uint8], strength: _Float
    ) -> _Float:
        symbols = np.minimum((places + 1) >> 1, _COST_LIMIT)
        table = INDEX_COUNT * (1 + (places & 1)) + indices
        bits = self._costs.ravel().take(table * (_COST_LIMIT + 1) + symbols)
        costs: _Float = self._distortion(places.astype(np.float32) - magnitude) + strength * bits
        return costs

    def _cost_of_zero(
        self, quantiser: int, magnitude: _Float, indices: NDArray[np.uint8], strength: _Float
    ) -> _Float:
        tables = slice(INDEX_COUNT * (1 + quantiser), INDEX_COUNT * (2 + quantiser))
        bits = self._costs[tables, 0].take(indices)
        cost: _Float = self._distortion(magnitude) + strength * bits
        return cost

    @staticmethod
    def _distortion(error: _Float) -> _Float:
        """Bits of errors on the fine grid."""
        weight = np.float32(BITS_PER_SQUARED_STEP * (FINE_UNIT / RESIDUAL_UNIT) ** 2)
        return weight * np.square(error)


def _best_paths(costs: _Float, lanes: Lanes) -> NDArray[np.intp]:
    """The residues modulo 4, (residual,), of the places on the cheapest path down each column.

    Args:
        costs: (4, residual), of the best place of each residue, in the order of the lanes.
        lanes: of the wave.
    """
    count, columns = costs.shape[1], lanes.columns
    rows = len(lanes.rows)
    # Where the last row ends early, all moves are for nothing: they change no path before it.
    dear = np.zeros((4, rows * columns), np.int16)
    dear[:, :count] = _integer_costs(costs)
    by_row = np.ascontiguousarray(dear.reshape(2, 2, rows, columns).transpose(2, 0, 1, 3))
    return _backward(*_forward(by_row.reshape(rows, 2, 2, 1, columns))).ravel()[:count]


def _forward(dear: NDArray[np.int16]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """From the first row to the last.

    Args:
        dear: (row, coset, quantiser, 1, column), the costs of the moves.

    Returns:
        (row, state, column): which of the two moves leads to each state; and (column,): the states in which
        the best paths end.
    """
    rows, _, _, _, columns = dear.shape
    total = np.full((STATE_COUNT, columns), _DEAREST * _MEMORY, np.int16)
    total[0] = 0
    better = np.empty((rows, STATE_COUNT, columns), np.bool_)
    # Views of few buffers, and nothing but four operations a row: with few columns, calls are what costs.
    leaving = total.reshape(2, _HALF, columns)
    moved = np.empty((2, 2, _HALF, columns), np.int16)
    of_moves = moved.reshape(2 * STATE_COUNT, columns)
    arriving = np.empty((2, STATE_COUNT, columns), np.int16)
    arrivals, (one, other) = np.ascontiguousarray(_ARRIVALS.T), arriving
    for number in range(rows):
        np.add(leaving, dear[number], out=moved)
        of_moves.take(arrivals, axis=0, out=arriving, mode="clip")
        np.less(other, one, out=better[number])
        np.minimum(one, other, out=total)
        if number % _ROWS_UNTIL_OVERFLOW == 0:
            total -= total.min(axis=0)
    return better, total.argmin(axis=0)


def _integer_costs(costs: _Float) -> NDArray[np.int16]:
    """Costs above the least of each residual, in 64ths of a bit: sums of them stay exact, and are fast."""
    above = (costs - costs.min(axis=0)) * np.float32(64)
    rounded: NDArray[np.int16] = np.minimum(above, _DEAREST).astype(np.int16)
    return rounded


def _backward(better: NDArray[np.bool_], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """From what `_forward` gives, the residues modulo 4 on the best paths, (row, column)."""
    rows, _, columns = better.shape
    moves = np.empty((rows, columns), np.intp)
    each, of_moves = np.arange(columns), _ARRIVALS.ravel()
    flat = better.reshape(rows, -1)
    for number in range(rows - 1, -1, -1):
        second = flat[number].take(ends * columns + each)
        of_moves.take(2 * ends + second, out=moves[number], mode="clip")
        ends = moves[number] & (STATE_COUNT - 1)
    return 2 * (moves // STATE_COUNT) + (moves & (STATE_COUNT - 1)) // _HALF
