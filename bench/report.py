"""Tables, plots and one page, made of the result files alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import plots
from bench.bdrate import BdRate
from bench.compare import Comparison, agreements, compare
from bench.document import Block, Figure, Heading, Paragraph, Pictures, Table, to_markdown, to_page
from bench.metrics import LABELS
from bench.results import PUBLISHED, RESULTS, Point, Result, read_results, write_bytes, write_text

ANCHOR = "jpeg"
SECOND_ANCHOR = "vtm"
JUDGED = "aecodec"
MAIN_PLOT = ("jpeg", "webp", "heic-444", "avif-444-psnr", "jpegxl", "vvc")
MAIN_PLOT_PUBLISHED = ("vtm", "mlicplusplus", "bmshj2018-hyperprior", "av1")
THUMBNAILS = "thumbnails.json"


@dataclass(frozen=True)
class ImageSet:
    """All results on one set of pictures.

    Attributes:
        name: of the set.
        measured: results from here.
        published: curves from elsewhere on the same pictures.
        thumbnails: data URIs by the pictures' names.
    """

    name: str
    measured: Sequence[Result]
    published: Sequence[Result] = ()
    thumbnails: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Result | None:
        """A measured result by its name."""
        return next((result for result in self.measured if result.name == name), None)

    def find_published(self, name: str) -> Result | None:
        """A published curve by its name."""
        return next((result for result in self.published if result.name == name), None)

    def judged(self) -> list[Result]:
        """What is compared with everything else: aecodec in every runtime, model and device."""
        return [result for result in self.measured if result.name.startswith(JUDGED)]


def read_sets(results: Path = RESULTS, published: Path = PUBLISHED) -> list[ImageSet]:
    """All sets of pictures that there are results of."""
    sets = []
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        measured = read_results(folder)
        if not measured:
            continue
        thumbnails = folder / THUMBNAILS
        sets.append(
            ImageSet(
                name=folder.name,
                measured=measured,
                published=read_results(published / folder.name, published=True),
                thumbnails=json.loads(thumbnails.read_text()) if thumbnails.exists() else {},
            )
        )
    return sets


def build(output: Path, results: Path = RESULTS, published: Path = PUBLISHED) -> list[Path]:
    """Write report.md, report.html and all plots into a folder.

    Returns:
        The files that were written.

    Raises:
        FileNotFoundError: there are no results.
    """
    sets = read_sets(results, published) if results.is_dir() else []
    speed = _read_json(results / "speed.json")
    devices = [_read_json(path) for path in sorted(results.glob("device-*.json"))]
    if not sets and speed is None and not devices:
        raise FileNotFoundError(f"No results in {results}. Measure some first: python -m bench rd")
    drawn: list[plots.Plot] = []
    blocks: list[Block] = [Heading(1, "Benchmarks")]
    for image_set in sets:
        blocks += rate_distortion_blocks(image_set, drawn)
    if speed is not None:
        blocks += speed_blocks(speed, drawn)
    for device in devices:
        blocks += device_blocks(device or {})
    output.mkdir(parents=True, exist_ok=True)
    for plot in drawn:
        write_bytes(output / f"{plot.name}.png", plot.png)
        write_text(output / f"{plot.name}.svg", plot.svg)
    write_text(output / "report.md", to_markdown(blocks))
    write_text(output / "report.html", to_page("aecodec: benchmarks", blocks))
    files = [f"{plot.name}.{ending}" for plot in drawn for ending in ("png", "svg")]
    return [output / name for name in ("report.md", "report.html", *files)]


def rate_distortion_blocks(image_set: ImageSet, drawn: list[plots.Plot]) -> list[Block]:
    """Everything that is said about one set of pictures."""
    count = max((len(result.images) for result in image_set.measured), default=0)
    blocks: list[Block] = [
        Heading(2, f"Rate and distortion: {image_set.name}, {count} pictures"),
        Paragraph(
            "Rates are those of whole files; measures are taken on decoded 8-bit pixels. A BD-rate is the "
            "difference in rate at equal quality, averaged over the range of quality that both curves cover "
            "(PCHIP on log rate); negative is better."
        ),
    ]
    blocks += _main_plot(image_set, drawn)
    blocks += _overview(image_set)
    blocks += _judged_tables(image_set)
    blocks += _agreement_table(image_set)
    metrics = [m for m in LABELS if any(m in result.averages for result in image_set.measured)]
    for metric in metrics:
        having = [r for r in image_set.measured if metric in r.averages and len(r.averages["bpp"]) > 1]
        more = [r for r in image_set.published if metric in r.averages and r.name in MAIN_PLOT_PUBLISHED]
        title = f"{image_set.name}: {LABELS[metric]}"
        plot = plots.rate_distortion(f"{image_set.name}-all-{metric}", title, metric, [*having, *more])
        blocks.append(_figure(plot, f"All codecs, {LABELS[metric]}", drawn))
    blocks += _failures(image_set)
    blocks += _provenance(image_set)
    return blocks


def _main_plot(image_set: ImageSet, drawn: list[plots.Plot]) -> list[Block]:
    plain = image_set.find("aecodec")
    own = image_set.judged() if plain is None else [plain]  # what is near to it would hide it
    chosen = [*own, *filter(None, map(image_set.find, MAIN_PLOT))]
    more = list(filter(None, map(image_set.find_published, MAIN_PLOT_PUBLISHED)))
    chosen = [result for result in chosen if "psnr-rgb" in result.averages]
    if not chosen:
        return []
    title = f"{image_set.name}: mean over the pictures"
    plot = plots.rate_distortion(f"{image_set.name}-psnr", title, "psnr-rgb", [*chosen, *more])
    return [_figure(plot, "Rate and PSNR", drawn)]


def _overview(image_set: ImageSet) -> list[Block]:
    """BD-rates of every codec against JPEG and against the published VTM."""
    jpeg, vtm = image_set.find(ANCHOR), image_set.find_published(SECOND_ANCHOR)
    rows: list[tuple[float, list[str]]] = []
    for result in [*image_set.measured, *image_set.published]:
        against_jpeg = compare(jpeg, result, "psnr-rgb") if jpeg else None
        against_vtm = compare(vtm, result, "psnr-rgb") if vtm else None
        average = against_jpeg.average if against_jpeg else None
        cells = [
            result.label + (", published" if result.published else ""),
            _percent(average),
            _mean_of(against_jpeg),
            _percent(against_vtm.average if against_vtm else None),
            _range_of(average),
            _range_of(against_vtm.average if against_vtm else None),
        ]
        rows.append((average.percent if average else float("inf"), cells))
    header = ["Codec", "vs JPEG 4:2:0", "per picture", "vs VTM 9.1, published"]
    header += ["PSNR compared with JPEG", "with VTM"]
    return [
        Heading(3, "BD-rate, PSNR-RGB"),
        Table(header, [cells for _, cells in sorted(rows, key=lambda row: row[0])]),
        Paragraph(
            'Columns one and three are BD-rates of curves averaged over the pictures; "per picture" is the '
            "mean of the pictures' BD-rates, with their standard deviation, where both codecs were measured."
        ),
    ]


def _judged_tables(image_set: ImageSet) -> list[Block]:
    blocks: list[Block] = []
    for judged in image_set.judged():
        metrics = [metric for metric in LABELS if metric in judged.averages]
        rows = []
        for other in [*image_set.measured, *image_set.published]:
            if other is judged:
                continue
            comparisons = [compare(other, judged, metric) for metric in metrics]
            if all(c.average is None for c in comparisons):
                continue
            label = other.label + (", published" if other.published else "")
            rows.append([label, *(_both(comparison, len(judged.images)) for comparison in comparisons)])
        blocks += [
            Heading(3, f"{judged.label} against every other codec"),
            Table(["Against", *(LABELS[metric] for metric in metrics)], rows),
            Paragraph(
                "BD-rate of the averaged curves; in brackets the mean of the pictures' BD-rates, from the "
                "best to the worst picture, and how many they are where a curve does not rise or curves do "
                "not overlap on some."
            ),
        ]
        blocks += [*_worst_pictures(image_set, judged), *_device_speed(judged)]
    return blocks


def _device_speed(judged: Result) -> list[Block]:
    """Of the whole codec on a device that was asked for, out of the points' times."""
    device = judged.about.get("codec", {}).get("processor")
    timed = [p for p in judged.points if p.failure is None and min(p.encode_seconds, p.decode_seconds) > 0]
    if device is None or not timed:
        return []
    encode, decode = (
        statistics.median(8e-6 * point.bytes / point.bpp / getattr(point, name) for point in timed)
        for name in ("encode_seconds", "decode_seconds")
    )
    return [
        Paragraph(
            f"On {device}, entropy coder and transfers included: {encode:.1f} megapixels per second to "
            f"encode, {decode:.1f} to decode (medians over {len(timed)} files)."
        )
    ]


