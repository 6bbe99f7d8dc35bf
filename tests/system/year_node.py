"""One node in simulated time: storage, calculator and uploader as they are, in one process; the clock is the test's."""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from heliograph.bus import Message
from heliograph.messages import Block, Frame, Info, encode
from heliograph.store import folder, history, open_reader, open_writer
from heliograph.store.interface import Arrival, Keep, Reader, Writer
from services.calculator.calculations import Calculations
from services.calculator.calculator import info
from services.calculator.catching_up import StoredInputs
from services.calculator.options import Calculator
from services.storage.journal import JournalWriter
from services.storage.maintenance import backup, restore
from services.uploader.engine.selection import Selection
from services.uploader.engine.session import TargetSession, open_session
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.options import TargetOptions
from services.uploader.target import Answer, Limits, Row
from tests.service_stub import ServiceStub
from tests.system.year_devices import HOUSE, Device, Reading
from tests.system.year_lists import ChannelType, Values

NODE = "pi1"
FORMULAS = msgspec.convert(
    {
        "devices": {
            "house": {
                "interval": 1200,
                "max_age": 900,
                "channels": {
                    "net": {"formula": "tank.level * 2 + 1"},
                    "full": {"formula": "tank.level > 500", "kind": "state"},
                },
            }
        }
    },
    Calculator,
)
ARRIVALS = 20_000


