"""What a device could do, and what training asks of it."""

from __future__ import annotations

import pytest

pytest.importorskip("keras", reason="the products are those of Keras")

from aecodec.networks.architecture import PRESETS
from aecodec.training import device
from aecodec.training.device import device_limit, operations_per_pixel


def test_a_step_needs_three_passes_over_both_transforms() -> None:
    """A step of `base` on a pixel: about 84,000 multiplications forward, and twice that backward."""
    assert 5e5 < operations_per_pixel(PRESETS["base"]) < 5.6e5
    assert operations_per_pixel(PRESETS["tiny"]) < operations_per_pixel(PRESETS["small"]) / 10


def test_the_limit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "PRODUCT_SIDES", {"cpu": 256, "gpu": 256})
    assert 1e7 < device_limit() < 1e17