def _worst_pictures(image_set: ImageSet, judged: Result, count: int = 4) -> list[Block]:
    """The pictures where the judged codec does worst, and those where it does best."""
    anchor = image_set.find("avif-444-psnr") or image_set.find("avif") or image_set.find(ANCHOR)
    if anchor is None or anchor is judged:
        return []
    comparison = compare(anchor, judged, "psnr-rgb")
    if not comparison.images:
        return []
    ordered = comparison.worst(len(comparison.images))
    rows = [[name, *_image_cells(comparison.images[name])] for name in ordered]
    shown = [*ordered[:count], *ordered[-1:]]
    captions = [
        (f"{name}: {comparison.images[name].percent:+.1f} %", image_set.thumbnails.get(name, ""))
        for name in shown
    ]
    return [
        Heading(3, f"{judged.label} against {anchor.label}, picture by picture"),
        Paragraph(f"The {count} pictures where it does worst, and the one where it does best:"),
        Pictures(captions),
        Table(["Picture", "BD-rate", "PSNR compared"], rows),
    ]


def _agreement_table(image_set: ImageSet) -> list[Block]:
    found = agreements(image_set.measured, image_set.published)
    if not found:
        return []
    rows = [
        [a.measured, a.published, f"{a.percent:+.1f} %", f"{a.low:.1f} to {a.high:.1f} dB"] for a in found
    ]
    return [
        Heading(3, "Agreement with published curves"),
        Table(["Measured here", "Published", "BD-rate", "PSNR compared"], rows),
    ]


