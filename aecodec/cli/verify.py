"""``aecodec verify``: whether .aec files are whole and can be decoded."""

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
    jobs_option,
    json_option,
    max_pixels_option,
    model_option,
    quiet_option,
    recursive_option,
)
from aecodec.cli.progress import FileProgress
from aecodec.cli.report import Result
from aecodec.container import MAGIC
from aecodec.streams import size_of


@click.command()
@files_argument
@recursive_option
@jobs_option
@max_pixels_option
@model_option
@json_option
@quiet_option
@debug_option
def command(
    files: tuple[str, ...],
    recursive: bool,
    jobs: int,
    max_pixels: int | None,
    model: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that .aec files are whole and can be decoded.

    Checks every checksum, that the model is installed, and that all symbols decode; computes no pixels. The
    exit code is 0 if all files are sound. "-" is the standard input.
    """

    def work(job: Job, progress: FileProgress) -> Result:
        with open_input(job.source, MAGIC) as source:
            bytes_before = size_of(source)
            details = backend.verify(source, model=model, max_pixels=max_pixels, progress=progress)
        return Result(bytes_before, details=details, lines=(f"{job.source_name}: sound",))

    run_readers("verify", files, work, RunOptions(jobs, as_json, quiet, debug_wanted()), recursive=recursive)
