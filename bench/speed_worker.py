"""``python -m bench.speed_worker CORES``: times one codec on one picture in this process.

A pickled job comes in, JSON goes out. The cores are chosen before anything else is imported, so that the
libraries' thread pools see no more of them.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Read a job from the standard input, write what was measured to the standard output."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
    print(json.dumps(_measure(pickle.load(sys.stdin.buffer))))


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    from pathlib import Path

    from bench.images import load
    from bench.metrics import psnr_rgb

    codec, pixels = job["codec"], load(Path(job["picture"]))
    crop = pixels[:256, :256].copy()
    codec.decode(codec.encode(crop, job["quality"]))  # imports and first-time work
    before = _peak_mib()
    data, encode_seconds = _repeat(lambda: codec.encode(pixels, job["quality"]), job)
    decoded, decode_seconds = _repeat(lambda: codec.decode(data), job)
    peak = _peak_mib()  # before the metric adds its own
    return {
        "bytes": len(data),
        "psnr-rgb": psnr_rgb(pixels, decoded),
        "encode": encode_seconds,
        "decode": decode_seconds,
        "peak_mib_before": before,
        "peak_mib": peak,
    }


def _repeat(function: Callable[[], Any], job: dict[str, Any]) -> tuple[Any, list[float]]:
    """Call a function up to ``repeats`` times, but not again once ``budget`` seconds have passed."""
    seconds: list[float] = []
    while True:
        started = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - started)
        if len(seconds) >= job["repeats"] or sum(seconds) > job["budget"]:
            return value, seconds


def _peak_mib() -> float:
    """The most resident memory since this program started.

    Linux' ``ru_maxrss`` counts what the parent held before ``exec``, too; ``VmHWM`` does not.
    """
    from pathlib import Path

    try:
        status = Path("/proc/self/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        kib = int(line.split()[1])
    except (OSError, ValueError):
        import resource

        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)


if __name__ == "__main__":
    main()
