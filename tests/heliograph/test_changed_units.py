"""A channel whose unit changes: the values of the past keep theirs, and new ones have a series of their own."""

import logging
from contextlib import closing

import pytest

from heliograph.messages import Block, Channel, Info, Value
from heliograph.store.interface import Reader, Writer
from tests.heliograph.engines import Engine
from tests.heliograph.plain_list import T0

Stored = dict[str, tuple[str, list[tuple[float, Value]]]]


def declare(writer: Writer, **units: str) -> None:
    channels = {name: Channel(unit, "counter") for name, unit in units.items()}
    assert writer.declare("roof", "meter", Info("Meter", channels)) == []


def write(writer: Writer, time: float, value: float) -> None:
    assert writer.write("roof", [Block("meter", ("energy", "other"), [[T0 + time, value, 1.0]])]) == []
    writer.commit({})


def energies(reader: Reader) -> Stored:
    """Unit and points of every series but the other one."""
    stored: Stored = {}
    for one in reader.series():
        if one.channel != "other":
            page = reader.raw(one.id, 0, 1e11, limit=100)
            points = [(time - T0, value) for time, value in zip(page.times, page.values, strict=True)]
            stored[one.channel] = one.unit, points
    return stored


def test_a_changed_unit_never_relabels_the_past(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Case Y11: Wh in winter, kWh from spring on."""
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        declare(writer, energy="Wh")
        write(writer, 0, 1000.0)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                declare(writer, energy="kWh")
        assert len([record for record in caplog.records if "energy_kwh" in record.getMessage()]) == 1
        write(writer, 1, 1.1)
        assert energies(reader) == {"energy": ("Wh", [(0, 1000.0)]), "energy_kwh": ("kWh", [(1, 1.1)])}
        assert [problem for problem in writer.problems() if "roof/meter/energy_kwh" in problem]
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        write(writer, 2, 1.2)  # before the device has described itself again
        declare(writer, energy="")  # no unit is no other unit
        write(writer, 3, 1.3)
        declare(writer, other="W")  # a description without the channel
        write(writer, 4, 1.4)
        kwh = [(1, 1.1), (2, 1.2), (3, 1.3), (4, 1.4)]
        assert energies(reader) == {"energy": ("Wh", [(0, 1000.0)]), "energy_kwh": ("kWh", kwh)}
        declare(writer, energy="Wh")
        write(writer, 5, 1500.0)
        assert energies(reader) == {"energy": ("Wh", [(0, 1000.0), (5, 1500.0)]), "energy_kwh": ("kWh", kwh)}
        assert writer.problems() == []
        declare(writer, energy="kWh")
        write(writer, 6, 1.6)
        assert energies(reader)["energy_kwh"] == ("kWh", [*kwh, (6, 1.6)])


def test_a_first_unit_is_that_of_all_values(engine: Engine) -> None:
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        write(writer, 0, 1.0)
        declare(writer, energy="kWh")
        write(writer, 1, 2.0)
        assert energies(reader) == {"energy": ("kWh", [(0, 1.0), (1, 2.0)])}
        assert writer.problems() == []


def test_a_name_that_another_channel_has_is_not_taken(engine: Engine) -> None:
    with closing(engine.writer()) as writer, closing(engine.reader()) as reader:
        declare(writer, energy="Wh", energy_kwh="kWh")
        write(writer, 0, 1000.0)
        declare(writer, energy="kWh", energy_kwh="kWh")
        write(writer, 1, 1.1)
        declare(writer, energy="%")
        write(writer, 2, 50.0)
        assert energies(reader) == {
            "energy": ("Wh", [(0, 1000.0)]),
            "energy_kwh": ("kWh", []),
            "energy_kwh_2": ("kWh", [(1, 1.1)]),
            "energy_percent": ("%", [(2, 50.0)]),
        }
