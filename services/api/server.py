"""The process: connects bus and store with uvicorn."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import msgspec
import uvicorn
from starlette.types import ASGIApp

from heliograph import heartbeat, nearest, supervisor, topics
from heliograph.bus import Message
from heliograph.commands import Requests
from heliograph.config import ServiceOptions, read
from heliograph.errors import ConfigError, MessageError
from heliograph.service import Service
from heliograph.store import open_reader
from heliograph.store.damage import Damage
from heliograph.store.readings import FUTURE_SECONDS
from heliograph.written_times import AHEAD_SECONDS
from services.api import dashboard
from services.api.addresses import LOOPBACK, Addresses
from services.api.app import create_app
from services.api.connections import ServerConfig, raise_file_limit
from services.api.health import HealthWatch
from services.api.ingest import keys
from services.api.ingest.opening import open_ingest
from services.api.ingest.options import EmoncmsOptions, PimonitorOptions, SmartPlugOptions
from services.api.ingest.routes import Ingest, PlugPort
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool
from services.api.removed_devices import RemovedDevices
from services.api.seeding import Seeder
from services.api.uploads.client import UploaderClient

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


class Api(ServiceOptions, frozen=True, kw_only=True):
    """The [api] section."""

    RENAMED: ClassVar[Mapping[str, str]] = {"store": "[node] store"}

    host: str = "127.0.0.1"
    port: int = 8000
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = LOOPBACK
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    managers: tuple[str, ...] = ()
    body_limit: int = 1_048_576
    writes_per_second: float = 50.0
    ahead_seconds: float = AHEAD_SECONDS
    pimonitor: PimonitorOptions = PimonitorOptions()
    smartplug: SmartPlugOptions = SmartPlugOptions()
    emoncms: EmoncmsOptions = EmoncmsOptions()

    def __post_init__(self) -> None:
        """Refuse a port that nothing can listen on, and origins that no browser sends."""
        if not 0 < self.port < 65536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"origins: {origin!r} is not an origin such as https://example.org")
        for text in self.trusted_proxies:
            _check_network(text)
        for name, text in self.keys.items():
            _check_key(name, text)
        for name in self.managers:
            if name not in self.keys:
                raise ValueError(f"managers: there is no key {name!r} in [api.keys]{nearest.hint(name, self.keys)}")
        if not 1024 <= self.body_limit <= 16 << 20:
            raise ValueError(f"body_limit: {self.body_limit} is not between 1024 bytes and 16 MiB")
        if not 0 < self.writes_per_second <= 10_000:
            raise ValueError(f"writes_per_second: {self.writes_per_second} is not between 0 and 10000")
        if not 0 <= self.ahead_seconds <= FUTURE_SECONDS:
            raise ValueError(
                f"ahead_seconds: {self.ahead_seconds} is not between 0 and {FUTURE_SECONDS:.0f}, which is a day"
            )
        if self.smartplug.port == self.port:
            raise ValueError(f"smartplug.port: {self.port} is the port of the dashboard; leave it out to share that")


def _check_key(name: str, text: str) -> None:
    """Raise ValueError, without showing it, unless this is the hash of a key."""
    try:
        keys.parse_hash(text)
    except ValueError as error:
        raise ValueError(f"keys.{name}: {error}") from None


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted_proxies: {error}; expected an address or a network such as 172.16.0.0/12") from None


def main(options: Api, service: Service) -> None:
    """Serve until the process is stopped."""
    ports = [port for port in (options.port, options.smartplug.port) if port]
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(_listen(options.host, port)) for port in ports]
        store = opened.enter_context(
            ReaderPool(partial(open_reader, service.store.data, url=service.store.url, damage=Damage()))
        )
        asyncio.run(_serve(options, service, listeners, store, raise_file_limit()))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
        # asyncio sets it only for sockets that were made with IPPROTO_TCP; without it a short response waits 40 ms for an acknowledgement
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigError(f"[api] cannot listen on {host} port {port}: {error.strerror}") from None


async def _serve(options: Api, service: Service, listeners: list[socket.socket], store: ReaderPool, most: int) -> None:
    removed = RemovedDevices(service.data / "api" / "removed_devices.json")
    live = LiveState(service.clock.now, service.clock.latest, removed)
    is_supervised = heartbeat.FOLDER in os.environ
    file = read(service.path)
    watch = HealthWatch(
        live,
        service.node,
        lambda: service.bus.connected,
        why_away=lambda: service.bus.problem,
        supervisor_fault=supervisor.Supervisor().fault if is_supervised else lambda: "",
        config_mistake=lambda: supervisor.noted_mistake(service.path.parent) if is_supervised else "",
        configured=file.keys(),
        notes=heartbeat.folder() if is_supervised else None,
        disks=[service.data, service.data / "store"],
        others=_stored_nodes(file),
    )
    seeder = Seeder(live, store)
    addresses = Addresses(options.trusted_proxies)
    ingest = open_ingest(
        service,
        live,
        store,
        keys=options.keys,
        body_limit=options.body_limit,
        writes_per_second=options.writes_per_second,
        ahead_seconds=options.ahead_seconds,
        addresses=addresses,
        origins=options.origins,
        pimonitor=options.pimonitor,
        smartplug=options.smartplug,
        emoncms=options.emoncms,
    )
    _follow(service, live, seeder, watch)
    if not (dashboard.STATIC / "vendor").is_dir():
        log.warning("the dashboard's packages are missing: run scripts/frontend")
    app: ASGIApp = create_app(
        live,
        store,
        watch=watch,
        origins=options.origins,
        hosts=options.hosts,
        addresses=addresses,
        ingest=ingest,
        uploader=UploaderClient(
            Requests(service.bus, service.node, service.name).ask, ingest.gate, live, service.node, options.managers
        ),
    )
    if options.smartplug.port:
        app = PlugPort(app, options.smartplug.port)
    server = uvicorn.Server(ServerConfig(app, options.trusted_proxies, most))
    shown = "127.0.0.1" if options.host in ("", "0.0.0.0", "::") else options.host
    log.info("listening on %s, dashboard at http://%s:%d/", options.host, shown, options.port)
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(seeder.run()),
            tasks.create_task(_beat(service, live, ingest, watch)),
        ]
        await server.serve(sockets=listeners)
        for task in background:
            task.cancel()


def _stored_nodes(file: Mapping[str, Any]) -> list[str]:
    """Return the nodes of [storage] nodes; storage refuses what is no list of names."""
    section = file.get("storage")
    names = section.get("nodes") if isinstance(section, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _follow(service: Service, live: LiveState, seeder: Seeder, watch: HealthWatch) -> None:
    """Pass the messages of every node on to `live`, on the event loop; wake the seeder after every connect and commit."""
    loop = asyncio.get_running_loop()

    def update(message: Message) -> None:
        try:
            live.update(message.topic, message.payload)
        except MessageError as error:
            service.set_aside(str(error), message.payload, message.topic)
        watch.received(message.topic, retained=message.retained)

    def pass_on(message: Message) -> None:
        # The event loop may have ended already.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(update, message)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(seeder.wake)

    service.bus.subscribe(topics.every_device("state"), pass_on, qos=0)
    service.bus.subscribe(topics.every_device("info"), pass_on)
    service.bus.subscribe(topics.every_device("availability"), pass_on)
    service.bus.subscribe(topics.every_service("status"), pass_on)
    service.bus.subscribe(topics.every_service("heartbeat"), pass_on, qos=0)
    service.bus.subscribe(topics.every_service("committed"), lambda _: wake())
    service.bus.on_connect(wake)
    service.request_announcements()


async def _beat(service: Service, live: LiveState, ingest: Ingest, watch: HealthWatch) -> None:
    while True:
        service.alive()
        service.fact("listeners", live.listeners)
        await ingest.intake.forget_removed_devices()
        ingest.intake.mark_silent_devices()
        if watch.asks():
            await asyncio.to_thread(service.publish_heartbeat)  # the broker sends it back
        watch.problems()
        await asyncio.sleep(BEAT_SECONDS)
