"""What `import emoncms` relies on: our stand-in has it, and with --emoncms CHECKOUT the real Emoncms is asked the same."""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.real_emoncms import Account, ask, form, parametrize_servers
from tests.storage.emoncms_server import FINA, KEY, SERIES, VIRTUAL, EmoncmsFeeds, StoredFeed
from tests.storage.stores import command, everything, meanings

pytestmark = pytest.mark.slow

T = 1_700_000_000
POWER = [(T, 1.5), (T + 20, 3.25), (T + 30, -4.0)]  # one is missing
ENERGY = [(T + 5, 100.5), (T + 6, 100.75), (T + 3600, 101.0)]
Points = Sequence[tuple[int, float]]


class Server(Protocol):
    """Feeds of a user, who has none at first."""

    url: str
    key: str

    def add(self, engine: int, name: str, points: Points = (), *, tag: str = "emontx", unit: str = "W") -> int:
        """Make a feed with its points and return its number; one of PHPFina has a point each ten seconds."""
        ...

    def append(self, number: int, points: Points) -> None:
        """Add points at the end of a feed."""
        ...

    def trim(self, number: int, start: int) -> None:
        """Delete what a feed of PHPFina has before a time."""
        ...


class StandIn:
    key = KEY

    def __init__(self, feeds: EmoncmsFeeds) -> None:
        self.url = feeds.url
        self._feeds = feeds.feeds

    def add(self, engine: int, name: str, points: Points = (), *, tag: str = "emontx", unit: str = "W") -> int:
        number = len(self._feeds) + 1
        self._feeds.append(StoredFeed(number, name, tag, unit, engine, b""))
        self.append(number, points)
        return number

    def append(self, number: int, points: Points) -> None:
        feed = self._feeds[number - 1]
        for time, value in points:
            if feed.engine == SERIES:
                feed.content += struct.pack("<BIf", 249, time, value)
                continue
            feed.start = feed.start or time
            absent = (time - feed.start) // feed.interval - len(feed.content) // 4
            feed.content += struct.pack(f"<{absent + 1}f", *[float("nan")] * absent, value)

    def trim(self, number: int, start: int) -> None:
        feed = self._feeds[number - 1]
        feed.content = feed.content[(start - feed.start) // feed.interval * 4 :]
        feed.start = start


class Real:
    def __init__(self, account: Account) -> None:
        self.url, self.key = account.url, account.key
        self._account = account

    def add(self, engine: int, name: str, points: Points = (), *, tag: str = "emontx", unit: str = "W") -> int:
        number = self._account.feed(name, engine, tag=tag, unit=unit)
        self.append(number, points)
        return number

    def append(self, number: int, points: Points) -> None:
        if points:
            assert self._account.call("feed/post.json", {"data": json.dumps(points)}, id=number)["success"]

    def trim(self, number: int, start: int) -> None:
        assert self._account.call("feed/trim.json", id=number, start_time=start)["success"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize_servers(metafunc, "stand-in")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "emoncms":
        yield Real(request.getfixturevalue("emoncms").account())
        return
    feeds = EmoncmsFeeds([])
    with feeds.running():
        yield StandIn(feeds)


def imported(server: Server, folder: Path, *options: object) -> str:
    result = command(
        *("import", "emoncms", server.url, "--key", server.key, "--node", "house", "--pause", 0),
        *("--download", folder / "files", "--data", folder / "data", *options),
    )
    return f"{result.exit_code}\n{result.output}"


def file(server: Server, number: int, start: int) -> bytes:
    status, content = ask("POST", f"{server.url}/feed/export.json?id={number}&start={start}", *form(apikey=server.key))
    assert status == 200
    return content


def test_feeds_come_with_their_names_units_and_exact_values(server: Server, tmp_path: Path) -> None:
    server.add(FINA, "Power 1", POWER)
    server.add(SERIES, "Küche kWh", ENERGY, tag="Haus 1", unit="kWh")
    voltage = server.add(FINA, "voltage", [(T, 230.5)], unit="furlong")
    output = imported(server, tmp_path, "--counter", "kuche_kwh")
    assert output.startswith("0\n"), output
    assert everything(tmp_path / "data") == {
        "house/emontx/power_1": POWER,
        "house/haus_1/kuche_kwh": ENERGY,
        "house/emontx/voltage": [(T, 230.5)],
    }
    assert meanings(tmp_path / "data") == {
        "house/emontx/power_1": ("W", "gauge", 0.0),
        "house/haus_1/kuche_kwh": ("kWh", "counter", 0.0),
        "house/emontx/voltage": ("", "gauge", 0.0),
    }
    assert f"feed {voltage}: a unit that is not known here: 'furlong'" in output


def test_the_file_of_a_feed_begins_where_it_is_asked_for(server: Server) -> None:
    power, energy = server.add(FINA, "power", POWER), server.add(SERIES, "energy", ENERGY)
    whole = struct.pack("<4f", 1.5, float("nan"), 3.25, -4.0)
    assert [file(server, power, start) for start in (0, 3, 4, 7, 8, 12, 16)] == [
        *[whole, whole, whole, whole],
        *[whole[4:], whole[8:], whole[12:]],
    ]
    whole = b"".join(struct.pack("<BIf", 249, *point) for point in ENERGY)
    assert [file(server, energy, start) for start in (0, 8, 9, 17, 18, 27)] == [
        *[whole, whole],
        *[whole[9:], whole[9:], whole[18:], b""],
    ]


def test_what_a_feed_gets_later_comes_and_a_cut_file_is_completed(server: Server, tmp_path: Path) -> None:
    power, energy = server.add(FINA, "power", POWER), server.add(SERIES, "energy", ENERGY)
    imported(server, tmp_path)
    later: dict[int, Points] = {power: [(T + 40, 5.0), (T + 70, 6.0)], energy: [(T + 4000, 102.0)]}
    for number, points in later.items():
        server.append(number, points)
    assert "3 values are new" in imported(server, tmp_path)
    for path in (tmp_path / "files").rglob("*.*"):
        if path.suffix in (".dat", ".MYD"):
            path.write_bytes(path.read_bytes()[:-10])
    assert imported(server, tmp_path).startswith("0\n")
    assert everything(tmp_path / "data") == {
        "house/emontx/power": [*POWER, *later[power]],
        "house/emontx/energy": [*ENERGY, *later[energy]],
    }


def test_a_feed_that_was_trimmed_is_downloaded_from_scratch(server: Server, tmp_path: Path) -> None:
    number = server.add(FINA, "power", [(T + 10 * n, float(n)) for n in range(20)])
    imported(server, tmp_path)
    server.trim(number, T + 100)
    server.append(number, [(T + 200, 20.0)])
    assert imported(server, tmp_path).startswith("0\n")
    assert everything(tmp_path / "data") == {"house/emontx/power": [(T + 10 * n, float(n)) for n in range(21)]}


def test_feeds_without_values_and_without_a_file_are_reported_and_the_others_come(
    server: Server, tmp_path: Path
) -> None:
    server.add(FINA, "empty")
    server.add(SERIES, "nothing")
    virtual = server.add(VIRTUAL, "sum")
    server.add(FINA, "power", POWER)
    output = imported(server, tmp_path)
    assert everything(tmp_path / "data") == {"house/emontx/power": POWER}, output
    assert f"feed {virtual} (emontx:sum): a feed that has no file to download: 'virtual feed'" in output
    assert output.startswith("0\n"), output


def test_a_large_feed_comes_whole(server: Server, tmp_path: Path) -> None:
    points = [(T + 10 * n, (n * 7919 % 100_003) / 64) for n in range(20_000)]
    server.add(FINA, "power", points)
    server.add(SERIES, "energy", points)
    imported(server, tmp_path)
    assert everything(tmp_path / "data") == {"house/emontx/power": points, "house/emontx/energy": points}


def test_a_wrong_key_and_a_feed_that_is_not_there_are_errors(server: Server, tmp_path: Path) -> None:
    number = server.add(FINA, "power", POWER)
    assert f"there is no feed {number + 1} at" in imported(server, tmp_path, "--feed", number + 1)
    server.key = "f" * 32
    assert "HTTP 401: 'Invalid API key'" in imported(server, tmp_path)
