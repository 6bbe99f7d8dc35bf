"""Run with: python -m simulator --help."""

import logging
import os
import signal
import socket
import threading
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from simulator.faults import KINDS
from simulator.replay import NoRowsError, record
from simulator.running import LOG_LINE, LOG_TIME, Running, SimulatorOptions, run
from simulator.site import SitePlan

STOP = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger("simulator")


class Zone(click.ParamType[tzinfo]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """Return the zone, or fail with a usage error."""
        if value == "UTC":
            return UTC
        try:
            return ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"no time zone {value!r}", param, ctx)


latitude = click.option("--latitude", type=click.FloatRange(-90, 90), default=52.52, show_default=True)
longitude = click.option("--longitude", type=click.FloatRange(-180, 180), default=13.41, show_default=True)
timezone = click.option(
    "--timezone",
    type=Zone(),
    default="UTC",
    show_default=True,
    help="Whose midnights end the days of the counters, and of --start and --day.",
)
seed = click.option("--seed", default=1, show_default=True, help="Equal seeds see equal weather.")
port = click.IntRange(0, 65535)


@click.group(invoke_without_command=True)
@latitude
@longitude
@timezone
@seed
@click.option("--start", type=click.DateTime(), help="The site's time at start; default: now.")
@click.option(
    "--speed",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=1.0,
    show_default=True,
    help="How much faster than real time the site's time goes.",
)
@click.option(
    "--link-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the links tracer and emontx to the serial ports in this folder.",
)
@click.option("--tcp-port", type=port, default=0, help="Modbus TCP; default: a free one.")
@click.option("--rtu-tcp-port", type=port, default=0, help="RTU over TCP; default: a free one.")
@click.option("--control-port", type=port, default=0, help="For faults; default: a free one.")
@click.option(
    "--baud",
    type=click.IntRange(0, 4_000_000),
    default=0,
    help="Answer on the serial line as late as this speed would; default: at once.",
)
@click.option(
    "--radio-seconds",
    type=click.FloatRange(0.01),
    default=10.0,
    show_default=True,
    help="How often the emonTx nodes send.",
)
@click.option("--three-phase/--no-three-phase", help="Add an SDM630 as unit 3.")
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Let the Tracer show the rows of this CSV file; may be given several times.",
)
@click.option(
    "--replay-clock",
    type=click.Choice(["start", "wall"]),
    default="start",
    show_default=True,
    help="From the first row on at --speed, or the rows of the wall-clock time.",
)
@click.option(
    "--replay-timezone",
    type=Zone(),
    default="UTC",
    show_default=True,
    help="What the times of the files are in.",
)
@click.pass_context
def main(
    context: click.Context,
    latitude: float,
    longitude: float,
    timezone: tzinfo,
    seed: int,
    start: datetime | None,
    speed: float,
    link_folder: Path | None,
    tcp_port: int,
    rtu_tcp_port: int,
    control_port: int,
    baud: int,
    radio_seconds: float,
    three_phase: bool,
    replay: tuple[Path, ...],
    replay_clock: Literal["start", "wall"],
    replay_timezone: tzinfo,
) -> None:
    """Run a solar site without hardware until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    if replay_clock == "wall" and speed != 1:
        raise click.UsageError("--replay-clock wall goes as fast as the wall clock")
    options = SimulatorOptions(
        plan=_plan(latitude, longitude, timezone, seed),
        start=start.replace(tzinfo=timezone) if start else None,
        speed=speed,
        link_folder=link_folder,
        tcp_port=tcp_port,
        rtu_tcp_port=rtu_tcp_port,
        control_port=control_port,
        baud=baud,
        radio_seconds=radio_seconds,
        three_phase=three_phase,
        replay=replay,
        replay_clock=replay_clock,
        replay_timezone=replay_timezone,
    )
    logging.basicConfig(level=logging.INFO, format=LOG_LINE, datefmt=LOG_TIME)
    threading.excepthook = _crash
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # before there are threads
    try:
        with run(options) as running:
            _announce(running)
            signal.sigwait(STOP)
            log.info("stopping")
    except (NoRowsError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command("record")
@latitude
@longitude
@timezone
@seed
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--every", type=click.FloatRange(5), default=120.0, show_default=True)
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def write_day(
    latitude: float,
    longitude: float,
    timezone: tzinfo,
    seed: int,
    day: datetime,
    every: float,
    file: Path,
) -> None:
    """Write a day of the modelled site as a CSV FILE that --replay can read."""
    plan = _plan(latitude, longitude, timezone, seed)
    start = day.replace(tzinfo=timezone)
    seconds = timedelta(days=1).total_seconds()
    lines = record(plan, start, every, int(seconds // every))
    file.write_text("".join(f"{line}\n" for line in lines))


@main.command("fault")
@click.argument("device")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("seconds", type=click.FloatRange(0, 3600), default=1.0)
@click.option("--control-port", type=port, required=True)
def give_fault(device: str, kind: str, seconds: float, control_port: int) -> None:
    """Give a DEVICE of a running site a fault, or none."""
    try:
        with socket.create_connection(("127.0.0.1", control_port), 5) as connection:
            connection.sendall(f"fault {device} {kind} {seconds}\n".encode())
            answer = connection.makefile().readline().strip()
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if answer != "ok":
        raise click.ClickException(answer.removeprefix("error: "))


def _crash(failure: threading.ExceptHookArgs) -> None:
    """End the process: half a site would look healthy."""
    threading.__excepthook__(failure)
    os._exit(1)


def _plan(latitude: float, longitude: float, timezone: tzinfo, seed: int) -> SitePlan:
    return SitePlan(latitude=latitude, longitude=longitude, timezone=str(timezone), seed=seed)


def _announce(running: Running) -> None:
    units = ", ".join(f"{n} {device.name}" for n, device in running.line.units.items())
    log.info("modbus rtu (units %s) at %s", units, running.line.path)
    log.info("modbus tcp at 127.0.0.1:%d", running.tcp.port)
    log.info("modbus rtu over tcp at 127.0.0.1:%d", running.rtu_tcp.port)
    log.info("emontx (radio nodes) at %s", running.emontx.path)
    log.info("control at 127.0.0.1:%d", running.control.port)


if __name__ == "__main__":
    main()
