"""A rescaling that a power cut interrupts anywhere, and a file that is damaged, lost or another copy then: no series has two units."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliograph import conversion, store
from heliograph.conversion import Conversion
from heliograph.errors import StoreDamaged
from heliograph.messages import Block, Channel, Info
from heliograph.store import history, open_reader, open_writer, rescaling, schema
from heliograph.store.interface import FOR_EVER, Keep
from heliograph.store.rescalings import Rescaling

STARTS = [datetime(year, 3, 1, tzinfo=UTC).timestamp() for year in (2021, 2022, 2023)]
NOW = datetime(2023, 7, 1, tzinfo=UTC).timestamp()
POINTS = 20
KWH = conversion.between("Wh", "kWh")
PAGE = history.PAGE
DAY = 86_400
WANTED = {start + n * 60: 100.0 * n for start in STARTS for n in range(POINTS)}  # in Wh


class PowerCut(BaseException):
    """What nothing catches."""


def write(data: Path, unit: str, points: dict[float, float], keep: Keep = FOR_EVER) -> None:
    channels = {"energy": Channel(unit, "counter", rollover=1e6), "power": Channel("W")}
    with closing(open_writer(data, now=lambda: NOW, keep=keep)) as writer:
        assert writer.declare("roof", "meter", Info("Meter", channels)) == []
        rows: list[list[float | str | bool | None]] = [[time, value, value] for time, value in points.items()]
        assert writer.write("roof", [Block("meter", ("energy", "power"), rows)]) == []
        writer.commit({})
        writer.settle()
        while keep != FOR_EVER and writer.maintain():
            pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in Wh."""
    data = tmp_path_factory.mktemp("made")
    write(data, "Wh", WANTED)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


def rescale(data: Path, change: Conversion = KWH, unit: str = "kWh", again: int = 0) -> int | None:
    with closing(open_reader(data)) as reader:
        sid = next(one.id for one in reader.series() if one.channel == "energy")
    done = store.rescale(data, Rescaling(sid, unit, change), again=again)
    return None if done is None else done.number


