"""Standard input and output: pictures through pipes, reports beside them, closed pipes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aecodec.cli import run

pytestmark = pytest.mark.usefixtures("fake_codec")


class Stream(io.TextIOWrapper):
    """Text over bytes in memory, as the standard streams are."""

    def __init__(self, content: bytes = b"", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def content(self) -> bytes:
        memory: Any = self.buffer
        value: bytes = memory.getvalue()
        return value


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Stream, Stream]]:
    """Put streams in the place of the standard ones and give output and error."""

    def pipes(content: bytes = b"", *, terminal: bool = False) -> tuple[Stream, Stream]:
        output, error = Stream(terminal=terminal), Stream()
        monkeypatch.setattr(sys, "stdin", Stream(content))
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", error)
        return output, error

    return pipes


def test_standard_input_goes_to_standard_output_and_the_words_to_standard_error(pipes: Any) -> None:
    output, error = pipes(b"picture")
    assert run(["compress", "-"]) == 0
    assert output.content == b"packed:picture"
    assert b"standard input -> standard output" in error.content


def test_a_json_report_does_not_mix_with_the_picture(pipes: Any) -> None:
    output, error = pipes(b"packed:picture")
    assert run(["decompress", "-", "--json"]) == 0
    assert output.content == b"PNG picture"
    assert json.loads(error.content)["files"][0]["source"] == "-"


def test_a_file_goes_to_standard_output_and_standard_input_to_a_file(pipes: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    output, _ = pipes()
    assert run(["compress", str(tmp_path / "a.png"), "-o", "-"]) == 0
    assert output.content == b"packed:picture"
    pipes(b"other")
    assert run(["compress", "-", "-o", str(tmp_path / "b.aec")]) == 0
    assert (tmp_path / "b.aec").read_bytes() == b"packed:other"


def test_nothing_goes_to_standard_output_when_the_input_is_bad(pipes: Any) -> None:
    output, error = pipes(b"crash")
    assert run(["compress", "-"]) == 2
    assert output.content == b""
    assert b"standard input: the picture ends early" in error.content


def test_binary_data_is_not_written_to_a_terminal(pipes: Any) -> None:
    output, error = pipes(b"picture", terminal=True)
    assert run(["compress", "-"]) == 2
    assert output.content == b""
    assert b"terminal" in error.content


def test_a_reader_that_goes_away_is_exit_code_141_without_a_word(
    pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, error = pipes(b"picture")

    def refuse(data: Any) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(output.buffer, "write", refuse, raising=False)
    assert run(["compress", "-"]) == 141
    assert error.content == b""
