"""What is exported: the same bytes from the API and from heliograph store; imported and exported again, equal."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from heliograph import store
from heliograph.messages import Block, Channel, Value
from heliograph.store.interface import FUNCTIONS, Function
from services.api import export, queries
from services.api.queries import TimeRange
from services.api.reader_pool import ReaderPool
from tests.storage.stores import command, difference, done, everything, make, meanings, settle

T = 1_763_633_000
END = T + 172_800
FORMATS = [("csv", "wide"), ("csv", "long"), ("jsonl", ""), ("line", "")]
CHANNELS = {
    "power": Channel("W"),
    "on": Channel(kind="state"),
    "mode": Channel(kind="text"),
    "note": Channel(kind="text"),
}
SPECIAL = ["\n", "\r", "\r\n", '"', ",", "=", " ", "\\", "'", "\0", "true", "5", "", "nan", "@", ",y=1", "\u2028"]
TEXTS = st.lists(st.sampled_from(SPECIAL) | st.characters(exclude_categories=["Cs"]), max_size=6).map("".join)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5)
TIMES = st.integers(0, 172_799_999).map(lambda ms: T + ms / 1000)
ROWS = st.lists(
    st.tuples(TIMES, st.none() | NUMBERS, st.none() | st.booleans(), st.none() | TEXTS, st.none() | TEXTS),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
).filter(lambda rows: any(value is not None for row in rows for value in row[1:]))
EACH_SPECIAL = [(T + n, n or None, n % 2 == 0, text, text * 2 + "x") for n, text in enumerate(SPECIAL)]
# Each example opens several stores, and has many values; to shrink one would take minutes.
FEW = settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def fill(data: Path, rows: Sequence[Sequence[Value | None]], *, sealed: bool) -> None:
    columns = [index for index, _ in enumerate(CHANNELS, 1) if any(row[index] is not None for row in rows)]
    channels = {name: channel for index, (name, channel) in enumerate(CHANNELS.items(), 1) if index in columns}
    block = Block("meter", tuple(channels), [[row[0], *(row[index] for index in columns)] for row in rows])
    make(data, [block], channels)
    make(data, [Block("pump", ("power",), [[row[0], 5.0] for row in rows])], node="shed")
    if sealed:
        settle(data)


def kinds_of(data: Path) -> dict[str, str]:
    return {name: kind for name, (_, kind, _) in meanings(data).items()}


def from_api(
    data: Path, form: str, layout: str, bucket: str = "", tz: str = "", functions: Sequence[str] = ()
) -> bytes:
    file_format = queries.file_format(form, layout or None)
    aggregation = queries.aggregation(bucket, tz or None, ",".join(functions) or None, local_times=form == "csv")

    async def collected() -> bytes:
        with ReaderPool(lambda: store.open_reader(data)) as pool:
            answer = await pool.run(
                lambda reader: export.prepare(reader, ["*/*/*"], TimeRange(T, END), aggregation, file_format)
            )
            return b"".join([part async for part in export.stream(pool, answer)])

    return asyncio.run(collected())


def from_command(data: Path, form: str, layout: str, *options: str) -> bytes:
    out = data.with_name("out")
    more = ("--layout", layout) if layout else ()
    done("export", "--data", data, "--format", form, "--from", T, "--to", END, "-o", out, *more, *options)
    return out.read_bytes()


@FEW
@given(rows=ROWS, sealed=st.booleans())
@example(rows=EACH_SPECIAL, sealed=True)
def test_what_is_exported_is_imported_and_exported_again_the_same(rows: list[tuple[Any, ...]], sealed: bool) -> None:
    with folder() as home:
        data = home / "data"
        fill(data, rows, sealed=sealed)
        points, kinds = everything(data), kinds_of(data)
        exports = {(form, layout): from_command(data, form, layout) for form, layout in FORMATS}
        for (form, layout), exported in exports.items():
            assert exported == from_api(data, form, layout)
            again = home / f"{form} {layout}"
            (home / "out").write_bytes(exported)
            done("import", form, home / "out", "--data", again)
            assert difference(everything(again), points) is None
            assert kinds_of(again).items() <= kinds.items()
            assert {other: from_command(again, *other) for other in FORMATS} == exports


@FEW
@given(
    rows=ROWS.filter(lambda rows: all(abs(row[1] or 0) < 1e200 for row in rows)),  # whose sums are numbers
    bucket=st.sampled_from(["7m", "1h", "6h", "1d", "1w", "1mo", "3mo", "auto"]),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    functions=st.sets(st.sampled_from(FUNCTIONS), min_size=1),
)
def test_buckets_are_exported_the_same_by_the_api_and_by_the_command(
    rows: list[tuple[Any, ...]], bucket: str, tz: str, functions: set[Function]
) -> None:
    with folder() as home:
        fill(home / "data", rows, sealed=True)
        chosen = sorted(functions)
        options = ("--bucket", bucket, "--tz", tz, *(part for name in chosen for part in ("--function", name)))
        for form, layout in FORMATS:
            exported = from_command(home / "data", form, layout, *options)
            assert exported == from_api(home / "data", form, layout, bucket, tz, chosen)
            result = command("import", form, home / "out", "--data", home / f"{form} {layout}")
            assert "set aside" not in result.output
            assert result.exit_code == 0 or "no reading was found" in result.output  # a gauge has no delta


def test_a_quarter_begins_at_local_midnight_in_both_exports(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make(data, [Block("meter", ("power",), [[T, 5.0]])], {"power": CHANNELS["power"]})
    for bucket, start in (("3mo", "2025-10-01T00:00:00.000+02:00"), ("2mo", "2025-11-01T00:00:00.000+01:00")):
        exported = from_command(data, "csv", "wide", "--bucket", bucket, "--tz", "Europe/Berlin")
        assert exported.decode().splitlines()[1] == f"{start},5.0"
        assert exported == from_api(data, "csv", "wide", bucket, "Europe/Berlin")


def torn(content: bytes, position: int) -> bytes:
    """A file of which one line lost its rest."""
    return content[:position] + content[content.find(b"\n", position) :]


@FEW
@given(rows=st.lists(st.tuples(NUMBERS, TEXTS), min_size=3, max_size=12), where=st.floats(0, 1, exclude_max=True))
def test_a_torn_line_costs_no_other_line(rows: list[tuple[Any, str]], where: float) -> None:
    with folder() as home:
        values = [[T + number, power, text.replace("\n", "")] for number, (power, text) in enumerate(rows)]
        make(
            home / "data",
            [Block("meter", ("power", "mode"), values)],
            {"power": Channel("W"), "mode": CHANNELS["mode"]},
        )
        points = everything(home / "data")
        for form, layout in FORMATS:
            exported = from_command(home / "data", form, layout)
            head = exported.find(b"\n") + 1 if form == "csv" else 0
            (home / "out").write_bytes(torn(exported, head + int(where * (len(exported) - head))))
            result = command("import", form, home / "out", "--data", home / f"{form} {layout}", "--text", "mode")
            again = everything(home / f"{form} {layout}") if result.exit_code == 0 else {}
            lost = {
                time
                for name, written in points.items()
                for time, value in written
                if (time, value) not in again.get(name, [])
            }
            assert len(lost) <= 1


def test_an_exported_series_is_never_taken_for_another_one_of_a_like_name() -> None:
    with folder() as home:
        make(home / "data", [Block("meter", ("a__b",), [[T, 1.0]])], {"a__b": Channel("W")})
        for form, layout in FORMATS:
            again = home / f"{form} {layout}"
            make(again, [Block("meter", ("a_b",), [[T, 2.0]])], {"a_b": Channel("W")})
            (home / "out").write_bytes(from_command(home / "data", form, layout))
            done("import", form, home / "out", "--data", again)
            assert everything(again) == {"roof/meter/a_b": [(T, 2.0)], "roof/meter/a__b": [(T, 1.0)]}


def test_a_record_is_as_long_as_a_store_can_make_it() -> None:
    channels = [f"{number:03d}_{'z' * 60}" for number in range(256)]
    with folder() as home:
        for device in ("meter", "pump", "roof", "shed"):  # a header of more than 65,536 bytes
            texts = ["\n" * 255 if device == "meter" else "x"] * len(channels)
            make(
                home / "data",
                [Block(device, tuple(channels), [[T, *texts]])],
                dict.fromkeys(channels, CHANNELS["note"]),
            )
        points = everything(home / "data")
        for form, layout in (("csv", "wide"), ("line", "")):  # in the others a record is a value
            exported = from_command(home / "data", form, layout)
            assert form == "line" or exported.find(b"\n") > 65_536
            done("import", form, home / "out", "--data", home / f"{form} {layout}")
            assert difference(everything(home / f"{form} {layout}"), points) is None
