"""The tables of the hyper-latents, fitted at export: distributions by channel, context and level, shared.

Each channel has, at each level node and in each context, a distribution of its own. There are thousands of
them, many alike: they are put into 192 clusters by the bits that sharing costs (Lloyd's algorithm with the
Kullback-Leibler divergence: Banerjee et al., "Clustering with Bregman divergences", JMLR 2005).
"""

from __future__ import annotations

import numpy as np

from aecodec.entropy import CONTEXT_COUNT, TABLE_COUNT, HyperTables, symbols_and_contexts, tables_of
from aecodec.networks.architecture import Architecture

LIMIT = 32
"""Magnitude from which on symbols are escapes."""
ROUNDS = 40
"""Of Lloyd's algorithm."""
PRIOR = 4.0
"""How many symbols the distribution of a channel, whatever the context, counts in each of its contexts."""
PRIOR_OF_LEVELS = 0.02
"""What share a symbol at another level has in that distribution."""
_WIDTH = 2 * LIMIT + 1
_SYMBOLS = np.arange(-LIMIT, LIMIT + 1)
_WIDE = 2.0 ** -np.abs(_SYMBOLS)
"""A distribution, not normalised, for symbols of which nothing is known."""


class HyperCounts:
    """Counts the symbols of hyper-latents.

    Args:
        architecture: of their model.
    """

    def __init__(self, architecture: Architecture) -> None:
        a = architecture
        self._sublevels = a.sublevels
        self._counts = np.zeros((a.level_nodes, CONTEXT_COUNT, a.hyper_channels, _WIDTH))

    def add(self, z: np.ndarray, level: int) -> None:
        """Count the hyper-latents of a chunk, int16 (h, w, channel), for the level nodes around a level."""
        symbols, contexts = symbols_and_contexts(z)
        _, _, channels = z.shape
        places = (contexts * channels + np.arange(channels)) * _WIDTH
        places += np.clip(symbols, -LIMIT, LIMIT) + LIMIT
        _, *shape = self._counts.shape
        counts = np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)
        node, sublevel = divmod(level, self._sublevels)
        share = sublevel / self._sublevels
        self._counts[node] += (1 - share) * counts
        if share:
            self._counts[node + 1] += share * counts

    def fitted(self) -> HyperTables:
        """Tables for what was counted, wide ones last."""
        distributions, weights = _distributions(self._counts)
        chosen, centres = _clusters(distributions, weights)
        nodes, contexts, channels, _ = self._counts.shape
        choice = chosen.reshape(nodes, contexts, channels).astype(np.uint8)
        return HyperTables(tables_of(centres), choice)


def uniform_hyper_tables(architecture: Architecture) -> HyperTables:
    """Tables before anything was counted: those of one distribution, a wide one."""
    tables = tables_of(np.tile(_WIDE, (TABLE_COUNT, 1)))
    shape = (architecture.level_nodes, CONTEXT_COUNT, architecture.hyper_channels)
    return HyperTables(tables, np.zeros(shape, np.uint8))


def _distributions(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (node * context * channel, symbol), and how much each of them weighs."""
    of_channel = counts.sum(axis=1, keepdims=True)
    of_channel = of_channel + PRIOR_OF_LEVELS * of_channel.sum(axis=0)
    of_channel += _WIDE  # a channel that is always zero may not stay so
    smooth = counts + PRIOR * of_channel / of_channel.sum(axis=-1, keepdims=True)
    rows = smooth.reshape(-1, _WIDTH)
    return rows / rows.sum(axis=1, keepdims=True), counts.sum(axis=-1).ravel() + 1


def _clusters(distributions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each distribution its cluster, by ascending spread; and the clusters (192, symbol)."""
    spread = distributions @ np.square(_SYMBOLS)
    count = len(distributions)
    chosen = np.empty(count, np.intp)
    chosen[np.argsort(spread, kind="stable")] = np.arange(count) * TABLE_COUNT // count
    for _ in range(ROUNDS):
        centres = _centres(distributions, weights, chosen)
        chosen = np.argmin(-(distributions @ np.log2(centres).T), axis=1)
    centres = _centres(distributions, weights, chosen)
    order = np.argsort(centres @ np.square(_SYMBOLS), kind="stable")
    return np.argsort(order)[chosen], centres[order]


def _centres(distributions: np.ndarray, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """float64 (192, symbol): the mean of each cluster; one that is empty is wide."""
    centres = np.tile(1e-6 * _WIDE, (TABLE_COUNT, 1))
    np.add.at(centres, chosen, distributions * weights[:, np.newaxis])
    normalised: np.ndarray = centres / centres.sum(axis=1, keepdims=True)
    return normalised
