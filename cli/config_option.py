"""The option --config of the commands that look after one node."""

from pathlib import Path

import click

from heliograph import node_config

config_option = click.option(
    "--config",
    "chosen",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The node's configuration.  [default: that of the node that runs here, or ./config.toml]",
)


def needed(chosen: Path | None) -> Path:
    """Return the configuration that was chosen, or that of the node that is here; raise click.UsageError without one."""
    path = node_config.find(chosen)
    if path is None:
        raise click.UsageError(node_config.NOT_FOUND)
    return path
