"""Encoder-side search: symbols that cost less than those of the encoder graph, for the same decoder.

The picture is searched part by part in raster order. The symbols around a part are settled: those of
former parts as found, the others as the encoder graph chose them. So memory is bounded by a part, and the
parts agree with one another, as what is searched for are the symbols themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import whole_number
from aecodec.container import Box, Header
from aecodec.image import Picture
from aecodec.models import Model
from aecodec.runtime import open_search
from aecodec.windows import LATENT_STRIDE, Symbols, SymbolStore, Window, plan_windows, window_pixels

__all__ = ["EFFORT_ITERATIONS", "Refinement"]

EFFORT_ITERATIONS = (0, 40, 100, 250, 600)
"""Iterations of the search by effort."""
_HALO = 64
"""Pixels around a part whose symbols are settled, but whose reconstruction it influences."""
_PART_SIDE = 640
"""Pixels, halo included: about 3 GB of memory while gradients are computed."""
_UNCOUNTED = 32
"""Pixels at the rim of the halo where the picture's other parts are missed too much to count errors."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """How long to search, and with which model.

    Attributes:
        model: whose symbols they are.
        iterations: for each part; 0 for no search.
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
        """How often `refine` will tick."""
        return self.iterations * len(_parts(header))

    def refine(self, store: SymbolStore, picture: Picture, header: Header, tick: Callable[[], None]) -> None:
        """Replace the residuals in the store, which holds those of the whole picture.

        Raises:
            MissingDependencyError: Keras, or a backend that computes gradients, is not installed.
        """
        search = open_search(self.model)
        for part in _parts(header):
            symbols = store.read(part.reach)
            found = search.improve(
                window_pixels(picture, part.reach),
                _counted(part.reach, header),
                *symbols,
                _free(part),
                header.level,
                iterations=self.iterations,
                tick=tick,
            )
            store.write(part.core, part.crop(Symbols(symbols.z, found)))


def _parts(header: Header) -> tuple[Window, ...]:
    return plan_windows(header, _HALO, side=_PART_SIDE)


def _counted(reach: Box, header: Header) -> NDArray[np.bool_]:
    """(height, width): the pixels of the picture, but for the rim of the reach inside of it."""
    rows, columns = np.arange(reach.y, reach.bottom), np.arange(reach.x, reach.right)
    return np.logical_and.outer(
        _inside(rows, reach.y, reach.bottom, header.padded_height) & (rows < header.height),
        _inside(columns, reach.x, reach.right, header.padded_width) & (columns < header.width),
    )


def _inside(places: NDArray[np.int64], first: int, end: int, limit: int) -> NDArray[np.bool_]:
    low = first + (_UNCOUNTED if first > 0 else 0)
    high = end - (_UNCOUNTED if end < limit else 0)
    return np.asarray((places >= low) & (places < high))


def _free(part: Window) -> NDArray[np.bool_]:
    """(height / 16, width / 16): the positions of the core in the reach."""
    free = np.zeros((part.reach.height // LATENT_STRIDE, part.reach.width // LATENT_STRIDE), np.bool_)
    part.crop_latents(free)[...] = True
    return free
