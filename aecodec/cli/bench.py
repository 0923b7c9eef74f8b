"""``aecodec bench``: aecodec beside other formats on one's own pictures, at equal PSNR."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from aecodec.cli.options import debug_option, runtime_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aecodec.codec import ModelChoice
    from aecodec.runtime import Runtime

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Format:
    """A format that Pillow writes.

    Attributes:
        name: what the table calls it.
        pillow: Pillow's name of it.
        options: what else the encoder is told; only ``quality`` varies.
    """

    name: str
    pillow: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One format on one picture.

    Attributes:
        name: of the format.
        bytes: size of the file; for other formats than aecodec at just the PSNR of aecodec's file,
            interpolated between the two neighbouring settings.
        psnr: PSNR-RGB in dB.
        encode_seconds, decode_seconds: wall time of one call.
        note: why there are no numbers.
    """

    name: str
    bytes: int = 0
    psnr: float = 0.0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    note: str = ""


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False)
)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 100),
    default=75,
    show_default=True,
    help="Quality of aecodec's files.",
)
@click.option(
    "--model", metavar="NAME", help="Name, id or folder of the model.  [default: see `aecodec models`]"
)
@runtime_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON report.")
@debug_option
def command(files: tuple[str, ...], quality: float, model: str | None, runtime: str, as_json: bool) -> None:
    """Compare with JPEG, WebP, AVIF and JPEG XL at equal PSNR: bytes and times.

    Each picture is compressed with aecodec; then every other format's quality is searched for the same PSNR.
    Pictures are compared in 8-bit RGB, without alpha and metadata. JPEG is 4:2:0, AVIF 4:4:4 and tuned for
    PSNR. JPEG XL is there when the package pillow-jxl-plugin is installed.

    \b
    aecodec bench photo1.png photo2.png
    aecodec bench --quality 50 photo.jpg
    """
    report = []
    for path in files:
        pixels = _load(path)
        rows = []
        if not as_json:
            click.echo(f"{path}  {pixels.shape[1]}x{pixels.shape[0]}\n{_HEADER}")
        for row in compare(pixels, quality, model, runtime):
            rows.append(row)
            if not as_json:
                click.echo(_line(row, rows[0], pixels))
        report.append({"file": path, "width": pixels.shape[1], "height": pixels.shape[0], "rows": rows})
    if as_json:
        click.echo(json.dumps(report, indent=2, default=vars))


def compare(
    pixels: Pixels, quality: float, model: ModelChoice = None, runtime: str | Runtime = "onnx"
) -> Iterator[Row]:
    """aecodec's row, then one for each other format at the same PSNR.

    Args:
        pixels: uint8 (height, width, 3).
        quality: aecodec's quality, 1 to 100.
        model: which model encodes, None for the default.
        runtime: "onnx", "keras", or an object with a runtime's methods.

    Raises:
        AecodecError: aecodec cannot encode or decode.
    """
    import aecodec

    def encode() -> bytes:
        return aecodec.encode(pixels, quality, model=model, runtime=runtime)

    aecodec.decode(
        aecodec.encode(pixels[:64, :64], quality, model=model, runtime=runtime), model=model, runtime=runtime
    )
    data, encode_seconds = _timed(encode)
    decoded, decode_seconds = _timed(lambda: aecodec.decode(data, model=model, runtime=runtime))
    reached = psnr(pixels, decoded)
    yield Row("aecodec", len(data), reached, encode_seconds, decode_seconds)
    for kind in formats():
        try:
            yield match_psnr(pixels, kind, reached)
        except (OSError, ValueError, KeyError) as error:  # Pillow lacks a format or an option
            yield Row(kind.name, note=f"not available: {error}")


def formats() -> list[Format]:
    """The formats that are compared with: those that the installed Pillow and its plugins can write."""
    from PIL import features

    found = [Format("JPEG", "JPEG", {"optimize": True})]
    if features.check("webp"):
        found.append(Format("WebP", "WEBP", {"method": 4}))
    if features.check("avif"):
        found.append(Format("AVIF", "AVIF", {"subsampling": "4:4:4", "advanced": {"tune": "psnr"}}))
    if find_spec("pillow_jxl") is not None:
        import pillow_jxl  # noqa: F401  (registers the format with Pillow)

        found.append(Format("JPEG XL", "JXL", {}))
    return found


