"""What every measured codec offers: pixels to bytes, bytes to pixels, and where it comes from."""

from __future__ import annotations

import abc
import importlib.util
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


class CodecError(Exception):
    """A codec refused to encode or decode, or decoded something that it should not have."""


@dataclass(frozen=True)
class Codec(abc.ABC):
    """One codec with one group of settings; only ``quality`` varies along its curve.

    Attributes:
        name: identifier in file names and on the command line.
        label: what tables and plots call it.
        extra: measured only when it is named.
        slow: measured only when it is named or slow codecs are asked for.
    """

    name: str
    label: str
    extra: bool = False
    slow: bool = False

    @property
    @abc.abstractmethod
    def qualities(self) -> tuple[float, ...]:
        """The settings of the rate-distortion curve, from the smallest files to the largest."""

    @property
    @abc.abstractmethod
    def scale(self) -> tuple[float, ...]:
        """Every setting that a search for a size may use, from the smallest files to the largest."""

    @property
    @abc.abstractmethod
    def typical(self) -> float:
        """The setting at which speed is measured: about 34 to 36 dB on photographs."""

    @abc.abstractmethod
    def missing(self) -> str | None:
        """Why this codec cannot be used here, or None when it can."""

    @abc.abstractmethod
    def versions(self) -> Mapping[str, str]:
        """The libraries behind the codec and their versions."""

    @abc.abstractmethod
    def encode(self, pixels: Pixels, quality: float) -> bytes:
        """Compress.

        Args:
            pixels: uint8 (height, width, 3), sRGB.
            quality: one of ``scale``.

        Returns:
            A whole file; its length is the rate.
        """

    @abc.abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """Decompress a file to uint8 (height, width, 3)."""

    def decode_again(self, data: bytes) -> Pixels:
        """The same file through the codec's own decoder once more, as independently as is possible.

        The benchmark compares the two: a decoder that gives different pixels the second time is a failure.
        """
        return self.decode(data)

    def command(self, operation: str, quality: float, source: Path, target: Path) -> list[str]:
        """A command line that encodes a PPM file to the codec's, or decodes that to a PPM file.

        Args:
            operation: "encode" or "decode".
            quality: one of ``scale``.
            source, target: files.
        """
        arguments = [operation, self.name, str(quality), str(source), str(target)]
        return [sys.executable, "-m", "bench.one_file", *arguments]

    @property
    def tolerance(self) -> int:
        """Largest difference between two decodings of a file that the codec's contract allows, in levels."""
        return 0

    def identity(self) -> Mapping[str, str]:
        """What finished points depend on besides versions and settings (for instance a model id)."""
        return {}

    def settings(self) -> Mapping[str, object]:
        """The settings that do not vary along the curve."""
        skip = {"name", "label", "extra", "slow"}
        return {key: value for key, value in vars(self).items() if key not in skip}


def missing_package(module: str, package: str) -> str | None:
    """A note when a Python package is not installed, None when it is."""
    if importlib.util.find_spec(module) is not None:
        return None
    return f"the Python package {package} is not installed (pip install {package})"


def package_version(package: str) -> str:
    """The version of an installed distribution, or "unknown"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def pillow_encode(pixels: Pixels, file_format: str, options: Mapping[str, object]) -> bytes:
    """Compress with Pillow, options given as Pillow names them."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def pillow_decode(data: bytes, file_format: str) -> Pixels:
    """Decompress with Pillow; only the named format is tried."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[file_format]) as image:
        return np.asarray(image.convert("RGB"))


def pillow_versions(feature: str, library: str) -> dict[str, str]:
    """Pillow's version and that of the library that it uses for a format."""
    import PIL
    from PIL import features

    return {"pillow": PIL.__version__, library: str(features.version(feature))}


def pillow_missing(feature: str) -> str | None:
    """A note when the installed Pillow was built without a format, None when it has it."""
    from PIL import features

    return None if features.check(feature) else f"the installed Pillow was built without {feature}"


def whole_numbers(first: int, last: int, step: int = 1) -> tuple[float, ...]:
    """The numbers from first to last, both included."""
    direction = 1 if step > 0 else -1
    return tuple(float(number) for number in range(first, last + direction, step))