class Bus:
    """Takes what storage publishes; no client listens."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert topic
        assert payload
        assert retain


class NodeService(ServiceStub):
    """The service that storage and the calculator are given."""

    node = NODE
    bus = Bus()

    def flush(self) -> bool:
        return True

    def report(self) -> None:
        self.count("reports")


class UploadOptions(TargetOptions, frozen=True, kw_only=True, tag="recorded"):
    """A target that keeps everything."""


class RecordingTarget:
    """Keeps the last row of each time, by channel."""

    limits = Limits(rows=5_000)

    def __init__(self) -> None:
        self.rows: dict[str, dict[float, object]] = {}

    def upload(self, rows: Sequence[Row]) -> Answer:
        for row in rows:
            for channel, value in zip(row.channels, row.values, strict=True):
                self.rows.setdefault(channel.series, {})[row.time] = value
        return Answer()

    def close(self) -> None:
        pass


class YearNode:
    """Stores what its devices measure, and remembers it in lists."""

    def __init__(
        self, data: Path, start: int, devices: Iterable[Device], keep: Keep, targets: Iterable[UploadOptions]
    ) -> None:
        """Begin at a moment, s UTC."""
        self.data = data
        self.devices = {device.name: device for device in devices}
        self.keep = keep
        self.service = NodeService(data)
        self.results = NodeService(data)  # the calculator's
        self.results.clock = self.service.clock
        self.offset = 0  # s by which the clock is ahead
        self.moment = start  # s UTC, the right time
        every = {name: device.channels for name, device in self.devices.items()} | {"house": HOUSE}
        self.values = {
            f"{device}/{name}": Values(one) for device, channels in every.items() for name, one in channels.items()
        }
        self.dropped: list[str] = []  # every sentence that there was
        self.sizes: list[tuple[str, int, int]] = []  # what was dropped, bytes of all years before and after
        self.readings = self.arrived = 0
        self._options = list(targets)
        self.targets = {one.name: RecordingTarget() for one in self._options}
        self._sequence = 0
        self._held: list[Message] = []  # since the last backup: what producers can send again
        self._cursor = 0
        self.reader: Reader = open_reader(data)
        self._open()
        self._calculations = self._calculate()
        self._sessions: list[TargetSession] = []
        self._uploads = ExitStack()  # the uploader's file, while there are sessions

    @property
    def now(self) -> float:
        """What the clock shows, s UTC."""
        return float(self.moment + self.offset)

    @property
    def years(self) -> dict[int, Path]:
        """The files of the years."""
        return history.files(folder(self.data))

    @property
    def problems(self) -> list[str]:
        """The problems of the store that storage reports, and /health shows."""
        return list(self.service.facts.get("store_problems", []))

    @property
    def reported(self) -> list[str]:
        """What storage reports as dropped."""
        return list(self.service.facts.get("dropped", []))

    def restart(self, keep: Keep | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Stop everything, do something, and start again, perhaps with other limits."""
        self._calculations.save()
        self.close()
        self.service.facts.clear()
        self.keep = keep or self.keep
        meanwhile()
        self.reader = open_reader(self.data)
        self._open()
        self._calculations = self._calculate()
        self.house_keep()

    def step(self, moment: int) -> None:
        """Continue to a moment (s UTC): measure, calculate, store, upload."""
        after, self.moment = self.moment, moment
        self.service.clock.time = self.now
        for device in self.devices.values():
            readings = [one._replace(time=one.time + self.offset * 1000) for one in device.measured(after, moment)]
            if readings:
                self._measured(device.name, device.channels, readings)
        self._calculate_results()
        self.journal.commit()
        self.house_keep()
        self._follow()

    def house_keep(self) -> None:
        """Do all that is due, and see what it drops."""
        size = self.bytes_of_years()
        more = True
        while more:
            more = self.store.maintain()
            if self.store.dropped()[-1:] != self.dropped[-1:]:
                self.dropped.append(self.store.dropped()[-1])
                self.sizes.append((self.dropped[-1], size, self.bytes_of_years()))
            size = self.bytes_of_years()
        self.journal.maintain()

    def bytes_of_years(self) -> int:
        return sum(path.stat().st_size for path in self.years.values())

    def upload(self) -> None:
        """Send everything that is due to all targets."""
        if not self._sessions:
            file = self._uploads.enter_context(closing(StateFile(self.data / "uploader.db")))
            self._sessions = [
                open_session(
                    options,
                    self.reader,
                    ChannelMap(self.reader, Selection(options)),
                    file,
                    partial(self.targets.__getitem__, options.name),
                    str,
                    lambda: self.now,
                )
                for options in self._options
            ]
        for session in self._sessions:
            while session.next_batch(self.now):
                result = session.send(lambda: self.now)
                assert result is None or not result.retry

    def back_up(self, to: Path) -> None:
        """Make tonight's backup."""
        done = backup.back_up(folder(self.data), to, lambda _: None, incremental=True)
        assert done.made_again == {}
        self._held.clear()

    def restore(self, backed_up: Path) -> None:
        """Put the last backup in the place of the store; producers send again what they hold."""
        self.restart(meanwhile=lambda: self._put_back(backed_up))
        for message in self._held:
            self.journal.write(message)
        self.journal.commit()
        self.house_keep()
        self._follow(again=True)

    def replaced(self, series: str) -> None:
        """Tell the store that the next reading of a counter is another meter's."""
        (sid,) = (one.id for one in self.reader.series() if one.name == f"{NODE}/{series}")
        self.store.replaced(sid, self.now)
        self.values[series].replaced.append(round(self.now * 1000))

    def forget(self, begin: int, end: int) -> int:
        """Delete what is stored of [begin, end) s UTC of all series."""
        deleted = self.store.delete([one.id for one in self.reader.series()], begin, end)
        for values in self.values.values():
            values.cut(begin * 1000, end * 1000)
        return deleted

    def close(self) -> None:
        self._sessions.clear()
        self._uploads.close()
        self.store.close()
        self.reader.close()

    def _put_back(self, backed_up: Path) -> None:
        restored = restore.restore(backed_up, folder(self.data), lambda _: None, force=True)
        assert restored.damaged == {}

    def _open(self) -> None:
        self.store: Writer = open_writer(self.data, keep=self.keep, now=lambda: self.now)
        self.journal = JournalWriter(self.service.service, self.store, 10.0)
        for device in self.devices.values():
            self._declare(device.name, device.info)
        self._declare("house", info(FORMULAS.devices["house"], "calculator"))

    def _calculate(self) -> Calculations:
        stored = StoredInputs(partial(open_reader, self.data))
        calculations = Calculations(FORMULAS, self.results.service, self.results.producer, stored)
        calculations.load()
        return calculations

    def _declare(self, device: str, info: Info) -> None:
        topic = f"heliograph/{NODE}/devices/{device}/info"
        self.journal.write(Message(topic, encode(info), True, lambda: None))

    def _measured(self, device: str, channels: dict[str, ChannelType], readings: Sequence[Reading]) -> None:
        columns = [self.values[f"{device}/{name}"] for name in channels]
        rows: list[list[Any]] = []
        for time, numbers in readings:
            rows.append([time / 1000])
            for column, number in zip(columns, numbers, strict=True):
                rows[-1].append(None if number is None else column.channel.value(number))
                if number is not None:
                    column.put(time, number)
        message = self._message([Block(device, tuple(channels), rows)])
        self.journal.write(message)
        self.readings += len(rows)
        self._calculations.drop_what_is_ahead()
        self._calculations.handle(message)

    def _message(self, blocks: list[Block]) -> Message:
        self._sequence += 1
        frame = Frame(blocks, "epoch", self._sequence, self._sequence)
        message = Message(f"heliograph/{NODE}/services/bridge/journal", encode(frame), False, lambda: None)
        self._held.append(message)
        return message

    def _calculate_results(self) -> None:
        """Store what the calculator has published."""
        published = zip(self.results.readings, self.results.times, strict=True)
        for (device, channels), alike in groupby(published, lambda one: (one[0][0], tuple(one[0][1]))):
            rows: list[list[Any]] = []
            for (_, values), at in alike:
                assert at is not None
                rows.append([at, *values.values()])
                for name, value in values.items():
                    series = self.values[f"{device}/{name}"]
                    series.put(round(at * 1000), round(float(value) * 10 ** HOUSE[name].digits))
            self.journal.write(self._message([Block(device, channels, rows)]))
            self.readings += len(rows)
        self.results.readings.clear()
        self.results.times.clear()
        self._calculations.save()

    def _follow(self, *, again: bool = False) -> None:
        """Read what has arrived, as an uploader does: each reading once, with the values that it still has."""
        before = self.arrived
        while arrivals := self.reader.since(self._cursor, ARRIVALS):
            assert all(one.cursor > self._cursor for one in arrivals)
            self._cursor = arrivals[-1].cursor
            self.arrived += len(arrivals)
            self._look_at(random.Random(self._cursor).sample(arrivals, min(20, len(arrivals))))
        if again:  # what was sent again has arrived a second time
            self.readings += self.arrived - before
        assert self.arrived == self.readings

    def _look_at(self, arrivals: Iterable[Arrival]) -> None:
        for one in arrivals:
            for name, value in one.values.items():
                kept = self.values[f"{one.device}/{name}"].at(round(one.time * 1000))
                assert kept == (one.time, value), (one, name)


def restored(backed_up: Path, data: Path) -> Reader:
    """A backup, put where nothing is."""
    assert restore.restore(backed_up, folder(data), lambda _: None).damaged == {}
    with closing(open_writer(data)):  # what a start does
        pass
    return open_reader(data)
