"""``aecodec models``: the models that are installed."""

from __future__ import annotations

import json

import click

from aecodec.cli import backend
from aecodec.cli.options import debug_option


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@debug_option
def command(as_json: bool) -> None:
    """List the installed models.

    A file names the model that it was made with; `compress` uses the default unless --model says otherwise.
    """
    models = backend.installed_models()
    if as_json:
        click.echo(json.dumps([model.to_object() for model in models], indent=2))
        return
    if not models:
        click.echo("no model is installed")
    for model in models:
        click.echo(f"{model.model_id}  {model.name}{'  (default)' if model.is_default else ''}")
        if model.kmac_per_pixel:
            costs = ", ".join(f"{part} {cost:.0f}" for part, cost in model.kmac_per_pixel.items())
            click.echo(f"    kMAC per pixel: {costs}")
        click.echo(f"    {model.bytes / 1e6:.1f} MB in {model.folder}")
