"""What a rate-distortion run leaves behind: points, and files of them in CompressAI's form.

A result file is a JSON object with ``name``, ``description`` and ``results`` (lists over the points of the
averaged
curve: ``bpp``, ``psnr-rgb``, ``ms-ssim-rgb`` ...), which is what CompressAI writes and reads. Beside these
    stand ``rows`` (one per picture and quality, failures included) and where everything comes from
    (``codec``, ``images``, ``run``).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.bdrate import Curve, curve
from bench.machine import ROOT
from bench.metrics import on_rising_scale

RESULTS = ROOT / "bench" / "results"
PUBLISHED = ROOT / "bench" / "published"


@dataclass(frozen=True)
class Point:
    """One picture at one quality.

    Attributes:
        image: name of the picture.
        quality: the codec's setting.
        bytes: size of the whole file; 0 when encoding failed.
        bpp: bits per pixel of the whole file.
        metrics: values by the metric's name.
        encode_seconds, decode_seconds: wall time while ``--jobs`` other points were being measured.
        peak_difference: largest difference between the two decodings of the file, in levels.
        psnr_again: PSNR-RGB of the second decoding in dB, when it was not the same.
        failure: what went wrong, or None.
    """

    image: str
    quality: float
    bytes: int = 0
    bpp: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    peak_difference: int = 0
    psnr_again: float | None = None
    failure: str | None = None

    def to_row(self) -> dict[str, Any]:
        """A flat object for a result file."""
        row = {key: value for key, value in asdict(self).items() if key != "metrics" and value is not None}
        row.update(self.metrics)
        return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Point:
        """The mirror of :meth:`to_row`."""
        known = {name for name in cls.__dataclass_fields__ if name != "metrics"}
        fields = {key: value for key, value in row.items() if key in known}
        return cls(**fields, metrics={key: value for key, value in row.items() if key not in known})


@dataclass(frozen=True)
class Result:
    """A result file, or a published curve.

    Attributes:
        name: identifier: the file's name without its ending.
        label: what tables and plots call it.
        description: one line.
        averages: lists over the points of the averaged curve, by name; "bpp" among them.
        points: per picture; empty for published curves.
        about: everything else in the file.
        published: whether the curve was published elsewhere rather than measured here.
    """

    name: str
    label: str
    description: str
    averages: Mapping[str, Sequence[float]]
    points: Sequence[Point] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    published: bool = False

    @property
    def failures(self) -> list[Point]:
        """The points where something went wrong."""
        return [point for point in self.points if point.failure is not None]

    @property
    def images(self) -> list[str]:
        """Names of the pictures, in order."""
        return list(dict.fromkeys(point.image for point in self.points))

    def metrics(self) -> list[str]:
        """The measures that the averaged curve has."""
        return [
            name for name in self.averages if name not in {"bpp", "quality"} and not name.endswith("_time")
        ]

    def average_curve(self, metric: str) -> Curve:
        """The curve of the means over all pictures."""
        return curve(self.averages["bpp"], [on_rising_scale(metric, v) for v in self.averages[metric]])

    def image_curve(self, image: str, metric: str) -> Curve:
        """The curve of one picture."""
        points = [p for p in self.points if p.image == image and p.failure is None and metric in p.metrics]
        return curve([p.bpp for p in points], [on_rising_scale(metric, p.metrics[metric]) for p in points])


def averages(points: Sequence[Point]) -> dict[str, list[float]]:
    """Means over the pictures at each quality, in rising rate.

    A quality at which any picture failed is left out: a mean over fewer pictures could not be compared.
    """
    by_quality: dict[float, list[Point]] = {}
    for point in points:
        by_quality.setdefault(point.quality, []).append(point)
    whole = [group for group in by_quality.values() if all(point.failure is None for point in group)]
    whole.sort(key=lambda group: _mean(point.bpp for point in group))
    names = [
        name
        for name in (points[0].metrics if points else ())
        if all(name in p.metrics for g in whole for p in g)
    ]
    table: dict[str, list[float]] = {"quality": [group[0].quality for group in whole]}
    table["bpp"] = [_mean(point.bpp for point in group) for group in whole]
    for name in names:
        table[name] = [_mean(point.metrics[name] for point in group) for group in whole]
    table["encoding_time"] = [_mean(point.encode_seconds for point in group) for group in whole]
    table["decoding_time"] = [_mean(point.decode_seconds for point in group) for group in whole]
    return {key: [round(value, 6) for value in values] for key, values in table.items()}


def write_result(result: Result, folder: Path) -> Path:
    """Write ``<name>.json`` whole or not at all; the rows stand one to a line."""
    head = {
        "name": result.label,
        "description": result.description,
        "results": result.averages,
        **result.about,
    }
    path = folder / f"{result.name}.json"
    write_rows({**head, "rows": [point.to_row() for point in result.points]}, path)
    return path


def read_result(path: Path, *, published: bool = False) -> Result:
    """Read a result file or a published curve."""
    content = json.loads(path.read_text())
    known = {"name", "description", "results", "rows"}
    return Result(
        name=path.stem,
        label=content["name"],
        description=content.get("description", ""),
        averages=content["results"],
        points=[Point.from_row(row) for row in content.get("rows", [])],
        about={key: value for key, value in content.items() if key not in known},
        published=published,
    )


def read_results(folder: Path, *, published: bool = False) -> list[Result]:
    """All curves in a folder, sorted by name."""
    paths = sorted(folder.glob("*.json"))
    contents = [(path, json.loads(path.read_text())) for path in paths]
    return [read_result(path, published=published) for path, content in contents if "results" in content]


def write_rows(content: Mapping[str, Any], path: Path) -> None:
    """Write an object with ``rows`` as JSON, whole or not at all, one row to a line."""
    rows = ",\n".join("  " + json.dumps(row) for row in content["rows"])
    head = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items() if key != "rows"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "{\n" + ",\n".join([*head, f' "rows": [\n{rows}\n ]']) + "\n}\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.close()
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
