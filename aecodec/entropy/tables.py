"""The frequency tables of the entropy coder, what a symbol costs, and how tables are built at export time.

What has tables of its own is called a *source*: the hyper-latents, and the residuals of each of the five
steps, for the less a step knows, the heavier are the tails around the scale that it expects. A source has 192
tables. Those of residuals are three sets of 64, numbered from narrow to wide: of plain residuals, and of
dependent ones under each of their two quantisers (`aecodec.entropy.dependent`). A table covers the values
``-m .. m`` (``m`` is its half width) and has one more symbol, last, that announces an escape: a value
outside. Its ``2 * m + 2`` frequencies are integers, each at least 1, with the sum ``2**24``. Nothing here is
computed from floats while a file is being coded: the frequencies are read from the model. The normative text
is section 9 of ``formats/aec.md``.

The zero-mean logistic distribution integrated over unit bins, as a shape for quantised latents, is that of
Salimans et al., "PixelCNN++" (ICLR 2017); tables over a ladder of geometrically spaced scales are those of
Balle et al., "Integer networks for data compression with latent-variable models" (ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecodec.errors import InputError, ModelError

INDEX_COUNT: Final = 64
"""Tables of a set: what the scale network chooses among."""
TABLE_SETS: Final = 3
"""Of plain residuals, of dependent residuals under quantiser 0, and under quantiser 1."""
TABLE_COUNT: Final = TABLE_SETS * INDEX_COUNT
"""Tables of a source."""
PRECISION: Final = 24
TOTAL: Final = 1 << PRECISION
MAX_SYMBOL: Final = 32767
RESIDUAL_UNIT: Final = 8
"""Residuals are counted in eighths of a quantisation step, which plain ones are multiples of."""
FINE_UNIT: Final = 5
"""Eighths of a step between two points of the grid of dependent residuals."""
MAX_HALF_WIDTH: Final = 4095
ESCAPE_CLASS_BITS: Final = 4

#: A built table is widened until the escape symbol is rarer than this, within the two bounds below it.
_ESCAPE_MASS: Final = 1e-5
_NARROWEST: Final = 8
_WIDEST: Final = 400

_FIRST_DEPENDENT: Final = "tables/first_dependent"
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Tables:
    """The 192 tables of a source.

    Attributes:
        half_width: int16 (table,), 0..4095, the largest magnitude ``m`` that a table codes directly.
        frequencies: uint32 (symbol,), the tables one after the other, of each the values ``-m .. m`` in
            ascending order and then the escape symbol.
        first_dependent: 0..64, the index from which on residuals are dependent, in a file that has such.

    Raises:
        ModelError: The arrays are not 192 tables of frequencies of at least 1 with the sum 2**24 each, or
            the first dependent index is out of its range.
    """

    half_width: NDArray[np.int16]
    frequencies: NDArray[np.uint32]
    first_dependent: int = INDEX_COUNT
    _prepared: dict[Callable[[Tables], Any], Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self.half_width, self.frequencies, self.first_dependent)
        object.__setattr__(self, "half_width", read_only(self.half_width))
        object.__setattr__(self, "frequencies", read_only(self.frequencies))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], source: str, *, dependent: bool = True
    ) -> Tables:
        """Take the arrays ``tables/<source>/...`` out of those of a model.

        Args:
            arrays: Of the model.
            source: Name of the source.
            dependent: Whether some of its symbols may be dependent residuals: from the index on that the
                array ``tables/first_dependent`` holds for all sources.

        Raises:
            ModelError: An array is missing, or breaks a rule of the class.
        """
        half_width, frequencies = (taken(arrays, name) for name in _names(source))
        try:
            return cls(half_width, frequencies, _first_dependent(arrays) if dependent else INDEX_COUNT)
        except ModelError as error:
            raise ModelError(f"Tables of the source {source!r}: {error}") from error

    def to_arrays(self, source: str, *, dependent: bool = True) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_arrays` reads."""
        arrays: dict[str, NDArray[Any]] = dict(
            zip(_names(source), (self.half_width, self.frequencies), strict=True)
        )
        if dependent:
            arrays[_FIRST_DEPENDENT] = np.array(self.first_dependent, np.int16)
        return arrays

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 (table + 1,): where each table begins in ``frequencies``, and the end of the last."""
        return np.concatenate(([0], np.cumsum(2 * self.half_width.astype(np.int64) + 2)))

    def table(self, index: int) -> NDArray[np.uint32]:
        """uint32 (2 * m + 2,): the frequencies of one table, ``-m .. m`` and then the escape symbol."""
        return self.frequencies[self.offsets[index] : self.offsets[index + 1]]

    def prepared(self, build: Callable[[Tables], _T]) -> _T:
        """Return ``build(self)``, computed once for each instance and function.

        It lets a module keep what it derives from tables (a coder's own model objects) as long as the
        tables live, without global state. Threads may call it at the same time: ``build`` may then run more
        than once, and all callers get the same object.
        """
        if build not in self._prepared:
            self._prepared.setdefault(build, build(self))
        prepared: _T = self._prepared[build]
        return prepared

    def cost_in_bits(self, symbols: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
        """What each symbol costs with its table, escapes included.

        Args:
            symbols: Integers of any shape, -32767..32767.
            indices: Integers that broadcast with ``symbols``, 0..191: the table of each symbol.

        Returns:
            float64 of the broadcast shape, in bits. The sum is what the coder writes, to within four bytes.

        Raises:
            InputError: A symbol or an index is outside of its range.
        """
        values, tables = np.broadcast_arrays(np.asarray(symbols), np.asarray(indices))
        values, tables = values.astype(np.int64), tables.astype(np.int64)
        if values.size and (np.abs(values).max() > MAX_SYMBOL):
            raise InputError(
                f"Expected symbols in -{MAX_SYMBOL}..{MAX_SYMBOL}. Received {np.abs(values).max()}."
            )
        if tables.size and not 0 <= tables.min() <= tables.max() < TABLE_COUNT:
            raise InputError(f"Expected numbers of tables in 0..{TABLE_COUNT - 1}. Received {tables.max()}.")
        half = self.half_width.astype(np.int64)[tables]
        escaped = np.abs(values) > half
        positions = self.offsets[tables] + np.where(escaped, 2 * half + 1, values + half)
        bits: NDArray[np.float64] = np.asarray(self._flat_bits[positions])
        bits[escaped] += ESCAPE_CLASS_BITS + escape_raw_bits(np.abs(values[escaped]) - half[escaped] - 1)
        return bits

    def bits_table(self, values: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """float64 (table, value), bits: what each of these values (value,) costs with each table."""
        return self.cost_in_bits(values, np.arange(TABLE_COUNT)[:, np.newaxis])

    @cached_property
    def _flat_bits(self) -> NDArray[np.float64]:
        return PRECISION - np.log2(self.frequencies.astype(np.float64))


def escape_raw_bits(excess: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many raw bits an escape has behind its class: the sign, and the excess below its leading one."""
    return np.maximum(bit_length(excess), 1)


def bit_length(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """``int.bit_length`` for arrays: the position of the highest set bit, from 1, and 0 for 0."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def integer_frequencies(probabilities: ArrayLike) -> NDArray[np.uint32]:
    """Round probabilities to integer frequencies that the coder takes.

    Every symbol gets 1; what is left of 2**24 is shared out by the largest-remainder method (Hamilton's).

    Args:
        probabilities: float64 (symbol,), not negative, not all zero; need not be normalised.

    Returns:
        uint32 (symbol,), each at least 1, with the sum 2**24.

    Raises:
        InputError: A probability is negative or not finite, all are zero, or there is one symbol.
    """
    weights = np.asarray(probabilities, dtype=np.float64)
    if weights.ndim != 1 or weights.size < 2 or not np.all(np.isfinite(weights)) or weights.min() < 0:
        raise InputError("Expected a vector of at least 2 finite probabilities, none of them negative.")
    if weights.sum() <= 0:
        raise InputError("Expected probabilities of which one at least is above zero. All are zero.")
    shares = weights / weights.sum() * (TOTAL - weights.size)
    # Shares may add up to slightly more than there is. The factor keeps floors from doing so; what it takes
    # from a share, the remainder gives back.
    whole = np.floor(shares * (1 - 2.0**-40)).astype(np.int64)
    everybody, some = divmod(TOTAL - weights.size - int(whole.sum()), weights.size)
    whole += 1 + everybody
    whole[np.argsort(whole - shares, kind="stable")[:some]] += 1
    frequencies: NDArray[np.uint32] = whole.astype(np.uint32)
    return frequencies


def table_scales(scale_min: float = 0.04, scale_max: float = 40.0) -> NDArray[np.float64]:
    """float64 (index,): the nominal scale of each index, geometric from ``scale_min`` to ``scale_max``."""
    if not 0 < scale_min < scale_max:
        raise InputError(f"Expected 0 < scale_min < scale_max. Received {scale_min} and {scale_max}.")
    exponents: NDArray[np.float64] = np.arange(INDEX_COUNT) / (INDEX_COUNT - 1)
    return scale_min * (scale_max / scale_min) ** exponents


def logistic_tables(
    first_dependent: int = INDEX_COUNT,
    scale_min: float = 0.04,
    scale_max: float = 40.0,
    blend: tuple[float, float] | None = None,
) -> Tables:
    """Tables of zero-mean logistic distributions, integrated over the bins of their quantisers.

    Index ``t`` has the scale ``scale_min * (scale_max / scale_min) ** (t / 63)``. A table is made as wide as
    an escape mass below 1e-5 needs, but at least to +-8 and at most to +-400 (where the widest default table
    still has an escape mass of 9e-5).

    Args:
        first_dependent: 0..64, of the tables.
        scale_min: Scale of index 0, in units of a quantisation step.
        scale_max: Scale of index 63.
        blend: ``(weight, factor)`` mixes in ``weight`` of the logistic that is ``factor`` times as wide, for
            a heavier tail; None for the plain logistic.

    Raises:
        InputError: The scales are not in ascending order, or not above 0.
    """
    scales = table_scales(scale_min, scale_max)
    return _build(
        [_logistic(scale, edges, blend) for edges in _bin_edges(_WIDEST) for scale in scales], first_dependent
    )


def fitted_tables(
    histograms: NDArray[np.int64],
    first_dependent: int = INDEX_COUNT,
    strength: float = 256.0,
    scale_min: float = 0.04,
    scale_max: float = 40.0,
    blend: tuple[float, float] | None = None,
) -> Tables:
    """Tables fitted to counted symbols, smoothed by the logistic of each table.

    The estimate of a table is that of a Dirichlet prior: ``(count + strength * prior) / (total +
    strength)``, the counts made symmetric first. A table that was never used is its prior.

    Args:
        histograms: int64 (table, 2 * H + 1), how often each symbol ``-H .. H`` was coded with each table.
            Symbols beyond must have been counted in the outermost bins, which are not fitted but belong to
            the escape.
        first_dependent: 0..64, of the tables.
        strength: The weight of the prior, in counted symbols.
        scale_min: As for :func:`logistic_tables`: the prior.
        scale_max: As for :func:`logistic_tables`: the prior.
        blend: As for :func:`logistic_tables`: the prior.

    Raises:
        InputError: The histograms have another shape, or negative counts.
    """
    counts = np.asarray(histograms)
    if counts.ndim != 2 or counts.shape[0] != TABLE_COUNT or counts.shape[1] % 2 == 0 or counts.shape[1] < 5:
        raise InputError(
            f"Expected histograms ({TABLE_COUNT}, 2 * H + 1), H at least 2. Received {counts.shape}."
        )
    if counts.min() < 0 or strength <= 0:
        raise InputError("Expected counts of at least 0 and a strength above 0.")
    limit = min(counts.shape[1] // 2 - 1, _WIDEST)
    scales = table_scales(scale_min, scale_max)
    priors = [_logistic(scale, edges, blend) for edges in _bin_edges(limit) for scale in scales]
    estimates = []
    for count, prior in zip(counts, priors, strict=True):
        fitted = _fold(count, limit) + strength * prior
        estimates.append(fitted / fitted.sum())
    return _build(estimates, first_dependent)


def tables_of(probabilities: NDArray[np.float64]) -> Tables:
    """Tables of given probabilities, which need not be symmetric.

    Args:
        probabilities: float64 (table, 2 * H + 1), of the symbols ``-H .. H``; what is beyond counts to the
            outermost. They need not be normalised.

    Raises:
        InputError: They are not those of 192 tables of three symbols at least.
    """
    if probabilities.ndim != 2 or probabilities.shape[0] != TABLE_COUNT or probabilities.shape[1] % 2 == 0:
        raise InputError(
            f"Expected probabilities ({TABLE_COUNT}, 2 * H + 1). Received {probabilities.shape}."
        )
    half = probabilities.shape[1] // 2 - 1
    escape = probabilities[:, 0] + probabilities[:, -1]
    tables = np.concatenate((probabilities[:, 1:-1], escape[:, np.newaxis]), axis=1)
    half_widths = np.full(TABLE_COUNT, half, np.int16)
    return Tables(half_widths, np.concatenate([integer_frequencies(table) for table in tables]))


def _bin_edges(limit: int) -> tuple[NDArray[np.float64], ...]:
    """For each set of tables, float64 (limit + 1,): the upper ends, in quantisation steps, of the bins of the
    magnitudes 0..limit.
    """
    magnitudes = np.arange(limit + 1, dtype=np.float64)
    fine = FINE_UNIT / RESIDUAL_UNIT
    under_1 = np.where(magnitudes == 0, 0.5, 2 * magnitudes) * fine
    return magnitudes + 0.5, (2 * magnitudes + 1) * fine, under_1


def _logistic(
    scale: float, edges: NDArray[np.float64], blend: tuple[float, float] | None
) -> NDArray[np.float64]:
    """float64 (edges + 1,): the probabilities of the magnitudes whose bins end at the edges, and of all
    above.
    """
    # The mass outside of +-edge is 2 * sigmoid(-edge / scale), in a form that neither overflows nor cancels.
    outside = 2 * np.exp(-edges / scale) / (1 + np.exp(-edges / scale))
    magnitudes = np.concatenate(([1 - outside[0]], outside[:-1] - outside[1:], outside[-1:]))
    if blend is None:
        return magnitudes
    weight, factor = blend
    return (1 - weight) * magnitudes + weight * _logistic(scale * factor, edges, None)


def _fold(count: NDArray[Any], limit: int) -> NDArray[np.float64]:
    """A histogram of ``-H .. H`` as one of the magnitudes 0..limit, and of all above."""
    middle = count.size // 2
    folded = (count[middle:] + count[middle::-1]).astype(np.float64)
    folded[0] /= 2
    return np.concatenate((folded[: limit + 1], [folded[limit + 1 :].sum()]))


def _build(estimates: list[NDArray[np.float64]], first_dependent: int) -> Tables:
    """Tables from the probabilities of magnitudes, each table cut where its tail is thin."""
    half_widths, frequencies = [], []
    for magnitudes in estimates:
        outside = np.cumsum(magnitudes[::-1])[::-1][1:]
        thin = np.flatnonzero(outside < _ESCAPE_MASS)
        half = int(thin[0]) if thin.size else outside.size - 1
        half = min(max(half, _NARROWEST), outside.size - 1)
        one_side = magnitudes[1 : half + 1] / 2
        half_widths.append(half)
        frequencies.append(
            integer_frequencies(
                np.concatenate((one_side[::-1], magnitudes[:1], one_side, outside[half : half + 1]))
            )
        )
    return Tables(np.array(half_widths, np.int16), np.concatenate(frequencies), first_dependent)


def _names(source: str) -> tuple[str, str]:
    return f"tables/{source}/half_width", f"tables/{source}/frequencies"


def taken(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """An array of a model.

    Raises:
        ModelError: It is missing.
    """
    if name not in arrays:
        raise ModelError(f"The model has no array {name!r}. Reinstall the model.")
    return arrays[name]


def _first_dependent(arrays: Mapping[str, NDArray[Any]]) -> int:
    found = taken(arrays, _FIRST_DEPENDENT)
    if found.dtype != np.int16 or found.shape != ():
        raise ModelError(
            f"Expected '{_FIRST_DEPENDENT}' as int16 (). Found {found.dtype} {found.shape}. "
            "Reinstall the model."
        )
    return int(found)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that nothing can write to."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def _check(half_width: NDArray[Any], frequencies: NDArray[Any], first_dependent: int) -> None:
    if not 0 <= first_dependent <= INDEX_COUNT:
        raise ModelError(
            f"Expected a first dependent index in 0..{INDEX_COUNT}. Found {first_dependent}. "
            "Reinstall the model."
        )
    if half_width.dtype != np.int16 or half_width.shape != (TABLE_COUNT,):
        raise ModelError(
            f"Expected 'half_width' as int16 ({TABLE_COUNT},). "
            f"Found {half_width.dtype} {half_width.shape}. Reinstall the model."
        )
    if half_width.min() < 0 or half_width.max() > MAX_HALF_WIDTH:
        raise ModelError(f"Expected half widths in 0..{MAX_HALF_WIDTH} in 'half_width'. Reinstall the model.")
    sizes = 2 * half_width.astype(np.int64) + 2
    if frequencies.dtype != np.uint32 or frequencies.shape != (int(sizes.sum()),):
        raise ModelError(
            f"Expected 'frequencies' as uint32 ({sizes.sum()},). "
            f"Found {frequencies.dtype} {frequencies.shape}. Reinstall the model."
        )
    sums = np.add.reduceat(frequencies.astype(np.int64), np.cumsum(sizes) - sizes)
    if frequencies.min() < 1 or np.any(sums != TOTAL):
        wrong = int(np.argmax(sums != TOTAL))
        raise ModelError(
            f"Expected frequencies of at least 1 that add up to {TOTAL} in each table. "
            f"Found a smallest of {frequencies.min()}, and a sum of {sums[wrong]} in table {wrong}. "
            "Reinstall the model."
        )
