"""Errors as the command line shows them: one message, one exit code. The only place that maps the one to the
other.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass

import click

from aecodec.errors import AecodecError, InputError, MissingDependencyError, OutputError

SUCCESS = 0
FAILED = 1
PARTIAL = 8
DEFECT = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = {
    SUCCESS: "everything was done, or was done already",
    FAILED: "failures of several kinds, or of none below",
    2: "a wrong argument, or an input picture that cannot be used",
    3: "an input is no whole, well-formed .aec file",
    4: "an .aec file needs a newer version or a model that is missing",
    5: "an installed model is damaged",
    6: "an optional package is missing",
    7: "an output exists already or cannot be written",
    PARTIAL: "a picture was decoded from a truncated or damaged file (--allow-partial)",
    DEFECT: "a defect in aecodec: please report it",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "the reader of the standard output went away",
}
"""What each exit code of the process means."""

_EXTRAS = {
    "keras": "keras", "tensorflow": "keras", "onnx": "keras", "jax": "jax", "optax": "jax",
    "matplotlib": "bench", "scipy": "bench", "psutil": "bench", "bjontegaard": "bench",
}  # fmt: skip
_OUTPUT_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


@dataclass(frozen=True)
class Failure:
    """Why a file, or a whole command, was not done."""

    kind: str
    message: str
    exit_code: int


class Interrupted(click.Abort):
    """Ctrl-C, with a message of its own."""


def exit_code_table() -> str:
    """The exit codes as the end of a click help page."""
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    text = "When several files fail, the code is that of the failures if all are of one kind, else 1."
    return f"\b\nExit codes:\n{rows}\n\n{text}"


def failure_of(error: Exception) -> Failure:
    """Say what an exception means to somebody at a command line.

    Args:
        error: any exception. Of those outside :mod:`aecodec.errors`, lack of memory, operating-system errors
            and missing packages are the machine's; everything else is a defect and says so.
    """
    if isinstance(error, AecodecError):
        return Failure(type(error).__name__, str(error), error.exit_code)
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        return Failure(kind, "not enough memory for this picture; free some, or use fewer --jobs", FAILED)
    if (
        isinstance(error, ModuleNotFoundError)
        and (package := (error.name or "").partition(".")[0]) in _EXTRAS
    ):
        message = (
            f"this needs the package {package}; install it with: pip install 'aecodec[{_EXTRAS[package]}]'"
        )
        return Failure(MissingDependencyError.__name__, message, MissingDependencyError.exit_code)
    if isinstance(error, OSError):
        code = OutputError.exit_code if error.errno in _OUTPUT_ERRNOS else InputError.exit_code
        return Failure(kind, os_message(error), code)
    hint = "this is a defect in aecodec, please report it (--debug shows where it is)"
    return Failure(kind, f"unexpected {kind}: {error}; {hint}", DEFECT)


def combined_exit_code(failures: Iterable[Failure], *, any_partial: bool) -> int:
    """The exit code of a run over several files.

    Args:
        failures: of the files that were not done.
        any_partial: whether a file was decoded in part.

    Returns:
        The failures' code if all share one, else 1; without failures 8 if ``any_partial``, else 0.
    """
    codes = {failure.exit_code for failure in failures}
    if not codes:
        return PARTIAL if any_partial else SUCCESS
    return codes.pop() if len(codes) == 1 else FAILED


def os_message(error: OSError) -> str:
    """An operating-system error without its number: ``No such file or directory: 'a.png'``."""
    reason = error.strerror or str(error)
    return f"{reason}: {error.filename!r}" if error.filename is not None else reason


def show_traceback(error: BaseException) -> None:
    """Print an exception with its traceback to the standard error stream."""
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
