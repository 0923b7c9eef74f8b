"""The training loop and its command line."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from aecodec.networks.architecture import PRESETS


@dataclass(frozen=True)
class TrainingPlan:
    """What a run does. The budget is whichever of steps and minutes ends first; the schedule follows it."""

    data: tuple[Path, ...]
    out: Path
    preset: str
    steps: int
    minutes: float
    batch: int
    crop: int
    large_crop: int
    large_crop_from: float
    optimizer: str
    learning_rate: float
    anneal_from: float
    clip_norm: float
    average: float
    precision: str
    seed: int
    resume: Path | None
    keep_schedule: bool
    evaluate_every: int
    checkpoint_minutes: float


EVALUATION_LEVELS = (0, 45, 90, 135, 180, 224)


class Log:
    """A line of JSON per report in ``log.jsonl``, and the same for people on standard error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: Any) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(values) + "\n")
        text = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        click.echo(text, err=True)


def evaluate(model: Any, pictures: Any, crop: int = 256) -> dict[str, Any]:
    """Rate, PSNR and loss of rounded symbols on the centres of held-out pictures, at the evaluation levels."""
    import keras

    from aecodec.training.loss import psnr, rate_distortion

    def centre(pixels: np.ndarray) -> np.ndarray:
        top, left = (pixels.shape[0] - crop) // 2, (pixels.shape[1] - crop) // 2
        return pixels[top : top + crop, left : left + crop]

    batch = np.stack([centre(pixels) for pixels in pictures.pictures]).astype(np.float32)
    rates, distortions, losses = [], [], []
    for level in EVALUATION_LEVELS:
        levels = np.full(len(batch), level)
        lambdas = np.array([model.architecture.lambda_of_level(x) for x in levels], np.float32)
        result = _compiled_evaluation(model)(batch, model.level_weights(levels))
        measured = rate_distortion(result, keras.ops.convert_to_tensor(batch), lambdas)
        rates.append(float(np.mean(keras.ops.convert_to_numpy(measured.bits_per_pixel))))
        distortions.append(float(np.mean(psnr(keras.ops.convert_to_numpy(measured.mean_squared_error)))))
        losses.append(float(np.mean(keras.ops.convert_to_numpy(measured.loss))))
    return {
        "held_out_loss": float(np.mean(losses)),
        "bits_per_pixel": [round(x, 4) for x in rates],
        "psnr": [round(x, 3) for x in distortions],
        "losses": [round(x, 4) for x in losses],
    }


def _compiled_evaluation(model: Any) -> Any:
    """The evaluation pass, compiled once per model."""
    if not hasattr(model, "_evaluation"):
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            model._evaluation = tf.function(
                lambda pixels, weights: _fields(model.evaluation_pass(pixels, weights))
            )
        else:
            model._evaluation = lambda pixels, weights: _fields(model.evaluation_pass(pixels, weights))

    from aecodec.networks.autoencoder import TrainingPass

    return lambda pixels, weights: TrainingPass(*model._evaluation(pixels, weights))


def _fields(result: Any) -> tuple[Any, Any, Any]:
    return result.pixels, result.residual_bits, result.hyper_bits


