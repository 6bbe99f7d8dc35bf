"""Data of the store's benchmarks: made from a seed, a UTC day at a time, the same on every machine.

A is an energy meter, 14 channels every 5 s on the grid, 0.05 % of the readings missing. B is ten devices of ten channels
every 10 s, 0..59 ms late, 0.2 % missing. The harder values are 3-decimal noise and what was a float32 once.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.frame_writer import FRAME_READINGS
from heliograph.messages import Block, Channel, Frame, Info

NODE = "bench"
EPOCH = "00000000benchmark"
DAY_SECONDS = 86_400
FRAMES_IN_A_MESSAGE = 20
Numbers = NDArray[np.float64]

METER = {
    "voltage": Channel("V"),
    "frequency": Channel("Hz"),
    "pv_power": Channel("W"),
    "load_power": Channel("W"),
    "grid_power": Channel("W"),
    "l1_power": Channel("W"),
    "l2_power": Channel("W"),
    "l3_power": Channel("W"),
    "heat_pump_power": Channel("W"),
    "boiler_power": Channel("W"),
    "standby_power": Channel("W"),
    "import_energy": Channel("Wh", "counter"),
    "export_energy": Channel("Wh", "counter"),
    "temperature": Channel("°C"),
}
ROOM = {
    "temperature": Channel("°C"),
    "humidity": Channel("%"),
    "pressure": Channel("hPa"),
    "co2": Channel("ppm"),
    "illuminance": Channel("lx"),
    "power": Channel("W"),
    "relay": Channel("", "state"),
    "battery": Channel("%"),
    "rssi": Channel("dBm"),
    "uptime": Channel("s", "counter"),
}
HARDER = ("3-decimal noise", "float32, printed with 7 digits", "float32, widened")


class Day(NamedTuple):
    """What one device read in one UTC day: times in ms, a column of as many values per channel."""

    device: str
    channels: dict[str, Channel]
    times: NDArray[np.int64]
    columns: list[NDArray[Any]]

    @property
    def values(self) -> int:
        """How many values these are."""
        return len(self.times) * len(self.columns)

    def info(self) -> Info:
        """Return the info message of the device."""
        return Info("benchmark", self.channels)

    def rows(self) -> list[list[Any]]:
        """Return the readings as a Block has them: [time in s, value, value, …]."""
        columns = [(self.times / 1000).tolist(), *(column.tolist() for column in self.columns)]
        return [list(row) for row in zip(*columns, strict=True)]

    def blocks(self, readings: int = FRAME_READINGS) -> list[Block]:
        """Return the readings in order, so many in a block."""
        rows, channels = self.rows(), tuple(self.channels)
        return [Block(self.device, channels, rows[at : at + readings]) for at in range(0, len(rows), readings)]


def journal(days: Sequence[Day], sequence: int) -> tuple[list[bytes], int]:
    """Return what storage receives of a backlog of these devices, in order of time: the payloads, and the next sequence."""
    readings = sorted(((row[0], index, row) for index, day in enumerate(days) for row in day.rows()), key=itemgetter(0))
    frames: list[Frame] = []
    for at in range(0, len(readings), FRAME_READINGS):
        rows: dict[int, list[list[Any]]] = {}
        for _, index, row in readings[at : at + FRAME_READINGS]:
            rows.setdefault(index, []).append(row)
        blocks = [Block(days[index].device, tuple(days[index].channels), chosen) for index, chosen in rows.items()]
        frames.append(Frame(blocks, EPOCH, sequence + len(frames)))
    parts = range(0, len(frames), FRAMES_IN_A_MESSAGE)
    return [msgspec.json.encode(frames[at : at + FRAMES_IN_A_MESSAGE]) for at in parts], sequence + len(frames)


def meter(first: int, count: int, seed: int = 1) -> Iterator[Day]:
    """Yield set A, a day at a time from UTC day number `first` (days since 1970); counters begin there."""
    step = 5
    seconds = np.arange(0, DAY_SECONDS, step, dtype=np.float64)
    energy = np.array([4_211_000.0, 9_873_000.0])
    for day in range(first, first + count):
        chance = np.random.default_rng([seed, day])
        sun, clouds = _sun(seconds, day), 0.35 + 0.65 * _wander(chance, seconds, 300)
        pv = 4000 * sun * clouds
        boiler = 1800 * _switched(chance, seconds, 3)
        pump = 900 * _switched(chance, seconds, 12)
        phases = [150 + 400 * _wander(chance, seconds, 900) + 1200 * _switched(chance, seconds, 6) for _ in range(3)]
        load = phases[0] + phases[1] + phases[2] + boiler + pump + 60
        powers = [
            np.where(pv > 0, pv + _noise(chance, seconds, 1.5), 0),
            load + _noise(chance, seconds, 2),
            load - pv + _noise(chance, seconds, 2),
            *(phase + _noise(chance, seconds, 1) for phase in phases),
            np.where(pump > 0, pump + _noise(chance, seconds, 0.8), 4.2),
            np.where(boiler > 0, boiler + _noise(chance, seconds, 0.6), 0),
            60 + _noise(chance, seconds, 0.3),
        ]
        flows = np.stack([np.maximum(load - pv, 0), np.maximum(pv - load, 0)]) * step / 3600
        counters = energy[:, None] + np.cumsum(flows, axis=1)
        energy = counters[:, -1]
        columns = [
            _rounded(230 + 3 * _wander(chance, seconds, 1800) + _noise(chance, seconds, 0.1), 2),
            _rounded(49.98 + 0.04 * _wander(chance, seconds, 120) + _noise(chance, seconds, 0.006), 2),
            *(_rounded(np.maximum(power, -9999), 1) for power in powers),
            *(_rounded(counter, 1) for counter in counters),
            _rounded(_season(seconds, day) + _noise(chance, seconds, 0.03), 1),
        ]
        kept = chance.random(len(seconds)) >= 0.0005
        times = day * DAY_SECONDS * 1000 + (seconds * 1000).astype(np.int64)
        yield Day("meter", METER, times[kept], [column[kept] for column in columns])


def rooms(first: int, count: int, devices: int = 10, seed: int = 2) -> Iterator[list[Day]]:
    """Yield set B: of each day, all devices."""
    seconds = np.arange(0, DAY_SECONDS, 10, dtype=np.float64)
    for day in range(first, first + count):
        rooms = []
        for number in range(devices):
            chance = np.random.default_rng([seed, day, number])
            people = _switched(chance, seconds, 5)
            uptime = (day - first) * DAY_SECONDS + seconds + 977 * number
            columns: list[NDArray[Any]] = [
                _rounded(20 + number / 4 + 2 * _wander(chance, seconds, 3600) + _noise(chance, seconds, 0.03), 1),
                _rounded(45 + 8 * _wander(chance, seconds, 3600) + _noise(chance, seconds, 0.1), 1),
                _rounded(1005 + 15 * _wander(chance, seconds, 14_400) + _noise(chance, seconds, 0.03), 2),
                np.rint(430 + 500 * _wander(chance, seconds, 1800) * people + _noise(chance, seconds, 3)).astype(
                    np.int64
                ),
                np.rint(600 * _sun(seconds, day) * (0.5 + _wander(chance, seconds, 600))).astype(np.int64),
                _rounded(np.where(people, 42 + _noise(chance, seconds, 0.4), 0), 1),
                people,
                np.full(len(seconds), 100 - (day - first + number) % 90),
                np.rint(-62 - number + _noise(chance, seconds, 1.5)).astype(np.int64),
                uptime.astype(np.int64),
            ]
            kept = chance.random(len(seconds)) >= 0.002
            late = chance.integers(0, 60, len(seconds))
            times = day * DAY_SECONDS * 1000 + (seconds * 1000).astype(np.int64) + late
            rooms.append(Day(f"room{number}", ROOM, times[kept], [column[kept] for column in columns]))
        yield rooms


def harder(kind: str, first: int, count: int, seed: int = 3) -> Iterator[Day]:
    """Yield four channels every 5 s of one of the HARDER values."""
    seconds = np.arange(0, DAY_SECONDS, 5, dtype=np.float64)
    channels = {f"channel{number}": Channel() for number in range(4)}
    for day in range(first, first + count):
        chance = np.random.default_rng([seed, day])
        columns = []
        for number in range(4):
            value = 20 + 5 * number + 3 * _wander(chance, seconds, 1800) + _noise(chance, seconds, 1)
            if kind == HARDER[0]:
                columns.append(_rounded(value, 3))
            elif kind == HARDER[1]:
                columns.append(np.array([float(f"{one:.7g}") for one in value.astype(np.float32).tolist()]))
            else:
                columns.append(value.astype(np.float32).astype(np.float64))
        times = day * DAY_SECONDS * 1000 + (seconds * 1000).astype(np.int64)
        yield Day("harder", channels, times, columns)


def _rounded(values: Numbers, decimals: int) -> Numbers:
    """Return the doubles nearest to so many decimals."""
    rounded: Numbers = np.rint(values * 10**decimals) / 10**decimals
    return rounded


def _noise(chance: np.random.Generator, seconds: Numbers, sigma: float) -> Numbers:
    return chance.standard_normal(len(seconds)) * sigma


def _wander(chance: np.random.Generator, seconds: Numbers, period: float) -> Numbers:
    """Return values between 0 and 1 that change direction every `period` seconds."""
    knots = np.arange(0, DAY_SECONDS + period, period)
    return np.interp(seconds, knots, chance.random(len(knots)))


def _switched(chance: np.random.Generator, seconds: Numbers, times: int) -> NDArray[np.bool_]:
    """Return whether a device is on that is switched on so many times a day."""
    edges = np.sort(chance.random(2 * times)) * DAY_SECONDS
    switched: NDArray[np.bool_] = np.searchsorted(edges, seconds) % 2 == 1
    return switched


def _sun(seconds: Numbers, day: int) -> Numbers:
    length = 12 + 4 * np.sin(2 * np.pi * (day % 365.25 - 80) / 365.25)
    sun: Numbers = np.maximum(0, np.cos(np.pi * (seconds / 3600 - 12) / length)) ** 1.3
    return sun


def _season(seconds: Numbers, day: int) -> Numbers:
    of_year = 10 - 9 * np.cos(2 * np.pi * (day % 365.25 - 20) / 365.25)
    return np.asarray(of_year - 4 * np.cos(2 * np.pi * (seconds / 3600 - 3) / 24))
