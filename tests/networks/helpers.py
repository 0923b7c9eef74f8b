"""One small model with no weight at zero, for all tests of networks, training and runtimes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from aecodec.models import Model
from aecodec.networks.architecture import PRESETS
from aecodec.networks.autoencoder import Autoencoder
from aecodec.networks.layers import level_weights_of
from aecodec.networks.scales import ScaleNetwork
from aecodec.networks.transforms import LinearTransform, linear_transform_from_patches
from aecodec.networks.weights import arrays_of
from aecodec.training.data import PictureSet, draw_patches
from aecodec.training.fitting import trial_tables
from aecodec.training.folder import write_model
from tests.helpers import photograph, random_filter_basis

TINY = PRESETS["tiny"]
ROOT = Path(__file__).parents[2]
#: Optimising compilation would take most of the time of these tests.
QUICK_XLA = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Optimising a graph takes longer than the few times that a test runs it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def numpy(tensor: Any) -> np.ndarray:
    """A tensor of any backend as an array."""
    return np.asarray(ops.convert_to_numpy(tensor))


@lru_cache
def linear_transform(channels: int = TINY.latent_channels) -> LinearTransform:
    """Principal components of some synthetic pictures."""
    pictures = PictureSet(("0", "1"), (photograph(256, 256, 0), photograph(256, 256, 1)))
    return linear_transform_from_patches(draw_patches(pictures, 4000, 16), channels)


def fresh_autoencoder(seed: int = 0, dtype: str = "float32") -> Autoencoder:
    """A tiny model as training begins with it."""
    keras.utils.set_random_seed(seed)
    model = Autoencoder(TINY, dtype=dtype)
    model.set_linear_transform(linear_transform())
    return model


def tiny_autoencoder(seed: int = 0, amount: float = 0.02, dtype: str = "float32") -> Autoencoder:
    """A tiny model as if trained a little: every weight has moved, none is zero."""
    model = fresh_autoencoder(seed, dtype)
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(numpy(variable) + generator.normal(0, amount, tuple(variable.shape)))
    return model


def pixels(height: int = 128, width: int = 192, seed: int = 0, batch: int = 1) -> np.ndarray:
    """(batch, height, width, 3) float32 0..255."""
    pictures = [photograph(height, width, seed + number) for number in range(batch)]
    return np.stack(pictures).astype(np.float32)


def levels(*values: int) -> np.ndarray:
    """Level weights of the tiny model, (batch, nodes)."""
    return level_weights_of(np.array(values), TINY.level_nodes, TINY.sublevels)


def random_symbols(
    rows: int, columns: int, seed: int = 0, scale: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """z (rows, columns, hyper channels) and r (4 rows, 4 columns, latent channels), int16, long tails."""
    generator = np.random.default_rng(seed)
    z = generator.laplace(0, 2 * scale, (rows, columns, TINY.hyper_channels))
    r = generator.laplace(0, scale, (4 * rows, 4 * columns, TINY.latent_channels))
    return z.round().astype(np.int16), r.round().astype(np.int16)


def write_tiny_model(folder: Path) -> Model:
    """Write :func:`tiny_autoencoder` as a model folder, with the tables of a trial and random filters."""
    basis = random_filter_basis()
    arrays = arrays_of(tiny_autoencoder()) | trial_tables(TINY) | basis.to_arrays()
    arrays["tables/hyper_latents/of_filter"] = np.zeros(len(basis.kernel), np.uint8)
    return write_model(folder, TINY, arrays, {"data": "synthetic"})


def run_on_jax(folder: Path, given: Path, found: Path) -> dict[str, np.ndarray]:
    """Run ``tests.networks.on_jax`` in a process of its own, as a process has one backend."""
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": QUICK_XLA,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    arguments = [str(path) for path in (folder, given, found)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.networks.on_jax", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(found) as stored:
        return dict(stored)


def magnitudes_seen(network: ScaleNetwork) -> np.ndarray:
    """What the network's steps see of the residuals 0..32767, in eighths, (32768,)."""
    features = np.zeros((1, 1, 32768, TINY.scale_feature_width), np.float32)
    known = np.arange(32768, dtype=np.float32)[None, None, :, None] / 8
    return numpy(network.step_inputs(features, known))[0, 0, :, -1]


def not_finite(values: np.ndarray) -> np.ndarray:
    """In the place of a model's ``level_weights``: everything that follows is not a number."""
    return np.full((len(values), TINY.level_nodes), np.nan, np.float32)


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """All of an optimiser's variables but the learning rate."""
    kept = [variable for variable in optimizer.variables if variable is not optimizer._learning_rate]
    return {str(number): numpy(variable).copy() for number, variable in enumerate(kept)}


def differing(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> int:
    """How many arrays of two sets differ."""
    assert first.keys() == second.keys()
    return sum(not np.array_equal(first[name], second[name], equal_nan=True) for name in first)
