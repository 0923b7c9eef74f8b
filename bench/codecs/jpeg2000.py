"""JPEG 2000: OpenJPEG through Pillow, irreversible 9/7 wavelet, one quality layer."""

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
)

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class Jpeg2000(Codec):
    """OpenJPEG; ``quality`` is the PSNR in dB that the encoder aims at."""

    name: str = "jpeg2000"
    label: str = "JPEG 2000"

    @property
    def qualities(self) -> tuple[float, ...]:
        return (24.0, 26.0, 28.0, 30.0, 32.0, 34.0, 36.0, 38.0, 40.0, 42.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return tuple(20 + step / 4 for step in range(121))

    @property
    def typical(self) -> float:
        return 35.0

    def missing(self) -> str | None:
        return pillow_missing("jpg_2000")

    def versions(self) -> Mapping[str, str]:
        return pillow_versions("jpg_2000", "openjpeg")

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        options = {"quality_mode": "dB", "quality_layers": [quality], "irreversible": True, "mct": 1}
        return pillow_encode(pixels, "JPEG2000", options)

    def decode(self, data: bytes) -> Pixels:
        return pillow_decode(data, "JPEG2000")
