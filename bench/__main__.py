"""``python -m bench``: rd, speed, report, look, fetch."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from bench.codecs import Codec, all_codecs, select_codecs
from bench.codecs.aecodec import Aecodec

DEFAULT_METRICS = "psnr-rgb,psnr-y,ms-ssim-rgb,ssimulacra2"

_images_option = click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures. [default: Kodak's]",
)
_codecs_option = click.option("--codecs", help="Comma-separated names. [default: all fast ones]")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Benchmarks of aecodec and of the codecs that people would use instead."""


@main.command()
@_images_option
@_codecs_option
@click.option("--slow", is_flag=True, help="Measure the slow encoders, too (hours).")
@click.option("--metrics", default=DEFAULT_METRICS, show_default=True, help="butteraugli can be added.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures.")
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--runtime", type=click.Choice(["onnx", "keras"]), default="onnx", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--fresh", is_flag=True, help="Do not use finished points.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of results. [default: bench/results]")
def rd(
    images: Path | None,
    codecs: str | None,
    slow: bool,
    metrics: str,
    jobs: int,
    limit: int | None,
    model: str | None,
    runtime: str,
    device: str,
    fresh: bool,
    output: Path | None,
) -> None:
    """Measure rate-distortion curves.

    Finished points are kept in bench/cache: interrupt at will, and run the same command again to go on.
    """
    from bench.images import ImagesError, find_images
    from bench.progress import Progress
    from bench.rd import Plan, run
    from bench.results import RESULTS, write_result

    try:
        chosen = select_codecs(codecs or ("aecodec" if runtime != "onnx" else None), slow=slow)
        image_set, pictures = find_images(images)
    except (ValueError, ImagesError) as error:
        raise click.ClickException(str(error)) from error
    chosen = tuple(_configured(codec, model, runtime, device) for codec in chosen)
    plan = Plan(
        codecs=_usable(chosen),
        image_set=image_set if limit is None else f"{image_set}-first-{limit}",
        images=tuple(pictures[:limit]),
        metrics=_usable_metrics(metrics),
        jobs=1 if device == "gpu" else jobs,
    )
    progress = Progress()
    try:
        results = run(
            plan,
            lambda done, total, task, point: progress.update(
                done, total, f"{task.codec.name} {point.image} {point.quality:g}"
            ),
            fresh=fresh,
        )
    except KeyboardInterrupt:
        click.echo("\nInterrupted. Finished points are kept: run the same command again to go on.", err=True)
        sys.stderr.flush()
        os._exit(130)  # workers that still compute would keep the interpreter from ending
    for result in results:
        path = write_result(result, (output or RESULTS) / plan.image_set)
        failed = f", {len(result.failures)} FAILED" if result.failures else ""
        click.echo(f"{path.name}: {len(result.points)} points{failed}")
    if any(result.failures for result in results):
        sys.exit(1)


def _configured(codec: Codec, model: str | None, runtime: str, device: str) -> Codec:
    if not isinstance(codec, Aecodec):
        return codec
    name, label = codec.name, codec.label
    if model is not None:
        name, label = f"{name}-{model}", f"{label} {model}"
    if (runtime, device) != ("onnx", "cpu"):
        name, label = f"{name}-{runtime}-{device}", f"{label} ({runtime}, {device})"
    return replace(codec, name=name, label=label, model=model, runtime=runtime, device=device)


def _usable(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """The codecs that can run here; the others are named with the reason."""
    usable = []
    for codec in codecs:
        reason = codec.missing()
        if reason is None:
            usable.append(codec)
        else:
            click.echo(f"Skipped {codec.name}: {reason}.", err=True)
    if not usable:
        raise click.ClickException("None of the codecs can be used here.")
    return tuple(usable)


def _usable_metrics(names: str) -> tuple[str, ...]:
    from bench.metrics import METRICS, unavailable

    usable = []
    for name in (name.strip() for name in names.split(",")):
        if name not in METRICS:
            raise click.ClickException(f"Unknown metric {name}. Known are: {', '.join(METRICS)}.")
        reason = unavailable(name)
        if reason is None:
            usable.append(name)
        else:
            click.echo(f"Skipped the metric {name}: {reason}.", err=True)
    return tuple(usable)


@main.command()
def codecs() -> None:
    """List the codecs, and whether they can be used here."""
    for codec in all_codecs():
        state = codec.missing() or ", ".join(
            f"{name} {version}" for name, version in codec.versions().items()
        )
        kind = " (slow)" if codec.slow else " (only when named)" if codec.extra else ""
        click.echo(f"{codec.name:18} {codec.label}{kind}: {state}")


@main.command()
def fetch() -> None:
    """Download Kodak's pictures into bench/cache and check their hash."""
    from bench.images import ImagesError, fetch_kodak

    try:
        fetch_kodak()
    except (ImagesError, OSError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m bench")
