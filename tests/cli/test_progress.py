"""aecodec.cli.progress: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from aecodec.cli import progress as module
from aecodec.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Put a terminal in the place of the standard error stream; to be called in the test itself."""

    def open_terminal() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    monkeypatch.setattr(module, "_DELAY", 0.0)
    return open_terminal


def work_on(count: int, *, visible: bool = True) -> None:
    with Progress("compressing", count, visible=visible) as progress:
        for _ in range(count):
            file = progress.file()
            file(1, 2)
            file.finish()


def test_a_terminal_sees_a_bar_that_ends_at_all_files(open_terminal: Callable[[], Terminal]) -> None:
    terminal = open_terminal()
    work_on(4)
    assert "compressing" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


def test_a_file_that_is_under_way_moves_the_bar(open_terminal: Callable[[], Terminal]) -> None:
    terminal = open_terminal()
    with Progress("compressing", 1, visible=True) as progress:
        progress.file()(1, 2)
        assert " 49%" in terminal.getvalue()


def test_quiet_runs_and_pipes_see_nothing(
    open_terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = open_terminal()
    work_on(3, visible=False)
    assert terminal.getvalue() == ""
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    work_on(3)
    assert pipe.getvalue() == ""


def test_a_quick_run_sees_no_bar(
    open_terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = open_terminal()
    monkeypatch.setattr(module, "_DELAY", 60.0)
    work_on(3)
    assert terminal.getvalue() == ""


def test_a_message_stands_on_a_line_of_its_own_whether_there_is_a_bar_or_not(
    open_terminal: Callable[[], Terminal],
) -> None:
    terminal = open_terminal()
    with Progress("compressing", 2, visible=True) as progress:
        progress.message("before")
        progress.file().finish()
        progress.message("after")
    lines = terminal.getvalue().replace("\r\x1b[K", "\n").split("\n")
    assert "before" in lines
    assert "after" in lines


def test_threads_add_up_to_the_whole(open_terminal: Callable[[], Terminal]) -> None:
    terminal = open_terminal()
    with Progress("compressing", 8, visible=True) as progress:

        def finish() -> None:
            file = progress.file()
            for step in range(50):
                file(step, 50)
            file.finish()

        threads = [threading.Thread(target=finish) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "8/8" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