def _failures(image_set: ImageSet) -> list[Block]:
    rows = [
        [result.label, point.image, f"{point.quality:g}", point.failure or ""]
        for result in image_set.measured
        for point in result.failures
    ]
    differing = [
        (result, point) for result in image_set.measured for point in result.points if point.peak_difference
    ]
    blocks: list[Block] = [Heading(3, "Failures")]
    blocks.append(
        Table(["Codec", "Picture", "Quality", "What went wrong"], rows)
        if rows
        else Paragraph(
            "None: every file was decoded twice, to the size of its source and to the same pixels, as far as "
            "the codec's tolerance asks for (aecodec: one level between machines; the others: none)."
        )
    )
    if differing:
        blocks.append(Paragraph(_difference_sentence(differing)))
    return blocks


def _difference_sentence(differing: Sequence[tuple[Result, Point]]) -> str:
    peak = max(point.peak_difference for _, point in differing)
    labels = ", ".join(sorted({result.label for result, _ in differing}))
    changes = [
        abs(point.psnr_again - point.metrics["psnr-rgb"])
        for _, point in differing
        if point.psnr_again is not None and "psnr-rgb" in point.metrics
    ]
    change = f", and changed the PSNR by {max(changes):.4f} dB at most" if changes else ""
    return f"Two decodings differed by up to {peak} levels in {len(differing)} files ({labels}){change}."


def _provenance(image_set: ImageSet) -> list[Block]:
    rows = []
    for result in image_set.measured:
        run = result.about.get("run", {})
        codec = result.about.get("codec", {})
        settings = ", ".join(f"{key} {value}" for key, value in codec.get("settings", {}).items())
        if "processor" in codec:
            settings += f", processor {codec['processor']}"
        model = codec.get("model_id", "")
        rows.append([result.label, result.description, settings, model, str(run.get("commit", ""))[:12]])
    runs = [result.about["run"] for result in image_set.measured if "run" in result.about]
    commands = sorted({str(run["command"]) for run in runs})
    machines = sorted({_machine(run["machine"]) for run in runs})
    blocks: list[Block] = [
        Heading(3, "How it was measured"),
        Table(["Codec", "Libraries", "Settings", "Model", "Commit"], rows),
        Paragraph("Commands: " + "; ".join(commands)),
        Paragraph("Machines: " + "; ".join(machines)),
    ]
    sources = [[r.label, r.description, str(r.about.get("source", ""))] for r in image_set.published]
    if sources:
        blocks += [Heading(3, "Published curves"), Table(["Codec", "What", "Source"], sources)]
    return blocks


