"""Training runs: when they report, measure and save, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="the steps are taken by TensorFlow")

import tensorflow as tf
from keras import ops

from aecodec.errors import InputError, ModelError
from aecodec.models import Model
from aecodec.training import recovery as recovery_module
from aecodec.training import run as run_module
from aecodec.training.backends import StepResults
from aecodec.training.checkpoint import averaged_weights_of, read_checkpoint, weights_of
from aecodec.training.plan import TrainingPlan
from aecodec.training.run import TrainingRun
from tests.networks.helpers import differing, linear_transform
from tests.training.pictures import write_pictures

Plans = Callable[..., TrainingPlan]


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The linear transform that training begins with is computed once."""
    monkeypatch.setattr(run_module, "KLT_PATCHES", 10)
    monkeypatch.setattr(run_module, "device_limit", lambda: 1e12)
    monkeypatch.setattr(run_module, "linear_transform_from_patches", lambda _, count: linear_transform(count))


@pytest.fixture
def eager() -> Iterator[None]:
    """Compiling a step takes longer than taking a few."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def plan(tmp_path: Path) -> Plans:
    """A plan of a small run; names of pictures may be given."""

    def plan(names: tuple[str, ...] = ("1.png", "2.png", "37.png"), **changes: Any) -> TrainingPlan:
        folder = write_pictures(tmp_path / "pictures", names, 64, 96)
        small = TrainingPlan(
            (folder,),
            tmp_path / "out",
            preset="tiny",
            steps=4,
            minutes=1e9,
            batch=1,
            crop=64,
            large_crop=64,
            optimizer="adam",
            precision="float32",
            report_every=2,
            evaluate_every=0,
        )
        return replace(small, **changes)

    return plan


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take no time and train nothing, and measurements that measure nothing."""

    def take_steps(self: TrainingRun) -> StepResults:
        self.step += 1
        loss = np.array([[float(self.step)]])
        return StepResults(loss / 2, loss, loss, np.array([np.nan if self.step == 3 else 1.0]))

    monkeypatch.setattr(TrainingRun, "take_steps", take_steps)
    monkeypatch.setattr(run_module.Evaluation, "measure", lambda self: {"held_out_loss": 1.5})


