"""Where the families of devices are listed, and what the broker has to allow for each of them."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

from services.mqtt_importer import families
from services.mqtt_importer.parsing.parsed import Family
from services.mqtt_importer.source import MqttSource
from tests.lists import Listing


def lists() -> Iterator[Listing]:
    names = families.known()
    yield Listing(
        "services/mqtt_importer/README.md",
        "| family | what it reads | where commands go |",
        "",
        ["|---|---|---|", *(f"| `{name}` | {summary(name)} | {commands(name)} |" for name in names)],
    )
    yield Listing(
        "services/mqtt_importer/sample.toml",
        "## What the devices are, the name of a module in families/:",
        "family =",
        [f"##   {name:<{max(map(len, names))}}  {plain(summary(name))}" for name in names],
    )
    yield Listing(
        "mosquitto/acl",
        "# python -m tests.lists writes these lines from services/mqtt_importer/families/:",
        "",
        [line for name in names for line in rules(name)],
    )


def summary(name: str) -> str:
    """Return the first line of a family's module, which says what it reads."""
    return str(import_module(f"{families.__name__}.{name}").__doc__).partition("\n")[0].rstrip(".")


def plain(markdown: str) -> str:
    return markdown.replace("`", "")


def default(name: str) -> Family | None:
    """Return a family without options, None if it needs some."""
    with suppress(ValueError):
        return families.load(name)(MqttSource(family=name))
    return None


def commands(name: str) -> str:
    family = default(name)
    return ", ".join(f"`{one}`" for one in family.command_filters) if family else ""


def rules(name: str) -> list[str]:
    """Return what the broker has to allow for a family without options."""
    family = default(name)
    if family is None:
        return []
    reads = [f"topic read {one}" for one in family.filters]
    return [f"# {name}", *reads, *(f"topic write {one}" for one in family.command_filters)]
