"""`heliograph status`: how the node is, in a few lines."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from cli.config_option import config_option
from cli.node_api import NodeApi, NotReachable, address
from heliograph import node_config
from heliograph.errors import ConfigError
from heliograph.outbox_losses import shown

SOUND, DEGRADED, NOT_REACHABLE = 0, 1, 2


@click.command()
@config_option
@click.option(
    "--url", help="The address of a node, such as http://roof.local:8000.  [default: the node that runs here]"
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def main(chosen: Path | None, url: str | None, as_json: bool) -> None:
    """Show how a node is: services, devices, uploads, storage, and what is wrong, with what to do.

    The exit code is 0 if the node is sound, 1 if it has a problem, 2 if it does not answer.
    """
    path = None if url else node_config.find(chosen)
    try:
        api = NodeApi(url or address(path))
        health = api.health()
        devices = api.get("devices")
        nodes = api.get("nodes")
    except (ConfigError, NotReachable) as error:
        stopped = "" if url or isinstance(error, ConfigError) else _stopped(path)
        click.echo(f"Error: {error}{stopped}", err=True)
        sys.exit(NOT_REACHABLE)
    if as_json:
        click.echo(
            json.dumps({"url": api.url, **health, "devices": devices, "nodes": nodes}, indent=2, ensure_ascii=False)
        )
    else:
        click.echo("\n".join(_table(api.url, health, devices, nodes)))
    sys.exit(DEGRADED if health["problems"] else SOUND)


def _stopped(path: Path | None) -> str:
    """Return why no node answers if it does not run, and what to do; "" if it runs."""
    if path is None:
        return f"; {node_config.NOT_FOUND}, or its address with --url"
    data = node_config.data_folder(path)
    if data and node_config.is_running(data):
        return ""
    return f"; the node does not run: {node_config.how_to_start(path)}"


def _table(
    url: str, health: Mapping[str, Any], devices: list[Mapping[str, Any]], nodes: list[Mapping[str, Any]]
) -> Iterator[str]:
    services: Mapping[str, Any] = health["services"]
    yield f"{health['node']}: {health['status']}   {url}/"
    yield from _node(services, [one for one in devices if one["node"] == health["node"]])
    waiting = sum(one["counters"].get("frames_backlog", 0) for one in services.values())
    yield f"  storage    {'answers' if health['store'] else 'does not answer'}, {_wait(waiting, 'message')} to be stored"
    targets = services.get("uploader", {}).get("facts", {}).get("targets") or {}
    for name, target in targets.items():
        yield f"  upload     {name}: {target.get('state')}, {_wait(target.get('backlog') or 0, 'reading')}{_reason(target)}"
    for other in nodes:
        if (name := other["node"]) != health["node"]:
            yield f"{name}: {_state(name, other['services'], health['problems'])}"
            yield from _node(other["services"], [one for one in devices if one["node"] == name])
    for one in health["problems"]:
        since = "" if "since" in one["summary"] else f" (since {shown(one['since'])})"
        yield f"{one['summary']}{since}"
        yield f"  -> {one['action']}"


def _wait(count: int, what: str) -> str:
    return f"1 {what} waits" if count == 1 else f"{count} {what}s wait"


def _reason(target: Mapping[str, Any]) -> str:
    error = target.get("last_error")
    return f": {error}" if error and target.get("state") in ("waiting", "invalid") else ""


def _node(services: Mapping[str, Any], devices: list[Mapping[str, Any]]) -> Iterator[str]:
    yield f"  services   {_counted(Counter(one['state'] for one in services.values()))}"
    yield f"  devices    {_counted(Counter(one['availability'] for one in devices))}"
    for one in devices:
        if one["availability"] == "offline":
            yield f"               {one['device']}: offline{': ' + one['why'] if one['why'] else ''}"


def _state(name: str, services: Mapping[str, Any], problems: list[Mapping[str, Any]]) -> str:
    """Return how another node is, as far as it is seen from here."""
    own = [one for one in problems if one["service"].startswith(f"{name}/") or one["summary"].startswith(f"{name}: ")]
    for one in own:
        if one["code"] == "node_offline":
            return f"offline since {shown(one['since'])}"
    if not any(one["state"] == "online" for one in services.values()):
        return "offline" if services else "no service is known"
    return "degraded" if own else "ok"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common()) or "none"
