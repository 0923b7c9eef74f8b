"""``aecodec train``: hands its arguments to :mod:`aecodec.training`, which needs the extra ``keras``."""

from __future__ import annotations

import importlib

import click

from aecodec.errors import MissingDependencyError


@click.command(
    short_help="Train a model (needs the extra aecodec[keras]).",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Train a model (needs the extra aecodec[keras])."""
    try:
        training = importlib.import_module("aecodec.training.train").command
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aecodec.") and error.name != "aecodec.training.train":
            raise
        missing = error.name or "a package"
        message = (
            f"training needs {missing}, which is not installed; install it with: pip install 'aecodec[keras]'"
        )
        raise MissingDependencyError(message) from error
    code = training.main(list(arguments), prog_name="aecodec train", standalone_mode=False)
    click.get_current_context().exit(code if isinstance(code, int) else 0)
