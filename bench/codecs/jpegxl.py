"""JPEG XL (lossy, VarDCT): libjxl through pillow-jxl-plugin."""

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
    whole_numbers,
)

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class JpegXl(Codec):
    """libjxl at its default effort 7, or at another."""

    name: str = "jpegxl"
    label: str = "JPEG XL"
    effort: int = 7

    @property
    def qualities(self) -> tuple[float, ...]:
        return (10.0, 20.0, 30.0, 45.0, 58.0, 70.0, 79.0, 86.0, 91.0, 95.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(2, 99)

    @property
    def typical(self) -> float:
        return 83.0

    def missing(self) -> str | None:
        return missing_package("pillow_jxl", "pillow-jxl-plugin")

    def versions(self) -> Mapping[str, str]:
        # The plugin does not tell the version of its libjxl.
        return {"pillow-jxl-plugin": package_version("pillow-jxl-plugin")}

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        import pillow_jxl  # noqa: F401  (registers the format with Pillow)

        return pillow_encode(pixels, "JXL", {"quality": int(quality), "effort": self.effort})

    def decode(self, data: bytes) -> Pixels:
        import pillow_jxl  # noqa: F401

        return pillow_decode(data, "JXL")
