"""The command line of training. It loads Keras only when a run starts, so that its help is quick."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aecodec.networks.architecture import PRESETS
from aecodec.training.plan import OPTIMIZERS, TrainingPlan

_P = TrainingPlan
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _option(name: str, default: Any, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, default=default, show_default=True, help=text)


@click.command("train")
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=_P.out,
    show_default=True,
    help="Folder of the checkpoint and the log.",
)
@_option("--drawn", _P.drawn, "Share of the training pixels that is drawn, not photographed.")
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default=_P.preset, show_default=True)
@_option("--steps", _P.steps, "Budget in steps.")
@_option("--steps-per-call", _P.steps_per_call, "Steps in one call of the device; 10 for a GPU.")
@_option("--minutes", _P.minutes, "Budget in minutes; the first to end counts.")
@_option("--batch", _P.batch, "Crops a step, of the first crop size.")
@_option("--crop", _P.crop, "Pixels along the sides of a crop, a multiple of 64.")
@_option("--large-crop", _P.large_crop, "The same, late in training.")
@_option("--large-crop-from", _P.large_crop_from, "Share of the budget with the first size.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default=_P.optimizer, show_default=True)
@_option("--learning-rate", _P.learning_rate, "At its peak.")
@_option("--anneal-from", _P.anneal_from, "Share of the budget at the peak rate.")
@_option("--clip-norm", _P.clip_norm, "Global norm that gradients are clipped to.")
@_option("--average", _P.average, "Momentum of the weights' moving average.")
@_option("--precision", _P.precision, "Keras policy of the heavy layers.")
@click.option(
    "--through-scales/--not-through-scales",
    default=_P.through_scales,
    help="Let the gradient of the rate reach hyper-latents through the scale network as well, bounded.",
)
@_option("--seed", _P.seed, "Of crops, levels, noise and initial weights.")
@click.option(
    "--resume",
    type=click.Path(exists=True, path_type=Path),
    help="A checkpoint, averages, or the folder of a released model: weights to start from.",
)
@click.option(
    "--keep-schedule", is_flag=True, help="With --resume: go on where the checkpoint's schedule stood."
)
@_option("--report-every", _P.report_every, "Steps between lines of the log.")
@_option("--evaluate-every", _P.evaluate_every, "Steps between held-out measurements; 0: at the end only.")
@_option("--checkpoint-minutes", _P.checkpoint_minutes, "Minutes between checkpoints.")
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Overrides KERAS_BACKEND.")
def command(backend: str | None, **options: Any) -> None:
    """Train a model on folders of pictures and tar shards; write a checkpoint and a log."""
    plan = TrainingPlan(**options)
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from aecodec.training.run import train

    train(plan)
