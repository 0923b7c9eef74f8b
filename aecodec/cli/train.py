"""``aecodec train``: hands its arguments to :mod:`aecodec.training`, which needs the extra ``keras``."""

from __future__ import annotations

import importlib

import click


@click.command(
    short_help="Train a model (needs the extra aecodec[keras]).",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Train a model (needs the extra aecodec[keras])."""
    training = importlib.import_module("aecodec.training.train").command
    code = training.main(list(arguments), prog_name="aecodec train", standalone_mode=False)
    click.get_current_context().exit(code if isinstance(code, int) else 0)
