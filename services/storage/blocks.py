"""Readings one after another, as the blocks that a store's writer takes."""

from typing import Any

from heliograph.messages import Block


class BlockBuilder:
    """Collects readings into blocks; those of one device stay in order, so that of equal times the last still wins."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, Block]] = []
        self._open: dict[tuple[str, str], tuple[tuple[str, ...], list[list[Any]]]] = {}

    def add(self, node: str, device: str, channels: tuple[str, ...], row: list[Any]) -> None:
        """Take one reading: its time, and a value for each channel."""
        block = self._open.get((node, device))
        if block is None or block[0] != channels:
            rows: list[list[Any]] = []
            block = self._open[node, device] = (channels, rows)
            self._blocks.append((node, Block(device, channels, rows)))
        block[1].append(row)

    def take(self) -> list[tuple[str, Block]]:
        """Return the blocks so far, each with its node, and start again with none."""
        blocks = self._blocks
        self._blocks = []
        self._open.clear()
        return blocks
