"""The options of `heliograph start`; needs nothing but Python, so that help comes before anything is installed."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import programs
from heliograph import __version__

DATA = Path("data")
HOST = "127.0.0.1"
PORT = 8000
BROKER_PORT = 1883


@dataclass(frozen=True)
class StartOptions:
    """What the command line says; None where the configuration decides, or the default does."""

    config: Path | None  # None: config.toml if there is one, else the simulated site alone
    data: Path | None
    host: str | None
    port: int | None
    broker_port: int | None
    simulate: bool | None  # None: if there is no configuration
    logfile: Path | None = None  # None: in the run folder


def demo_data() -> Path:
    """Return the state folder of a node without a configuration: `data`, or where an installed program keeps its data.

    The latter is heliograph in $XDG_DATA_HOME (XDG Base Directory Specification): the current folder may be any then.
    """
    if programs.IS_CHECKOUT:
        return DATA
    home = os.environ.get("XDG_DATA_HOME") or Path(os.environ.get("HOME", "/")) / ".local/share"
    return Path(home) / "heliograph"


def parse(arguments: Sequence[str] | None = None, program: str = "scripts/start") -> StartOptions:
    """Return the options on the command line; raise SystemExit after printing help, the version or a mistake."""
    return StartOptions(**vars(parser(program).parse_args(arguments)))


def parser(program: str) -> argparse.ArgumentParser:
    """Return what parses the options, and prints their help."""
    without = "" if programs.IS_CHECKOUT else "; without a configuration ~/.local/share/heliograph"
    made = argparse.ArgumentParser(
        prog=program,
        description="Run a Heliograph node on this machine until Ctrl-C: broker, services and dashboard.",
        epilog="What is not given here is taken from the configuration.",
        allow_abbrev=False,
    )
    made.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: config.toml)")
    made.add_argument(
        "--data", type=Path, metavar="FOLDER", help=f"state folder (default: [node] data, else {DATA}{without})"
    )
    made.add_argument("--host", help=f"where the dashboard listens (default: [api] host, else {HOST})")
    made.add_argument(
        "--port", type=_port, help=f"port of the dashboard and the REST API (default: [api] port, else {PORT})"
    )
    made.add_argument(
        "--broker-port",
        type=_port,
        metavar="PORT",
        help=f"port of the node's own broker (default: [broker] port, else {BROKER_PORT} or the next free one)",
    )
    made.add_argument(
        "--simulate",
        action=argparse.BooleanOptionalAction,
        help="add the simulated site, or do not (default: add it if there is no configuration)",
    )
    made.add_argument(
        "--logfile",
        type=Path,
        metavar="FILE",
        help="where what is logged is kept, 1 MB and four older files of that size "
        "(default: run/log/node.log in the state folder)",
    )
    made.add_argument("--version", action="version", version=f"heliograph {__version__}")
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


if __name__ == "__main__":
    parse()
