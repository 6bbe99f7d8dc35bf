"""`heliograph version`."""

import platform
import sys

import click

import heliograph


@click.command()
def main() -> None:
    """Print the version of Heliograph, and what it runs on."""
    click.echo(f"heliograph {heliograph.__version__}")
    click.echo(f"Python {platform.python_version()}, {platform.system()} {platform.release()}, {platform.machine()}")
    click.echo(f"installed in {sys.prefix}")
