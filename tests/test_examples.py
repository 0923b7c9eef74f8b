"""The examples run: on small pictures, and each where the packages that it needs are installed."""

from __future__ import annotations

import importlib
import os
import signal
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import aecodec
import aecodec.codec
from aecodec.models import Model
from tests.helpers import CosineRuntime, photograph

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def examples_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture
def cosine_by_default(monkeypatch: pytest.MonkeyPatch, cosine: dict[str, Any]) -> None:
    """Examples name no model: make that of the tests the default."""
    monkeypatch.setattr(aecodec, "decode", partial(aecodec.codec.decode, **cosine))
    monkeypatch.setattr(aecodec.codec, "encode", partial(aecodec.codec.encode, **cosine))
    monkeypatch.setattr(aecodec.codec, "decode_picture", partial(aecodec.codec.decode_picture, **cosine))


@pytest.fixture
def packed(tmp_path: Path, cosine: dict[str, Any]) -> Path:
    """A folder of .aec files: RGB, gray, RGB with alpha and 16 bits, one of them in a folder below."""
    rgb = photograph(70, 90)
    arrays = {
        "rgb": rgb,
        "gray": rgb[:, :, 0],
        "below/alpha": np.dstack((rgb, rgb[:, :, 0])),
        "deep": rgb.astype(np.uint16) * 257,
    }
    for name, array in arrays.items():
        path = tmp_path / "packed" / f"{name}.aec"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(aecodec.encode(array, 90, **cosine))
    return tmp_path / "packed"


def expected_rgb(path: Path) -> NDArray[np.float32]:
    """The picture as the examples should give it: float32 (height, width, 3) in 0..1."""
    pixels = aecodec.decode(path)
    colours = np.atleast_3d(pixels)[:, :, :3]
    return (np.zeros((70, 90, 3)) + colours).astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def is_part(part: NDArray[np.float32], whole: NDArray[np.float32]) -> bool:
    """Whether a picture is a rectangle out of another, to within a level."""
    height, width, _ = part.shape
    return any(
        np.abs(whole[y : y + height, x : x + width] - part).max() < 1.5 / 255
        for y in range(whole.shape[0] - height + 1)
        for x in range(whole.shape[1] - width + 1)
    )


@pytest.mark.usefixtures("cosine_by_default")
class TestPyTorch:
    @pytest.fixture
    def example(self) -> ModuleType:
        pytest.importorskip("torch", reason="torch is not installed")
        return importlib.import_module("pytorch_dataset")

    def test_pictures_of_every_kind_become_rgb_tensors(self, example: ModuleType, packed: Path) -> None:
        dataset = example.AecDataset(packed)
        assert [path.stem for path in dataset.paths] == ["alpha", "deep", "gray", "rgb"]
        for path, tensor in zip(dataset.paths, dataset, strict=False):
            assert tensor.shape == (3, 70, 90)
            np.testing.assert_allclose(tensor.numpy().transpose(1, 2, 0), expected_rgb(path), atol=1e-6)

    def test_crops_are_parts_of_the_pictures(self, example: ModuleType, packed: Path) -> None:
        dataset = example.AecDataset(packed, crop=40)
        crops = [dataset[3].numpy().transpose(1, 2, 0) for _ in range(4)]
        assert all(crop.shape == (40, 40, 3) for crop in crops)
        assert all(is_part(crop, expected_rgb(dataset.paths[3])) for crop in crops)
        assert any(not np.array_equal(crops[0], crop) for crop in crops)

    def test_a_loader_makes_batches(self, example: ModuleType, packed: Path) -> None:
        from torch.utils.data import DataLoader

        dataset = example.AecDataset(packed, crop=64, transform=lambda tensor: tensor * 2)
        (batch,) = DataLoader(dataset, batch_size=4, shuffle=True)
        assert batch.shape == (4, 3, 64, 64)
        assert 1 < batch.max() <= 2


