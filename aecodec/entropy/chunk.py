"""The symbols of one chunk <-> payloads: the hyper-latents, then the residuals in five steps.

They have a payload each, six in all, or share a single one. The order of coding of residuals is raster order
over positions (row, then column), and at each position ascending channels of the group of the step; the first
two steps have waves of them (`aecodec.entropy.adaptation`). That of hyper-latents is by diagonals
(`aecodec.entropy.hyper`). The normative text is sections 9 and 10 of ``formats/aec.md``. Encoder and decoder
stand side by side, and walk the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.adaptation import (
    Adaptation,
    ChunkIndices,
    CodedStep,
    Places,
    check_group_size,
    fixed_residuals,
)
from aecodec.entropy.coder import PayloadReader, PayloadWriter, symbols_and_tables
from aecodec.entropy.hyper import HyperTables, checked_grid
from aecodec.entropy.scales import STEP_COUNT, IntegerScaleNetwork, put_step, take_step
from aecodec.entropy.tables import Tables
from aecodec.errors import CorruptedError, InputError, ModelError

PART_COUNT: Final = 1 + STEP_COUNT
"""Of a chunk: its hyper-latents, and its residuals in steps."""

_CELL: Final = 4  # positions of residuals along each side of one position of hyper-latents


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """What the symbols of a model are coded with.

    Attributes:
        hyper: the tables of hyper-latents.
        steps: those of the residuals of each step.
        scale_network: chooses among the latter.
        adaptation: corrects its choice in the first two steps.

    Raises:
        ModelError: the parts do not belong together.
    """

    hyper: HyperTables
    steps: tuple[Tables, ...]
    scale_network: IntegerScaleNetwork
    adaptation: Adaptation

    def __post_init__(self) -> None:
        first_dependent = {tables.first_dependent for tables in self.steps}
        if len(self.steps) != STEP_COUNT or len(first_dependent) != 1:
            raise ModelError(
                f"Expected the tables of {STEP_COUNT} steps with one first dependent index. Found "
                f"{len(self.steps)} with {sorted(first_dependent)}. Reinstall the model."
            )
        if self.hyper.channels != self.scale_network.hyper_channels:
            raise ModelError(
                f"Expected tables for {self.scale_network.hyper_channels} channels of hyper-latents. Found "
                f"{self.hyper.channels}. Reinstall the model."
            )
        check_group_size(self.adaptation, self.scale_network)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> EntropyModel:
        """Read the arrays ``tables/...``, ``scales/...`` and ``adaptation/...`` of a model.

        Raises:
            ModelError: An array is missing, malformed, or breaks a bound.
        """
        steps = tuple(Tables.from_arrays(arrays, step_source(step)) for step in range(STEP_COUNT))
        network, adaptation = IntegerScaleNetwork.from_arrays(arrays), Adaptation.from_arrays(arrays)
        return cls(HyperTables.from_arrays(arrays), steps, network, adaptation)

    @property
    def first_dependent(self) -> int:
        """The least table index of dependent residuals, the same in all steps."""
        return self.steps[0].first_dependent


def step_source(step: int) -> str:
    """What the tables of a step are named by in the arrays of a model."""
    return f"step{step}"


@dataclass(frozen=True)
class ChunkBytes:
    """The payloads of one chunk, as far as they are there.

    Attributes:
        payloads: one for each part (the hyper-latents, then the steps), up to six in the order of decoding;
            if joined, at most one.
        joined: whether all parts share a payload. Its bytes are in reverse order, so that what is decoded
            first stands first.
        missing: how many bytes are missing at the end of a joined payload.
        damaged: whether it is one whose checksum is wrong, or missing as well.
    """

    payloads: tuple[bytes, ...]
    joined: bool = False
    missing: int = 0
    damaged: bool = False

    @property
    def whole(self) -> bool:
        """Whether all is there, undamaged."""
        there = len(self.payloads) == (1 if self.joined else PART_COUNT)
        return there and not self.missing and not self.damaged

    @property
    def size(self) -> int:
        """Bytes of the payloads."""
        return sum(map(len, self.payloads))


def encode_chunk(
    z: NDArray[np.int16],
    r: NDArray[np.int16],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
    joined: bool = False,
) -> ChunkBytes:
    """Code the symbols of one chunk.

    Args:
        z: int16 (h, w, Z), -32767..32767: the hyper-latents.
        r: int16 (4 * h, 4 * w, L), the residuals in eighths of a quantisation step.
        level: 0..224.
        model: The entropy model.
        dependent: Whether residuals are dependent from ``model.first_dependent`` on; else all are
            plain.
        coefficients: int16 (coefficient,), of the chunk's post-filter, in a file that has them.
        joined: Whether into one payload.

    Raises:
        InputError: A shape, a dtype, a symbol or the level is not as above; or residuals are no points of
            their quantiser.
    """
    _check_planes(z, r, model)
    steps = tuple(_coded_steps(z, r, level, model))
    return encode_steps(z, steps, level, model, dependent=dependent, coefficients=coefficients, joined=joined)


def encode_steps(
    z: NDArray[np.int16],
    steps: Sequence[CodedStep],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
    joined: bool = False,
) -> ChunkBytes:
    """Code the symbols of one chunk whose table indices are known.

    Args:
        z: As for :func:`encode_chunk`, as are the others.
        steps: The five steps.
        level: As for :func:`encode_chunk`.
        model: As for :func:`encode_chunk`.
        dependent: As for :func:`encode_chunk`.
        coefficients: As for :func:`encode_chunk`.
        joined: As for :func:`encode_chunk`.

    Raises:
        InputError: As for :func:`encode_chunk`.
    """
    shared = PayloadWriter()
    writers = [shared if joined else PayloadWriter() for _ in range(PART_COUNT)]
    of_hyper_latents, *of_steps = writers
    coded = tuple(zip(of_steps, steps, model.steps, strict=True))
    for writer, step, tables in reversed(coded):
        writer.push_residuals(step, tables, dependent=dependent)
    of_hyper_latents.push_hyper_latents(z, level, model.hyper, coefficients)
    if joined:
        return ChunkBytes((shared.payload()[::-1],), joined=True)
    return ChunkBytes(tuple(writer.payload() for writer in writers))


def _coded_steps(
    z: NDArray[np.int16], r: NDArray[np.int16], level: int, model: EntropyModel
) -> Iterator[CodedStep]:
    """The steps of a chunk whose symbols are known."""
    indices = ChunkIndices(z, level, model.scale_network, model.adaptation)
    for step in range(STEP_COUNT):
        of_step = take_step(r, step).ravel()
        yield indices.code(step, indices.of_network(step, r), fixed_residuals(of_step))


def decode_chunk(
    data: ChunkBytes,
    shape: tuple[int, int],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Decode what :func:`encode_chunk` wrote, or as much as a truncated file has of it.

    Args:
        data: The payloads.
        shape: ``(h, w)``, the grid of hyper-latents of the chunk.
        level: 0..224.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.
        coefficients: int16 (coefficient,), of the chunk's post-filter, in a file that has them: filled in.

    Returns:
        ``(z, r)``, int16 (h, w, Z) and int16 (4 * h, 4 * w, L); symbols that are missing are 0.

    Raises:
        CorruptedError: A payload is not one that the encoder writes.
        InputError: There are too many payloads, or the shape or the level is not as above.
    """
    z, r = empty_planes(shape, model)
    for _ in decode_parts(data, z, r, level, model, dependent=dependent, coefficients=coefficients):
        pass
    return z, r


