"""Symbols <-> bytes: the only module that imports constriction.

The coder is a 64-bit asymmetric numeral system with 32-bit words and 24-bit frequencies (Duda, "Asymmetric
numeral systems", arXiv:1311.2540), constriction's ``AnsCoder``. The normative text is section 9 of
``formats/aec.md``; what must be known here:

- ``Categorical(frequency - 1, perfect=False)`` reproduces integer frequencies exactly: constriction gives
  each of the ``n`` symbols 1 and shares ``2**24 - n`` in proportion to what it is given, which adds up to
  just that. Every number on the way is an integer below ``2**53``. A test decodes with the frequencies and
  Python integers alone.
- An ANS coder is a stack, so what is decoded first is encoded last. Encoder and decoder stand side by side
  below, and read in opposite directions.
- A state begins at 0 and is 0 again when all has been decoded. Decoding inverts encoding step for step, so
  the check that nothing is left accepts, of all byte strings, only the one that the encoder writes for
  these symbols.
- Dependent residuals (`aecodec.entropy.dependent`) are decoded row by row, hyper-latents
  (`aecodec.entropy.hyper`) diagonal by diagonal: the tables of such a group follow from the symbols of the
  groups before it. Escapes, which have their part in that, follow each group.
- Inside a table the coder's order of symbols is ``0, 1 .. m, escape, -m .. -1`` (the value modulo
  ``2 * m + 2``), and wide tables are decoded first, but for dependent residuals, whose narrow ones are.
  Zeros of narrow tables then leave the state 0 at 0:
  all-zero symbols cost no byte, and the overhead of a payload of 10,000 symbols or more is 1.2 to 2.0 bytes
  on average. In the plain orders it is 2.2 to 3.2 bytes. A range coder loses about as much (0.1 to 1.7 bytes
  to the rounding of its range, then its last interval is cut to whole bytes), and cannot tell its end.
- 300,000 plain residuals over 64 tables take 7 ms to encode and 10 ms to decode on one Sapphire Rapids core.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.adaptation import CodedStep
from aecodec.entropy.dependent import Lanes, advanced, residuals_of
from aecodec.entropy.hyper import HyperTables, bordered, checked_grid, diagonals_of, signs_and_contexts
from aecodec.entropy.tables import (
    ESCAPE_CLASS_BITS,
    INDEX_COUNT,
    MAX_SYMBOL,
    RESIDUAL_UNIT,
    TABLE_COUNT,
    Tables,
    bit_length,
    escape_raw_bits,
)
from aecodec.errors import CorruptedError, InputError

MAX_RESIDUAL: Final = 32767
"""Eighths of a step."""


class PayloadWriter:
    """Codes symbols into one payload. What is to be decoded first is pushed last."""

    def __init__(self) -> None:
        self._stack = _new_stack(b"")

    def push_residuals(self, step: CodedStep, tables: Tables, *, dependent: bool) -> None:
        """Code the residuals of a step; arguments and errors as of :func:`encode_residuals`."""
        for places, indices in reversed(step.waves):
            residuals = step.residuals[places]
            _check_symbols(residuals, indices)
            lanes = _lanes(indices, tables, dependent)
            symbols, numbers = _plain_symbols(residuals, indices, tables, dependent)
            order = _widest_first(numbers)
            _push(self._stack, symbols[order], numbers[order], np.zeros(len(order), np.intp), tables)
            _push_rows(self._stack, *lanes.trace(residuals[lanes.order]), lanes, tables)

    def push_hyper_latents(
        self,
        z: NDArray[np.int16],
        level: int,
        hyper: HyperTables,
        coefficients: NDArray[np.int16] | None = None,
    ) -> None:
        """Code the hyper-latents of a chunk; arguments and errors as of :func:`encode_hyper_latents`."""
        if z.ndim != 3 or z.dtype != np.int16 or z.shape[2] != hyper.channels:
            raise InputError(
                f"Expected hyper-latents int16 (h, w, {hyper.channels}). Received {z.dtype} {z.shape}."
            )
        _check_range(z)
        planes = hyper.symbols_and_tables(z, level)
        symbols, numbers = planes[0].ravel(), planes[1].ravel()
        diagonals = np.add.outer(np.arange(z.shape[0]), np.arange(z.shape[1])).repeat(z.shape[2])
        order = np.argsort(TABLE_COUNT * diagonals - numbers, kind="stable")
        _push(self._stack, symbols[order], numbers[order], diagonals[order], hyper.tables)
        if coefficients is not None:
            _check_coefficients(coefficients, hyper)
            _check_range(coefficients)
            order = _widest_first(hyper.of_filter)
            one_group = np.zeros(len(order), np.intp)
            symbols = coefficients[order].astype(np.int32)
            _push(self._stack, symbols, hyper.of_filter[order], one_group, hyper.tables)

    def payload(self) -> bytes:
        """What was pushed. It is empty when all are 0, and never ends in a zero byte."""
        words: NDArray[np.uint32] = self._stack.get_compressed()
        return words.astype("<u4").tobytes().rstrip(b"\0")


class PayloadReader:
    """Decodes what :class:`PayloadWriter` coded.

    Any payload gives symbols or a :class:`~aecodec.errors.CorruptedError`, in time proportional to their
    number and that of the bytes.

    Args:
        data: The payload.
        missing: How many bytes at its beginning, which are decoded last, are not there; zeros stand for them.

    Raises:
        CorruptedError: The payload ends in a zero byte.
    """

    def __init__(self, data: bytes, missing: int = 0) -> None:
        self._length, self._missing_words = len(data), -(-missing // 4)
        self._stack = _new_stack(data)

    def pull_hyper_latents(
        self,
        shape: tuple[int, int],
        level: int,
        hyper: HyperTables,
        coefficients: NDArray[np.int16] | None = None,
    ) -> NDArray[np.int16]:
        """The hyper-latents of a chunk; arguments and errors as of :func:`decode_hyper_latents`."""
        of_level, channels = hyper.at_level(level), np.arange(hyper.channels)
        plane = bordered((*checked_grid(shape), hyper.channels))
        inside = plane[1:, 1:]
        if coefficients is not None:
            _check_coefficients(coefficients, hyper)
            found = _pop(self._stack, hyper.of_filter, _widest_first(hyper.of_filter), hyper.tables)
            coefficients[...] = found
        for diagonal in () if self._stack.is_empty() else diagonals_of(shape):
            above, left = plane[:-1, 1:][diagonal], plane[1:, :-1][diagonal]
            signs, contexts = signs_and_contexts(above, left)
            numbers = of_level[contexts, channels].ravel()
            symbols = _pop(self._stack, numbers, _widest_first(numbers), hyper.tables)
            inside[diagonal] = signs * symbols.reshape(signs.shape)
        return inside.astype(np.int16)

    def pull_wave(self, indices: NDArray[np.uint8], tables: Tables, *, dependent: bool) -> NDArray[np.int16]:
        """The residuals of the next wave, int16 (residual,), in eighths of a step.

        Args:
            indices: uint8 (residual,), 0..63.
            tables: The tables of the step.
            dependent: As for :func:`encode_residuals`.

        Raises:
            CorruptedError: A residual is larger than the encoder writes.
            InputError: An index is outside of 0..63.
        """
        _check_indices(indices)
        residuals = np.zeros(indices.shape, np.int32)
        if self._stack.is_empty():
            return residuals.astype(np.int16)
        lanes = _lanes(indices, tables, dependent)
        residuals[lanes.order] = _pop_rows(self._stack, lanes, tables)
        plain = _plain(indices, tables, dependent)
        of_plain = _pop(self._stack, indices[plain], _widest_first(indices[plain]), tables)
        residuals[plain] = RESIDUAL_UNIT * of_plain
        largest = int(np.abs(residuals).max(initial=0))
        if largest > MAX_RESIDUAL:
            raise CorruptedError(
                f"Expected residuals up to {MAX_RESIDUAL} eighths of a step in magnitude. Found {largest}. "
                "Get the file again from its source."
            )
        return residuals.astype(np.int16)

    @property
    def past_the_cut(self) -> bool:
        """Whether what was decoded may depend on bytes that are missing."""
        if not self._missing_words:
            return False
        words_of_state = 2  # taken from the stack, decoded in part
        return int(self._stack.num_words()) < self._missing_words + words_of_state

    def finish(self) -> None:
        """Check, behind the last symbols, that the payload is used up.

        Raises:
            CorruptedError: It is not: no encoder writes it.
        """
        if not self._stack.is_empty():
            raise CorruptedError(
                f"Expected the symbols to use up a payload of {self._length} bytes. Found bits left over: "
                "the payload is damaged or belongs to other symbols. Get the file again from its source."
            )


def encode_hyper_latents(
    z: NDArray[np.int16], level: int, hyper: HyperTables, coefficients: NDArray[np.int16] | None = None
) -> bytes:
    """Code the hyper-latents of a chunk into a payload of their own.

    Args:
        z: int16 (h, w, channel), -32767..32767.
        level: 0..224.
        hyper: Their tables.
        coefficients: int16 (coefficient,), -32767..32767, of the chunk's post-filter, in a file that has
            them.

    Returns:
        The payload. It is empty when all are 0, and never ends in a zero byte.

    Raises:
        InputError: There is another number of channels or of coefficients, or a value or the level is outside
            of its range.
    """
    writer = PayloadWriter()
    writer.push_hyper_latents(z, level, hyper, coefficients)
    return writer.payload()


def decode_hyper_latents(
    data: bytes,
    shape: tuple[int, int],
    level: int,
    hyper: HyperTables,
    coefficients: NDArray[np.int16] | None = None,
) -> NDArray[np.int16]:
    """Decode what :func:`encode_hyper_latents` wrote.

    Args:
        data: The payload.
        shape: ``(h, w)``, each at least 1.
        level: 0..224.
        hyper: Their tables.
        coefficients: int16 (coefficient,), of the chunk's post-filter, in a file that has them: filled in.

    Returns:
        int16 (h, w, channel), -32767..32767.

    Raises:
        CorruptedError: The payload is not what the encoder writes for any hyper-latents.
        InputError: The shape or the level is not as above.
    """
    reader = PayloadReader(data)
    z = reader.pull_hyper_latents(shape, level, hyper, coefficients)
    reader.finish()
    return z


def encode_residuals(step: CodedStep, tables: Tables, *, dependent: bool) -> bytes:
    """Code the residuals of a step into a payload of their own.

    Args:
        step: Its residuals, int16, in eighths of a quantisation step: plain ones are multiples of 8,
            dependent ones are points of the quantiser that is in turn.
        tables: The tables of the step.
        dependent: Whether residuals are dependent from ``tables.first_dependent`` on; else all are plain.

    Returns:
        The payload, empty when all are 0. It never ends in a zero byte.

    Raises:
        InputError: The arrays differ in length, or hold values other than above.
    """
    writer = PayloadWriter()
    writer.push_residuals(step, tables, dependent=dependent)
    return writer.payload()


def symbols_and_tables(
    residuals: NDArray[np.int16], indices: NDArray[np.uint8], tables: Tables, *, dependent: bool
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The symbols that the residuals of a wave are coded as, and the table, 0..191, of each.

    Dependent residuals come first, as they lie in their rows, then plain ones in coding order.

    Args:
        residuals: int16 (residual,), as for :func:`encode_residuals`, as are tables and ``dependent``.
        indices: uint8 (residual,), 0..63.
        tables: Of the step.
        dependent: The same.

    Raises:
        InputError: As for :func:`encode_residuals`.
    """
    _check_symbols(residuals, indices)
    lanes = _lanes(indices, tables, dependent)
    dependent_symbols, dependent_tables = lanes.trace(residuals[lanes.order])
    symbols, numbers = _plain_symbols(residuals, indices, tables, dependent)
    return np.concatenate([dependent_symbols, symbols]), np.concatenate([dependent_tables, numbers])


