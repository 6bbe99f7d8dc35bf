"""`heliograph doctor`: what is wrong with a node and its machine."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import heliograph
from cli.config_option import config_option
from cli.doctor import connections, machine
from cli.doctor.finding import Finding
from cli.node_api import NodeApi, NotReachable, address
from heliograph import config, node_config, remedies
from heliograph.errors import ConfigError


@click.command()
@config_option
def main(chosen: Path | None) -> None:
    """Look for what is wrong: clock, broker and passwords, ports, disk, card, time zone, versions, and the node's own report.

    Each finding is a line with what to do; the exit code is 1 then. It also works while the node does not run.
    """
    path = node_config.find(chosen)
    try:
        file = config.read(path) if path else {}
        node = config.section(config.Node, file, "node", path or node_config.CONFIG)
        findings = list(_findings(path, file, node))
    except ConfigError as error:
        findings = [Finding("config", str(error), "correct it; heliograph check finds all mistakes")]
        click.echo(f"{findings[0].summary} -> {findings[0].action}")
        sys.exit(1)
    for one in findings:
        click.echo(f"{one.summary} -> {one.action}")
    if not findings:
        stopped = path and node_config.has_stopped(path)
        hint = f"; the node does not run: {node_config.how_to_start(path)}" if stopped else ""
        click.echo(f"{node.name}: nothing found{hint}")
    sys.exit(1 if findings else 0)


def _findings(path: Path | None, file: Mapping[str, Any], node: config.Node) -> Iterator[Finding]:
    """Yield what is wrong; what the node reports of itself comes in its words, and once."""
    health = None
    data = Path(node.data)
    answers_at = path
    if path and node_config.has_stopped(path):  # broker and simulated site were of that run
        path = node_config.written_by_user(path)
        file = config.read(path) if path else {}
    try:
        if not node.producers_only:  # else the API is that of the node that has the store
            health = NodeApi(address(answers_at)).health()
    except NotReachable as error:
        if node_config.is_running(data):
            yield Finding("api_away", f"the node runs, but there is {error}", remedies.SEE_LOG.format(service="api"))
    reported = list(_reported(health)) if health else []
    yield from reported
    known = {(one.code, one.service) for one in reported}
    if path:
        yield from (one for one in connections.broker(path, file) if (one.code, one.service) not in known)
    if health is None:
        if answers_at is None:
            summary = f"no node runs here, and there is no {node_config.CONFIG}"
            yield Finding(
                "no_node", summary, "`heliograph start` starts one, --config names the file of another folder"
            )
        elif path and path != node_config.CONTAINER_CONFIG and not node_config.is_running(data):
            yield from _mistakes(path)
        yield from machine.clock(node)
        yield from machine.disk(data)
        yield from connections.ports(path, file)
    yield from machine.card()
    yield from machine.zone()
    if path != node_config.CONTAINER_CONFIG and file.get("broker", {}).get("host") in (None, "127.0.0.1"):
        yield from machine.mosquitto(data)


def _mistakes(path: Path) -> Iterator[Finding]:
    """Yield why a node would not start with a configuration."""
    from cli.start import config_check  # needs a package that no container has

    try:
        config_check.check_file(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding("config", line, "correct it; heliograph check tells whether all is good")


def _reported(health: Mapping[str, Any]) -> Iterator[Finding]:
    for one in health["problems"]:
        yield Finding(one["code"], one["summary"], one["action"], one["service"])
    for name, service in health["services"].items():
        version = service["version"]
        if service["state"] == "online" and version != heliograph.__version__:
            summary = f"{name} runs version {version}, this command is of {heliograph.__version__}"
            yield Finding("old_version", summary, "restart the node")
