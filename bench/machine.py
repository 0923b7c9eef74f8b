"""What a result was measured with: machine, load, versions, commit, command."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, and the load at this moment (1, 5 and 15 minutes)."""
    import psutil

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": [round(load, 2) for load in psutil.getloadavg()],
    }


def describe_run() -> dict[str, Any]:
    """Command line, date, commit and machine of this process."""
    return {
        "command": command_line(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": describe_machine(),
    }


def command_line() -> str:
    """The command that started this process, as it can be typed at the top of a checkout."""
    module = sys.modules["__main__"].__spec__
    name = "bench" if module is None else module.name.removesuffix(".__main__")
    return shlex.join(["python", "-m", name, *sys.argv[1:]])


def commit() -> str:
    """The commit of the checkout, with "+changes" when aecodec or bench differ from it; "unknown" outside of
    git.
    """
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "unknown"
    changes = _git("status", "--porcelain", "--", "aecodec", "bench/*.py", "bench/codecs")
    return head + ("+changes" if changes else "")


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """The name of the processor, read once."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
