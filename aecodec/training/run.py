"""One training run: what it starts from, its steps, and what it writes down."""

from __future__ import annotations

import time
from pathlib import Path

import click
import keras
import numpy as np

from aecodec.networks.architecture import PATCH, PRESETS
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.transforms import linear_transform_from_patches
from aecodec.training.backends import Batch, StepResults, make_trainer
from aecodec.training.checkpoint import (
    averaged_weights,
    load_checkpoint,
    save_averages,
    save_checkpoint,
    set_released_weights,
    start_average,
)
from aecodec.training.data import PictureSet, draw_crops, draw_levels, draw_patches, load_pictures
from aecodec.training.device import device_limit, operations_per_pixel
from aecodec.training.drawings import with_drawings
from aecodec.training.evaluation import Evaluation
from aecodec.training.log import Log
from aecodec.training.loss import count_outliers, psnr
from aecodec.training.optimizer import make_optimizer
from aecodec.training.plan import TrainingPlan
from aecodec.training.recovery import Recovery

KLT_PATCHES = 60_000
DRAWN_SIDE = 512
CHECKPOINT_FILE = "checkpoint.npz"
AVERAGES_FILE = "averages.npz"
LOG_FILE = "log.jsonl"


def train(plan: TrainingPlan) -> Path:
    """Run a plan to its end, or until Ctrl-C; returns the path of the last checkpoint.

    Raises:
        InputError: there are no pictures, or the checkpoint to resume from does not fit.
        ModelError: the model to resume from does not fit.
        MissingDependencyError: Keras runs on a backend that is not trained on.
    """
    return TrainingRun(plan).run()


