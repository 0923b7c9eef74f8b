"""The adaptation of table indices within the first two steps, fitted at export.

A linear map from surprises to moves of the index, for each channel and wave, that saves most bits with the
tables of the model: found by Fisher scoring, Newton's method with the curvature that the tables expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import (
    ADAPTED_STEPS,
    EXPECTED_UNIT,
    FINE_UNIT,
    INDEX_COUNT,
    RESIDUAL_UNIT,
    WAVE_COUNT,
    Adaptation,
    IntegerScaleNetwork,
    SurprisePlanes,
    Tables,
    in_wave,
    magnitudes,
    take_step,
)
from aecodec.networks.architecture import GROUPS

ROUNDS = 8
"""Of Fisher scoring."""
DEVIATION = 0.02
"""Of weights, in indices for each unit of surprise, before anything is known of them."""
DEVIATION_OF_BIAS = 2.0
"""The same of biases, in indices."""
SHIFTS = (12, 11, 10, 9, 8)
"""Of the sums: the largest is taken that keeps all weights below 128; with the last, larger ones are cut."""
INT8_MAX = 127
_SYMBOL_LIMIT = 60
"""Magnitude from which on symbols are taken to cost the same."""
_LARGEST = 2 * FINE_UNIT * _SYMBOL_LIMIT
_FAMILIES = 2
_Float: TypeAlias = NDArray[np.float64]
_Places: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class _Residuals:
    """The residuals of a wave of one chunk.

    Attributes:
        of_bands: int8 (position, band), surprises.
        own: int8 (position, channel), the same of the own channels.
        indices: uint8 (position, channel), as the scale network gives them.
        found: uint16 (position, channel), magnitudes in eighths of a step.
    """

    of_bands: NDArray[np.int8]
    own: NDArray[np.int8]
    indices: NDArray[np.uint8]
    found: NDArray[np.uint16]


class AdaptationSamples:
    """Gathers residuals of the first two steps and what surprised around them.

    Args:
        network: gives the indices.
    """

    def __init__(self, network: IntegerScaleNetwork) -> None:
        self._network = network
        self._chunks: list[tuple[NDArray[np.int16], tuple[NDArray[np.uint8], ...]]] = []

    def add(self, z: NDArray[np.int16], r: NDArray[np.int16], level: int) -> None:
        """Gather those of a chunk, ``(z, r)`` as of `aecodec.entropy.encode_chunk`."""
        features = self._network.features(z, level)
        steps = range(ADAPTED_STEPS)
        indices = tuple(self._network.step_indices(step, features, r, level) for step in steps)
        self._chunks.append((r, indices))

    def fitted(self, tables: Sequence[Tables]) -> Adaptation:
        """The adaptation that suits them, with the tables of the steps."""
        group_size = self._network.latent_channels // GROUPS
        expected = np.stack([self._expected(step) for step in range(ADAPTED_STEPS)])
        neutral = Adaptation.neutral(group_size)
        looked_at = Adaptation(expected, neutral.weight, neutral.bias, 1)
        shape = (ADAPTED_STEPS, WAVE_COUNT, group_size)
        weights = np.zeros((*shape, neutral.weight.shape[-1] + 1))
        for step, wave in np.ndindex(*shape[:2]):
            samples = self._wave(step, wave, looked_at)
            if step or wave:
                weights[step, wave] = _fitted_weights(samples, _Costs.of(tables[step]))
        return _in_integers(expected, weights)

    def _expected(self, step: int) -> NDArray[np.int16]:
        """(index,): the mean of what was found, in the unit of `Adaptation.expected`."""
        counts, sums = np.zeros(INDEX_COUNT), np.zeros(INDEX_COUNT)
        for r, indices in self._chunks:
            places = indices[step].ravel()
            counts += np.bincount(places, minlength=INDEX_COUNT)
            sums += np.bincount(places, magnitudes(take_step(r, step)).ravel(), minlength=INDEX_COUNT)
        seen = np.flatnonzero(counts)
        means = np.interp(np.arange(INDEX_COUNT), seen, sums[seen] / counts[seen])
        rounded: NDArray[np.int16] = np.rint(EXPECTED_UNIT * np.maximum.accumulate(means)).astype(np.int16)
        return rounded

    def _wave(self, step: int, wave: int, adaptation: Adaptation) -> _Residuals:
        parts = [_of_chunk(r, indices, step, wave, adaptation) for r, indices in self._chunks]
        return _Residuals(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _of_chunk(
    r: NDArray[np.int16],
    indices: tuple[NDArray[np.uint8], ...],
    step: int,
    wave: int,
    adaptation: Adaptation,
) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.uint8], NDArray[np.uint16]]:
    """The fields of `_Residuals`."""
    planes = SurprisePlanes(r.shape[0], r.shape[1], adaptation)
    residuals = take_step(r, step)
    for former in range(step):
        planes.begin(former, indices[former])
        for earlier in range(WAVE_COUNT):
            planes.learn(former, earlier, take_step(r, former))
    planes.begin(step, indices[step])
    for earlier in range(wave):
        planes.learn(step, earlier, residuals)
    of_wave = in_wave(wave, *residuals.shape[:2])
    of_bands, own = (plane.astype(np.int8)[of_wave[wave >> 1 :: 2]] for plane in planes.surprises(step, wave))
    return of_bands, own, indices[step][of_wave], np.abs(residuals[of_wave]).astype(np.uint16)


@dataclass(frozen=True, eq=False)
class _Costs:
    """What residuals cost by their index, and how much dearer they become for each index that they move up.

    Plain residuals are taken to stay plain, and dependent ones dependent: quantised for one, they are no
    points of the other.

    Attributes:
        first_dependent: the least index of dependent residuals.
        bits: float32 (family, index, magnitude in eighths of a step).
        slope: the same.
    """

    first_dependent: int
    bits: NDArray[np.float32]
    slope: NDArray[np.float32]

    @classmethod
    def of(cls, tables: Tables) -> _Costs:
        """With the tables of a step."""
        first = tables.first_dependent
        bits = tables.bits_table(np.arange(_SYMBOL_LIMIT + 1)).reshape(-1, INDEX_COUNT, _SYMBOL_LIMIT + 1)
        magnitudes = np.arange(_LARGEST + 1)
        plain = bits[0][:, np.minimum(magnitudes // RESIDUAL_UNIT, _SYMBOL_LIMIT)]
        places = magnitudes // FINE_UNIT
        even, odd = (bits[1 + q][:, np.minimum((places + q) // 2, _SYMBOL_LIMIT)] for q in (0, 1))
        dependent = np.where(places & 1, odd, even)
        # Zero belongs to both quantisers: which of them was in turn is not looked up.
        dependent[:, places == 0] = (even + odd)[:, places == 0] / 2
        families = np.stack((plain, dependent)).astype(np.float32)
        slopes = np.gradient(families, axis=1)
        slopes[0, first:] = slopes[0, max(first, 1) - 1]
        slopes[1, :first] = slopes[1, min(first, INDEX_COUNT - 1)]
        return cls(first, families, slopes)

    def places(self, samples: _Residuals, channel: int, moves: _Float) -> _Places:
        """Where the residuals of a channel, moved so far, find what they cost: family, index, magnitude."""
        indices = samples.indices[:, channel]
        family = (indices >= self.first_dependent).astype(np.intp)
        least, most = self.first_dependent * family, np.where(family, INDEX_COUNT, self.first_dependent) - 1
        moved = np.clip(np.rint(indices + moves), least, most).astype(np.intp)
        return family, moved, np.minimum(samples.found[:, channel], _LARGEST).astype(np.intp)


def _fitted_weights(samples: _Residuals, costs: _Costs) -> _Float:
    """(channel, band + 2): indices to move for each unit of surprise, of bands and own channel; the bias."""
    channels = range(samples.indices.shape[1])
    return np.stack([_fitted_channel(samples, costs, channel) for channel in channels])


def _fitted_channel(samples: _Residuals, costs: _Costs, channel: int) -> _Float:
    """(band + 2,): of one channel."""
    own = samples.own[:, channel : channel + 1]
    inputs = np.concatenate([samples.of_bands, own, np.ones_like(own)], axis=1).astype(np.float32)
    best = step = weights = np.zeros(inputs.shape[1])
    least, place = np.inf, costs.places(samples, channel, inputs @ weights)
    for _ in range(ROUNDS):
        bits = float(costs.bits[place].sum(dtype=np.float64))
        if bits < least:
            best, least, step = weights, bits, _newton_step(inputs, weights, costs.slope[place], place)
        else:
            step = step / 2
        weights = best - step
        place = costs.places(samples, channel, inputs @ weights)
    return best


def _newton_step(
    inputs: NDArray[np.float32], weights: _Float, slope: NDArray[np.float32], place: _Places
) -> _Float:
    """Against which weights are to move: the curvature of a likelihood is the mean of its squared slopes
    (Fisher's information), of all residuals with one index.
    """
    family, index, _ = place
    number = index + INDEX_COUNT * family
    count = np.bincount(number, minlength=_FAMILIES * INDEX_COUNT)
    squares = np.bincount(number, np.square(slope), minlength=_FAMILIES * INDEX_COUNT)
    curvature = (np.log(2) * squares / np.maximum(count, 1)).astype(np.float32)[number]
    hessian = (inputs * curvature[:, np.newaxis]).T @ inputs
    prior = np.full(len(hessian), DEVIATION**-2)
    prior[-1] = DEVIATION_OF_BIAS**-2
    gradient = inputs.T @ slope + prior * weights
    step: _Float = np.linalg.solve(hessian + np.diag(prior), gradient)
    return step


def _in_integers(expected: NDArray[np.int16], weights: _Float) -> Adaptation:
    """The adaptation with these weights (step, wave, channel, band + 2), rounded."""
    largest = float(np.abs(weights[..., :-1]).max())
    shift = next((shift for shift in SHIFTS if largest * 2**shift <= INT8_MAX), SHIFTS[-1])
    scaled = np.rint(weights * 2.0**shift)
    weight = np.clip(scaled[..., :-1], -INT8_MAX, INT8_MAX).astype(np.int8)
    return Adaptation(expected, weight, scaled[..., -1].astype(np.int32), shift)
