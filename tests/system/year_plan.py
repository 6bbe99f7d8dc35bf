"""From when to when a node is simulated, and which devices it has."""

import os
import random
import sys
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest

from heliograph.store.interface import Keep
from tests.system import year_lists
from tests.system.year_devices import METER, PULSES, TANK, Device, Span
from tests.system.year_lists import DAY, HOUR

STEADY = 20_380_119  # the seed of .ci/run: no landing depends on luck


class Plan(NamedTuple):
    """From when to when (days), how long readings are kept, how often the node is looked at (s).

    Backups are made each night around the dates, else every fourth or, in the short form, every tenth.
    """

    start: date
    end: date
    keep: Keep
    step: int
    is_long: bool
    looks: int  # nights on which a backup is restored and compared
    without_power: int  # days
    seed: int

    def moment(self, share: float) -> int:
        """The day at a share of the time, at midnight; s UTC."""
        days = int((self.end - self.start).days * share)
        return seconds(self.start + timedelta(days=days))

    def dates(self) -> list[date]:
        """Every date on which something about time happens."""
        moments = []
        for year in range(self.start.year, self.end.year + 1):
            moments += [date(year, 1, 1), date(year, 3, 1)]
            for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"):
                moments += [datetime.fromtimestamp(at, UTC).date() for at in year_lists.changes(zone, year, year)]
        return sorted({day for day in [*moments, date(2038, 1, 19)] if self.start < day < self.end})


def seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def around(days: list[date], before: int, after: int) -> list[Span]:
    return [(seconds(day) - before * DAY, seconds(day) + after * DAY) for day in days]


def chosen(config: pytest.Config) -> Plan:
    steady = os.environ.get("HYPOTHESIS_PROFILE") == "steady"
    seed = int(os.environ.get("STORE_SEED", STEADY if steady else random.randrange(1 << 32)))
    sys.stderr.write(f"STORE_SEED={seed}\n")
    if config.getoption("--full"):
        return Plan(date(2027, 7, 1), date(2039, 7, 1), Keep(years=8, raw_years=3), 48 * HOUR, True, 6, 65, seed)
    year = random.Random(seed).choice([2027, 2031, 2037])
    return Plan(date(year, 12, 20), date(year + 2, 1, 10), Keep(years=1, raw_years=0.5), 24 * HOUR, False, 1, 150, seed)


def devices_of(plan: Plan) -> list[Device]:
    """Intervals of 5 s around some of the dates, of 600 s all the time, and others in between."""
    dates, chance = plan.dates(), random.Random(plan.seed)
    new_years = [day for day in dates if (day.month, day.day) == (1, 1)]
    if plan.is_long:
        fast, before, after, slow = chance.sample(dates, 4), 2, 8, new_years[::2]
    else:
        fast, before, after, slow = chance.sample(dates, 1), 1, 3, dates[3:4]
    return [
        Device("tank", 600, TANK, [(seconds(plan.start), seconds(plan.end))], plan.seed, jitter=False),
        Device("tracer", 5, METER, around(fast, before // 2, before), plan.seed, jitter=False),
        Device("meter", 30, METER, around(new_years, before, before + 1), plan.seed, jitter=False),
        Device("pulse", 60, PULSES, around(new_years, before, after), plan.seed, jitter=True),
        Device("inverter", 300, METER, around(slow, before, 14 * after), plan.seed, jitter=True),
    ]
