"""Reports are made of result files alone, and tell everything that the files tell."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.compare import compare
from bench.document import Figure, Heading, Paragraph, Pictures, Table, to_markdown, to_page
from bench.plots import rate_distortion
from bench.report import build, device_blocks
from bench.results import PUBLISHED, Point, Result, averages, read_result, write_result

MACHINE = {"processor": "P", "cores": 2, "memory_gib": 4, "system": "S", "python": "3.11"}
RUN = {"command": "python -m bench rd", "commit": "0123456789abcdef", "machine": MACHINE, "date": "today"}


def result(name: str, factor: float, failure: str | None = None) -> Result:
    points = []
    for number, image in enumerate(("door", "hats", "lake")):
        for step in range(8):
            quality = 26 + 1.8 * step + number
            metrics = {"psnr-rgb": quality, "ms-ssim-rgb": 1 - 10 ** (-quality / 20)}
            rate = factor * (1 + 0.2 * number) * 0.1 * 1.45**step
            failed = failure if (step, number) == (7, 2) else None
            points.append(Point(image, step, int(rate * 1000), rate, metrics, failure=failed))
    about = {"run": RUN, "codec": {"settings": {"speed": 6}, "model_id": "feed"}}
    return Result(name, name.title(), "library 1.0", averages(points), points, about)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on three codecs."""
    base = tmp_path_factory.mktemp("bench")
    folder = base / "results" / "kodak"
    for item in (result("aecodec", 0.5), result("jpeg", 1.0), result("avif", 0.7, "SizeError: <too> small")):
        write_result(item, folder)
    (folder / "thumbnails.json").write_text(json.dumps({"lake": "data:image/webp;base64,AAAA"}))
    files = build(base / "report", base / "results", PUBLISHED)
    assert {path.name for path in files} == {path.name for path in (base / "report").iterdir()}
    return base / "report"


