"""``python -m bench.robustness``: kill, panorama, patterns, truncate, threads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.images import ImageFile
from bench.robustness.child import ChildError

_images_option = click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures. [default: Kodak's]",
)
_limit_option = click.option("--limit", type=click.IntRange(1), help="Only the first pictures.")
_model_option = click.option("--model", help="Name, id or folder of the model. [default: the package's]")
_output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Result file. [default: bench/results/robustness-NAME.json]",
)
_quality_option = click.option(
    "-q", "--quality", type=click.FloatRange(1, 100), default=75, show_default=True
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what one relies on: each command exits with 1 where its expectation did not hold."""


@main.command()
@_images_option
@_model_option
@_output_option
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True)
@click.option("--files", type=click.IntRange(1), default=6, show_default=True, help="Pictures in the folder.")
@click.option("--side", type=click.IntRange(16), default=256, show_default=True, help="Pixels of each.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def kill(
    images: Path | None,
    model: str | None,
    output: Path | None,
    runs: int,
    files: int,
    side: int,
    jobs: int,
    seed: int,
) -> None:
    """Kill folder runs at random moments; look for half-written outputs; complete them."""
    from bench.robustness.kill import KillPlan, run

    plan = KillPlan(_pictures(images, None), model, runs, files, side, jobs, seed)
    _finish("kill", output, lambda report: run(plan, report))


@main.command()
@_images_option
@_model_option
@_output_option
@_quality_option
@click.option("--megapixels", type=click.FloatRange(1, 268), default=100, show_default=True)
@click.option("--source", type=click.Choice(["png", "ppm", "jpg"]), default="png", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=2, show_default=True)
@click.option("--regions", type=click.IntRange(1), default=5, show_default=True)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures.")
def panorama(
    images: Path | None,
    model: str | None,
    output: Path | None,
    quality: float,
    megapixels: float,
    source: str,
    repeats: int,
    regions: int,
    work: Path | None,
) -> None:
    """Measure time, memory, regions and seams of a very large picture."""
    from bench.robustness.panorama import PanoramaPlan, run

    pictures = _pictures(images, None)
    plan = PanoramaPlan(pictures, model, megapixels, quality, f".{source}", repeats, regions, work)
    _finish("panorama", output, lambda report: run(plan, report))


@main.command()
@_model_option
@_output_option
@click.option("--side", type=click.IntRange(16), default=256, show_default=True, help="Pixels of each.")
def patterns(model: str | None, output: Path | None, side: int) -> None:
    """Compare saturated stripes, chequers and noise with JPEG; write a table (.md), too."""
    from bench.robustness.patterns import PatternsPlan, run, table

    plan = PatternsPlan(model, side)
    _finish("patterns", output, lambda report: run(plan, report), table)


@main.command()
@_images_option
@_limit_option
@_model_option
@_output_option
@_quality_option
@click.option("--chunk-side", type=int, default=1024, show_default=True, help="Pixels, a multiple of 64.")
@click.option(
    "--mosaic", type=click.IntRange(0), default=2, show_default=True,
    help="So many pictures beside and above one another are a picture of several chunks.",
)  # fmt: skip
@click.option(
    "--strip", type=click.Path(path_type=Path), help="PNG of the last picture. [default: beside the result]"
)
def truncate(
    images: Path | None,
    limit: int | None,
    model: str | None,
    output: Path | None,
    quality: float,
    chunk_side: int,
    mosaic: int,
    strip: Path | None,
) -> None:
    """Measure what the first 5 %, 10 % ... of a file give; write a table (.md) and a strip (.png), too."""
    from bench.robustness.truncate import TruncatePlan, run, table

    plan = TruncatePlan(_pictures(images, limit), model, quality, chunk_side, mosaic)
    drawing = strip or _result_path("truncate", output).with_suffix(".png")
    _finish("truncate", output, lambda report: run(plan, drawing, report), table)


@main.command()
@_images_option
@_limit_option
@_model_option
@_output_option
@click.option("--threads", "count", type=click.IntRange(1), default=8, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True)
def threads(
    images: Path | None, limit: int | None, model: str | None, output: Path | None, count: int, rounds: int
) -> None:
    """Compare bytes and pixels from several threads, runs and numbers of jobs."""
    from bench.robustness.threads import ThreadsPlan, run

    plan = ThreadsPlan(_pictures(images, limit or 4), model, count, rounds)
    _finish("threads", output, lambda report: run(plan, report))


def _pictures(folder: Path | None, limit: int | None) -> tuple[ImageFile, ...]:
    from bench.images import ImagesError, find_images

    try:
        _, pictures = find_images(folder)
    except ImagesError as error:
        raise click.ClickException(str(error)) from error
    return tuple(pictures[:limit])


def _finish(
    name: str,
    output: Path | None,
    run: Callable[[Callable[[int, int, str], None]], dict[str, Any]],
    table: Callable[[dict[str, Any]], str] | None = None,
) -> None:
    """Run, write the result file, print all but its rows, and end with the exit code."""
    from bench.images import ImagesError
    from bench.machine import describe_run
    from bench.progress import Progress
    from bench.results import write_bytes, write_rows

    try:
        content = run(Progress().update)
    except (ChildError, ImagesError) as error:
        raise click.ClickException(str(error)) from error
    path = _result_path(name, output)
    write_rows({"run": describe_run(), **content}, path)
    if table is not None:
        write_bytes(path.with_suffix(".md"), f"{table(content)}\n".encode())
    shown = {key: value for key, value in content.items() if key not in ("rows", "regions")}
    click.echo(json.dumps(shown, indent=1) if table is None else table(content))
    click.echo(f"{path.name}: {'held' if content['held'] else 'DID NOT HOLD'}")
    sys.exit(0 if content["held"] else 1)


def _result_path(name: str, output: Path | None) -> Path:
    from bench.results import RESULTS

    return output or RESULTS / f"robustness-{name}.json"


if __name__ == "__main__":
    main(prog_name="python -m bench.robustness")
