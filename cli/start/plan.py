"""What `heliograph start` will run: the command line, then the configuration, then the defaults."""

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli import programs
from cli.start import options
from cli.start.options import StartOptions
from heliograph import config, nearest
from heliograph.errors import ConfigError
from heliograph.producer_services import PRODUCERS

ALWAYS = ("storage", "api", "uploader")  # they need no section: defaults, or settings made over the API
BROKER_PORTS = 20  # how many are tried
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Plan:
    """A node to start. `path` is None without a configuration file.

    `broker_port` is None where the configuration names another broker, 0 until `choose_ports` has found a free one.
    """

    path: Path | None
    file: dict[str, Any]
    data: Path
    host: str
    port: int
    broker_port: int | None
    simulate: bool


def services() -> list[str]:
    """Return the names of all services that there are."""
    return sorted(path.parent.name for path in programs.ROOT.glob("services/*/__main__.py"))


def has_producers_only(file: Mapping[str, Any]) -> bool:
    """Whether another node has the store of the node that a configuration describes."""
    node = file.get("node")
    return isinstance(node, dict) and node.get("producers_only") is True


def services_of(file: Mapping[str, Any]) -> list[str]:
    """Return the names of the services that run with a configuration."""
    always = () if has_producers_only(file) else ALWAYS
    return [name for name in services() if name in file or name in always]


def make(chosen: StartOptions) -> Plan:
    """Return what to run; raise ConfigError, which names the option or the key."""
    path, simulate = _configuration(chosen)
    file = read(path) if path else {}
    node = _section(file, "node", path)
    api = _section(file, "api", path)
    if has_producers_only(file):
        _check_producers(file, path, simulate=simulate)
    default = options.DATA if path else options.demo_data()
    written = _value(node, "data", str(default), "[node] data", path)
    try:
        config.check_path(written, "data")
    except ValueError as error:
        raise ConfigError(f"{path}: [node]: {error}") from None
    data = chosen.data or Path(written)
    return Plan(
        path=path,
        file=file,
        data=data.absolute(),
        host=chosen.host or _value(api, "host", options.HOST, "[api] host", path),
        port=chosen.port or _port(api, "[api] port", options.PORT, path),
        broker_port=_broker_port(chosen.broker_port, _section(file, "broker", path), path),
        simulate=simulate,
    )


def _check_producers(file: Mapping[str, Any], path: Path | None, *, simulate: bool) -> None:
    """Raise ConfigError unless a node without a store names its broker, and services that need no store."""
    where = f"{path}: [node] producers_only"
    if "host" not in file.get("broker", {}):
        raise ConfigError(f"{where}: name the broker of the node that has the store: [broker] host (docs/second-pi.md)")
    for name in services_of(file):
        if name not in PRODUCERS:
            raise ConfigError(f"{where}: {name} runs on the node that has the store: take the section [{name}] out")
    if not services_of(file) and not simulate:
        raise ConfigError(f"{where}: nothing to run; add a section for a device: {', '.join(PRODUCERS)}")


def _configuration(chosen: StartOptions) -> tuple[Path | None, bool]:
    """Return the configuration file, and whether to simulate."""
    path = chosen.config
    if path is None and Path("config.toml").exists():
        path = Path("config.toml")
    if path is None and chosen.simulate is False:
        raise ConfigError("there is no config.toml; make one (docs/install.md), or leave --no-simulate out")
    return path, chosen.simulate if chosen.simulate is not None else path is None


def read(path: Path) -> dict[str, Any]:
    """Return the content of a configuration file; raise ConfigError if a section is of no service."""
    file = config.read(path)
    names = [*config.COMMON_SECTIONS, *services()]
    for name in file.keys() - set(names):
        raise ConfigError(f"{path}: [{name}]: no such section{nearest.choices(name, names)}")
    return file


def _section(file: dict[str, Any], name: str, path: Path | None) -> dict[str, Any]:
    section = file.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: {name}: expected a section [{name}], found {section!r}")
    return section


def _value(section: dict[str, Any], key: str, default: str, where: str, path: Path | None) -> str:
    value = section.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path}: {where}: expected a text, found {value!r}")
    return config.resolved(value, f"{path}: {where}", "api")


def _port(section: dict[str, Any], where: str, default: int, path: Path | None) -> int:
    if "port" not in section:
        return default
    port = section["port"]
    if port.__class__ is not int or not 0 < port < 65536:  # true is an int, too
        raise ConfigError(f"{path}: {where}: expected a number from 1 to 65535, found {port!r}")
    return port


def _broker_port(chosen: int | None, section: dict[str, Any], path: Path | None) -> int | None:
    """Return the port of the broker that the node runs; None if the configuration names the host of another one."""
    if "host" in section:
        if chosen is not None:
            raise ConfigError(f"--broker-port is of a broker that this node runs; {path}: [broker] host names another")
        return None
    for key in ("password", "ca"):
        if key in section:
            raise ConfigError(
                f"{path}: [broker] {key}: without host the node runs a broker of its own, with passwords of its own; "
                f"name the host of the broker that this {key} is for, or leave it out"
            )
    return chosen or _port(section, "[broker] port", 0, path)


def choose_ports(plan: Plan, chosen: StartOptions) -> Plan:
    """Return the plan with the port of its broker; raise ConfigError if broker or dashboard cannot listen where they should."""
    if not has_producers_only(plan.file):
        _check_address(plan, chosen)
    if plan.broker_port is None:
        return plan
    if not plan.broker_port:
        return replace(plan, broker_port=next_free_port(options.BROKER_PORT))
    where = "--broker-port" if chosen.broker_port else f"{plan.path}: [broker] port"
    _check_port(LOOPBACK, plan.broker_port, where)
    return plan


def next_free_port(first: int) -> int:
    """Return the first free port, and say it if that is a later one: Debian's mosquitto package starts a broker of its own."""
    for port in range(first, first + BROKER_PORTS):
        if not _refused(LOOPBACK, port):
            if port != first:
                click.echo(f"Port {first} is in use: the broker of this node listens on port {port}.")
            return port
    raise ConfigError(f"port {first} and the next ones are in use; choose another with --broker-port")


def _check_port(host: str, port: int, where: str) -> None:
    """Raise ConfigError, which names `where` the port was chosen, if this machine cannot listen on it."""
    match _refused(host, port):
        case None:
            return
        case errno.EADDRINUSE:
            raise ConfigError(f"{where}: port {port} is in use; choose another")
        case errno.EACCES:
            raise ConfigError(f"{where}: only root may listen on port {port}; choose one from 1024 on")
        case code:
            raise ConfigError(f"{where}: cannot listen on {host}, port {port}: {errno.errorcode.get(code, code)}")


def _check_address(plan: Plan, chosen: StartOptions) -> None:
    """Raise ConfigError if the dashboard cannot listen where it should."""
    where = f"{plan.path}: [api] host" if "host" in plan.file.get("api", {}) and not chosen.host else "--host"
    try:
        socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{where}: no address for {plan.host!r}: {error.strerror}") from None
    if _refused(plan.host, plan.port) == errno.EADDRNOTAVAIL:
        raise ConfigError(f"{where}: {plan.host} is not an address of this machine; 0.0.0.0 listens on all of them")
    is_written = "port" in plan.file.get("api", {}) and not chosen.port
    _check_port(plan.host, plan.port, f"{plan.path}: [api] port" if is_written else "--port")


def _refused(host: str, port: int) -> int | None:
    """Return the error number with which this machine refuses to listen there, None if it does not."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno
    return None
