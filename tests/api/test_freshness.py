import time
from collections.abc import Iterator

import httpx
import pytest

from heliograph.store.interface import Series
from services.api import freshness
from tests.api.conftest import START, Running
from tests.api.memory import MemoryReader, checked

POWER = Series(1, "roof", "tracer", "pv_power", "W", "gauge")
Query = dict[str, str | float]
OLD: Query = {"series": POWER.name, "from": START, "to": START + 600}
HOURLY: Query = {"bucket": "1h"}


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader([POWER], [(START + 60 * minute, 1, float(minute)) for minute in range(10)])


@pytest.fixture
def http(reader: MemoryReader) -> Iterator[httpx.Client]:
    running = Running(lambda: checked(reader))
    running.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}/api/v1", timeout=30, verify=False) as client:
        yield client
    running.stop()


@pytest.mark.parametrize("path", ["/series", "/export"])
@pytest.mark.parametrize("buckets", [Query(), HOURLY])
def test_a_client_with_the_current_response_gets_304_until_it_changes(
    http: httpx.Client, reader: MemoryReader, path: str, buckets: Query
) -> None:
    first = http.get(path, params=OLD | buckets)
    tag = first.headers["etag"]
    again = http.get(path, params=OLD | buckets, headers={"if-none-match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["vary"] == "Accept-Encoding"
    for name in ("etag", "cache-control"):
        assert again.headers[name] == first.headers[name]
    reader.generation += 1
    changed = http.get(path, params=OLD | buckets, headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_an_answer_that_is_had_already_is_not_worked_out(http: httpx.Client, reader: MemoryReader) -> None:
    tag = http.get("/series", params=OLD | HOURLY).headers["etag"]
    before = len(reader.asked)
    assert http.get("/series", params=OLD | HOURLY, headers={"if-none-match": tag}).status_code == 304
    assert len(reader.asked) == before


def test_every_other_question_has_another_tag(http: httpx.Client, reader: MemoryReader) -> None:
    questions: list[tuple[str, Query]] = [
        ("/series", {}),
        ("/series", {"from": START + 1}),
        ("/series", {"to": START + 599}),
        ("/series", {"limit": 5}),
        ("/series", {"next": f"{POWER.name}@{START + 60}"}),
        ("/series", {"bucket": "1h"}),
        ("/series", {"bucket": "1h", "functions": "max"}),
        ("/series", {"bucket": "30m"}),
        ("/series", {"bucket": "1h", "tz": "Europe/Berlin"}),
        ("/export", {}),
        ("/export", {"format": "jsonl"}),
        ("/export", {"bucket": "1h"}),
    ]
    tags = [http.get(path, params=OLD | query).headers["etag"] for path, query in questions]
    assert len(set(tags)) == len(questions)
    pattern = http.get("/series", params=OLD | {"series": "roof/*/*"}).headers["etag"]
    reader.known.append(Series(2, "roof", "tracer", "load_power", "W", "gauge"))
    assert http.get("/series", params=OLD | {"series": "roof/*/*"}).headers["etag"] != pattern


def test_the_tag_is_the_same_for_every_encoding(http: httpx.Client) -> None:
    tags = {
        http.get("/series", params=OLD, headers={"accept-encoding": encoding}).headers["etag"]
        for encoding in ("gzip", "identity")
    }
    assert len(tags) == 1
    assert tags.pop().startswith('W/"')


@pytest.mark.parametrize("path", ["/series", "/export"])
def test_only_what_is_long_over_is_kept_without_asking(http: httpx.Client, path: str) -> None:
    assert http.get(path, params=OLD).headers["cache-control"] == "private, max-age=300"
    now = time.time()
    for end in (now + 3600, now - 3600):
        recent = http.get(path, params={"series": POWER.name, "from": START, "to": end})
        assert recent.headers["cache-control"] == "private, no-cache"
    assert http.get(path, params={"series": POWER.name}).headers["cache-control"] == "private, no-cache"


def test_a_bucket_that_is_still_open_is_not_over(http: httpx.Client) -> None:
    old = time.time() - 2 * 86_400
    year = http.get("/series", params={"series": POWER.name, "from": START, "to": old, "bucket": "1y"})
    assert year.headers["cache-control"] == "private, no-cache"


def test_a_poll_of_buckets_changes_its_tag_with_the_store_and_the_bucket_only(http: httpx.Client) -> None:
    query: Query = {"series": POWER.name, "from": START, "bucket": "1d"}
    tags = {http.get("/series", params=query | {"to": START + seconds}).headers["etag"] for seconds in (1, 2, 80_000)}
    assert len(tags) == 1


def test_a_mistake_is_not_kept(http: httpx.Client) -> None:
    assert http.get("/series", params={"series": "a/b/c"}).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("header", "has"),
    [
        ('W/"abc"', True),
        ('"abc"', True),
        ('"x", W/"abc"', True),
        ("*", True),
        ("", False),
        ('"ab"', False),
        ("abc", False),
        ('"', False),
    ],
)
def test_tags_are_compared_weakly(header: str, has: bool) -> None:
    assert freshness.has(header, 'W/"abc"') is has
