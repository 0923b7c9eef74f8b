"""Speed: whole processes and calls inside one, on one core and on several, on small pictures and large ones.

Every row is one codec on one picture with a number of cores: seconds of each repetition, their median and
spread, peak memory of the process, and the machine's load before. All rows of a file come from one kind of
processor; those of one picture are measured one after the other, so that ratios between codecs are of the
same minutes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cache import CACHE, fingerprint
from bench.codecs import Codec
from bench.images import SIZES, ImageFile, speed_picture
from bench.machine import ROOT, describe_run, processor
from bench.robustness.child import Usage, environment

DEFAULT_CODECS = "aecodec,jpeg,webp,avif,jpegxl,heic"
"""What ``speed`` measures when nothing else is asked for: one setting per format that people use."""


@dataclass(frozen=True)
class SpeedPlan:
    """What to time.

    Attributes:
        codecs: which, each at its typical quality.
        images: small pictures that the large ones are made of.
        sizes: keys of :data:`bench.images.SIZES`.
        cores: numbers of cores.
        repeats: repetitions of everything, at most.
        budget: seconds after which nothing is repeated once more; what took longer is not tried on larger
            pictures.
        model: model of aecodec.
    """

    codecs: tuple[Codec, ...]
    images: tuple[ImageFile, ...]
    sizes: tuple[str, ...]
    cores: tuple[int, ...]
    repeats: int = 5
    budget: float = 30.0
    model: str | None = None


@dataclass(frozen=True)
class Job:
    """One row to measure."""

    codec: Codec
    size: str
    cores: int
    mode: str

    def __str__(self) -> str:
        return f"{self.codec.name} {self.size} MP, {self.cores} cores, {self.mode}"


def run(
    plan: SpeedPlan, report: Callable[[int, int, str], None], *, fresh: bool = False, cache: Path = CACHE
) -> dict[str, Any]:
    """Measure all rows that are not yet in the cache.

    Args:
        plan: what to time.
        report: called with (done, total, what) after each row.
        fresh: measure everything in the plan again.
        cache: folder of finished rows.

    Returns:
        The content of a result file: ``run``, ``codecs``, ``pictures``, ``rows``. The rows are those of the
        plan, and behind them finished ones of the same codecs in the same state at other sizes and numbers
        of cores.
    """
    memory = cache / "speed.jsonl"
    known = _read(memory)
    jobs = _jobs(plan, plan.sizes, plan.cores)
    if fresh:
        planned = {_key(plan, job) for job in jobs}
        known = {key: row for key, row in known.items() if key not in planned}
        memory.unlink(missing_ok=True)
        for key, row in known.items():
            _append(memory, key, row)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = _Pictures(plan, Path(folder))
        for job in jobs:
            key = _key(plan, job)
            if key not in known:
                known[key] = _row(plan, job, pictures, rows)
                _append(memory, key, known[key])
            rows.append(known[key])
            report(len(rows), len(jobs), str(job))
    others = [
        job for job in _jobs(plan, tuple(SIZES), range(1, 1 + (os.cpu_count() or 1))) if job not in jobs
    ]
    rows += [known[key] for key in (_key(plan, job) for job in others) if key in known]
    return {
        "run": {**describe_run(), "repeats": plan.repeats, "budget": plan.budget},
        "codecs": {
            codec.name: {"versions": dict(codec.versions()), **codec.identity()} for codec in plan.codecs
        },
        "pictures": "Kodak's landscape pictures side by side at their own resolution, mirrored from the "
        "second round on: "
        + ", ".join(f"{size} MP = {width}x{height}" for size, (width, height) in SIZES.items()),
        "processes": "aecodec: its command line; other codecs: a Python script with the same library (PPM in "
        "and out).",
        "rows": rows,
    }


def _jobs(plan: SpeedPlan, sizes: Sequence[str], cores: Sequence[int]) -> list[Job]:
    return [
        Job(codec, size, count, mode)
        for size in sizes
        for count in cores
        for mode in ("in-process", "process")
        for codec in plan.codecs
    ]


class _Pictures:
    """Makes the picture of a size when it is first asked for, as a PPM file."""

    def __init__(self, plan: SpeedPlan, folder: Path) -> None:
        self._plan = plan
        self.folder = folder

    def path(self, size: str) -> Path:
        from PIL import Image

        path = self.folder / f"{size}.ppm"
        if not path.exists():
            Image.fromarray(speed_picture(size, self._plan.images)).save(path)
        return path


def _row(plan: SpeedPlan, job: Job, pictures: _Pictures, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import psutil

    row: dict[str, Any] = {
        "codec": job.codec.name,
        "label": job.codec.label,
        "quality": job.codec.typical,
        "megapixels": SIZES[job.size][0] * SIZES[job.size][1] / 1e6,
        "size": job.size,
        "cores": job.cores,
        "mode": job.mode,
        "load": round(psutil.getloadavg()[0], 2),
    }
    slow = next((r for r in rows if _same_but_size(r, row) and _too_slow(r, plan)), None)
    if slow is not None:
        return {**row, "skipped": f"took longer than {plan.budget:g} s at {slow['size']} MP"}
    try:
        measured = (
            _in_process(plan, job, pictures) if job.mode == "in-process" else _process(plan, job, pictures)
        )
    except (subprocess.CalledProcessError, OSError) as error:
        return {**row, "failure": _message(error)}
    return {**row, **measured}


def _message(error: subprocess.CalledProcessError | OSError) -> str:
    """The end of what a process printed, or else the error's own words."""
    said = getattr(error, "stderr", None) or str(error)
    return (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip()[-400:]


def _in_process(plan: SpeedPlan, job: Job, pictures: _Pictures) -> dict[str, Any]:
    request = {
        "codec": job.codec,
        "quality": job.codec.typical,
        "picture": str(pictures.path(job.size)),
        "repeats": plan.repeats,
        "budget": plan.budget,
    }
    cores = ",".join(map(str, _core_numbers(job.cores)))
    command = [sys.executable, "-m", "bench.speed_worker", cores]
    result = subprocess.run(command, input=pickle.dumps(request), capture_output=True, check=True, cwd=ROOT)
    answer = json.loads(result.stdout)
    return {
        "bytes": answer["bytes"],
        "psnr-rgb": round(answer["psnr-rgb"], 3),
        "encode": summary(answer["encode"]),
        "decode": summary(answer["decode"]),
        "peak_mib": answer["peak_mib"],
        "peak_mib_before": answer["peak_mib_before"],
    }


def _process(plan: SpeedPlan, job: Job, pictures: _Pictures) -> dict[str, Any]:
    source, packed = pictures.path(job.size), pictures.folder / "packed"
    files = {"encode": (source, packed), "decode": (packed, pictures.folder / "again.ppm")}
    row: dict[str, Any] = {}
    for operation, (first, second) in files.items():
        command = job.codec.command(operation, job.codec.typical, first, second)
        seconds: list[float] = []
        processor: list[float] = []
        peak = 0.0
        while len(seconds) < plan.repeats and sum(seconds) <= plan.budget:
            second.unlink(missing_ok=True)
            usage = _timed(command, job.cores)
            seconds.append(usage.seconds)
            processor.append(usage.processor_seconds)
            peak = max(peak, usage.peak_mib)
        row[operation] = summary(seconds)
        row[f"processor_seconds_{operation}"] = round(statistics.median(processor), 3)
        row[f"peak_mib_{operation}"] = peak
    row["bytes"] = packed.stat().st_size
    return row


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, least and most of some repetitions, with their number."""
    return {
        "median": round(statistics.median(seconds), 5),
        "least": round(min(seconds), 5),
        "most": round(max(seconds), 5),
        "repeats": len(seconds),
    }


def _timed(command: Sequence[str], cores: int) -> Usage:
    """Run a process on some cores; time and memory are its own (see :mod:`bench.robustness.child`)."""
    numbers = _core_numbers(cores)

    def choose_cores() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, numbers)  # of the launcher, which hands it down

    launcher = [sys.executable, "-m", "bench.robustness.child", *command]
    result = subprocess.run(
        launcher, capture_output=True, text=True, check=True, env=environment(), preexec_fn=choose_cores
    )
    return Usage(**json.loads(result.stdout.splitlines()[-1]))


def _core_numbers(count: int) -> list[int]:
    """The first cores that this process may use."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    return allowed[:count]


def _same_but_size(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(row[key] == other[key] for key in ("codec", "cores", "mode"))


def _too_slow(row: dict[str, Any], plan: SpeedPlan) -> bool:
    if "skipped" in row:
        return True
    return any(row[name]["least"] > plan.budget for name in ("encode", "decode") if name in row)


def _key(plan: SpeedPlan, job: Job) -> str:
    state = [fingerprint(job.codec), processor(), job.size, job.cores, job.mode]
    state += [job.codec.typical, plan.repeats, plan.budget, plan.model]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return dict(_entries(path)) if path.exists() else {}


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
            yield entry["key"], entry["row"]
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a run that was killed while writing


def _append(path: Path, key: str, row: dict[str, Any]) -> None:
    if "failure" in row:
        return  # tried again next time
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"key": key, "row": row}) + "\n")
