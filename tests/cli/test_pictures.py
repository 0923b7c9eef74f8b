"""The commands on real pictures and real files, with a small model and a runtime without networks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aecodec.codec
import aecodec.models
from aecodec.cli import backend, run
from aecodec.cli.decompress import SUFFIXES
from aecodec.cli.files import PICTURE_SUFFIXES
from aecodec.image import READABLE_FORMATS, WRITABLE_FORMATS
from tests.helpers import CosineRuntime, fake_model, photograph
from tests.image.helpers import ICC_PROFILE

ReportOf = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def small_model(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a model that is its own default, and run its graphs without networks."""
    folder = tmp_path_factory.mktemp("models")
    model = fake_model(folder)
    installed = aecodec.models.Registry("fake", MappingProxyType({model.model_id.hex(): "fake"}), folder)
    monkeypatch.setattr(aecodec.models, "registry", lambda: installed)
    monkeypatch.setattr(aecodec.codec, "open_runtime", lambda name, model: CosineRuntime())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.png"
    Image.fromarray(photograph(100, 150)).save(path)
    return path


@pytest.fixture
def packed(picture: Path) -> Path:
    assert run(["compress", "--quiet", str(picture)]) == 0
    picture.unlink()
    return picture.with_suffix(".aec")


def damaged(path: Path, position: int) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    return path


def truncated(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def test_a_picture_comes_back_with_its_size_and_nearly_its_pixels(picture: Path, tmp_path: Path) -> None:
    assert run(["compress", "-q", "90", str(picture)]) == 0
    assert run(["decompress", str(tmp_path / "holiday.aec"), "-o", str(tmp_path / "back.tif")]) == 0
    with Image.open(tmp_path / "back.tif") as image:
        assert image.size == (150, 100)
        error = np.asarray(image, float) - photograph(100, 150)
    assert np.sqrt(np.mean(error**2)) < 20


def test_the_report_tells_rate_quality_and_model(picture: Path, report_of: ReportOf) -> None:
    (entry,) = report_of("compress", "-q", "40", str(picture))["files"]
    assert entry["bytes_after"] == picture.with_suffix(".aec").stat().st_size
    assert entry["bits_per_pixel"] == pytest.approx(8 * entry["bytes_after"] / (150 * 100), abs=1e-4)
    assert (entry["width"], entry["height"], entry["quality"], entry["model"]) == (150, 100, 40, "fake")


def test_bytes_do_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    for index in range(4):
        Image.fromarray(photograph(64, 80, index)).save(tmp_path / f"{index}.png")
    for jobs in ("1", "3"):
        assert run(["compress", "-r", str(tmp_path), "-o", str(tmp_path / jobs), "-j", jobs, "--quiet"]) == 0
    contents = [[path.read_bytes() for path in sorted((tmp_path / jobs).iterdir())] for jobs in ("1", "3")]
    assert len(contents[0]) == 4
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("--target-size", "3k", "bytes_after"),
        ("--target-bpp", "1.5", "bits_per_pixel"),
        ("--target-psnr", "24", "psnr"),
    ],
)
def test_a_target_is_kept_and_told(
    option: str, value: str, key: str, picture: Path, report_of: ReportOf
) -> None:
    (entry,) = report_of("compress", option, value, str(picture))["files"]
    assert entry["target_reached"]
    bound = 3000.0 if option == "--target-size" else float(value)
    assert entry[key] >= bound if key == "psnr" else entry[key] <= bound
    assert "notes" not in entry


def test_a_target_out_of_range_is_written_as_near_as_it_goes_and_said(
    picture: Path, report_of: ReportOf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compress", "--target-size", "50", str(picture)]) == 0
    assert "out of the model's range" in capsys.readouterr().err
    assert not report_of("compress", "--target-size", "50", "--force", str(picture))["files"][0][
        "target_reached"
    ]


@pytest.mark.parametrize("target", [[], ["--target-psnr", "24"]])
@pytest.mark.parametrize(("profile", "stays"), [(ICC_PROFILE, False), (b"no profile", True)])
def test_strip_leaves_the_profile_out_or_says_that_it_stays(
    profile: bytes, stays: bool, target: list[str], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(picture).save(picture, icc_profile=profile)
    assert run(["compress", "--strip", *target, str(picture)]) == 0
    assert ("the colour profile stays" in capsys.readouterr().err) == stays
    with picture.with_suffix(".aec").open("rb") as packed:
        sections = backend.describe(packed).sections
    assert ("ICC_PROFILE" in [name.split()[0] for name, _, _ in sections]) == stays


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--region", "10,20,70,40"], (70, 40)),
        (["--scale", "1/4"], (38, 25)),
        (["--thumbnail", "32"], (32, 21)),
        (["--thumbnail", "1000"], (150, 100)),
    ],
)
def test_parts_previews_and_thumbnails_have_their_sizes(
    options: list[str], size: tuple[int, int], packed: Path, tmp_path: Path
) -> None:
    assert run(["decompress", *options, str(packed), "-o", str(tmp_path / "part.png")]) == 0
    with Image.open(tmp_path / "part.png") as image:
        assert image.size == size


