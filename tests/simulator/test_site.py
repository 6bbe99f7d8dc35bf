from datetime import UTC, date, datetime

import pytest

from simulator.battery import RESTING_V, Battery, resting_voltage
from simulator.readings import Energy
from simulator.site import Site, SitePlan

START = datetime(2026, 6, 21, tzinfo=UTC).timestamp()
HOUR = 3600.0


def test_counters_of_four_days_never_fall() -> None:
    site = Site(SitePlan(), START)
    seen: list[tuple[float, ...]] = []
    for hour in range(0, 24 * 4, 2):
        site.advance(START + hour * HOUR)
        controller, meter = site.controller(), site.meter()
        seen.append(
            (
                controller.generated.total,
                controller.consumed.total,
                meter.import_kwh,
                meter.export_kwh,
                meter.import_kvarh,
            )
        )
    for counter in zip(*seen, strict=True):
        assert list(counter) == sorted(counter)
        assert counter[-1] > 0


def test_counters_of_today_and_the_month_begin_again_at_local_midnight() -> None:
    site = Site(
        SitePlan(timezone="Europe/Berlin"),
        datetime(2026, 6, 30, 21, 59, tzinfo=UTC).timestamp(),
    )
    before = site.controller().generated
    site.advance(datetime(2026, 6, 30, 22, 1, tzinfo=UTC).timestamp())
    after = site.controller().generated
    assert before.today > 0.05
    assert after.today == after.month == 0
    assert after.year == before.year == after.total


def test_energy_begins_each_period_with_what_came_in_it() -> None:
    energy = Energy(1, 2, 3, 4)
    assert energy.plus(1, date(2026, 1, 1), date(2026, 1, 1)) == Energy(2, 3, 4, 5)
    assert energy.plus(1, date(2026, 1, 1), date(2026, 1, 2)) == Energy(1, 3, 4, 5)
    assert energy.plus(1, date(2026, 1, 31), date(2026, 2, 1)) == Energy(1, 1, 4, 5)
    assert energy.plus(1, date(2025, 12, 31), date(2026, 1, 1)) == Energy(1, 1, 1, 5)
    assert energy.plus(1, date(2025, 1, 1), date(2026, 1, 1)) == Energy(1, 1, 1, 5)


def test_energy_is_the_power_summed_since_midnight() -> None:
    site = Site(SitePlan(), START)
    summed = 0.0
    for step in range(12 * 720):
        site.advance(START + step * 5)
        summed += site.controller().pv_w * 5 / 3.6e6
    assert site.controller().generated.today == pytest.approx(summed, rel=0.001)


def test_the_panel_gives_nothing_at_night_and_much_at_noon() -> None:
    site = Site(SitePlan(), START)
    night = site.controller()
    site.advance(START + 10 * HOUR)
    noon = site.controller()
    assert (night.pv_w, night.night, night.stage) == (0, True, "none")
    assert noon.pv_w > 50
    assert not noon.night
    assert noon.pv_w == pytest.approx(noon.pv_v * noon.pv_a)


def test_the_house_sells_at_noon_and_buys_at_night() -> None:
    site = Site(SitePlan(), START)
    assert site.meter().watts > 0
    site.advance(START + 10 * HOUR)
    assert site.meter().watts < 0
    assert site.meter().power_factor < 0
    assert site.meter().hertz == pytest.approx(50, abs=0.1)


def test_equal_plans_see_equal_days_however_often_one_looks() -> None:
    looked_at, left_alone = Site(SitePlan(seed=5), START), Site(SitePlan(seed=5), START)
    for second in range(0, 600, 7):
        looked_at.advance(START + second)
    looked_at.advance(START + 600)
    left_alone.advance(START + 600)
    assert looked_at.controller() == left_alone.controller()


def test_a_clock_that_goes_back_changes_nothing() -> None:
    site = Site(SitePlan(), START + HOUR)
    before = site.controller()
    site.advance(START)
    assert site.controller() == before


def test_a_site_knows_what_the_day_brought_before_it_was_started() -> None:
    site = Site(SitePlan(), START + 15 * HOUR)
    assert site.controller().generated.today > 0.2


def test_the_load_switch_takes_the_load_off() -> None:
    site = Site(SitePlan(), START)
    site.load_switch = False
    site.advance(START + 60)
    assert (site.controller().load_w, site.controller().load_on) == (0, False)


def test_a_battery_is_boosted_and_then_floats_full() -> None:
    battery = Battery(100, 20, soc=0.5)
    stages = []
    for _ in range(24 * 60):
        battery.step(300, 5, 60)
        stages.append(battery.stage)
        assert battery.voltage < 14.5
        assert battery.charge_a <= 20
    assert stages[0] == "boost"
    assert stages[-1] == "float"
    assert battery.soc > 0.98
    assert battery.voltage == pytest.approx(13.8, abs=0.05)


def test_an_empty_battery_drops_the_load_and_takes_it_back_in_the_sun() -> None:
    battery = Battery(100, 20, soc=0.01)
    battery.step(0, 200, 60)
    assert not battery.load_on
    while not battery.load_on:
        battery.step(200, 5, 60)
    assert battery.voltage > 12.6


def test_the_resting_voltage_rises_with_the_charge() -> None:
    voltages = [resting_voltage(soc / 100) for soc in range(-5, 106)]
    assert voltages == sorted(voltages)
    assert (voltages[0], voltages[-1]) == (RESTING_V[0], RESTING_V[-1])
