"""What runtimes share: how far the synthesis looks, and its linear part, which makes small previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.errors import ModelError
from aecodec.networks.architecture import LATENT_UNIT, PIXEL_CENTRE, SHORTCUT_UNIT
from aecodec.runtime import PATCH

if TYPE_CHECKING:
    from aecodec.models import Model

__all__ = ["linear_preview", "synthesis_halo"]

_SHORTCUT: Final = "synthesis/shortcut/map"


def synthesis_halo(model: Model) -> int:
    """Pixels, a multiple of 16, that the synthesis needs around a rectangle.

    Raises:
        ModelError: the manifest does not name it.
    """
    try:
        return int(model.manifest["halo"]["synthesis"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"Expected the halo of the synthesis of the model {model.name} in {model.folder / 'model.json'}, "
            f"found none ({error}): reinstall the model"
        ) from error


def linear_preview(model: Model, latents: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """See `aecodec.runtime.Runtime.preview`."""
    kernel, bias = (_patch_means(model.arrays[f"{_SHORTCUT}/{name}"], scale) for name in ("kernel", "bias"))
    rows, columns, _ = latents.shape
    side = PATCH // scale
    patches = (SHORTCUT_UNIT * LATENT_UNIT * latents) @ kernel + bias + PIXEL_CENTRE
    squares = patches.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return squares.reshape(rows * side, columns * side, 3).astype(np.float32, copy=False)


def _patch_means(weights: NDArray[Any], scale: int) -> NDArray[np.float32]:
    """Weights or bias (..., 16 * 16 * 3) of the shortcut -> those of the means of scale x scale pixels,
    (..., 16 / scale * 16 / scale * 3).
    """
    values = np.asarray(weights, np.float32)
    side = PATCH // scale
    squares = values.reshape(*values.shape[:-1], side, scale, side, scale, 3)
    means: NDArray[np.float32] = squares.mean(axis=(-4, -2)).reshape(*values.shape[:-1], -1)
    return means
