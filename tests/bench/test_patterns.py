"""Patterns against JPEG."""

from __future__ import annotations

import numpy as np

from bench.robustness.patterns import QUALITIES, PatternsPlan, patterns, run, table


def test_patterns_are_what_their_names_say() -> None:
    drawn = dict(patterns(64, (2,)))
    stripes, chequers = drawn["stripes of 2, magenta and green"], drawn["chequers of 2, red and cyan"]
    assert all(pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8 for pixels in drawn.values())
    assert stripes[0, :5].tolist() == [[255, 0, 255]] * 2 + [[0, 255, 0]] * 2 + [[255, 0, 255]]
    assert np.array_equal(stripes[0], stripes[1])
    assert chequers[:3, 0].tolist() == [[255, 0, 0]] * 2 + [[0, 255, 255]]
    assert set(np.unique(drawn["noise of eight colours"])) == {0, 255}
    assert np.ptp(drawn["black and white noise"], axis=2).max() == 0


def test_a_pattern_that_falls_short_of_jpeg_is_said_to() -> None:
    content = run(PatternsPlan(None, 64, (2,)), lambda done, total, what: None)
    assert len(content["rows"]) == 12 * len(QUALITIES)
    for row in content["rows"]:
        assert min(row["bytes"], row["jpeg_bytes"], row["jpeg_psnr"]) > 0
        assert 0 < row["psnr"] < 99
    short = [row for row in content["rows"] if row["psnr"] < min(row["jpeg_psnr"] - 3, 25)]
    assert content["below"] == len(short)
    assert content["held"] == (not short)
    assert table(content).count("\n") == 1 + 12
