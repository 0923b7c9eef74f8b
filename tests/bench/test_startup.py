"""Small commands are timed as whole processes."""

from __future__ import annotations

import pytest

from aecodec.models import registry
from bench.startup import measure_all

pytestmark = pytest.mark.skipif(not registry().default, reason="no model is installed")


def test_help_version_and_info_are_timed() -> None:
    content = measure_all(1)
    assert [row["command"] for row in content["rows"]] == ["--help", "--version", "info FILE"]
    for row in content["rows"]:
        assert 0 < row["least"] <= row["median"] <= row["most"]
        assert row["repeats"] == 1
        assert 3 < row["peak_mib"] < 300
