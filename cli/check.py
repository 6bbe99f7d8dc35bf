"""`heliograph check`: a configuration, without starting anything."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import tomli_w

from cli.start import config_check, plan
from cli.start.plan import Plan
from heliograph import config, node_config
from heliograph.errors import ConfigError
from heliograph.redaction import REDACTED

SECRET_WORDS = ("password", "token", "key", "secret", "headers")  # in the names of options
USER_INFO = re.compile(r"(?<=://)[^/@]*(?=@)")  # RFC 3986, 3.2.1


@click.command()
@click.argument("chosen", metavar="[CONFIG]", type=click.Path(path_type=Path), required=False)
@click.option("--show-settings", is_flag=True, help="Print what the services will read, without secrets.")
def main(chosen: Path | None, show_settings: bool) -> None:
    """Check a configuration, config.toml or CONFIG, without starting the node.

    Every mistake is a line that names file, key, what was expected and what was written; the exit code is 1 then.
    """
    path = chosen or _of_this_node()
    try:
        if not chosen and not path.exists():
            raise ConfigError(
                f"{path}: there is none here; `heliograph sample > {path}` begins one, docs/first-steps.md has short ones"
            )
        node_plan, file = config_check.check_file(path)
        node = config.section(config.Node, file, "node", path)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(1)
    if show_settings:
        click.echo(tomli_w.dumps(_without_secrets(file)), nl=False)
    else:
        click.echo("\n".join(_summary(node, node_plan)))


def _of_this_node() -> Path:
    """Return the configuration that is here, else that of the node that runs here or was started last."""
    path = node_config.CONFIG if node_config.CONFIG.exists() else node_config.find()
    return (path and node_config.written_by_user(path)) or path or node_config.CONFIG


def _summary(node: config.Node, node_plan: Plan) -> Iterator[str]:
    broker = node_plan.file.get("broker", {})
    elsewhere = f"{broker['host']}, port {broker.get('port', 1883)}" if "host" in broker else ""
    yield f"{node_plan.path}: all good"
    if node_plan.path and node_config.written_by_user(node_plan.path) is None:
        yield "  there is no config.toml: this is what `heliograph start` made for the simulated site"
    yield f"  node       {node.name}"
    yield f"  data       {node_plan.data}"
    here = f"http://{node_plan.host}:{node_plan.port}/"
    yield f"  dashboard  {'of the node that has the store' if node.producers_only else here}"
    yield f"  broker     {elsewhere or 'its own'}"
    yield f"  services   {', '.join(plan.services_of(node_plan.file))}"


def _without_secrets(value: Any, name: str = "") -> Any:
    """Return a value of the configuration; texts of options that may hold a secret are "…", unless they refer to one."""
    if isinstance(value, dict):
        return {key: _without_secrets(item, key if not _is_secret(name) else name) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, name) for item in value]
    if not isinstance(value, str) or value.startswith(("file:", "$")):
        return value
    return REDACTED if value and _is_secret(name) else USER_INFO.sub(REDACTED, value)


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS)
