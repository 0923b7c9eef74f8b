"""What a run tells while it goes on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Log:
    """A line of JSON per report in a file, and the same for people on standard error.

    Attributes:
        path: the file, which grows.
    """

    path: Path

    def write(self, event: str, values: dict[str, Any]) -> None:
        """Append one report; numbers that are not finite become null, which JSON has and NaN it has not."""
        report = {"event": event, **values}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({key: _finite(value) for key, value in report.items()}) + "\n")
        click.echo("  ".join(f"{key} {_short(value)}" for key, value in report.items()), err=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
