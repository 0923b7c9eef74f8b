"""Finished points on disk, so that a run can be interrupted and goes on where it was.

One file of JSON lines per codec and state of it: settings, library versions, model and source code, that of
the metrics included, are in its name's hash, so that points of another state are not mistaken for this one's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from bench import codecs, metrics
from bench.codecs import Codec
from bench.machine import ROOT
from bench.results import Point

CACHE = ROOT / "bench" / "cache"
_FORMAT = 1


class PointCache:
    """The finished points of one codec.

    Args:
        codec: whose points.
        folder: where the files are.
    """

    def __init__(self, codec: Codec, folder: Path = CACHE) -> None:
        state = f"{fingerprint(codec)} {source_digest(metrics)} {metrics.versions()}"
        self._path = folder / f"{codec.name}-{hashlib.sha256(state.encode()).hexdigest()[:12]}.jsonl"
        self._points = self._read()

    def get(self, image_sha256: str, quality: float, metrics: Sequence[str]) -> Point | None:
        """A finished point that has all the metrics, or None. Failures are measured again."""
        point = self._points.get((image_sha256, quality))
        if point is None or point.failure is not None or not set(metrics) <= set(point.metrics):
            return None
        return point

    def add(self, image_sha256: str, point: Point) -> None:
        """Keep a point, on disk at once."""
        self._points[image_sha256, point.quality] = point
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps({"sha256": image_sha256, **point.to_row()}) + "\n")

    def clear(self) -> None:
        """Forget all points."""
        self._points.clear()
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[tuple[str, float], Point]:
        points = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                try:
                    row = json.loads(line)
                    key = (row.pop("sha256"), row["quality"])
                    points[key] = Point.from_row(row)
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed while writing
        return points


def fingerprint(codec: Codec) -> str:
    """A hash of everything that a codec's files and pixels depend on besides picture and quality."""
    state = {
        "format": _FORMAT,
        "class": type(codec).__name__,
        "settings": codec.settings(),
        "versions": codec.versions(),
        "identity": codec.identity(),
        "source": [source_digest(codecs.base), source_digest(sys.modules[type(codec).__module__])],
    }
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[:12]


@functools.lru_cache(maxsize=32)
def source_digest(module: ModuleType) -> str:
    """SHA-256 of a module's file."""
    return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
