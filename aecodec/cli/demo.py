"""``aecodec demo``: one photograph there and back, with figures."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from aecodec.cli import backend
from aecodec.cli.files import OutputFiles
from aecodec.cli.options import debug_option, force_option, model_option, runtime_option
from aecodec.streams import check_target

PHOTOGRAPH = Path(__file__).with_name("demo.png")


@click.command()
@click.option(
    "-q", "--quality", type=click.FloatRange(1, 100), default=75, show_default=True, help="From 1 to 100."
)
@click.option(
    "-o", "--output", metavar="FOLDER", type=click.Path(file_okay=False), help="Keep the files there."
)
@force_option
@model_option
@runtime_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@debug_option
def command(
    quality: float, output: str | None, force: bool, model: str | None, runtime: str, as_json: bool
) -> None:
    """Compress and decompress a photograph that comes with aecodec.

    Prints bytes before and after, bits per pixel, PSNR and times, which include loading the model.
    """
    with tempfile.TemporaryDirectory(prefix="aecodec-") as temporary:
        figures = _there_and_back(Path(output or temporary), quality, model, runtime, force=force)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    encode_seconds, decode_seconds = figures["encode_seconds"], figures["decode_seconds"]
    before, after = figures["bytes_before"], figures["bytes_after"]
    rows = {
        "photograph": f"{figures['width']} x {figures['height']} pixels",
        "before": f"{before:,} bytes (PNG)",
        "after": f"{after:,} bytes (aec, quality {quality:g}): {100 * after / before:.1f} %",
        "rate": f"{figures['bits_per_pixel']:.3f} bits per pixel",
        "PSNR": f"{figures['psnr']:.2f} dB",
        "time": f"{encode_seconds:.2f} s to compress, {decode_seconds:.2f} s to decompress",
    }
    if output is not None:
        rows["files"] = f"demo.aec and demo.png in {click.format_filename(output)}"
    for label, text in rows.items():
        click.echo(f"{label:<12}{text}")


def _there_and_back(
    folder: Path, quality: float, model: str | None, runtime: str, *, force: bool
) -> dict[str, Any]:
    outputs = OutputFiles(force=force)
    packed, unpacked = folder / "demo.aec", folder / "demo.png"
    if folder.is_dir():
        for path in (packed, unpacked):  # both before any work
            check_target(path, force=force)
    start = time.perf_counter()
    with PHOTOGRAPH.open("rb") as source, outputs.create(packed) as target:
        settings = backend.EncodeSettings(quality=quality, model=model, runtime=runtime)
        encoded = backend.encode(source, target, settings)
    middle = time.perf_counter()
    with packed.open("rb") as source, outputs.create(unpacked) as target:
        backend.decode(source, target, "PNG", backend.DecodeSettings(model=model, runtime=runtime))
    end = time.perf_counter()
    return {
        "bytes_before": encoded.bytes_before,
        "bytes_after": encoded.bytes_after,
        **encoded.details,
        "psnr": round(backend.psnr(PHOTOGRAPH, unpacked), 3),
        "encode_seconds": round(middle - start, 3),
        "decode_seconds": round(end - middle, 3),
    }
