"""The same bytes and pixels from several threads at once, from run to run, and with any number of jobs."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.images import ImageFile, load
from bench.robustness.child import aecodec_command, measure
from bench.robustness.kill import contents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

QUALITIES = (10, 50, 90)


@dataclass(frozen=True)
class ThreadsPlan:
    """What to compare.

    Attributes:
        images: pictures.
        model: of aecodec; None for the default.
        threads: at once.
        rounds: how often each picture passes through each quality.
        jobs: numbers of jobs of whole runs; each is run twice.
        chunk_side: pixels; small, so that one picture has several chunks.
    """

    images: Sequence[ImageFile]
    model: str | None
    threads: int = 8
    rounds: int = 2
    jobs: Sequence[int] = (1, 2, 4)
    chunk_side: int = 256


def run(plan: ThreadsPlan, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Compare threads with one thread, and whole runs with one another."""
    tasks = [(image.name, load(image.path), quality) for image in plan.images for quality in QUALITIES]
    expected = [_digests(plan, pixels, quality, 1) for _, pixels, quality in tasks]
    order = [index for index in range(len(tasks)) for _ in range(plan.rounds)]
    random.Random(0).shuffle(order)
    rows: list[dict[str, Any]] = []
    total = len(order) + 2 * len(plan.jobs)

    def work(position: int) -> tuple[int, int, tuple[str, str]]:
        index, jobs = order[position], 1 + position % 4
        return index, jobs, _digests(plan, tasks[index][1], tasks[index][2], jobs)

    with ThreadPoolExecutor(plan.threads) as pool:
        for index, jobs, found in pool.map(work, range(len(order))):
            name, _, quality = tasks[index]
            same = [one == other for one, other in zip(found, expected[index], strict=True)]
            rows.append(
                {"image": name, "quality": quality, "jobs": jobs, "bytes": same[0], "pixels": same[1]}
            )
            report(len(rows), total, f"{name} at {quality}")
    runs = _whole_runs(plan, lambda done: report(len(order) + done, total, "whole runs"))
    return {
        "what": f"{len(order)} encodings and decodings from {plan.threads} threads with 1 to 4 jobs "
        f"each against one thread; folder runs with {', '.join(map(str, plan.jobs))} jobs, each twice",
        "bytes_identical": all(row["bytes"] for row in rows),
        "pixels_identical": all(row["pixels"] for row in rows),
        "runs_identical": len(set(runs)) == 1,
        "held": all(row["bytes"] and row["pixels"] for row in rows) and len(set(runs)) == 1,
        "rows": rows,
    }


def _digests(plan: ThreadsPlan, pixels: Pixels, quality: float, jobs: int) -> tuple[str, str]:
    """Hashes of a file's bytes and of its pixels."""
    import aecodec

    data = aecodec.encode(pixels, quality, model=plan.model, chunk_side=plan.chunk_side, jobs=jobs)
    decoded = aecodec.decode(data, model=plan.model, jobs=jobs)
    return hashlib.sha256(data).hexdigest(), hashlib.sha256(decoded.tobytes()).hexdigest()


def _whole_runs(plan: ThreadsPlan, report: Callable[[int], None]) -> list[str]:
    """A hash of all outputs of each run of the command line."""
    digests: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for jobs in [jobs for jobs in plan.jobs for _ in range(2)]:
            output = Path(name, str(len(digests)))
            files = [str(image.path) for image in plan.images]
            options = ["-o", f"{output}/", "-j", str(jobs), "--quiet"]
            measure(aecodec_command("compress", *files, *options, model=plan.model))
            digests.append(hashlib.sha256(repr(contents(output)).encode()).hexdigest())
            report(len(digests))
    return digests