def test_a_report_tells_bd_rates_failures_worst_pictures_and_origins(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "| Aecodec | -50.0 % | -50.0 ± 0.0 % |" in text
    assert "VVC (VTM), published" in text
    assert "SizeError: <too> small" in text
    assert "Aecodec against Avif, picture by picture" in text
    assert "lake: " in text
    assert "speed 6" in text
    assert "feed" in text
    assert "0123456789ab" in text
    assert "python -m bench rd" in text


def test_the_speed_of_the_whole_codec_on_a_device_is_told(tmp_path: Path) -> None:
    made = result("aecodec-keras-gpu", 0.5)
    points = [replace(point, encode_seconds=0.5, decode_seconds=0.25) for point in made.points]
    about = {**made.about, "codec": {**made.about["codec"], "processor": "Some GPU"}}
    write_result(replace(made, points=points, about=about), tmp_path / "results" / "kodak")
    build(tmp_path / "report", tmp_path / "results", PUBLISHED)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "On Some GPU, entropy coder and transfers included: " in text
    assert "processor Some GPU" in text
    rate = next(p for p in points if p.failure is None)
    megapixels = 8e-6 * rate.bytes / rate.bpp
    assert f"{megapixels / 0.25:.1f} to decode" in text


def test_the_page_stands_alone_and_hides_no_markup(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "SizeError: &lt;too&gt; small" in page
    assert 'src="data:image/png;base64,' in page
    assert 'src="data:image/webp;base64,AAAA"' in page
    for reference in ('src="http', 'href="http', "url(http", "<script"):
        assert reference not in page


def test_plots_are_pictures_in_both_forms(report: Path) -> None:
    assert (report / "kodak-psnr.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.fromstring((report / "kodak-psnr.svg").read_text()).tag.endswith("svg")


def test_the_same_results_give_the_same_plot() -> None:
    curves = [result("jpeg", 1.0), result("avif", 0.7)]
    plots = [rate_distortion("p", "title", "psnr-rgb", curves) for _ in range(2)]
    assert plots[0] == plots[1]


def test_a_report_without_results_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m bench rd"):
        build(tmp_path / "report", tmp_path / "nothing", PUBLISHED)


def test_speed_files_become_tables_and_plots(tmp_path: Path) -> None:
    times = {"median": 0.5, "least": 0.4, "most": 0.7, "repeats": 5}
    row = {
        "codec": "jpeg",
        "label": "JPEG",
        "size": "2",
        "megapixels": 2.0,
        "cores": 1,
        "mode": "in-process",
        "load": 0.1,
    }
    measured = {"encode": times, "decode": times, "peak_mib": 80.0, "bytes": 250000, "psnr-rgb": 33.0}
    rows = [
        {**row, **measured},
        {**row, "size": "50", "megapixels": 50.0, "skipped": "took longer than 30 s at 2 MP"},
    ]
    folder = tmp_path / "results"
    folder.mkdir()
    speed = {"run": RUN, "pictures": "tiles", "processes": "scripts.", "rows": rows}
    (folder / "speed.json").write_text(json.dumps(speed))
    build(tmp_path / "report", folder, PUBLISHED)
    text = (tmp_path / "report" / "report.md").read_text()
    assert (
        "| JPEG | 2 | 0.5 s (0.4 to 0.7, 5) | 4 | 0.5 s (0.4 to 0.7, 5) | 4 | 80 MiB | 1.00 | 33.00 |" in text
    )
    assert "took longer than 30 s at 2 MP" in text
    assert (tmp_path / "report" / "speed-in-process-1-decode.svg").exists()


def test_per_picture_and_averaged_bd_rates_are_both_given() -> None:
    comparison = compare(result("jpeg", 1.0), result("aecodec", 0.5), "psnr-rgb")
    assert comparison.average is not None
    assert comparison.average.percent == pytest.approx(-50, abs=0.01)
    assert set(comparison.images) == {"door", "hats", "lake"}
    assert comparison.mean == pytest.approx(-50, abs=0.01)


def test_what_was_not_measured_is_not_compared() -> None:
    other = result("jpeg", 1.0)
    bare = Result("bare", "Bare", "", {"bpp": [1.0], "psnr-rgb": [30.0]})
    assert compare(other, bare, "ms-ssim-rgb").average is None
    few = compare(other, bare, "psnr-rgb")
    assert few.average is None
    assert "at least 6 points" in few.notes[0]


def test_the_published_curves_can_be_read_from_the_checkout(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED / "kodak", tmp_path / "kodak")
    vtm = read_result(tmp_path / "kodak" / "vtm.json", published=True)
    assert vtm.average_curve("psnr-rgb").qualities[0] == pytest.approx(26.14, abs=0.01)


def test_blocks_become_markdown_and_markup() -> None:
    blocks = [
        Heading(2, "A & B"),
        Paragraph("text"),
        Table(["x", "y"], [["1", "2"]]),
        Figure("plot", "caption", b"png"),
        Pictures([("one", "data:,"), ("two", "")]),
    ]
    markdown = to_markdown(blocks)
    assert "## A & B\n\ntext\n\n| x | y |\n| --- | ---: |\n| 1 | 2 |" in markdown
    assert "![caption](plot.svg)" in markdown
    assert "- two" in markdown
    page = to_page("t", blocks)
    assert "<h2>A &amp; B</h2>" in page
    assert page.count("<figure>") == 2


def test_a_device_is_told_with_its_rows_and_what_is_to_be_known_of_them() -> None:
    row = {"width": 768, "height": 512, "precision": "float32", "with_transfers": 44.18}
    rows = [
        {**row, "operation": "encode", "without_transfers": 86.56, "psnr_difference": None},
        {**row, "operation": "decode", "without_transfers": None, "psnr_difference": -3e-06},
    ]
    device = {"device": "NVIDIA H200", "framework": "Keras", "run": RUN, "rows": rows}
    text = to_markdown([*device_blocks(device), *device_blocks({**device, "note": "Lower bounds."})])
    assert "Device: NVIDIA H200" in text
    assert "| 768x512 | float32 | encode | 44.2 | 86.6 |  |" in text
    assert "| 768x512 | float32 | decode | 44.2 |  | -0.00000 dB |" in text
    assert text.count("medians.\n") == 1
    assert text.count("medians. Lower bounds.\n") == 1