def empty_planes(shape: tuple[int, int], model: EntropyModel) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """``(z, r)`` of a chunk of which nothing is known, for :func:`decode_parts`: zeros.

    Args:
        shape: ``(h, w)``, the grid of hyper-latents of the chunk.
        model: The entropy model.

    Returns:
        int16 (h, w, Z) and int16 (4 * h, 4 * w, L).

    Raises:
        InputError: The shape is not as above.
    """
    height, width = checked_grid(shape)
    network = model.scale_network
    z = np.zeros((height, width, network.hyper_channels), np.int16)
    return z, np.zeros((_CELL * height, _CELL * width, network.latent_channels), np.int16)


def decode_parts(
    data: ChunkBytes,
    z: NDArray[np.int16],
    r: NDArray[np.int16],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
) -> Iterator[None]:
    """Decode a chunk in place, part by part: the hyper-latents, then the steps, as far as they are there.

    Args:
        data: As for :func:`decode_chunk`, as are level, model, ``dependent`` and ``coefficients``; these are
            filled in with the hyper-latents.
        z: int16 (h, w, Z), filled in.
        r: int16 (4 * h, 4 * w, L), zeros, filled in step by step.

    Yields:
        After each part.

    Raises:
        CorruptedError: As for :func:`decode_chunk`.
        InputError: There are more than 6 payloads, or if joined, more than one.
    """
    most = 1 if data.joined else PART_COUNT
    if len(data.payloads) > most:
        raise InputError(f"Expected at most {most} payload(s) of a chunk. Received {len(data.payloads)}.")
    chunk = _ChunkDecoder(z, r, level, model, dependent, coefficients)
    yield from _decode_joined(data, chunk) if data.joined else _decode_each(data, chunk)


def _decode_each(data: ChunkBytes, chunk: _ChunkDecoder) -> Iterator[None]:
    """Parts that have a payload each."""
    for part, payload in enumerate(data.payloads):
        reader = PayloadReader(payload)
        symbols = chunk.pull(part, reader)
        reader.finish()
        chunk.keep(part, symbols)
        yield


def _decode_joined(data: ChunkBytes, chunk: _ChunkDecoder) -> Iterator[None]:
    """Parts that share a payload; where it is cut off, those before the cut."""
    payload = b"".join(data.payloads)
    if not payload and (data.missing or not data.payloads):
        return
    # Of the bytes that are missing, only those that share a word with others have a place.
    stand_ins = (data.missing - 1) % 4 + 1 if data.missing else 0
    reader = PayloadReader(bytes(stand_ins) + payload[::-1], stand_ins)
    for part in range(PART_COUNT):
        try:
            symbols = chunk.pull(part, reader)
        except CorruptedError:
            if reader.past_the_cut:
                return
            raise
        if reader.past_the_cut:
            return
        if part == PART_COUNT - 1 and data.whole:
            reader.finish()
        chunk.keep(part, symbols)
        yield


