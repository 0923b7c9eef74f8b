"""``aecodec compress``: pictures to .aec files."""

from __future__ import annotations

import click

from aecodec.cli import backend
from aecodec.cli.batch import run_plan
from aecodec.cli.files import AEC_SUFFIX, PICTURE_SUFFIXES, Job, OutputFiles, open_input, plan_outputs
from aecodec.cli.options import (
    Amount,
    RunOptions,
    debug_option,
    debug_wanted,
    files_argument,
    force_option,
    jobs_option,
    json_option,
    max_pixels_option,
    quiet_option,
    recursive_option,
    runtime_option,
)
from aecodec.cli.progress import FileProgress
from aecodec.cli.report import Result

DEFAULT_QUALITY = 75.0


@click.command()
@files_argument
@click.option(
    "-o", "--output", metavar="FILE|FOLDER|-", type=click.Path(readable=False),
    help="Where to write: a file for a single input, a folder, or - for the standard output. "
    "By default each file goes beside its input.",
)  # fmt: skip
@click.option(
    "-q", "--quality", type=click.FloatRange(1, 100),
    help="From 1 (smallest file) to 100 (best picture).  [default: 75]",
)  # fmt: skip
@click.option(
    "--target-bpp", type=click.FloatRange(0, min_open=True), metavar="RATE",
    help="Choose the quality that gives the best picture of at most so many bits per pixel.",
)  # fmt: skip
@click.option(
    "--target-size", type=Amount("B"), metavar="BYTES",
    help="Choose the quality that gives the best picture in a file of at most this size "
    "(300000, 300k, 64KiB).",
)  # fmt: skip
@click.option(
    "--target-psnr", type=click.FloatRange(1, 100), metavar="DB",
    help="Choose the lowest quality with at least this PSNR in dB, by bisection.",
)  # fmt: skip
@click.option(
    "--effort", type=click.IntRange(0, backend.MAX_EFFORT), default=0, show_default=True,
    help="1: a filter for the decoded picture, in a little more time. Above: a search for better symbols, "
    "for minutes a megapixel, which needs Keras. Decoding takes hardly longer.",
)  # fmt: skip
@click.option(
    "--strip", is_flag=True,
    help="Leave out the metadata (EXIF, XMP, colour profile); the picture is turned upright, to sRGB.",
)  # fmt: skip
@recursive_option
@jobs_option
@force_option
@max_pixels_option
@click.option(
    "--model", metavar="NAME", help="Name, id or folder of the model.  [default: see `aecodec models`]"
)
@runtime_option
@json_option
@quiet_option
@debug_option
def command(
    files: tuple[str, ...],
    output: str | None,
    quality: float | None,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    effort: int,
    strip: bool,
    recursive: bool,
    jobs: int,
    force: bool,
    max_pixels: int | None,
    model: str | None,
    runtime: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compress pictures to .aec files.

    JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF and PPM pictures with 8 or 16 bits, gray or RGB, with or without
    alpha. "-" is the standard input. Of several files, outputs that exist already are kept, so an interrupted
    run goes on where it stopped when it is started again.

    \b
    aecodec compress holiday.jpg                   writes holiday.aec
    aecodec compress -q 40 a.png b.jpg -o out/     writes out/a.aec and out/b.aec
    aecodec compress -r photos/ -o packed/ -j 2    a folder, mirrored
    aecodec compress --target-size 100k a.png      at most 100 kB
    convert a.tif png:- | aecodec compress - > a.aec
    """
    targets = [target_bpp, target_size, target_psnr]
    if sum(value is not None for value in [quality, *targets]) > 1:
        raise click.UsageError(
            "--quality, --target-bpp, --target-size and --target-psnr exclude one another."
        )
    settings = backend.EncodeSettings(
        quality=DEFAULT_QUALITY if quality is None else quality,
        target=backend.Target(target_size, target_bpp, target_psnr) if any(targets) else None,
        effort=effort,
        strip=strip,
        max_pixels=max_pixels,
        model=model,
        runtime=runtime,
    )
    plan = plan_outputs(
        files,
        output=output,
        recursive=recursive,
        force=force,
        suffixes=PICTURE_SUFFIXES,
        output_suffix=AEC_SUFFIX,
    )
    outputs = OutputFiles(force=force)

    def work(job: Job, progress: FileProgress) -> Result:
        with open_input(job.source) as source, outputs.create(job.target) as target:
            return backend.encode(source, target, settings, progress)

    run_plan("compress", plan, work, outputs, RunOptions(jobs, as_json, quiet, debug_wanted()))
