"""The whole site at once: every device on its port, for as long as a `with` lasts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Literal

import msgspec

from simulator.clock import Clock, LiveSite, fast, wall
from simulator.control import Control, Things
from simulator.device import SimulatedDevice
from simulator.emontx import Receiver, nodes
from simulator.readings import Controller
from simulator.replay import Replay, read
from simulator.sdm120 import sdm120, sdm630
from simulator.serial_line import SerialLine
from simulator.site import SitePlan
from simulator.tcp_server import TcpServer
from simulator.tracer import tracer

LOG_LINE = "%(asctime)s %(levelname)-7s simulator: %(message)s"  # as all processes of a node
LOG_TIME = "%Y-%m-%dT%H:%M:%S%z"


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. Ports of 0 are free ones; `units` are more devices for the line.

    Without `start` the site's time begins now. With `replay` the Tracer shows recorded
    rows: from the first on, or with `replay_clock` "wall" those of the wall-clock time.
    """

    plan: SitePlan = SitePlan()
    start: datetime | None = None
    speed: float = 1.0
    link_folder: Path | None = None
    tcp_port: int = 0
    rtu_tcp_port: int = 0
    control_port: int = 0
    baud: int = 0
    radio_seconds: float = 10.0
    three_phase: bool = False
    replay: Sequence[Path] = ()
    replay_clock: Literal["start", "wall"] = "start"
    replay_timezone: tzinfo = UTC
    units: Mapping[int, SimulatedDevice] = {}


class Running(msgspec.Struct, frozen=True):
    """A running site: its lines, and its devices by name for faults and counts."""

    line: SerialLine
    tcp: TcpServer
    rtu_tcp: TcpServer
    emontx: Receiver
    control: Control
    things: Things
    site: LiveSite

    def __getitem__(self, name: str) -> SimulatedDevice | Receiver:
        """Return a device by its name."""
        return self.things[name]


@contextmanager
def run(options: SimulatorOptions | None = None) -> Iterator[Running]:
    """Run a site until the `with` ends; raises NoRowsError or OSError before anything runs."""
    options = options or SimulatorOptions()
    replay = None
    if options.replay:
        replay = Replay(read(options.replay, options.replay_timezone))
    site = LiveSite(options.plan, _clock(options, replay))

    def controller() -> Controller:
        return replay.at(site.clock()) if replay else site.controller()

    units = {
        1: tracer("tracer", controller, site.switch_load),
        2: sdm120("sdm120", site.meter, unit=2),
        **({3: sdm630("sdm630", site.meter, unit=3)} if options.three_phase else {}),
        **options.units,
    }
    folder = options.link_folder
    radio = nodes(controller, site.meter, site.house, options.radio_seconds)
    with ExitStack() as stack:
        emontx = stack.enter_context(Receiver(radio, link=folder / "emontx" if folder else None))
        things: Things = {
            **{device.name: device for device in units.values()},
            emontx.name: emontx,
        }
        link = folder / "tracer" if folder else None
        yield Running(
            stack.enter_context(SerialLine(units, baud=options.baud, link=link)),
            stack.enter_context(TcpServer(units, port=options.tcp_port)),
            stack.enter_context(TcpServer(units, framing="rtu", port=options.rtu_tcp_port)),
            emontx,
            stack.enter_context(Control(things, port=options.control_port)),
            things,
            site,
        )


def _clock(options: SimulatorOptions, replay: Replay | None) -> Clock:
    if replay and options.replay_clock == "start":
        return fast(replay.start, options.speed)
    if options.start is not None:
        return fast(options.start.timestamp(), options.speed)
    return wall if options.speed == 1 else fast(wall(), options.speed)
