"""`heliograph key`: make a key with which sensors and programs may send readings to this node."""

import re

import click

from services.api.ingest.keys import hashed, new_key

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", default="sensors")
def main(name: str) -> None:
    """Make a key for NAME, and print it with the line for config.toml.

    The key is shown only once: the configuration holds its hash. To revoke a key, delete its line and restart api.
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} has characters other than a-z, A-Z, 0-9, _ and -", param_hint="NAME")
    key = new_key()
    click.echo(f"The key, for the sender; it is not shown again:\n\n  {key}\n\nFor config.toml:\n", err=True)
    click.echo(f'[api.keys]\n{name} = "{hashed(key)}"')
