"""Kinds of files that `heliograph store import` reads: every module in this folder is one, except `shared`.

A module is called as its command is, and has a function `plan(paths, **options)` that returns a shared.parts.ImportPlan.
The docstring of `plan` is the help of the command, its decorators are the options beyond those that all have (the
store, the files, --dry-run). It raises click.ClickException for options that do not suit the files. A module whose source
is no file names its argument with `ARGUMENT`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import click

SHARED = "shared"  # the only folder here that does not stand for a kind of files


def known() -> list[str]:
    """Return the names of all kinds of files."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != SHARED)


class Importer(NamedTuple):
    """The function `plan` of a kind of files, and what names them on the command line."""

    plan: Callable[..., Any]
    argument: Callable[..., Any]


FILES = click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))


def load(name: str) -> Importer:
    """Return the importer of a kind of files."""
    module = import_module(f"{__name__}.{name}")
    return Importer(module.plan, getattr(module, "ARGUMENT", FILES))