def test_a_thumbnail_is_upright_and_has_8_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(64, 160)).save(tmp_path / "turned.jpg", exif=exif)
    deep = photograph(64, 160)[:, :, 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for name, size in (("turned", (26, 64)), ("deep", (64, 26))):
        assert run(["compress", str(next(tmp_path.glob(f"{name}.*")))]) == 0
        target = tmp_path / f"{name}.thumbnail"
        assert run(["decompress", "--thumbnail", "64", str(tmp_path / f"{name}.aec"), str(target)]) == 0
        with Image.open(target) as image:
            assert image.format == "PNG"
            assert image.size == size
            assert image.mode in ("RGB", "L")


@pytest.mark.parametrize(
    ("width", "height", "size", "scale"),
    [
        (4096, 100, 256, 16),
        (20000, 100, 256, 32),
        (2047, 2047, 256, 4),
        (256, 10, 256, 1),
        (512, 10, 256, 2),
        (9, 9, 256, 1),
        (8, 8, 1, 8),
        (31, 8, 1, 16),
    ],
)
def test_a_thumbnail_is_made_from_the_smallest_preview_that_is_large_enough(
    width: int, height: int, size: int, scale: int
) -> None:
    assert backend.thumbnail_scale(width, height, size) == scale


def test_a_truncated_file_needs_allow_partial_which_gives_exit_code_8(
    packed: Path, report_of: ReportOf
) -> None:
    truncated(packed, 0.7)
    report = report_of("decompress", str(packed))
    assert report["exit_code"] == 3
    assert report["files"][0]["error"]["type"] == "TruncatedError"
    assert not packed.with_suffix(".png").exists()
    report = report_of("decompress", "--allow-partial", str(packed))
    assert report["exit_code"] == 8
    assert 0 < report["files"][0]["missing"] < 1
    with Image.open(packed.with_suffix(".png")) as image:
        assert image.size == (150, 100)


def test_a_picture_above_max_pixels_is_refused_by_every_command_that_decodes(
    packed: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photograph(100, 150)).save(picture)
    for arguments in (
        ["decompress", "-f", str(packed)],
        ["verify", str(packed)],
        ["compress", "-f", str(picture)],
    ):
        assert run([*arguments, "--max-pixels", "10k"]) == 2
        assert "10000" in capsys.readouterr().err


def test_what_is_no_picture_is_exit_code_2_and_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert run(["compress", str(path)]) == 2
    assert capsys.readouterr().err.count("notes.png") == 1


def test_a_picture_that_the_format_cannot_hold_is_an_error_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.dstack([photograph(64, 64), photograph(64, 64)[:, :, 0]])).save(tmp_path / "a.png")
    assert run(["compress", str(tmp_path / "a.png")]) == 0
    assert run(["decompress", str(tmp_path / "a.aec"), "--format", "jpg"]) == 2
    assert "alpha" in capsys.readouterr().err
    assert not (tmp_path / "a.jpg").exists()


def test_info_tells_what_the_headers_say(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(packed)]) == 0
    text = capsys.readouterr().out
    for expected in (
        str(packed),
        "150 x 100, RGB, 8 bits",
        "bits per pixel",
        "75 (level",
        "fake",
        "of 1024 x 1024 pixels, one section for each",
        "SYMBOLS",
    ):
        assert expected in text


