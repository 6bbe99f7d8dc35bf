"""`heliograph sample`: the documented configurations that Heliograph comes with."""

import click

from cli import programs
from heliograph import nearest

LIBRARY = "heliograph"  # has the sections that all services share


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
def main(services: tuple[str, ...]) -> None:
    """Print a configuration that explains every option: of the node, and of the SERVICES, or of all.

    A line that begins with one # is an option with its default. To begin your own: heliograph sample > config.toml
    """
    samples = {path.parent.name: path for path in sorted(programs.ROOT.glob("services/*/sample.toml"))}
    for service in services:
        if service not in samples:
            raise click.ClickException(f"there is no service {service}{nearest.choices(service, samples)}")
    paths = [programs.ROOT / LIBRARY / "sample.toml", *(samples[name] for name in services or samples)]
    click.echo("\n".join(path.read_text() for path in paths), nl=False)
