"""VVC (H.266) still pictures: VVenC and FFmpeg's decoder, through an ffmpeg program that was built with
libvvenc (imageio-ffmpeg brings one).
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.codecs.base import Codec, CodecError, package_version, pillow_decode, pillow_encode, whole_numbers

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class Vvc(Codec):
    """VVenC, all-intra, one picture; ``quality`` is the quantiser QP (63 coarsest).

    VVenC codes 10-bit 4:2:0 only, so its PSNR-RGB has a ceiling in colourful pictures that the published VTM
    curve (4:4:4) does not have, and sides are even. Perceptual adaptation is off: it would lower the PSNR. A
    file is the bare stream, parameter sets included. Preset "slower" saves some 3 % for five times the time.
    """

    name: str = "vvc"
    label: str = "VVC 4:2:0 (VVenC)"
    slow: bool = True
    preset: str = "medium"

    @property
    def qualities(self) -> tuple[float, ...]:
        return (49.0, 45.0, 41.0, 37.0, 33.0, 29.0, 25.0, 21.0, 17.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(63, 0, -1)

    @property
    def typical(self) -> float:
        return 27.0

    def missing(self) -> str | None:
        if ffmpeg_with_vvc() is None:
            return "no ffmpeg that encodes and decodes VVC was found (pip install imageio-ffmpeg brings one)"
        return None

    def versions(self) -> Mapping[str, str]:
        program = ffmpeg_with_vvc()
        if program is None:
            return {}
        return {
            "vvenc": _vvenc_version(program),
            "ffmpeg": _found(r"ffmpeg version (\S+)", _output(program, "-version")),
            "imageio-ffmpeg": package_version("imageio-ffmpeg"),
        }

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            raise CodecError(f"Expected even sides, as VVenC codes 4:2:0 only. Received: {width}x{height}.")
        picture = pillow_encode(pixels, "PPM", {})
        arguments = ["-f", "ppm_pipe", "-i", "{source}", "-frames:v", "1", "-vf",
                     "scale=in_range=full:out_range=full:out_color_matrix=bt709"
                     ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=yuv420p10le",
                     "-c:v", "libvvenc", "-qp", str(int(quality)), "-preset", self.preset, "-qpa", "0",
                     "-vvenc-params", "intraperiod=1:decodingrefreshtype=idr",
                     "-f", "vvc", "{target}"]  # fmt: skip
        return _ffmpeg(arguments, picture)

    def decode(self, data: bytes) -> Pixels:
        arguments = ["-f", "vvc", "-i", "{source}", "-frames:v", "1", "-vf",
                     "scale=in_range=full:in_color_matrix=bt709:out_range=full"
                     ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=rgb24",
                     "-c:v", "ppm", "-f", "image2pipe", "{target}"]  # fmt: skip
        return pillow_decode(_ffmpeg(arguments, data), "PPM")


@functools.lru_cache(maxsize=1)
def ffmpeg_with_vvc() -> str | None:
    """Path of an ffmpeg with libvvenc and a VVC decoder: the one on PATH, else imageio-ffmpeg's."""
    return next((program for program in _ffmpeg_programs() if _codes_vvc(program)), None)


def _ffmpeg_programs() -> list[str]:
    programs = [found] if (found := shutil.which("ffmpeg")) else []
    try:
        import imageio_ffmpeg
    except ImportError:
        return programs
    return [*programs, str(imageio_ffmpeg.get_ffmpeg_exe())]


def _codes_vvc(program: str) -> bool:
    """Whether both directions are there: ffmpeg 5 and 6 encode at most, the decoder came with 7."""
    try:
        encoders, decoders = (_output(program, "-hide_banner", kind) for kind in ("-encoders", "-decoders"))
    except (OSError, subprocess.CalledProcessError):
        return False
    return "libvvenc" in encoders and re.search(r"^ V\S* vvc ", decoders, re.MULTILINE) is not None


@functools.lru_cache(maxsize=1)
def _vvenc_version(program: str) -> str:
    """The version of the library, which tells it when it encodes, and only then."""
    source = ["-f", "lavfi", "-i", "color=size=64x64", "-frames:v", "1"]
    said = _output(program, *source, "-c:v", "libvvenc", "-preset", "faster", "-f", "null", "-")
    return _found(r"libvvenc version: (\S+)", said)


def _output(program: str, *arguments: str) -> str:
    """What a program prints, errors and notes included."""
    result = subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return result.stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group(1) if match else "unknown"


def _ffmpeg(arguments: Sequence[str], data: bytes) -> bytes:
    """Run ffmpeg from a file to a file; ``{source}`` and ``{target}`` in the arguments are their paths."""
    program = ffmpeg_with_vvc()
    if program is None:
        raise CodecError("No ffmpeg with libvvenc and a VVC decoder was found.")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes(data)
        places = {"{source}": str(source), "{target}": str(target)}
        command = [
            program,
            "-hide_banner",
            "-loglevel",
            "error",
            "-y",
            *(places.get(a, a) for a in arguments),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0 or not target.exists():
            raise CodecError(
                f"ffmpeg failed with exit code {result.returncode}: {result.stderr.strip()[-400:]}"
            )
        return target.read_bytes()
