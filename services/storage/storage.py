"""The service: what it subscribes to, and the loop that brings messages to the store."""

import queue
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from heliograph import topics
from heliograph.bus import Message
from heliograph.errors import ConfigError, StoreDamaged
from heliograph.heartbeat import BEAT_SECONDS
from heliograph.service import Service
from heliograph.store import open_writer
from heliograph.store.interface import Keep, Writer
from heliograph.write_loop import until_stopped
from services.storage.journal import JournalWriter
from services.storage.maintenance.nightly import NightlyBackup
from services.storage.options import Storage
from services.storage.owned_nodes import OwnedNodes


class _Event(Enum):
    CONNECTED = "connected"


Inbox: TypeAlias = "queue.SimpleQueue[Message | _Event]"


def configured_nodes(options: Storage, service: Service) -> list[str]:
    """Return the nodes whose readings this storage is to store, and no other storage."""
    return list(dict.fromkeys(options.nodes or [service.node]))


def listen(options: Storage, service: Service, inbox: Inbox) -> None:
    """Subscribe to the journals, and the infos of devices, of the nodes that this storage owns; raise ConfigError."""
    if options.backup and service.store.url:
        raise ConfigError("[storage] backup: the store is a database; back it up with the tools of PostgreSQL")
    for node in configured_nodes(options, service):
        service.bus.subscribe(topics.every_device("info", node), inbox.put)
        service.bus.subscribe(topics.every_service("journal", node), inbox.put)
        service.bus.subscribe(topics.every_service("replay", node), inbox.put)
    service.bus.on_connect(lambda: inbox.put(_Event.CONNECTED))
    service.request_announcements()


class StorageWorker:
    """Opens the store, as often as it takes, and writes to it what arrives."""

    def __init__(self, options: Storage, service: Service, inbox: Inbox) -> None:
        self._options = options
        self._service = service
        self._inbox = inbox
        self._store: Writer | None = None
        self._journal: JournalWriter | None = None
        self._nodes: OwnedNodes | None = None
        self._backup = NightlyBackup(service, Path(options.backup)) if options.backup else None

    def work(self) -> None:
        """Open the store, or write what arrives until a commit is due, and commit; raise OSError if that fails.

        Raises ConfigError if another node has the name of this one.
        """
        if self._journal is None or self._nodes is None:
            self._open()
            return
        self._journal.resume()
        self._nodes.tick()
        while (wait := self._journal.seconds_to_commit()) > 0:
            self._service.alive()
            if message := self._nodes.ready():
                self._journal.write(message)
                continue
            try:
                item = self._inbox.get(timeout=min(wait, BEAT_SECONDS))
            except queue.Empty:
                self._maintain(self._journal)
                return
            if isinstance(item, Message):
                self._nodes.admit(item)
            else:
                self._nodes.connected()
                self._journal.publish_watermarks(self._nodes.owned)
        self._journal.commit()
        self._maintain(self._journal)

    def _maintain(self, journal: JournalWriter) -> None:
        journal.maintain()
        if self._backup:
            self._backup.tick()

    def finish(self) -> None:
        """Commit a last time, if there is a store; raise OSError if that fails."""
        if self._journal:
            self._journal.finish()

    def close(self) -> None:
        """Release the store; what is not committed comes again."""
        if self._backup:
            self._backup.close()
        if self._store:
            self._store.close()

    def _open(self) -> None:
        if self._store is None:
            data, url = self._service.store
            nodes = configured_nodes(self._options, self._service)
            keep = Keep(self._options.keep_years, self._options.keep_raw_years, self._options.keep_gigabytes)
            try:
                self._store = open_writer(
                    data, lambda: self._service.clock.synchronised, url=url, keep=keep, nodes=nodes
                )
            except StoreDamaged as error:  # what cannot be mended here waits for a human, and says so in the status
                raise OSError(str(error)) from None
        journal = JournalWriter(self._service, self._store, self._options.commit_seconds, self._owns)
        # Only now, as the one process that writes this store: what its predecessor claimed is over.
        self._nodes = OwnedNodes(
            self._service,
            configured_nodes(self._options, self._service),
            self._store.identity,
            self._inbox.put,
            lambda node: journal.publish_watermarks([node]),
        )
        self._journal = journal

    def _owns(self, node: str) -> bool:
        return self._nodes is not None and self._nodes.owns(node)


def main(options: Storage, service: Service, inbox: Inbox) -> None:
    """Store readings until the process is stopped."""
    with closing(StorageWorker(options, service, inbox)) as worker:
        until_stopped(service, worker.work, worker.finish)
