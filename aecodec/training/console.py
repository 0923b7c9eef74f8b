"""How the commands of training end when they fail: one line on standard error, and the error's exit code."""

from __future__ import annotations

import sys

import click

from aecodec.errors import AecodecError


def run(command: click.Command) -> None:
    """Run a command on the arguments of the process, and leave the process."""
    try:
        command()
    except AecodecError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
