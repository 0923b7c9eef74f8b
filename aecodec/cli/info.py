"""``aecodec info``: what .aec files say about themselves."""

from __future__ import annotations

import click

from aecodec.cli import backend
from aecodec.cli.batch import run_readers
from aecodec.cli.files import Job, open_input
from aecodec.cli.options import (
    RunOptions,
    debug_option,
    debug_wanted,
    files_argument,
    json_option,
    recursive_option,
)
from aecodec.cli.progress import FileProgress
from aecodec.cli.report import Result
from aecodec.container import MAGIC
from aecodec.streams import size_of


@click.command()
@files_argument
@recursive_option
@json_option
@debug_option
def command(files: tuple[str, ...], recursive: bool, as_json: bool) -> None:
    """Show what .aec files say about themselves.

    Size, rate, quality, model and sections, from the headers alone: nothing is decoded, no model is loaded,
    and a damaged picture goes unnoticed (`aecodec verify` finds that). "-" is the standard input.
    """
    run_readers("info", files, _work, RunOptions(json=as_json, debug=debug_wanted()), recursive=recursive)


def _work(job: Job, progress: FileProgress) -> Result:
    with open_input(job.source, MAGIC) as source:
        bytes_before = size_of(source)
        description = backend.describe(source)
    lines = _lines(job.source_name, description)
    return Result(bytes_before, details=description.to_object(), lines=lines)


def _lines(name: str, description: backend.Description) -> tuple[str, ...]:
    info = description.info
    colours = "gray" if info.layout == 1 else "RGB"
    alpha = " with alpha" if info.has_alpha else ""
    quality = "unknown" if info.quality is None else str(info.quality)
    model = f"{info.model} ({info.model_id})" if info.model else f"{info.model_id}, which is not installed"
    sections = "one section" if info.joined else "six sections"
    rows = [
        ("picture", f"{info.width} x {info.height}, {colours}{alpha}, {info.depth} bits"),
        ("size", f"{info.bytes:,} bytes, {info.bits_per_pixel:.3f} bits per pixel"),
        ("quality", f"{quality} (level {info.level})"),
        ("quantisation", "dependent" if info.dependent else "plain"),
        ("post-filter", "one for each chunk" if info.filtered else "none"),
        ("model", model),
        ("chunks", f"of {info.chunk_side} x {info.chunk_side} pixels, {sections} for each"),
    ]
    if description.truncation is not None:
        rows.append(("truncated", description.truncation))
    rows += [
        ("section", f"{section} x {count}, {size:,} bytes") for section, count, size in description.sections
    ]
    return (name, *(f"  {label:<14}{text}" for label, text in rows))
