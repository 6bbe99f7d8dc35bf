"""Readings that replace others: the store keeps one reading of a device for each millisecond, the last that came. Pure."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from heliograph.messages import Block

REMEMBERED_ROWS = 16  # of each device, and set of channels
MAX_KEYS = 20_000


class ReplacedReadings:
    """Finds readings with the time of another one that came shortly before, and other values."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str, tuple[str, ...]], deque[list[Any]]] = {}

    def count(self, node: str, blocks: Iterable[Block]) -> int:
        """Return how many readings of these blocks replace one of the last of their device; the same reading again does not."""
        replaced = 0
        for block in blocks:
            recent = self._recent.get((node, block.device, block.channels))
            if recent is None:
                recent = self._remember(node, block)
            newest = recent[-1][0] if recent else -math.inf
            for row in block.rows:
                try:
                    is_newer = row[0] > newest
                except (IndexError, TypeError):
                    continue  # the store refuses it
                if is_newer:
                    newest = row[0]
                else:
                    replaced += _is_replacement(row, recent)
                recent.append(row)
        return replaced

    def _remember(self, node: str, block: Block) -> deque[list[Any]]:
        if len(self._recent) >= MAX_KEYS:
            del self._recent[next(iter(self._recent))]
        recent = self._recent[node, block.device, block.channels] = deque(maxlen=REMEMBERED_ROWS)
        return recent


def _is_replacement(row: list[Any], recent: deque[list[Any]]) -> bool:
    same = next((earlier for earlier in reversed(recent) if earlier[0] == row[0]), row)
    return same != row
