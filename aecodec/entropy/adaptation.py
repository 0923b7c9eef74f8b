"""Table indices of the first two steps, corrected by what the residuals around have turned out to be.

The first two steps know least, and cost a third of all bits. Where the scale network expects too much of a
residual, or too little, it mostly does so of the residuals around it as well, and in their neighbours among
the channels. These steps are therefore coded in four waves, of which each learns from those before it (as the
error energy of neighbours corrects a predictor's context: Wu and Memon, "Context-based, adaptive, lossless
image coding", IEEE Trans. Comm. 1997). What is learned is called *surprise*: the logarithm of the ratio of
magnitudes found to those expected, of a band of channels within a distance of two positions. A
weighted sum of surprises, in integers, moves the index. The later steps know enough, and have one wave.

The normative text is section 10.6 of ``formats/aec.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.scales import GROUP_COUNT, IntegerScaleNetwork, positions_of
from aecodec.entropy.tables import INDEX_COUNT, RESIDUAL_UNIT, taken
from aecodec.errors import ModelError

ADAPTED_STEPS: Final = 2
WAVE_COUNT: Final = 4
BAND: Final = 4
"""Neighbouring channels of a group whose surprise is taken together."""
MAGNITUDE_LIMIT: Final = 8 * RESIDUAL_UNIT
"""Larger residuals, in eighths of a step, count as this."""
EXPECTED_UNIT: Final = 16
"""Expected magnitudes are in so many parts of an eighth."""
SURPRISE_LIMIT: Final = 127
SURPRISE_OCTAVE: Final = 32
"""What twice the expected magnitude is as a surprise."""

_FLOOR: Final = 6  # eighths that are added to both magnitudes, so that few small residuals tell little
_REACH: Final = 2
_DIAMOND: Final = tuple(
    (row, column)
    for row in range(-_REACH, _REACH + 1)
    for column in range(-_REACH, _REACH + 1)
    if 0 < abs(row) + abs(column) <= _REACH
)
_EXACT: Final = 1 << 24
_LARGEST_SHIFT: Final = 16

Places: TypeAlias = NDArray[np.intp] | slice
Choose: TypeAlias = Callable[[Places, NDArray[np.uint8]], NDArray[np.int16]]
"""(places of residuals in the coding order of the step, their table indices) -> the residuals, int16, in
eighths of a step."""


@dataclass(frozen=True, eq=False)
class Adaptation:
    """How surprise moves table indices. C is the number of channels of a group, B that of its bands.

    Attributes:
        expected: int16 (step, index), 0..1024: the magnitude of a residual to expect where the scale network
            says this index, in 128ths of a step.
        weight: int8 (step, wave, C, B + 1), -127..127: of the surprises of the bands, and, last, of that of
            the residual's own channel.
        bias: int32 (step, wave, C).
        shift: the sum is divided by two to this power, 1..16.

    Raises:
        ModelError: a shape, a dtype or a value is not as above, or sums may reach 2**24.
    """

    expected: NDArray[np.int16]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    shift: int

    def __post_init__(self) -> None:
        steps = (ADAPTED_STEPS, WAVE_COUNT)
        channels = self.weight.shape[2] if self.weight.ndim == 4 else 0
        shapes: dict[str, tuple[NDArray[Any], type, tuple[int, ...]]] = {
            "expected": (self.expected, np.int16, (ADAPTED_STEPS, INDEX_COUNT)),
            "weight": (self.weight, np.int8, (*steps, channels, channels // BAND + 1)),
            "bias": (self.bias, np.int32, (*steps, channels)),
        }
        for name, (array, dtype, shape) in shapes.items():
            if array.dtype != dtype or array.shape != shape:
                raise ModelError(
                    f"Expected 'adaptation/{name}' as {np.dtype(dtype)} {shape}. Found {array.dtype} "
                    f"{array.shape}. Reinstall the model."
                )
        if not channels or channels % BAND:
            raise ModelError(
                f"Expected bands of {BAND} channels in 'adaptation/weight'. Found {channels} channels. "
                "Reinstall the model."
            )
        self._check_values()

    def _check_values(self) -> None:
        least, most = int(self.expected.min()), int(self.expected.max())
        if least < 0 or most > EXPECTED_UNIT * MAGNITUDE_LIMIT:
            raise ModelError(
                f"Expected 'adaptation/expected' in 0..{EXPECTED_UNIT * MAGNITUDE_LIMIT}. Found "
                f"{least}..{most}. Reinstall the model."
            )
        if not 1 <= self.shift <= _LARGEST_SHIFT:
            raise ModelError(
                f"Expected 'adaptation/shift' in 1..{_LARGEST_SHIFT}. Found {self.shift}. Reinstall the "
                "model."
            )
        largest = SURPRISE_LIMIT * np.abs(self.weight.astype(np.int64)).sum(axis=-1)
        worst = int((largest + np.abs(self.bias.astype(np.int64))).max()) + (1 << (self.shift - 1))
        if worst >= _EXACT:
            raise ModelError(
                f"Expected sums below 2**24 in 'adaptation', which float32 computes exactly. Found that they "
                f"can reach {worst}. Do not use this model."
            )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Adaptation:
        """Read the arrays ``adaptation/...`` of a model.

        Raises:
            ModelError: An array is missing, or breaks a rule of the class.
        """
        names = ("expected", "weight", "bias", "shift")
        expected, weight, bias, shift = (taken(arrays, f"adaptation/{name}") for name in names)
        if shift.dtype != np.int32 or shift.shape:
            raise ModelError(
                f"Expected 'adaptation/shift' as int32 (). Found {shift.dtype} {shift.shape}. Reinstall the "
                "model."
            )
        return cls(expected, weight, bias, int(shift))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_arrays` reads."""
        return {
            "adaptation/expected": self.expected,
            "adaptation/weight": self.weight,
            "adaptation/bias": self.bias,
            "adaptation/shift": np.array(self.shift, np.int32),
        }

    @classmethod
    def neutral(cls, channels: int) -> Adaptation:
        """One that moves no index, for groups of so many channels."""
        steps = (ADAPTED_STEPS, WAVE_COUNT, channels)
        return cls(
            np.zeros((ADAPTED_STEPS, INDEX_COUNT), np.int16),
            np.zeros((*steps, channels // BAND + 1), np.int8),
            np.zeros(steps, np.int32),
            1,
        )

    @property
    def group_size(self) -> int:
        """Channels of a group."""
        return int(self.weight.shape[2])


@dataclass(frozen=True, eq=False)
class CodedStep:
    """The residuals of a step, and how they are coded.

    Attributes:
        residuals: int16 (residual,), eighths of a step, in coding order.
        waves: of each wave the places of its residuals in that order, and their table indices, uint8.
    """

    residuals: NDArray[np.int16]
    waves: tuple[tuple[Places, NDArray[np.uint8]], ...]


class ChunkIndices:
    """The table indices of a chunk, as encoder and decoder come to know them, step by step and wave by wave.

    The steps are to be walked in order, each once; after an error the object is of no use.

    Args:
        z: int16 (h, w, Z), the hyper-latents.
        level: 0..224.
        network: says what to expect.
        adaptation: corrects it.

    Raises:
        InputError: The hyper-latents or the level are not as above.
    """

    def __init__(
        self, z: NDArray[np.int16], level: int, network: IntegerScaleNetwork, adaptation: Adaptation
    ) -> None:
        self._level, self._network = level, network
        self._features = network.features(z, level)
        height, width = self._features.shape[:2]
        self._surprise = SurprisePlanes(height, width, adaptation)

    def of_network(self, step: int, r: NDArray[np.int16]) -> NDArray[np.uint8]:
        """The indices that the scale network gives from the former steps' residuals in ``r``: uint8 (height,
        n, L / 4), as :func:`~aecodec.entropy.scales.take_step` gives residuals.
        """
        return self._network.step_indices(step, self._features, r, self._level)

    def code(self, step: int, of_network: NDArray[np.uint8], choose: Choose) -> CodedStep:
        """Walk through the waves of a step.

        Args:
            step: 0..4.
            of_network: of :meth:`of_network`.
            choose: gives the residuals of a wave: an encoder quantises them, a decoder decodes them.
        """
        if step >= ADAPTED_STEPS:
            everything = slice(None)
            indices = of_network.ravel()
            return CodedStep(choose(everything, indices), ((everything, indices),))
        residuals = np.zeros(of_network.shape, np.int16)
        self._surprise.begin(step, of_network)
        waves = []
        for wave in range(WAVE_COUNT):
            of_wave = in_wave(wave, *of_network.shape[:2])
            places = np.flatnonzero(np.repeat(of_wave.ravel(), of_network.shape[2]))
            indices = self._surprise.corrected(step, wave, of_network)[of_wave].ravel()
            residuals.reshape(-1)[places] = choose(places, indices)
            waves.append((places, indices))
            self._surprise.learn(step, wave, residuals)
        return CodedStep(residuals.ravel(), tuple(waves))


def fixed_residuals(residuals: NDArray[np.int16]) -> Choose:
    """Residuals of a step, in coding order, as they are."""
    return lambda places, _: residuals[places]


def in_wave(wave: int, height: int, columns: int) -> NDArray[np.bool_]:
    """(height, columns): which positions of the first or the second step are coded in a wave.

    The positions are those of :func:`~aecodec.entropy.scales.take_step`: column j lies in the cell j of its
    row. Even rows come first, in both kinds of rows the cells of one colour of a checkerboard.
    """
    rows, cells = np.indices((height, columns))
    found: NDArray[np.bool_] = 2 * (rows & 1) + (((rows >> 1) + cells) & 1) == wave
    return found


class SurprisePlanes:
    """What is known of residuals and of what they were expected to be, at each position of a chunk.

    Args:
        height: of the chunk, in positions.
        width: the same.
        adaptation: of the model.
    """

    def __init__(self, height: int, width: int, adaptation: Adaptation) -> None:
        self._adaptation = adaptation
        bands = adaptation.group_size // BAND
        padded = (height + 2 * _REACH, width + 2 * _REACH, bands)
        self._found, self._expected = np.zeros(padded, np.int32), np.zeros(padded, np.int32)
        self._own_channels = self._expected_of_step = np.zeros((0, 0, 0), np.int32)

    def begin(self, step: int, of_network: NDArray[np.uint8]) -> None:
        """Take in the indices that the scale network gives for a step."""
        # (2, height, columns, channel): magnitudes found and expected, where they are known.
        self._own_channels = np.zeros((2, *of_network.shape), np.int32)
        self._expected_of_step = self._adaptation.expected[step][of_network].astype(np.int32)

    def learn(self, step: int, wave: int, residuals: NDArray[np.int16]) -> None:
        """Take in the residuals of a wave, in a plane (height, columns, channel) of the step."""
        of_wave = in_wave(wave, *residuals.shape[:2])
        found, expected = magnitudes(residuals[of_wave]), self._expected_of_step[of_wave]
        self._own_channels[0, of_wave], self._own_channels[1, of_wave] = found, expected
        rows, cells = np.nonzero(of_wave)
        columns = 2 * cells + _columns(step)[rows & 1]
        self._found[rows + _REACH, columns + _REACH] = _of_bands(found)
        self._expected[rows + _REACH, columns + _REACH] = _of_bands(expected)

    def surprises(self, step: int, wave: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the row parity of a wave: (height / 2, columns, band), of the bands, and (height / 2, columns,
        channel), of the own channels.
        """
        row = wave >> 1
        column = _columns(step)[row]
        of_bands = _surprise(*(_around(plane, row, column) for plane in (self._found, self._expected)))
        return of_bands, _surprise(*(_beside(plane[row::2]) for plane in self._own_channels))

    def corrected(self, step: int, wave: int, of_network: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The indices of a wave, in a plane as ``of_network``, of which only those of the wave are meant."""
        adaptation, row = self._adaptation, wave >> 1
        of_bands, own = self.surprises(step, wave)
        weight = adaptation.weight[step, wave].astype(np.float32)
        half = 1 << (adaptation.shift - 1)
        sums = of_bands @ weight[:, :-1].T + own * weight[:, -1]
        sums += (adaptation.bias[step, wave] + half).astype(np.float32)
        moved = of_network.copy()
        moves = np.floor(sums * np.float32(2.0**-adaptation.shift))
        moved[row::2] = np.clip(of_network[row::2] + moves, 0, INDEX_COUNT - 1)
        return moved


def _columns(step: int) -> NDArray[np.intp]:
    """(2,): the column of a cell that a step codes at in an even and in an odd row."""
    return np.array([position & 1 for position in positions_of(step)])


def _of_bands(plane: NDArray[np.int32]) -> NDArray[np.int32]:
    """(position, channel) -> (position, band): sums."""
    sums: NDArray[np.int32] = plane.reshape(len(plane), -1, BAND).sum(axis=2, dtype=np.int32)
    return sums


def _around(padded: NDArray[np.int32], row: int, column: int) -> NDArray[np.int32]:
    """Sums over the neighbours of one position of all 2x2 cells, in a plane with a border."""
    height, width = (side - 2 * _REACH for side in padded.shape[:2])
    total = np.zeros((height // 2, width // 2, padded.shape[2]), np.int32)
    for down, right in _DIAMOND:
        top, left = row + down + _REACH, column + right + _REACH
        total += padded[top : top + height : 2, left : left + width : 2]
    return total


def _beside(plane: NDArray[np.int32]) -> NDArray[np.int32]:
    """(rows, columns, channel): sums over the four neighbours in the same plane."""
    total = np.zeros_like(plane)
    total[1:] += plane[:-1]
    total[:-1] += plane[1:]
    total[:, 1:] += plane[:, :-1]
    total[:, :-1] += plane[:, 1:]
    return total


def _surprise(found: NDArray[np.int32], expected: NDArray[np.int32]) -> NDArray[np.float32]:
    """The logarithm of the ratio of magnitudes, in eighths, to those expected, in parts of an eighth.

    It is in parts of an octave, -127..127.
    """
    rounded = (expected + EXPECTED_UNIT // 2) // EXPECTED_UNIT
    difference = _logarithm(found + _FLOOR) - _logarithm(rounded + _FLOOR)
    surprise: NDArray[np.float32] = np.clip(difference, -SURPRISE_LIMIT, SURPRISE_LIMIT).astype(np.float32)
    return surprise


def _logarithm(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """32 times the logarithm to base 2 of integers from 1 on: whole octaves, and 32 equal parts of each."""
    mantissa, exponent = np.frexp(values.astype(np.float32))
    parts: NDArray[np.int32] = (mantissa * np.float32(2 * SURPRISE_OCTAVE)).astype(np.int32)
    return SURPRISE_OCTAVE * exponent + parts


def check_group_size(adaptation: Adaptation, network: IntegerScaleNetwork) -> None:
    """Raises ModelError where the two do not belong together."""
    if GROUP_COUNT * adaptation.group_size != network.latent_channels:
        raise ModelError(
            f"Expected an adaptation of groups of {network.latent_channels // GROUP_COUNT} channels. Found "
            f"{adaptation.group_size}. Reinstall the model."
        )


def magnitudes(residuals: NDArray[np.int16]) -> NDArray[np.int32]:
    """What surprise counts of residuals, of any shape, in eighths of a step."""
    return np.minimum(np.abs(residuals.astype(np.int32)), MAGNITUDE_LIMIT)
