"""A series in another unit: as if it had always had it, in both stores, and whatever interrupts it."""

from contextlib import closing
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from heliograph import conversion
from heliograph.conversion import Conversion
from heliograph.messages import Block, Channel, Info, Value
from heliograph.renames import Rename
from heliograph.store.interface import FOR_EVER, FUNCTIONS, Keep, Reader, Series
from heliograph.store.rescaling import CannotRescale
from heliograph.store.rescalings import Rescaling
from tests.heliograph.engines import Engine

START = datetime(2021, 12, 30, tzinfo=UTC).timestamp()
NOW = datetime(2025, 2, 1, tzinfo=UTC).timestamp()
EDGES = [START + n * 3600 for n in range(4 * 24 + 1)]
CHANNELS = ("energy", "temperature", "other")
KWH, CELSIUS = conversion.between("Wh", "kWh"), conversion.between("°F", "°C")


def info(energy: str, temperature: str) -> Info:
    described = {"energy": Channel(energy, "counter", rollover=1e6 if energy == "Wh" else 1e3)}
    return Info("Meter", {**described, "temperature": Channel(temperature), "other": Channel("W")})


def number(n: int) -> tuple[float, float]:
    """A counter with a reset and a rollover, and a temperature."""
    return float((n * 37 if n < 4000 else n * 37 - 99_000) % 1_000_000), n * 7919 % 1800 / 10


def rows(step: int, scaled: bool) -> list[list[float | Value | None]]:
    made: list[list[float | Value | None]] = []
    for n in range(4 * 86_400 // step):
        energy, temperature = number(n)
        if scaled:
            energy, temperature = energy / 1000, float((Fraction(str(temperature)) - 32) * 5 / 9)
        made.append([START + n * step, energy, temperature if n % 5 else None, n * 104_729 % 100_003 / 7])
    return made


def fill(engine: Engine, step: int, *, scaled: bool, keep: Keep = FOR_EVER) -> None:
    engine.drop()
    with closing(engine.writer(keep=keep, now=lambda: NOW)) as writer:
        writer.declare("roof", "meter", info("kWh", "°C") if scaled else info("Wh", "°F"))
        assert writer.write("roof", [Block("meter", CHANNELS, rows(step, scaled))]) == []
        writer.write("roof", [Block("meter", ("other",), [[NOW - 1e6, 1.0]])])  # the oldest years go before this one
        writer.commit({})
        writer.settle()
        while writer.maintain():
            pass


def find(reader: Reader, channel: str) -> Series:
    return next(one for one in reader.series() if one.channel == channel)


def contents(engine: Engine) -> dict[str, dict[str, list[object]]]:
    with closing(engine.reader()) as reader:
        assert reader.problems() == []
        answers: dict[str, dict[str, list[object]]] = {
            one.channel: {
                "meaning": [one.unit, one.rollover],
                "points": [*reader.raw(one.id, 0, 4e9, limit=10**6).values],
                **{name: [*column] for name, column in reader.aggregate(one.id, EDGES, FUNCTIONS).items()},
            }
            for one in reader.series()
        }
        return {**answers, "arrivals": {"cursors": [(one.cursor, one.time) for one in reader.since(0, 10**6)]}}


def rescale(engine: Engine, channel: str, unit: str, change: Conversion) -> None:
    with closing(engine.reader()) as reader:
        one = find(reader, channel)
    engine.rescale(Rescaling(one.id, unit, change))


@pytest.mark.parametrize("step", [20, 600])
def test_a_series_is_as_if_it_had_always_had_the_new_unit(engine: Engine, step: int) -> None:
    """Case Y11: rises, means, integrals and points against those of a store that got the converted values."""
    fill(engine, step, scaled=True)
    wanted = contents(engine)
    fill(engine, step, scaled=False)
    rescale(engine, "energy", "kWh", KWH)
    rescale(engine, "temperature", "°C", CELSIUS)
    with closing(engine.writer(now=lambda: NOW)) as writer:
        assert writer.declare("roof", "meter", info("kWh", "°C")) == []
        assert writer.problems() == []
        writer.settle()
    assert contents(engine) == wanted


def test_cells_without_points_are_converted_too_but_not_with_an_offset(engine: Engine) -> None:
    keep = Keep(raw_years=1)
    fill(engine, 20, scaled=True, keep=keep)
    wanted = contents(engine)
    fill(engine, 20, scaled=False, keep=keep)
    rescale(engine, "energy", "kWh", KWH)
    before = contents(engine)
    for name, column in wanted["energy"].items():  # cells are sums of what was not converted yet
        if name != "meaning":
            assert before["energy"][name] == [None if one is None else pytest.approx(one, rel=1e-12) for one in column]
    with pytest.raises(CannotRescale, match="only cells are kept"):
        rescale(engine, "temperature", "°C", CELSIUS)
    with closing(engine.reader()) as reader:
        assert find(reader, "temperature").unit == "°F"


def test_a_changed_unit_becomes_one_series_again(engine: Engine) -> None:
    engine.drop()
    with closing(engine.writer()) as writer:
        for unit, time, value in (("Wh", 0, 1000.0), ("Wh", 60, 1500.0), ("kWh", 120, 1.75)):
            writer.declare("roof", "meter", Info("Meter", {"energy": Channel(unit, "counter")}))
            writer.write("roof", [Block("meter", ("energy",), [[START + time, value]])])
            writer.commit({})
    rescale(engine, "energy", "kWh", KWH)
    engine.rename(Rename("roof/meter/energy_kwh", "roof/meter/energy"))
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        writer.write("roof", [Block("meter", ("energy",), [[START + 180, 2.0]])])  # not described again yet
        writer.commit({})
        (one,) = reader.series()
        assert (one.channel, one.unit) == ("energy", "kWh")
        assert reader.raw(one.id, 0, 4e9, limit=9).values == [1.0, 1.5, 1.75, 2.0]
        assert reader.aggregate(one.id, [START, START + 3600], ["delta"])["delta"] == [1.0]
        assert writer.problems() == []


def test_a_rescaling_is_done_once_unless_its_number_is_given(engine: Engine) -> None:
    engine.drop()
    with closing(engine.writer()) as writer:
        writer.write("roof", [Block("meter", ("energy",), [[START, 2.0]])])
        writer.commit({})
    for again, number, value in ((0, None, 20.0), (0, 1, 20.0), (1, None, 200.0), (1, 2, 200.0)):
        done = engine.rescale(Rescaling(1, "kWh", Conversion(multiply=10.0)), again)
        assert (done and done.number) == number
        with closing(engine.reader()) as reader:
            assert reader.raw(1, 0, 4e9, limit=9).values == [value]


def test_texts_and_states_have_no_unit(engine: Engine) -> None:
    engine.drop()
    with closing(engine.writer()) as writer:
        writer.write("roof", [Block("meter", ("mode",), [[START, "on"]])])
        writer.commit({})
    with pytest.raises(CannotRescale, match="text"):
        rescale(engine, "mode", "kWh", KWH)