def _lanes(indices: NDArray[np.uint8], tables: Tables, dependent: bool) -> Lanes:
    return Lanes.of(indices, tables.first_dependent if dependent else INDEX_COUNT)


def _plain(indices: NDArray[np.uint8], tables: Tables, dependent: bool) -> NDArray[np.intp] | slice:
    """Which residuals are plain."""
    return np.flatnonzero(indices < tables.first_dependent) if dependent else slice(None)


def _plain_symbols(
    residuals: NDArray[np.int16], indices: NDArray[np.uint8], tables: Tables, dependent: bool
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Symbols and tables of the plain residuals, in coding order."""
    plain = _plain(indices, tables, dependent)
    symbols, remainder = np.divmod(residuals[plain].astype(np.int32), RESIDUAL_UNIT)
    if remainder.any():
        raise InputError(f"Expected plain residuals that are multiples of {RESIDUAL_UNIT}. Received others.")
    return symbols, indices[plain]


def _widest_first(tables: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The order of decoding inside of a group: wide tables first, stable inside of a table."""
    return np.argsort(np.uint8(TABLE_COUNT - 1) - tables, kind="stable")


def _push_rows(
    stack: Any, symbols: NDArray[np.int32], numbers: NDArray[np.uint8], lanes: Lanes, tables: Tables
) -> None:
    """Encode dependent residuals, for a decoder that takes row by row, and of a row quantiser 0 first."""
    if not len(symbols):
        return
    rows = np.arange(len(symbols)) // lanes.columns
    order = np.argsort(2 * rows + (numbers >= 2 * INDEX_COUNT), kind="stable")
    _push(stack, symbols[order], numbers[order], rows, tables)


def _pop_rows(stack: Any, lanes: Lanes, tables: Tables) -> NDArray[np.int32]:
    """Decode what `_push_rows` encoded: eighths of a step, in the order of the lanes."""
    symbols = np.empty(len(lanes.order), np.int32)
    quantisers = np.empty(len(lanes.order), np.uint8)
    states = np.zeros(lanes.columns, np.uint8)
    for row in lanes.rows:
        states = states[: row.stop - row.start]
        quantiser = quantisers[row] = states & 1
        numbers = lanes.indices[row] + INDEX_COUNT * (1 + quantiser)
        found = _pop(stack, numbers, np.argsort(quantiser, kind="stable"), tables)
        states = advanced(states, found)
        symbols[row] = found
    return residuals_of(symbols, quantisers)


def _push(
    stack: Any,
    symbols: NDArray[np.int32],
    numbers: NDArray[np.uint8],
    groups: NDArray[np.intp],
    tables: Tables,
) -> None:
    """Encode symbols for a decoder that takes them in this order, and behind each group its escapes.

    Args:
        stack: Of constriction.
        symbols: int32 (symbol,), in the order of decoding.
        numbers: uint8 (symbol,), 0..191, their tables.
        groups: (symbol,), ascending from 0, their groups.
        tables: Of the source.
    """
    if not len(symbols):
        return
    coded, half, escaped = _alphabet_symbols(symbols, numbers, tables)
    with_escapes = set(groups[escaped].tolist())
    models, former = tables.prepared(_Models), -1
    for start, stop, value in reversed(_runs(numbers + TABLE_COUNT * groups)):
        group, number = divmod(value, TABLE_COUNT)
        if group != former and group in with_escapes:
            first, behind = np.searchsorted(groups, (group, group + 1))
            there = first + np.flatnonzero(escaped[first:behind])
            _push_escapes(stack, symbols[there], half[there])
        former = group
        stack.encode_reverse(coded[start:stop], models.of(number))


def _pop(
    stack: Any, numbers: NDArray[np.uint8], order: NDArray[np.intp], tables: Tables
) -> NDArray[np.int32]:
    """Decode a group that `_push` encoded in this order of the symbols."""
    symbols = np.empty(len(numbers), np.int32)
    if not len(numbers):
        return symbols
    sorted_numbers = numbers[order]
    grouped = np.empty(len(numbers), np.int32)
    models = tables.prepared(_Models)
    for start, stop, number in _runs(sorted_numbers):
        grouped[start:stop] = stack.decode(models.of(number), stop - start)
    half = _half_widths(tables)[sorted_numbers]
    beyond = grouped - half
    grouped -= (2 * half + 2) * (beyond > 0)
    if (escaped := beyond == 1).any():
        grouped[escaped] = _pop_escapes(stack, half[escaped])
    symbols[order] = grouped
    return symbols


def _alphabet_symbols(
    symbols: NDArray[np.int32], numbers: NDArray[np.uint8], tables: Tables
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Symbols as the coder's models number them, the half widths of their tables, and which are escapes."""
    half = _half_widths(tables)[numbers]
    escaped = np.abs(symbols) > half
    coded = np.where(escaped, half + 1, np.where(symbols < 0, symbols + 2 * half + 2, symbols))
    return coded, half, escaped


def _half_widths(tables: Tables) -> NDArray[np.int32]:
    widths: NDArray[np.int32] = tables.prepared(_wide_half_widths)
    return widths


def _wide_half_widths(tables: Tables) -> NDArray[np.int32]:
    return tables.half_width.astype(np.int32)


def _runs(values: NDArray[np.integer[Any]]) -> list[tuple[int, int, int]]:
    """Where runs of equal values start and stop, and the values."""
    starts = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
    cuts = [*starts.tolist(), len(values)]
    return list(zip(cuts, cuts[1:], values[starts].tolist(), strict=False))


def _push_escapes(stack: Any, values: NDArray[np.int32], half: NDArray[np.int32]) -> None:
    """Encode the values outside of their tables: raw bits, then classes, for a stack reverses the order."""
    excess = np.abs(values).astype(np.int64) - half - 1
    classes = bit_length(excess)
    below_leading_one = np.where(classes > 0, excess - (1 << np.maximum(classes - 1, 0)), 0)
    raw = 2 * below_leading_one + (values < 0)
    stack.encode_reverse(raw.astype(np.int32), _uniform(), _sizes(escape_raw_bits(excess)))
    stack.encode_reverse(classes.astype(np.int32), _uniform(1 << ESCAPE_CLASS_BITS))


def _pop_escapes(stack: Any, half: NDArray[np.int32]) -> NDArray[np.int32]:
    """Decode as many values outside of their tables as there are half widths."""
    classes = stack.decode(_uniform(1 << ESCAPE_CLASS_BITS), half.size).astype(np.int64)
    raw = stack.decode(_uniform(), _sizes(np.maximum(classes, 1))).astype(np.int64)
    excess = np.where(classes > 0, (raw >> 1) + (1 << np.maximum(classes - 1, 0)), 0)
    magnitudes = half + 1 + excess
    if magnitudes.max() > MAX_SYMBOL:
        raise CorruptedError(
            f"Expected escaped symbols up to {MAX_SYMBOL} in magnitude. Found {magnitudes.max()}. "
            "Get the file again from its source."
        )
    return np.where(raw & 1, -magnitudes, magnitudes).astype(np.int32)


class _Models:
    """constriction's models of tables, in the coder's order of symbols: a file needs some of them only."""

    def __init__(self, tables: Tables) -> None:
        # Not the tables themselves, which keep this object: a cycle would outlive them.
        self._half_width, self._frequencies, self._offsets = (
            tables.half_width,
            tables.frequencies,
            tables.offsets,
        )
        self._models: list[Any] = [None] * TABLE_COUNT

    def of(self, number: int) -> Any:
        """The model of a table, built when it is first needed; threads may build it twice."""
        model = self._models[number]
        if model is None:
            from constriction import stream

            table = self._frequencies[self._offsets[number] : self._offsets[number + 1]]
            rotated = np.roll(table, -int(self._half_width[number]))
            weights = rotated.astype(np.float64) - 1
            model = self._models[number] = stream.model.Categorical(weights, perfect=False)
        return model


def _uniform(size: int | None = None) -> Any:
    """constriction's uniform model: exact for powers of two up to 2**24."""
    from constriction import stream

    return stream.model.Uniform() if size is None else stream.model.Uniform(size)


def _sizes(bits: NDArray[np.int64]) -> NDArray[np.int32]:
    return (1 << bits).astype(np.int32)


def _new_stack(data: bytes) -> Any:
    """constriction's coder, holding a payload. The zero bytes that the encoder cut off are put back."""
    from constriction import stream

    if data.endswith(b"\0"):
        raise CorruptedError(
            "Expected the byte of a payload that is decoded first not to be zero. Found a zero there, in "
            f"{len(data)} bytes. Get the file again from its source."
        )
    words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
    return stream.stack.AnsCoder(words) if words.size else stream.stack.AnsCoder()


def _check_symbols(symbols: NDArray[Any], indices: NDArray[Any]) -> None:
    _check_indices(indices)
    if symbols.shape != indices.shape or symbols.dtype.kind not in "iu":
        raise InputError(
            f"Expected {indices.size} integer symbols. Received {symbols.dtype} {symbols.shape}."
        )
    _check_range(symbols)


def _check_coefficients(coefficients: NDArray[np.int16], hyper: HyperTables) -> None:
    if coefficients.dtype != np.int16 or coefficients.shape != (hyper.coefficient_count,):
        raise InputError(
            f"Expected the coefficients of a post-filter as int16 ({hyper.coefficient_count},). Received "
            f"{coefficients.dtype} {coefficients.shape}."
        )


def _check_range(symbols: NDArray[Any]) -> None:
    if symbols.size and not -MAX_SYMBOL <= symbols.min() <= symbols.max() <= MAX_SYMBOL:
        raise InputError(
            f"Expected symbols in -{MAX_SYMBOL}..{MAX_SYMBOL}. Received {symbols.min()}..{symbols.max()}."
        )


def _check_indices(indices: NDArray[Any]) -> None:
    if indices.ndim != 1 or indices.dtype != np.uint8:
        raise InputError(
            f"Expected a vector of uint8 table indices. Received {indices.dtype} {indices.shape}."
        )
    if indices.size and indices.max() >= INDEX_COUNT:
        raise InputError(f"Expected table indices in 0..{INDEX_COUNT - 1}. Received {indices.max()}.")
