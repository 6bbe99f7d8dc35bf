"""Arithmetic on whole columns: `ops` uses numpy where it is installed, plain Python elsewhere; both give the same bits.

Columns of times are int64 (ms UTC), columns of values float64. A segment is a run of rows,
given by the index of its first row; it ends where the next one starts. A sum of decimal readings
(at most six decimal places) is exact: their integers are added and divided once. Any
other sum is rounded once, as math.fsum does it. So a sum depends neither on the order in
which readings arrived nor on where they are stored.
"""

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Protocol, overload


class Vector(Protocol):
    """A column: `array.array` or `numpy.ndarray`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    @overload
    def __getitem__(self, index: slice, /) -> "Vector": ...

    @overload
    def __getitem__(self, index: int, /) -> Any: ...

    def tolist(self) -> list[Any]:
        """Return the numbers as Python's own."""
        ...

    def tobytes(self) -> bytes:
        """Return the numbers as they are in this machine's memory."""
        ...


def _choose() -> ModuleType:
    try:
        importlib.import_module("numpy")
    except ImportError:
        return importlib.import_module("heliograph.store.plain_vectors")
    return importlib.import_module("heliograph.store.fast_vectors")


ops = _choose()
