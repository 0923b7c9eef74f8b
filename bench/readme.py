"""``python -m bench readme``: the commands behind README's figures, one after the other, each timed.

Left out is what takes long: the slow encoders (VVC, AVIF at speed 0, aecodec's efforts), pictures of 12
megapixels and more, and ``python -m bench.robustness``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import ROOT, describe_run
from bench.results import write_rows

TABLE_CODECS = "aecodec,jpeg,webp,avif,avif-444-psnr,jpegxl"
"""The rows of README's table."""
SPEED_CODECS = "aecodec,jpeg,webp,avif"


class ReadmeError(Exception):
    """A part is unknown or failed."""


@dataclass(frozen=True)
class Part:
    """One command.

    Attributes:
        name: to choose it by.
        arguments: of ``python -m bench``.
        figures: what in README comes from it.
        cached: whether it keeps finished points, which ``--fresh`` forgets.
    """

    name: str
    arguments: tuple[str, ...]
    figures: str
    cached: bool

    def command(self, fresh: bool) -> list[str]:
        """Arguments of ``python -m bench``, with ``--fresh`` where it has a meaning."""
        return [*self.arguments, *(["--fresh"] if fresh and self.cached else [])]

    def command_line(self, fresh: bool) -> str:
        """What a person would type."""
        return shlex.join(["python", "-m", "bench", *self.command(fresh)])


PARTS = (
    Part("startup", ("startup",), "seconds of `aecodec --help` and `aecodec info`", cached=False),
    Part(
        "speed",
        ("speed", "--sizes", "0.4,2", "--cores", "2", "--codecs", SPEED_CODECS),
        "the table of speed and memory",
        cached=True,
    ),
    Part(
        "rd", ("rd", "--codecs", TABLE_CODECS), "the table of BD-rates, SSIMULACRA 2, the plot", cached=True
    ),
    Part(
        "graphics",
        ("graphics", "--points", "6", "--codecs", "aecodec,webp,jpeg"),
        "text, drawings and screenshots against WebP",
        cached=True,
    ),
    Part("previews", ("previews",), "dB of previews, and their time", cached=False),
    Part("report", ("report",), "bench/report/: BD-rates and plot out of the results", cached=False),
)
"""Short parts first: what is wrong shows early. The report needs those before it."""


def choose(names: str | None) -> tuple[Part, ...]:
    """The named parts in the order in which they have to run; all for None.

    Raises:
        ReadmeError: a name is unknown.
    """
    wanted = {name.strip() for name in names.split(",")} if names else {part.name for part in PARTS}
    unknown = wanted - {part.name for part in PARTS}
    if unknown:
        known = ", ".join(part.name for part in PARTS)
        raise ReadmeError(f"Unknown parts: {', '.join(sorted(unknown))}. Known are: {known}.")
    return tuple(part for part in PARTS if part.name in wanted)


def run(parts: Sequence[Part], path: Path, *, fresh: bool, say: Callable[[str], object]) -> None:
    """Run parts, and write how long each took.

    Args:
        parts: in order.
        path: of the result file, which is written after each part.
        fresh: measure everything again.
        say: prints a line.

    Raises:
        ReadmeError: a part failed; those before it are in the file.
    """
    about = describe_run()
    rows: list[dict[str, Any]] = []
    for number, part in enumerate(parts, start=1):
        say(f"[{number}/{len(parts)}] {part.command_line(fresh)}")
        rows.append(_timed(part, fresh))
        write_rows({"run": about, "fresh": fresh, "rows": rows}, path)
        say(f"[{number}/{len(parts)}] {part.name}: {rows[-1]['seconds'] / 60:.1f} minutes")
        if rows[-1]["exit_code"] != 0:
            raise ReadmeError(f"{part.name} ended with exit code {rows[-1]['exit_code']}.")
    say(f"all: {sum(row['seconds'] for row in rows) / 60:.1f} minutes")


def _timed(part: Part, fresh: bool) -> dict[str, Any]:
    before, started = os.times(), time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "bench", *part.command(fresh)], cwd=ROOT, check=False)
    after = os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    return {
        "part": part.name,
        "command": part.command_line(fresh),
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor, 1),
        "exit_code": result.returncode,
    }
