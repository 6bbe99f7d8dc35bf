"""Any subset of the store's files removed, emptied, cut or overwritten: no series ever has the points of another one."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Block, Channel, Info, Value
from heliograph.store import folder, history, open_reader, row_types, schema
from heliograph.store.interface import Progress
from heliograph.store.writer import SqliteWriter
from tests.system.io_faults import folder_in_memory

DAY = 86_400.0
START = 1_671_580_800.0  # 2022-12-21 00:00 UTC
DEVICES = ("meter", "tank", "heater")
CHANNELS = {"power": Channel("W"), "energy": Channel("kWh", "counter"), "mode": Channel("", "text")}
PER_DAY = 300  # readings: hours have cells
DAYS = 14
FILES = ("catalog.db", "hot.db", "history-2022.db", "history-2023.db")
SECTOR = 512
Points = dict[str, dict[float, Value]]


class Damage(NamedTuple):
    """What happens to one file: at which part of it, of which size, as a share."""

    how: str
    begin: float
    size: float

    def apply(self, path: Path, chance: random.Random) -> None:
        content = path.read_bytes()
        begin, size = int(len(content) * self.begin), max(SECTOR, int(len(content) * self.size))
        sector = begin // SECTOR * SECTOR
        match self.how:
            case "removed":
                path.unlink()
            case "emptied":
                path.write_bytes(b"")
            case "cut":
                path.write_bytes(content[:begin])
            case "garbage":
                path.write_bytes(content[:sector] + chance.randbytes(size) + content[sector + size :])
            case "zeros":
                path.write_bytes(content[:sector] + bytes(size) + content[sector + size :])
            case "all":
                path.write_bytes(chance.randbytes(len(content)))


def values(device: str, number: int) -> list[Value]:
    """Values that no other series has."""
    code = (DEVICES.index(device) + 1 if device in DEVICES else 9) * 1_000_000
    return [code + number, 100_000_000 + code + number, f"{device} {number % 5}"]


def write(writer: SqliteWriter, device: str, first: int, last: int) -> None:
    writer.declare("roof", device, Info("", CHANNELS))
    rows = [[START + n * DAY / PER_DAY, *values(device, n)] for n in range(first, last)]
    assert writer.write("roof", [Block(device, tuple(CHANNELS), rows)]) == []
    writer.commit({("roof/bridge", "epoch"): Progress(last, 0)})


def opened(data: Path, days: float = DAYS) -> SqliteWriter:
    return SqliteWriter(folder(data), lambda: True, now=lambda: START + days * DAY)


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Path]]:
    """The same store after an end in peace, and after a kill, with its journals."""
    with folder_in_memory() as memory:
        closed, killed = memory / "closed", memory / "killed"
        make(closed, killed)
        yield {"closed": closed, "killed": killed}


def make(closed: Path, killed: Path) -> None:
    with closing(opened(closed)) as writer:
        for device in DEVICES:
            write(writer, device, 0, (DAYS - 1) * PER_DAY)
        writer.settle()
        for device in DEVICES:
            write(writer, device, (DAYS - 1) * PER_DAY, DAYS * PER_DAY)
        shutil.copytree(folder(closed), folder(killed))


def content(data: Path) -> Points:
    with closing(open_reader(data)) as reader:
        names = {one.id: one.name for one in reader.series()}
        points: Points = {name: {} for name in names.values()}
        for time, sid, value in reader.export(list(names), 0, 1e11):
            assert time not in points[names[sid]]
            points[names[sid]][time] = value
        for one in reader.series():  # cells are of the same series as the points
            if one.channel == "power" and points[one.name] and one.node != "unknown":  # its device's name is lost
                edges = [START + hour * 3600 for hour in range(24 * (DAYS + 2))]
                columns = reader.aggregate(one.id, edges, ["min", "max"])
                extremes = {value for column in columns.values() for value in column if value is not None}
                assert extremes <= POWERS[one.device]
        return points


def written(first: int, last: int, *devices: str) -> Points:
    points: Points = {f"roof/{device}/{channel}": {} for device in devices for channel in CHANNELS}
    for device in devices:
        for n in range(first, last):
            for channel, value in zip(CHANNELS, values(device, n), strict=True):
                points[f"roof/{device}/{channel}"][round(START + n * DAY / PER_DAY, 3)] = value
    return points


ALL = written(0, (DAYS + 1) * PER_DAY, *DEVICES, "garden")
POWERS = {device: set(ALL[f"roof/{device}/power"].values()) for device in (*DEVICES, "garden")}


def assert_of_no_other(points: Points) -> None:
    for name, some in points.items():
        if (
            name.startswith("unknown/") or "/series_" in name
        ):  # the name is lost, not the values: they are those of one series
            codes = {
                int(float(value)) // 1_000_000 if not isinstance(value, str) else value.split()[0]
                for value in some.values()
            }
            assert len(codes) <= 1, name
        else:
            wrong = dict(some.items() - ALL[name].items())
            texts = {time for time, value in wrong.items() if str(value).startswith("unknown text ")}
            assert wrong.keys() <= texts, (name, wrong)


def in_file(file: str, time: float) -> bool:
    """Whether a file had the points of a time."""
    if time >= START + (DAYS - 1) * DAY:
        return file == "hot.db"
    return file == ("history-2022.db" if time < START + 11 * DAY else "history-2023.db")


DAMAGES = st.builds(
    Damage,
    st.sampled_from(["removed", "emptied", "cut", "cut", "garbage", "garbage", "zeros", "zeros", "all"]),
    st.floats(0, 0.999),
    st.sampled_from([0.0, 0.0, 0.1, 0.5]),
)

FAULTS: list[tuple[str, dict[str, Damage], str, int]] = [  # each made the store fail once
    (
        "closed",
        {
            "hot.db": Damage("garbage", 1.0696515022799764e-131, 0.0),
            "history-2022.db": Damage("garbage", 0.773160760714918, 0.0),
            "catalog.db": Damage("garbage", 0.773160760714918, 0.1),
        },
        "salvaged",
        524289,
    ),
    (
        "closed",
        {
            "history-2023.db": Damage("cut", 0.0, 0.0),
            "history-2022.db": Damage("emptied", 0.0, 0.1),
            "catalog.db": Damage("zeros", 0.13731723825942274, 0.0),
        },
        "opened",
        3983427365,
    ),
    (
        "closed",
        {
            "catalog.db": Damage("all", 2.2250738585072014e-308, 0.5),
            "history-2023.db": Damage("zeros", 0.24947824694588225, 0.0),
        },
        "salvaged",
        8857,
    ),
    (  # only the name of the device is lost
        "closed",
        {
            "catalog.db": Damage("removed", 0.0, 0.0),
            "hot.db": Damage("removed", 0.0, 0.0),
            "history-2022.db": Damage("removed", 0.0, 0.0),
            "history-2023.db": Damage("garbage", 0.59375, 0.1),
        },
        "opened",
        0,
    ),
    *(  # before storage started, a reader took readings whose end was overwritten
        ("closed", {"catalog.db": Damage("garbage", 0.25, 0.0), "hot.db": Damage("zeros", begin, 0.0)}, "opened", 0)
        for begin in (0.4765625, 0.484375)
    ),
]


def test_no_series_has_the_points_of_another_whatever_is_damaged(
    stores: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    full = request.config.getoption("--full")

    @settings(
        max_examples=500 if full else 25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate) if not full else tuple(Phase),
    )
    @given(
        st.sampled_from(["closed", "killed"]),
        st.dictionaries(st.sampled_from(FILES), DAMAGES, min_size=1),
        st.sampled_from(["opened", "salvaged"]),
        st.integers(0, 1 << 32),
    )
    def check(base: str, damages: dict[str, Damage], how: str, seed: int) -> None:
        assert_mended(stores[base], damages, how, seed)

    check()


def test_damage_that_was_a_fault_once(stores: dict[str, Path]) -> None:
    for base, damages, how, seed in FAULTS:
        assert_mended(stores[base], damages, how, seed)


def test_a_value_of_another_type_or_size_is_damage_too(stores: dict[str, Path], request: pytest.FixtureRequest) -> None:
    """SQLite and its checks take any value in any column."""

    @settings(
        max_examples=500 if request.config.getoption("--full") else 8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(st.sampled_from(VALUES), st.booleans())
    def check(spoilt: tuple[str, str, str, object], every: bool) -> None:
        assert_mended(stores["closed"], {}, "opened", 0, (*spoilt, every))

    check()


def spoil(data: Path, file: str, table: str, column: str, value: object, every: bool) -> None:
    """Put a value into a column of a valid file, or into the key of META."""
    with closing(sqlite3.connect(folder(data) / file, isolation_level=None)) as db:
        if column in row_types.META:
            db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (column, value))
            return
        key = db.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE pk ORDER BY pk").fetchone()
        one = f" WHERE {key[0]} = (SELECT max({key[0]}) FROM {table})" if key and not every else ""
        with suppress(sqlite3.IntegrityError):
            db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?{one}", (value,))


def spoilt_values() -> Iterator[tuple[str, str, str, object]]:
    """Yield each file, table, column and value that no row of that table can have."""
    garbage = (None, b"\xff\0", "\0", -1, 0.5, (1 << 63) - 1, 1 << 49)
    scripts = {"catalog.db": schema.CATALOG, "hot.db": schema.HOT, FILES[2]: history.SCHEMA}
    for file, script in scripts.items():
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(script)
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = {
                table: [row[1:3] for row in db.execute(f"PRAGMA table_info({table})")]
                for table in tables
                if table != "damaged"
            }
        columns["meta"] = [(key, "") for key in row_types.META]
        for table, names in columns.items():
            for name, kind in names:
                checks = {**row_types.TABLES.get(table, {}), **row_types.META}
                for value in garbage[:3] if kind == "TEXT" else garbage:  # a number would become a text that is good
                    if name not in checks or not checks[name](value):
                        yield file, table, name, value


VALUES = list(spoilt_values())


def assert_mended(
    store: Path,
    damages: dict[str, Damage],
    how: str,
    seed: int,
    spoilt: tuple[str, str, str, object, bool] | None = None,
) -> None:
    with copy_of(store) as data:
        if spoilt:
            spoil(data, *spoilt)
        for name, damage in damages.items():
            damage.apply(folder(data) / name, random.Random(seed))
        files = {*damages, *([spoilt[0]] if spoilt else [])}
        with suppress(StoreAway, StoreDamaged):
            assert_of_no_other(content(data))
        with closing(opened(data, DAYS + 1)) as writer:
            if how == "salvaged":
                writer.mend()
            write(writer, "garden", DAYS * PER_DAY, (DAYS + 1) * PER_DAY)
            write(writer, "meter", DAYS * PER_DAY, (DAYS + 1) * PER_DAY)
            assert_of_no_other(content(data))
            writer.mend()
            assert_of_no_other(content(data))
        with closing(opened(data, DAYS + 1)) as writer:
            writer.mend()
            after = content(data)
        assert_of_no_other(after)
        sound = set().union(*(times for file, times in BY_FILE.items() if file not in files))
        for name in BEFORE:
            assert sound <= after.get(name, {}).keys(), name
        for name, points in ADDED.items():
            assert points.items() <= after[name].items(), name


BEFORE = written(0, DAYS * PER_DAY, *DEVICES)
ADDED = written(DAYS * PER_DAY, (DAYS + 1) * PER_DAY, "garden", "meter")
TIMES = BEFORE["roof/meter/power"].keys()
BY_FILE = {file: {time for time in TIMES if in_file(file, time)} for file in FILES[1:]}


@contextmanager
def copy_of(store: Path) -> Iterator[Path]:
    with folder_in_memory() as memory:
        shutil.copytree(store, memory / "data")
        yield memory / "data"
