"""A stand-in for the codec at the border of the command line, for what does not depend on pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aecodec.cli import backend, run
from aecodec.cli.report import Result
from aecodec.errors import ImageError, NotAnAecFileError

PREFIX = b"packed:"


def fake_encode(
    source: BinaryIO,
    target: BinaryIO,
    settings: backend.EncodeSettings,
    progress: backend.Progress | None = None,
) -> Result:
    """Content that begins with "bad" is no picture, "defect" a bug; "crash" writes half a file before it
    fails.
    """
    content = source.read()
    if content.startswith(b"bad"):
        raise ImageError("expected a picture, found something else")
    if content.startswith(b"defect"):
        raise ZeroDivisionError("division by zero")
    target.write(PREFIX)
    if content.startswith(b"crash"):
        raise ImageError("the picture ends early")
    target.write(content)
    if progress is not None:
        progress(1, 1)
    return Result(len(content), len(PREFIX) + len(content), {"quality": settings.quality})


def fake_decode(
    source: BinaryIO,
    target: BinaryIO,
    format_name: str,
    settings: backend.DecodeSettings,
    progress: backend.Progress | None = None,
) -> Result:
    """Undo :func:`fake_encode`, behind the format's name; "half" is a truncated picture."""
    content = source.read()
    if not content.startswith(PREFIX):
        raise NotAnAecFileError("expected the magic number, found none")
    picture = format_name.encode() + b" " + content.removeprefix(PREFIX)
    target.write(picture)
    partial = b"half" in content
    return Result(
        len(content), len(picture), {}, ("the file ends early",) if partial else (), partial=partial
    )


@pytest.fixture
def fake_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "encode", fake_encode)
    monkeypatch.setattr(backend, "decode", fake_decode)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[str]]:
    """Write files below the test's folder, each with its content, and give their paths."""

    def write(**contents: bytes) -> list[str]:
        paths = []
        for name, content in contents.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            paths.append(str(path))
        return paths

    return write


@pytest.fixture
def report_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run a command with --json and give its report; the exit code must be that of the report."""

    def report_of(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        code = run([*arguments, "--json"])
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert report["exit_code"] == code
        return report

    return report_of
