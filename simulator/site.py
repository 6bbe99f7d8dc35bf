"""A house with a small off-grid solar system, moved on in time step by step."""

import math
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import msgspec

from simulator import noise, sun
from simulator.battery import Battery
from simulator.readings import Controller, Energy, House, Meter, Range

DAY = 86400.0
STEP = 5.0  # fine enough for a live chart
LONG_STEP = 60.0  # for catching up after a pause


class SitePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where the site is and what it has; equal plans see equal weather."""

    latitude: float = 52.52
    longitude: float = 13.41
    timezone: str = "UTC"
    seed: int = 1
    panel_w: float = 160.0
    battery_ah: float = 100.0
    charger_a: float = 20.0
    roof_w: float = 3000.0

    @property
    def zone(self) -> tzinfo:
        """The time zone whose midnights end the days of the counters."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)


class Site:
    """The model: `advance` moves it to a Unix time, the other methods read it there.

    It begins at the local midnight before `start`, so that today's counters are right.
    """

    def __init__(self, plan: SitePlan, start: float) -> None:
        self.plan = plan
        self.load_switch = True
        local = datetime.fromtimestamp(start, plan.zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        self._time = midnight.timestamp()
        self._day: date = midnight.date()
        self._battery = Battery(plan.battery_ah, plan.charger_a)
        self._consumed = Energy()
        self._generated = Energy()
        self._import_kwh = self._export_kwh = self._import_kvarh = 0.0
        self._battery_c = self._outdoor(self._time)
        self._look(self._time)
        self._battery_range = Range(self._battery.voltage, self._battery.voltage)
        self._pv_range = Range(self._pv_v, self._pv_v)
        self.advance(start)

    def advance(self, to: float) -> None:
        """Move on to a Unix time in whole steps; a time that has passed changes nothing."""
        while self._time + STEP <= to:
            seconds = LONG_STEP if to - self._time > 10 * LONG_STEP else STEP
            self._step(seconds)

    def _step(self, seconds: float) -> None:
        self._time += seconds
        hours = seconds / 3600
        load_w = self._wanted_load() if self.load_switch else 0.0
        self._battery.step(self._available_w, load_w, seconds)
        self._look(self._time)
        self._battery_c += (self._outdoor(self._time) + 2 - self._battery_c) * min(1.0, seconds / 7200)
        today = datetime.fromtimestamp(self._time, self.plan.zone).date()
        if today != self._day:
            self._battery_range = Range(self._battery.voltage, self._battery.voltage)
            self._pv_range = Range(self._pv_v, self._pv_v)
        self._battery_range = self._battery_range.with_value(self._battery.voltage)
        self._pv_range = self._pv_range.with_value(self._pv_v)
        self._consumed = self._consumed.plus(self._load_a() * self._battery.voltage * hours / 1000, self._day, today)
        self._generated = self._generated.plus(self._pv_w * hours / 1000, self._day, today)
        self._day = today
        grid_w = self._used_w - self._roof_w
        self._import_kwh += max(0.0, grid_w) * hours / 1000
        self._export_kwh += max(0.0, -grid_w) * hours / 1000
        self._import_kvarh += self._var() * hours / 1000

    def _look(self, time: float) -> None:
        """Compute what follows from the sky and the hour at this moment."""
        plan = self.plan
        self._elevation = sun.elevation(plan.latitude, plan.longitude, time)
        light = sun.clear_sky(self._elevation) * sun.transmission(plan.seed, time)
        outdoor = self._outdoor(time)
        heat_loss = 1 - 0.004 * (outdoor + 0.03 * light - 25)
        self._available_w = plan.panel_w * light / 1000 * heat_loss
        self._roof_w = plan.roof_w * light / 1000 * heat_loss * 0.9
        self._used_w = self._household(time)
        drawn = self._battery.charge_a * self._battery.voltage / 0.97
        self._pv_w = min(self._available_w, drawn)
        idle = 1 - self._pv_w / self._available_w if self._available_w > 0 else 1.0
        dim = max(light, sun.twilight(self._elevation)) / 1000
        open_v = max(0.06, 21.6 * (1 + 0.06 * math.log(dim)))
        self._pv_v = open_v * (0.82 + 0.18 * idle)

    def _outdoor(self, time: float) -> float:
        """Return the temperature of the air in °C: season, hour of the sun, weather."""
        plan = self.plan
        year = math.cos(math.tau * (time / DAY / 365.2425 - 0.054))
        season = -9.0 * year * math.copysign(1.0, plan.latitude)
        hour = (time / 3600 + plan.longitude / 15) % 24
        swing = 4.5 * math.cos(math.tau * (hour - 15) / 24)
        return 11 + season + swing + 6 * (noise.at(plan.seed + 10, time, DAY) - 0.5)

    def _local_hour(self, time: float) -> float:
        local = datetime.fromtimestamp(time, self.plan.zone)
        return local.hour + local.minute / 60 + local.second / 3600

    def _household(self, time: float) -> float:
        """Return what the house uses in W: a base, a fridge, breakfast and evening."""
        seed = self.plan.seed
        hour = self._local_hour(time)
        busy = math.exp(-(((hour - 7.5) / 1.2) ** 2)) + 1.6 * math.exp(-(((hour - 19) / 2.2) ** 2))
        fridge = 85.0 if noise.at(seed + 20, time, 1500) > 0.55 else 0.0
        kettle = 1900.0 if busy > 0.3 and noise.at(seed + 21, time, 240) > 0.85 else 0.0
        return (
            140
            + fridge
            + kettle
            + (250 + 500 * noise.at(seed + 22, time, 900)) * busy
            + 30 * noise.at(seed + 23, time, 20)
        )

    def _wanted_load(self) -> float:
        """Return what hangs on the controller in W: a small server, lamps in the evening."""
        server = 4.0 + 2.5 * noise.at(self.plan.seed + 30, self._time, 45)
        lamps = 14.0 if 18 <= self._local_hour(self._time) < 22 else 0.0
        return server + (lamps if self._elevation < 0 else 0.0)

    def _load_a(self) -> float:
        on = self.load_switch and self._battery.load_on
        return self._wanted_load() / self._battery.voltage if on else 0.0

    def _var(self) -> float:
        return 40 + 0.22 * self._used_w

    def controller(self) -> Controller:
        """Return what the charge controller shows."""
        battery = self._battery
        on = self.load_switch and battery.load_on
        load_a = self._load_a()
        outdoor = self._outdoor(self._time)
        warm = outdoor + 6 + 0.08 * self._pv_w
        return Controller(
            time=datetime.fromtimestamp(self._time, self.plan.zone),
            pv_v=self._pv_v,
            pv_a=self._pv_w / self._pv_v,
            pv_w=self._pv_w,
            battery_v=battery.voltage,
            charge_a=battery.charge_a,
            charge_w=battery.charge_a * battery.voltage,
            load_v=battery.voltage if on else 0.0,
            load_a=load_a,
            load_w=load_a * battery.voltage,
            soc=battery.soc,
            battery_c=self._battery_c,
            case_c=warm,
            heatsink_c=warm + 0.03 * self._pv_w,
            ambient_c=outdoor,
            stage=battery.stage,
            load_on=on,
            night=self._pv_v < 5.0,
            pv_range=self._pv_range,
            battery_range=self._battery_range,
            consumed=self._consumed,
            generated=self._generated,
        )

    def meter(self) -> Meter:
        """Return what the grid meter shows."""
        seed, time = self.plan.seed, self._time
        watts = self._used_w - self._roof_w
        return Meter(
            volts=228 + 6 * noise.at(seed + 40, time, 120) - 0.001 * watts,
            hertz=49.97 + 0.06 * noise.at(seed + 41, time, 60),
            watts=watts,
            var=self._var(),
            import_kwh=self._import_kwh,
            export_kwh=self._export_kwh,
            import_kvarh=self._import_kvarh,
        )

    def house(self) -> House:
        """Return what the radio nodes measure."""
        seed, time = self.plan.seed, self._time
        return House(
            roof_w=self._roof_w,
            used_w=self._used_w,
            indoor_c=20.5 + 2 * (noise.at(seed + 50, time, 4 * 3600) - 0.5),
            outdoor_c=self._outdoor(time),
            humidity=45 + 20 * (noise.at(seed + 51, time, 6 * 3600) - 0.5),
        )
