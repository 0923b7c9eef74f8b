"""Encoder-side search: latents, hyper-latents and a post-filter that suit a picture better than what the
networks give at once, for the same decoder.

Each chunk is searched by itself: it is coded as any other, then its latents and hyper-latents move against
the slope of rate plus lambda times distortion (Adam: Kingma and Ba, ICLR 2015), and it is coded again. Once
all have moved, the residuals of one step after the other are settled: those behind them are quantised anew
whenever anything before them changes, and then stay as they were seen to be best. The best coding that was
seen is kept, by its real bytes and its filtered pixels before rounding. Slopes are computed part by part,
which bounds memory. Beyond its chunk a part sees nothing: the prediction does not either, and of the
synthesis that is a little wrong beside the borders of chunks, where post-filters are not fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import whole_number
from aecodec.container import Box, Header
from aecodec.entropy import ChunkBytes, slope_of_hyper_rate
from aecodec.entropy.scales import STEP_COUNT
from aecodec.filter_fitting import FilterFitting, FilterStatistics
from aecodec.image import Picture
from aecodec.models import Model
from aecodec.post_filter import FilterBasis, with_border
from aecodec.residuals import CodedChunk, ResidualCoder, SettledSteps
from aecodec.runtime import open_search
from aecodec.windows import Symbols, Window, tile, window_pixels

if TYPE_CHECKING:
    from aecodec.runtime.search import LatentSlope

__all__ = ["EFFORT_ITERATIONS", "Refinement"]

EFFORT_ITERATIONS = (0, 0, 25, 80, 250)
"""Iterations of the search by effort. From effort 1 on chunks have post-filters."""
LEARNING_RATE = 0.1
"""Quantisation steps that Adam moves a latent by in an iteration, at most about, for a search of one; longer
ones take it over the root of their iterations."""
HYPER_LEARNING_RATE = 0.05
"""The same of hyper-latents, in whole numbers."""
MEAN_DECAY = 0.9
VARIANCE_DECAY = 0.95
SLOPE_FLOOR = 0.3
"""Bits per quantisation step; slopes far below move a latent in proportion."""
HYPER_SLOPE_FLOOR = 1.0
"""The same of hyper-latents."""
_SHARE_OF_SETTLING = 0.3
"""Of the iterations, those in which some of the steps are settled."""
_HYPER_LIMIT = 32767
_HALO = 64
"""Pixels around a part that its slope takes in, beside what it is for."""
_MARGIN = 32
"""Pixels beside other chunks that a post-filter is not fitted to: they depend on those chunks as well."""
_PART_SIDE = 640
"""Pixels, halo included: about 3 GB of memory while slopes are computed."""
_Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Refinement:
    """How long to search, whether to filter, and with which model.

    Attributes:
        model: whose latents they are.
        iterations: for each chunk; 0 for no search.
        filtered: whether chunks get post-filters.
    """

    model: Model
    iterations: int
    filtered: bool

    @classmethod
    def of(cls, effort: int, model: Model) -> Refinement:
        """The search of an effort.

        Raises:
            InputError: there is no such effort.
        """
        checked = whole_number("effort", effort, 0, len(EFFORT_ITERATIONS) - 1)
        return cls(model, EFFORT_ITERATIONS[checked], filtered=checked > 0)

    def tick_count(self, header: Header) -> int:
        """How often `encode` will tick for all chunks."""
        return self.iterations * header.chunk_count

    def encode(
        self,
        latents: _Float,
        coder: ResidualCoder,
        picture: Picture,
        header: Header,
        index: int,
        tick: Callable[[], None],
    ) -> ChunkBytes:
        """The best coding of a chunk that the search finds. Threads may call it at the same time.

        Args:
            latents: of the chunk, as the analysis gives them.
            coder: of the model.
            picture: that the chunk is of.
            header: of the picture.
            index: of the chunk.
            tick: called after each iteration.

        Raises:
            MissingDependencyError: with iterations, Keras, or a backend that computes gradients, is not
                installed.
        """
        coded = coder.encode(latents, header.level)
        if not self.filtered:
            return coder.pack(coded, joined=header.joined)
        target = _Target.of(picture, header, index)
        judge = _Judge(coder, target, self._fitting)
        if not self.iterations:
            return judge.filtered(coded).data
        search = _Search(judge, open_search(self.model), latents, coded)
        return search.run(self.iterations, tick)

    @cached_property
    def _fitting(self) -> FilterFitting:
        return FilterFitting(FilterBasis.of(self.model), self.model.entropy.hyper)


@dataclass(frozen=True, eq=False)
class _Target:
    """What a chunk shall look like.

    Attributes:
        pixels: float32 (height, width, 3), those beyond the picture included.
        rows: that are the picture's.
        columns: likewise.
        fitted: rows and columns that are far enough from other chunks to fit a post-filter to.
        level: of the file.
        joined: whether its parts share a payload.
    """

    pixels: _Float
    rows: int
    columns: int
    fitted: tuple[slice, slice]
    level: int
    joined: bool

    @classmethod
    def of(cls, picture: Picture, header: Header, index: int) -> _Target:
        chunk = header.chunk_box(index)
        rows, columns = min(header.height - chunk.y, chunk.height), min(header.width - chunk.x, chunk.width)
        fitted = (
            _away_from_others(chunk.y, chunk.bottom, rows, header.padded_height),
            _away_from_others(chunk.x, chunk.right, columns, header.padded_width),
        )
        return cls(window_pixels(picture, chunk), rows, columns, fitted, header.level, header.joined)

    def inside(self, pixels: _Float, border: int = 0) -> _Float:
        """The picture's part of pixels with a border."""
        return pixels[: self.rows + 2 * border, : self.columns + 2 * border]


