"""WebP (lossy): libwebp through Pillow."""

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
class WebP(Codec):
    """libwebp at its default method 4, or at another; WebP is always 4:2:0."""

    name: str = "webp"
    label: str = "WebP"
    method: int = 4

    @property
    def qualities(self) -> tuple[float, ...]:
        return (1.0, 10.0, 20.0, 35.0, 50.0, 65.0, 77.0, 85.0, 91.0, 95.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(0, 100)

    @property
    def typical(self) -> float:
        return 82.0

    def missing(self) -> str | None:
        return pillow_missing("webp")

    def versions(self) -> Mapping[str, str]:
        return pillow_versions("webp", "libwebp")

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        return pillow_encode(pixels, "WEBP", {"quality": int(quality), "method": self.method})

    def decode(self, data: bytes) -> Pixels:
        return pillow_decode(data, "WEBP")