def train(plan: TrainingPlan) -> Path:
    """Run the plan; returns the path of the last checkpoint. Ctrl-C ends the run with a checkpoint."""
    import keras

    from aecodec.models import load_model_folder
    from aecodec.networks.architecture import PATCH
    from aecodec.networks.autoencoder import Autoencoder
    from aecodec.networks.transforms import linear_transform_from_patches
    from aecodec.networks.weights import assign_arrays
    from aecodec.training import checkpoint
    from aecodec.training.backends import make_trainer
    from aecodec.training.data import draw_crops, draw_patches, load_pictures
    from aecodec.training.loss import psnr
    from aecodec.training.optimizer import learning_rate_at, make_optimizer

    plan.out.mkdir(parents=True, exist_ok=True)
    log = Log(plan.out / "log.jsonl")
    keras.utils.set_random_seed(plan.seed)
    architecture = PRESETS[plan.preset]
    training, held_out = load_pictures(plan.data, minimum_side=max(plan.crop, plan.large_crop))
    log.write(event="start", training_pictures=len(training), held_out_pictures=len(held_out), plan=str(plan))

    model = Autoencoder(architecture, dtype=plan.precision)
    optimizer = make_optimizer(plan.optimizer, clip_norm=plan.clip_norm, average=plan.average)
    optimizer.build(model.trainable_variables)
    start_step, spent = 0, 0.0
    if plan.resume is None:
        patches = draw_patches(training, 60_000, PATCH)
        model.set_linear_transform(linear_transform_from_patches(patches, architecture.latent_channels))
    elif plan.resume.is_dir():
        assign_arrays(model, load_model_folder(plan.resume).arrays)
    else:
        progress = checkpoint.load_checkpoint(plan.resume, model, optimizer if plan.keep_schedule else None)
        if plan.keep_schedule:
            start_step, spent = int(progress["step"]), progress["seconds"]
    checkpoint.start_average(model, optimizer, fresh=not plan.keep_schedule or plan.resume is None)

    trainer = make_trainer(model, optimizer, training, plan.seed + start_step)
    generator = np.random.default_rng(plan.seed + start_step)
    began = time.monotonic() - spent
    saved = time.monotonic()
    recent: list[tuple[np.ndarray, Any]] = []
    latest = plan.out / "checkpoint.npz"

    def save(step: int) -> None:
        trainer.synchronise()
        progress = {"step": step, "seconds": time.monotonic() - began}
        checkpoint.save_checkpoint(latest, model, optimizer, progress)

    def measure(step: int) -> None:
        trainer.synchronise()
        kept = checkpoint.weights_of(model)
        checkpoint.set_weights(model, checkpoint.averaged_weights_of(model, optimizer))
        log.write(event="held-out", step=step, **evaluate(model, held_out))
        checkpoint.set_weights(model, kept)

    step = start_step
    reported, reported_at = step, time.monotonic()
    try:
        while True:
            elapsed = time.monotonic() - began
            progress = max(step / plan.steps, elapsed / (60 * plan.minutes))
            if progress >= 1:
                break
            crop = plan.large_crop if progress >= plan.large_crop_from else plan.crop
            batch = max(1, round(plan.batch * (plan.crop / crop) ** 2))
            levels = stratified_levels(batch, architecture.level_count, generator)
            rate = learning_rate_at(progress, step, peak=plan.learning_rate, anneal_from=plan.anneal_from)
            result = trainer.step(draw_crops(training, batch, crop, generator), levels, rate)
            recent.append((levels, result))
            step += 1
            if step % 50 == 0:
                now = time.monotonic()
                losses = np.concatenate([np.asarray(r.loss) for _, r in recent])
                mse = np.concatenate([np.asarray(r.mean_squared_error) for _, r in recent])
                bpp = np.concatenate([np.asarray(r.bits_per_pixel) for _, r in recent])
                log.write(
                    event="train",
                    step=step,
                    loss=float(np.mean(losses)),
                    bits_per_pixel=float(np.mean(bpp)),
                    psnr=float(np.mean(psnr(mse))),
                    gradient_norm=float(np.median([float(r.gradient_norm) for _, r in recent])),
                    not_finite=int(sum(not np.isfinite(float(r.gradient_norm)) for _, r in recent)),
                    learning_rate=rate,
                    seconds_per_step=(now - reported_at) / (step - reported),
                    samples_per_second=batch * (step - reported) / (now - reported_at),
                    minutes=(now - began) / 60,
                )
                recent, reported, reported_at = [], step, now
            if plan.evaluate_every and step % plan.evaluate_every == 0:
                measure(step)
                reported, reported_at = step, time.monotonic()
            if time.monotonic() - saved > 60 * plan.checkpoint_minutes:
                save(step)
                saved = time.monotonic()
    except KeyboardInterrupt:
        click.echo("interrupted: writing a checkpoint", err=True)
    save(step)
    measure(step)
    log.write(event="end", step=step, minutes=(time.monotonic() - began) / 60)
    return latest


def stratified_levels(batch: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """One level from each of ``batch`` equal parts of the scale, so that every batch sees all qualities."""
    parts = (np.arange(batch) + generator.random(batch)) / batch
    return np.minimum((parts * count).astype(np.int64), count - 1)


@click.command("train")
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("runs/base"), show_default=True)
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="base", show_default=True)
@click.option("--steps", default=1_000_000, show_default=True, help="Budget in steps.")
@click.option("--minutes", default=60.0, show_default=True, help="Budget in minutes; the first to end counts.")
@click.option("--batch", default=8, show_default=True, help="Crops a step, of the first crop size.")
@click.option("--crop", default=256, show_default=True)
@click.option("--large-crop", default=384, show_default=True)
@click.option("--large-crop-from", default=0.8, show_default=True, help="Share of the budget with the first size.")
@click.option("--optimizer", type=click.Choice(["muon", "adam"]), default="muon", show_default=True)
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--anneal-from", default=0.4, show_default=True, help="Share of the budget at the peak rate.")
@click.option("--clip-norm", default=20.0, show_default=True)
@click.option("--average", default=0.998, show_default=True, help="Momentum of the weights' moving average.")
@click.option("--precision", default="mixed_bfloat16", show_default=True, help="Keras policy of the heavy layers.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--resume",
    type=click.Path(exists=True, path_type=Path),
    help="A checkpoint, or the folder of a released model, whose weights to start from.",
)
@click.option("--keep-schedule", is_flag=True, help="With --resume: go on where the checkpoint's schedule stood.")
@click.option("--evaluate-every", default=500, show_default=True, help="Steps between held-out measurements.")
@click.option("--checkpoint-minutes", default=10.0, show_default=True)
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Overrides KERAS_BACKEND.")
def command(backend: str | None, **options: Any) -> None:
    """Train a model on folders of pictures and tar shards; writes checkpoints and a log that can be plotted."""
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    train(TrainingPlan(**options))


if __name__ == "__main__":
    sys.exit(command())
