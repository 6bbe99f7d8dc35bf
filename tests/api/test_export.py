import contextlib
import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.errors import StoreAway
from heliograph.export_formats import Csv
from heliograph.messages import Value
from heliograph.store.interface import Series
from services.api import export
from services.api.errors import Busy
from services.api.queries import Aggregation, TimeRange
from tests.api.conftest import START, Running
from tests.api.memory import MemoryReader, checked

DAY = 86_400.0
Query = dict[str, str | float]
POWER = Series(1, "roof", "tracer", "pv_power", "W", "gauge")
MODE = Series(2, "roof", "tracer", "mode", "", "text")
ENERGY = Series(3, "shed", "meter", "energy", "kWh", "counter")
NAMES = f"{POWER.name},{MODE.name},{ENERGY.name}"


def week() -> list[tuple[float, int, Value]]:
    """A week with a second that has much, hours that have little, and days that have nothing."""
    choice = random.Random(7)
    points: list[tuple[float, int, Value]] = []
    for minute in range(0, 7 * 1440, 3):
        if not 2 * 1440 < minute < 4 * 1440:
            points.append((START + minute * 60, 1, choice.randrange(8000) / 10))
        if minute % 60 == 0:
            points.append((START + minute * 60, 2, choice.choice(["boost", "float", "=1", 'a,"b"'])))
    points += [(START + 5 * DAY + step / 1000, 3, step / 100) for step in range(3000)]
    return sorted(points, key=lambda point: point[:2])


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader([POWER, MODE, ENERGY], week())


@pytest.fixture
def site(reader: MemoryReader) -> Iterator[Running]:
    running = Running(lambda: checked(reader))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def http(site: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}/api/v1", timeout=30, verify=False) as client:
        yield client


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE_POINTS", 50)
    monkeypatch.setattr(export, "BUCKET_DAYS", 0.4)


def exported(client: httpx.Client, **query: Any) -> str:
    answer = client.get("/export", params={"series": NAMES, "from": START, "to": START + 7 * DAY, **query})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_many_series_take_a_few_pages(site: Running, http: httpx.Client, reader: MemoryReader) -> None:
    reader.known = [Series(number, "roof", f"d{number}", "power", "W", "gauge") for number in range(600)]
    reader.points = [(START + row * 60, number, row) for row in range(24) for number in range(600)]
    answer = http.get("/export", params={"series": "*/*/*", "from": START, "to": START + 3600})
    assert answer.text.count("\r\n") == 25
    assert answer.text.endswith(",23" * 600 + "\r\n")
    assert len([asked for asked in reader.asked if asked[0] == "export"]) == 1


def test_rows_of_many_columns_make_pages_of_their_own(
    site: Running, http: httpx.Client, reader: MemoryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_CELLS", 30)
    text = exported(http)
    assert len([asked for asked in reader.asked if asked[0] == "export"]) > 300
    assert text.count("\r\n") == 1 + len({time for time, _, _ in week()})


def test_a_csv_file_holds_every_point_and_has_a_name(http: httpx.Client) -> None:
    answer = http.get("/export", params={"series": NAMES, "from": START, "to": START + 7 * DAY})
    assert answer.headers["content-type"].startswith("text/csv")
    name = "heliograph_20251120T000000Z_20251127T000000Z.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    cells = [cell for row in rows for key, cell in row.items() if key != "time" and cell]
    assert len(cells) == len(week())
    assert [row["time"] for row in rows] == sorted({row["time"] for row in rows})


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("most", [50, 1000])
def test_pages_hold_every_point_once_and_no_more_than_they_should(
    http: httpx.Client, reader: MemoryReader, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(export, "PAGE_CELLS", most)
    lines = [json.loads(line) for line in exported(http, format="jsonl").splitlines()]
    names = {one.id: one.name for one in reader.known}
    assert sorted((line["time"], line["series"], line["value"]) for line in lines) == sorted(
        (time, names[series], value) for time, series, value in week()
    )
    assert reader.open_exports == 0
    questions = [asked for asked in reader.asked if asked[0] == "export"]
    assert len(questions) > 5
    starts = [float(str(asked[1])) for asked in questions]
    assert starts == sorted(set(starts))


def test_a_page_ends_between_two_times() -> None:
    points: list[tuple[float, int, Value]] = [(START + step, sid, 1.0) for step in range(4) for sid in (1, 3)]
    reader = MemoryReader([POWER, ENERGY], points)
    raw = Aggregation("", "UTC", ())
    file = export.prepare(reader, [POWER.name, ENERGY.name], TimeRange(START, START + 9), raw, Csv)
    page = export.raw_page(reader, file, file.time_range, 3)
    assert (page.end, page.points) == (START + 2, 4)
    assert page.body.count(b"\r\n") == 2


def test_csv_may_be_long_and_in_local_time(http: httpx.Client) -> None:
    lines = exported(http, layout="long", tz="Europe/Berlin", series=ENERGY.name).splitlines()
    assert lines[:2] == ["time,series,value", "2025-11-25T01:00:00.000+01:00,shed/meter/energy,0.0"]


def test_one_series_gives_the_file_its_name(http: httpx.Client) -> None:
    answer = http.get("/export", params={"series": POWER.name, "from": START, "to": START + 1, "format": "line"})
    assert (
        'filename="roof_tracer_pv_power_20251120T000000Z_20251120T000001Z.lp"' in answer.headers["content-disposition"]
    )


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("bucket", "tz"), [("7m", "Asia/Kathmandu"), ("1h", "Europe/Berlin"), ("1d", "UTC"), ("auto", "UTC")]
)
def test_buckets_are_those_of_one_question(http: httpx.Client, bucket: str, tz: str) -> None:
    query: dict[str, Any] = {"bucket": bucket, "tz": tz, "functions": "mean,n", "series": POWER.name}
    rows = list(csv.DictReader(io.StringIO(exported(http, **query), newline="")))
    whole = http.get("/series", params={"from": START, "to": START + 7 * DAY, **query}).json()
    means = whole["series"][POWER.name]["mean"]
    assert [row[f"{POWER.name}.mean"] for row in rows] == ["" if mean is None else repr(mean) for mean in means]
    assert [int(row[f"{POWER.name}.n"]) for row in rows] == whole["series"][POWER.name]["n"]
    assert len({row["time"] for row in rows}) == len(rows)


def test_nothing_is_a_file_with_a_head(http: httpx.Client) -> None:
    assert exported(http, series="roof/none*/*") == "time\r\n"
    assert exported(http, series=POWER.name, **{"from": 0, "to": 946_684_800}) == "time,roof/tracer/pv_power\r\n"
    assert exported(http, series=POWER.name, format="line", **{"from": 0, "to": 946_684_800}) == ""


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({}, 422, "series is missing"),
        ({"series": "roof/tracer/none"}, 404, "no series"),
        ({"series": NAMES, "format": "xls"}, 422, "'xls' is not one of csv jsonl line"),
        ({"series": NAMES, "functions": "mean"}, 422, "need a bucket"),
        ({"series": NAMES, "format": "line", "tz": "Europe/Berlin"}, 422, "need a bucket"),
        ({"series": NAMES, "format": "line", "layout": "long"}, 422, "layout needs format=csv"),
        ({"series": NAMES, "layout": "tall"}, 422, "layout='tall' is not one of wide long"),
        ({"series": NAMES, "bucket": "1x"}, 422, "is not a bucket"),
        ({"series": NAMES, "from": "1000000005", "to": "1000000004"}, 422, "is not before"),
    ],
)
def test_a_bad_question_is_refused_before_the_file_begins(
    http: httpx.Client, query: dict[str, str], status: int, words: str
) -> None:
    answer = http.get("/export", params=query)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    query=st.dictionaries(
        st.sampled_from(["series", "from", "to", "bucket", "tz", "functions", "format"]),
        st.one_of(
            st.text(max_size=60),
            st.sampled_from(["*/*/*", POWER.name, "auto", "1s", "UTC", "1763600000", "4102444800", "delta", "line"]),
        ),
    )
)
def test_no_query_is_an_internal_error(http: httpx.Client, query: dict[str, str]) -> None:
    with http.stream("GET", "/export", params=query) as answer:  # which may be long: it is left
        assert answer.status_code in (200, 404, 422)


