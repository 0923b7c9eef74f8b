"""Training of all but the encoder: what it changes, and what it leaves as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="the steps are taken by TensorFlow")

from aecodec.errors import InputError
from aecodec.models import Model
from aecodec.training.checkpoint import part, read_checkpoint
from aecodec.training.decoder import DecoderPlan, DecoderTraining
from tests.networks.helpers import numpy
from tests.training.pictures import write_pictures

HELD = ("analysis/", "hyper_analysis/", "log_gain/", "hyper_log_gain/")


HELD_WITH_HYPER_LATENTS = ("analysis/", "synthesis/", "log_gain/", "log_inverse_gain/")


@pytest.fixture
def plan(tmp_path: Path, tiny_model: Model) -> DecoderPlan:
    folder = write_pictures(tmp_path / "pictures", ("1.png", "2.png", "37.png"), 64, 96)
    return DecoderPlan(
        (folder,), tiny_model.folder, tmp_path / "out", minutes=1e-6, crops=3, crop=64, batch=2
    )


@pytest.mark.parametrize(
    ("hyper_latents", "held"), [(False, HELD), (True, HELD_WITH_HYPER_LATENTS)], ids=["decoder", "hyper"]
)
def test_steps_lower_the_loss_and_leave_alone_what_is_held(
    plan: DecoderPlan, hyper_latents: bool, held: tuple[str, ...]
) -> None:
    run = DecoderTraining(replace(plan, clip_norm=1e9, hyper_latents=hyper_latents))
    before = {variable.path: numpy(variable) for variable in run.model.variables}
    losses = [float(np.mean(run.advance(3e-3)[1])) for _ in range(40)]
    assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:8])
    for variable in run.model.variables:
        is_held = variable.path.removeprefix("autoencoder/").startswith(held)
        assert not (is_held and variable.trainable)
        assert not is_held or np.array_equal(numpy(variable), before[variable.path])
    learning = (
        ("hyper_analysis/", "hyper_log_gain/") if hyper_latents else ("synthesis/", "log_inverse_gain/")
    )
    for prefix in learning:
        changed = [
            not np.array_equal(numpy(variable), before[variable.path])
            for variable in run.model.trainable_variables
            if variable.path.removeprefix("autoencoder/").startswith(prefix)
        ]
        assert any(changed)


@pytest.mark.parametrize("hyper_latents", [False, True])
def test_a_run_writes_averages_of_all_weights_and_a_log(plan: DecoderPlan, hyper_latents: bool) -> None:
    path = DecoderTraining(replace(plan, hyper_latents=hyper_latents)).run(report_every=1)
    arrays = read_checkpoint(path)
    names = part(arrays, "average/")
    assert {"analysis/enter/kernel", "synthesis/leave/kernel", "step_4/leave/kernel"} <= names.keys()
    assert arrays["progress/step"] >= 0
    lines = [json.loads(line) for line in (plan.out / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines][:2] == ["start", "held-out"]
    assert lines[-1]["held_out_loss"] > 0


def test_a_step_depends_on_the_seed_and_its_number_alone(plan: DecoderPlan) -> None:
    first, again = DecoderTraining(plan), DecoderTraining(replace(plan, out=plan.out / "again"))
    assert np.array_equal(first.advance(1e-3)[1], again.advance(1e-3)[1])
    state = first.state()
    second = first.advance(1e-3)[1]
    first.set_state(state)
    first.step -= 1
    np.testing.assert_allclose(first.advance(1e-3)[1], second, rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"crop": 100}, {"batch": 0}, {"minutes": 0.0}, {"anneal_from": 1.0}])
def test_plans_that_make_no_sense_are_refused(plan: DecoderPlan, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="found DecoderPlan"):
        replace(plan, **wrong)
