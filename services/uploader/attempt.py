"""The one place of the uploader where every exception is caught (docs/decisions/0012-a-target-that-raises.md)."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempt(act: Callable[[], T]) -> T | Exception:
    """Return what a call returns, or the exception that it raised; a caller reports it or raises it elsewhere."""
    try:
        return act()
    except Exception as error:
        return error
