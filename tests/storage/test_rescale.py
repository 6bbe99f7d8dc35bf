"""`heliograph store rescale`: the past in the new unit, and one series again."""

from contextlib import closing
from pathlib import Path

import pytest

from heliograph import store
from heliograph.messages import Block, Channel
from tests.storage.stores import command, done, everything, make, meanings, settle

T = 1_763_633_000.0


def changed(data: Path) -> None:
    """Wh in winter, kWh from spring on."""
    for unit, time, value in (("Wh", T, 1000.0), ("Wh", T + 60, 1500.0), ("kWh", T + 120, 1.75)):
        make(data, [Block("meter", ("energy",), [[time, value]])], {"energy": Channel(unit, "counter")})


def test_the_past_is_converted_and_joined_after_a_dry_run(tmp_path: Path) -> None:
    changed(tmp_path)
    before = everything(tmp_path)
    arguments = ("rescale", "roof/meter/energy", "--to", "kWh", "--join", "roof/meter/energy_kwh", "--data", tmp_path)
    shown = done(*arguments, "--dry-run")
    assert "1500 Wh" in shown
    assert "becomes 1.5 kWh" in shown
    assert "roof/meter/energy_kwh becomes a part" in shown
    assert everything(tmp_path) == before
    assert command(*arguments).exit_code == 1  # the question is not answered
    assert everything(tmp_path) == before
    assert "has the unit kWh now" in done(*arguments, "--yes")
    assert everything(tmp_path) == {"roof/meter/energy": [(T, 1.0), (T + 60, 1.5), (T + 120, 1.75)]}
    assert meanings(tmp_path)["roof/meter/energy"][:2] == ("kWh", "counter")
    assert "already" in done("rescale", "roof/meter/energy", "--to", "kWh", "--data", tmp_path, "--yes")


@pytest.mark.parametrize("name", ["history-2025.db", "catalog.db"])
def test_a_copy_from_before_a_rescaling_is_reported_and_not_read_until_storage_has_converted_it(
    tmp_path: Path, name: str
) -> None:
    make(tmp_path, [Block("meter", ("energy",), [[T, 1000.0], [T + 60, 1500.0]])], {"energy": Channel("Wh", "counter")})
    settle(tmp_path)
    file = store.folder(tmp_path) / name
    older = file.read_bytes()
    done("rescale", "roof/meter/energy", "--to", "kWh", "--data", tmp_path, "--yes")
    right = {"roof/meter/energy": [(T, 1.0), (T + 60, 1.5)]}
    with closing(store.open_reader(tmp_path)) as reader:
        (one,) = reader.series()
        assert reader.raw(one.id, 0.0, 1e11, limit=10).values == [1.0, 1.5]
        file.unlink()  # a reader has the old one open
        file.write_bytes(older)
        assert reader.raw(one.id, 0.0, 1e11, limit=10).values == []
        assert "have not had the same rescalings as catalog.db" in reader.problems()[0]
        settle(tmp_path)
        assert (everything(tmp_path), meanings(tmp_path)["roof/meter/energy"][0]) == (right, "kWh")
        assert reader.raw(one.id, 0.0, 1e11, limit=10).values == [1.0, 1.5]
        assert reader.problems() == []


def test_an_interrupted_command_is_completed_by_the_same_one(tmp_path: Path) -> None:
    """The conversion is done, and the two are not one yet."""
    changed(tmp_path)
    done("rescale", "roof/meter/energy", "--to", "kWh", "--data", tmp_path, "--yes")
    assert len(everything(tmp_path)) == 2
    done("rescale", "roof/meter/energy", "--to", "kWh", "--join", "roof/meter/energy_kwh", "--data", tmp_path, "--yes")
    assert everything(tmp_path) == {"roof/meter/energy": [(T, 1.0), (T + 60, 1.5), (T + 120, 1.75)]}


def test_a_factor_serves_where_the_unit_is_unknown_or_wrong(tmp_path: Path) -> None:
    make(tmp_path, [Block("meter", ("energy",), [[T, 10.0]])], {"energy": Channel("kWh")})
    done("rescale", "roof/meter/energy", "--from", "Wh", "--to", "kWh", "--data", tmp_path, "--yes")
    assert everything(tmp_path)["roof/meter/energy"] == [(T, 0.01)]
    done("rescale", "roof/meter/energy", "--factor", 300, "--offset", 1, "--to", "L", "--data", tmp_path, "--yes")
    assert everything(tmp_path)["roof/meter/energy"] == [(T, 4.0)]
    assert meanings(tmp_path)["roof/meter/energy"][0] == "L"


def test_a_factor_is_applied_once_though_the_command_is_given_twice(tmp_path: Path) -> None:
    """It had been interrupted, and storage had done the rest: another factor of ten would be wrong silently."""
    make(tmp_path, [Block("meter", ("energy",), [[T, 10.0]])], {"energy": Channel("kWh")})
    arguments = ("rescale", "roof/meter/energy", "--factor", 10, "--to", "kWh", "--data", tmp_path, "--yes")
    assert "already" not in done(*arguments)
    assert "already, and is not once more; if it is to be: --again 1" in done(*arguments)
    assert everything(tmp_path)["roof/meter/energy"] == [(T, 100.0)]
    for _ in range(2):
        done(*arguments, "--again", 1)
        assert everything(tmp_path)["roof/meter/energy"] == [(T, 1000.0)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("roof/meter/energy", "--to", "W"), "no conversion from 'kWh' to 'W'"),
        (("roof/meter/energy", "--to", "furlong"), "unknown unit"),
        (("roof/meter/other", "--to", "W"), "there is no series"),
        (("roof/meter/mode", "--to", "W"), "is a text"),
        (("roof/meter/energy", "--to", "Wh", "--factor", "-1"), "not a positive number"),
        (("roof/meter/energy", "--to", "Wh", "--offset", "1"), "needs --factor"),
        (("roof/meter/energy", "--to", "Wh", "--join", "roof/meter/mode"), "cannot be joined"),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    channels = {"energy": Channel("kWh"), "mode": Channel("", "text")}
    make(tmp_path, [Block("meter", ("energy", "mode"), [[T, 10.0, "on"]])], channels)
    result = command("rescale", *arguments, "--data", tmp_path, "--yes")
    assert result.exit_code != 0
    assert sentence in result.stderr
    assert everything(tmp_path)["roof/meter/energy"] == [(T, 10.0)]
