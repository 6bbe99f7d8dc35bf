import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import noise, sun

LONDON = (51.5, -0.13)
MIDSUMMER = 1_781_913_600.0 + 86_400  # 2026-06-21 00:00 UTC


def at(clock: str) -> float:
    hours, minutes = clock.split(":")
    return MIDSUMMER + int(hours) * 3600 + int(minutes) * 60


def test_the_sun_rises_and_sets_in_london_when_the_almanac_says() -> None:
    assert sun.elevation(*LONDON, at("3:33")) < 0 < sun.elevation(*LONDON, at("3:53"))
    assert sun.elevation(*LONDON, at("20:11")) > 0 > sun.elevation(*LONDON, at("20:31"))


def test_the_midsummer_noon_sun_stands_as_high_as_the_tropic_and_the_place_say() -> None:
    assert sun.elevation(*LONDON, at("12:02")) == pytest.approx(90 - 51.5 + 23.44, abs=0.1)


def test_the_clear_sky_is_brightest_overhead_and_dark_at_night() -> None:
    assert sun.clear_sky(90) == pytest.approx(1037.2, abs=0.1)
    assert sun.clear_sky(30) == pytest.approx(489.8, abs=0.1)
    assert sun.clear_sky(0) == 0
    assert sun.clear_sky(-10) == 0


def test_nothing_arrives_in_the_polar_night() -> None:
    assert sun.irradiance(1, -80, 0, at("12:00")) == 0


@given(st.integers(0, 2**32), st.floats(0, 4e9))
def test_clouds_depend_on_seed_and_time_alone_and_never_brighten(seed: int, time: float) -> None:
    share = sun.transmission(seed, time)
    assert 0.11 < share <= 1
    assert share == sun.transmission(seed, time)


@given(st.integers(0, 2**32), st.floats(0, 4e9))
def test_clouds_do_not_jump(seed: int, time: float) -> None:
    assert sun.transmission(seed, time + 0.5) == pytest.approx(sun.transmission(seed, time), abs=0.02)


def test_other_seeds_have_other_weather() -> None:
    assert len({sun.transmission(seed, at("12:00")) for seed in range(20)}) > 5


@given(st.integers(), st.floats(-1e9, 4e9), st.floats(1, 1e6))
def test_noise_stays_between_0_and_1(seed: int, time: float, period: float) -> None:
    assert 0 <= noise.at(seed, time, period) <= 1