def _away_from_others(start: int, stop: int, inside: int, end: int) -> slice:
    """Of a chunk from start to stop, ``inside`` of which are the picture's, what lies a margin away from the
    chunks before and after it.
    """
    return slice(_MARGIN if start else 0, inside if stop == end else inside - _MARGIN)


@dataclass(frozen=True, eq=False)
class _Filtered:
    """A coding of a chunk with its post-filter.

    Attributes:
        coded: the coding.
        data: its payloads, those of the filter included.
        bordered: float32 (rows + 2, columns + 2, 3), the picture's part before the filter, and pixels beside.
        coefficients: int16 (coefficient,), of the filter.
        basis: that they belong to.
    """

    coded: CodedChunk
    data: ChunkBytes
    bordered: _Float
    coefficients: NDArray[np.int16]
    basis: FilterBasis

    @property
    def synthesised(self) -> _Float:
        """(rows, columns, 3): the picture's part before the filter."""
        return self.bordered[1:-1, 1:-1]

    @cached_property
    def pixels(self) -> _Float:
        """(rows, columns, 3): the picture's part, filtered."""
        if not self.coefficients.any():
            return self.synthesised
        return self.basis.corrected(self.bordered, self.coefficients, self.coded.level)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Filters codings of a chunk, and tells what they cost."""

    coder: ResidualCoder
    target: _Target
    fitting: FilterFitting

    def filtered(self, coded: CodedChunk) -> _Filtered:
        """With the post-filter that suits it, seen by itself."""
        level, target = self.target.level, self.target
        pixels = self.coder.runtime.synthesise(coded.latents, level)
        bordered = target.inside(with_border(pixels), border=1)
        coefficients = self._coefficients(bordered)
        data = self.coder.pack(coded, joined=target.joined, coefficients=coefficients)
        return _Filtered(coded, data, bordered, coefficients, self.fitting.basis)

    def _coefficients(self, bordered: _Float) -> NDArray[np.int16]:
        """Of the best filter for the picture's part of decoded pixels with a border; zeros where nothing of
        it is far enough from other chunks.
        """
        (rows, columns), level = self.target.fitted, self.target.level
        original = self.target.pixels[rows, columns]
        if not original.size:
            return np.zeros(self.fitting.hyper.coefficient_count, np.int16)
        part = bordered[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        statistics = FilterStatistics.of(part, original)
        return self.fitting.choose(statistics, level, self.coder.model.lambda_of_level(level))

    def cost(self, attempt: _Filtered, weight: float) -> float:
        """Bits plus weighted distortion, of the chunk by itself."""
        error = np.square(attempt.pixels - self.target.inside(self.target.pixels)).mean(axis=2)
        return 8.0 * attempt.data.size + weight * float(error.sum(dtype=np.float64))


class _Search:
    """Of one chunk, for the best coding of it.

    Args:
        judge: of the chunk.
        slopes: of the model.
        latents: float32 (4 * h, 4 * w, latent channels), as the analysis gives them.
        coded: what they are coded as.
    """

    def __init__(self, judge: _Judge, slopes: LatentSlope, latents: _Float, coded: CodedChunk) -> None:
        self._judge, self._slopes = judge, slopes
        self._level = judge.target.level
        self._weight = slopes.weight(self._level)
        self._step = judge.coder.step_sizes(self._level)
        self._hyper = slopes.hyper_latents(latents, self._level)
        self._least = np.inf
        self._take_in(judge.filtered(coded), latents)

    def run(self, iterations: int, tick: Callable[[], None]) -> ChunkBytes:
        """Search, and give the best coding that was seen."""
        for settled, count in _schedule(iterations):
            self._run_stage(settled, count, tick)
        return self._best.data

    def _run_stage(self, settled: int, iterations: int, tick: Callable[[], None]) -> None:
        """Iterations from the best coding on, with so many steps that stay as they are in it. Hyper-latents
        move in the first stage only: all residuals depend on them.
        """
        attempt, latents = self._best, self._latents
        hyper, z = self._hyper, attempt.coded.z
        fixed = SettledSteps(settled, attempt.coded.r)
        of_latents = _Descent(LEARNING_RATE, SLOPE_FLOOR, iterations)
        of_hyper = _Descent(HYPER_LEARNING_RATE, HYPER_SLOPE_FLOOR, iterations)
        for _ in range(iterations):
            slope, hyper_slope = _slopes(self._slopes, self._judge, attempt, latents)
            latents = latents - self._step * of_latents.move(slope)
            if not settled:
                of_rate = slope_of_hyper_rate(attempt.coded.z, self._level, self._judge.fitting.hyper)
                hyper = hyper - of_hyper.move(hyper_slope + of_rate)
                z = np.clip(np.floor(hyper + np.float32(0.5)), -_HYPER_LIMIT, _HYPER_LIMIT).astype(np.int16)
            coded = self._judge.coder.encode(latents, self._level, z=z, settled=fixed)
            attempt = self._judge.filtered(coded)
            self._take_in(attempt, latents)
            tick()

    def _take_in(self, attempt: _Filtered, latents: _Float) -> None:
        """Keep what is better than all before."""
        cost = self._judge.cost(attempt, self._weight)
        if cost < self._least:
            self._least, self._best, self._latents = cost, attempt, latents


def _schedule(iterations: int) -> list[tuple[int, int]]:
    """How many steps are settled for how many iterations."""
    settling = round(iterations * _SHARE_OF_SETTLING / (STEP_COUNT - 1))
    stages = [(settled, settling) for settled in range(1, STEP_COUNT)]
    return [(0, iterations - settling * len(stages)), *stages]


class _Descent:
    """Adam, for a fixed number of iterations; its rate falls to zero over the second half.

    Args:
        peak: the highest rate, times the root of the iterations.
        floor: slopes far below move in proportion.
        iterations: in all.
    """

    def __init__(self, peak: float, floor: float, iterations: int) -> None:
        self._peak, self._floor, self._iterations = peak / max(iterations, 1) ** 0.5, floor, iterations
        self._mean = self._variance = np.zeros((), np.float32)
        self._done = 0

    def move(self, slope: _Float) -> _Float:
        """How far to go against this slope."""
        rate = self._peak * min(1.0, 2 * (1 - self._done / self._iterations))
        self._done += 1
        self._mean = MEAN_DECAY * self._mean + (1 - MEAN_DECAY) * slope
        self._variance = VARIANCE_DECAY * self._variance + (1 - VARIANCE_DECAY) * slope * slope
        # The moments are corrected for their start at zero.
        size = np.sqrt(self._variance / np.float32(1 - VARIANCE_DECAY**self._done)) + np.float32(self._floor)
        move: _Float = np.float32(rate / (1 - MEAN_DECAY**self._done)) * self._mean / size
        return move


def _slopes(slopes: LatentSlope, judge: _Judge, attempt: _Filtered, latents: _Float) -> tuple[_Float, _Float]:
    """Of latents and hyper-latents of the chunk, put together from its parts; the rate is the residuals'."""
    target, coded = judge.target, attempt.coded
    height, width, _ = target.pixels.shape
    whole = Box(0, 0, width, height)
    counted = np.zeros((height, width), np.bool_)
    counted[: target.rows, : target.columns] = True
    # The synthesis shall give what the filter makes the target of, nearly: the target less its correction.
    pixels = target.pixels.copy()
    target.inside(pixels)[...] -= attempt.pixels - attempt.synthesised
    symbols = Symbols(coded.z, coded.r)
    slope, hyper_slope = np.empty_like(latents), np.empty(coded.z.shape, np.float32)
    for part in tile(whole, _HALO, side=_PART_SIDE):
        reach = Window(part.reach, whole)
        cut = symbols.crop(whole, part.reach)
        found, hyper_found = slopes.slope(
            reach.crop_pixels(pixels),
            reach.crop_pixels(counted),
            cut.z,
            cut.r,
            reach.crop_latents(latents),
            target.level,
        )
        core = Window(part.core, whole)
        core.crop_latents(slope)[...] = part.crop_latents(found)
        core.crop_hyper_latents(hyper_slope)[...] = part.crop_hyper_latents(hyper_found)
    return slope, hyper_slope
