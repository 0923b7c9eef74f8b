"""Sizes of models: plain data."""

from __future__ import annotations

import json

import pytest

from aecodec.networks.architecture import GROUPS, PRESETS, Architecture


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_manifest_holds_an_architecture_without_loss(preset: Architecture) -> None:
    assert Architecture.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_group_has_its_quarter_of_the_channels(preset: Architecture) -> None:
    assert preset.latent_channels % GROUPS == 0


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(TypeError, match="depth"):
        Architecture.from_dict({"depth": 3})


def test_lambda_is_geometric_between_its_ends() -> None:
    architecture = Architecture(lambda_min=0.001, lambda_max=0.1)
    assert architecture.level_count == 225
    assert architecture.lambda_of_level(0) == pytest.approx(0.001)
    assert architecture.lambda_of_level(112) == pytest.approx(0.01)
    assert architecture.lambda_of_level(224) == pytest.approx(0.1)
