"""A progress bar on a terminal's standard error stream; nothing at all where that is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_PARTS = 1000
_DELAY = 0.5


class Progress:
    """Progress over several files, each of which may say how far it is. Safe to use from several threads.

    The bar shows itself after half a second, so that quick runs stay silent.

    Args:
        label: what is being done, shown before the bar.
        count: number of files.
        visible: whether a bar is wanted; there is one only if the standard error stream is a terminal, too.
    """

    def __init__(self, label: str, count: int, *, visible: bool) -> None:
        self._label = label
        self._count = count
        self._enabled = visible and count > 0 and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._done = 0
        self._files_done = 0
        self._bar: ProgressBar[int] | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def file(self) -> FileProgress:
        """The part of the bar that belongs to one file."""
        return FileProgress(self)

    def message(self, text: str) -> None:
        """Print a line to the standard error stream, above the bar."""
        with self._lock:
            if self._bar is not None:
                click.echo("\r\x1b[K", file=sys.stderr, nl=False)
            click.echo(text, file=sys.stderr)

    def advance(self, parts: int, *, finished: bool) -> None:
        """Move the bar by so many thousandths of a file."""
        if not self._enabled:
            return
        with self._lock:
            self._done += parts
            self._files_done += finished
            bar = self._bar or self._begin()
            if bar is not None:
                bar.update(self._done - bar.pos)

    def _begin(self) -> ProgressBar[int] | None:
        if time.monotonic() - self._start < _DELAY:
            return None
        self._bar = click.progressbar(
            length=self._count * _PARTS,
            label=self._label,
            item_show_func=lambda item: f"{self._files_done}/{self._count}" if self._count > 1 else None,
            file=sys.stderr,
        )
        return self._bar


class FileProgress:
    """How far one file is; call it with (steps done, steps in all)."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._parts = 0

    def __call__(self, done: int, total: int) -> None:
        self._move_to(done * (_PARTS - 1) // max(total, 1), finished=False)

    def finish(self) -> None:
        """The file is done, or given up."""
        self._move_to(_PARTS, finished=True)

    def _move_to(self, parts: int, *, finished: bool) -> None:
        self._progress.advance(parts - self._parts, finished=finished)
        self._parts = parts
