"""What depends on the level of a file: tables of a model with a row for each of a few levels, its nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_level", "gain_of"]

_LOG_GAIN_LIMIT = 12.0


def at_level(rows: NDArray[np.float32], level: int, sublevels: int) -> NDArray[np.float32]:
    """(channel,): a table (node, channel) at a level, interpolated linearly between its nodes.

    Args:
        rows: float32.
        level: 0..224.
        sublevels: from one node to the next.
    """
    node, sublevel = divmod(level, sublevels)
    fraction = np.float32(sublevel / sublevels)
    values: NDArray[np.float32] = (1 - fraction) * rows[node] + fraction * rows[min(node + 1, len(rows) - 1)]
    return values


def gain_of(log_gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a logarithm stands for, bounded: no model makes it overflow."""
    gain: NDArray[np.float32] = np.exp(np.clip(log_gain, -_LOG_GAIN_LIMIT, _LOG_GAIN_LIMIT))
    return gain
