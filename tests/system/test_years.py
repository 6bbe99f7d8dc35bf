"""Twelve years without an operator: New Years, leap days, changes of the clock, 2038, clocks that are ahead, retention, backups, damage.

Storage, calculator and uploader run as they are, on simulated time; every figure is compared with plain lists. By default
a year around one of the dates, all twelve with --full.
"""

import logging
import os
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from heliograph.store import history, open_reader
from heliograph.store.retention import GIGABYTE
from heliograph.store.writer import SqliteWriter
from tests.storage.stores import difference, done, everything
from tests.system import year_checks, year_lists, year_plan
from tests.system.year_checks import Expected
from tests.system.year_lists import DAY, HOUR, as_of_grid, midnights, year_start
from tests.system.year_node import NODE, UploadOptions, YearNode, restored
from tests.system.year_plan import Plan, around, devices_of, seconds

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"
AT = 4 * HOUR + 20 * 60  # of the day, when the node is looked at; the backup is then
AHEAD = year_start(2045) + 151 * DAY
PAGE = 4096
NOTHING_LOST = re.compile(
    r": \d+ values of it are stored again, 0 on 0 days are lost|: 0 months of series, or years, of its cells, and 0 days of points"
)


class Years:
    """A node that lives through a plan, and what must be true on each day of it."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.backup = folder / "backup"
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self.node = YearNode(folder / "data", seconds(plan.start), devices_of(plan), plan.keep, TARGETS)
        days = plan.end - plan.start
        self.node.devices["tank"].restart_daily(midnights(BERLIN, plan.start, plan.start + days))
        self._hours = around(self._chance.sample(plan.dates(), 8 if plan.is_long else 2), 1, 1)
        self._events = sorted((plan.moment(share) + AT, event) for share, event in self._plan().items())
        self._looks = sorted(self._chance.sample(range(10, days.days), plan.looks))
        self._restarts = sorted(self._chance.sample(range(1, days.days), days.days // 60))
        self._compared = plan.start.year
        self.figures = self.points = 0
        self._uploaded = 0  # s UTC
        self._impossible = 0  # the year that a clock ahead has begun
        self._believed_from = 0  # s UTC, when retention believes the clock again
        self.losses = 0

    def _plan(self) -> dict[float, Callable[[], None]]:
        return {
            0.12: self.hour_ahead,
            0.20: self.another_meter,
            0.30: self.announced_meter,
            0.42: self.decades_ahead,
            0.50: self.without_power,
            0.72: self.damage_that_costs_nothing,
            0.80: self.damage_and_restore,
        }

    def live(self) -> None:
        """Live through all of it."""
        node, end = self.node, seconds(self.plan.end)
        while node.moment < end:
            step = HOUR if self._is_hourly(node.moment) else self.plan.step
            following = (node.moment - AT) // step * step + step + AT
            self.step(following)
            today = following // DAY * DAY
            if following - today == AT:
                self._of_day(today, following)

    def step(self, moment: int) -> None:
        """Continue to a moment, and look at what must always be true."""
        node = self.node
        node.step(moment)
        every = 6 * HOUR if self._is_hourly(moment) else (16 if self.plan.is_long else 8) * DAY
        if moment - self._uploaded >= every:
            self._uploaded = moment
            node.upload()
        ids = {one.id: f"{one.device}/{one.channel}" for one in node.reader.series()}
        latest = node.reader.latest(list(ids))
        begin = year_start(min(node.years)) if node.years else 0
        newest = {sid: node.values[name].at(year_checks.BEYOND * 1000) for sid, name in ids.items()}
        assert latest == {sid: point for sid, point in newest.items() if point is not None and point[0] >= begin}
        problems = node.problems
        assert [one for one in problems if not self._is_expected(one)] == []
        assert bool(problems) >= bool(self._impossible)
        assert node.reported == node.dropped[-20:]
        assert node.service.invalid == node.results.invalid == []

    def _is_expected(self, problem: str) -> bool:
        """Whether a problem is that of a clock that was ahead, of the time without power, or of a limit nearly reached."""
        clock_jumped = "nothing is dropped because of it before" in problem and self.node.moment < self._believed_from
        return (
            clock_jumped
            or bool(NOTHING_LOST.search(problem))
            or (self.node.keep.gigabytes > 0 and "(keep_gigabytes) are full" in problem)
            or bool(self._impossible and str(self._impossible) in problem)
        )

    def expected(self) -> Expected:
        """What the store has now."""
        return Expected(self.node.values, year_start(min(self.node.years)) * 1000)

    def bare(self) -> set[int]:
        """The years of which readings were dropped; each was announced."""
        bare = {number for number, path in self.node.years.items() if history.is_bare(path)}
        assert all(any(one.startswith(f"{year}: readings were dropped") for one in self.node.dropped) for year in bare)
        return bare

    def compare(self, *years: int, points: bool = True) -> None:
        """Compare some years, and all points."""
        with closing(open_reader(self.node.data)) as reader:
            self.figures += sum(year_checks.compare_year(reader, self.expected(), year, self._chance) for year in years)
            if points:
                self.points += year_checks.compare_points(reader, self.expected(), self.bare())
            assert [one for one in reader.problems() if not NOTHING_LOST.search(one)] == []

    def _of_day(self, today: int, moment: int) -> None:
        day = datetime.fromtimestamp(today, UTC).date()
        number = (day - self.plan.start).days
        if is_due(self._restarts, number):
            self.node.restart()
        if number % (4 if self.plan.is_long else 10) == 0 or self._is_hourly(moment):
            self.node.back_up(self.backup)
        while self._events and self._events[0][0] <= moment:
            self._events.pop(0)[1]()
        if is_due(self._looks, number):
            self.look_at_backup()
        if day.year > self._compared and day >= date(day.year, 1, 6):
            self._compared = day.year
            self._of_new_year(day.year)

    def _is_hourly(self, moment: int) -> bool:
        return any(begin <= moment < until for begin, until in self._hours)

    def _of_new_year(self, year: int) -> None:
        """Retention by age has done what it should, nothing else, and has reported it; the year that has ended is right."""
        keep, first = self.plan.keep, self.plan.start.year
        kept = range(max(first, year - int(keep.years)), year + 1)
        assert list(self.node.years) == list(kept)
        assert self.bare() <= {one for one in kept if one < year - keep.raw_years}
        deleted = [one for one in self.node.dropped if "was deleted" in one]
        assert [int(one[:4]) for one in deleted] == list(range(first, kept[0]))
        past = {year - 1, max(self.bare(), default=year - 1)} & set(kept)
        self.compare(*past, points=not self.plan.is_long or year % 4 == 0)

    def look_at_backup(self) -> None:
        """Restore the last backup elsewhere: it is the store of that night."""
        self.node.back_up(self.backup)
        data = self._folder / f"restored-{self.node.moment}"
        with closing(restored(self.backup, data)) as reader:
            years = sorted(self.node.years)
            self.figures += year_checks.compare_year(reader, self.expected(), self._chance.choice(years), self._chance)
        assert difference(everything(data), everything(self.node.data)) is None

    def hour_ahead(self) -> None:
        """The clock is an hour ahead for an hour: some times come twice, and the last arrival stays."""
        self.node.offset = HOUR
        self.step(self.node.moment + HOUR)
        self.node.offset = 0
        self.step(self.node.moment + HOUR)

    def another_meter(self) -> None:
        """A new meter begins at 3.21, and no one notes it: it began again at zero."""
        self.node.devices["tank"].set("energy", 321)

    def announced_meter(self) -> None:
        """A new meter begins far above the old one."""
        self.node.replaced("tank/energy")
        self.node.devices["tank"].set("energy", 5_000_000)

    def decades_ahead(self) -> None:
        """The clock is in 2045 for an hour; nothing is dropped, and two days later somebody deletes what it left."""
        node, years = self.node, list(self.node.years)
        node.offset = AHEAD - node.moment
        for _ in range(6):
            node.step(node.moment + 600)
            node.upload()
        node.restart()
        assert [*years, 2045] == list(node.years)
        node.offset = 0
        node.restart()
        self._impossible = 2045
        for _ in range(2):
            self.step(node.moment + HOUR)
        self.step(node.moment + 2 * DAY)
        assert node.forget(year_start(2045), year_start(2046)) > 0
        assert list(node.years) == years
        self._impossible = 0
        node.house_keep()
        self.step(node.moment + DAY)

    def without_power(self) -> None:
        """No power for longer than the calendar of retention believes at once: it needs a tenth of that time.

        A day on which the node is not looked at has not been lived through.
        """
        self.node.moment += self.plan.without_power * DAY
        self._believed_from = self.node.moment + (self.plan.without_power // 10 + 3) * max(DAY, self.plan.step)

    def damage_and_restore(self) -> None:
        """Pages within a closed year are lost: what is missing was announced; the backup of the night has it all."""
        node = self.node
        self.step(node.moment + DAY)
        whole = sum(map(len, everything(node.data).values()))
        known = set(node.problems)
        damaged = self._chance.choice(sorted(node.years)[:-1])
        node.restart(meanwhile=lambda: self._overwrite(damaged, 3))
        assert isinstance(node.store, SqliteWriter)
        node.store.mend()
        node.house_keep()
        lost = whole - sum(map(len, everything(node.data).values()))
        announced = [one for one in set(node.problems) - known if f"history-{damaged}" in one]
        assert announced or not lost
        node.restore(self.backup)
        assert [one for one in node.problems if not self._is_expected(one)] == []
        self.losses += lost
        self.compare(damaged)

    def damage_that_costs_nothing(self) -> None:
        """The first page of a closed year with its points is lost: all of it can be read without, and that is reported."""
        damaged = self._chance.choice([year for year in sorted(self.node.years)[:-1] if year not in self.bare()])
        self.node.restart(meanwhile=lambda: self._overwrite(damaged, 0))
        assert [one for one in self.node.problems if NOTHING_LOST.search(one)]
        self.compare(damaged)

    def _overwrite(self, year: int, pages: int) -> None:
        """Overwrite some pages of a year, the first one if `pages` is 0, with random bytes, without a trace in its times."""
        path = self.node.years[year]
        count = path.stat().st_size // PAGE
        times = path.stat()
        with path.open("r+b") as file:
            for number in self._chance.sample(range(1, count), pages) or [0]:
                file.seek(number * PAGE)
                file.write(self._chance.randbytes(PAGE))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def shrink(self) -> None:
        """A limit a little below the size frees what it must, oldest first, and no more."""
        node = self.node
        before, limit = node.bytes_of_years(), int(node.bytes_of_years() * 0.93)
        years, known = list(node.years), len(node.sizes)
        node.restart(node.keep._replace(gigabytes=limit / GIGABYTE))
        self.step(node.moment + DAY)
        sizes = [before, *(after for _, _, after in node.sizes[known:])]
        assert len(sizes) > 1
        assert all(size > limit for size in sizes[:-1])
        assert node.bytes_of_years() <= limit
        gone = len(years) - len(node.years)
        assert list(node.years) == years[gone:]
        self.compare(*list(node.years)[:2])

    def compare_results(self) -> None:
        """The calculator's results follow from its input, those of the hours with a wrong clock too."""
        values = self.node.values
        level, net, full = values["tank/level"], values["house/net"], values["house/full"]
        newest = level.times[-1]
        wanted = [(at, number) for at, number in as_of_grid(level, 1_200_000, 900_000) if at <= newest]
        assert list(zip(net.times, net.numbers, strict=True)) == [(at, 2 * number + 10) for at, number in wanted]
        assert list(zip(full.times, full.numbers, strict=True)) == [(at, number > 5_000) for at, number in wanted]
        self.figures += 2 * len(wanted)

    def compare_uploads(self) -> None:
        """What was uploaded over the years is what the lists say, also of years that the store has not any more."""
        lists, targets = self.node.values, self.node.targets
        begin, last = self.plan.start, self.plan.end - timedelta(days=1)
        days = midnights(LORD_HOWE, begin, last)
        self.figures += year_checks.compare_uploads(targets["days"].rows, lists, days, [])
        berlin = midnights(BERLIN, begin, last)
        hours = list(range(berlin[0], berlin[-1] + 1, HOUR))
        self.figures += year_checks.compare_uploads(targets["hours"].rows, lists, hours, berlin)
        for name, rows in targets["raw"].rows.items():
            values = lists[name.partition("/")[2]]
            assert dict(values.points(0, self.node.moment * 1000 + 1)) == {
                at: value for at, value in rows.items() if at < year_start(2045)
            }

    def compare_exports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A week of exports, as points and as local hours, is what the lists say."""
        monkeypatch.chdir(self._folder)
        end = date.fromordinal(self.plan.end.toordinal() - self._chance.randrange(5, 25))
        span = end - timedelta(days=7), end
        begin, until = (midnights(BERLIN, day, day)[0] for day in span)
        options = ("--from", span[0], "--to", span[1], "--tz", BERLIN, "--data", self.node.data)
        tank = self.node.values["tank/level"]
        lines = [f"{local(at, BERLIN)},{value!r}" for at, value in tank.points(begin * 1000, until * 1000)]
        assert done("export", f"{NODE}/tank/level", *options).splitlines() == [f"time,{NODE}/tank/level", *lines]
        edges = year_lists.clock_edges(BERLIN, begin, until, HOUR)
        energy = self.node.values["tank/energy"].buckets([edge * 1000 for edge in edges])
        bucketed = done(
            "export", f"{NODE}/tank/energy", *options, "--bucket", "1h", "--function", "delta", "--function", "n"
        ).splitlines()[1:]
        wanted = zip(edges[:-1], energy["n"], energy["delta"], strict=True)
        assert bucketed == [f"{local(at, BERLIN)},{n},{'' if rise is None else repr(rise)}" for at, n, rise in wanted]


def is_due(numbers: list[int], number: int) -> bool:
    """Whether the first number is reached; then it is taken out."""
    due = bool(numbers) and numbers[0] <= number
    del numbers[:due]
    return due


def local(moment: float, zone: str) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(timespec="milliseconds")


TARGETS = [
    UploadOptions(
        name="days", start="beginning", interval=DAY, timezone=LORD_HOWE, counters="delta", channels=(f"{NODE}/tank/*",)
    ),
    UploadOptions(
        name="hours", start="beginning", interval=HOUR, timezone=BERLIN, counters="today", channels=(f"{NODE}/tank/*",)
    ),
    UploadOptions(name="raw", start="beginning", channels=(f"{NODE}/tank/*",)),
]


@pytest.fixture
def years(tmp_path: Path, pytestconfig: pytest.Config, caplog: pytest.LogCaptureFixture) -> Iterator[Years]:
    plan = year_plan.chosen(pytestconfig)
    with caplog.at_level(logging.WARNING):
        lived = Years(tmp_path, plan)
        yield lived
        lived.node.close()


@pytest.mark.timeout(3600)
def test_every_figure_of_the_years_is_that_of_the_lists_and_every_loss_was_announced(
    years: Years, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    years.live()
    years.compare_results()
    years.compare_exports(monkeypatch)
    years.compare(*list(years.node.years)[-2:])
    years.node.upload()
    years.shrink()
    years.compare_uploads()
    for sentence, before, after in years.node.sizes:
        assert after < before, sentence
        assert caplog.messages.count(sentence) == 1
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert all("history-" in error for error in errors), errors  # those of the damage, which name a file
    sys.stderr.write(
        f"{years.node.readings} readings, {years.figures} figures and {years.points} points compared, "
        f"{len(years.node.sizes)} times something was dropped, {years.losses} values lost with pages and restored\n"
    )
