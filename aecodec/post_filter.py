"""The post-filter of a chunk: small corrections of decoded pixels, told by a few coefficients in the file.

How much the errors of a decoder have in common with what it decoded, at each frequency and in each colour,
differs from picture to picture: one was sharpened, another has chroma that was subsampled. A linear filter of
3x3 pixels and 3 colours, made for the picture, takes a part of the errors back. (Video codecs have such
filters for many classes of pixels: Tsai et al., "Adaptive loop filtering for video coding", IEEE J. Sel. Top.
Signal Process. 2013.) A model has a *basis* of filters, the principal ones of training pictures, so that few
coefficients tell a filter. How an encoder chooses them is `aecodec.filter_fitting`'s matter. The normative
text is section 11.4 of ``formats/aec.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.container import Box, Header
from aecodec.errors import ModelError
from aecodec.levels import at_level, gain_of
from aecodec.models import Model
from aecodec.windows import Window, intersection

__all__ = ["PIXEL_CENTRE", "FilterBasis", "filtered_core", "with_border"]

PIXEL_CENTRE: Final = 127.5
"""What filters take from pixels first, so that they say nothing of the mean."""
_LEVELS_PER_NODE: Final = 32
_TAPS: Final = (3, 3, 3, 3)
_Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FilterBasis:
    """The filters of a model that the post-filters of chunks are put together from.

    Attributes:
        kernel: float32 (coefficient, 3, 3, 3, 3): row, column and colour of a pixel that is read, colour of
            the pixel that is corrected.
        bias: float32 (coefficient, 3).
        log_unit: float32 (node, coefficient): the logarithm of what a coefficient of 1 counts.

    Raises:
        ModelError: the arrays are of other shapes.
    """

    kernel: _Float
    bias: _Float
    log_unit: _Float

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.kernel))
        found = (self.kernel.shape[1:], self.bias.shape, self.log_unit.shape[1:])
        if found != (_TAPS, (count, 3), (count,)) or len(self.log_unit) != 8:
            raise ModelError(
                "Expected a basis of post-filters, kernel (coefficients, 3, 3, 3, 3), bias (coefficients, 3) "
                f"and log_unit (8, coefficients). Found {self.kernel.shape}, {self.bias.shape} and "
                f"{self.log_unit.shape}. Reinstall the model."
            )

    @classmethod
    def of(cls, model: Model) -> FilterBasis:
        """The basis of a model.

        Raises:
            ModelError: an array is missing or damaged, or there is another number of filters than of their
                coefficients' tables.
        """
        basis, tables = cls.from_arrays(model.arrays), model.entropy.hyper.coefficient_count
        if len(basis.kernel) != tables:
            raise ModelError(
                f"Expected {tables} filters, as many as there are tables for their coefficients. Found "
                f"{len(basis.kernel)}. Reinstall the model."
            )
        return basis

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> FilterBasis:
        """Take the arrays ``post_filter/...`` out of those of a model.

        Raises:
            ModelError: an array is missing, or of another shape.
        """
        try:
            kernel, bias, log_unit = (
                np.asarray(arrays[f"post_filter/{name}"], np.float32)
                for name in ("kernel", "bias", "log_unit/rows")
            )
        except KeyError as error:
            raise ModelError(f"The model has no array {error}. Reinstall the model.") from error
        return cls(kernel, bias, log_unit)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` reads."""
        return {
            "post_filter/kernel": self.kernel,
            "post_filter/bias": self.bias,
            "post_filter/log_unit/rows": self.log_unit,
        }

    def units(self, level: int) -> _Float:
        """(coefficient,): what a coefficient of 1 counts at a level 0..224, interpolated between nodes."""
        return gain_of(at_level(self.log_unit, level, _LEVELS_PER_NODE))

    def corrected(self, bordered: _Float, coefficients: NDArray[np.int16], level: int) -> _Float:
        """Filter a rectangle of decoded pixels.

        Args:
            bordered: float32 (height + 2, width + 2, 3), 0..255: the pixels, and those beside them.
            coefficients: int16 (coefficient,), of the chunk.
            level: 0..224.

        Returns:
            float32 (height, width, 3).
        """
        weights = (coefficients * self.units(level)).astype(np.float32)
        kernel = np.tensordot(weights, self.kernel, 1)
        height, width = bordered.shape[0] - 2, bordered.shape[1] - 2
        centred = bordered - np.float32(PIXEL_CENTRE)
        # What overflows in a file that no encoder wrote becomes a sample all the same.
        with np.errstate(over="ignore", invalid="ignore"):
            result: _Float = bordered[1:-1, 1:-1] + weights @ self.bias
            for row, column in np.ndindex(3, 3):
                result += centred[row : row + height, column : column + width] @ kernel[row, column]
        return result


def filtered_core(
    pixels: _Float,
    window: Window,
    header: Header,
    basis: FilterBasis,
    coefficients: Mapping[int, NDArray[np.int16] | None],
) -> _Float:
    """The pixels of a window's core, each filtered as its chunk says.

    Args:
        pixels: float32 (height, width, 3), of the window's reach, as synthesised. It ends a pixel or more
            away from the core, or at the border of the padded picture, beyond which the edge is repeated.
        window: in pixels of the padded picture.
        header: of the picture.
        basis: of the model.
        coefficients: by chunk; None where a chunk has none.
    """
    result = window.crop_pixels(pixels).copy()
    bordered = with_border(pixels)
    for index in header.chunks_touching(window.core):
        found = coefficients.get(index)
        if found is not None and found.any():
            box = intersection(window.core, header.chunk_box(index))
            part = _with_border_of(box, window.reach, bordered)
            target = Window(box, window.core).crop_pixels(result)
            target[...] = basis.corrected(part, found, header.level)
    return result


def with_border(pixels: _Float) -> _Float:
    """Pixels (height, width, 3) with one more on each side, the edge repeated."""
    return np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")


def _with_border_of(box: Box, reach: Box, bordered: _Float) -> _Float:
    """A box with the pixels beside it, out of the bordered pixels of a reach."""
    top, left = box.y - reach.y, box.x - reach.x
    return bordered[top : top + box.height + 2, left : left + box.width + 2]
