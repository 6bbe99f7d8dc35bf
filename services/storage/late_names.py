"""Readings that come after the rename of their device, from a time before it: they belong to what has the new name.

A producer keeps readings until they are stored, and sends them again after a restore, under the names of then. The time of a
reading tells what its name meant: before the rename the renamed device, afterwards something else that took the name.
"""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

from heliograph.messages import Block
from heliograph.renames import Renames


class LateNames:
    """Gives blocks of readings the names that their devices and channels have now."""

    def __init__(self, renames: Renames) -> None:
        """Take all renames of the store; those whose time is not known leave names as they are."""
        self._renames = renames
        self._newest = max((entry.at for entry in renames.entries), default=0.0)

    def present(self, node: str, blocks: Iterable[Block]) -> list[Block]:
        """Return the blocks of a node's frame, those with readings from before a rename cut into several."""
        result: list[Block] = []
        for block in blocks:
            if not any(time < self._newest for row in block.rows if (time := _time(row)) is not None):
                result.append(block)
                continue
            named = ((self._names(node, block, _time(row)), row) for row in block.rows)
            for (device, channels), rows in groupby(named, itemgetter(0)):
                result.append(Block(device, channels, [row for _, row in rows]))
        return result

    def _names(self, node: str, block: Block, time: float | None) -> tuple[str, tuple[str, ...]]:
        """Return device and channels of a reading as they are called now; as they came, if that would be of another node."""
        if time is None:
            return block.device, block.channels
        then = f"{self._renames.node_at(node, time)}/{block.device}"
        owner, _, device = self._renames.present_from(then, time).partition("/")
        names = [self._renames.present_from(f"{then}/{channel}", time) for channel in block.channels]
        channels = tuple(name.rpartition("/")[2] for name in names)
        if owner != node:
            return block.device, block.channels
        return device, channels if len(set(channels)) == len(channels) else block.channels


def _time(row: list[Any]) -> float | None:
    return row[0] if row and type(row[0]) in (int, float) else None
