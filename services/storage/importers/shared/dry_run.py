"""A store that refuses what a real one refuses, and keeps nothing: for `--dry-run`."""

import tempfile
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from heliograph import store
from heliograph.messages import Block, Channel, Info
from heliograph.store.interface import Progress, Refusal, Series


class DryRunStore:
    """An `ImportStore` that discards its readings at every commit; it knows the given series."""

    def __init__(self, known: Iterable[Series]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._infos: dict[tuple[str, str], dict[str, Channel]] = {}
        self._writer = store.open_writer(Path(self._folder.name))
        for (node, device), channels in groupby(known, key=lambda series: (series.node, series.device)):
            self.declare(node, device, Info("", {one.channel: Channel(one.unit, one.kind) for one in channels}))

    @property
    def pending(self) -> int:
        """How many readings would wait for the next commit."""
        return self._writer.pending

    def declare(self, node: str, device: str, info: Info) -> list[Refusal]:
        """Return what a store would refuse."""
        self._infos.setdefault((node, device), {}).update(info.channels)
        return self._writer.declare(node, device, info)

    def write(self, node: str, blocks: list[Block]) -> list[Refusal]:
        """Return what a store would refuse."""
        return self._writer.write(node, blocks)

    def commit(self, progress: Mapping[tuple[str, str], Progress]) -> None:
        """Discard what was written: what is not committed is not kept."""
        self._writer.close()
        self._writer = store.open_writer(Path(self._folder.name))
        for (node, device), channels in self._infos.items():
            self._writer.declare(node, device, Info("", channels))

    def maintain(self) -> bool:
        """Nothing is due where nothing is kept."""
        return False

    def settle(self) -> None:
        """Nothing is due where nothing is kept."""

    def close(self) -> None:
        """Remove it."""
        self._writer.close()
        self._folder.cleanup()
