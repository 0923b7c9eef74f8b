"""The linear transform, and analysis and synthesis around it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.architecture import PIXEL_CENTRE
from aecodec.networks.layers import space_to_depth
from aecodec.networks.transforms import linear_transform_from_patches
from tests.networks.helpers import fresh_autoencoder, levels, linear_transform, numpy, pixels


def test_the_basis_is_orthonormal_and_decorrelates() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(768, 768)) * np.geomspace(40, 0.1, 768)
    patches = generator.normal(size=(3000, 768)) @ mixing.T / 28 + PIXEL_CENTRE
    transform = linear_transform_from_patches(patches.astype(np.float32), 64)
    assert transform.basis.shape == (768, 64)
    assert transform.basis.dtype == transform.deviation.dtype == np.float32
    np.testing.assert_allclose(transform.basis.T @ transform.basis, np.eye(64), atol=1e-5)
    coefficients = (patches - PIXEL_CENTRE) @ transform.basis
    covariance = coefficients.T @ coefficients / len(patches)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), transform.deviation, rtol=1e-3)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 * covariance.max()


def test_components_are_dealt_out_over_the_four_groups() -> None:
    deviation = linear_transform(64).deviation
    ranked = np.argsort(np.argsort(-deviation)).reshape(4, 16)
    assert ranked[:, 0].tolist() == [0, 1, 2, 3]
    assert (np.sort(ranked, axis=0) == ranked).all()
    assert (ranked // 4 == np.arange(16)).all()


def test_training_begins_at_the_linear_transform_and_its_inverse() -> None:
    model, picture = fresh_autoencoder(), pixels(64, 128)
    node = levels(100)
    latents = numpy(model.analysis(picture, node))
    assert latents.shape == (1, 4, 8, 64)
    basis = linear_transform().basis
    patches = numpy(space_to_depth(picture - PIXEL_CENTRE, 16))
    np.testing.assert_allclose(latents * 32, patches @ basis, atol=1e-2)
    again = numpy(model.synthesis(latents, latents, node))
    projected = numpy(space_to_depth(again - PIXEL_CENTRE, 16))
    np.testing.assert_allclose(projected, patches @ basis @ basis.T, atol=1e-2)
