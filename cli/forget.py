"""`heliograph forget`: removes what is gone for good from the broker."""

from contextlib import closing
from pathlib import Path

import click

from cli.config_option import config_option, needed
from heliograph import config, forget, node_config, store_location, topics
from heliograph.errors import ConfigError, StoreAway, StoreDamaged
from heliograph.store import open_reader


@click.command()
@click.argument("name", metavar="NODE[/DEVICE]")
@config_option
@click.option(
    "--service",
    default="",
    envvar="SERVICE",
    metavar="SERVICE",
    help="Connect to the broker only as this service; api may remove every device.  [default: as every service "
    "whose password is here; in a container as its service]",
)
@click.option("--yes", is_flag=True, help="Do not ask before forgetting this node itself.")
def main(name: str, chosen: Path | None, service: str, yes: bool) -> None:
    """Remove what the broker retains of a device or of a whole node that is gone for good.

    The broker keeps the description, the availability and the plain values of a device until they are removed, and the
    status of a service. Readings stay in the store. A device that is still read comes back.
    """
    path = needed(chosen)
    if node_config.has_stopped(path):
        raise click.ClickException(f"the node does not run: {node_config.how_to_start(path)}")
    node, slash, device = name.partition("/")
    try:
        # Checks the names: a wildcard would be one in a subscription.
        topics.device(node, device if slash else "any", "info")
        if not (device or yes) and node == config.section(config.Node, config.read(path), "node", path, service).name:
            click.confirm(f"{node} is this node: its services are seen again when they restart. Forget it?", abort=True)
        brokers = forget.brokers(path, service)
        known = [name for name in _stored(path, node) if not slash or name == device]
        removed, left = forget.forget_retained(brokers, node, device, stored=known)
        if service and device and topics.device(node, device, "availability") not in removed:  # only api sees all
            forget.forget(brokers[service], service, node, device)
    except (ConfigError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(removed), nl=bool(removed))
    if left:
        raise click.ClickException(f"no service whose password is here may remove {', '.join(left)}")
    if not removed and service:
        click.echo(f"{service} sees nothing of {name}, and has removed what it may; api sees what is left", err=True)
    elif not removed:
        raise click.ClickException(f"the broker retains nothing of {name}")


def _stored(path: Path, node: str) -> list[str]:
    """Return the devices of a node of which the store here has series; none if it cannot be read from here."""
    section = config.section(config.Node, config.read(path), "node", path)
    try:
        location = store_location.configured(section, path, "storage")
        with closing(open_reader(location.data, url=location.url)) as reader:
            return sorted({one.device for one in reader.series() if one.node == node})
    except (ConfigError, OSError, StoreAway, StoreDamaged):
        return []
