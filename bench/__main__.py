"""``python -m bench``: rd, graphics, speed, startup, report, look, readme, codecs, fetch."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.codecs import Codec, all_codecs, select_codecs
from bench.codecs.aecodec import Aecodec
from bench.images import ImageFile

if TYPE_CHECKING:
    from bench.rd import Plan
    from bench.results import Result

DEFAULT_METRICS = "psnr-rgb,psnr-y,ms-ssim-rgb,ssimulacra2"

_images_option = click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures. [default: Kodak's]",
)
_cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(__file__).parent / "cache",
    help="Folder of finished points. [default: bench/cache]",
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
@click.option(
    "--points", type=click.IntRange(2), help="Qualities per codec; BD-rates need six. [default: all]"
)
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--runtime", type=click.Choice(["onnx", "keras"]), default="onnx", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--fresh", is_flag=True, help="Do not use finished points.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of results. [default: bench/results]")
@_cache_option
def rd(
    images: Path | None,
    codecs: str | None,
    slow: bool,
    metrics: str,
    jobs: int,
    limit: int | None,
    points: int | None,
    model: str | None,
    runtime: str,
    device: str,
    fresh: bool,
    output: Path | None,
    cache: Path,
) -> None:
    """Measure rate-distortion curves.

    Finished points are kept in bench/cache: interrupt at will, and run the same command again to go on.
    """
    from bench.images import ImagesError, find_images
    from bench.rd import Plan
    from bench.results import RESULTS

    if runtime == "keras":
        from bench.device import choose_device

        choose_device(device)
    elif device == "gpu":
        raise click.ClickException(
            "ONNX Runtime computes on the CPU here: --device gpu needs --runtime keras."
        )
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
        cache=cache,
        points=points,
    )
    if runtime == "keras":
        _measure_device(pictures, model, device, output or RESULTS)
    results = _measure(plan, output or RESULTS, fresh=fresh)
    if any(result.failures for result in results):
        sys.exit(1)


def _measure(plan: Plan, folder: Path, *, fresh: bool) -> list[Result]:
    """Run a plan with progress and write its results into the folder of its set."""
    from bench.progress import Progress
    from bench.rd import run
    from bench.results import write_result
    from bench.thumbnails import write_thumbnails

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
    write_thumbnails(plan.images, folder / plan.image_set)
    for result in results:
        path = write_result(result, folder / plan.image_set)
        failed = f", {len(result.failures)} FAILED" if result.failures else ""
        click.echo(f"{path.name}: {len(result.points)} points{failed}")
    return results


def _measure_device(pictures: list[ImageFile], model: str | None, device: str, folder: Path) -> None:
    """Time the graphs by themselves and write ``device-<device>.json``."""
    from bench.device import DeviceError, measure
    from bench.images import ImagesError, load, speed_picture
    from bench.results import write_rows

    click.echo(f"Timing the graphs on the {device} ...", err=True)
    try:
        content = measure([load(pictures[0].path), speed_picture("2", pictures)], model, device)
    except (DeviceError, ImagesError) as error:
        raise click.ClickException(str(error)) from error
    path = folder / f"device-{device}.json"
    write_rows(content, path)
    click.echo(f"{path.name}: {content['device']}, {content['framework']}")


def _configured(codec: Codec, model: str | None, runtime: str, device: str) -> Codec:
    if not isinstance(codec, Aecodec):
        return codec
    name, label = codec.name, codec.label
    if model is not None:
        short = Path(model).name
        name, label = f"{name}-{short}", f"{label} {short}"
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
@_images_option
@click.option("--codecs", help="Comma-separated names. [default: aecodec,jpeg,webp,avif,jpegxl,heic]")
@click.option("--sizes", default="0.4,2,12,50", show_default=True, help="Megapixels, out of these four.")
@click.option("--cores", default="1,2", show_default=True, help="Numbers of cores.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--budget", type=float, default=30.0, show_default=True, help="Seconds after which not to repeat."
)
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--fresh", is_flag=True, help="Do not use finished rows.")
@click.option("--output", type=click.Path(path_type=Path), help="File. [default: bench/results/speed.json]")
@_cache_option
def speed(
    images: Path | None,
    codecs: str | None,
    sizes: str,
    cores: str,
    repeats: int,
    budget: float,
    model: str | None,
    fresh: bool,
    output: Path | None,
    cache: Path,
) -> None:
    """Measure how long encoding and decoding take, and how much memory.

    Nothing else should run meanwhile; the load before each row is recorded.
    """
    from bench.images import SIZES, ImagesError, find_images
    from bench.progress import Progress
    from bench.results import RESULTS, write_rows
    from bench.speed import DEFAULT_CODECS, SpeedPlan, run

    wanted = tuple(size.strip() for size in sizes.split(","))
    if not set(wanted) <= set(SIZES):
        raise click.ClickException(f"Expected sizes out of {', '.join(SIZES)}. Received: {sizes}.")
    available = os.cpu_count() or 1
    counts = tuple(int(count) for count in cores.split(","))
    for count in [count for count in counts if count > available]:
        click.echo(f"Skipped {count} cores: this machine has {available}.", err=True)
    try:
        _, pictures = find_images(images)
        chosen = select_codecs(codecs or DEFAULT_CODECS)
    except (ValueError, ImagesError) as error:
        raise click.ClickException(str(error)) from error
    plan = SpeedPlan(
        codecs=_usable(tuple(_configured(codec, model, "onnx", "cpu") for codec in chosen)),
        images=tuple(pictures),
        sizes=wanted,
        cores=tuple(count for count in counts if count <= available),
        repeats=repeats,
        budget=budget,
        model=model,
    )
    try:
        content = run(plan, Progress().update, fresh=fresh, cache=cache)
    except KeyboardInterrupt:
        raise click.ClickException(
            "Interrupted. Finished rows are kept: run the same command again."
        ) from None
    path = output or RESULTS / "speed.json"
    write_rows(content, path)
    failures = [row for row in content["rows"] if "failure" in row]
    click.echo(f"{path.name}: {len(content['rows'])} rows, {len(failures)} failed")
    for row in failures:
        click.echo(f"FAILED {row['codec']} {row['size']} MP {row['mode']}: {row['failure']}", err=True)


@main.command()
@click.option(
    "--codecs",
    default="aecodec,webp,jpeg,avif",
    show_default=True,
    help="Comma-separated names; the first is compared with the others.",
)
@click.option(
    "--points",
    type=click.IntRange(6),
    default=8,
    show_default=True,
    help="Qualities per codec; two more than BD-rates need, as curves on graphics do not always rise.",
)
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--fresh", is_flag=True, help="Do not use finished points.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of results. [default: bench/results]")
@_cache_option
def graphics(
    codecs: str, points: int, jobs: int, model: str | None, fresh: bool, output: Path | None, cache: Path
) -> None:
    """Draw text, plots, icons and screenshots; measure PSNR-RGB over rate on them.

    Prints a table with the sizes of lossless files beside.
    """
    from PIL import Image

    from bench.graphics import lossless_sizes, make, table
    from bench.images import find_images
    from bench.rd import Plan
    from bench.results import RESULTS, write_rows

    folder, notes = make()
    for note in notes:
        click.echo(note, err=True)
    image_set, pictures = find_images(folder)
    try:
        chosen = tuple(_configured(codec, model, "onnx", "cpu") for codec in select_codecs(codecs))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    plan = Plan(_usable(chosen), image_set, tuple(pictures), ("psnr-rgb",), jobs, cache, points)
    results = _measure(plan, output or RESULTS, fresh=fresh)
    sizes = {picture.name: lossless_sizes(Image.open(picture.path)) for picture in pictures}
    rows = [{"picture": name, **found} for name, found in sizes.items()]
    write_rows({"rows": rows}, (output or RESULTS) / image_set / "lossless.json")
    click.echo("\n" + table(results, sizes))
    if any(result.failures for result in results):
        sys.exit(1)


@main.command()
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="[default: bench/results/startup.json]")
def startup(repeats: int, output: Path | None) -> None:
    """Measure how long small commands of aecodec take, on an idle machine."""
    from bench.results import RESULTS, write_rows
    from bench.startup import measure_all

    content = measure_all(repeats)
    path = output or RESULTS / "startup.json"
    write_rows(content, path)
    for row in content["rows"]:
        click.echo(
            f"aecodec {row['command']}: {row['median']:.3f} s ({row['least']:.3f} to {row['most']:.3f})"
        )


@main.command()
@_images_option
@click.option("-q", "--quality", type=click.FloatRange(1, 100), default=75, show_default=True)
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--output", type=click.Path(path_type=Path), help="[default: bench/results/previews.json]")
def previews(images: Path | None, quality: float, model: str | None, output: Path | None) -> None:
    """Measure how near previews are to the means of decoded pixels, and how long they take."""
    from bench.images import ImagesError, find_images
    from bench.previews import measure_all
    from bench.progress import Progress
    from bench.results import RESULTS, write_rows

    try:
        _, pictures = find_images(images)
    except ImagesError as error:
        raise click.ClickException(str(error)) from error
    content = measure_all(pictures, quality, model, Progress().update)
    write_rows(content, output or RESULTS / "previews.json")
    for row in content["rows"]:
        click.echo(
            f"1/{row['scale']}: {row['mean_psnr']:.1f} dB from the means of decoded pixels "
            f"({row['least_psnr']:.1f} at least), {row['time_share']:.0%} of the time"
        )


@main.command()
@click.option("--fresh", is_flag=True, help="From scratch: do not use finished points.")
@click.option("--parts", help="Comma-separated. [default: all]")
@click.option("--plan", "show", is_flag=True, help="Only print the commands.")
def readme(fresh: bool, parts: str | None, show: bool) -> None:
    """Measure every figure of README.md again and make the report, on an idle machine.

    The time of each part is written into bench/results/readme.json.
    """
    from bench.readme import ReadmeError, choose, run
    from bench.results import RESULTS

    try:
        chosen = choose(parts)
        if show:
            for part in chosen:
                click.echo(f"{part.name:10} {part.command_line(fresh)}    # {part.figures}")
            return
        run(chosen, RESULTS / "readme.json", fresh=fresh, say=click.echo)
    except ReadmeError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="[default: bench/results]")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="[default: bench/report]")
def report(results: Path | None, output: Path | None) -> None:
    """Make tables, plots and one self-contained page of the results."""
    from bench.machine import ROOT
    from bench.report import build
    from bench.results import RESULTS

    try:
        files = build(output or ROOT / "bench" / "report", results or RESULTS)
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    for path in files:
        click.echo(path.name)


@main.command()
@_images_option
@click.option("--codecs", help="Comma-separated names. [default: aecodec,jpeg,webp,avif]")
@click.option(
    "--bpp", type=float, default=0.35, show_default=True, help="Bits per pixel that files may have."
)
@click.option("--quality", type=float, help="Take the size of the first codec at this quality instead.")
@click.option("--names", help="Comma-separated names of pictures. [default: the first four]")
@click.option("--model", help="Model of aecodec: name or id.")
@click.option("--output", type=click.Path(path_type=Path), help="File. [default: bench/report/look.html]")
def look(
    images: Path | None,
    codecs: str | None,
    bpp: float,
    quality: float | None,
    names: str | None,
    model: str | None,
    output: Path | None,
) -> None:
    """Make a page that shows what codecs do to pictures at the same number of bytes."""
    from bench.images import ImagesError, find_images
    from bench.look import DEFAULT_CODECS, build, write_page
    from bench.machine import ROOT
    from bench.progress import Progress

    try:
        _, pictures = find_images(images)
        chosen = select_codecs(codecs or DEFAULT_CODECS)
    except (ValueError, ImagesError) as error:
        raise click.ClickException(str(error)) from error
    wanted = [name.strip() for name in names.split(",")] if names else [p.name for p in pictures[:4]]
    missing = sorted(set(wanted) - {picture.name for picture in pictures})
    if missing:
        raise click.ClickException(f"No pictures of these names: {', '.join(missing)}.")
    shown = [picture for picture in pictures if picture.name in wanted]
    usable = _usable(tuple(_configured(codec, model, "onnx", "cpu") for codec in chosen))
    path = output or ROOT / "bench" / "report" / "look.html"
    write_page(path, build(shown, usable, bpp, quality, Progress().update))
    click.echo(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


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
