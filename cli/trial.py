"""`heliograph try`: what the services would publish, without broker and store."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli import programs
from cli.config_option import config_option, needed
from cli.start import plan
from heliograph import config, nearest, trial
from heliograph.errors import ConfigError

NOT_TRIED = {
    "api": "sensors and programs send to it; send it something while the node runs (docs/clients.md)",
    "calculator": "its formulas need the store; their results are on the page while the node runs",
}


@click.command("try")
@click.argument("services", metavar="[SERVICE]…", nargs=-1)
@config_option
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=trial.SECONDS,
    show_default=True,
    help="How long to listen to devices that send when they want to, and to wait for the others.",
)
def main(services: tuple[str, ...], chosen: Path | None, seconds: float) -> None:
    """Read each configured input once, and print what would be published.

    Nothing is published or stored, and neither broker nor node need to run. What cannot be read is printed with what to
    do. The exit status is 1 if nothing was read. A node that runs has its serial ports and GPIO lines: stop it to try these.
    """
    if not triable():
        raise click.ClickException(
            "nothing can be tried in this container; stop a service that reads devices, and try it in its own: "
            "docker compose run --rm modbus_poller heliograph try"
        )
    path = needed(chosen)
    try:
        tried = _chosen(services, config.read(path))  # a container has not all services that the file names
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    if not tried:
        raise click.ClickException(f"{path} has no service that reads something: {', '.join(triable())}")
    click.echo(f"Trying {', '.join(tried)} with {path}, {seconds:g} s at most …", err=True)
    statuses = _run(tried, path.absolute(), seconds)
    if 0 not in statuses or not {0, trial.NOTHING_READ}.issuperset(statuses):
        sys.exit(1)


def triable() -> list[str]:
    """Return the services that can be tried: those with a module for it."""
    return sorted(path.parent.name for path in programs.ROOT.glob("services/*/trial.py"))


def _chosen(names: tuple[str, ...], file: Mapping[str, Any]) -> list[str]:
    """Return what to try: the services named, or all that are configured; print why others are left out."""
    known, services = triable(), plan.services()
    for name in names:
        if name not in services:
            near = nearest.hint(name, services) or ";"
            raise ConfigError(f"{name}: no such service here{near} {', '.join(known)} can be tried")
        if name in known and name not in file:
            raise ConfigError(f"there is no section [{name}] in the configuration")
    wanted = names or [name for name in services if name in file]
    for name in wanted:
        if name in NOT_TRIED and (names or name == "calculator"):
            click.echo(f"{name} cannot be tried: {NOT_TRIED[name]}", err=True)
        elif name not in known and names:
            click.echo(f"{name} cannot be tried: it reads no device", err=True)
    return [name for name in dict.fromkeys(wanted) if name in known]


def _run(services: list[str], path: Path, seconds: float) -> list[int]:
    """Try services side by side, print what each reports, in order; return their exit statuses."""
    modules = os.pathsep.join(filter(None, [str(programs.ROOT), os.environ.get("PYTHONPATH", "")]))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"services.{name}.trial", str(path), "--seconds", str(seconds)],
            env={**os.environ, "PYTHONPATH": modules},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in services
    ]
    try:
        for process in processes:
            click.echo(process.communicate()[0], nl=False)
    except KeyboardInterrupt:  # they got it as well, and report what they have
        for process in processes:
            click.echo(process.communicate()[0], nl=False)
    return [process.wait() for process in processes]
