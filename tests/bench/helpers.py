"""Pictures and a codec that need no file and no library."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Codec

Pixels = NDArray[np.uint8]


def picture(height: int = 192, width: int = 256, phase: int = 0) -> Pixels:
    """Smooth waves and a ramp with edges."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        128 + 90 * np.sin((x + phase) / 17 + y / 29),
        128 + 80 * np.cos(x * y / 2000),
        (x + 2 * y) % 256,
    ]
    return np.stack(planes, axis=-1).round().clip(0, 255).astype(np.uint8)


def noisy(pixels: Pixels, amount: int = 20) -> Pixels:
    """The picture with a fixed pattern added that looks like noise."""
    y, x, c = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1], 0:3]
    pattern = (x * 7919 + y * 10473 + c * 3331 + x * y * 17) % (2 * amount + 1) - amount
    return np.clip(pixels.astype(int) + pattern, 0, 255).astype(np.uint8)


def save(pixels: Pixels, path: Path) -> Path:
    """Write a PNG."""
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return path


@dataclass(frozen=True)
class Shelf(Codec):
    """Cuts low bits off and deflates; ``fault`` makes it go wrong in one of the ways that codecs go wrong."""

    name: str = "shelf"
    label: str = "Shelf"
    fault: str = ""

    @property
    def qualities(self) -> tuple[float, ...]:
        return (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return self.qualities

    @property
    def typical(self) -> float:
        return 5.0

    def missing(self) -> str | None:
        return None

    def versions(self) -> Mapping[str, str]:
        return {"zlib": zlib.ZLIB_VERSION}

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        if self.fault == "encode" and quality == 3:
            raise RuntimeError("the shelf broke")
        if self.fault == "crash" and quality == 3:
            os._exit(3)
        step = 2 ** (8 - int(quality))
        header = np.array(pixels.shape[:2], np.uint32).tobytes()
        return header + zlib.compress((pixels // step * step + step // 2).astype(np.uint8).tobytes())

    def decode(self, data: bytes) -> Pixels:
        height, width = np.frombuffer(data[:8], np.uint32)
        pixels = np.frombuffer(zlib.decompress(data[8:]), np.uint8).reshape(height, width, 3)
        return pixels[:-1] if self.fault == "size" and height > 64 else pixels

    def decode_again(self, data: bytes) -> Pixels:
        pixels = self.decode(data).copy()
        if self.fault == "again":
            pixels[0, 0, 0] ^= 4
        return pixels