def interrupted(data: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Cut the power before the transaction with this number after the rescaling was noted; 0: before it is noted."""
    transaction = schema.transaction

    @contextmanager
    def failing(connection: sqlite3.Connection) -> Iterator[None]:
        nonlocal step
        if not step:
            raise PowerCut
        step -= 1
        with transaction(connection):
            yield

    begin = rescaling.begin

    def counted(folder: Path, change: Rescaling, at: float) -> None:
        monkeypatch.setattr(schema, "transaction", failing)
        begin(folder, change, at)

    monkeypatch.setattr(rescaling, "begin", counted)
    with pytest.raises(PowerCut):
        rescale(data)
    monkeypatch.undo()


def started(data: Path) -> tuple[dict[float, float], list[str]]:
    """The energy in Wh, whatever the units of its series, and the problems, after a start of storage."""
    with closing(open_writer(data, now=lambda: NOW)) as writer:
        writer.settle()
        problems = writer.problems()
    points: dict[float, float] = {}
    with closing(open_reader(data)) as reader:
        for one in reader.series():
            if one.unit in ("Wh", "kWh"):
                batch = reader.raw(one.id, 0, 4e9, limit=10**6)
                assert not points.keys() & set(batch.times)
                points |= {
                    time: float(value) * (1000 if one.unit == "kWh" else 1)
                    for time, value in zip(batch.times, batch.values, strict=True)
                }
    return points, problems


def units(data: Path) -> set[str]:
    with closing(open_reader(data)) as reader:
        return {one.unit for one in reader.series() if one.channel.startswith("energy")}


def year(data: Path, number: int = 2022) -> Path:
    return store.folder(data) / f"history-{number}.db"


def nothing(_data: Path, _made: Path) -> None:
    pass


def headless_year(data: Path, _made: Path) -> None:
    with year(data).open("r+b") as file:
        file.write(b"\xff" * PAGE)


def lost_catalog(data: Path, _made: Path) -> None:
    schema.delete(store.folder(data) / "catalog.db")


def overwritten_catalog(data: Path, _made: Path) -> None:
    (store.folder(data) / "catalog.db").write_bytes(b"\xff" * 30_000)


def older(name: str) -> Callable[[Path, Path], None]:
    def replace(data: Path, made: Path) -> None:
        schema.delete(store.folder(data) / name)
        shutil.copy(store.folder(made) / name, store.folder(data) / name)

    return replace


def older_year_beside(data: Path, made: Path) -> None:
    """As the problem of a lost year advises."""
    schema.delete(year(data))
    shutil.copy(year(made), year(data).with_name("history-2022.db.damaged-1-1"))


def lost_hot_and_catalog(data: Path, made: Path) -> None:
    lost_catalog(data, made)
    schema.delete(store.folder(data) / "hot.db")


def without_note(data: Path, _made: Path) -> None:
    with closing(sqlite3.connect(year(data))) as db:
        db.execute("DELETE FROM meta WHERE key = 'rescalings'")
        db.commit()


DAMAGES = [
    headless_year, lost_catalog, overwritten_catalog, older("catalog.db"), older("hot.db"), older("history-2022.db"),
    older_year_beside, lost_hot_and_catalog, without_note, nothing,
]  # fmt: skip


STEPS = [1, 2, -1, 4, 0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each damage at one moment, with --full at each."""
    if "damage" in metafunc.fixturenames:
        whole = [(step, damage) for damage in DAMAGES for step in STEPS]
        part = [(STEPS[index % len(STEPS)], damage) for index, damage in enumerate(DAMAGES)]
        metafunc.parametrize(("step", "damage"), whole if metafunc.config.getoption("--full") else part)


def test_every_reading_is_in_one_unit_whatever_is_damaged_when(
    data: Path, made: Path, monkeypatch: pytest.MonkeyPatch, step: int, damage: Callable[[Path, Path], None]
) -> None:
    """After the note, after one year, after all years, and after everything (-1): nothing is lost, nothing is mixed."""
    if step < 0:
        rescale(data)
    else:
        interrupted(data, monkeypatch, step)
    damage(data, made)
    points, _ = started(data)
    assert points == pytest.approx(WANTED)
    assert units(data) in ({"Wh"}, {"kWh"})
    rescale(data)
    assert started(data)[0] == pytest.approx(WANTED)
    assert units(data) == {"kWh"}


def test_a_damaged_chunk_costs_its_day_alone_and_is_reported(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(data, monkeypatch, 1)
    with closing(sqlite3.connect(year(data))) as db:
        db.execute("UPDATE chunk SET v = substr(v, 1, 9) WHERE k >> 20 = 1")
        db.commit()
    points, problems = started(data)
    assert points == pytest.approx({time: value for time, value in WANTED.items() if not STARTS[1] <= time < STARTS[2]})
    assert units(data) == {"kWh"}
    assert any("history-2022.db was damaged" in problem for problem in problems)


def test_values_whose_unit_no_file_tells_are_set_aside_and_reported(data: Path, made: Path) -> None:
    """The unit was right, and the values ten times too small: a file without its note does not tell."""
    rescale(data, Conversion(multiply=10.0), "Wh")
    headless_year(data, made)
    points, problems = started(data)
    assert points == pytest.approx(
        {time: value * 10 for time, value in WANTED.items() if not STARTS[1] <= time < STARTS[2]}
    )
    (sentence,) = [problem for problem in problems if "energy" in problem]
    assert "history-2022.db was damaged: 20 values" in sentence  # those of the power
    assert "it does not tell whether its values of energy had been rescaled" in sentence
    assert list(store.folder(data).glob("history-2022.db.salvaged-*"))


def test_a_year_of_another_unit_without_any_rescaling_is_another_series(data: Path, tmp_path: Path) -> None:
    """A year of a store in which the meter counted in kWh: decision 0023."""
    write(tmp_path / "other", "kWh", {STARTS[1] + n * 60: float(n) for n in range(POINTS)})
    shutil.copy(year(tmp_path / "other"), year(data))
    points, _ = started(data)
    assert {time: points[time] for time in points if STARTS[1] <= time < STARTS[2]} == {
        STARTS[1] + n * 60: n * 1000.0 for n in range(POINTS)
    }
    with closing(open_reader(data)) as reader:
        assert {one.channel: one.unit for one in reader.series()} == {"energy": "Wh", "power": "W", "energy_kwh": "kWh"}


def test_readings_of_an_older_hot_file_are_converted(data: Path, made: Path, tmp_path: Path) -> None:
    with closing(open_writer(data, now=lambda: NOW)) as writer:
        writer.write("roof", [Block("meter", ("energy", "power"), [[NOW - 60, 5000.0, 1.0]])])
        writer.commit({})
    shutil.copy(store.folder(data) / "hot.db", tmp_path / "hot.db")
    rescale(data)
    schema.delete(store.folder(data) / "hot.db")
    schema.delete(year(data, 2023))
    shutil.copy(tmp_path / "hot.db", store.folder(data) / "hot.db")
    with (
        closing(open_reader(data)) as reader,
        pytest.raises(StoreDamaged, match="not had the same rescalings as catalog"),
    ):
        reader.series()
    assert started(data)[0][NOW - 60] == 5000.0
    assert units(data) == {"kWh"}


def test_a_year_that_begins_after_a_rescaling_is_not_converted(data: Path, made: Path) -> None:
    schema.delete(year(data, 2023))
    rescale(data)
    later = {STARTS[2] + n * 60: n * 0.1 for n in range(POINTS)}
    write(data, "kWh", later)
    with year(data, 2023).open("r+b") as file:
        file.write(b"\xff" * PAGE)
    assert started(data)[0] == pytest.approx(WANTED)


def test_a_rescaling_is_done_once_more_only_if_its_number_is_given(data: Path) -> None:
    """The command was interrupted when all was done, and is given once more."""
    assert rescale(data, Conversion(multiply=10.0), "Wh") is None
    assert rescale(data, Conversion(multiply=10.0), "Wh") == 1
    assert started(data)[0] == pytest.approx({time: value * 10 for time, value in WANTED.items()})
    for _ in range(2):
        assert rescale(data, Conversion(multiply=10.0), "Wh", again=1) in (None, 2)
        assert started(data)[0] == pytest.approx({time: value * 100 for time, value in WANTED.items()})


@pytest.mark.slow
def test_cells_that_were_kept_alone_are_converted_when_their_year_is_stored_again(tmp_path: Path) -> None:
    dense = {STARTS[0] + n * 20: 20.0 * n + n * 104_729 % 100_003 / 70_000 for n in range(2 * DAY // 20)}
    answers: list[dict[str, list[object]]] = []
    for beside in (False, True):
        data = tmp_path / str(beside)
        write(data, "Wh", {**dense, NOW - 1e6: 2e5}, Keep(raw_years=1))
        bare = history.file(store.folder(data), 2021, tiers=True)
        old = Path(shutil.copy(bare, tmp_path / "old"))
        rescale(data)
        if beside:
            schema.delete(bare)
            shutil.copy(old, bare.with_name(f"{bare.name}.damaged-1-1"))
            started(data)
        with closing(open_reader(data)) as reader:
            one = next(one for one in reader.series() if one.channel == "energy")
            assert one.unit == "kWh"
            edges = [STARTS[0] - DAY + n * 3600 for n in range(96)]
            answer = reader.aggregate(one.id, edges, ["delta", "min", "max", "mean"])
            answers.append({name: list(column) for name, column in answer.items()})
            whole = reader.aggregate(one.id, [edges[0], edges[-1]], ["delta"])["delta"]
            assert whole == [pytest.approx(max(dense.values()) / 1000)]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_cells_that_cannot_be_converted_are_reported(tmp_path: Path) -> None:
    """An older copy of a year whose points were dropped, and a gauge that has got an offset since."""
    channels = {"power": Channel("°F")}
    rows: list[list[float | str | bool | None]] = [
        [STARTS[0] + n * 20, n * 104_729 % 100_003 / 700] for n in range(2 * DAY // 20)
    ]
    for keep in (Keep(raw_years=1), FOR_EVER):
        with closing(open_writer(tmp_path / str(keep.raw_years), now=lambda: NOW, keep=keep)) as writer:
            writer.declare("roof", "meter", Info("Meter", channels))
            writer.write("roof", [Block("meter", ("power",), [*rows, [NOW - 1e6, 50.0]])])
            writer.commit({})
            writer.settle()
            while writer.maintain():
                pass
    data = tmp_path / str(FOR_EVER.raw_years)
    store.rescale(data, Rescaling(1, "°C", conversion.between("°F", "°C")))
    schema.delete(year(data, 2021))
    bare = history.file(store.folder(tmp_path / "1"), 2021, tiers=True)
    shutil.copy(bare, store.folder(data) / bare.name)
    problems = started(data)[1]
    assert any("history-2021-tiers.db was damaged" in problem for problem in problems), problems
    with closing(open_reader(data)) as reader:
        (one,) = reader.series()
        assert (one.unit, reader.aggregate(one.id, [STARTS[0], STARTS[0] + DAY], ["mean"])["mean"]) == ("°C", [None])
