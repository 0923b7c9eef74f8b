"""The command line: ``aecodec COMMAND ...`` or ``python -m aecodec COMMAND ...``.

One module per command, imported when that command is called: ``aecodec --help`` and the shell's completion of
command names load click and nothing else. :func:`main` is the entry point of the process, :func:`run` the
same as a function.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from aecodec._version import __version__
from aecodec.cli.exits import BROKEN_PIPE, INTERRUPTED, exit_code_table, failure_of, show_traceback
from aecodec.errors import OutputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "compress": "Compress pictures to .aec files.",
    "decompress": "Decompress .aec files to pictures.",
    "info": "Show what .aec files say about themselves.",
    "verify": "Check that .aec files are whole and can be decoded.",
    "models": "List the installed models.",
    "demo": "Compress and decompress a photograph that comes with aecodec.",
    "bench": "Compare with JPEG, WebP, AVIF and JPEG XL at equal PSNR: bytes and times.",
    "train": "Train a model (needs the extra aecodec[keras]).",
}
"""Name of each command, which is also its module's name, and its line in ``aecodec --help``."""


class CommandGroup(click.Group):
    """A click group that imports a command's module when that command is called, and not for the help
    page.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"aecodec.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(
                f"expected a click command in aecodec.cli.{cmd_name}, found {type(command).__name__}"
            )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(n, help=text) for n, text in COMMANDS.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _quiet_pipes():  # the help page is printed here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _quiet_pipes():
            return super().invoke(ctx)


@contextlib.contextmanager
def _quiet_pipes() -> Iterator[None]:
    """Give a closed pipe its exit code before click sees it, which would end the process with code 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(BROKEN_PIPE) from None


@click.group(
    cls=CommandGroup,
    epilog=exit_code_table(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="aecodec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """A learned image codec: small files, one model for every quality, files that open on any machine.

    \b
    aecodec compress holiday.jpg                writes holiday.aec
    aecodec decompress holiday.aec              writes holiday.png
    aecodec compress -r photos/ -o packed/      a folder, mirrored
    aecodec info holiday.aec                    size, quality, model
    """
    ctx.obj = debug


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: what stands after the program's name; by default what this process was started with.

    Returns:
        The exit code of the process (see ``aecodec --help``). No exception but SystemExit leaves, whatever
        the input.
    """
    try:
        code = group.main(arguments, prog_name="aecodec", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        click.echo(f"aecodec: {str(abort) or 'interrupted'}", err=True)
        return INTERRUPTED
    except Exception as error:
        failure = failure_of(error)
        click.echo(f"aecodec: {failure.message}", err=True)
        if "--debug" in (sys.argv if arguments is None else arguments):
            show_traceback(error)
        return failure.exit_code
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Run the process's command line and end the process with its exit code."""
    warnings.showwarning = _show_warning
    _mend_streams()
    code = _flush(run())
    if code == INTERRUPTED:  # threads that still compute would keep the interpreter from ending
        os._exit(code)
    sys.exit(code)


def _mend_streams() -> None:
    """Give the process standard streams that can be used, whatever it was started with.

    Those that were closed lead nowhere, and their numbers are taken, so that no file of ours gets one. Names
    that the terminal's encoding lacks are printed with escapes.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush(code: int) -> int:
    """Write out what the streams still hold: a closed pipe shows only now, and would show again when Python
    ends.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or (BROKEN_PIPE if isinstance(error, BrokenPipeError) else OutputError.exit_code)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a library's warning as one line, without the place in the library's source."""
    click.echo(f"aecodec: warning: {message}", err=True)
