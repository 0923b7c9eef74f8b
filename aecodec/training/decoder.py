"""Train all but the analysis, whose latents are computed once: what a CPU can still do for a large model.

The latents of many crops are kept on disk; prediction, scales and synthesis are trained on them, as in a last
phase in which analysis and hyper-analysis are done, with the residuals that the encoder would choose. So a
model that has been given a new prediction learns it without a GPU.

Or the synthesis is held as well, and the hyper-latents are trained in its place, with plain residuals and the
gradient of the rate through the scale network.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from keras import ops

from aecodec.errors import InputError, MissingDependencyError
from aecodec.models import find_model
from aecodec.networks.architecture import HYPER_PATCH, PATCH, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.compilation import compiled
from aecodec.networks.layers import Tensor
from aecodec.training.backends import assign_copies, copied, move_if_finite
from aecodec.training.checkpoint import (
    averaged_weights,
    averaged_weights_of,
    save_as_averages,
    set_released_weights,
    start_average,
    weights_of,
)
from aecodec.training.console import run
from aecodec.training.data import CropPlan, PictureSet, draw_crops, load_pictures, take_crops
from aecodec.training.dependent import DependentCoding
from aecodec.training.evaluation import Coding, Evaluation
from aecodec.training.log import Log
from aecodec.training.loss import lambdas_of, rate_distortion, robust_mean
from aecodec.training.optimizer import make_optimizer
from aecodec.training.plan import plain, scheduled_rate
from aecodec.training.recovery import Recovery
from aecodec.training.run import AVERAGES_FILE, LOG_FILE

LATENTS_FILE = "latents.npy"
SECONDS_BETWEEN_SAVES = 600.0
AVERAGE = 0.998
"""Momentum of the moving average of the weights."""
_BATCH = 8
_HELD = ("analysis", "hyper_analysis", "log_gain", "hyper_log_gain")
"""Hyper-latents that went on learning beside a held analysis, without the gradient through the scale network,
made the loss diverge within 500 steps."""
_HELD_WITH_HYPER_LATENTS = ("analysis", "synthesis", "log_gain", "log_inverse_gain")
"""Hyper-latents learn steadily with that gradient, which `Autoencoder` bounds."""


@dataclass(frozen=True)
class DecoderPlan:
    """What a run does.

    Attributes:
        data: folders of pictures and tar shards.
        model: folder of the released model to start from.
        out: folder of the averages (every ten minutes), the log, and the latents.
        minutes: of training; computing the latents comes before.
        crops: whose latents are kept on disk during the run: 370 kB each.
        crop: pixels along a side, a multiple of 64.
        batch: crops a step.
        learning_rate: at its peak.
        anneal_from: the share of the minutes, 0..1, from which on the learning rate falls to zero.
        clip_norm: global norm that gradients are clipped to.
        seed: of crops, levels and noise.
        hyper_latents: whether to train hyper-latents, prediction and scales instead of prediction, scales and
            synthesis.

    Raises:
        InputError: a value is not as above.
    """

    data: tuple[Path, ...]
    model: Path
    out: Path
    minutes: float = 60.0
    crops: int = 20_000
    crop: int = 384
    batch: int = 6
    learning_rate: float = 2e-4
    anneal_from: float = 0.0
    clip_norm: float = 4.0
    seed: int = 1
    hyper_latents: bool = False

    def __post_init__(self) -> None:
        counts = min(self.crops, self.batch, self.crop) >= 1 and self.crop % HYPER_PATCH == 0
        positive = min(self.minutes, self.learning_rate, self.clip_norm) > 0
        if not (counts and positive and 0 <= self.anneal_from < 1):
            raise InputError(
                "expected crops and batch of 1 at least, a crop side that is a multiple of 64, minutes, "
                "learning rate and norm above 0, and a share of 0 to below 1 to anneal from; "
                f"found {self}"
            )

    def learning_rate_at(self, progress: float, step: int) -> float:
        """At a share of the minutes, 0..1, and after so many steps."""
        return scheduled_rate(self.learning_rate, self.anneal_from, progress, step)

    def to_dict(self) -> dict[str, Any]:
        """Field names and values as JSON takes them."""
        return {name: plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Latents:
    """Latents of crops at random levels.

    Attributes:
        crops: where they were taken.
        values: float16 (crop, rows, columns, latent channels), on disk.
        levels: int16 (crop,).
    """

    crops: CropPlan
    values: np.ndarray
    levels: np.ndarray


def store_latents(model: Autoencoder, pictures: PictureSet, plan: DecoderPlan) -> Latents:
    """Compute the latents of random crops, into a file in the folder of the plan.

    Args:
        model: whose analysis is taken.
        pictures: of the size of a crop at least.
        plan: how many, how large, and where to.
    """
    generator, side = np.random.default_rng([plan.seed, 0]), plan.crop // PATCH
    shape = (plan.crops, side, side, model.architecture.latent_channels)
    crops = draw_crops(pictures, plan.crops, plan.crop, generator)
    values = np.lib.format.open_memmap(plan.out / LATENTS_FILE, "w+", np.float16, shape)
    levels = generator.integers(0, model.architecture.level_count, plan.crops).astype(np.int16)
    analyse = compiled(model, model.analysis)
    for start in range(0, plan.crops, _BATCH):
        part = slice(start, min(start + _BATCH, plan.crops))
        pixels = take_crops(pictures, _part(crops, part))
        latents = analyse(pixels.astype(np.float32), model.level_weights(levels[part]))
        values[part] = np.clip(ops.convert_to_numpy(latents), -65504, 65504)
    return Latents(crops, values, levels)


def _part(crops: CropPlan, chosen: slice | np.ndarray) -> CropPlan:
    fields = (crops.picture, crops.top, crops.left, crops.turn)
    return CropPlan(crops.size, *(values[chosen] for values in fields))


class DecoderTraining:
    """A run and how far it has come.

    Attributes:
        plan: what it does.
        model: the weights; those that the run holds are not trainable.
        step: steps taken.
    """

    def __init__(self, plan: DecoderPlan) -> None:
        if keras.backend.backend() != "tensorflow":
            raise MissingDependencyError(
                "expected Keras on TensorFlow to train the decoder alone, found "
                f"{keras.backend.backend()}; set KERAS_BACKEND=tensorflow"
            )
        import tensorflow as tf

        self._tensorflow = tf
        plan.out.mkdir(parents=True, exist_ok=True)
        self.plan, self.step = plan, 0
        self._log = Log(plan.out / LOG_FILE)
        pictures, held_out = load_pictures(plan.data, minimum_side=plan.crop)
        architecture = Architecture.from_dict(find_model(plan.model).manifest["architecture"])
        self.model = Autoencoder(architecture, dtype="mixed_bfloat16", through_scales=plan.hyper_latents)
        set_released_weights(self.model, plan.model)
        self._pictures = pictures
        self._latents = store_latents(self.model, pictures, plan)
        self._released = weights_of(self.model)
        _hold(self.model, _HELD_WITH_HYPER_LATENTS if plan.hyper_latents else _HELD)
        self._coding = DependentCoding(self.model, find_model(plan.model).entropy.steps)
        self._optimizer = make_optimizer("muon", clip_norm=plan.clip_norm, average=AVERAGE)
        self._trained = list(self.model.trainable_variables)
        self._optimizer.build(self._trained)
        start_average(self.model, self._optimizer)
        self._compiled_step = tf.function(self._step, autograph=False)
        self._recovery = Recovery(self)
        self._evaluation = (
            Evaluation(self.model, held_out, coding=self._evaluation_pass) if len(held_out) else None
        )
        self._log.write("start", {"crops": plan.crops, "plan": plan.to_dict()})

    def run(self, report_every: int = 100) -> Path:
        """Train for the minutes of the plan, or until Ctrl-C; returns the path of the averages."""
        began = time.monotonic()
        path = self.plan.out / AVERAGES_FILE
        self.measure()
        try:
            self._train(began, path, report_every)
        except KeyboardInterrupt:
            click.echo("interrupted: writing the averages", err=True)
        self._save(path, time.monotonic() - began)
        with averaged_weights(self.model, self._optimizer):
            self.measure()
        (self.plan.out / LATENTS_FILE).unlink()
        return path

    def _train(self, began: float, path: Path, report_every: int) -> None:
        saved = began
        recent: list[tuple[np.ndarray, np.ndarray, float]] = []
        while (progress := (time.monotonic() - began) / (60 * self.plan.minutes)) < 1:
            rate = self._recovery.rate_scale * self.plan.learning_rate_at(progress, self.step)
            recent.append(self.advance(rate))
            if len(recent) == report_every:
                self._report(recent, progress * self.plan.minutes)
                recent = []
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                saved = time.monotonic()
                self._save(path, saved - began)

    def _report(self, results: list[tuple[np.ndarray, np.ndarray, float]], minutes: float) -> None:
        """Log the medians over some steps; return to sound weights where they tell of divergence."""
        rates, losses, norms = (np.stack(column) for column in zip(*results, strict=True))
        medians = {"bits_per_pixel": rates, "loss": losses, "gradient_norm": norms}
        values = {name: float(np.median(column)) for name, column in medians.items()}
        self._log.write("train", {"step": self.step, **values, "minutes": minutes})
        if self._recovery.watch(losses):
            text = f"diverged: back to the weights of before, at {self._recovery.rate_scale:g} of the rate"
            self._log.write("note", {"step": self.step, "text": text})

    def _save(self, path: Path, seconds: float) -> None:
        """Write the averages, with the weights that are held."""
        weights = self._released | averaged_weights_of(self.model, self._optimizer)
        save_as_averages(path, self.model, weights, {"step": self.step, "seconds": seconds})

    def state(self) -> list[np.ndarray]:
        """A copy of trained weights and optimiser."""
        return copied(self._changing())

    def set_state(self, state: list[np.ndarray]) -> None:
        """Return to what `state` gave."""
        assign_copies(self._changing(), state)

    def _changing(self) -> list[Any]:
        return [*self._trained, *self._optimizer.variables]

    def advance(self, learning_rate: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Take a step; returns bits per pixel and loss of its crops, and the norm of the gradient."""
        generator = np.random.default_rng([self.plan.seed, 1 + self.step])
        chosen = np.sort(generator.integers(0, len(self._latents.levels), self.plan.batch))
        levels = self._latents.levels[chosen].astype(np.int64)
        self._optimizer.learning_rate.assign(learning_rate)
        rate, loss, norm = self._compiled_step(
            self._latents.values[chosen],
            take_crops(self._pictures, _part(self._latents.crops, chosen)),
            self.model.level_weights(levels),
            lambdas_of(self.model.architecture, levels),
            self._noise(generator, PATCH, self.model.architecture.latent_channels),
            self._noise(generator, HYPER_PATCH, self.model.architecture.hyper_channels),
        )
        self.step += 1
        return rate.numpy(), loss.numpy(), float(norm)

    def measure(self) -> None:
        """Log what the weights reach on the held-out pictures, if there are any."""
        if self._evaluation is not None:
            self._log.write("held-out", {"step": self.step, **self._evaluation.measure()})

    def _noise(self, generator: np.random.Generator, patch: int, channels: int) -> np.ndarray:
        """Uniform in -0.5..0.5, float32 (batch, rows, columns, channels), for symbols of a patch each."""
        side = self.plan.crop // patch
        return generator.random((self.plan.batch, side, side, channels), np.float32) - 0.5

    @property
    def _evaluation_pass(self) -> Coding:
        """With residuals as in training: plain where hyper-latents are trained, else dependent."""
        return self.model.evaluation_pass if self.plan.hyper_latents else self._coding.evaluation_pass

    def _step(
        self,
        latents: Tensor,
        pixels: Tensor,
        level_weights: Tensor,
        lambdas: Tensor,
        residual_noise: Tensor,
        hyper_noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tf, variables = self._tensorflow, self._trained
        latents = tf.cast(latents, "float32")
        with tf.GradientTape() as tape:
            if self.plan.hyper_latents:
                result = self.model.latents_pass(latents, level_weights, hyper_noise, residual_noise)
            else:
                hyper = self.model.hyper_latents(latents, level_weights)
                result = self._coding.decoder_pass(latents, hyper, level_weights, residual_noise)
            measured = rate_distortion(result, tf.cast(pixels, "float32"), lambdas)
            total = robust_mean(measured.loss)
        norm = move_if_finite(self._optimizer, tape.gradient(total, variables), variables)
        return measured.bits_per_pixel, measured.loss, norm


def _hold(model: Autoencoder, names: Sequence[str]) -> None:
    """Train everything but these parts."""
    for name in names:
        getattr(model, name).trainable = False


_P = DecoderPlan


@click.command("decoder")
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--minutes", default=_P.minutes, show_default=True, help="Of training.")
@click.option("--crops", default=_P.crops, show_default=True, help="Whose latents are kept.")
@click.option("--learning-rate", default=_P.learning_rate, show_default=True, help="At its peak.")
@click.option("--seed", default=_P.seed, show_default=True, help="Of crops, levels and noise.")
@click.option(
    "--hyper-latents/--no-hyper-latents",
    default=_P.hyper_latents,
    help="Train hyper-latents, prediction and scales; hold the synthesis.",
)
def command(model: Path, data: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Train all but the encoder of the released model in a folder (or its hyper-latents too, but not the
    synthesis), on folders of pictures and tar shards.
    """
    path = DecoderTraining(DecoderPlan(data, model, out, **options)).run()
    click.echo(str(path))


if __name__ == "__main__":
    run(command)