class TrainingRun:
    """A run and how far it has come.

    Attributes:
        plan: what it does.
        model: the weights; on JAX those of the last synchronisation.
        optimizer: its state, likewise.
        step: steps taken, those before ``plan.resume`` included when the schedule goes on.
    """

    def __init__(self, plan: TrainingPlan) -> None:
        plan.out.mkdir(parents=True, exist_ok=True)
        self.plan = plan
        self.checkpoint = plan.out / CHECKPOINT_FILE
        self._log = Log(plan.out / LOG_FILE)
        keras.utils.set_random_seed(plan.seed)
        largest_crop = max(plan.crop, plan.large_crop)
        pictures, held_out = load_pictures(plan.data, minimum_side=largest_crop)
        self.model = Autoencoder(
            PRESETS[plan.preset], dtype=plan.precision, through_scales=plan.through_scales
        )
        self.optimizer = make_optimizer(plan.optimizer, clip_norm=plan.clip_norm, average=plan.average)
        self.optimizer.build(self.model.trainable_variables)
        spent = self._set_weights(pictures)
        self.step = int(spent.get("step", 0))
        self._pictures = with_drawings(pictures, plan.drawn, max(DRAWN_SIDE, largest_crop), plan.seed)
        self._trainer = make_trainer(self.model, self.optimizer, self._pictures, plan.seed)
        self._recovery = Recovery(self._trainer, spent.get("rate_scale", 1.0), spent.get("best_loss", np.inf))
        self._operations_per_pixel = operations_per_pixel(PRESETS[plan.preset])
        self._device_limit = device_limit()
        self._log_start(len(held_out))
        self._evaluation = Evaluation(self.model, held_out) if len(held_out) else None
        self._began = time.monotonic() - spent.get("seconds", 0.0)
        for progress in (self.progress, 1.0):
            self._trainer.prepare(*plan.at(progress), plan.steps_per_call)
        self._saved_at = time.monotonic()
        self._recent: list[StepResults] = []
        self._recent_pixels = 0
        self._recent_since = time.monotonic()
        self._measured_at_step = -1

    def run(self) -> Path:
        """Take the steps that are left; returns the path of the checkpoint."""
        try:
            while self.progress < 1:
                self.advance()
        except KeyboardInterrupt:
            click.echo("interrupted: writing a checkpoint", err=True)
        self._report()
        self.save()
        self.measure()
        self._log.write("end", {"step": self.step, "minutes": self.seconds / 60})
        return self.checkpoint

    @property
    def seconds(self) -> float:
        """Time spent, that before ``plan.resume`` included when the schedule goes on."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """The share of the budget that is spent; 1 and more at the end."""
        return max(self.step / self.plan.steps, self.seconds / (60 * self.plan.minutes))

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self._learning_rate_at(self.progress, self.step)

    def advance(self) -> StepResults:
        """Take the steps of one call, and report, measure and save whenever it is time."""
        before = self.step
        results = self.take_steps()
        self._recent.append(results)
        if _passed(before, self.step, self.plan.report_every):
            self._report()
        if _passed(before, self.step, self.plan.evaluate_every):
            self.measure()
        due = time.monotonic() - self._saved_at > 60 * self.plan.checkpoint_minutes
        if due and self._recovery.sound:
            self.save()
        return results

    def take_steps(self) -> StepResults:
        """Draw the batches of one call and train on them."""
        count, progress = self.plan.steps_per_call, self.progress
        numbers = range(self.step, self.step + count)
        batches = [self._draw(number, *self.plan.at(progress)) for number in numbers]
        rates = [self._learning_rate_at(progress, number) for number in numbers]
        results = self._trainer.train(self.step, batches, rates)
        self.step += count
        self._recent_pixels += sum(len(batch.levels) * batch.crops.size**2 for batch in batches)
        return results

    def _learning_rate_at(self, progress: float, step: int) -> float:
        """That of the plan, less what divergence has taken away."""
        return self._recovery.rate_scale * self.plan.learning_rate_at(progress, step)

    def _draw(self, number: int, batch: int, side: int) -> Batch:
        """The batch of a step."""
        generator = np.random.default_rng([self.plan.seed, number])
        crops = draw_crops(self._pictures, batch, side, generator)
        return Batch(crops, draw_levels(batch, self.model.architecture.level_count, generator))

    def measure(self) -> None:
        """Log what the averaged weights reach on the held-out pictures, if there are any."""
        if self._evaluation is None or self._measured_at_step == self.step:
            return
        self._trainer.synchronise()
        began = time.monotonic()
        with averaged_weights(self.model, self.optimizer):
            self._log.write("held-out", {"step": self.step, **self._evaluation.measure()})
        self._measured_at_step = self.step
        self._recent_since += time.monotonic() - began

    def save(self) -> None:
        """Write the checkpoint, and beside it its averages alone."""
        self._trainer.synchronise()
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "rate_scale": self._recovery.rate_scale,
            "best_loss": self._recovery.best_loss,
        }
        save_checkpoint(self.checkpoint, self.model, self.optimizer, progress)
        save_averages(self.plan.out / AVERAGES_FILE, self.model, self.optimizer, progress)
        self._saved_at = time.monotonic()

    def _set_weights(self, pictures: PictureSet) -> dict[str, float]:
        """Set what training starts from; returns the progress of the checkpoint, if its schedule goes on.

        Args:
            pictures: whose principal components fresh weights start from.
        """
        source, architecture = self.plan.resume, self.model.architecture
        if source is None:
            patches = draw_patches(pictures, KLT_PATCHES, PATCH)
            transform = linear_transform_from_patches(patches, architecture.latent_channels)
            self.model.set_linear_transform(transform)
        elif self.plan.keep_schedule:
            return load_checkpoint(source, self.model, self.optimizer)
        elif source.is_dir():
            set_released_weights(self.model, source)
        else:
            load_checkpoint(source, self.model, None)
        start_average(self.model, self.optimizer)
        return {}

    def _log_start(self, held_out: int) -> None:
        counts = {"training_pictures": len(self._pictures), "held_out_pictures": held_out}
        device = {"device_teraflops": self._device_limit / 1e12}
        self._log.write("start", {**counts, **device, "plan": self.plan.to_dict()})
        if not held_out:
            self._log.write("note", {"text": "no picture is held out, so nothing will be measured on any"})

    def _report(self) -> None:
        """Log the means over the steps since the last report."""
        results, self._recent = self._recent, []
        if not results:
            return
        outliers = sum(count_outliers(np.asarray(result.loss)) for result in results)
        losses, rates, distortions, norms = (
            np.concatenate([np.asarray(values).ravel() for values in column])
            for column in zip(
                *((r.loss, r.bits_per_pixel, r.mean_squared_error, r.gradient_norm) for r in results),
                strict=True,
            )
        )
        finite = norms[np.isfinite(norms)]
        elapsed = time.monotonic() - self._recent_since
        operations = self._recent_pixels * self._operations_per_pixel / elapsed
        self._recent_pixels = 0
        self._recent_since = time.monotonic()
        values = {
            "step": self.step,
            "loss": float(np.mean(losses)),
            "bits_per_pixel": float(np.mean(rates)),
            "psnr": float(np.mean(psnr(distortions))),
            "outliers": outliers,
            "gradient_norm": float(np.median(finite)) if len(finite) else np.nan,
            "not_finite": len(norms) - len(finite),
            "learning_rate": self.learning_rate,
            "seconds_per_step": elapsed / len(norms),
            "samples_per_second": len(losses) / elapsed,
            "teraflops": operations / 1e12,
            "share_of_device": operations / self._device_limit,
            "minutes": self.seconds / 60,
        }
        self._log.write("train", values)
        self._watch(losses)

    def _watch(self, losses: np.ndarray) -> None:
        """Return to sound weights where training has diverged, and say so."""
        began = time.monotonic()
        if self._recovery.watch(losses):
            scale = self._recovery.rate_scale
            text = f"diverged: back to the weights of before, at {scale:g} of the learning rate"
            self._log.write("note", {"step": self.step, "text": text})
        self._recent_since += time.monotonic() - began


def _passed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of ``every`` was reached on the way; never where it is 0."""
    return bool(every) and after // every > before // every
