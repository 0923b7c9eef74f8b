"""What a training run is to do: plain data, and the schedule that follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aecodec.errors import InputError
from aecodec.networks.architecture import HYPER_PATCH, PRESETS

OPTIMIZERS = ("muon", "adam")
WARM_UP = 200
"""Steps in which the learning rate rises to its peak."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a run does. The budget is whichever of steps and minutes ends first; the schedule follows it.

    Attributes:
        data: folders of pictures and tar shards.
        out: folder of the checkpoint and the log.
        drawn: the share of the training pixels, from 0 to below 1, that is drawn (`training.drawings`).
        preset: a name out of `PRESETS`.
        steps: budget in steps, rounded up to whole calls.
        steps_per_call: steps that the device takes in one call: 10 on a GPU, which would wait for Python
            otherwise.
        minutes: budget in minutes, those before ``resume`` included when the schedule goes on.
        batch: crops a step, of the first crop size.
        crop: pixels along a side, a multiple of 64.
        large_crop: the same, late in training; a batch has then as many pixels, in fewer crops.
        large_crop_from: the share of the budget, 0..1, from which on crops are large.
        optimizer: ``muon`` or ``adam``.
        learning_rate: at its peak.
        anneal_from: the share of the budget, 0..1, from which on the learning rate falls to zero.
        clip_norm: global norm that gradients are clipped to.
        average: momentum of the moving average of the weights.
        precision: Keras dtype policy of the heavy layers.
        through_scales: as of `Autoencoder`.
        seed: of crops, levels, noise and initial weights. Each step draws from the seed and its own number,
            so a run that is resumed draws what it would have drawn.
        resume: a checkpoint, or the folder of a released model, whose weights to start from.
        keep_schedule: go on where the checkpoint's schedule stood, with its optimiser.
        report_every: steps between lines of the log.
        evaluate_every: steps between held-out measurements; 0 for one at the end.
        checkpoint_minutes: between checkpoints.

    Raises:
        InputError: a value is not as above.
    """

    data: tuple[Path, ...]
    out: Path = Path("runs/base")
    drawn: float = 0.0
    preset: str = "base"
    steps: int = 1_000_000
    steps_per_call: int = 1
    minutes: float = 60.0
    batch: int = 8
    crop: int = 256
    large_crop: int = 384
    large_crop_from: float = 0.8
    optimizer: str = "muon"
    learning_rate: float = 1e-3
    anneal_from: float = 0.4
    clip_norm: float = 20.0
    average: float = 0.998
    precision: str = "mixed_bfloat16"
    through_scales: bool = False
    seed: int = 1
    resume: Path | None = None
    keep_schedule: bool = False
    report_every: int = 50
    evaluate_every: int = 500
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        wrong = [what for what, holds in self._rules().items() if not holds]
        if wrong:
            raise InputError(f"expected {'; '.join(wrong)} in a training plan, found {self}")

    def _rules(self) -> dict[str, bool]:
        crops = (self.crop, self.large_crop)
        shares = (self.large_crop_from, self.anneal_from, self.average)
        return {
            f"preset out of {', '.join(PRESETS)}": self.preset in PRESETS,
            f"optimizer out of {', '.join(OPTIMIZERS)}": self.optimizer in OPTIMIZERS,
            "steps, steps_per_call, batch and report_every of 1 at least": min(
                self.steps, self.steps_per_call, self.batch, self.report_every
            )
            >= 1,
            "minutes, learning_rate and clip_norm above 0": (
                min(self.minutes, self.learning_rate, self.clip_norm) > 0
            ),
            f"crop and large_crop as multiples of {HYPER_PATCH}": all(
                side >= HYPER_PATCH and side % HYPER_PATCH == 0 for side in crops
            ),
            "large_crop_from, anneal_from and average in 0..1": all(0 <= share <= 1 for share in shares),
            "drawn from 0 to below 1": 0 <= self.drawn < 1,
            "evaluate_every and seed of 0 at least": min(self.evaluate_every, self.seed) >= 0,
            "resume where keep_schedule is set": self.resume is not None or not self.keep_schedule,
        }

    def at(self, progress: float) -> tuple[int, int]:
        """(crops, pixels along their sides) of a step, when the share ``progress`` of the budget is spent."""
        side = self.large_crop if progress >= self.large_crop_from else self.crop
        return max(1, round(self.batch * (self.crop / side) ** 2)), side

    def learning_rate_at(self, progress: float, step: int) -> float:
        """Linear warm-up to the peak, flat, then linear to zero.

        Args:
            progress: the share of the budget that is spent, 0..1 and, in the last call, more.
            step: steps taken.
        """
        return scheduled_rate(self.learning_rate, self.anneal_from, progress, step)

    def to_dict(self) -> dict[str, Any]:
        """Field names and values as JSON takes them."""
        return {name: plain(value) for name, value in asdict(self).items()}


def scheduled_rate(peak: float, anneal_from: float, progress: float, step: int) -> float:
    """See `TrainingPlan.learning_rate_at`."""
    rise = min(1.0, (step + 1) / WARM_UP)
    spent = min(progress, 1.0)
    if spent <= anneal_from:
        return peak * rise
    return peak * rise * (1.0 - spent) / (1.0 - anneal_from)


def plain(value: Any) -> Any:
    """The value of a plan's field as JSON takes it."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
