"""PVOutput's fields v1 to v12, and how a row of them is written. Pure."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.uploader.target import MappedChannel, Row
from services.uploader.targets.shared.numbers import number

WATTS = {"W": 1.0, "kW": 1e3, "MW": 1e6, "VA": 1.0}
WATT_HOURS = {"Wh": 1.0, "kWh": 1e3, "MWh": 1e6, "VAh": 1.0}
BASIC = 6  # fields that every account has; the others are for donors
FIELDS = 12
ENERGIES = (1, 3)
POWERS = (2, 4)
BY_UNIT = {"generation": (2, 1), "consumption": (4, 3)}  # of power, of energy
BY_NAME = {
    "temperature": 5,
    "voltage": 6,
    **{f"extended_{count}": BASIC + count for count in range(1, 7)},
    **{f"v{field}": field for field in range(1, FIELDS + 1)},
}
NAMES = (*BY_UNIT, *BY_NAME)


def field(mapped: MappedChannel) -> int:
    """Return which of v1 … v12 a channel is, 0 if none: generation and consumption are power or energy by their unit."""
    if mapped.name in BY_UNIT:
        power, energy = BY_UNIT[mapped.name]
        return power if mapped.unit in WATTS else energy if mapped.unit in WATT_HOURS else 0
    return BY_NAME.get(mapped.name, 0)


class Entry(NamedTuple):
    """One row for PVOutput: its number in the batch, and v1 … v12 by number."""

    row: int
    local: datetime
    values: dict[int, float]

    @property
    def key(self) -> str:
        """Date and time, as PVOutput names a row."""
        return self.local.strftime("%Y%m%d,%H:%M")

    def line(self, fields: int) -> str:
        """Return the row as addbatchstatus takes it: date, time and v1 … v6, or v12 for a donor."""
        texts = [_written(number, self.values.get(number)) for number in range(1, fields + 1)]
        while len(texts) > BASIC and not texts[-1]:
            texts.pop()
        return ",".join([self.key, *texts])

    def without(self, *fields: int) -> "Entry":
        """Return the row without some of its values."""
        return self._replace(values={number: value for number, value in self.values.items() if number not in fields})

    def is_complete(self) -> bool:
        """Whether there is one of v1 … v4: PVOutput takes no row without one."""
        return any(number in self.values for number in (*ENERGIES, *POWERS))


class Fields:
    """Turns rows into entries; keeps which value goes where, for rows with the same channels."""

    def __init__(self, zone: ZoneInfo, net: bool = False) -> None:
        """`zone` is that of the system; `net` leaves out energies: power is what crosses the meter."""
        self._zone = zone
        self._net = net
        self._plans: dict[tuple[MappedChannel, ...], list[tuple[int, int, float]]] = {}

    def entry(self, index: int, row: Row) -> Entry:
        """Return what PVOutput gets of a row; raise ValueError for a value that is not a number, or for two in one field."""
        plan = self._plans.get(row.channels)
        if plan is None:
            plan = self._plans[row.channels] = self._plan(row.channels)
        values: dict[int, float] = {}
        for column, target, factor in plan:
            converted = number(row.values[column])
            if converted is not None:
                values[target] = converted * factor + (
                    0.0 if row.channels[column].unit != "°F" or target != 5 else -160 / 9
                )
        for power in POWERS:
            if values.get(power, 0.0) < 0:  # neither it nor its energy can be shown there
                values = {key: value for key, value in values.items() if key not in (power, power - 1)}
        local = datetime.fromtimestamp(row.time, self._zone)
        return Entry(index, local, values)

    def _plan(self, channels: tuple[MappedChannel, ...]) -> list[tuple[int, int, float]]:
        plan: dict[int, tuple[int, int, float]] = {}
        for index, mapped in enumerate(channels):
            target = field(mapped)
            if not target or (self._net and target in ENERGIES):
                continue
            if target in plan:
                other = channels[plan[target][0]]
                raise ValueError(f"{other.series} and {mapped.series} are both v{target}; rename one of them")
            plan[target] = (index, target, _factor(mapped.unit, target))
        return list(plan.values())


def _factor(unit: str, target: int) -> float:
    if target in ENERGIES:
        return WATT_HOURS.get(unit, 1.0)
    if target in POWERS:
        return WATTS.get(unit, 1.0)
    if target == 6 and unit == "mV":
        return 1e-3
    return 5 / 9 if target == 5 and unit == "°F" else 1.0


def _written(target: int, value: float | None) -> str:
    if value is None:
        return ""
    if target in ENERGIES or target in POWERS:
        return f"{value:.0f}"
    return f"{value:.1f}" if target <= BASIC else f"{value:.3f}".rstrip("0").rstrip(".")