def log_of(plan: TrainingPlan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (plan.out / "log.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("stubbed")
def test_a_run_reports_measures_and_saves_when_it_is_time(plan: Plans) -> None:
    made = plan(steps=5, evaluate_every=3)
    path = TrainingRun(made).run()
    assert path == made.out / "checkpoint.npz"
    assert (made.out / "averages.npz").stat().st_size < path.stat().st_size / 4
    assert int(read_checkpoint(path)["progress/step"]) == 5
    log = log_of(made)
    assert [line["event"] for line in log] == [
        "start", "train", "held-out", "train", "train", "held-out", "end"
    ]  # fmt: skip
    assert [line["step"] for line in log[1:]] == [2, 3, 4, 5, 5, 5]
    assert log[0]["training_pictures"] == 2
    assert log[0]["held_out_pictures"] == 1
    assert log[0]["plan"]["preset"] == "tiny"
    assert (log[1]["loss"], log[1]["bits_per_pixel"], log[1]["not_finite"]) == (1.5, 0.75, 0)
    assert log[3]["not_finite"] == 1
    assert log[2]["held_out_loss"] == 1.5


@pytest.mark.usefixtures("stubbed")
def test_without_held_out_pictures_nothing_is_measured_and_that_is_said(plan: Plans) -> None:
    made = plan(("1.png",), evaluate_every=1)
    TrainingRun(made).run()
    log = log_of(made)
    assert "held-out" not in [line["event"] for line in log]
    assert "no picture is held out" in next(line["text"] for line in log if line["event"] == "note")


@pytest.mark.usefixtures("stubbed")
def test_an_interrupted_run_leaves_a_checkpoint(
    plan: Plans, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan(steps=100)
    run = TrainingRun(made)
    step = run.take_steps

    def interrupted() -> StepResults:
        if run.step == 3:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(run, "take_steps", interrupted)
    assert int(read_checkpoint(run.run())["progress/step"]) == 3
    assert log_of(made)[-1]["event"] == "end"
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.usefixtures("stubbed")
def test_checkpoints_are_written_on_the_way(plan: Plans) -> None:
    made = plan(checkpoint_minutes=0.0)
    run = TrainingRun(made)
    run.advance()
    assert int(read_checkpoint(run.checkpoint)["progress/step"]) == 1


@pytest.mark.usefixtures("stubbed")
def test_the_budget_is_of_steps_or_of_minutes(plan: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    run = TrainingRun(plan(steps=100, minutes=10.0))
    monkeypatch.setattr(run, "_began", run._began - 300)
    assert 0.5 <= run.progress < 0.6
    run.step = 80
    assert run.progress == 0.8


@pytest.mark.usefixtures("eager")
def test_a_run_that_diverges_returns_to_its_weights_and_says_so(
    plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "FEWEST_SAMPLES", 1)
    monkeypatch.setattr(recovery_module, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(recovery_module, "SOUND", 1.9)
    made = plan(steps=100, report_every=1, checkpoint_minutes=0.0)
    run = TrainingRun(made)
    run.advance()
    sound = run.model.analysis.enter.kernel.numpy()
    run.advance()
    rate = run.learning_rate
    take_steps = run.take_steps

    def wild() -> StepResults:
        results = take_steps()
        return replace(results, loss=results.loss * 1e6)

    monkeypatch.setattr(run, "take_steps", wild)
    run.advance()
    np.testing.assert_array_equal(run.model.analysis.enter.kernel.numpy(), sound)
    assert 0.5 * rate <= run.learning_rate < 0.8 * rate
    assert "diverged" in log_of(made)[-1]["text"]
    assert int(read_checkpoint(run.checkpoint)["progress/step"]) == 2, "saved while it was diverged"
    run.save()
    kept = plan(steps=100, resume=run.checkpoint, keep_schedule=True, out=made.out / "second")
    assert TrainingRun(kept).learning_rate == pytest.approx(run.learning_rate)


@pytest.mark.usefixtures("eager")
def test_several_steps_in_one_call_are_those_of_single_calls(plan: Plans, tmp_path: Path) -> None:
    single = TrainingRun(plan())
    expected = [single.take_steps() for _ in range(2)]
    together = TrainingRun(plan(steps_per_call=2, report_every=3, out=tmp_path / "together"))
    found = together.advance()
    assert together.step == 2
    np.testing.assert_allclose(found.loss, np.concatenate([r.loss for r in expected]), rtol=1e-4)
    together.advance()
    assert [line["step"] for line in log_of(together.plan) if line["event"] == "train"] == [4]


@pytest.mark.usefixtures("eager")
def test_the_gradient_takes_the_way_through_the_scales_where_the_plan_says_so(
    plan: Plans, tmp_path: Path
) -> None:
    kernels = []
    for name, through in (("without", False), ("through", True)):
        run = TrainingRun(plan(through_scales=through, out=tmp_path / name))
        run.take_steps()
        run.take_steps()
        kernels.append(ops.convert_to_numpy(run.model.hyper_analysis.enter.kernel))
    assert not np.array_equal(*kernels)


@pytest.mark.usefixtures("eager")
def test_a_resumed_run_goes_on_as_if_it_had_never_ended(plan: Plans, tmp_path: Path) -> None:
    first = TrainingRun(plan())
    for _ in range(2):
        first.take_steps()
    first.save()
    expected = [first.take_steps() for _ in range(2)]
    kept = plan(resume=first.checkpoint, keep_schedule=True, out=tmp_path / "second")
    second = TrainingRun(kept)
    assert second.step == 2
    assert second.progress == 0.5
    found = [second.take_steps() for _ in range(2)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-4)
        np.testing.assert_allclose(one.gradient_norm, other.gradient_norm, rtol=1e-3)
    averages = [averaged_weights_of(run.model, run.optimizer) for run in (first, second)]
    for name, values in averages[0].items():
        np.testing.assert_allclose(averages[1][name], values, rtol=1e-3, atol=1e-4)


def test_weights_are_taken_over_without_the_schedule(plan: Plans, tmp_path: Path) -> None:
    first = TrainingRun(plan())
    first.model.log_gain.rows.assign(first.model.log_gain.rows + 1)
    first.step = 3
    first.save()
    second = TrainingRun(plan(resume=first.checkpoint, out=tmp_path / "second", seed=5))
    assert second.step == 0
    assert differing(weights_of(first.model), weights_of(second.model)) == 0
    assert differing(weights_of(second.model), averaged_weights_of(second.model, second.optimizer)) == 0


def test_a_released_model_can_be_trained_further(plan: Plans, tiny_model: Model) -> None:
    run = TrainingRun(plan(resume=tiny_model.folder))
    stored = np.asarray(tiny_model.arrays["synthesis/leave/kernel"], np.float32)
    assert np.array_equal(weights_of(run.model)["synthesis/leave/kernel"], stored)
    assert np.array_equal(np.asarray(run.model.normaliser), tiny_model.arrays["normaliser"])
    assert run.step == 0


def test_a_model_of_another_size_is_refused(plan: Plans, tiny_model: Model) -> None:
    with pytest.raises(ModelError, match="architecture of the preset"):
        TrainingRun(plan(resume=tiny_model.folder, preset="base"))


def test_a_checkpoint_of_another_optimiser_cannot_keep_its_schedule(plan: Plans) -> None:
    first = TrainingRun(plan())
    first.save()
    with pytest.raises(InputError, match="--optimizer"):
        TrainingRun(plan(resume=first.checkpoint, keep_schedule=True, optimizer="muon"))
