"""The tables of the hyper-latents: by channel, level, and what stands above and to the left.

What a hyper-latent will be is told in part by those of its channel around it: its *context* is the sum of the
one above and the one to the left. Distributions do not change when all signs do, so a sum below zero is
treated as its opposite, with the symbol that is coded. All hyper-latents whose row and column have the same
sum, a *diagonal*, have their contexts before them, and are coded together. Everything here is integers: it is
part of the decoder. The coefficients of a chunk's post-filter, where a file has them, are coded before them
and with tables of theirs. The normative text is section 10.1 of ``formats/aec.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.scales import NODE_COUNT, checked_level
from aecodec.entropy.tables import MAX_SYMBOL, TABLE_COUNT, Tables, read_only, taken
from aecodec.errors import InputError, ModelError

CONTEXT_COUNT: Final = 3

_SOURCE: Final = "hyper_latents"
_CHOICE: Final = f"tables/{_SOURCE}/choice"
_OF_FILTER: Final = f"tables/{_SOURCE}/of_filter"


@dataclass(frozen=True, eq=False)
class HyperTables:
    """What codes the hyper-latents of a model.

    Attributes:
        tables: of the source.
        choice: uint8 (node, context, channel), 0..191: which of them.
        of_filter: uint8 (coefficient,), 0..191: those of the coefficients of post-filters.

    Raises:
        ModelError: A choice has another dtype or shape, or other numbers.
    """

    tables: Tables
    choice: NDArray[np.uint8]
    of_filter: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        choice = self.choice
        if choice.dtype != np.uint8 or choice.ndim != 3 or choice.shape[:2] != (NODE_COUNT, CONTEXT_COUNT):
            raise ModelError(
                f"Expected '{_CHOICE}' as uint8 ({NODE_COUNT}, {CONTEXT_COUNT}, hyper channels). Found "
                f"{choice.dtype} {choice.shape}. Reinstall the model."
            )
        if self.of_filter.dtype != np.uint8 or self.of_filter.ndim != 1:
            raise ModelError(
                f"Expected '{_OF_FILTER}' as uint8 (coefficients,). Found {self.of_filter.dtype} "
                f"{self.of_filter.shape}. Reinstall the model."
            )
        if not choice.size or max(choice.max(), self.of_filter.max(initial=0)) >= TABLE_COUNT:
            raise ModelError(
                f"Expected 0..{TABLE_COUNT - 1} in '{_CHOICE}' and '{_OF_FILTER}'. Reinstall the model."
            )
        object.__setattr__(self, "choice", read_only(choice))
        object.__setattr__(self, "of_filter", read_only(self.of_filter))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> HyperTables:
        """Take the arrays ``tables/hyper_latents/...`` out of those of a model.

        Raises:
            ModelError: An array is missing, or breaks a rule of the class.
        """
        tables = Tables.from_arrays(arrays, _SOURCE, dependent=False)
        return cls(tables, taken(arrays, _CHOICE), taken(arrays, _OF_FILTER))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_arrays` reads."""
        choices = {_CHOICE: self.choice, _OF_FILTER: self.of_filter}
        return self.tables.to_arrays(_SOURCE, dependent=False) | choices

    @property
    def channels(self) -> int:
        """Of the hyper-latents."""
        return int(self.choice.shape[2])

    @property
    def coefficient_count(self) -> int:
        """Of a post-filter."""
        return len(self.of_filter)

    def symbols_and_tables(
        self, z: NDArray[np.int16], level: int
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The symbols that hyper-latents are coded as, and the table, 0..191, of each.

        Args:
            z: int16 (h, w, channel).
            level: 0..224.

        Returns:
            int32 and uint8, shaped as ``z``.

        Raises:
            InputError: The level is outside of its range.
        """
        symbols, contexts = symbols_and_contexts(z)
        return symbols, self.at_level(level)[contexts, np.arange(self.channels)]

    def at_level(self, level: int) -> NDArray[np.uint8]:
        """uint8 (context, channel), 0..191: the tables at a level 0..224.

        Raises:
            InputError: The level is outside of its range.
        """
        chosen: NDArray[np.uint8] = self.choice[nearest_node(level)]
        return chosen


def symbols_and_contexts(z: NDArray[np.int16]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The symbols of hyper-latents (h, w, channel), and their contexts, 0..2."""
    _, symbols, contexts = _signs_symbols_contexts(z)
    return symbols, contexts


def _signs_symbols_contexts(
    z: NDArray[np.int16],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.intp]]:
    plane = bordered(z.shape)
    plane[1:, 1:] = z
    signs, contexts = signs_and_contexts(plane[:-1, 1:], plane[1:, :-1])
    return signs, signs * plane[1:, 1:], contexts


def slope_of_hyper_rate(z: NDArray[np.int16], level: int, hyper: HyperTables) -> NDArray[np.float32]:
    """By how many bits a chunk costs more for each whole number that a hyper-latent rises, the contexts as
    they are; for encoders.

    Args:
        z: int16 (h, w, channel).
        level: 0..224.
        hyper: Their tables.

    Returns:
        float32, shaped as ``z``: half of the difference between the next higher and the next lower number.
    """
    signs, symbols, contexts = _signs_symbols_contexts(z)
    numbers = hyper.at_level(level)[contexts, np.arange(hyper.channels)]
    neighbours = (np.clip(symbols + move, -MAX_SYMBOL, MAX_SYMBOL) for move in (1, -1))
    higher, lower = (hyper.tables.cost_in_bits(neighbour, numbers) for neighbour in neighbours)
    slope: NDArray[np.float32] = (signs * (higher - lower) / 2).astype(np.float32)
    return slope


def signs_and_contexts(
    above: NDArray[np.int32], left: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """What a hyper-latent is times its symbol, 1 or -1, and the context of the symbol, 0..2, by the
    hyper-latents of its channel above and to the left, which are 0 outside of the chunk.
    """
    total = above + left
    contexts = np.minimum(np.abs(total), CONTEXT_COUNT - 1).astype(np.intp)
    return np.where(total < 0, np.int32(-1), np.int32(1)), contexts


def nearest_node(level: int) -> int:
    """Of the level nodes, 0..7, the one that is nearest to a level; of two, the higher one.

    Raises:
        InputError: The level is not in 0..224.
    """
    return (checked_level(level) + 16) >> 5


def checked_grid(shape: tuple[int, int]) -> tuple[int, int]:
    """``(h, w)`` of the hyper-latents of a chunk.

    Raises:
        InputError: These are not two numbers of at least 1.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"Expected the grid of a chunk as (h, w), each at least 1. Received {shape}.")
    return shape


def bordered(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Zeros (h + 1, w + 1, channel), with a row above and a column to the left of (h, w, channel)."""
    height, width, channels = shape
    return np.zeros((height + 1, width + 1, channels), np.int32)


def diagonals_of(shape: tuple[int, int]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Of each diagonal of (h, w) the rows, from its top, and the columns."""
    height, width = shape
    for total in range(height + width - 1):
        rows = np.arange(max(0, total - width + 1), min(height, total + 1))
        yield rows, total - rows
