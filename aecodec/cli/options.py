"""Options that several commands share, and the kinds of values that they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    _Whole = click.ParamType[int]
    _Rectangle = click.ParamType[tuple[int, int, int, int]]
else:  # older releases of click have no generic ParamType
    _Whole = _Rectangle = click.ParamType

_Function = TypeVar("_Function", bound=Callable[..., Any])
_TOO_LARGE = 2**63
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True)
class RunOptions:
    """How a run over several files goes and what it prints.

    Attributes:
        workers: files that are worked on at the same time.
        json: whether a JSON report is printed instead of text.
        quiet: whether only errors are printed.
        debug: whether errors come with their traceback.
    """

    workers: int = 1
    json: bool = False
    quiet: bool = False
    debug: bool = False


class Amount(_Whole):
    """A number with an optional factor: 300000, 300k, 1.5M, 64KiB. Its value is an int.

    Args:
        unit: what may follow the factor, such as "B".
    """

    name = "number"

    def __init__(self, unit: str = "") -> None:
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([kmg]?|[kmg]i)(?:{self._unit})?", value, re.IGNORECASE)
        amount = 0 if match is None else round(Fraction(match[1]) * _FACTORS[match[2].lower()])
        if not 1 <= amount < _TOO_LARGE:
            self.fail(
                f"expected a positive number such as 300000, 300k, 1.5M or 2Mi, found {value!r}", param, ctx
            )
        return amount


class Region(_Rectangle):
    """A rectangle in pixels: x,y,width,height. Its value is a tuple of these four ints."""

    name = "x,y,w,h"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9}), *(\d{1,9}), *(\d{1,9}), *(\d{1,9})", value.strip())
        if match is None:
            self.fail(
                f"expected four whole numbers x,y,width,height such as 0,0,512,512, found {value!r}",
                param,
                ctx,
            )
        x, y, width, height = (int(number) for number in match.groups())
        if width == 0 or height == 0:
            self.fail(f"expected a width and a height of at least 1, found {width} and {height}", param, ctx)
        return x, y, width, height


def files_argument(function: _Function) -> _Function:
    """FILES..., at least one."""
    return click.argument(
        "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(readable=False)
    )(function)


def recursive_option(function: _Function) -> _Function:
    """-r, --recursive."""
    text = "Work on the files in named folders, too, and in the folders inside."
    return click.option("-r", "--recursive", is_flag=True, help=text)(function)


def force_option(function: _Function) -> _Function:
    """-f, --force."""
    text = "Write outputs again that exist already."
    return click.option("-f", "--force", is_flag=True, help=text)(function)


def jobs_option(function: _Function) -> _Function:
    """-j, --jobs."""
    text = "Work on so many files at the same time. One file alone uses several cores already."
    return click.option("-j", "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help=text)(
        function
    )


def runtime_option(function: _Function) -> _Function:
    """--runtime."""
    text = "What computes the networks; keras needs the extra aecodec[keras]."
    choice = click.Choice(["onnx", "keras"])
    return click.option("--runtime", type=choice, default="onnx", show_default=True, help=text)(function)


def model_option(function: _Function) -> _Function:
    """--model, of the commands that decode."""
    text = "Folder of the model, where it is not installed.  [default: the one that the file names]"
    return click.option("--model", metavar="FOLDER", help=text)(function)


def max_pixels_option(function: _Function) -> _Function:
    """--max-pixels."""
    text = "Refuse pictures with more pixels.  [default: 268435456 (2**28)]"
    return click.option("--max-pixels", type=Amount(), metavar="NUMBER", help=text)(function)


def json_option(function: _Function) -> _Function:
    """--json."""
    text = "Print a JSON report (to the standard error stream if the standard output carries a picture)."
    return click.option("--json", "as_json", is_flag=True, help=text)(function)


def quiet_option(function: _Function) -> _Function:
    """--quiet."""
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(function)


def debug_option(function: _Function) -> _Function:
    """--debug, which may also stand before the command's name."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        ctx.obj = bool(ctx.obj) or value

    text = "Show the traceback of an error."
    return click.option("--debug", is_flag=True, expose_value=False, callback=remember, help=text)(function)


def debug_wanted() -> bool:
    """Whether --debug was given to the command that runs."""
    return bool(click.get_current_context().obj)
