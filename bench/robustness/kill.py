"""Folder runs that are killed at random moments: what is there is whole, and the same command goes on."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.images import ImageFile, load
from bench.robustness.child import ChildError, aecodec_command, environment

_POLL_SECONDS = 0.005
_MARKED_SECONDS = 0.3
"""A run leaves temporary files alone that are younger: they may be another run's that has just begun."""


@dataclass(frozen=True)
class KillPlan:
    """What to kill.

    Attributes:
        images: what the folder's pictures are cut out of.
        model: of aecodec; None for the default.
        runs: runs that are killed; one that ends before its moment does not count.
        files: pictures in the folder, in three folders below it.
        side: pixels, of each picture.
        jobs: of each run.
        seed: of the moments.
    """

    images: Sequence[ImageFile]
    model: str | None
    runs: int = 100
    files: int = 6
    side: int = 256
    jobs: int = 2
    seed: int = 0


def run(plan: KillPlan, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Kill, look at what is left, run again, compare with a run that nobody disturbed."""
    moments = random.Random(plan.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "pictures"
        write_pictures(plan, source)
        started = time.monotonic()
        _complete(plan, source, folder / "reference")
        usual = time.monotonic() - started
        reference = contents(folder / "reference")
        rows: list[dict[str, Any]] = []
        too_late = 0
        while len(rows) < plan.runs:
            output = folder / f"run{len(rows)}-{too_late}"
            row = _kill_once(plan, source, output, moments, usual)
            if row is None:
                too_late += 1
                continue
            row |= _inspect(output, reference)
            time.sleep(_MARKED_SECONDS)
            _complete(plan, source, output)
            after = _inspect(output, reference)
            row["completed"] = after["whole"] == len(reference) and not after["broken"]
            row["left"] = after["temporary"]
            rows.append(row)
            report(len(rows), plan.runs, f"killed after {row['seconds']} s")
    return {
        "what": f"{plan.runs} folder runs ({plan.files} pictures of {plan.side}x{plan.side}, {plan.jobs} "
        "jobs) killed by SIGKILL, each looked at and then completed by the same command",
        "seconds_undisturbed": round(usual, 3),
        "ended_before_the_kill": too_late,
        "outputs_found_after_kills": sum(row["whole"] for row in rows),
        "outputs_not_whole": sum(row["broken"] for row in rows),
        "unfinished_temporary_files": sum(row["temporary"] for row in rows),
        "runs_completed": sum(row["completed"] for row in rows),
        "temporary_files_left_then": sum(row["left"] for row in rows),
        "held": all(row["completed"] and not row["broken"] and not row["left"] for row in rows),
        "rows": rows,
    }


def write_pictures(plan: KillPlan, folder: Path) -> None:
    """The folder that is compressed: squares out of the pictures, in a small tree."""
    from PIL import Image

    for number in range(plan.files):
        pixels = load(plan.images[number % len(plan.images)].path)
        part = pixels[: plan.side, number : number + plan.side]
        path = folder / ("", "a", "b/c")[number % 3] / f"picture{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(part).save(path)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their path, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _command(plan: KillPlan, source: Path, output: Path) -> list[str]:
    options = ["-r", str(source), "-o", str(output), "-j", str(plan.jobs), "--quiet"]
    return aecodec_command("compress", *options, model=plan.model)


def _complete(plan: KillPlan, source: Path, output: Path) -> None:
    result = subprocess.run(_command(plan, source, output), capture_output=True, text=True, env=environment())
    if result.returncode != 0:
        raise ChildError(result.stderr.strip()[-1000:])


def _kill_once(
    plan: KillPlan, source: Path, output: Path, moments: random.Random, usual: float
) -> dict[str, Any] | None:
    """One killed run; None if it ended before.

    Every other run is killed at any moment of its usual time, the others after their first file has
    appeared: starting takes most of the time of a short run, and nothing can break there.
    """
    while_writing = moments.random() < 0.5
    delay = moments.uniform(0, usual)
    started = time.monotonic()
    process = subprocess.Popen(
        _command(plan, source, output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    while while_writing and process.poll() is None and not contents(output):
        time.sleep(_POLL_SECONDS)
    if while_writing:
        delay = time.monotonic() - started + moments.uniform(0, usual / 3)
    time.sleep(max(0.0, started + delay - time.monotonic()))
    process.kill()
    ended_before = process.wait() == 0
    if ended_before:
        return None
    return {"seconds": round(time.monotonic() - started, 3), "while_writing": while_writing}


def _inspect(output: Path, reference: Mapping[str, bytes]) -> dict[str, int]:
    """Count the outputs that are whole, those that are not, and the temporary files."""
    found = contents(output)
    temporary = [name for name in found if Path(name).name.startswith(".") and name.endswith(".part")]
    outputs = {name: data for name, data in found.items() if name not in temporary}
    whole = [name for name, data in outputs.items() if reference.get(name) == data]
    return {"whole": len(whole), "broken": len(outputs) - len(whole), "temporary": len(temporary)}
