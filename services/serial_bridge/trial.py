"""Listen to each configured port and print what would be published: python -m services.serial_bridge.trial [config.toml]."""

from typing import Any

from heliograph import trial
from heliograph.trial_outcome import Input
from services.serial_bridge.bridge import main
from services.serial_bridge.options import PortOptions, SerialBridge, SocketOptions

PORT = "check `port`: `ls -l /dev/serial/by-id` lists the adapters that are plugged in"
SOCKET = "choose another `port`, or stop what listens there"


def as_it_is(options: SerialBridge) -> SerialBridge:
    """Return the options: nothing here has an interval."""
    return options


def inputs(options: SerialBridge, seen: trial.Seen) -> list[Input]:
    """Return how each port and socket does."""
    ports, sockets = seen.facts.get("ports", {}), seen.facts.get("sockets", {})
    return [
        *(_port(port, ports.get(port.name, {})) for port in options.ports),
        *(_socket(socket, sockets.get(socket.name, {})) for socket in options.sockets),
    ]


def _port(port: PortOptions, fact: dict[str, Any]) -> Input:
    failure = fact.get("error", "")
    silence, action = _silence(
        fact,
        f"check the wiring and `baud` ({port.speed} now), or listen longer with --seconds",
        f"check `format` ({port.format} now) and `baud` ({port.speed} now)",
    )
    if failure:
        action = trial.IN_USE if "in use" in failure else "" if "permission" in failure else PORT
    devices = tuple(fact.get("devices", ()))
    return Input(f"{port.name} at {port.port}", devices, listens=True, failure=failure, silence=silence, action=action)


def _socket(socket: SocketOptions, fact: dict[str, Any]) -> Input:
    failure = fact.get("error", "")
    silence, action = _silence(
        fact,
        f"check that a client sends to {socket.host}, port {socket.port}, or listen longer with --seconds",
        f"check `format` ({socket.format} now) and what the client sends",
    )
    devices = tuple(fact.get("devices", ()))
    name = f"{socket.name} on port {socket.port}"
    return Input(name, devices, listens=True, failure=failure, silence=silence, action=SOCKET if failure else action)


def _silence(fact: dict[str, Any], none: str, unread: str) -> tuple[str, str]:
    """Return what to report of a source without a reading, and what to do."""
    lines = fact.get("lines", 0)
    return (f"{lines} lines have come, and no reading was in them", unread) if lines else ("nothing has come", none)


if __name__ == "__main__":
    trial.run("serial_bridge", SerialBridge, main, inputs, hurried=as_it_is)
