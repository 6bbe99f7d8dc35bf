"""Where the formats are listed."""

from collections.abc import Iterator
from importlib import import_module

from services.serial_bridge import formats
from tests.lists import Listing


def lists() -> Iterator[Listing]:
    summaries = {name: summary(name) for name in formats.known()}
    undetectable = [f"`{name}`" for name in formats.known() if not formats.load(name).detection]
    summaries["auto"] = f"Detects one of the others, but not {', '.join(undetectable[:-1])} and {undetectable[-1]}"
    yield Listing(
        "services/serial_bridge/README.md",
        "| `format` | what comes in |",
        "",
        ["|---|---|", *(f"| `{name}` | {text} |" for name, text in summaries.items())],
    )
    yield Listing(
        "services/serial_bridge/sample.toml",
        "## What comes in, the name of a module in formats/, or auto:",
        "format =",
        [f"##   {name:<{max(map(len, summaries))}}  {text.replace('`', '')}" for name, text in summaries.items()],
    )


def summary(name: str) -> str:
    """Return the first line of a format's module, which says what comes in."""
    return str(import_module(f"{formats.__name__}.{name}").__doc__).partition("\n")[0].rstrip(".").replace("|", "/")
