"""``aecodec decompress``: .aec files to pictures."""

from __future__ import annotations

from pathlib import Path

import click

from aecodec.cli import backend
from aecodec.cli.batch import run_plan
from aecodec.cli.files import AEC_SUFFIX, STDIO, Job, OutputFiles, Plan, open_input, plan_outputs
from aecodec.cli.options import (
    Region,
    RunOptions,
    debug_option,
    debug_wanted,
    files_argument,
    force_option,
    jobs_option,
    json_option,
    max_pixels_option,
    model_option,
    quiet_option,
    recursive_option,
    runtime_option,
)
from aecodec.cli.progress import FileProgress
from aecodec.cli.report import Result
from aecodec.container import MAGIC

SUFFIXES = ("png", "tif", "tiff", "webp", "avif", "jpg", "jpeg", "bmp", "ppm", "pgm")
"""Endings of pictures that can be written, as --format takes them."""
_SCALES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8, "1/16": 16, "1/32": 32}


@click.command()
@files_argument
@click.option(
    "-o", "--output", metavar="FILE|FOLDER|-", type=click.Path(readable=False),
    help="Where to write: a file for a single input (its ending says the format), a folder, or - for "
    "the standard output. By default each file goes beside its input.",
)  # fmt: skip
@click.option(
    "--format", "suffix", type=click.Choice(SUFFIXES), help="Format of the pictures.  [default: png]"
)
@click.option("--region", type=Region(), help="Decode only this rectangle, in pixels of the whole picture.")
@click.option(
    "--scale",
    type=click.Choice(list(_SCALES)),
    default="1",
    show_default=True,
    help="Decode a smaller picture.",
)
@click.option(
    "--thumbnail", type=click.IntRange(1, 32768), metavar="SIZE",
    help="Write a picture of at most SIZE pixels a side, upright. With two arguments the second is the "
    "output, a PNG that is overwritten: made for desktop thumbnailers.",
)  # fmt: skip
@click.option(
    "--allow-partial", is_flag=True, help="Decode what there is of a truncated or damaged file (exit code 8)."
)
@recursive_option
@jobs_option
@force_option
@max_pixels_option
@model_option
@runtime_option
@json_option
@quiet_option
@debug_option
def command(
    files: tuple[str, ...],
    output: str | None,
    suffix: str | None,
    region: tuple[int, int, int, int] | None,
    scale: str,
    thumbnail: int | None,
    allow_partial: bool,
    recursive: bool,
    jobs: int,
    force: bool,
    max_pixels: int | None,
    model: str | None,
    runtime: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decompress .aec files to pictures.

    Size, bit depth, alpha, colour profile and metadata are those of the picture that was compressed, as far
    as the format can hold them; PNG holds all. "-" is the standard input.

    \b
    aecodec decompress holiday.aec                        writes holiday.png
    aecodec decompress holiday.aec -o holiday.tif
    aecodec decompress big.aec --region 4096,0,512,512 -o part.png
    aecodec decompress -r packed/ -o photos/ --scale 1/4
    aecodec decompress - < a.aec | display png:-
    aecodec decompress --thumbnail 256 holiday.aec thumbnail.png
    """
    if thumbnail is not None and (region is not None or scale != "1"):
        raise click.UsageError("--thumbnail excludes --region and --scale.")
    if thumbnail is not None and output is None and len(files) == 2:
        files, output = _thumbnailer_arguments(files)
        suffix, force = "png", True
    settings = backend.DecodeSettings(
        region=region,
        scale=_SCALES[scale],
        thumbnail=thumbnail,
        allow_partial=allow_partial,
        max_pixels=max_pixels,
        model=model,
        runtime=runtime,
    )
    plan = plan_outputs(
        files,
        output=output,
        recursive=recursive,
        force=force,
        suffixes=frozenset({AEC_SUFFIX}),
        output_suffix=f".{suffix or 'png'}",
    )
    format_name = backend.format_name(_ending(plan, suffix))
    outputs = OutputFiles(force=force)

    def work(job: Job, progress: FileProgress) -> Result:
        with open_input(job.source, MAGIC) as source, outputs.create(job.target) as target:
            return backend.decode(source, target, format_name, settings, progress)

    run_plan("decompress", plan, work, outputs, RunOptions(jobs, as_json, quiet, debug_wanted()))


def _thumbnailer_arguments(files: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Split INPUT OUTPUT, as desktops call a thumbnailer, unless the second looks like an input."""
    source, target = files
    if target.lower().endswith(AEC_SUFFIX) or target == STDIO or Path(target).is_dir():
        raise click.UsageError(
            f"--thumbnail with two arguments takes an input and an output, but {target!r} is no output; "
            "for several thumbnails name a folder with --output."
        )
    return (source,), target


def _ending(plan: Plan, suffix: str | None) -> str:
    """The ending that says the format of every output of a run."""
    if suffix is not None:
        return suffix
    target = plan.jobs[0].target if plan.single else None
    return "png" if target is None else target.suffix.lstrip(".") or "png"