def test_one_address_has_so_many_exports_at_once_and_no_more(http: httpx.Client) -> None:
    exports = export.slots()
    slots = [export.take_slot(exports, "192.168.1.7") for _ in range(export.EACH_EXPORTS)]
    with pytest.raises(Busy, match="at most 10 for one address"):
        export.take_slot(exports, "192.168.1.7")
    export.take_slot(exports, "192.168.1.8")
    exports.leave(slots[0])
    export.take_slot(exports, "192.168.1.7")
    for _ in range(export.MOST_EXPORTS + 1):  # one after another they are no more than one
        assert http.get("/export", params={"series": POWER.name, "from": START, "to": START + 60}).status_code == 200


@pytest.mark.usefixtures("small_pages")
def test_a_client_that_goes_ends_its_export(
    http: httpx.Client, reader: MemoryReader, eventually: Callable[[Callable[[], object]], object]
) -> None:
    query: Query = {"series": POWER.name, "bucket": "1s", "from": 0, "to": START}  # a billion rows
    with http.stream("GET", "/export", params=query) as answer:
        next(answer.iter_bytes())

    def is_over() -> bool:
        before = len(reader.asked)
        assert http.get("/latest", params={"series": POWER.name}).status_code == 200
        return len(reader.asked) == before

    eventually(is_over)


@pytest.mark.usefixtures("small_pages")
def test_other_questions_are_answered_between_the_pages_of_exports(http: httpx.Client) -> None:
    query: Query = {"series": POWER.name, "bucket": "1s", "from": 0, "to": START}
    with contextlib.ExitStack() as exports:
        for _ in range(3):
            exports.enter_context(http.stream("GET", "/export", params=query))
        for _ in range(5):
            response = http.get("/series", params={"series": POWER.name, "from": START, "to": START + 600})
            assert len(response.json()["series"][POWER.name]["time"]) == 4


@pytest.mark.usefixtures("small_pages")
def test_a_store_that_goes_away_breaks_the_file_off(
    http: httpx.Client, reader: MemoryReader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    export_of_all = reader.export

    def goes_away(ids: Sequence[int], start: float, end: float) -> Iterator[tuple[float, int, Value]]:
        if start > START + DAY:
            raise StoreAway("gone")
        return export_of_all(ids, start, end)

    monkeypatch.setattr(reader, "export", goes_away)
    with pytest.raises(httpx.RemoteProtocolError):
        exported(http)
    assert "an export is cut short: gone" in caplog.text
    assert "Traceback" not in caplog.text


def test_files_are_compressed_for_those_who_can(http: httpx.Client) -> None:
    query: Query = {"series": NAMES, "from": START, "to": START + 7 * DAY}
    plain = http.get("/export", params=query, headers={"accept-encoding": "identity"})
    packed = http.get("/export", params=query, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
