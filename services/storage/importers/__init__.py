"""Kinds of files that `heliograph-store import` reads: every module in this folder is one, except `shared`.

A module is called as its command is, and has a function `plan(paths, **options)` that returns a shared.parts.ImportPlan.
The docstring of `plan` is the help of the command, its decorators are the options beyond those that all have (the
store, the files, --dry-run). It raises click.ClickException for options that do not suit the files.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

SHARED = "shared"  # the only folder here that does not stand for a kind of files


def known() -> list[str]:
    """Return the names of all kinds of files."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != SHARED)


def load(name: str) -> Callable[..., Any]:
    """Return the function `plan` of a kind of files."""
    plan: Callable[..., Any] = import_module(f"{__name__}.{name}").plan
    return plan
