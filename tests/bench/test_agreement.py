"""The checks of aecodec against itself, on one small picture and the default model."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec.models import registry
from bench.agreement import main

pytestmark = pytest.mark.skipif(not registry().default, reason="no model is installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    demo = Path(__file__).parents[2] / "aecodec" / "cli" / "demo.png"
    with Image.open(demo) as image:
        image.crop((100, 100, 228, 228)).save(tmp_path / "crop.png")
    return tmp_path


def test_errors_beside_block_borders_are_reported_against_elsewhere(folder: Path) -> None:
    result = CliRunner().invoke(main, ["borders", "--images", str(folder), "--quality", "50"])
    assert result.exit_code == 0, result.output
    assert "quality 50:" in result.output
