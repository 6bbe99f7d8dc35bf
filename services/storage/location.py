"""Which store a command works on, and the errors of opening it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from heliograph import config, node_config, store, store_location
from heliograph.errors import ConfigError, DatabaseRefuses, HeliographError
from heliograph.lock import Taken
from heliograph.store.interface import Reader, Writer
from heliograph.store_location import StoreLocation

STOP_STORAGE = (
    "storage is running, and only one process may write: stop it (Ctrl-C in `heliograph start`, or "
    "`docker compose stop storage`), run this again, start it again; meanwhile the producers keep their readings"
)


class StoreAccess(StoreLocation):
    """Where a store is, and how the commands open it."""

    @property
    def folder(self) -> Path:
        """The folder of the store's files; raises click.ClickException for a database, which has none."""
        if self.url:
            raise click.ClickException(
                "this store is a PostgreSQL database: its own tools do that (pg_dump, pg_restore, VACUUM)"
            )
        return super().folder

    def reader(self) -> Reader:
        """Open the store for reading."""
        return store.open_reader(self.data, url=self.url)

    def writer(self) -> Writer:
        """Open the store for writing; raises what `errors_explained` explains."""
        return store.open_writer(self.data, url=self.url)


def store_at(text: str) -> StoreAccess:
    """Return the store that a URL or a data folder names; raise click.UsageError for a URL that is not a store's."""
    return _database(text) if "://" in text else StoreAccess(Path(text))


def _database(url: str) -> StoreAccess:
    try:
        store_location.check(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return StoreAccess(Path(), url)


def configured(path: Path | None) -> StoreAccess:
    """Return the store that a node's configuration names; raise click.UsageError if there is no configuration."""
    path = node_config.find(path)
    if path is None:
        raise click.UsageError(
            "there is no config.toml here, and you have started no node: name its configuration with --config, or its "
            "data folder with --data"
        )
    file = config.read(path)
    node = config.section(config.Node, file, "node", path, "storage")
    return StoreAccess(*store_location.configured(node, path, "storage"))


def chosen_config() -> Path | None:
    """Return the configuration that the options of the running command name; None if they name a store without one."""
    options = click.get_current_context().params
    if options.get("data") is not None or options.get("url") is not None:
        return None
    return node_config.find(options.get("config_file"))


@contextmanager
def errors_explained() -> Iterator[None]:
    """End the command with one sentence that says what to do, whatever is wrong with the store."""
    try:
        yield
    except Taken:
        raise click.ClickException(STOP_STORAGE) from None
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except HeliographError as error:
        raise click.ClickException(f"{error}") from None
    except BrokenPipeError:
        raise
    except DatabaseRefuses as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"the disk refuses: {error}") from None


def state_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that names data folders of other services; `text` is its help."""
    return click.option(
        "--state",
        "state_folders",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help=text,
    )


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name the store it works on, which it gets as its first argument."""

    @click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The node's configuration.  [default: that of the node that runs here, or ./config.toml]",
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The node's data folder (the store is in store/ below it), in place of a configuration.",
    )
    @click.option("--url", help="A PostgreSQL store: postgresql://…, in place of a configuration.")
    @wraps(command)
    def with_store(config_file: Path | None, data: Path | None, url: str | None, *args: Any, **options: Any) -> Any:
        if sum(choice is not None for choice in (config_file, data, url)) > 1:
            raise click.UsageError("--config, --data and --url each name a store: give one of them")
        with errors_explained():
            if url is not None:
                return command(_database(url), *args, **options)
            return command(configured(config_file) if data is None else StoreAccess(data), *args, **options)

    return with_store
