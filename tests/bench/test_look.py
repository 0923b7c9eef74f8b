"""The page on which a person looks."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.codecs import select_codecs
from bench.images import describe
from bench.look import build, busiest, largest_within
from tests.bench.helpers import Shelf, noisy, picture, save


def test_the_search_finds_the_largest_file_that_fits() -> None:
    codec, pixels = Shelf(), noisy(picture(64, 64))
    sizes = [len(codec.encode(pixels, quality)) for quality in codec.scale]
    assert sizes == sorted(sizes)
    for index, size in enumerate(sizes):
        assert len(largest_within(codec, pixels, size)) == size
        assert len(largest_within(codec, pixels, size - 1)) == sizes[max(index - 1, 0)]


def test_the_crop_is_where_the_error_is() -> None:
    original = picture(400, 600)
    decoded = original.copy()
    decoded[250:300, 410:450] = 0
    left, top = busiest(original, [decoded])
    assert left <= 410 <= left + 192
    assert top <= 250 <= top + 128


@pytest.fixture
def page(tmp_path: Path) -> str:
    image = describe(save(noisy(picture(192, 256), 6), tmp_path / "wave <1>.png"))
    return build([image], select_codecs("jpeg,webp"), 1.5, None, lambda done, total, name: None)


def test_the_page_names_sizes_and_needs_no_other_file(page: str) -> None:
    assert "wave &lt;1&gt;" in page
    target = int(1.5 * 192 * 256 / 8)
    sizes = [int(text.replace(",", "")) for text in re.findall(r"(?:JPEG 4:2:0|WebP): ([\d,]+) bytes", page)]
    assert sizes
    assert all(size <= target for size in sizes)
    assert "http" not in page.replace("http-equiv", "")


def test_a_codec_whose_smallest_file_is_too_large_is_marked(tmp_path: Path) -> None:
    image = describe(save(noisy(picture(192, 256), 6), tmp_path / "wave.png"))
    text = build([image], select_codecs("jpeg"), 0.01, None, lambda done, total, name: None)
    assert "(its smallest file)" in text
    text = build([image], select_codecs("jpeg"), 3.0, None, lambda done, total, name: None)
    assert "(its smallest file)" not in text


def test_the_slider_moves_the_border_in_a_browser(page: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    probe = """<script>addEventListener("load", () => {
      const find = (name) => document.querySelector(name);
      const slider = find(".slider"), above = find(".above"), scroll = find(".scroll");
      const before = above.style.clipPath;
      slider.value = 20; slider.dispatchEvent(new Event("input"));
      const zoom = find(".zoom"); zoom.value = "4"; zoom.dispatchEvent(new Event("input"));
      scroll.scrollLeft = 600; scroll.dispatchEvent(new Event("scroll"));
      const line = find(".line").offsetLeft - scroll.scrollLeft + 1;
      const images = [...document.querySelectorAll("img")];
      const loaded = images.every((image) => image.naturalWidth === 256);
      const chosen = getComputedStyle(above).userSelect;
      document.title = [before, scroll.clientWidth, find(".stage").offsetWidth, Math.round(line), chosen,
                        loaded].join("|");
    });</script></body>"""
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", probe))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dumped)
    assert title is not None
    before, visible, stage, line, chosen, loaded = title.group(1).split("|")
    assert before == "inset(0px 50% 0px 0px)"
    assert (int(stage), chosen, loaded) == (1024, "none", "true")
    assert int(line) == pytest.approx(0.2 * int(visible), abs=2)  # in sight, though the picture was scrolled
