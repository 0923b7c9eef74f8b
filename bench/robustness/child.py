"""Run a command in a process of its own and tell how long it took and how much memory it held.

``python -m bench.robustness.child COMMAND...`` starts the command from a small process and prints JSON. The
detour matters: Linux counts what a process held before ``exec`` towards its peak, so a command that is
started from a process with a large picture in memory would seem to need that much itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class ChildError(Exception):
    """A command failed; the message is the end of what it printed."""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        seconds: wall time.
        processor_seconds: of all its threads, user and system.
        peak_mib: the most resident memory at once.
    """

    seconds: float
    processor_seconds: float
    peak_mib: float


def aecodec_command(*arguments: str, model: str | None = None) -> list[str]:
    """The command line of aecodec in this interpreter."""
    chosen = [] if model is None else ["--model", model]
    return [sys.executable, "-m", "aecodec", *arguments, *chosen]


def environment() -> dict[str, str]:
    """The environment in which a child finds this checkout, wherever it runs."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end.

    Raises:
        ChildError: it failed.
    """
    launcher = [sys.executable, "-m", "bench.robustness.child", *command]
    result = subprocess.run(launcher, capture_output=True, text=True, env=environment())
    if result.returncode != 0:
        raise ChildError(result.stderr.strip()[-1000:])
    return Usage(**json.loads(result.stdout.splitlines()[-1]))


def main(command: Sequence[str]) -> int:
    """Run the command, then print its :class:`Usage` as the last line."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    measured = {
        "seconds": round(time.perf_counter() - started, 3),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }
    print(json.dumps(measured))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
