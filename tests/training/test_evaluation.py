"""Measuring a model on held-out pictures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the model is a Keras model")

from aecodec.training.evaluation import LARGEST_BATCH, Evaluation
from aecodec.training.loss import psnr
from tests.networks.helpers import levels, numpy, tiny_autoencoder
from tests.training.pictures import picture_set


def test_means_over_pictures_are_those_of_the_pictures_one_by_one() -> None:
    model = tiny_autoencoder()
    pictures = picture_set(*[(64, 64 + number) for number in range(LARGEST_BATCH + 2)])
    evaluation = Evaluation(model, pictures, (30, 210))
    found = evaluation.measure()
    batch = np.stack([p[:, (p.shape[1] - 64) // 2 :][:, :64] for p in pictures.pictures]).astype(np.float32)
    for number, level in enumerate((30, 210)):
        result = model.evaluation_pass(batch, levels(*[level] * len(batch)))
        rates = (numpy(result.residual_bits) + numpy(result.hyper_bits)) / 64**2
        distortions = np.mean((numpy(result.pixels) - batch) ** 2, axis=(1, 2, 3))
        assert found["bits_per_pixel"][number] == pytest.approx(np.mean(rates), abs=2e-3)
        assert found["psnr"][number] == pytest.approx(np.mean(psnr(distortions)), abs=1e-2)
        weight = model.architecture.lambda_of_level(level)
        losses = (rates + weight * distortions) / np.sqrt(weight)
        # Symbols that round one way in a batch of eight and the other way in one of ten move the rates by as
        # much as is allowed above.
        assert found["losses"][number] == pytest.approx(np.mean(losses), abs=2e-3 / np.sqrt(weight))
    assert found["held_out_loss"] == pytest.approx(np.mean(found["losses"]), abs=1e-3)

    model.synthesis.leave.bias.assign(numpy(model.synthesis.leave.bias) + 1)
    assert evaluation.measure()["psnr"][1] < found["psnr"][1]
