"""When a run keeps its state, and when it returns to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aecodec.training import recovery as recovery_module
from aecodec.training.backends import Batch, StepResults
from aecodec.training.recovery import Recovery


class Counter:
    """A trainer whose state is a number."""

    def __init__(self) -> None:
        self.number = 0

    def train(self, first: int, batches: Sequence[Batch], learning_rates: Sequence[float]) -> StepResults:
        raise NotImplementedError

    def prepare(self, batch: int, size: int, steps: int) -> None:
        raise NotImplementedError

    def synchronise(self) -> None:
        raise NotImplementedError

    def state(self) -> Any:
        return self.number

    def set_state(self, state: Any) -> None:
        self.number = state


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Counter:
    monkeypatch.setattr(recovery_module, "SECONDS_BETWEEN", 0.0)
    return Counter()


def watch(recovery: Recovery, trainer: Counter, *medians: float) -> list[bool]:
    """Report medians, one after the other; the state counts the reports."""
    answers = []
    for median in medians:
        trainer.number += 1
        answers.append(recovery.watch(np.full((10, 10), median, np.float32)))
    return answers


def test_training_that_goes_well_is_left_alone(trainer: Counter) -> None:
    recovery = Recovery(trainer)
    assert watch(recovery, trainer, 13.0, 8.0, 5.0, 5.5, 9.0) == [False] * 5
    assert (trainer.number, recovery.rate_scale, recovery.best_loss) == (5, 1.0, 5.0)


@pytest.mark.parametrize("median", [20.0, 1e9, np.inf, np.nan])
def test_after_divergence_a_state_is_taken_that_has_proved_sound(median: float, trainer: Counter) -> None:
    """The third report is sound, but only of the steps before: nobody knows the state that it came with."""
    recovery = Recovery(trainer)
    assert watch(recovery, trainer, 8.0, 5.0, 5.0, median) == [False, False, False, True]
    assert (trainer.number, recovery.rate_scale) == (2, 0.5)


def test_a_state_that_diverges_again_is_returned_to_at_ever_lower_rates_but_not_for_ever(
    trainer: Counter,
) -> None:
    recovery = Recovery(trainer)
    watch(recovery, trainer, 5.0, 5.0)
    assert watch(recovery, trainer, 1e9, 1e9, 1e9, 1e9, 1e9) == [True, True, True, False, False]
    assert recovery.rate_scale == 0.125
    watch(recovery, trainer, 5.0)
    assert watch(recovery, trainer, 1e9) == [True]


def test_after_a_return_the_same_state_is_kept_until_another_has_proved_sound(trainer: Counter) -> None:
    recovery = Recovery(trainer)
    watch(recovery, trainer, 5.0, 5.0, 1e9)
    assert trainer.number == 1
    watch(recovery, trainer, 5.0, 1e9)
    assert trainer.number == 1


def test_single_samples_decide_nothing(trainer: Counter) -> None:
    recovery = Recovery(trainer)
    watch(recovery, trainer, 5.0, 5.0)
    losses = np.full(100, 5.0, np.float32)
    losses[:40] = 1e8
    assert not recovery.watch(losses)
    assert recovery.sound


def test_a_median_is_taken_of_enough_samples(trainer: Counter) -> None:
    recovery = Recovery(trainer)
    watch(recovery, trainer, 5.0, 5.0)
    few = np.full(recovery_module.FEWEST_SAMPLES // 4, 1e8, np.float32)
    assert [recovery.watch(few) for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("medians", [(np.nan, np.inf), (np.inf, np.nan)])
def test_a_run_that_begins_diverged_has_nothing_to_return_to(
    medians: tuple[float, ...], trainer: Counter
) -> None:
    recovery = Recovery(trainer)
    assert watch(recovery, trainer, *medians) == [False, False]
    assert (recovery.rate_scale, recovery.sound) == (1.0, False)


def test_states_are_copied_no_oftener_than_that_is_worth() -> None:
    trainer = Counter()
    recovery = Recovery(trainer)
    assert watch(recovery, trainer, 5.0, 5.0, 5.0, 1e9) == [False] * 4
