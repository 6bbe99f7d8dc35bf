"""`heliograph uploads`: look after the targets of a node's uploader, over the node's broker."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from heliograph import config, node_config
from heliograph.bus import Bus
from heliograph.commands import NoAnswer, Requests
from heliograph.errors import ConfigError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 90.0  # a test may wait for a request that is under way
SERVICE = "uploader"  # also the user: it may command itself, see mosquitto/acl

Ask = Callable[..., dict[str, Any]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The node's configuration.  [default: that of the node that runs here, or ./config.toml]",
)
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """Look after the targets that a node uploads to, while its uploader runs."""
    context.obj = path


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def list_command(context: click.Context, as_json: bool) -> None:
    """Show all targets: state, backlog, dead letters and the last error."""
    with _asking(context.obj) as ask:
        targets = ask("list")["targets"]
    if as_json:
        click.echo(json.dumps(targets, indent=2, ensure_ascii=False))
        return
    for target in targets:
        click.echo("\n".join(_described(target)))
    if not targets:
        click.echo(
            "no targets: add an [[uploader.targets]] section to config.toml, or call `heliograph uploads put NAME`"
        )


@main.command("put")
@click.argument("name")
@click.argument("options", type=click.File("r"), default="-")
@click.pass_context
def put_command(context: click.Context, name: str, options: Any) -> None:
    """Add a target, or change one that was added at runtime. OPTIONS is a JSON file, by default standard input."""
    try:
        values = json.load(options)
    except ValueError as error:
        raise click.ClickException(f"not JSON: {error}") from None
    with _asking(context.obj) as ask:
        ask("put", name=name, options=values)
    click.echo(f"{name} is saved; `heliograph uploads test {name}` shows whether it works")


@main.command("delete")
@click.argument("name")
@click.confirmation_option(prompt="Delete the target, its position and its dead letters?")
@click.pass_context
def delete_command(context: click.Context, name: str) -> None:
    """Delete a target that was added at runtime."""
    with _asking(context.obj) as ask:
        ask("delete", name=name)
    click.echo(f"{name} is deleted")


@main.command("pause")
@click.argument("name")
@click.pass_context
def pause_command(context: click.Context, name: str) -> None:
    """Send nothing to a target; its backlog is kept."""
    with _asking(context.obj) as ask:
        ask("pause", name=name)
    click.echo(f"{name} is paused; its backlog is kept")


@main.command("resume")
@click.argument("name")
@click.pass_context
def resume_command(context: click.Context, name: str) -> None:
    """Continue a paused target, and retry a waiting one at once."""
    with _asking(context.obj) as ask:
        ask("resume", name=name)
    click.echo(f"{name} continues")


@main.command("test")
@click.argument("name")
@click.pass_context
def test_command(context: click.Context, name: str) -> None:
    """Send one reading now and show the response."""
    with _asking(context.obj) as ask:
        answer = ask("test", name=name)
    click.echo(answer["response"] or "accepted")


@main.group("dead-letters")
def dead_letters_group() -> None:
    """Rows that a target rejected: list, edit, retry or drop them."""


@dead_letters_group.command("list")
@click.argument("name")
@click.pass_context
def list_dead_letters_command(context: click.Context, name: str) -> None:
    """Print the dead letters of a target as JSON lines."""
    after: int | None = 0
    with _asking(context.obj) as ask:
        while after is not None:
            page = ask("dead-letters", name=name, after=after, limit=500)
            for letter in page["dead_letters"]:
                click.echo(json.dumps(letter, ensure_ascii=False))
            after = page["next"]


@dead_letters_group.command("edit")
@click.argument("name")
@click.argument("number", type=int)
@click.argument("values", nargs=-1, required=True, metavar="CHANNEL=VALUE...")
@click.pass_context
def edit_command(context: click.Context, name: str, number: int, values: tuple[str, ...]) -> None:
    """Change values of a dead letter; CHANNEL= without a value removes that channel."""
    changes = dict(map(_change, values))
    with _asking(context.obj) as ask:
        letter = ask("dead-letters-edit", name=name, id=number, values=changes)["dead_letter"]
    click.echo(json.dumps(letter, ensure_ascii=False))


@dead_letters_group.command("retry")
@click.argument("name")
@click.argument("numbers", nargs=-1, type=int)
@click.pass_context
def retry_command(context: click.Context, name: str, numbers: tuple[int, ...]) -> None:
    """Retry dead letters: those with these NUMBERS, or all."""
    with _asking(context.obj) as ask:
        count = ask("dead-letters-retry", name=name, ids=list(numbers) or None)["count"]
    click.echo(f"dead letters to retry: {count}")


@dead_letters_group.command("drop")
@click.argument("name")
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.pass_context
def drop_command(context: click.Context, name: str, numbers: tuple[int, ...], everything: bool) -> None:
    """Delete dead letters: those with these NUMBERS, or --all."""
    if bool(numbers) == everything:
        raise click.UsageError("give the NUMBERS of the dead letters, or --all")
    with _asking(context.obj) as ask:
        count = ask("dead-letters-drop", name=name, ids=None if everything else list(numbers))["count"]
    click.echo(f"dead letters deleted: {count}")


def _change(text: str) -> tuple[str, Any]:
    channel, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not CHANNEL=VALUE")
    try:
        return channel, json.loads(value) if value else None
    except ValueError:
        return channel, value


def _described(target: dict[str, Any]) -> Iterator[str]:
    origin = "config.toml" if target["configured"] else "added at runtime"
    yield f"{target['name']} ({target['kind']}, {origin}): {target['state']}"
    if target.get("backlog"):
        oldest = f", oldest {_formatted(target['oldest'])}" if target.get("oldest") else ""
        eta = f", done about {_formatted(target['eta'])}" if target.get("eta") else ""
        yield f"  backlog: {target['backlog']}{oldest}{eta}"
    yield f"  sent: {target.get('sent', 0)}" + (
        f", last {_formatted(target['last_success'])}" if target.get("last_success") else ""
    )
    if target.get("skipped"):
        yield f"  skipped as too old: {target['skipped']}"
    if target.get("passed_over"):
        yield f"  passed over, as the target had newer rows: {target['passed_over']}"
    if target.get("dead_letters") or target.get("dropped"):
        yield f"  dead letters: {target['dead_letters']}, dropped: {target.get('dropped', 0)}"
    if target.get("last_error"):
        yield f"  last error, {_formatted(target['error_time'])}: {target['last_error']}"


def _formatted(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@contextmanager
def _asking(path: Path | None) -> Iterator[Ask]:
    """Connect to the node's broker, and yield a function that sends requests to the uploader; every error ends the command with one sentence."""
    path = node_config.find(path)
    if path is None:
        raise click.UsageError(node_config.NOT_FOUND)
    if node_config.has_stopped(path):
        raise click.ClickException(f"the node does not run: {node_config.how_to_start(path)}")
    try:
        file = config.read(path)
        node = config.section(config.Node, file, "node", path, SERVICE)
        broker = config.section(config.Broker, file, "broker", path, SERVICE)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    with Bus(broker, f"{node.name}-uploads", SERVICE) as bus:  # a client's name of its own
        if not bus.wait_connected(CONNECT_SECONDS):
            raise click.ClickException(f"no answer from the broker at {broker.host}:{broker.port}")
        requests = Requests(bus, node.name, SERVICE)

        def ask(command: str, **payload: object) -> dict[str, Any]:
            body = msgspec.json.encode(payload)
            answer = msgspec.json.decode(
                requests.ask(node.name, SERVICE, command, body, ANSWER_SECONDS), type=dict[str, Any]
            )
            if not answer["ok"]:
                raise click.ClickException(str(answer.get("error") or answer.get("response")))
            return answer

        try:
            yield ask
        except NoAnswer as error:
            raise click.ClickException(f"{error}; is it running?") from None
