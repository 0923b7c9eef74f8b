"""JPEG: libjpeg-turbo through Pillow, and jpegli, the stronger encoder of the JPEG XL project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.codecs.base import (
    Codec,
    missing_package,
    package_version,
    pillow_decode,
    pillow_encode,
    pillow_missing,
    pillow_versions,
    whole_numbers,
)

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class Jpeg(Codec):
    """libjpeg-turbo: optimised Huffman tables unless said otherwise."""

    name: str = "jpeg"
    label: str = "JPEG 4:2:0"
    subsampling: str = "4:2:0"
    optimize: bool = True
    progressive: bool = False

    @property
    def qualities(self) -> tuple[float, ...]:
        return (5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 72.0, 82.0, 90.0, 95.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(1, 98)

    @property
    def typical(self) -> float:
        return 85.0

    def missing(self) -> str | None:
        return pillow_missing("jpg")

    def versions(self) -> Mapping[str, str]:
        return pillow_versions("libjpeg_turbo", "libjpeg-turbo")

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        options = {
            "quality": int(quality),
            "subsampling": self.subsampling,
            "optimize": self.optimize,
            "progressive": self.progressive,
        }
        return pillow_encode(pixels, "JPEG", options)

    def decode(self, data: bytes) -> Pixels:
        return pillow_decode(data, "JPEG")


@dataclass(frozen=True)
class Jpegli(Codec):
    """jpegli through pyjpegli: adaptive quantisation and progressive scans, decoded by any JPEG decoder."""

    name: str = "jpegli"
    label: str = "JPEG (jpegli)"

    @property
    def qualities(self) -> tuple[float, ...]:
        return (10.0, 25.0, 40.0, 55.0, 65.0, 75.0, 82.0, 88.0, 93.0, 96.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(1, 99)

    @property
    def typical(self) -> float:
        return 85.0

    def missing(self) -> str | None:
        return missing_package("pyjpegli", "pyjpegli")

    def versions(self) -> Mapping[str, str]:
        return {"pyjpegli": package_version("pyjpegli"), **pillow_versions("libjpeg_turbo", "libjpeg-turbo")}

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        import pyjpegli

        height, width = pixels.shape[:2]
        return bytes(pyjpegli.encode(pixels.tobytes(), width, height, int(quality)))

    def decode(self, data: bytes) -> Pixels:
        return pillow_decode(data, "JPEG")