class _ChunkDecoder:
    """The symbols of a chunk while they are decoded; arguments as for `decode_parts`."""

    def __init__(
        self,
        z: NDArray[np.int16],
        r: NDArray[np.int16],
        level: int,
        model: EntropyModel,
        dependent: bool,
        coefficients: NDArray[np.int16] | None,
    ) -> None:
        self._z, self._r, self._coefficients = z, r, coefficients
        self._level, self._model, self._dependent = level, model, dependent
        self._indices: ChunkIndices | None = None

    def pull(self, part: int, reader: PayloadReader) -> tuple[NDArray[np.int16], ...]:
        """Decode the next part, 0..5: the arguments of `keep` behind it."""
        if part == 0:
            shape, hyper, coefficients = self._z.shape[:2], self._model.hyper, self._coefficients
            found = None if coefficients is None else coefficients.copy()
            z = reader.pull_hyper_latents(shape, self._level, hyper, found)
            return (z,) if found is None else (z, found)
        return (self._pull_step(part - 1, reader),)

    def _pull_step(self, step: int, reader: PayloadReader) -> NDArray[np.int16]:
        if self._indices is None:
            self._indices = ChunkIndices(
                self._z, self._level, self._model.scale_network, self._model.adaptation
            )
        tables, dependent = self._model.steps[step], self._dependent

        def pull(_: Places, indices: NDArray[np.uint8]) -> NDArray[np.int16]:
            return reader.pull_wave(indices, tables, dependent=dependent)

        of_network = self._indices.of_network(step, self._r)
        return self._indices.code(step, of_network, pull).residuals.reshape(of_network.shape)

    def keep(self, part: int, symbols: tuple[NDArray[np.int16], ...]) -> None:
        """Put what was decoded into its planes."""
        if part:
            put_step(self._r, part - 1, *symbols)
            return
        planes = (self._z,) if self._coefficients is None else (self._z, self._coefficients)
        for plane, found in zip(planes, symbols, strict=True):
            plane[...] = found


def estimate_bits(
    z: NDArray[np.int16], r: NDArray[np.int16], level: int, model: EntropyModel, *, dependent: bool
) -> NDArray[np.float64]:
    """What the symbols of a chunk cost, summed from the tables without coding.

    Args:
        z: As for :func:`encode_chunk`, as are the others.
        r: As for :func:`encode_chunk`.
        level: 0..224.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.

    Returns:
        float64 (6,), in bits: the hyper-latents and the five steps. A payload is longer by up to
        some four bytes.

    Raises:
        InputError: As for :func:`encode_chunk`.
    """
    coded = coded_symbols(z, r, level, model, dependent=dependent)
    hyper = model.hyper.tables.cost_in_bits(*model.hyper.symbols_and_tables(z, level)).sum()
    steps = [tables.cost_in_bits(*part).sum() for tables, part in zip(model.steps, coded, strict=True)]
    return np.array([hyper, *steps], np.float64)


def coded_symbols(
    z: NDArray[np.int16], r: NDArray[np.int16], level: int, model: EntropyModel, *, dependent: bool
) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    """For each step the symbols of its residuals, in no order, and the table, 0..191, that codes each.

    Args:
        z: As for :func:`encode_chunk`, as are the others.
        r: As for :func:`encode_chunk`.
        level: 0..224.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.

    Raises:
        InputError: As for :func:`encode_chunk`.
    """
    _check_planes(z, r, model)
    return [
        _symbols_of(step, tables, dependent=dependent)
        for step, tables in zip(_coded_steps(z, r, level, model), model.steps, strict=True)
    ]


def _symbols_of(
    step: CodedStep, tables: Tables, *, dependent: bool
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    waves = [
        symbols_and_tables(step.residuals[places], indices, tables, dependent=dependent)
        for places, indices in step.waves
    ]
    symbols, numbers = zip(*waves, strict=True)
    return np.concatenate(symbols), np.concatenate(numbers)


def _check_planes(z: NDArray[np.int16], r: NDArray[np.int16], model: EntropyModel) -> None:
    network = model.scale_network
    height, width = z.shape[:2] if z.ndim == 3 else (0, 0)
    expected_z = (height, width, network.hyper_channels)
    expected_r = (_CELL * height, _CELL * width, network.latent_channels)
    if (
        z.dtype != np.int16
        or r.dtype != np.int16
        or not z.size
        or z.shape != expected_z
        or r.shape != expected_r
    ):
        raise InputError(
            f"Expected hyper-latents int16 (h, w, {network.hyper_channels}) and residuals int16 (4 h, 4 w, "
            f"{network.latent_channels}). Received {z.dtype} {z.shape} and {r.dtype} {r.shape}."
        )