def match_psnr(pixels: Pixels, kind: Format, wanted: float) -> Row:
    """A format at a PSNR: bisection over its whole-number qualities for the first that reaches it.

    The size is interpolated (log bytes over PSNR) between that quality and the one below; times are of that
    quality.
    """
    tried: dict[int, Row] = {}

    def attempt(quality: int) -> Row:
        if quality not in tried:
            tried[quality] = _through_pillow(pixels, kind, quality)
        return tried[quality]

    low, high = 1, 99
    if attempt(high).psnr < wanted:
        return Row(kind.name, note=f"reaches only {attempt(high).psnr:.2f} dB")
    while low < high:
        middle = (low + high) // 2
        if attempt(middle).psnr >= wanted:
            high = middle
        else:
            low = middle + 1
    found = attempt(high)
    if high == 1:
        return Row(kind.name, found.bytes, found.psnr, found.encode_seconds, found.decode_seconds)
    below = attempt(high - 1)
    size = interpolated_bytes(below, found, wanted)
    return Row(kind.name, size, wanted, found.encode_seconds, found.decode_seconds)


def interpolated_bytes(below: Row, above: Row, wanted: float) -> int:
    """Bytes at a PSNR between those of two rows, linear in the logarithm of the bytes."""
    if above.psnr <= below.psnr:
        return above.bytes
    part = (wanted - below.psnr) / (above.psnr - below.psnr)
    return round(math.exp((1 - part) * math.log(below.bytes) + part * math.log(above.bytes)))


def psnr(original: Pixels, decoded: Pixels) -> float:
    """PSNR in dB over all three channels; infinite for equal pictures."""
    import numpy as np

    total = 0
    for top in range(
        0, original.shape[0], 512
    ):  # small intermediate arrays, whatever the size of the picture
        band = slice(top, top + 512)
        difference = np.subtract(original[band], decoded[band], dtype=np.int32)
        total += int(np.sum(np.square(difference), dtype=np.int64))
    return math.inf if total == 0 else 10 * math.log10(255**2 * original.size / total)


_HEADER = "  format          bytes     bpp   against aecodec       PSNR   encode   decode"


def _line(row: Row, first: Row, pixels: Pixels) -> str:
    if row.note:
        return f"  {row.name:9} {row.note}"
    pixel_count = pixels.shape[0] * pixels.shape[1]
    against = "" if row is first else f"{100 * (row.bytes / first.bytes - 1):+.1f} %"
    return (
        f"  {row.name:9} {row.bytes:11,} {8 * row.bytes / pixel_count:7.3f} {against:>17} {row.psnr:7.2f} dB "
        f"{row.encode_seconds:6.2f} s {row.decode_seconds:6.2f} s"
    )


def _load(path: str) -> Pixels:
    """A picture as 8-bit RGB, upright."""
    from pathlib import Path

    import numpy as np

    from aecodec.image import apply_orientation, load_picture, picture_to_pillow, reduce_to_8_bit

    image = picture_to_pillow(apply_orientation(reduce_to_8_bit(load_picture(Path(path)))))
    return np.asarray(image.convert("RGB"))


def _through_pillow(pixels: Pixels, kind: Format, quality: int) -> Row:
    import numpy as np
    from PIL import Image

    def encode() -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind.pillow, quality=quality, **kind.options)
        return buffer.getvalue()

    def decode() -> Pixels:
        with Image.open(io.BytesIO(data), formats=[kind.pillow]) as image:
            return np.asarray(image.convert("RGB"))

    data, encode_seconds = _timed(encode)
    decoded, decode_seconds = _timed(decode)
    return Row(kind.name, len(data), psnr(pixels, decoded), encode_seconds, decode_seconds)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = function()
    return value, time.perf_counter() - started
