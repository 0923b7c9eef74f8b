"""What a run returns to when it has diverged."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np

DIVERGED = 2.0
"""A median loss more than so many times the best one is no noise. Measured with the `base` preset on a GPU,
at a learning rate of 1e-3 and with drawn patterns: 5.2, 5.5 and 2,000,000 in three reports."""
SOUND = 1.25
"""Up to so many times the best median, training is sound."""
FEWEST_SAMPLES = 64
"""That a median is taken of."""
SECONDS_BETWEEN = 30.0
"""Copying a state takes a fifth of a second with the `base` preset."""
MOST_RETURNS = 3
"""In a row: where half of the rate, a quarter and an eighth have not helped, less will not."""


class Stateful(Protocol):
    """What a trainer must do to be returned to sound weights."""

    def state(self) -> Any:
        """A copy of weights and optimiser."""

    def set_state(self, state: Any) -> None:
        """Return to what `state` gave."""


class Recovery:
    """Keeps a state of sound training in memory, and returns to it, at half the learning rate.

    The median over samples decides, not the mean: single samples with losses of up to 10^8 come and go. A
    state is returned to only if training was sound after it, too: losses are measured before the steps that
    they lead to.

    Attributes:
        rate_scale: what the schedule's learning rates are multiplied by.
        best_loss: the lowest median so far.
        sound: whether the last median was.
    """

    def __init__(self, trainer: Stateful, rate_scale: float = 1.0, best_loss: float = np.inf) -> None:
        self.rate_scale = rate_scale
        self.best_loss = best_loss
        self.sound = True
        self._trainer = trainer
        self._losses = np.zeros(0, np.float32)
        self._returns = 0
        self._kept: Any = None
        self._candidate: Any = None
        self._copied_at = -np.inf

    def watch(self, losses: np.ndarray) -> bool:
        """Keep the state, leave it, or return to the kept one; whether it was returned to.

        Args:
            losses: float32, any shape, of the samples since the last call.
        """
        self._losses = np.concatenate([self._losses, losses.ravel()])
        if self._losses.size < FEWEST_SAMPLES:
            return False
        median = float(np.median(self._losses))
        self._losses = self._losses[:0]
        self.sound = bool(np.isfinite(median) and median <= SOUND * self.best_loss)
        if self.sound:
            self.best_loss = min(self.best_loss, median)
            self._returns = 0
            self._keep()
        elif not median <= DIVERGED * self.best_loss:
            return self._return()
        return False

    def _keep(self) -> None:
        """What was copied before has proved sound; copy what is to prove itself next."""
        now = time.monotonic()
        if now - self._copied_at >= SECONDS_BETWEEN:
            self._kept, self._candidate = self._candidate, self._trainer.state()
            self._copied_at = now

    def _return(self) -> bool:
        self._candidate, self._copied_at = self._kept, -np.inf
        if self._kept is None or self._returns == MOST_RETURNS:
            return False
        self._trainer.set_state(self._kept)
        self._returns += 1
        self.rate_scale /= 2
        return True