def speed_blocks(speed: Mapping[str, Any], drawn: list[plots.Plot]) -> list[Block]:
    """Tables and plots of a speed file."""
    run = speed["run"]
    blocks: list[Block] = [
        Heading(2, "Speed"),
        Paragraph(
            f"{_machine(run['machine'])}; {run['date']}, commit {str(run['commit'])[:12]}, {run['command']}. "
            f"{speed['pictures']}. Whole processes: {speed['processes']} Times are medians; in brackets "
            "least and most, and the number of runs."
        ),
    ]
    loads = [row["load"] for row in speed["rows"]]
    blocks.append(Paragraph(f"Load average before each row: {min(loads)} to {max(loads)}."))
    for mode, title in (("in-process", "Calls inside a process"), ("process", "Whole processes")):
        for cores in sorted({row["cores"] for row in speed["rows"]}):
            rows = [row for row in speed["rows"] if row["mode"] == mode and row["cores"] == cores]
            if not rows:
                continue
            suffix = f"{cores} core" + ("s" if cores != 1 else "")
            blocks += [Heading(3, f"{title}, {suffix}"), _speed_table(rows)]
            if cores != max(row["cores"] for row in speed["rows"]):
                continue
            for operation in ("encode", "decode"):
                name = f"speed-{mode}-{cores}-{operation}"
                plot = plots.seconds_per_megapixel(name, f"{title}, {suffix}: {operation}", rows, operation)
                blocks.append(_figure(plot, f"{title}, {suffix}: {operation}", drawn))
    return blocks


def _speed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    header = ["Codec", "MP", "encode", "MP/s", "decode", "MP/s", "peak memory", "bpp", "PSNR-RGB"]
    cells = []
    for row in rows:
        start = [row["label"], row["size"]]
        if "skipped" in row or "failure" in row:
            cells.append(
                [*start, str(row.get("skipped") or "FAILED: " + row["failure"]), *[""] * (len(header) - 3)]
            )
            continue
        peak = row.get("peak_mib") or max(row["peak_mib_encode"], row["peak_mib_decode"])
        timed = []
        for operation in ("encode", "decode"):
            times = row[operation]
            timed += [
                f"{times['median']:.3g} s ({times['least']:.3g} to {times['most']:.3g}, {times['repeats']})",
                f"{row['megapixels'] / times['median']:.3g}",
            ]
        bpp = 8 * row["bytes"] / (row["megapixels"] * 1e6)
        psnr = f"{row['psnr-rgb']:.2f}" if "psnr-rgb" in row else ""
        cells.append([*start, *timed, f"{peak:.0f} MiB", f"{bpp:.2f}", psnr])
    return Table(header, cells)


def device_blocks(device: Mapping[str, Any]) -> list[Block]:
    """The table of one device file (see :mod:`bench.device`)."""
    header = [
        "Size",
        "Precision",
        "Graph",
        "MP/s with transfers",
        "MP/s without",
        "PSNR less that on the CPU",
    ]
    rows = [
        [
            f"{row['width']}x{row['height']}",
            row["precision"],
            row["operation"],
            f"{row['with_transfers']:.1f}",
            f"{row['without_transfers']:.1f}" if row.get("without_transfers") else "",
            f"{row['psnr_difference']:+.5f} dB" if row.get("psnr_difference") is not None else "",
        ]
        for row in device.get("rows", [])
    ]
    run = device["run"]
    return [
        Heading(2, f"Device: {device['device']}"),
        Paragraph(
            f"{device['framework']}; {_machine(run['machine'])}; {run['command']}; "
            f"commit {run['commit'][:12]}. The graphs by themselves, without the entropy coder, which runs "
            f"on the CPU; medians. {device.get('note', '')}".strip()
        ),
        Table(header, rows),
    ]


def _figure(plot: plots.Plot, caption: str, drawn: list[plots.Plot]) -> Figure:
    drawn.append(plot)
    return Figure(plot.name, caption, plot.png)


def _percent(average: BdRate | None) -> str:
    return "" if average is None else f"{average.percent:+.1f} %"


def _range_of(average: BdRate | None) -> str:
    return "" if average is None else f"{average.low:.1f} to {average.high:.1f} dB"


def _mean_of(comparison: Comparison | None) -> str:
    if comparison is None or comparison.mean is None or comparison.spread is None:
        return ""
    return f"{comparison.mean:+.1f} ± {comparison.spread[0]:.1f} %"


def _both(comparison: Comparison, pictures: int) -> str:
    text = _percent(comparison.average)
    if comparison.mean is None or comparison.spread is None:
        return text
    _, least, most = comparison.spread
    count = len(comparison.images)
    of = "" if count == pictures else f", {count} of {pictures} pictures"
    return f"{text} ({comparison.mean:+.1f} %, {least:+.1f} to {most:+.1f}{of})"


def _image_cells(average: BdRate) -> list[str]:
    return [_percent(average), _range_of(average)]


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}"
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content
