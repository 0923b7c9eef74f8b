"""Encoder-side search: latents that cost less than those of the analysis, for the same decoder.

Each chunk is searched by itself: it is coded as any other, then its latents move against the slope of rate
plus lambda times distortion (Adam: Kingma and Ba, ICLR 2015), and it is coded again. The best coding that was
seen is kept, by its real bytes and real pixels. Slopes are computed part by part, which bounds memory. Beyond
its chunk a part sees nothing: the prediction does not either, and of the synthesis that is a little wrong
beside the borders of chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import whole_number
from aecodec.container import Box, Header
from aecodec.entropy import ChunkBytes
from aecodec.image import Picture
from aecodec.models import Model
from aecodec.residuals import CodedChunk, ResidualCoder
from aecodec.runtime import open_search
from aecodec.windows import Symbols, Window, tile, window_pixels

if TYPE_CHECKING:
    from aecodec.runtime.search import LatentSlope

__all__ = ["EFFORT_ITERATIONS", "Refinement"]

EFFORT_ITERATIONS = (0, 8, 25, 80, 250)
"""Iterations of the search by effort."""
LEARNING_RATE = 0.1
"""Quantisation steps that Adam moves a latent by in an iteration, at most about, for a search of one; longer
ones take it over the root of their iterations."""
MEAN_DECAY = 0.9
VARIANCE_DECAY = 0.95
SLOPE_FLOOR = 0.3
"""Bits per quantisation step; slopes far below move a latent in proportion."""
_HALO = 64
"""Pixels around a part that its slope takes in, beside what it is for."""
_PART_SIDE = 640
"""Pixels, halo included: about 3 GB of memory while slopes are computed."""
_Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Refinement:
    """How long to search, and with which model.

    Attributes:
        model: whose latents they are.
        iterations: for each chunk; 0 for no search.
    """

    model: Model
    iterations: int

    @classmethod
    def of(cls, effort: int, model: Model) -> Refinement:
        """The search of an effort.

        Raises:
            InputError: there is no such effort.
        """
        checked = whole_number("effort", effort, 0, len(EFFORT_ITERATIONS) - 1)
        return cls(model, EFFORT_ITERATIONS[checked])

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
        """The best coding of a chunk that the search finds.

        Args:
            latents: of the chunk, as the analysis gives them.
            coder: of the model.
            picture: that the chunk is of.
            header: of the picture.
            index: of the chunk.
            tick: called after each iteration.

        Raises:
            MissingDependencyError: Keras, or a backend that computes gradients, is not installed.
        """
        chunk = header.chunk_box(index)
        target = _Target(window_pixels(picture, chunk), _inside(chunk, header), header.level)
        search, step = open_search(self.model), coder.step_sizes(header.level)
        z = coder.hyper_latents(latents, header.level)
        mean = variance = np.zeros_like(latents)
        best, least = coder.encode(latents, header.level, z=z), np.inf
        coded = best
        for iteration in range(self.iterations + 1):
            cost = _cost(coded, coder, target, search.weight(header.level))
            if cost < least:
                best, least = coded, cost
            if iteration == self.iterations:
                break
            slope = _slope(search, target, coded, latents)
            mean = MEAN_DECAY * mean + (1 - MEAN_DECAY) * slope
            variance = VARIANCE_DECAY * variance + (1 - VARIANCE_DECAY) * slope * slope
            latents = latents - self._rate(iteration) * step * _direction(mean, variance, iteration)
            coded = coder.encode(latents, header.level, z=z)
            tick()
        return best.data

    def _rate(self, iteration: int) -> np.float32:
        """The learning rate falls to zero over the second half."""
        peak = LEARNING_RATE / self.iterations**0.5
        return np.float32(peak * min(1.0, 2 * (1 - iteration / self.iterations)))


@dataclass(frozen=True, eq=False)
class _Target:
    """What a chunk shall look like: its pixels (height, width, 3), and which of them are the picture's."""

    pixels: _Float
    counted: NDArray[np.bool_]
    level: int


def _cost(coded: CodedChunk, coder: ResidualCoder, target: _Target, weight: float) -> float:
    """Bits plus weighted distortion, of the chunk by itself."""
    pixels = coder.runtime.synthesise(coded.latents, target.level)
    error = np.square(pixels - target.pixels).mean(axis=2)
    return 8.0 * sum(map(len, coded.data)) + weight * float(error[target.counted].sum(dtype=np.float64))


def _slope(search: LatentSlope, target: _Target, coded: CodedChunk, latents: _Float) -> _Float:
    """Of the chunk, put together from its parts."""
    height, width = target.counted.shape
    whole = Box(0, 0, width, height)
    symbols, slope = Symbols(coded.z, coded.r), np.empty_like(latents)
    for part in tile(whole, _HALO, side=_PART_SIDE):
        reach = Window(part.reach, whole)
        found = search.slope(
            reach.crop_pixels(target.pixels),
            reach.crop_pixels(target.counted),
            *symbols.crop(whole, part.reach),
            reach.crop_latents(latents),
            target.level,
        )
        Window(part.core, whole).crop_latents(slope)[...] = part.crop_latents(found)
    return slope


def _direction(mean: _Float, variance: _Float, iteration: int) -> _Float:
    """Of Adam, its moments corrected for their start at zero."""
    size = np.sqrt(variance / np.float32(1 - VARIANCE_DECAY ** (iteration + 1))) + np.float32(SLOPE_FLOOR)
    direction: _Float = mean / np.float32(1 - MEAN_DECAY ** (iteration + 1)) / size
    return direction


def _inside(chunk: Box, header: Header) -> NDArray[np.bool_]:
    """(height, width): the pixels of a chunk that are the picture's."""
    rows, columns = np.arange(chunk.y, chunk.bottom), np.arange(chunk.x, chunk.right)
    return np.logical_and.outer(rows < header.height, columns < header.width)
