"""What a run over several files reports: one line a file, a summary, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from aecodec._version import __version__
from aecodec.cli.exits import Failure, combined_exit_code
from aecodec.cli.files import STDIO, Job

Status = Literal["done", "partial", "skipped", "failed"]


@dataclass(frozen=True)
class Result:
    """What a command's work on one file brought.

    Attributes:
        bytes_before: bytes of the input.
        bytes_after: bytes of the output; 0 for a command without outputs.
        details: what else the JSON report says of this file.
        notes: what the user should know, such as a target that was out of reach.
        partial: whether the input was truncated and the output holds only a part.
        lines: what a command without outputs prints about the file.
    """

    bytes_before: int
    bytes_after: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partial: bool = False
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One file of a run, finished in one way or another."""

    job: Job
    status: Status
    seconds: float = 0.0
    result: Result | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class RunReport:
    """All files of one run, in the order in which they were named."""

    command: str
    outcomes: Sequence[Outcome]
    seconds: float

    def count(self, status: Status) -> int:
        """Number of files that ended so."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        failures = [outcome.failure for outcome in self.outcomes if outcome.failure is not None]
        return combined_exit_code(failures, any_partial=self.count("partial") > 0)

    @property
    def bytes_before(self) -> int:
        """Bytes of the inputs that were worked on with success."""
        return sum(outcome.result.bytes_before for outcome in self.outcomes if outcome.result is not None)

    @property
    def bytes_after(self) -> int:
        """Bytes of the outputs that were written."""
        return sum(outcome.result.bytes_after for outcome in self.outcomes if outcome.result is not None)

    def to_json(self) -> str:
        """The report as a JSON object, ASCII only, with a final newline left to the caller."""
        report = {
            "command": self.command,
            "version": __version__,
            "files": [_outcome_object(outcome) for outcome in self.outcomes],
            "summary": {
                "files": len(self.outcomes),
                **{status: self.count(status) for status in ("done", "partial", "skipped", "failed")},
                "bytes_before": self.bytes_before,
                "bytes_after": self.bytes_after,
                "seconds": round(self.seconds, 3),
            },
            "exit_code": self.exit_code,
        }
        return json.dumps(report, indent=2)

    def summary_lines(self) -> list[str]:
        """The end of a run over several files: counts, bytes, and the failures by name."""
        written = self.count("done") + self.count("partial")
        counts = [f"{written} of {len(self.outcomes)} files {self.command}ed"]
        rest: dict[Status, str] = {
            "partial": "in part",
            "skipped": "kept (output exists)",
            "failed": "failed",
        }
        counts += [f"{number} {words}" for status, words in rest.items() if (number := self.count(status))]
        lines = [", ".join(counts) + f", {self.seconds:.1f} s"]
        if self.bytes_before and self.bytes_after:
            lines.append(byte_change(self.bytes_before, self.bytes_after))
        failed = [outcome for outcome in self.outcomes if outcome.failure is not None]
        lines += [f"failed: {outcome.job.source_name}" for outcome in failed]
        return lines


def byte_change(before: int, after: int) -> str:
    """For instance ``1,000 -> 250 bytes (25.0 %)``."""
    share = f" ({100 * after / before:.1f} %)" if before else ""
    return f"{before:,} -> {after:,} bytes{share}"


def file_line(outcome: Outcome) -> str:
    """One file that was written, in a line."""
    if outcome.result is None:
        return f"{outcome.job.source_name}: {outcome.status}"
    target = "standard output" if outcome.job.target is None else click.format_filename(outcome.job.target)
    change = byte_change(outcome.result.bytes_before, outcome.result.bytes_after)
    line = f"{outcome.job.source_name} -> {target}: {change}"
    if (rate := outcome.result.details.get("bits_per_pixel")) is not None:
        line += f", {rate:.3f} bits per pixel"
    if (quality := outcome.result.details.get("quality")) is not None:
        line += f", quality {quality}"
    return line + f", {outcome.seconds:.2f} s"


def _outcome_object(outcome: Outcome) -> dict[str, Any]:
    job = outcome.job
    entry: dict[str, Any] = {
        "source": STDIO if job.source is None else str(job.source),
        "status": outcome.status,
    }
    if job.target is not None:
        entry["output"] = str(job.target)
    if outcome.result is not None:
        entry["bytes_before"] = outcome.result.bytes_before
        if outcome.result.bytes_after:
            entry["bytes_after"] = outcome.result.bytes_after
        entry |= outcome.result.details
        entry["seconds"] = round(outcome.seconds, 4)
        if outcome.result.notes:
            entry["notes"] = list(outcome.result.notes)
    if outcome.failure is not None:
        failure = outcome.failure
        entry["error"] = {"type": failure.kind, "message": failure.message, "exit_code": failure.exit_code}
    return entry
