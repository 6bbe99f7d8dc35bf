"""What the site's instruments show at one moment."""

import math
from datetime import date, datetime
from typing import Literal, Self

import msgspec

Stage = Literal["none", "float", "boost", "equalise"]


class Energy(msgspec.Struct, frozen=True):
    """An energy counter in kWh: since midnight, this month, this year, and ever."""

    today: float = 0.0
    month: float = 0.0
    year: float = 0.0
    total: float = 0.0

    def plus(self, kwh: float, before: date, now: date) -> Self:
        """Return the counter after `kwh` more, from 0 again where a day, month or year ended."""
        same_year = before.year == now.year
        same_month = same_year and before.month == now.month
        return type(self)(
            kwh + (self.today if before == now else 0.0),
            kwh + (self.month if same_month else 0.0),
            kwh + (self.year if same_year else 0.0),
            kwh + self.total,
        )


class Range(msgspec.Struct, frozen=True):
    """The lowest and the highest value seen today."""

    low: float
    high: float

    def with_value(self, value: float) -> Self:
        """Return the range that holds this value, too."""
        return type(self)(min(self.low, value), max(self.high, value))


class Controller(msgspec.Struct, frozen=True, kw_only=True):
    """A solar charge controller: V, A, W, °C, kWh, and a state of charge of 0..1."""

    time: datetime  # what its own clock shows: local, with its zone
    pv_v: float
    pv_a: float
    pv_w: float
    battery_v: float
    charge_a: float
    charge_w: float
    load_v: float
    load_a: float
    load_w: float
    soc: float
    battery_c: float
    case_c: float
    heatsink_c: float
    ambient_c: float
    stage: Stage
    load_on: bool
    night: bool
    pv_range: Range
    battery_range: Range
    consumed: Energy
    generated: Energy


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A grid meter: power is positive while the house takes from the grid."""

    volts: float
    hertz: float
    watts: float
    var: float
    import_kwh: float
    export_kwh: float
    import_kvarh: float
    export_kvarh: float = 0.0

    @property
    def va(self) -> float:
        """The apparent power in VA."""
        return math.hypot(self.watts, self.var)

    @property
    def amps(self) -> float:
        """The current in A."""
        return self.va / self.volts

    @property
    def power_factor(self) -> float:
        """The power factor, negative while power flows out, 1 when nothing flows."""
        return self.watts / self.va if self.va else 1.0


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What the radio nodes of the house measure: W, °C, % relative humidity."""

    roof_w: float
    used_w: float
    indoor_c: float
    outdoor_c: float
    humidity: float
