"""The whole way: pictures -> training -> checkpoint -> model folder -> files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="the steps are taken by TensorFlow")
pytest.importorskip("onnx", reason="export builds ONNX graphs")

from aecodec.codec import decode, encode
from aecodec.container import read_header
from aecodec.errors import InputError, ModelError
from aecodec.models import Model, load_model_folder, read_registry
from aecodec.networks.architecture import PRESETS
from aecodec.networks.scales import IntegerPointwise
from aecodec.post_filter import FilterBasis
from aecodec.training import export as export_module
from aecodec.training import run as run_module
from aecodec.training.checkpoint import part, read_checkpoint
from aecodec.training.data import PictureSet, load_pictures
from aecodec.training.export import blended, export
from aecodec.training.export import command as export_command
from aecodec.training.fitting import FIRST_DEPENDENT
from aecodec.training.graphs import halos
from aecodec.training.train import command as train_command
from tests.helpers import photograph
from tests.networks.helpers import ROOT, TINY
from tests.training.pictures import write_pictures


@dataclass(frozen=True)
class Loop:
    """What was trained on, and what came out."""

    pictures: Path
    checkpoint: Path
    folder: Path
    model: Model


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Four steps of training by the command line, and the export of what they gave."""
    home = tmp_path_factory.mktemp("loop")
    pictures = write_pictures(home / "pictures", ["1.png", "2.png", "3.png", "137.png"], 256, 260)
    arguments = [str(pictures), "-o", str(home / "run"), "--preset", "tiny", "--steps", "4", "--batch", "2"]
    arguments += ["--crop", "64", "--large-crop", "64", "--report-every", "2", "--precision", "float32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "KLT_PATCHES", 3000)
        CliRunner().invoke(train_command, arguments, catch_exceptions=False)
    checkpoint, folder = home / "run" / "checkpoint.npz", home / "models" / "little"
    arguments = [str(checkpoint), str(folder), str(pictures), "--preset", "tiny", "--crops", "4"]
    result = CliRunner().invoke(
        export_command, [*arguments, "--note", "data=synthetic"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "fitted tables save" in result.output
    return Loop(pictures, checkpoint, folder, load_model_folder(folder))


def test_training_leaves_a_log_and_a_checkpoint(loop: Loop) -> None:
    log = [json.loads(line) for line in (loop.checkpoint.parent / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in log] == ["start", "train", "train", "held-out", "end"]
    assert log[3]["psnr"][-1] > 30
    assert np.all(np.diff(log[3]["bits_per_pixel"]) > 0)


@pytest.mark.parametrize("runtime", ["onnx", "keras"])
def test_the_exported_model_makes_files(loop: Loop, runtime: str) -> None:
    picture = photograph(150, 100, seed=9)
    sizes, errors = [], []
    for quality in (10, 90):
        data = encode(picture, quality, model=load_model_folder(loop.folder), runtime=runtime)
        decoded = decode(data, model=load_model_folder(loop.folder), runtime=runtime)
        assert decoded.shape == picture.shape
        assert decoded.dtype == np.uint8
        sizes.append(len(data))
        errors.append(float(np.mean((decoded.astype(float) - picture) ** 2)))
    assert sizes[0] < sizes[1] < picture.nbytes / 2
    assert errors[1] < errors[0] < 1000


def test_the_model_holds_the_averaged_weights(loop: Loop) -> None:
    stored = part(read_checkpoint(loop.checkpoint), "average/")
    for name in ("synthesis/up/kernel", "log_inverse_gain/rows"):
        np.testing.assert_allclose(loop.model.arrays[name], stored[name], rtol=1e-3, atol=1e-4)


def test_the_manifest_accounts_for_training_and_results(loop: Loop) -> None:
    manifest = loop.model.manifest
    assert manifest["training"]["steps"] == 4
    assert manifest["training"]["pictures"] == 3
    assert manifest["training"]["held_out_pictures"] == 1
    assert manifest["training"]["data"] == "synthetic"
    assert manifest["halo"]["analysis"] == halos(TINY)["analysis"]
    assert 64 <= manifest["halo"]["decoder"] <= halos(TINY)["decoder"]
    assert loop.model.entropy.first_dependent == FIRST_DEPENDENT
    rows = manifest["results"]["held_out"]
    assert [row["level"] for row in rows] == [0, 32, 64, 96, 128, 160, 192, 224]
    assert [row["psnr"] for row in rows] == sorted(row["psnr"] for row in rows)
    assert set(np.unique(loop.model.arrays["encoder/rounding_strength/rows"])) <= {0.25, 0.5, 0.75, 1.0}


def test_the_model_has_an_adaptation(loop: Loop) -> None:
    adaptation = loop.model.entropy.adaptation
    assert adaptation.expected.any()
    assert adaptation.weight[1].any()


def test_the_model_has_post_filters(loop: Loop) -> None:
    basis, hyper = FilterBasis.of(loop.model), loop.model.entropy.hyper
    assert len(basis.kernel) == hyper.coefficient_count == 2  # half of the crops
    assert np.isfinite(basis.kernel).all()
    picture = photograph(150, 100, seed=9)
    files = [encode(picture, 50, effort=effort, model=loop.model) for effort in (0, 1)]
    errors = [np.square(decode(data, model=loop.model).astype(float) - picture).sum() for data in files]
    assert read_header(files[1]).filtered
    weight = loop.model.lambda_of_level(read_header(files[1]).level) / 3
    costs = [8 * len(data) + weight * float(error) for data, error in zip(files, errors, strict=True)]
    assert costs[1] < 1.005 * costs[0]


def test_the_model_is_registered_as_the_default(loop: Loop) -> None:
    registry = read_registry(loop.folder.parent)
    assert registry.default == "little"
    assert dict(registry.models) == {loop.model.model_id.hex(): "little"}


def parts_of(loop: Loop) -> tuple[dict[str, np.ndarray], np.ndarray, PictureSet, PictureSet]:
    arrays = read_checkpoint(loop.checkpoint)
    training, held_out = load_pictures([loop.pictures], minimum_side=256)
    return part(arrays, "average/"), arrays["normaliser"], training, held_out


def test_a_twin_that_differs_is_not_exported(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight of one layer is altered on its way into the integer network."""
    original = IntegerPointwise.export

    def altered(self: IntegerPointwise) -> dict[str, np.ndarray]:
        arrays = original(self)
        if self.name == "step1_pointwise_1":
            arrays["weight"][0, 0] ^= 64
        return arrays

    weights, normaliser, training, held_out = parts_of(loop)
    model = export_module._model_as_stored(weights, normaliser, TINY)
    monkeypatch.setattr(export_module, "_model_as_stored", lambda *_: model)
    monkeypatch.setattr(IntegerPointwise, "export", altered)
    with pytest.raises(ModelError, match="expected the float twin"):
        export(weights, normaliser, TINY, tmp_path / "bad", training, held_out, {}, crops=4)
    assert not (tmp_path / "bad").exists()


def test_nothing_is_exported_without_held_out_pictures(loop: Loop, tmp_path: Path) -> None:
    weights, normaliser, training, _ = parts_of(loop)
    with pytest.raises(InputError, match="held-out"):
        export(weights, normaliser, TINY, tmp_path / "bad", training, PictureSet((), ()), {})
    assert not (tmp_path / "bad").exists()


def test_the_wrong_preset_is_refused(loop: Loop, tmp_path: Path) -> None:
    arguments = [str(loop.checkpoint), str(tmp_path / "bad"), str(loop.pictures), "--preset", "base"]
    with pytest.raises(InputError, match="another architecture"):
        CliRunner().invoke(export_command, arguments, catch_exceptions=False)


def test_weights_can_be_blended_with_those_of_a_released_model(loop: Loop) -> None:
    weights, *_ = parts_of(loop)
    released, half = (blended(weights, TINY, loop.folder, share) for share in (1.0, 0.5))
    same = blended(weights, TINY, loop.folder, 0.0)
    name = "synthesis/leave/kernel"
    assert all(np.array_equal(same[key], weights[key]) for key in weights)
    assert np.array_equal(released[name], loop.model.arrays[name].astype(np.float32))
    np.testing.assert_allclose(half[name], (weights[name] + released[name]) / 2)
    with pytest.raises(ModelError, match="architecture"):
        blended(weights, PRESETS["small"], loop.folder, 0.5)


def test_notes_are_pairs(loop: Loop, tmp_path: Path) -> None:
    arguments = [str(loop.checkpoint), str(tmp_path / "bad"), str(loop.pictures), "--note", "nonsense"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2
    assert "KEY=TEXT" in result.output


def test_commands_run_as_modules_and_fail_in_one_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aecodec.training", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    helped = run("--help")
    assert helped.returncode == 0
    assert "--keep-schedule" in helped.stdout
    failed = run(str(tmp_path), "--crop", "100")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: expected crop and large_crop as multiples of 64")
    assert failed.stderr.count("\n") == 1
