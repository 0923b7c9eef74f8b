"""Checkpoints: what comes back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="checkpoints hold Keras variables")

import keras

from aecodec.errors import InputError
from aecodec.networks.autoencoder import Autoencoder
from aecodec.training.checkpoint import (
    averaged_weights,
    averaged_weights_of,
    load_checkpoint,
    part,
    read_checkpoint,
    save_averages,
    save_checkpoint,
    set_weights,
    start_average,
    weights_of,
)
from aecodec.training.optimizer import make_optimizer
from tests.networks.helpers import differing, fresh_autoencoder, numpy, optimizer_state, tiny_autoencoder

PROGRESS = {"step": 120, "seconds": 33.5}


def optimizer_of(model: Autoencoder, name: str = "adam") -> keras.optimizers.Optimizer:
    optimizer = make_optimizer(name, clip_norm=1.0, average=0.9)
    optimizer.build(model.trainable_variables)
    return optimizer


@pytest.fixture(scope="module")
def trained() -> tuple[Autoencoder, keras.optimizers.Optimizer]:
    """A model and an optimiser none of whose variables are as they began."""
    model = tiny_autoencoder()
    optimizer = optimizer_of(model)
    generator = np.random.default_rng(0)
    for variable in optimizer.variables:
        if "int" not in variable.dtype:
            variable.assign(generator.uniform(0.1, 1, tuple(variable.shape)))
    optimizer.iterations.assign(17)
    return model, optimizer


@pytest.fixture
def saved(trained: tuple[Autoencoder, Any], tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, *trained, PROGRESS)
    return path


def test_everything_comes_back(saved: Path, trained: tuple[Autoencoder, Any]) -> None:
    other = fresh_autoencoder(1)
    optimizer = optimizer_of(other)
    assert load_checkpoint(saved, other, optimizer) == PROGRESS
    assert differing(weights_of(other), weights_of(trained[0])) == 0
    assert differing(optimizer_state(optimizer), optimizer_state(trained[1])) == 0
    assert differing(averaged_weights_of(other, optimizer), averaged_weights_of(*trained)) == 0
    assert np.array_equal(numpy(other.normaliser), numpy(trained[0].normaliser))
    assert int(optimizer.iterations) == 17


def test_only_the_checkpoint_is_left_in_its_folder(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint.npz"]


def test_a_failed_save_leaves_the_old_checkpoint(
    saved: Path, trained: tuple[Autoencoder, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved.read_bytes()

    def fail(stream: Any, **arrays: Any) -> None:
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(saved, *trained, PROGRESS)
    assert saved.read_bytes() == content


def test_weights_alone_may_be_read_for_another_optimiser(
    saved: Path, trained: tuple[Autoencoder, Any]
) -> None:
    other = fresh_autoencoder(1)
    optimizer = optimizer_of(other, "muon")
    with pytest.raises(InputError, match="--optimizer"):
        load_checkpoint(saved, other, optimizer)
    load_checkpoint(saved, other, None)
    assert differing(weights_of(other), weights_of(trained[0])) == 0


def test_averages_alone_are_weights_to_start_from_but_no_schedule_to_keep(
    trained: tuple[Autoencoder, Any], tmp_path: Path
) -> None:
    path = tmp_path / "averages.npz"
    save_averages(path, *trained, PROGRESS)
    other = fresh_autoencoder(1)
    assert load_checkpoint(path, other, None) == PROGRESS
    for name, expected in averaged_weights_of(*trained).items():
        exact = name.startswith("scale_network/") or not name.endswith("/kernel")
        np.testing.assert_allclose(weights_of(other)[name], expected, rtol=0 if exact else 2**-10)
    assert {array.dtype for array in part(read_checkpoint(path), "average/").values()} == {
        np.dtype(np.float16),
        np.dtype(np.float32),
    }
    with pytest.raises(InputError, match="optimiser"):
        load_checkpoint(path, other, optimizer_of(other))


@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_weights_of_another_architecture_are_refused_and_nothing_is_set(change: str) -> None:
    model = fresh_autoencoder()
    weights = weights_of(tiny_autoencoder())
    if change == "missing":
        del weights["synthesis/up/bias"]
    else:
        weights["synthesis/up/bias"] = weights["synthesis/up/bias"][1:]
    before = weights_of(model)
    with pytest.raises(InputError, match=r"synthesis/up/bias.*another architecture"):
        set_weights(model, weights)
    assert differing(before, weights_of(model)) == 0


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"expected a checkpoint at .*some\.npz"):
        read_checkpoint(path)


def test_an_archive_without_progress_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", normaliser=np.ones(3))
    with pytest.raises(InputError, match="progress/step"):
        read_checkpoint(tmp_path / "some.npz")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path)


def test_parts_are_named_without_their_prefix() -> None:
    arrays = {"a/b/c": np.zeros(1), "b/c": np.ones(1)}
    assert list(part(arrays, "a/")) == ["b/c"]


def test_averaged_weights_are_in_force_inside_of_their_block_only(trained: tuple[Autoencoder, Any]) -> None:
    model, optimizer = trained
    own, averaged = weights_of(model), averaged_weights_of(model, optimizer)
    with pytest.raises(KeyboardInterrupt), averaged_weights(model, optimizer):
        assert differing(weights_of(model), averaged) == 0
        raise KeyboardInterrupt
    assert differing(weights_of(model), own) == 0
    assert differing(own, averaged) == len(own)


def test_an_average_starts_at_the_weights() -> None:
    model = tiny_autoencoder()
    optimizer = optimizer_of(model)
    start_average(model, optimizer)
    assert differing(averaged_weights_of(model, optimizer), weights_of(model)) == 0
