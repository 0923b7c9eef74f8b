"""What is compared with JAX, computed there: ``python -m tests.networks.on_jax MODEL GIVEN.npz FOUND.npz``.

The results are arrays; the tests that look at them are beside those of the same thing on TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import keras
import numpy as np

from aecodec.models import load_model_folder
from aecodec.networks import layers
from aecodec.networks.compilation import compiled
from aecodec.residuals import ResidualCoder
from aecodec.runtime.keras import KerasRuntime
from aecodec.training.backends import Batch, DevicePictures, JaxTrainer, device_crops, make_trainer
from aecodec.training.checkpoint import weights_of
from aecodec.training.data import PictureSet, draw_crops, take_crops
from aecodec.training.optimizer import make_optimizer
from tests.helpers import photograph
from tests.networks.helpers import (
    differing,
    fresh_autoencoder,
    magnitudes_seen,
    not_finite,
    numpy,
    optimizer_state,
)

STEPS = 4
PICTURES = PictureSet(("0", "1"), (photograph(96, 80, 0), photograph(70, 130, 1)))


def main(folder: Path, given_file: Path, found_file: Path) -> None:
    """Compute everything, and write it."""
    assert keras.backend.backend() == "jax"
    with np.load(given_file) as stored:
        given = dict(stored)
    found = run_model(KerasRuntime(load_model_folder(folder)), given)
    found |= take_device_crops()
    found |= train()
    found |= gradients_of_a_block()
    np.savez(found_file, **found)


def run_model(runtime: KerasRuntime, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """Latents, symbols, pixels."""
    model, coder = runtime.autoencoder, ResidualCoder(runtime.model, runtime)
    analysis = compiled(model, model.analysis)
    found: dict[str, Any] = {"magnitudes": magnitudes_seen(model.scale_network)}
    for level in given["levels"].tolist():
        weights = model.level_weights(np.array([level]))
        found[f"latents {level}"] = numpy(analysis(given["pixels"][None], weights))[0]
        latents = runtime.analyse(given["pixels"], level)
        found[f"z {level}"], found[f"r {level}"] = coder.quantise(latents, level)
        reconstructed = coder.reconstruct(given[f"z {level}"], given[f"r {level}"], level)
        found[f"decoded {level}"] = runtime.synthesise(reconstructed, level)
    return found


def take_device_crops() -> dict[str, Any]:
    """The same crops from device memory and from the host's."""
    plan = draw_crops(PICTURES, 32, 64, np.random.default_rng(3))
    stored = DevicePictures(PICTURES)
    crops = jax.jit(device_crops, static_argnums=2)(stored.pixels, stored.places(plan), 64)
    return {"crops of device": numpy(crops), "crops of host": take_crops(PICTURES, plan)}


def gradients_of_a_block() -> dict[str, Any]:
    """By operations and by kernels, in half precision: the difference of each over the operations' norm."""
    block = layers.GatedBlock(8, dtype="mixed_bfloat16")
    block.build((None, None, None, 64))
    generator = np.random.default_rng(4)
    values = [
        variable.value + 0.1 * generator.normal(size=variable.shape).astype(np.float32)
        for variable in block.trainable_variables
    ]
    inputs = jax.numpy.asarray(generator.normal(size=(2, 12, 12, 64)), "bfloat16")
    weights = jax.numpy.asarray(generator.random((2, 8)), "float32")

    def total(values: list[Any], inputs: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(block.trainable_variables, values, strict=True))):
            return jax.numpy.sum(jax.numpy.sin(block(inputs, weights).astype("float32")))

    def gradients(has_kernels: bool) -> list[np.ndarray]:
        with mock.patch.object(layers, "_has_kernels", lambda _: has_kernels):
            found = jax.tree.leaves(jax.grad(total, argnums=(0, 1))(values, inputs))
        return [numpy(gradient.astype("float32")) for gradient in found]

    differences = [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(gradients(True), gradients(False), strict=True)
    ]
    return {"block's gradients differ": np.array(differences), "kernels serve": kernels_serve()}


def kernels_serve() -> np.ndarray:
    """Whether they do here, and would on a GPU: for bfloat16, for float32."""
    tensors = [jax.numpy.zeros((), dtype) for dtype in ("bfloat16", "float32")]
    here = [layers._has_kernels(tensor) for tensor in tensors]
    with mock.patch.object(jax, "default_backend", lambda: "gpu"):
        return np.array([*here, *(layers._has_kernels(tensor) for tensor in tensors)])


def train_singly(batch: Batch, rates: list[float]) -> np.ndarray:
    """Losses of the same steps, each a call of its own."""
    model = fresh_autoencoder()
    trainer = make_trainer(model, make_optimizer("muon", clip_norm=20.0, average=0.9), PICTURES, seed=1)
    results = [trainer.train(number, [batch], [rate]) for number, rate in enumerate(rates)]
    return np.concatenate([numpy(result.loss) for result in results])


def train() -> dict[str, Any]:
    """A few steps on the same crops, two that are taken back, then two whose gradients are not finite."""
    model = fresh_autoencoder()
    optimizer = make_optimizer("muon", clip_norm=20.0, average=0.9)
    trainer = make_trainer(model, optimizer, PICTURES, seed=1)
    assert isinstance(trainer, JaxTrainer)
    batch = Batch(draw_crops(PICTURES, 2, 64, np.random.default_rng(0)), np.array([60, 200]))
    before = weights_of(model)
    rates = [2e-2, 1e-2, 2e-2, 1e-2]
    results = [trainer.train(first, [batch] * 2, rates[first : first + 2]) for first in range(0, STEPS, 2)]
    single = train_singly(batch, rates)
    unsynchronised = weights_of(model)
    trainer.synchronise()
    trained, state = weights_of(model), optimizer_state(optimizer)
    kept = trainer.state()
    trainer.train(STEPS, [batch] * 2, [2e-2] * 2)
    trainer.synchronise()
    moved = weights_of(model)
    trainer.set_state(kept)
    trainer.synchronise()
    returned = weights_of(model), optimizer_state(optimizer)
    model.level_weights = not_finite
    broken = trainer.train(STEPS, [batch] * 2, [2e-2] * 2)
    trainer.synchronise()
    return {
        "losses": np.concatenate([numpy(result.loss) for result in results]),
        "norms": np.concatenate([numpy(result.gradient_norm) for result in [*results, broken]]),
        "losses of single steps": single,
        "unsynchronised weights differ": differing(before, unsynchronised),
        "trained weights differ": differing(before, trained),
        "moved weights differ": differing(trained, moved),
        "returned weights differ": differing(trained, returned[0]),
        "returned state differs": differing(state, returned[1]),
        "broken step's weights differ": differing(trained, weights_of(model)),
        "broken step's state differs": differing(state, optimizer_state(optimizer)),
        "variables": len(before),
    }


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
