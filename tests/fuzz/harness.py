"""Runs executions, bounds the time and the memory of each, and reports."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

#: Executions after which memory may not grow any more.
WARM_UP = 300
_WATCHED_TOGETHER = 64
_HANG_SECONDS = 600.0


class Finding(Exception):
    """What was promised does not hold for this input."""


@dataclass(frozen=True)
class Bounds:
    """Of one execution: seconds of processor time; of all after the first: growth of the peak of memory."""

    seconds: float
    megabytes: float


@dataclass
class Report:
    """What a run found. ``outcomes`` counts how the executions ended."""

    executions: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    growth: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.executions} executions in {self.seconds:.0f} s, the slowest {self.slowest * 1000:.0f} ms "
            f"of processor time, {self.growth:.0f} MiB of growth, {len(self.failures)} failures",
            *(f"  {count:9d} {name}" for name, count in self.outcomes.most_common()),
            *self.failures,
        ]
        return "\n".join(lines)


#: Makes the input of an execution, and examines it; the result is a name for what happened.
Make = Callable[[Random], bytes]
Examine = Callable[[bytes, Random], str]


def run(
    make: Make,
    examine: Examine,
    bounds: Bounds,
    *,
    executions: int,
    seed: int = 0,
    first: int = 0,
    failures: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run executions ``first`` .. ``first + executions - 1`` of a seed; stop after ten failures."""
    report = Report()
    began = told = time.monotonic()
    descriptors, threads, peak = _descriptors(), threading.active_count(), 0.0
    try:
        for number in range(first, first + executions):
            if report.executions % _WATCHED_TOGETHER == 0:
                faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
            if report.executions == min(WARM_UP, executions // 2):
                peak = _peak_megabytes()
            _execute(make, examine, bounds, f"{seed}/{number}", report, failures)
            report.executions += 1
            if len(report.failures) >= 10:
                break
            if time.monotonic() - told > 30:
                told = time.monotonic()
                tell(f"{report.executions}/{executions}, {len(report.failures)} failures")
    finally:
        faulthandler.cancel_dump_traceback_later()
    report.seconds = time.monotonic() - began
    report.growth = _peak_megabytes() - peak
    if report.growth > bounds.megabytes:
        report.failures.append(f"memory grew by {report.growth:.0f} MiB; allowed are {bounds.megabytes:.0f}")
    if _descriptors() > descriptors or threading.active_count() > threads:
        report.failures.append(f"left: {_descriptors()} descriptors, {threading.active_count()} threads")
    return report


def _execute(
    make: Make, examine: Examine, bounds: Bounds, name: str, report: Report, failures: Path | None
) -> None:
    random = Random(name)
    data = make(random)
    start = time.process_time()
    try:
        report.outcomes[examine(data, random)] += 1
        spent = time.process_time() - start
        report.slowest = max(report.slowest, spent)
        if spent > bounds.seconds:
            raise Finding(f"{spent:.2f} s of processor time; allowed are {bounds.seconds} s")
    except Exception:
        path = ""
        if failures is not None:
            failures.mkdir(parents=True, exist_ok=True)
            target = failures / f"{name.replace('/', '-')}.aec"
            target.write_bytes(data)
            path = f" ({target})"
        report.failures.append(f"execution {name}{path}:\n{traceback.format_exc(limit=-6)}")


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def main(description: str, make: Make, examine: Examine, bounds: Bounds) -> None:
    """The command line of a harness."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this execution again")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    report = run(
        make,
        examine,
        bounds,
        executions=arguments.executions if arguments.only is None else 1,
        seed=arguments.seed,
        first=arguments.only or 0,
        failures=arguments.failures,
        tell=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(report)
    sys.exit(bool(report.failures))
