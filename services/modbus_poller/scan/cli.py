"""`heliograph scan`: find Modbus devices, and print the configuration that reads them."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from services.modbus_poller import models
from services.modbus_poller.scan import adapters, scanner
from services.modbus_poller.scan.scanner import FoundDevice, ScanResult

SHOWN_CHARACTERS = 44  # of the progress text


def _path(port: str) -> str:
    """Return the absolute path of a port; links, such as those in /dev/serial/by-id, are not resolved."""
    return port if "://" in port else str(Path(port).absolute())


def _line(host: str) -> str:
    """Return a host of the command line as the port of a line: tcp:// unless it has a scheme."""
    return host if "://" in host else f"tcp://{host}"


def configuration(results: Iterable[ScanResult]) -> str:
    """Return the [modbus_poller] section for the devices that were found, "" if there are none."""
    names: set[str] = set()
    parts = []
    for result in results:
        known = [device for device in result.devices if device.model]
        unknown = [device for device in result.devices if not device.model]
        lines = [
            f"# {result.port}: unit ID {one.unit_id} answers, but matches no model; see services/modbus_poller/README.md"
            for one in unknown
        ]
        if known:
            lines += ["[[modbus_poller.lines]]", f'port = "{result.port}"']
            lines += [f"baud = {result.baud}"] if result.baud else []
            lines += [f'parity = "{result.parity}"'] if result.parity != "none" else []
        for device in known:
            lines += ["", *_device(device, names)]
        if lines:
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _device(device: FoundDevice, names: set[str]) -> list[str]:
    """Return the lines of one device, with a unique name."""
    name, number = device.model, 2
    while name in names:
        name = f"{device.model}_{number}"
        number += 1
    names.add(name)
    return [
        "[[modbus_poller.lines.devices]]",
        f'name = "{name}"',
        f'model = "{device.model}"  # {models.load(device.model).header.model}',
        f"unit_id = {device.unit_id}",
    ]


def _print_models(context: click.Context, _option: click.Parameter, chosen: bool) -> None:
    """Print every model with the products that it reads, and exit."""
    if not chosen or context.resilient_parsing:
        return
    names = [*models.names(), models.SUNSPEC]
    for name in names:
        header = models.load(name).header
        click.echo(f"{name:{max(map(len, names))}}  {header.products or header.model}")
    context.exit()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("hosts", nargs=-1, metavar="[HOST[:PORT] | tcp://HOST | rtu+tcp://HOST:PORT]...")
@click.option("--port", "ports", multiple=True, help="A serial port to scan, in place of all adapters.")
@click.option("--no-serial", is_flag=True, help="Scan only the hosts.")
@click.option(
    "--unit-id", "chosen", type=click.IntRange(1, scanner.MAX_UNIT_ID), multiple=True, help="Try only this unit ID."
)
@click.option("--all-units", is_flag=True, help="Try unit IDs 1 to 247, not only the likely ones; takes long.")
@click.option("--baud", "rates", type=click.IntRange(300, 4_000_000), multiple=True, help="Try only this baud rate.")
@click.option("--even", is_flag=True, help="Try even parity too.")
@click.option(
    "--timeout", type=click.FloatRange(0.02, 10), default=0.2, show_default=True, help="Seconds to wait for a response."
)
@click.option(
    "--models",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_models,
    help="List the models and their products, and exit.",
)
def main(
    hosts: tuple[str, ...],
    ports: tuple[str, ...],
    no_serial: bool,
    chosen: tuple[int, ...],
    all_units: bool,
    rates: tuple[int, ...],
    even: bool,
    timeout: float,
) -> None:
    """Find Modbus devices on the serial adapters and at the HOSTS given; print the configuration to paste.

    Devices are only read. Stop modbus_poller first: a port serves one program at a time. The configuration goes
    to standard output, everything else to standard error. Exit codes: 0 a device was identified, 1 none.
    """
    connected = [] if ports or no_serial else adapters.connected()
    for adapter in connected:
        click.echo(f"{adapter.path}: {adapter.description}", err=True)
    lines = [*map(_path, ports), *(adapter.path for adapter in connected), *map(_line, hosts)]
    if not lines:
        click.echo("no serial adapter found; give a --port or the address of a host", err=True)
        sys.exit(1)
    everything = range(1, scanner.MAX_UNIT_ID + 1)
    unit_ids = everything if all_units else chosen or scanner.likely_unit_ids()
    parities = ["none", "even"] if even else ["none"]
    results = [_scan(line, unit_ids, rates or scanner.RATES, parities, timeout) for line in lines]
    for result in results:
        click.echo(summary(result), err=True)
    if not any(device.model for result in results for device in result.devices):
        click.echo("no device found that a model matches", err=True)
        sys.exit(1)
    click.echo(configuration(results))


def _scan(port: str, unit_ids: Iterable[int], rates: Iterable[int], parities: list[str], timeout: float) -> ScanResult:
    """Return the devices of one line; show a progress bar meanwhile."""
    total = scanner.steps(port, unit_ids, rates, parities)
    text = [""]
    with click.progressbar(
        range(total),
        label=port[-SHOWN_CHARACTERS:],
        file=sys.stderr,
        item_show_func=lambda _: text[0][-SHOWN_CHARACTERS:],
        show_eta=False,
    ) as bar:

        def progress(trying: str) -> None:
            text[0] = trying
            bar.render_progress()

        result = scanner.scan(port, unit_ids, rates, parities, timeout, progress, lambda: bar.update(1))
        text[0] = "done"
        bar.update(total - bar.pos)
        return result


def summary(result: ScanResult) -> str:
    """Return the devices of a line in one line of text."""
    if result.error:
        return f"{result.port}: {result.error}"
    if not result.devices:
        return f"{result.port}: no device answers"
    devices = ", ".join(f"{one.model or 'unknown'} at unit ID {one.unit_id}" for one in result.devices)
    settings = [f"{result.baud} baud"] * bool(result.baud) + ["the adapter echoes"] * result.echoes
    return f"{result.port}: {devices}" + (f" ({', '.join(settings)})" if settings else "")
