"""The five steps: which latents each one codes."""

from __future__ import annotations

import numpy as np
import pytest

from aecodec.entropy import group_of, positions_of

pytest.importorskip("keras", reason="the networks need Keras")

from aecodec.networks.prediction import step_cells, step_masks
from tests.networks.helpers import numpy

CHANNELS = 16


def test_steps_cover_every_latent_exactly_once() -> None:
    assert np.array_equal(step_cells(CHANNELS).sum(axis=0), np.ones((2, 2, CHANNELS)))


def test_each_step_codes_a_quarter_of_the_channels_at_its_positions() -> None:
    quarter, colour = CHANNELS // 4, np.eye(2)
    expected = [quarter * colour, quarter * (1 - colour), *np.full((3, 2, 2), quarter)]
    assert np.array_equal(step_cells(CHANNELS).sum(axis=3), expected)


def test_steps_code_the_groups_that_the_entropy_coder_codes() -> None:
    cells = step_cells(CHANNELS).reshape(5, 4, 4, CHANNELS // 4)
    for step in range(5):
        for position in range(4):
            groups = np.flatnonzero(cells[step, position].all(axis=1))
            coded = [group_of(step, position)] if position in positions_of(step) else []
            assert groups.tolist() == coded


def test_masks_repeat_the_cells_over_the_plane() -> None:
    masks = [numpy(mask) for mask in step_masks(np.zeros((2, 4, 8, CHANNELS), np.float32))]
    assert {mask.shape for mask in masks} == {(1, 4, 8, CHANNELS)}
    for mask, cell in zip(masks, step_cells(CHANNELS), strict=True):
        assert np.array_equal(mask[0], np.tile(cell, (2, 4, 1)))
