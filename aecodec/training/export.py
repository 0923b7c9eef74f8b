"""From a checkpoint to a model folder: arrays, integer network, fitted tables, ONNX graphs, manifest.

Export refuses to write when the float twin and the integer network differ anywhere on a large random input, or when
ONNX Runtime and Keras decode the same symbols to different pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from PIL import Image

from aecodec.entropy import (
    EntropyModel,
    IntegerScaleNetwork,
    estimate_bits,
    fitted_tables,
    logistic_tables,
    quarter,
)
from aecodec.errors import ModelError
from aecodec.models import MANIFEST_FORMAT, load_model_folder, model_id_of
from aecodec.networks.architecture import PRESETS, STEPS, TABLE_COUNT, Architecture
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.prediction import step_cells
from aecodec.networks.weights import arrays_of, assign_arrays
from aecodec.runtime import Runtime, open_runtime
from aecodec.training import checkpoint
from aecodec.training.data import PictureSet, draw_crops, load_pictures, take_crops
from aecodec.training.graphs import decoder_graph, encoder_graph, halos
from aecodec.training.loss import psnr, rate_distortion

HISTOGRAM_LIMIT = 401
PEAK_TOLERANCE = 1.0
RMS_TOLERANCE = 0.02


@dataclass(frozen=True)
class Exported:
    """Where the model was written, and what was measured on the way."""

    folder: Path
    model_id: str
    table_gain: float
    """Share of bits saved by fitted tables over the plain logistic ones, on held-out pictures."""


def check_twin(model: Autoencoder, network: IntegerScaleNetwork, seed: int = 0, side: int = 8) -> None:
    """Compare twin and integer network on random symbols, at every level node and at levels between.

    Raises ModelError when a single feature or table index differs.
    """
    a, generator = model.architecture, np.random.default_rng(seed)
    for level in sorted({*range(0, a.level_count, a.sublevels), *generator.integers(0, a.level_count, 8)}):
        z = generator.laplace(0, 6, (side, side, a.hyper_channels)).round().astype(np.int16)
        r = generator.laplace(0, 3, (4 * side, 4 * side, a.latent_channels)).round().astype(np.int16)
        weights = model.level_weights(np.array([level]))
        features = network.features(z, int(level))
        twin_features = model.scale_network.features(z[None].astype(np.float32), weights)
        _require_equal(keras.ops.convert_to_numpy(twin_features)[0], features, f"features at level {level}")
        twin_hyper = keras.ops.convert_to_numpy(model.scale_network.hyper_indices(weights))[0, 0, 0]
        _require_equal(twin_hyper, network.hyper_indices(int(level)), f"hyper indices at level {level}")
        known = np.zeros_like(r)
        cells = step_cells(a.latent_channels)
        for step in range(STEPS):
            seen = known[None].astype(np.float32) if step else None
            twin = model.scale_network.step_indices(step, twin_features, seen, weights)
            twin_quarter = quarter(keras.ops.convert_to_numpy(twin)[0], step)
            exact = network.step_indices(step, features, known, int(level))
            _require_equal(twin_quarter, exact, f"table indices of step {step} at level {level}")
            known += (np.tile(cells[step], (2 * side, 2 * side, 1)) * r).astype(np.int16)


def _require_equal(twin: np.ndarray, exact: np.ndarray, where: str) -> None:
    if not np.array_equal(np.rint(twin).astype(np.int64), exact.astype(np.int64)):
        share = float(np.mean(np.rint(twin) != exact))
        raise ModelError(f"expected the float twin to equal the integer network, found {share:.2%} of {where} differ")


def tune_rounding(model: Autoencoder, pictures: PictureSet, candidates: Sequence[float], crops: int = 16) -> None:
    """At each level node choose the strength of `rate_distortion_round` with the least rate-distortion loss on random crops.

    The rate is that of the training distribution (`logistic_bits`), under the tables that the scale network
    chooses for the residuals as rounded.
    """
    a = model.architecture
    pixels = take_crops(pictures, draw_crops(pictures, crops, 256, np.random.default_rng(5))).astype(np.float32)
    rows = np.zeros((a.level_nodes, a.latent_channels), np.float32)
    for node in range(a.level_nodes):
        level = node * a.sublevels
        weights = model.level_weights(np.full(crops, level))
        lambdas = np.full(crops, a.lambda_of_level(level), np.float32)
        losses = []
        for candidate in candidates:
            model.rounding_strength.rows.assign(np.full(rows.shape, candidate, np.float32))
            result = model.evaluation_pass(pixels, weights)
            measured = rate_distortion(result, keras.ops.convert_to_tensor(pixels), lambdas)
            losses.append(float(np.mean(keras.ops.convert_to_numpy(measured.loss))))
        rows[node] = candidates[int(np.argmin(losses))]
    model.rounding_strength.rows.assign(rows)


def count_symbols(
    model: Autoencoder, network: IntegerScaleNetwork, pictures: PictureSet, crops: int, seed: int = 0
) -> np.ndarray:
    """Histograms int64 (tables, 2*limit + 1) of all symbols by table index, over random crops and levels."""
    a, generator = model.architecture, np.random.default_rng(seed)
    histograms = np.zeros((TABLE_COUNT, 2 * HISTOGRAM_LIMIT + 1), np.int64)
    encode = _compiled_encode(model)
    for start in range(0, crops, 4):
        plan = draw_crops(pictures, 4, 256, generator)
        levels = ((start + np.arange(4)) * 97) % a.level_count
        z, r = encode(take_crops(pictures, plan).astype(np.float32), model.level_weights(levels))
        for index, level in enumerate(levels):
            add_symbols(histograms, _int16(z[index]), _int16(r[index]), int(level), network)
    return histograms


def add_symbols(
    histograms: np.ndarray, z: np.ndarray, r: np.ndarray, level: int, network: IntegerScaleNetwork
) -> None:
    """Count the symbols of one picture under the tables that the integer network chooses."""
    features = network.features(z, level)
    pairs = [(z, np.broadcast_to(network.hyper_indices(level), z.shape))]
    pairs += [(quarter(r, step), network.step_indices(step, features, r, level)) for step in range(STEPS)]
    for symbols, indices in pairs:
        clipped = np.clip(symbols.astype(np.int64), -HISTOGRAM_LIMIT, HISTOGRAM_LIMIT) + HISTOGRAM_LIMIT
        flat = indices.astype(np.int64) * histograms.shape[1] + clipped
        histograms += np.bincount(flat.ravel(), minlength=histograms.size).reshape(histograms.shape)


def _int16(tensor: Any) -> np.ndarray:
    return np.clip(keras.ops.convert_to_numpy(tensor), -32767, 32767).astype(np.int16)


def _compiled_encode(model: Autoencoder) -> Any:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(model.encode)
    return model.encode


def measure_held_out(
    runtime: Runtime, tables: Sequence[EntropyModel], pictures: PictureSet, levels: Sequence[int]
) -> list[dict[str, Any]]:
    """Means over the centres of held-out pictures, a row a level: PSNR, and bits per pixel under each set of tables."""
    rows = []
    for level in levels:
        rates, distortions = [], []
        for pixels in _centres(pictures):
            z, r = runtime.encode(pixels.astype(np.float32), level)
            rates.append([float(np.sum(estimate_bits(z, r, level, model))) / pixels[..., 0].size for model in tables])
            decoded = np.clip(np.floor(runtime.decode(z, r, level) + 0.5), 0, 255)
            distortions.append(float(psnr(np.mean((decoded - pixels) ** 2))))
        rows.append(
            {
                "level": int(level),
                "bits_per_pixel": [round(float(rate), 5) for rate in np.mean(rates, axis=0)],
                "psnr": round(float(np.mean(distortions)), 4),
            }
        )
    return rows


def _centres(pictures: PictureSet, side: int = 320) -> list[np.ndarray]:
    """The central squares of pictures, (side, side, 3) each: the same area of every picture, in little time."""
    tops = [((p.shape[0] - side) // 2, (p.shape[1] - side) // 2) for p in pictures.pictures]
    return [p[y : y + side, x : x + side] for p, (y, x) in zip(pictures.pictures, tops, strict=True)]


def quality_levels(rows: Sequence[Mapping[str, Any]], pictures: PictureSet, level_count: int) -> list[int]:
    """For each quality 1..100 the level whose PSNR is that of a JPEG (Pillow, 4:2:0) of the same number.

    Measured as means over held-out pictures, then made strictly rising and drawn out to the whole scale.

    Args:
        rows: of `measure_held_out`, over the whole scale.
    """
    qualities = np.array([1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 100])
    centres = _centres(pictures)
    jpeg = [np.mean([_jpeg_psnr(pixels, int(quality)) for pixels in centres]) for quality in qualities]
    wanted = np.interp(np.arange(1, 101), qualities, jpeg)
    reached = np.maximum.accumulate([row["psnr"] for row in rows]) + np.arange(len(rows)) * 1e-6
    matched = np.interp(wanted, reached, [row["level"] for row in rows]).round().astype(int)
    steps = np.arange(100)
    rising = np.maximum.accumulate(np.maximum(matched - steps, 0)) + steps
    bounded = np.minimum(rising, level_count - 1 - steps[::-1])
    bounded[-1] = level_count - 1
    return [int(level) for level in bounded]


def _jpeg_psnr(pixels: np.ndarray, quality: int) -> float:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    decoded = np.asarray(Image.open(stream).convert("RGB"), np.float64)
    return float(psnr(np.mean((decoded - pixels) ** 2)))


def check_runtimes(runtime: Runtime, model: Autoencoder, pixels: np.ndarray) -> None:
    """Raises ModelError when ONNX Runtime and Keras decode the same symbols to different pixels."""
    for level in (0, model.architecture.level_count // 2, model.architecture.level_count - 1):
        z, r = runtime.encode(pixels.astype(np.float32), level)
        decoded = runtime.decode(z, r, level)
        weights = model.level_weights(np.array([level]))
        reference = model.decode(z[None].astype(np.float32), r[None].astype(np.float32), weights)
        difference = decoded - keras.ops.convert_to_numpy(reference)[0]
        peak, rms = float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2)))
        if peak > PEAK_TOLERANCE or rms > RMS_TOLERANCE:
            raise ModelError(
                f"expected ONNX Runtime and Keras to agree within {PEAK_TOLERANCE} level (rms {RMS_TOLERANCE}), "
                f"found {peak:.3f} (rms {rms:.4f}) at level {level}"
            )


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
    """Write a model folder. ``notes``: what the manifest says of the training (data, steps, time)."""
    model = Autoencoder(architecture)
    checkpoint.set_weights(model, weights)
    model.normaliser.assign(normaliser)
    arrays = arrays_of(model)
    assign_arrays(model, arrays)
    network = IntegerScaleNetwork.from_arrays(arrays)
    check_twin(model, network)
    tune_rounding(model, training, (0.25, 0.5, 0.75, 1.0))
    arrays |= arrays_of(model)
    tables = fitted_tables(count_symbols(model, network, training, crops))
    arrays |= tables.to_arrays()

    encoder, decoder = encoder_graph(architecture), decoder_graph(architecture)
    manifest: dict[str, Any] = {
        "name": folder.name,
        "format": MANIFEST_FORMAT,
        "architecture": architecture.to_dict(),
        "latent_channels": architecture.latent_channels,
        "hyper_channels": architecture.hyper_channels,
        "level_count": architecture.level_count,
        "quality_levels": list(range(100)),
        "lambdas": {"min": architecture.lambda_min, "max": architecture.lambda_max},
        "halo": halos(architecture),
        "kmac_per_pixel": {
            "encoder": round(encoder.kmac_per_pixel, 2),
            "decoder": round(decoder.kmac_per_pixel, 2),
        },
        "graph_weights": {
            f"{name}.onnx": [t.name for t in graph.model.graph.initializer if t.external_data]
            for name, graph in (("encoder", encoder), ("decoder", decoder))
        },
        "training": dict(notes),
        "results": {},
    }
    manifest["model_id"] = model_id_of(manifest, arrays).hex()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "encoder.onnx").write_bytes(encoder.model.SerializeToString())
    (folder / "decoder.onnx").write_bytes(decoder.model.SerializeToString())
    write_manifest(folder, manifest)

    loaded = load_model_folder(folder)
    runtime = open_runtime("onnx", loaded)
    check_runtimes(runtime, model, held_out.pictures[0][:256, :256])
    plain = EntropyModel.from_arrays(arrays | logistic_tables().to_arrays())
    levels = np.linspace(0, architecture.level_count - 1, 8).round().astype(int).tolist()
    rows = measure_held_out(runtime, (loaded.entropy, plain), held_out, levels)
    gain = 1 - float(np.mean([row["bits_per_pixel"][0] / row["bits_per_pixel"][1] for row in rows]))
    manifest["quality_levels"] = quality_levels(rows, held_out, architecture.level_count)
    held_out_rows = [row | {"bits_per_pixel": row["bits_per_pixel"][0]} for row in rows]
    manifest["results"] = {"held_out": held_out_rows, "saved_by_fitted_tables": round(gain, 5)}
    write_manifest(folder, manifest)
    return Exported(folder, manifest["model_id"], gain)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    temporary = folder / "model.json.partial"
    temporary.write_text(json.dumps(manifest, indent=1) + "\n")
    temporary.replace(folder / "model.json")


def register(folder: Path, *, default: bool) -> None:
    """Name the model in the ``registry.json`` beside its folder."""
    path = folder.parent / "registry.json"
    content = json.loads(path.read_text()) if path.exists() else {"default": "", "models": {}}
    manifest = json.loads((folder / "model.json").read_text())
    content["models"] = {
        key: name for key, name in content["models"].items() if name != folder.name
    } | {manifest["model_id"]: folder.name}
    if default or not content["default"]:
        content["default"] = folder.name
    path.write_text(json.dumps(content, indent=1) + "\n")


@click.command("export")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="base", show_default=True)
@click.option("--crops", default=1200, show_default=True, help="Training crops whose symbols the tables are fitted to.")
@click.option("--default/--no-default", "is_default", default=True, help="Make it the default model of its registry.")
@click.option("--note", "notes", multiple=True, help="KEY=TEXT for the manifest's account of the training.")
def command(
    source: Path, folder: Path, data: tuple[Path, ...], preset: str, crops: int, is_default: bool, notes: tuple[str, ...]
) -> None:
    """Export the averaged weights of the checkpoint SOURCE to the model FOLDER, with tables fitted on DATA."""
    with np.load(source, allow_pickle=False) as stored:
        arrays = dict(stored)
    training, held_out = load_pictures(data, minimum_side=256)
    account = {
        "steps": int(arrays["progress/step"]),
        "minutes": round(float(arrays["progress/seconds"]) / 60, 1),
        "pictures": len(training),
        "held_out_pictures": len(held_out),
        **dict(note.split("=", 1) for note in notes),
    }
    weights = checkpoint.part(arrays, "average/")
    exported = export(
        weights, arrays["normaliser"], PRESETS[preset], folder, training, held_out, account, crops
    )
    register(exported.folder, default=is_default)
    click.echo(f"{exported.folder}: model {exported.model_id}, fitted tables save {exported.table_gain:.2%}")


if __name__ == "__main__":
    command()
