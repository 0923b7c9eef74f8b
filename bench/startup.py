"""How long aecodec's small commands take, as whole processes: what a person waits for at a prompt."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.machine import ROOT, describe_run
from bench.robustness.child import aecodec_command, measure
from bench.speed import summary

DEMO = ROOT / "aecodec" / "cli" / "demo.png"


def measure_all(repeats: int) -> dict[str, Any]:
    """Time ``--help``, ``--version`` and ``info`` of a file.

    Args:
        repeats: of each.

    Returns:
        The content of a result file: ``run`` and ``rows`` with the median, least and most in seconds.

    Raises:
        bench.robustness.child.ChildError: a command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        packed = str(Path(folder, "demo.aec"))
        measure(aecodec_command("compress", str(DEMO), "-o", packed, "--quiet"))
        commands = {"--help": ["--help"], "--version": ["--version"], "info FILE": ["info", packed]}
        rows = [
            {"command": name, **_row(arguments, repeats)} for name, arguments in commands.items()
        ]  # fmt: skip
    return {"run": describe_run(), "rows": rows}


def _row(arguments: list[str], repeats: int) -> dict[str, Any]:
    usages = [measure(aecodec_command(*arguments)) for _ in range(repeats)]
    return {
        **summary([usage.seconds for usage in usages]),
        "processor_seconds": min(usage.processor_seconds for usage in usages),
        "peak_mib": max(usage.peak_mib for usage in usages),
    }
