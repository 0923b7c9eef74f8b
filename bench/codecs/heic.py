"""HEIC (HEVC still pictures): x265 and libde265 through pillow-heif."""

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
class Heic(Codec):
    """x265 at libheif's default preset."""

    name: str = "heic"
    label: str = "HEIC 4:2:0 (x265)"
    chroma: int = 420

    @property
    def qualities(self) -> tuple[float, ...]:
        return (5.0, 14.0, 22.0, 30.0, 38.0, 46.0, 54.0, 61.0, 68.0, 76.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(0, 95)

    @property
    def typical(self) -> float:
        return 50.0

    def missing(self) -> str | None:
        return missing_package("pillow_heif", "pillow-heif")

    def versions(self) -> Mapping[str, str]:
        import pillow_heif

        about = pillow_heif.libheif_info()
        return {
            "pillow-heif": package_version("pillow-heif"),
            "libheif": str(pillow_heif.libheif_version()),
            "x265": str(about["encoders"].get("x265", "none")),
            "libde265": str(about["decoders"].get("libde265", "none")),
        }

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return pillow_encode(pixels, "HEIF", {"quality": int(quality), "chroma": self.chroma})

    def decode(self, data: bytes) -> Pixels:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return pillow_decode(data, "HEIF")
