"""AVIF (AV1 still pictures): libavif and libaom through Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.codecs.base import (
    Codec,
    pillow_decode,
    pillow_encode,
    pillow_missing,
    pillow_versions,
    whole_numbers,
)

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class Avif(Codec):
    """libavif at its default speed 6 or at another.

    ``tune`` None leaves the library's own choice, which since libavif 1.3 is libaom's perceptual "iq";
    "psnr" makes the encoder minimise the squared error, which is what PSNR and the published AV1 curve
    measure.
    """

    name: str = "avif"
    label: str = "AVIF 4:2:0"
    subsampling: str = "4:2:0"
    speed: int = 6
    tune: str | None = None

    @property
    def qualities(self) -> tuple[float, ...]:
        if self.tune == "psnr":
            return (3.0, 9.0, 16.0, 24.0, 33.0, 42.0, 52.0, 62.0, 72.0, 83.0)
        return (8.0, 18.0, 28.0, 38.0, 48.0, 57.0, 66.0, 75.0, 84.0, 92.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(0, 99)

    @property
    def typical(self) -> float:
        return 42.0 if self.tune == "psnr" else 63.0

    def missing(self) -> str | None:
        return pillow_missing("avif")

    def versions(self) -> Mapping[str, str]:
        return {**pillow_versions("avif", "libavif"), **_coders()}

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        options: dict[str, object] = {
            "quality": int(quality),
            "subsampling": self.subsampling,
            "speed": self.speed,
        }
        if self.tune is not None:
            options["advanced"] = {"tune": self.tune}
        return pillow_encode(pixels, "AVIF", options)

    def decode(self, data: bytes) -> Pixels:
        return pillow_decode(data, "AVIF")


def _coders() -> dict[str, str]:
    """libavif's encoder and decoder: Pillow knows them as "dav1d [dec]:1.5.3, aom [enc]:3.14.1"."""
    from PIL import _avif

    pairs = (part.split(":", 1) for part in str(_avif.codec_versions()).split(", "))
    return {name.split(" ")[0]: version for name, version in pairs}
