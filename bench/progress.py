"""A line that says how far a long run is."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Rewrites one line on a terminal; elsewhere prints a line now and then.

    Args:
        stream: where to.
        interval: seconds between two lines where the stream is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 15.0) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval if not self._stream.isatty() else 0.1
        self._started = self._last = time.monotonic()
        self._first: int | None = None

    def update(self, done: int, total: int, what: str) -> None:
        """Say that ``done`` of ``total`` are finished, the last of them being ``what``."""
        now = time.monotonic()
        if self._first is None:
            self._first = done - 1
        if now - self._last < self._interval and done < total:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        left = (total - done) / rate
        text = f"{done}/{total}  {what}  {_clock(now - self._started)} gone, {_clock(left)} to go"
        if self._stream.isatty():
            self._stream.write("\r\x1b[K" + text + ("\n" if done == total else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
