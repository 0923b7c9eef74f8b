"""The command line of the benchmarks, from a folder of pictures to a report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.device import DeviceError
from tests.bench.helpers import noisy, picture, save


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "walks"
    folder.mkdir()
    for number in range(2):
        save(noisy(picture(phase=50 * number), 8), folder / f"walk{number}.png")
    return folder


def test_codecs_are_listed_with_their_state() -> None:
    result = CliRunner().invoke(main, ["codecs"])
    assert result.exit_code == 0
    assert "libjpeg-turbo" in result.stdout
    assert "webp-6" in result.stdout


def test_a_run_writes_results_that_a_report_is_made_of(pictures: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ["--images", str(pictures), "--codecs", "jpeg,webp", "--jobs", "1", "--metrics", "psnr-rgb"]
    run = CliRunner().invoke(main, ["rd", *arguments, "--output", str(results), "--cache", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert "jpeg.json: 20 points" in run.stdout
    content = json.loads((results / "walks" / "jpeg.json").read_text())
    assert len(content["rows"]) == 20
    report = CliRunner().invoke(
        main, ["report", "--results", str(results), "--output", str(tmp_path / "report")]
    )
    assert report.exit_code == 0, report.output
    assert "| WebP | -" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rd", "--codecs", "jpog"], "Unknown codecs: jpog"),
        (["rd", "--metrics", "beauty", "--codecs", "jpeg"], "Unknown metric beauty"),
        (["speed", "--sizes", "3"], "Expected sizes out of 0.4, 2, 12, 50"),
        (["look", "--codecs", "jpeg", "--names", "nobody"], "No pictures of these names: nobody"),
        (["report", "--results", "/nowhere"], "Measure some first"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, pictures: Path) -> None:
    named = arguments if arguments[0] == "report" else [*arguments, "--images", str(pictures)]
    result = CliRunner().invoke(main, named)
    assert result.exit_code == 1
    assert message in result.output


def test_a_gpu_that_is_not_there_is_told_before_anything_is_measured(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> dict[str, str]:
        raise DeviceError("Expected JAX to see a gpu.")

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("bench.codecs.aecodec.Aecodec.missing", lambda codec: None)
    monkeypatch.setattr("bench.device.measure", refuse)
    arguments = ["--runtime", "keras", "--device", "gpu", "--images", str(pictures)]
    result = CliRunner().invoke(main, ["rd", *arguments, "--output", str(tmp_path / "results")])
    assert result.exit_code == 1
    assert "Expected JAX to see a gpu." in result.output
    assert not (tmp_path / "results").exists()


def test_look_writes_a_page(pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "look.html"
    arguments = ["--images", str(pictures), "--codecs", "jpeg,webp", "--bpp", "1", "--names", "walk1"]
    result = CliRunner().invoke(main, ["look", *arguments, "--output", str(target)])
    assert result.exit_code == 0, result.output
    page = target.read_text()
    assert page.count("<section") == 1
    assert "walk1" in page


def test_graphics_are_measured_and_compared(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.graphics.make", lambda: (pictures, ["No Chromium here."]))
    arguments = ["--codecs", "webp,jpeg", "--jobs", "1", "--output", str(tmp_path), "--cache", str(tmp_path)]
    result = CliRunner().invoke(main, ["graphics", *arguments])
    assert result.exit_code == 0, result.output
    assert "| Picture | against JPEG 4:2:0 | largest file | lossless WebP | PNG |" in result.stdout
    assert "| walk1 | -" in result.stdout
    assert "No Chromium here." in result.stderr
    rows = json.loads((tmp_path / "walks" / "lossless.json").read_text())["rows"]
    assert [row["picture"] for row in rows] == ["walk0", "walk1"]
