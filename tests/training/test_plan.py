"""Plans: what they refuse, the schedule, and their form in the log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecodec.errors import InputError
from aecodec.training.plan import WARM_UP, TrainingPlan

PLAN = TrainingPlan((Path("pictures"), Path("tiles.tar")), learning_rate=0.01, anneal_from=0.5)
SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preset", "huge"),
        ("optimizer", "sgd"),
        ("steps", 0),
        ("steps_per_call", 0),
        ("batch", 0),
        ("report_every", 0),
        ("minutes", 0.0),
        ("learning_rate", -1e-3),
        ("clip_norm", 0.0),
        ("crop", 0),
        ("crop", 100),
        ("large_crop", 255),
        ("large_crop_from", 1.1),
        ("anneal_from", -0.1),
        ("average", 1.5),
        ("evaluate_every", -1),
        ("drawn", -0.1),
        ("drawn", 1.0),
        ("seed", -1),
        ("keep_schedule", True),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        replace(PLAN, **{name: value})


def test_crops_grow_late_with_as_many_pixels_a_step() -> None:
    plan = replace(PLAN, batch=8, crop=256, large_crop=384, large_crop_from=0.8)
    assert plan.at(0.0) == plan.at(0.79) == (8, 256)
    assert plan.at(0.8) == plan.at(1.0) == (4, 384)
    assert replace(plan, batch=1).at(0.9) == (1, 384)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    assert PLAN.learning_rate_at(0.0, 0) == pytest.approx(0.01 / WARM_UP)
    assert PLAN.learning_rate_at(0.1, WARM_UP // 2 - 1) == pytest.approx(0.005)
    assert PLAN.learning_rate_at(0.1, WARM_UP) == PLAN.learning_rate_at(0.5, 10_000) == 0.01
    assert PLAN.learning_rate_at(0.75, 10_000) == pytest.approx(0.005)
    assert PLAN.learning_rate_at(1.0, 10_000) == 0
    assert PLAN.learning_rate_at(1.2, 10_000) == 0


@given(SHARES, SHARES, SHARES, st.integers(0, 500))
def test_annealing_never_raises_the_rate(anneal_from: float, first: float, second: float, step: int) -> None:
    plan = replace(PLAN, anneal_from=anneal_from)
    early, late = (plan.learning_rate_at(progress, step) for progress in sorted((first, second)))
    assert 0 <= late <= early <= plan.learning_rate


def test_a_plan_that_never_anneals_stays_at_the_peak() -> None:
    plan = replace(PLAN, anneal_from=1.0)
    assert plan.learning_rate_at(1.0, 10_000) == plan.learning_rate_at(1.2, 10_000) == 0.01


def test_the_log_takes_a_plan_as_json() -> None:
    told = json.loads(json.dumps(replace(PLAN, resume=Path("old.npz")).to_dict()))
    assert told["data"] == ["pictures", "tiles.tar"]
    assert told["resume"] == "old.npz"
    assert told["learning_rate"] == 0.01
