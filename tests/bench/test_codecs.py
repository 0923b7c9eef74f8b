"""Every measured codec codes a picture, and better settings make larger files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aecodec
from bench.codecs import Codec, all_codecs, select_codecs
from bench.codecs.aecodec import Aecodec
from bench.codecs.base import CodecError
from bench.codecs.vvc import ffmpeg_with_vvc
from bench.device import DeviceError
from bench.metrics import psnr_rgb
from tests.bench.helpers import picture

OTHERS = [codec for codec in all_codecs() if not isinstance(codec, Aecodec)]


@pytest.mark.parametrize("codec", OTHERS, ids=lambda codec: codec.name)
def test_a_codec_gives_back_the_picture_better_at_its_better_settings(codec: Codec) -> None:
    if (reason := codec.missing()) is not None:
        pytest.skip(reason)
    pixels = picture(64, 96)
    sizes, qualities = [], []
    for quality in (codec.qualities[0], codec.qualities[-1]):
        data = codec.encode(pixels, quality)
        decoded = codec.decode(data)
        assert decoded.shape == pixels.shape
        assert decoded.dtype == np.uint8
        assert np.array_equal(codec.decode_again(data), decoded)
        sizes.append(len(data))
        qualities.append(psnr_rgb(pixels, decoded))
    assert sizes[0] < sizes[1]
    assert qualities[0] + 3 < qualities[1]
    assert all(version for version in codec.versions().values())


@pytest.mark.parametrize("codec", all_codecs(), ids=lambda codec: codec.name)
def test_curves_have_enough_points_and_lie_on_the_scale(codec: Codec) -> None:
    assert len(codec.qualities) >= 6
    assert set(codec.qualities) <= set(codec.scale)
    assert [codec.scale.index(quality) for quality in codec.qualities] == sorted(
        codec.scale.index(quality) for quality in codec.qualities
    )
    assert codec.typical in codec.scale


def test_names_are_unique_and_select_codecs_of_their_own() -> None:
    names = [codec.name for codec in all_codecs()]
    assert len(names) == len(set(names))
    assert [codec.name for codec in select_codecs("webp, jpeg")] == ["webp", "jpeg"]
    with pytest.raises(ValueError, match=r"Unknown codecs: jpog\. Known are: aecodec, jpeg"):
        select_codecs("jpog,jpeg")
    assert not any(codec.slow or codec.extra for codec in select_codecs(None))
    assert any(codec.slow for codec in select_codecs(None, slow=True))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("jpegxl", "heic", "jpegli"):
        (codec,) = select_codecs(name)
        assert "not installed" in (codec.missing() or "")


def test_aecodec_without_a_model_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> bytes:
        raise aecodec.ModelError("no such model")

    monkeypatch.setattr(aecodec, "encode", refuse)
    assert "no such model" in (Aecodec(model="nowhere-to-be-found").missing() or "")


def test_a_file_that_the_command_line_cannot_decode_is_an_error_with_its_words() -> None:
    with pytest.raises(CodecError, match=r"exit code 3.*aec"):
        Aecodec().decode_again(b"not an .aec file")


def test_aecodec_codes_a_picture_with_the_default_model() -> None:
    codec = Aecodec()
    if (reason := codec.missing()) is not None:
        pytest.skip(reason)
    pixels = picture(96, 64)
    data = codec.encode(pixels, codec.qualities[-1])
    decoded = codec.decode(data)
    assert decoded.shape == pixels.shape
    assert np.max(np.abs(codec.decode_again(data).astype(int) - decoded)) <= codec.tolerance
    assert len(codec.encode(pixels, codec.qualities[0])) < len(data)
    assert set(codec.identity()) == {"model_id", "source"}


def test_commands_name_the_files(tmp_path: Path) -> None:
    source, target = tmp_path / "a.ppm", tmp_path / "b"
    for codec in (*select_codecs("aecodec,jpeg"), replace(Aecodec(), model="large")):
        for operation in ("encode", "decode"):
            command = codec.command(operation, codec.typical, source, target)
            assert str(source) in command
            assert str(target) in command


def vvc() -> Codec:
    (codec,) = select_codecs("vvc")
    if (reason := codec.missing()) is not None:
        pytest.skip(reason)
    return codec


def test_vvc_tells_the_version_of_the_library_and_of_the_program() -> None:
    versions = vvc().versions()
    assert set(versions) == {"vvenc", "ffmpeg", "imageio-ffmpeg"}
    assert re.match(r"\d+\.\d+", versions["vvenc"])
    assert versions["ffmpeg"] != "unknown"


def test_vvc_is_one_intra_picture_without_perceptual_adaptation() -> None:
    codec = vvc()
    data = codec.encode(picture(64, 96), 37)
    kinds = {data[match.end() + 1] >> 3 for match in re.finditer(b"\0\0\1", data)}
    assert kinds & set(range(12)) in ({7}, {8})  # IDR pictures alone, of either kind
    assert codec.encode(picture(64, 96), 37) == data


def test_vvc_refuses_odd_sides_in_words() -> None:
    with pytest.raises(CodecError, match=r"Expected even sides.*Received: 97x64"):
        vvc().encode(picture(64, 97), 37)


@pytest.mark.parametrize("listed", [" V....D libvvenc  VVC\n", " V....D vvc  Versatile Video Coding\n", ""])
def test_an_ffmpeg_that_cannot_do_both_directions_of_vvc_is_passed_over(
    listed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    program.chmod(0o755)
    monkeypatch.setattr("bench.codecs.vvc._ffmpeg_programs", lambda: [str(program)])
    ffmpeg_with_vvc.cache_clear()
    try:
        assert "no ffmpeg that encodes and decodes VVC" in (select_codecs("vvc")[0].missing() or "")
    finally:
        ffmpeg_with_vvc.cache_clear()


@pytest.mark.parametrize("error", [ImportError("No module named 'keras'"), DeviceError("It sees none.")])
def test_aecodec_is_not_measured_on_a_device_that_is_not_there(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(device: str) -> str:
        raise error

    monkeypatch.setattr("bench.codecs.aecodec.device_name", refuse)
    assert str(error) in (Aecodec(runtime="keras", device="gpu").missing() or "")
    assert Aecodec().missing() is None
