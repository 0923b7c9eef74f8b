"""Picture files in, .aec files out, and back: formats, file objects, outputs that are whole or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aecodec.codec import decode, encode
from aecodec.container import Limits
from aecodec.errors import FormatError, ImageError, InputError, LimitError, ModelError, OutputError
from aecodec.files import decode_file, encode_file
from aecodec.image import load_picture, picture_to_array
from tests.helpers import CosineRuntime, photograph


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(photograph(70, 100)).save(path)
    return path


def pixels_of(source: Any) -> NDArray[Any]:
    return np.asarray(Image.open(source))


def test_paths_and_file_objects_give_the_same_bytes(
    png: Path, cosine: dict[str, Any], tmp_path: Path
) -> None:
    expected = encode(photograph(70, 100), 60, **cosine)
    info = encode_file(png, tmp_path / "out.aec", 60, **cosine)
    stream = io.BytesIO()
    with png.open("rb") as source:
        encode_file(source, stream, 60, **cosine)
    assert (tmp_path / "out.aec").read_bytes() == stream.getvalue() == expected
    assert (info.width, info.height, info.bytes, info.quality, info.model) == (
        100,
        70,
        len(expected),
        60,
        "fake",
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm", ".bmp"])
def test_the_suffix_decides_the_format(suffix: str, cosine: dict[str, Any], tmp_path: Path) -> None:
    data = encode(photograph(70, 100), **cosine)
    result = decode_file(data, tmp_path / f"out{suffix}", **cosine)
    assert result.complete
    assert np.array_equal(pixels_of(tmp_path / f"out{suffix}"), decode(data, **cosine))


def test_a_file_object_gets_png_or_what_is_asked_for(cosine: dict[str, Any]) -> None:
    data = encode(photograph(70, 100), **cosine)
    for name, signature in ((None, b"\x89PNG"), ("bmp", b"BM"), (".ppm", b"P6")):
        stream = io.BytesIO()
        decode_file(io.BytesIO(data), stream, format=name, **cosine)
        assert stream.getvalue().startswith(signature)
        assert np.array_equal(pixels_of(io.BytesIO(stream.getvalue())), decode(data, **cosine))


def test_an_existing_output_is_kept_unless_forced(png: Path, cosine: dict[str, Any], tmp_path: Path) -> None:
    data = encode(photograph(70, 100), **cosine)
    for call in (
        lambda target, **options: encode_file(png, target, **options, **cosine),
        lambda target, **options: decode_file(data, target, **options, **cosine),
    ):
        target = tmp_path / "out.png"
        target.write_bytes(b"old")
        with pytest.raises(OutputError, match="exists"):
            call(target)
        assert target.read_bytes() == b"old"
        call(target, force=True)
        assert target.read_bytes() != b"old"


def test_a_failure_leaves_nothing_behind(png: Path, cosine: dict[str, Any], tmp_path: Path) -> None:
    class Failing(CosineRuntime):
        def analyse(self, pixels: Any, level: int) -> Any:
            raise ModelError("broken")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelError):
        encode_file(png, tmp_path / "out.aec", model=cosine["model"], runtime=Failing())
    with pytest.raises(FormatError):
        decode_file(png, tmp_path / "out.png", **cosine)
    with pytest.raises(ImageError):
        alpha = np.zeros((8, 8, 4), np.uint8)
        decode_file(encode(alpha, **cosine), tmp_path / "out.jpg", **cosine)
    assert sorted(tmp_path.iterdir()) == before


def test_what_cannot_be_written_is_refused_before_any_work(cosine: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format"):
        decode_file(tmp_path / "absent.aec", tmp_path / "out.xyz", **cosine)
    with pytest.raises(OutputError, match="folder"):
        encode_file(tmp_path / "absent.png", tmp_path / "absent" / "out.aec", **cosine)


def test_what_cannot_be_read_is_named(cosine: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.png"):
        encode_file(tmp_path / "absent.png", tmp_path / "out.aec", **cosine)
    with pytest.raises(InputError, match=r"absent\.aec"):
        decode_file(tmp_path / "absent.aec", tmp_path / "out.png", **cosine)


def test_limits_hold_for_the_picture_file(png: Path, cosine: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(LimitError):
        encode_file(png, tmp_path / "out.aec", limits=Limits(max_pixels=100), **cosine)


def test_a_partial_file_is_written_and_told(cosine: dict[str, Any], tmp_path: Path) -> None:
    data = encode(photograph(70, 100), **cosine)
    result = decode_file(data[: len(data) // 2], tmp_path / "out.png", allow_partial=True, **cosine)
    assert not result.complete
    assert pixels_of(tmp_path / "out.png").shape == (70, 100, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_file_of_several_bands_holds_what_decode_gives(
    suffix: str, dtype: type, channels: int, cosine: dict[str, Any], tmp_path: Path
) -> None:
    if (channels in (2, 4) and suffix == ".ppm") or (suffix, dtype, channels) == (".tif", np.uint16, 2):
        pytest.skip("this format cannot hold this picture")
    rgb = photograph(300, 150).astype(dtype) * (1 if dtype is np.uint8 else 257)
    samples = np.dstack((rgb, rgb[::-1, :, :1]))[:, :, [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][channels - 1]]
    data = encode(samples, **cosine)
    for name, region in (("whole", None), ("part", (3, 70, 140, 200))):
        target = tmp_path / f"{name}{suffix}"
        result = decode_file(data, target, region=region, window_side=64, **cosine)
        written = picture_to_array(load_picture(target))
        assert np.array_equal(written, decode(data, region=region, window_side=64, **cosine))
        assert (result.height, result.width) == written.shape[:2]


@pytest.mark.parametrize("format", ["png", "ppm"])
def test_rows_are_written_while_the_picture_is_decoded(format: str, cosine: dict[str, Any]) -> None:
    """So the memory does not grow with the height of a picture."""
    steps: list[str] = []

    class Watched(io.BytesIO):
        def write(self, content: Any) -> int:
            steps.append("write")
            return super().write(content)

    class Watching(CosineRuntime):
        def synthesise(self, latents: Any, level: int) -> Any:
            steps.append("decode")
            return super().synthesise(latents, level)

    data = encode(photograph(512, 64), **cosine)
    decode_file(data, Watched(), format=format, window_side=64, model=cosine["model"], runtime=Watching())
    turns = [step for step, former in zip(steps, ["", *steps], strict=False) if step != former]
    assert steps.count("decode") > 4
    assert turns.count("write") > 4 if format == "ppm" else turns.count("write") >= 2


def test_a_file_that_is_damaged_further_down_leaves_nothing_behind(
    cosine: dict[str, Any], tmp_path: Path
) -> None:
    data = bytearray(encode(photograph(512, 64), chunk_side=64, **cosine))
    data[-1] ^= 1
    with pytest.raises(FormatError):
        decode_file(bytes(data), tmp_path / "out.png", window_side=64, **cosine)
    assert not list(tmp_path.iterdir())
