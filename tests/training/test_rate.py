"""Estimated and real rate of the default model."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec.models import registry

pytest.importorskip("keras")
pytestmark = pytest.mark.skipif(not registry().default, reason="no model is installed")


def test_real_payloads_are_within_one_per_cent_of_the_estimate(tmp_path: Path) -> None:
    from aecodec.training.rate import command

    demo = Path(__file__).parents[2] / "aecodec" / "cli" / "demo.png"
    with Image.open(demo) as image:
        image.crop((64, 64, 576, 448)).save(tmp_path / "crop.png")
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert abs(float(result.output.split("mean ")[1].split("%")[0])) < 1