@pytest.mark.usefixtures("cosine_by_default")
@pytest.mark.filterwarnings("ignore")
class TestTensorFlow:
    @pytest.fixture
    def example(self) -> ModuleType:
        pytest.importorskip("tensorflow", reason="tensorflow is not installed")
        return importlib.import_module("tfdata_dataset")

    def test_pictures_of_every_kind_become_rgb_tensors(self, example: ModuleType, packed: Path) -> None:
        pictures = list(example.aec_dataset(packed, shuffle=False, seed=1).as_numpy_iterator())
        assert len(pictures) == 4
        for path, picture in zip(sorted(packed.rglob("*.aec")), pictures, strict=True):
            np.testing.assert_allclose(picture, expected_rgb(path), atol=1e-6)

    def test_batches_of_crops_are_parts_of_the_pictures(self, example: ModuleType, packed: Path) -> None:
        dataset = example.aec_dataset(packed, crop=40).batch(4).repeat(2)
        first, second = (batch.numpy() for batch in dataset)
        wholes = [expected_rgb(path) for path in packed.rglob("*.aec")]
        assert first.shape == (4, 40, 40, 3)
        assert all(any(is_part(crop, whole) for whole in wholes) for crop in first)
        assert not np.array_equal(first, second)

    def test_a_seed_repeats_order_and_crops(self, example: ModuleType, packed: Path) -> None:
        runs = [list(example.aec_dataset(packed, 40, seed=7).as_numpy_iterator()) for _ in range(2)]
        np.testing.assert_array_equal(*runs)


class SlowRuntime(CosineRuntime):
    """Gives the test time to kill the worker that uses it."""

    def analyse(self, pixels: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        time.sleep(0.2)
        return super().analyse(pixels, level)


@pytest.mark.filterwarnings("ignore")
class TestDask:
    @pytest.fixture
    def example(self) -> ModuleType:
        pytest.importorskip("distributed", reason="dask[distributed] is not installed")
        return importlib.import_module("dask_cluster")

    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        for number in range(12):
            path = tmp_path / "photos" / ("a", "b/c")[number % 2] / f"photo{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(40, 50, seed=number)).save(path)
        (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
        (tmp_path / "photos" / "notes.txt").write_text("no picture either")
        return tmp_path / "photos"

    def test_a_killed_worker_costs_no_output(
        self, example: ModuleType, photos: Path, tmp_path: Path, cosine_model: Model, cosine: dict[str, Any]
    ) -> None:
        from distributed import Client, LocalCluster

        packed = tmp_path / "packed"
        settings = {"quality": 60, "model": str(cosine_model.folder), "runtime": SlowRuntime()}
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            victim = next(iter(client.run(os.getpid).values()))
            outcomes = []
            for outcome in example.compress_tree(client, photos, packed, settings):
                outcomes.append(outcome)
                if len(outcomes) == 2:
                    os.kill(victim, signal.SIGKILL)
            assert victim not in client.run(os.getpid).values()
            again = list(example.compress_tree(client, photos, packed, settings))
        assert sorted(outcome.source for outcome in outcomes) == sorted(photos.rglob("*.png"))
        assert [outcome.source.name for outcome in outcomes if outcome.status == "failed"] == ["broken.png"]
        assert sum(outcome.status == "kept" for outcome in again) == 12
        found = sorted(path for path in packed.rglob("*") if path.is_file())
        assert len(found) == 12
        for path in found:
            source = photos / path.relative_to(packed).with_suffix("")
            assert path.read_bytes() == aecodec.encode(Image.open(source), 60, **cosine)


@pytest.mark.usefixtures("cosine_by_default")
class TestImageio:
    @pytest.fixture
    def imageio(self) -> ModuleType:
        pytest.importorskip("imageio", reason="imageio is not installed")
        importlib.import_module("aecodec.pillow")
        return importlib.import_module("imageio.v3")

    def test_it_reads_through_the_pillow_plugin(self, imageio: ModuleType, packed: Path) -> None:
        for name in ("rgb", "gray", "below/alpha"):
            path = packed / f"{name}.aec"
            np.testing.assert_array_equal(imageio.imread(path), aecodec.decode(path))
            np.testing.assert_array_equal(imageio.imread(path.read_bytes()), aecodec.decode(path))

    def test_it_writes_through_the_pillow_plugin(self, imageio: ModuleType, tmp_path: Path) -> None:
        pixels = photograph(40, 50)
        imageio.imwrite(tmp_path / "picture.aec", pixels, quality=60)
        assert (tmp_path / "picture.aec").read_bytes() == aecodec.codec.encode(pixels, 60)
        assert imageio.improps(tmp_path / "picture.aec").shape == (40, 50, 3)
