"""PGM and PPM: written here, and read where they have more than 8 bits, which Pillow squeezes in colours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from aecodec.errors import ImageError
from aecodec.image.conversion import rescale
from aecodec.image.picture import Frame, Picture, Samples, picture_from_array


@dataclass(frozen=True)
class PnmHeader:
    """The header of a P2, P3, P5 or P6 file, whose samples begin at ``offset``."""

    kind: bytes
    width: int
    height: int
    maximum: int
    offset: int


_HEADER: Final = re.compile(rb"(P[2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})" + rb"\s")
_HEADER_LIMIT: Final = 4096
_MAX_MAXIMUM: Final = 65535


def read_pnm_header(stream: BinaryIO) -> PnmHeader | None:
    """None for what Pillow reads: bitmaps, floats, and headers that are broken or very long."""
    match = _HEADER.match(stream.read(_HEADER_LIMIT))
    stream.seek(0)
    if match is None:
        return None
    width, height, maximum = (int(token) for token in match.groups()[1:])
    return PnmHeader(match[1], width, height, maximum, match.end())


def read_deep_pnm(stream: BinaryIO, header: PnmHeader, name: str) -> Picture:
    """Samples of two bytes, most significant first, or decimal numbers (netpbm's ppm(5)), scaled to 65535."""
    channels = 3 if header.kind in (b"P3", b"P6") else 1
    count = header.width * header.height * channels
    stream.seek(header.offset)
    values = _numbers(stream, count) if header.kind in (b"P2", b"P3") else _words(stream, count)
    if len(values) < count:
        raise ImageError(f"{name}: truncated: expected {count} samples. Found: {len(values)}")
    peak = min(header.maximum, _MAX_MAXIMUM)
    if header.maximum > peak or values.min(initial=0) < 0 or values.max(initial=0) > peak:
        raise ImageError(f"{name}: expected samples in 0..{peak}. Found others, or a greater maximum")
    return picture_from_array(rescale(values, peak).reshape(header.height, header.width, channels))


def _words(stream: BinaryIO, count: int) -> npt.NDArray[np.integer[Any]]:
    content = stream.read(2 * count)
    return np.frombuffer(content, ">u2", len(content) // 2)


def _numbers(stream: BinaryIO, count: int) -> npt.NDArray[np.integer[Any]]:
    tokens = re.sub(rb"#[^\r\n]*", b"", stream.read()).split()[:count]
    return np.fromiter(map(int, tokens), np.int64, len(tokens))


class PnmRows:
    """Writes a P5 or P6 file a band of rows at a time, with two bytes per sample for a 16-bit picture.

    Args:
        stream: where to; the header is written at once.
        frame: of the picture, which has no alpha; metadata are left out.
    """

    def __init__(self, stream: BinaryIO, frame: Frame) -> None:
        self._stream = stream
        kind = 5 if frame.layout == 1 else 6
        stream.write(f"P{kind}\n{frame.width} {frame.height}\n{2**frame.depth - 1}\n".encode())

    def write(self, samples: Samples) -> None:
        """Append the next rows, (rows, width, channels)."""
        big_endian = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">"))
        self._stream.write(big_endian.view(np.uint8).data)

    def finish(self) -> None:
        """All rows have been written."""
