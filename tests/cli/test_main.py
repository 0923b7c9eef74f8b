"""aecodec.cli: the program as a whole: its help, what it imports, what it says and returns when things go
wrong.
"""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

import aecodec.cli
from aecodec import __version__
from aecodec.cli import COMMANDS, backend, group, run
from aecodec.errors import TruncatedError
from aecodec.refinement import EFFORT_ITERATIONS

HEAVY = {"numpy", "PIL", "onnxruntime", "keras", "tensorflow", "jax", "constriction", "asyncio"}


def imported_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in finished.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_import_neither_arrays_nor_networks(arguments: list[str]) -> None:
    names = imported_by(f"from aecodec.cli import run; run({arguments!r})")
    assert "click" in names
    assert not names & HEAVY


def test_completion_of_command_names_imports_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    context = click.Context(group, info_name="aecodec")
    completions = {item.value: item.help for item in group.shell_complete(context, "de")}
    assert completions == {"decompress": COMMANDS["decompress"], "demo": COMMANDS["demo"]}


def test_the_highest_effort_on_offer_is_the_highest_that_the_encoder_knows() -> None:
    assert len(EFFORT_ITERATIONS) - 1 == backend.MAX_EFFORT


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_click_command_with_the_help_text_of_the_table(name: str) -> None:
    command = importlib.import_module(f"aecodec.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=100).rstrip(".") == COMMANDS[name].rstrip(".")


def test_the_help_page_shows_commands_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    for expected in (*COMMANDS, "holiday.jpg", "Exit codes:", "130  interrupted"):
        assert expected in page


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["compress"], ["info", "--no-such-option", "a.aec"]]
)
def test_a_wrong_command_line_is_exit_code_2_and_says_what_is_wrong(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert "Error:" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """A command "info" that raises what stands in the list."""
    errors: list[BaseException] = []

    @click.command()
    @click.option("--debug", is_flag=True)
    def command(debug: bool) -> None:
        raise errors[0]

    monkeypatch.setattr(aecodec.cli.CommandGroup, "get_command", lambda *_: command)
    yield errors


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (TruncatedError("ends at byte 7"), 3, "ends at byte 7"),
        (RuntimeError("impossible"), 70, "defect"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_a_message_and_an_exit_code_but_no_traceback(
    failing: list[BaseException],
    error: BaseException,
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.append(error)
    assert run(["info"]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_debug_shows_the_traceback(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(RuntimeError("impossible"))
    assert run(["info", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(BrokenPipeError(32, "Broken pipe"))
    assert run(["info"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="needs a pipe that closes")
@pytest.mark.parametrize("arguments", [["--help"], ["compress", "--help"]])
def test_a_help_page_that_nobody_reads_is_quiet_too(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        finished = subprocess.run(
            [sys.executable, "-m", "aecodec", *arguments], stdout=stream, stderr=subprocess.PIPE
        )
    assert finished.returncode == 141
    assert finished.stderr == b""


def test_the_shell_completes_options_and_their_values() -> None:
    def completed(words: str, position: int) -> str:
        variables = {"_AECODEC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        command = [sys.executable, "-m", "aecodec"]
        finished = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
        return finished.stdout

    assert completed("aecodec decompress --thu", 2) == "plain,--thumbnail\n"
    assert completed("aecodec compress --runtime ", 3).split() == ["plain,onnx", "plain,keras"]


def test_train_hands_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1)
    def training(arguments: tuple[str, ...]) -> None:
        given.extend(arguments)

    module = SimpleNamespace(command=training)
    monkeypatch.setitem(sys.modules, "aecodec.training.train", module)
    assert run(["train", "data", "--steps", "5"]) == 0
    assert given == ["data", "--steps", "5"]


def test_train_without_its_packages_is_exit_code_6_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def training() -> None:
        raise ModuleNotFoundError("No module named 'keras'", name="keras")

    monkeypatch.setitem(sys.modules, "aecodec.training.train", SimpleNamespace(command=training))
    assert run(["train"]) == 6
    assert "pip install 'aecodec[keras]'" in capsys.readouterr().err


def test_python_dash_m_runs_the_same_program() -> None:
    finished = subprocess.run([sys.executable, "-m", "aecodec", "--version"], capture_output=True, text=True)
    assert finished.returncode == 0
    assert __version__ in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        (["models"], ">&-", 0),
        (["models"], "2>&-", 0),
        (["info", "absent.aec"], "2>&-", 2),
        (["info", "-"], "<&-", 3),
        (["compress", "-", "-o", "a.aec"], "<&-", 2),
    ],
)
def test_closed_standard_streams_are_no_defect(arguments: list[str], closed: str, code: int) -> None:
    words = shlex.join([sys.executable, "-m", "aecodec", *arguments])
    finished = subprocess.run(["sh", "-c", f"{words} {closed}"], capture_output=True, text=True, check=False)
    assert "Traceback" not in finished.stderr
    assert "defect" not in finished.stderr
    assert finished.returncode == code


def test_names_that_the_terminal_cannot_show_are_printed_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "漢.aec").write_bytes(b"no")
    finished = subprocess.run(
        [sys.executable, "-m", "aecodec", "info", "--json", str(tmp_path / "漢.aec")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        check=False,
    )
    assert finished.returncode == 3
    assert b"\\u6f22" in finished.stdout + finished.stderr


@pytest.mark.parametrize("value", ["1 2,3,4,5", "1,2,3", "1,2,3,-4", "1,2,3,4,5"])
def test_a_region_that_is_none_is_a_wrong_argument(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decompress", "absent.aec", "--region", value]) == 2
    assert "expected four whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["9" * 400, "0", "-3", "1e5", "0.0001"])
def test_a_size_that_is_none_is_a_wrong_argument(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compress", "absent.png", f"--target-size={value}"]) == 2
    assert "expected a positive number" in capsys.readouterr().err


def test_the_demo_replaces_no_file_unless_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo.png").write_bytes(b"precious")
    assert run(["demo", "-o", str(tmp_path)]) == 7
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]
    assert (tmp_path / "demo.png").read_bytes() == b"precious"
