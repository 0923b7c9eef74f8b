"""``aecodec bench``: other formats at the PSNR that aecodec reaches."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aecodec.cli import bench, run
from aecodec.cli.bench import Format, Row


@pytest.fixture
def pixels() -> Any:
    y, x = np.mgrid[0:96, 0:128]
    planes = [128 + 90 * np.sin(x / 9 + y / 13), 128 + 80 * np.cos(x * y / 700), (x + 2 * y) % 256]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


@pytest.fixture
def with_cosine(monkeypatch: pytest.MonkeyPatch, cosine: dict[str, Any]) -> None:
    """Let the command compress without an installed model."""
    compare = bench.compare
    monkeypatch.setattr(
        bench, "compare", lambda pixels, quality, model, runtime: compare(pixels, quality, **cosine)
    )


def test_other_formats_are_brought_to_the_same_psnr(pixels: Any, cosine: dict[str, Any]) -> None:
    first, *others = bench.compare(pixels, 70, **cosine)
    assert first.name == "aecodec"
    assert {row.name for row in others} >= {"JPEG", "WebP"}
    for row in others:
        assert row.note == "" or row.note.startswith("reaches only")
        if not row.note:
            assert row.psnr == pytest.approx(first.psnr)
            assert row.bytes > 100
            assert row.encode_seconds > 0


def test_the_search_finds_the_size_between_the_neighbouring_settings(
    pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(pixels: Any, kind: Format, quality: int) -> Row:
        return Row(kind.name, round(1e6 * 1.05**quality), 20 + quality / 4, encode_seconds=quality)

    monkeypatch.setattr(bench, "_through_pillow", attempt)
    kind = Format("JPEG", "JPEG", {})
    row = bench.match_psnr(pixels, kind, 20 + 60.5 / 4)
    assert row.bytes == pytest.approx(1e6 * 1.05**60.5, rel=1e-5)
    assert row.encode_seconds == 61
    assert bench.match_psnr(pixels, kind, 20 + 61 / 4).bytes == attempt(pixels, kind, 61).bytes
    assert bench.match_psnr(pixels, kind, 1.0).psnr == attempt(pixels, kind, 1).psnr


def test_a_psnr_that_a_format_cannot_reach_is_told(pixels: Any) -> None:
    assert "reaches only" in bench.match_psnr(pixels, Format("JPEG", "JPEG", {}), 90.0).note


def test_sizes_are_interpolated_in_the_logarithm() -> None:
    below, above = Row("x", 1000, 30.0), Row("x", 4000, 32.0)
    assert bench.interpolated_bytes(below, above, 31.0) == 2000
    assert bench.interpolated_bytes(below, Row("x", 900, 30.0), 30.0) == 900


def test_psnr_is_that_of_the_formula() -> None:
    black = np.zeros((600, 8, 3), np.uint8)
    assert bench.psnr(black, black + np.uint8(3)) == pytest.approx(20 * math.log10(255 / 3))
    assert bench.psnr(black, black) == math.inf


@pytest.mark.usefixtures("with_cosine")
def test_the_table_has_a_line_for_each_format(
    pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    assert run(["bench", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("photo.png  128x96")
    assert lines[2].split()[0] == "aecodec"
    assert any(line.split()[0] == "JPEG" for line in lines)


@pytest.mark.usefixtures("with_cosine")
def test_pictures_of_every_kind_are_compared_in_8_bit_rgb(
    pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "formats", lambda: [Format("JPEG", "JPEG", {})])
    deep = tmp_path / "deep.png"
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(deep)
    transparent = tmp_path / "transparent.png"
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(transparent)
    assert run(["bench", "--json", str(deep), str(transparent)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [item["width"] for item in report] == [128, 128]
    assert [row["name"] for row in report[1]["rows"]] == ["aecodec", "JPEG"]


def test_a_format_that_fails_is_a_line_with_the_reason(
    pixels: Any, cosine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "formats", lambda: [Format("Gone", "NOSUCHFORMAT", {})])
    assert "NOSUCHFORMAT" in list(bench.compare(pixels, 50, **cosine))[1].note
    refuse = functools.partial(_raise, ValueError("no encoder"))
    monkeypatch.setattr(bench, "match_psnr", refuse)
    assert list(bench.compare(pixels, 50, **cosine))[1].note == "not available: no encoder"


def _raise(error: Exception, *arguments: object) -> Any:
    raise error
