"""From a checkpoint to a model folder: arrays, integer network, fitted tables, ONNX graphs, manifest.

Export refuses to write when the float twin and the integer network differ anywhere on a large random input,
or when ONNX Runtime and Keras decode the same symbols to different pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from aecodec.entropy import IntegerScaleNetwork
from aecodec.errors import InputError
from aecodec.models import Model
from aecodec.networks.architecture import PRESETS, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.weights import arrays_of, assign_arrays
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime
from aecodec.training import checkpoint
from aecodec.training.checks import check_runtimes, check_twin
from aecodec.training.console import run
from aecodec.training.data import HELD_OUT_ENDING, PictureSet, centres, load_pictures
from aecodec.training.fitting import (
    CROP,
    fit_adaptation,
    fit_tables,
    measure_held_out,
    quality_levels,
    trial_tables,
    tune_rounding,
)
from aecodec.training.folder import register, write_manifest, write_model
from aecodec.training.post_filter import empty_basis, fit_post_filters
from aecodec.training.reach import decoder_halo, scenes

ROUNDING_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
MEASURED_LEVELS = 8


@dataclass(frozen=True)
class Exported:
    """Where a model was written, and what was measured on the way.

    Attributes:
        folder: of the model.
        model_id: 16 hexadecimal digits.
        table_gain: share of bits saved by fitted tables over those of a trial, on held-out pictures.
    """

    folder: Path
    model_id: str
    table_gain: float


def export(
    weights: Mapping[str, np.ndarray],
    normaliser: np.ndarray,
    architecture: Architecture,
    folder: Path,
    training: PictureSet,
    held_out: PictureSet,
    notes: Mapping[str, Any],
    crops: int = 1200,
) -> Exported:
    """Write a model folder.

    Args:
        weights: by the names of `aecodec.training.checkpoint.weights_of`.
        normaliser: float32 (latent channels,).
        architecture: that the weights belong to.
        folder: written when all checks have passed; its name becomes the model's.
        training: pictures of 256 pixels a side at least, which rounding and tables are fitted to.
        held_out: pictures that are measured on, one at least.
        notes: what the manifest says of the training (data, steps, time).
        crops: training crops whose symbols the tables are fitted to.

    Raises:
        InputError: the weights belong to another architecture, or no picture is held out.
        ModelError: the integer network breaks a bound or differs from its twin, or the runtimes differ.
    """
    if not len(held_out):
        raise InputError(
            f"expected a held-out picture to measure on, one whose name ends in {HELD_OUT_ENDING}; found none"
        )
    model = _model_as_stored(weights, normaliser, architecture)
    check_twin(model, IntegerScaleNetwork.from_arrays(model.scale_network.export()))
    tune_rounding(model, training, ROUNDING_STRENGTHS, min(16, crops))
    arrays = arrays_of(model)
    with tempfile.TemporaryDirectory() as scratch:
        # What an encoder writes depends on what its tables cost, so they are fitted again and again.
        arrays |= empty_basis(architecture).to_arrays() | trial_tables(architecture)
        plain = write_model(Path(scratch) / "plain", architecture, arrays)
        check_runtimes(plain, model, centres(held_out, CROP)[0])
        arrays |= fit_tables(plain, training, max(crops // 3, 1))
        first = write_model(Path(scratch) / "first", architecture, arrays)
        arrays |= fit_adaptation(first, training, max(crops // 2, 1))
        adapted = write_model(Path(scratch) / "adapted", architecture, arrays)
        arrays |= fit_tables(adapted, training, max(crops // 3, 1))
        second = write_model(Path(scratch) / "second", architecture, arrays)
        arrays |= fit_tables(second, training, max(crops, 1))
        third = write_model(Path(scratch) / "third", architecture, arrays)
        arrays |= fit_post_filters(third, training, max(crops // 2, 1))
        written = write_model(folder, architecture, arrays, notes)
        return _with_results(_with_measured_halo(written, training), plain, held_out)


def blended(
    weights: Mapping[str, np.ndarray], architecture: Architecture, folder: Path, share: float
) -> dict[str, np.ndarray]:
    """Weights between those of a training and those of the released model that it started from.

    What was learned in addition stays mostly, and so does what was known before (Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022).

    Args:
        weights: by the names of `aecodec.training.checkpoint.weights_of`.
        architecture: of both.
        folder: of the released model.
        share: of the released model's weights, 0..1.

    Raises:
        ModelError: the released model is damaged or of another architecture.
    """
    model = Autoencoder(architecture)
    checkpoint.set_released_weights(model, folder)
    released = checkpoint.weights_of(model)
    return {
        name: (1 - share) * array.astype(np.float32) + share * released[name]
        for name, array in weights.items()
    }


def _model_as_stored(
    weights: Mapping[str, np.ndarray], normaliser: np.ndarray, architecture: Architecture
) -> Autoencoder:
    """A model whose weights are what a folder would hold of them."""
    model = Autoencoder(architecture)
    checkpoint.set_weights(model, weights)
    model.normaliser.assign(normaliser)
    assign_arrays(model, arrays_of(model))
    return model


def _with_measured_halo(model: Model, training: PictureSet) -> Model:
    """Put the measured halo of the decoder in place of the bound into the manifest."""
    runtime, bound, last = open_runtime("onnx", model), model.halo.decoder, model.level_count - 1
    levels = (0, last // 4, 3 * last // 4, last)
    coder = ResidualCoder(model, runtime)
    measured = decoder_halo(coder, runtime, scenes(training, bound), bound, levels)
    return write_manifest(
        model.folder, {**model.manifest, "halo": {**model.manifest["halo"], "decoder": measured}}
    )


def _with_results(model: Model, plain: Model, held_out: PictureSet) -> Exported:
    """Measure a written model, and put the scale of qualities and the results into its manifest.

    Args:
        model: the written one.
        plain: the same with the tables of a trial.
        held_out: pictures.
    """
    levels = np.linspace(0, model.level_count - 1, MEASURED_LEVELS).round().astype(int).tolist()
    rows = measure_held_out((model, plain), held_out, levels)
    gain = 1 - float(np.mean([row["bits_per_pixel"][0] / row["bits_per_pixel"][1] for row in rows]))
    results = [row | {"bits_per_pixel": row["bits_per_pixel"][0]} for row in rows]
    manifest = {
        **model.manifest,
        "quality_levels": quality_levels(rows, held_out, model.level_count),
        "results": {"held_out": results, "saved_by_fitted_tables": round(gain, 5)},
    }
    write_manifest(model.folder, manifest)
    return Exported(model.folder, model.model_id.hex(), gain)


def _notes(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    if any("=" not in value for value in values):
        raise click.BadParameter("expected KEY=TEXT", context, parameter)
    return dict(value.split("=", 1) for value in values)


@click.command("export")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="base", show_default=True)
@click.option(
    "--crops",
    default=1200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Training crops whose symbols the tables are fitted to.",
)
@click.option(
    "--default/--no-default",
    "is_default",
    default=True,
    help="Make it the default model of its registry.",
)
@click.option(
    "--note",
    "notes",
    multiple=True,
    callback=_notes,
    help="KEY=TEXT for the manifest's account of the training.",
)
@click.option(
    "--blend",
    type=(click.Path(exists=True, file_okay=False, path_type=Path), click.FloatRange(0, 1)),
    metavar="FOLDER SHARE",
    help="Take this share of each weight from the released model that the training started from.",
)
def command(
    source: Path,
    folder: Path,
    data: tuple[Path, ...],
    preset: str,
    crops: int,
    is_default: bool,
    notes: dict[str, str],
    blend: tuple[Path, float] | None,
) -> None:
    """Export the averaged weights of SOURCE, a checkpoint or the averages beside it, to the model FOLDER; fit
    its tables on DATA.
    """
    arrays = checkpoint.read_checkpoint(source)
    training, held_out = load_pictures(data, minimum_side=CROP)
    account = {
        "steps": int(arrays["progress/step"]),
        "minutes": round(float(arrays["progress/seconds"]) / 60, 1),
        "pictures": len(training),
        "held_out_pictures": len(held_out),
        **notes,
    }
    weights, normaliser = checkpoint.part(arrays, "average/"), arrays["normaliser"]
    if blend is not None:
        weights = blended(weights, PRESETS[preset], *blend)
    exported = export(weights, normaliser, PRESETS[preset], folder, training, held_out, account, crops)
    register(exported.folder, default=is_default)
    click.echo(f"{exported.folder}: model {exported.model_id}, fitted tables save {exported.table_gain:.2%}")


if __name__ == "__main__":
    run(command)
