"""The symbols of one chunk <-> six byte strings: the hyper-latents, then the residuals in five steps.

The order of coding of residuals is raster order over positions (row, then column), and at each position
ascending channels of the group of the step; the first two steps have waves of them
(`aecodec.entropy.adaptation`). That of hyper-latents is by diagonals (`aecodec.entropy.hyper`).
The normative text is section 10 of ``formats/aec.md``. Encoder and decoder stand side by side, and walk the
same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.adaptation import Adaptation, ChunkIndices, CodedStep, check_group_size, fixed_residuals
from aecodec.entropy.coder import (
    ResidualDecoder,
    decode_hyper_latents,
    encode_hyper_latents,
    encode_residuals,
    symbols_and_tables,
)
from aecodec.entropy.hyper import HyperTables, checked_grid
from aecodec.entropy.scales import STEP_COUNT, IntegerScaleNetwork, put_step, take_step
from aecodec.entropy.tables import Tables
from aecodec.errors import InputError, ModelError

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
    """The payloads of one chunk.

    Attributes:
        hyper_latents: Of the section HYPER_LATENTS.
        residuals: Of the sections RESIDUALS_0..4, one for each step.
    """

    hyper_latents: bytes
    residuals: tuple[bytes, ...]

    def __iter__(self) -> Iterator[bytes]:
        """The six payloads in the order of decoding."""
        return iter((self.hyper_latents, *self.residuals))


def encode_chunk(
    z: NDArray[np.int16],
    r: NDArray[np.int16],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
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

    Raises:
        InputError: A shape, a dtype, a symbol or the level is not as above; or residuals are no points of
            their quantiser.
    """
    _check_planes(z, r, model)
    payloads = tuple(
        encode_residuals(step, tables, dependent=dependent)
        for step, tables in zip(_coded_steps(z, r, level, model), model.steps, strict=True)
    )
    return ChunkBytes(encode_hyper_latents(z, level, model.hyper, coefficients), payloads)


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
    """Decode what :func:`encode_chunk` wrote.

    Args:
        data: The six payloads.
        shape: ``(h, w)``, the grid of hyper-latents of the chunk.
        level: 0..224.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.
        coefficients: int16 (coefficient,), of the chunk's post-filter, in a file that has them: filled in.

    Returns:
        ``(z, r)``, int16 (h, w, Z) and int16 (4 * h, 4 * w, L).

    Raises:
        CorruptedError: A payload is not one that the encoder writes.
        InputError: The shape or the level is not as above.
    """
    return decode_chunk_partial(
        tuple(data), shape, level, model, dependent=dependent, coefficients=coefficients
    )


def decode_chunk_partial(
    payloads: Sequence[bytes],
    shape: tuple[int, int],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Decode as many payloads of a chunk as a truncated file has.

    Args:
        payloads: The first 0 to 6 payloads: the hyper-latents, then the steps.
        shape: ``(h, w)``, the grid of hyper-latents of the chunk.
        level: 0..224.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.
        coefficients: As for :func:`decode_chunk`.

    Returns:
        ``(z, r)`` as :func:`decode_chunk`; symbols whose payload is missing are 0.

    Raises:
        CorruptedError: A payload is not one that the encoder writes.
        InputError: There are more than 6 payloads, or the shape or the level is not as above.
    """
    if len(payloads) > 1 + STEP_COUNT:
        raise InputError(f"Expected at most {1 + STEP_COUNT} payloads of a chunk. Received {len(payloads)}.")
    z, r = empty_planes(shape, model)
    for _ in decode_payloads(payloads, z, r, level, model, dependent=dependent, coefficients=coefficients):
        pass
    return z, r


def empty_planes(shape: tuple[int, int], model: EntropyModel) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """``(z, r)`` of a chunk of which nothing is known, for :func:`decode_payloads`: zeros.

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


def decode_payloads(
    payloads: Sequence[bytes],
    z: NDArray[np.int16],
    r: NDArray[np.int16],
    level: int,
    model: EntropyModel,
    *,
    dependent: bool,
    coefficients: NDArray[np.int16] | None = None,
) -> Iterator[None]:
    """Decode the payloads of a chunk in place, one at a time.

    Args:
        payloads: As for :func:`decode_chunk_partial`, as are level, model, ``dependent`` and
            ``coefficients``; these are filled in from the first payload.
        z: int16 (h, w, Z), filled in from the first payload.
        r: int16 (4 * h, 4 * w, L), zeros, filled in step by step from the others.

    Yields:
        After each payload.

    Raises:
        CorruptedError: As for :func:`decode_chunk_partial`.
    """
    if payloads:
        z[...] = decode_hyper_latents(payloads[0], z.shape[:2], level, model.hyper, coefficients)
        yield
    if len(payloads) > 1:
        indices = ChunkIndices(z, level, model.scale_network, model.adaptation)
        for step, data in enumerate(payloads[1:]):
            decode_residual_step(step, data, indices, r, model, dependent=dependent)
            yield


def decode_residual_step(
    step: int,
    data: bytes,
    indices: ChunkIndices,
    r: NDArray[np.int16],
    model: EntropyModel,
    *,
    dependent: bool,
) -> None:
    """Decode the residuals of one step into ``r``, in place.

    Args:
        step: 0..4. The former steps must be in ``r`` already.
        data: The payload of the section RESIDUALS_<step>.
        indices: Of the chunk, which has seen the former steps.
        r: int16 (4 * h, 4 * w, L). What the step codes is overwritten, the rest kept.
        model: The entropy model.
        dependent: As for :func:`encode_chunk`.

    Raises:
        CorruptedError: The payload is not one that the encoder writes; ``r`` is unchanged, ``indices`` is of
            no use any more.
        InputError: A shape or the step is not as above.
    """
    of_network = indices.of_network(step, r)
    decoder = ResidualDecoder(data, model.steps[step], dependent=dependent)
    coded = indices.code(step, of_network, lambda _, of_wave: decoder.wave(of_wave))
    decoder.finish()
    put_step(r, step, coded.residuals.reshape(of_network.shape))


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
