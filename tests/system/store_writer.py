"""The process that is killed: writes a stream that can be computed again into a store, and prints what is durable.

A frame is one hour of a producer; a week around New Year and one around the first of July
are measured, the rest of the year is skipped, so that days, months and years pass in
seconds. A reading may come twice, be corrected later, or be late by days, half a year or
more than a year. Every commit is printed on stdout: the last frame of each producer. The
argument is {"data": …, "seed": …, "last": …, "until": …, "flush": true, "die": ["history done", 3] or null}.
"""

import itertools
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from heliograph.messages import Block, Channel, Info
from heliograph.store import open_writer, retention_calendar, schema
from heliograph.store.interface import Keep, Progress

EPOCH = "epoch"
POLLER, BRIDGE = "pi1/poller", "pi2/bridge"
KEEP = Keep(years=3, raw_years=1)
FIRST_YEAR = 2011
HOUR = 3600.0
HOURS = 168  # of a block of days
DENSE_DAYS = (3,)  # every 30 s, which is worth cells of 5 minutes; the other days every 5 minutes
METER = Info("meter", {"energy": Channel("kWh", "counter"), "power": Channel("W"), "mode": Channel("", "text")})
RELAY = Info("relay", {"on": Channel("", "state"), "note": Channel("", "text")})
TANK = Info("tank", {"level": Channel("m"), "flow": Channel("l/s")})


@lru_cache(1000)
def block_start(block: int) -> float:
    """Return when a block of days begins: in turn the 28th of June and of December."""
    return datetime(FIRST_YEAR + block // 2, 12 if block % 2 else 6, 28, tzinfo=UTC).timestamp()


def begin(frame: int) -> float:
    """Return when a frame's hour begins; frames count from 1."""
    return block_start((frame - 1) // HOURS) + (frame - 1) % HOURS * HOUR


def frame(producer: str, number: int) -> list[Block]:
    """Return the readings of a frame, the same ones whenever it is asked for."""
    return _poller(number) if producer == POLLER else _bridge(number)


def _poller(number: int) -> list[Block]:
    start = begin(number)
    step = 30 if (number - 1) % HOURS // 24 in DENSE_DAYS else 300
    plain, with_mode = [], []
    for index in range(int(HOUR) // step):
        time = start + index * step
        count = number * 120 + index
        energy = round(count % 7001 * 0.013, 3)  # begins again at zero now and then
        power = round((count * 7919 % 50_000) / 10 - 500, 1)
        if index % 6:
            plain.append([time, energy, power])
        else:
            with_mode.append(
                [time, energy, power, f"mode {(number + index) % 5}" if number % 40 else f"error {number}"]
            )
    blocks = [Block("meter", ("energy", "power"), plain), Block("meter", ("energy", "power", "mode"), with_mode)]
    switched = [[start + quarter * 900 + 0.25, (number + quarter) % 3 == 0] for quarter in range(4)]
    blocks.append(Block("relay", ("on",), switched))
    if number % 11 == 0:
        blocks.append(Block("relay", ("note", "on"), [[start + 100.125, f"note {number // 110}", True]]))
    return blocks


def _bridge(number: int) -> list[Block]:
    start = begin(number)
    rows = [_tank(start + index * 300, 0) for index in range(12)]
    if number % 5 == 0:  # delivered twice, the later rows first
        rows += reversed(rows[2:9])
    if number % 3 == 0 and (number - 1) % HOURS >= 48:  # corrected two days later
        rows.append(_tank(begin(number - 48) + number % 12 * 300, number))
    if number % 24 == 13:  # the month and perhaps the year are closed
        rows += [_tank(begin(number - HOURS) + index, number) for index in (0, 17, 300)] if number > HOURS else []
    if number > 3 * HOURS and (number - 1) % (2 * HOURS) == HOURS + 95:  # the last hour before its points are deleted
        rows += [_tank(begin(number - 3 * HOURS) + 31, number)]
    return [Block("tank", ("level", "flow"), rows)]


def _tank(time: float, version: int) -> list[Any]:
    level = round(time % 86_400 / 1000 + version / 7, 3)
    return [time, level, None if time % 1500 == 0 else time % 9973 / 3 + version]


@contextmanager
def counted(passed: Callable[[str], None], connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that tells of its steps."""
    file = Path(connection.execute("PRAGMA database_list").fetchone()[2]).name
    name = file.partition(".")[0].partition("-")[0]
    passed(f"{name} begin")
    with _transaction(connection):
        passed(f"{name} begun")
        yield
        passed(f"{name} finish")
    passed(f"{name} done")


_transaction = schema.transaction


def die_at(name: str, count: int) -> None:
    """End this process as kill -9 does when it reaches a step for the n-th time."""
    counts = itertools.count(1)

    def passed(step: str) -> None:
        if step == name and next(counts) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    def telling(verb: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            passed(f"{verb} begin")
            result = do(*arguments, **options)
            passed(f"{verb} done")
            return result

        return counted

    vars(schema)["transaction"] = lambda connection: counted(passed, connection)
    for verb in ("unlink", "rename"):
        setattr(Path, verb, telling(verb, getattr(Path, verb)))


def do_not_flush() -> None:
    """Spare the disk: what a killed process has written is there, flushed or not. Only a power cut takes it away."""

    def create(*arguments: Any) -> sqlite3.Connection:
        connection = _create(*arguments)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    vars(schema)["create"] = create


_create = schema.create


def write(data: Path, chance: random.Random, until: int, began: float) -> None:
    """Continue the stream for so many frames after what is stored."""
    now, is_right = began, False  # not while it writes: the stream is ahead of the clock of the last hour
    vars(retention_calendar)["JUMP_DAYS"] = 1_000  # the stream leaps over months, every time
    writer = open_writer(data, lambda: is_right, keep=KEEP, now=lambda: now)
    known = writer.progress()
    last = {producer: known.get((producer, EPOCH), Progress(0, 0)).last for producer in (POLLER, BRIDGE)}
    writer.declare("pi1", "meter", METER)
    writer.declare("pi1", "relay", RELAY)
    writer.declare("pi2", "tank", TANK)
    end = min(last.values()) + until
    while min(last.values()) < end:
        for _ in range(chance.choice([1, 1, 2, 5])):
            producer = min(last, key=lambda name: last[name] + chance.choice([0, 0, 3]))
            last[producer] += 1
            refused = writer.write(producer.partition("/")[0], frame(producer, last[producer]))
            if refused:
                raise AssertionError(refused)
        writer.commit({(producer, EPOCH): Progress(number, 0) for producer, number in last.items()})
        now = begin(max(min(last.values()), 1))
        say(last)
        most, is_right = chance.choice([1, 2, 3, 1000]), True
        while most and writer.maintain():
            most -= 1
        is_right = False
    writer.close()


def say(last: Mapping[str, int]) -> None:
    """Tell what is durable."""
    os.write(1, f"{last[POLLER]} {last[BRIDGE]}\n".encode())


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    if not options["flush"]:
        do_not_flush()
    if options["die"]:
        die_at(*options["die"])
    write(Path(options["data"]), random.Random(options["seed"]), options["until"], begin(max(options["last"], 1)))
