"""`heliograph store import …`: a command for each kind of files that there is."""

from functools import wraps
from typing import Any

import click

from services.storage import importers
from services.storage.cli.import_session import run
from services.storage.location import StoreAccess, store_options

SOURCES = {"paths", "server"}  # how the arguments of importers are called


@click.group("import")
def import_group() -> None:
    """Bring readings of other systems into the store.

    Storage must be stopped meanwhile. Importing the same again changes nothing, so an import that was cut off is
    simply repeated. What cannot be used is counted and shown; the rest is kept.
    """


def _add_command(name: str) -> None:
    plan, argument = importers.load(name)

    @import_group.command(name)
    @store_options
    @argument
    @click.option("--dry-run", is_flag=True, help="Read and judge everything, store nothing.")
    @wraps(plan)  # with its help and its options
    def command(store: StoreAccess, *, dry_run: bool, **options: Any) -> None:
        run(store, plan(options.pop(SOURCES.intersection(options).pop()), **options), dry_run=dry_run)


for kind in importers.known():
    _add_command(kind)
