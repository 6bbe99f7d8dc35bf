"""The hour that comes twice in autumn: each row at its own time, or counted as one that cannot be distinguished."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.storage.importers import csv, tracer
from services.storage.importers.shared.csv_table import Context, CsvOptions
from services.storage.importers.shared.names import SeriesNames
from services.storage.importers.shared.timed_rows import UNRESOLVED, Hour
from tests.storage.stores import command, done, everything

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = 1_761_440_400  # 2025-10-26T01:00Z, when 03:00 becomes 02:00 in Berlin
HOUR = 3600
OPTIONS = ("--node", "x", "--device", "d", "--tz", "Europe/Berlin")
ZONES = {  # and when an hour, half an hour or two hours of 2025 came twice, in UTC
    "Europe/Berlin": (AUTUMN, HOUR),
    "America/New_York": (1_762_063_200, HOUR),
    "Australia/Lord_Howe": (1_743_865_200, HOUR // 2),
    "Antarctica/Troll": (AUTUMN, 2 * HOUR),
}


def local(time: float, zone: ZoneInfo = BERLIN) -> str:
    return datetime.fromtimestamp(time, zone).replace(tzinfo=None).isoformat(" ")


def written(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / "in.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def imported(
    path: Path, zone: ZoneInfo = BERLIN, hour: Hour = "", head: str = ""
) -> tuple[dict[tuple[str, float], float], int]:
    """The values of a file by channel and time, and how many rows could not be distinguished."""
    options = CsvOptions("x", "d", zone=zone, repeated_hour=hour, header=head)
    values: dict[tuple[str, float], float] = {}
    unknown = 0
    for part in csv.read(path, options, Context(SeriesNames(), {}, {}, set(), set())):
        assert {mistake.why for mistake in part.mistakes} <= {UNRESOLVED}
        unknown += len(part.mistakes)
        for _, block in part.readings:
            for row in block.rows:
                for channel, value in zip(block.channels, row[1:], strict=True):
                    if value is not None:
                        values[channel, row[0]] = value
    return values, unknown


def test_hourly_rows_with_the_same_time_are_the_two_hours(tmp_path: Path) -> None:
    hours = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]
    path = written(tmp_path, ["time,energy", *(f"2025-10-26 {hour},{value}" for value, hour in enumerate(hours))])
    assert "6 readings of 1 series" in done("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/energy": [(AUTUMN - 3 * HOUR + index * HOUR, index) for index in range(6)]}


def test_two_rows_of_the_same_time_alone_are_the_two_hours(tmp_path: Path) -> None:
    path = written(tmp_path, ["time,energy", "2025-10-26 02:00,2", "2025-10-26 02:00,3"])
    done("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert everything(tmp_path) == {"x/d/energy": [(AUTUMN - HOUR, 2), (AUTUMN, 3)]}


FIVE_MINUTES = [AUTUMN - 3 * HOUR + index * 300 for index in range(72)]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(FIVE_MINUTES, id="ascending"),
        pytest.param(FIVE_MINUTES[::-1], id="newest first"),
        pytest.param([*FIVE_MINUTES[:25], FIVE_MINUTES[26], FIVE_MINUTES[25], *FIVE_MINUTES[27:]], id="two swapped"),
        pytest.param(
            [*FIVE_MINUTES[:35], FIVE_MINUTES[36], FIVE_MINUTES[35], *FIVE_MINUTES[37:]], id="swapped between"
        ),
        pytest.param(FIVE_MINUTES[24:48], id="nothing but the two hours"),
        pytest.param(FIVE_MINUTES[47:23:-1], id="nothing but the two hours, newest first"),
    ],
)
def test_rows_of_five_minutes_are_at_their_own_time(tmp_path: Path, order: list[int]) -> None:
    path = written(tmp_path, ["time,energy", *(f"{local(time)},{time}" for time in order)])
    assert imported(path) == ({("energy", time): time for time in order}, 0)


def test_a_row_that_goes_back_by_a_second_is_no_new_hour(tmp_path: Path) -> None:
    rows = [
        f"{local(time - offset)},{name},{time - offset}"
        for time in range(AUTUMN - 3 * HOUR, AUTUMN + 3 * HOUR, 60)
        for name, offset in (("a", 0), ("b", 1))
    ]
    values, unknown = imported(written(tmp_path, ["time,series,value", *rows]))
    assert (len(values), unknown) == (720, 0)
    assert all(time == value for (_, time), value in values.items())


def test_series_one_after_another_are_judged_each_by_itself(tmp_path: Path) -> None:
    rows = [f"{local(time)},{name},{time}" for name in ("a", "b", "c") for time in FIVE_MINUTES]
    values, unknown = imported(written(tmp_path, ["time,series,value", *rows]))
    assert (len(values), unknown) == (3 * 72, 0)
    assert all(time == value for (_, time), value in values.items())


def test_columns_that_have_rows_of_their_own_are_judged_each_by_itself(tmp_path: Path) -> None:
    hours = range(AUTUMN - 4 * HOUR, AUTUMN + 4 * HOUR, HOUR)
    rows = [f"{local(time)},{values.format(time)}" for time in hours for values in ("{},", ",{}")]
    values, unknown = imported(written(tmp_path, ["time,a,b", *rows]))
    assert (len(values), unknown) == (16, 0)
    assert all(time == value for (_, time), value in values.items())


def test_a_rare_event_is_placed_by_the_rows_around_it(tmp_path: Path) -> None:
    rows = [f"{local(time)},{time}," for time in FIVE_MINUTES]
    rows.insert(39, f"{local(FIVE_MINUTES[38] + 100)},,{FIVE_MINUTES[38] + 100}")
    values, unknown = imported(written(tmp_path, ["time,a,door", *rows]))
    assert (len(values), unknown) == (73, 0)
    assert ("door", FIVE_MINUTES[38] + 100) in values


SINGLE = [*range(AUTUMN - 3 * HOUR, AUTUMN, 300), *range(AUTUMN + HOUR, AUTUMN + 3 * HOUR, 300)]


def test_what_cannot_be_distinguished_is_counted_and_an_option_decides(tmp_path: Path) -> None:
    path = written(tmp_path, ["time,energy", *(f"{local(time)},{time}" for time in SINGLE)])
    result = command("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert "set aside 12 times: in the hour that comes twice" in result.stderr
    assert [time for time, _ in everything(tmp_path)["x/d/energy"]] == [
        time for time in SINGLE if not AUTUMN - HOUR <= time < AUTUMN
    ]
    assert imported(path, hour="first")[0] == {("energy", time): time for time in SINGLE}
    assert sum(time != value for (_, time), value in imported(path, hour="second")[0].items()) == 12


def test_rows_that_share_a_moment_are_counted_as_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, ["time,energy", "2025-07-01 02:00,2", "2025-07-01 02:00,3", "2025-07-01 03:00,4"])
    assert "2 values are new, 1 replaced another one" in done("import", "csv", path, *OPTIONS, "--data", tmp_path)
    assert "0 values are new, 3 replaced another one" in done("import", "csv", path, *OPTIONS, "--data", tmp_path)


def test_solar_protocols_files_are_read_by_the_same_rule(tmp_path: Path) -> None:
    zone = ZoneInfo("America/New_York")
    autumn = ZONES["America/New_York"][0]
    times = list(range(autumn - 3 * HOUR, autumn + 3 * HOUR, 120))
    times[40], times[41] = times[41], times[40]
    path = tmp_path / "tracerData2025-11-02.csv"
    lines = [
        "datetime,battery percentage",
        *(f"{local(time, zone)},{index % 100 / 100}" for index, time in enumerate(times)),
    ]
    path.write_text("\n".join(lines) + "\n")
    rows = [row for part in tracer.read(path, "x", "d", zone) for _, block in part.readings for row in block.rows]
    assert sorted(rows) == sorted([time, index % 100] for index, time in enumerate(times))


@pytest.mark.parametrize("command_line", [("export", "--from"), ("meter-replaced", "x/d/energy", "--at")])
def test_a_time_on_the_command_line_that_comes_twice_is_refused(tmp_path: Path, command_line: tuple[str, ...]) -> None:
    path = written(tmp_path, ["time,energy", "2025-07-01 02:00,2"])
    done("import", "csv", path, *OPTIONS, "--counter", "energy", "--data", tmp_path)
    result = command(*command_line, "2025-10-26 02:30", "--tz", "Europe/Berlin", "--data", tmp_path)
    assert result.exit_code == 2
    assert "2025-10-26 02:30+02:00 or 2025-10-26 02:30+01:00" in result.stderr


def times_of(random: Random, autumn: int, hour: int, step: int, *, irregular: bool) -> Iterator[float]:
    around = 8 * max(step, 900)
    time = float(autumn - hour - around + random.randrange(step + 1))
    while time < autumn + hour + around:
        yield round(time, 1)
        time += random.uniform(1, min(2 * step, HOUR)) if irregular else step


@settings(
    deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # no smaller file says more
@given(
    seed=st.integers(0, 2**32),
    zone=st.sampled_from(sorted(ZONES)),
    step=st.sampled_from([40, 60, 300, 600, 900, 1200, 1800, 2700, 3600]),
    irregular=st.booleans(),
    order=st.sampled_from(["ascending", "descending", "shuffled"]),
    gap=st.booleans(),
    layout=st.sampled_from(["wide", "long", "by series"]),
)
def test_every_row_is_at_its_own_time_or_counted(
    seed: int, zone: str, step: int, irregular: bool, order: str, gap: bool, layout: str
) -> None:
    random = Random(seed)
    autumn, hour = ZONES[zone]
    there = ZoneInfo(zone)
    rows: list[tuple[float, str]] = []
    for name in ("a",) if layout == "wide" else ("a", "b"):
        times = list(times_of(random, autumn, hour, step, irregular=irregular))
        if gap:
            start = random.uniform(autumn - hour, autumn + hour)
            end = start + random.uniform(0, 2 * hour)
            times = [time for time in times if not start <= time < end]
        if order == "shuffled":
            late = min(2 * step, 0.1 * hour)
            times = [time for _, time in sorted((time + random.uniform(0, late), time) for time in times)]
        rows += [(time, name) for time in (times[::-1] if order == "descending" else times)]
    if layout == "long":
        rows.sort(key=lambda row: row[0], reverse=order == "descending")
    with TemporaryDirectory() as folder:
        if layout == "wide":
            lines = ["time,a", *(f"{local(time, there)},{time}" for time, _ in rows)]
        else:
            lines = ["time,series,value", *(f"{local(time, there)},{name},{time}" for time, name in rows)]
        values, unknown = imported(written(Path(folder), lines), there)
    assert len(values) + unknown == len(rows)
    assert all(abs(time - value) < 0.001 for (_, time), value in values.items())
    if not irregular and not gap and order != "shuffled":
        assert unknown == 0