def test_info_tells_how_many_sections_chunks_have(
    packed: Path, report_of: ReportOf, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks = packed.with_name("chunks.aec")
    chunks.write_bytes(aecodec.encode(photograph(100, 150), chunk_side=64))
    for path, row, count in ((packed, "one section", 1), (chunks, "six sections", 6)):
        assert run(["info", str(path)]) == 0
        assert f"pixels, {row} for each" in capsys.readouterr().out
        [entry] = report_of("info", str(path))["files"]
        assert entry["joined"] is (count == 1)
        assert len(entry["sections"]) == count


def test_info_tells_whether_chunks_have_post_filters(
    picture: Path, report_of: ReportOf, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = str(picture.with_suffix(".aec"))
    for effort, row in ((0, "none"), (1, "one for each chunk")):
        assert run(["compress", "--force", "--quiet", "--effort", str(effort), str(picture)]) == 0
        assert run(["info", packed]) == 0
        [line] = [line for line in capsys.readouterr().out.splitlines() if "post-filter" in line]
        assert line.split("post-filter")[1].strip() == row
        assert report_of("info", packed)["files"][0]["filtered"] is (effort > 0)


def test_a_picture_of_effort_1_comes_back(picture: Path, tmp_path: Path) -> None:
    assert run(["compress", "--effort", "1", str(picture)]) == 0
    assert run(["decompress", str(picture.with_suffix(".aec")), "-o", str(tmp_path / "back.png")]) == 0
    source, result = (np.asarray(Image.open(path)) for path in (picture, tmp_path / "back.png"))
    assert np.abs(source.astype(int) - result).mean() < 6


def test_info_as_json_has_the_sections_and_their_bytes(packed: Path, report_of: ReportOf) -> None:
    (entry,) = report_of("info", str(packed))["files"]
    assert entry["bytes_before"] == packed.stat().st_size
    assert not entry["truncated"]
    sections = entry["sections"]
    assert [section["count"] for section in sections] == [1]
    assert 36 + sum(8 * section["count"] + section["bytes"] for section in sections) == packed.stat().st_size


def test_info_describes_truncated_files_and_refuses_damaged_headers(
    packed: Path, report_of: ReportOf, tmp_path: Path
) -> None:
    other = tmp_path / "other.aec"
    other.write_bytes(packed.read_bytes())
    report = report_of("info", str(truncated(packed, 0.5)), str(damaged(other, 17)))
    assert report["files"][0]["truncated"]
    assert report["files"][1]["error"]["type"] == "ChecksumError"
    assert report["exit_code"] == 3


def test_info_of_a_model_that_is_not_installed_names_its_id(
    packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identifier = aecodec.models.default_model().model_id.hex()
    empty = aecodec.models.Registry("", MappingProxyType({}), packed.parent)
    monkeypatch.setattr(aecodec.models, "registry", lambda: empty)
    assert run(["info", str(packed)]) == 0
    assert f"{identifier}, which is not installed" in capsys.readouterr().out
    assert run(["decompress", str(packed)]) == 4
    assert identifier in capsys.readouterr().err


def test_info_loads_neither_arrays_nor_networks(packed: Path) -> None:
    script = (
        "import sys; from aecodec.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "info", "--json", str(packed)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(finished.stdout)["files"][0]["width"] == 150
    loaded = {name.partition(".")[0] for name in finished.stderr.split()}
    assert not loaded & {"numpy", "PIL", "onnxruntime", "keras", "tensorflow", "constriction"}


def test_verify_finds_sound_truncated_and_damaged_files(
    packed: Path, report_of: ReportOf, tmp_path: Path
) -> None:
    for name in ("short.aec", "damaged.aec"):
        (tmp_path / name).write_bytes(packed.read_bytes())
    truncated(tmp_path / "short.aec", 0.9)
    damaged(tmp_path / "damaged.aec", -1)
    names = [str(tmp_path / name) for name in ("holiday.aec", "short.aec", "damaged.aec")]
    report = report_of("verify", *names)
    assert [entry["status"] for entry in report["files"]] == ["done", "failed", "failed"]
    assert len(report["files"][0]["symbols_hash"]) == 64
    assert [entry["error"]["type"] for entry in report["files"][1:]] == ["TruncatedError", "ChecksumError"]
    assert report["exit_code"] == 3


def test_verify_says_sound_and_exits_with_0(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(packed)]) == 0
    assert capsys.readouterr().out == f"{packed}: sound\n"
    assert run(["verify", "--quiet", str(packed)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("position", range(44))
def test_a_flipped_bit_in_the_headers_is_a_message_and_no_traceback(
    position: int, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(packed, position)
    for command in ("decompress", "verify"):
        assert run([command, str(packed)]) in (3, 4)
        captured = capsys.readouterr()
        assert captured.err.startswith("aecodec: ")
        assert "Traceback" not in captured.err
        assert "defect" not in captured.err
    assert not packed.with_suffix(".png").exists()


def test_models_lists_the_installed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    assert "fake  (default)" in capsys.readouterr().out
    assert run(["models", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert model["name"] == "fake"
    assert model["default"]
    assert model["bytes"] > 1000


def test_the_demo_prints_its_figures_and_keeps_its_files_where_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "-o", str(tmp_path), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["bytes_before"] == 557_596
    assert figures["bytes_after"] == (tmp_path / "demo.aec").stat().st_size
    with Image.open(tmp_path / "demo.png") as image:
        assert image.size == (768, 512)
    assert run(["demo"]) == 0
    text = capsys.readouterr().out
    for word in ("before", "after", "bits per pixel", "dB", "time"):
        assert word in text


def test_the_endings_of_the_options_are_those_that_the_package_reads_and_writes() -> None:
    Image.init()
    extensions = Image.registered_extensions()
    assert {extensions[suffix] for suffix in PICTURE_SUFFIXES} <= set(READABLE_FORMATS)
    assert {f".{suffix}" for suffix in SUFFIXES} <= set(WRITABLE_FORMATS)
