"""The options of `heliograph start`; needs nothing but Python, so that help comes before anything is installed."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph import __version__


@dataclass(frozen=True)
class StartOptions:
    """What to run, and where."""

    config: Path | None  # None: config.toml if there is one, else the simulated site alone
    data: Path
    host: str
    port: int
    broker_port: int | None  # None: BROKER_PORT, or the next one that is free
    simulate: bool | None  # None: if there is no configuration


BROKER_PORT = 1883


def parse(arguments: Sequence[str] | None = None, program: str = "scripts/start") -> StartOptions:
    """Return the options on the command line; raise SystemExit after printing help, the version or a mistake."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Run a Heliograph node on this machine until Ctrl-C: broker, services and dashboard.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: config.toml)")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), metavar="FOLDER", help="state folder (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the dashboard listens (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port of the dashboard and the REST API (default: %(default)s)"
    )
    parser.add_argument(
        "--broker-port",
        type=int,
        metavar="PORT",
        help=f"port of the broker (default: {BROKER_PORT}, or the next free one)",
    )
    parser.add_argument(
        "--simulate",
        action=argparse.BooleanOptionalAction,
        help="add the simulated site, or do not (default: add it if there is no configuration)",
    )
    parser.add_argument("--version", action="version", version=f"heliograph {__version__}")
    return StartOptions(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    parse()
