"""Data folders of earlier commits, opened by this one: nothing is lost, and every series keeps its name."""

import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.store import open_reader
from tests.conftest import LocalBroker, Processes
from tests.stored import contents, points, yearly
from tests.system.old_site import FOLDERS, PRODUCERS, OldSite, Receiver, receiving

Eventually = Callable[..., Any]
PRESENT = {"why": "reason", "again": "retry"}  # what a dead letter's fields are called by now


class Old(NamedTuple):
    """A copy of a data folder that was kept, and what it held when it was made."""

    kept: Path
    data: Path
    expected: dict[str, Any]


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    kept: Path = request.param
    with tarfile.open(kept / "data.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 of Debian 12 has none
        archive.extractall(tmp_path)
    return Old(kept, tmp_path / "data", json.loads((kept / "expected.json").read_text()))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as taking:
        taking.strict = False
        yield taking


def test_a_store_of_an_earlier_commit_has_every_reading_it_had(old: Old) -> None:
    assert as_json(contents(old.data)) == old.expected["series"]
    sums = yearly(old.data)
    assert sums.keys() == old.expected["years"].keys()
    for series, expected in old.expected["years"].items():
        for function, values in expected.items():
            assert sums[series][function] == pytest.approx(values), f"{function} of {series}"


@pytest.mark.timeout(300)
def test_a_node_continues_with_the_data_of_an_earlier_commit(
    old: Old,
    tmp_path: Path,
    broker: LocalBroker,
    processes: Processes,
    receiver: Receiver,
    eventually: Eventually,
    free_ports: Callable[[], int],
) -> None:
    names = set(old.expected["series"])
    stored = points(old.data)
    site = OldSite(old.kept, tmp_path, broker, processes, free_ports, {})
    site.configure()
    last = {series: rows[-1][1] for series, rows in stored.items()}
    site.import_files(lambda _: [[round(time.time()), 2000]])
    imported = set(points(old.data))
    assert imported == names, f"imports have made other series: {imported ^ names}"

    online: set[str] = set()
    discovered: dict[str, set[str]] = {}

    def note(message: Message) -> None:
        if json.loads(message.payload)["state"] == "online":
            online.add(topics.parse(message.topic).owner)

    def discover(message: Message) -> None:
        components = json.loads(message.payload or b"{}").get("cmps", {})
        discovered.setdefault(message.topic, set()).update(one["uniq_id"] for one in components.values())

    with site.bus() as bus:
        bus.subscribe(topics.every_service("status", "pi1"), note)
        bus.subscribe("homeassistant/device/+/config", discover)
        services = ("storage", *PRODUCERS, "uploader", "home_assistant")
        site.start("simulator", *services)
        eventually(lambda: online >= set(services) or site.ended(), 90)
        assert not site.ended(), f"see what they say below; options are mended in {old.kept.name}/config.toml"
        what_waited_is_stored_once(old, stored, eventually)
        every_series_continues(old, site, bus)
        assert last["pi1/gas/pulses"] == 1003
        site.pulse(5)
        count = old.expected["counts"]["pi1/gas/pulses"] + 5
        eventually(lambda: points(old.data)["pi1/gas/pulses"][-1][1] == count)
        for topic, identifiers in old.expected["discovered"].items():
            wanted = set(identifiers)  # a channel whose value comes later is shown later
            eventually(lambda topic=topic, wanted=wanted: discovered.get(topic, set()) >= wanted)
            assert discovered[topic] == wanted, "Home Assistant would have other entities"
        targets_continue(old, site, receiver, eventually)
        site.stop(*services, "simulator")
    assert "Traceback" not in processes.output()


def what_waited_is_stored_once(old: Old, stored: dict[str, Any], eventually: Eventually) -> None:
    """The outboxes of the folder hold what its storage had not committed."""

    def missing() -> list[str]:
        now = points(old.data)
        return [
            f"{series} at {at}"
            for series, rows in old.expected["waiting"].items()
            for at, value in rows
            if (at, value) not in now[series]
        ]

    eventually(lambda: not missing(), 60)
    for series, rows in points(old.data).items():
        before = [row for row in rows if row[0] <= old.expected["made"]]
        waited = [tuple(row) for row in old.expected["waiting"].get(series, [])]
        if not series.startswith("pi1/house/"):  # the calculator may have had something still to calculate
            assert before == sorted([*stored[series], *waited]), series
    with closing(open_reader(old.data)) as reader:
        arrived = Counter(
            (arrival.device, arrival.channels, arrival.time)
            for arrival in reader.since(0, 10**6)
            if any(
                [arrival.time, arrival.values[channel]]
                in old.expected["waiting"].get(f"pi1/{arrival.device}/{channel}", [])
                for channel in arrival.channels
            )
        )
    assert arrived
    assert set(arrived.values()) == {1}, "what waited in an outbox is stored twice"


def every_series_continues(old: Old, site: OldSite, bus: Bus) -> None:
    """The same inputs as before make no series beside the old ones, and none of the old ones ends."""
    end = time.monotonic() + 90
    while True:
        site.feed(bus, time.time())
        time.sleep(1.2)
        now = points(old.data)
        ended = [series for series, rows in now.items() if rows[-1][0] <= old.expected["made"]]
        assert now.keys() == old.expected["series"].keys(), "a series has got another name"
        if not ended:
            return
        assert time.monotonic() < end, f"nothing comes for {ended}"


def targets_continue(old: Old, site: OldSite, receiver: Receiver, eventually: Eventually) -> None:
    """All targets are there with their options, their backlog and their dead letters."""
    targets = {one["name"]: one for one in eventually(lambda: site.ask("GET", "/api/v1/uploads"))["targets"]}
    assert targets.keys() == old.expected["targets"].keys()
    for name, options in site.inputs["targets"].items():
        assert targets[name]["kind"] == options["kind"]
        shown = list(targets[name]["options"].values())
        for option, value in options.items():
            hidden = option in ("key", "token", "password", "headers")
            assert hidden or value in shown, f"{name} has lost {option} = {value!r}"
    for name, expected in old.expected["targets"].items():
        paused = expected["state"] == "paused"
        assert (targets[name]["state"] == "paused") == paused, name
        assert targets[name]["sent"] >= expected["sent"], name
    everything_is_uploaded(old, receiver, eventually)
    the_file_continues(old, eventually)
    dead_letters_are_sent(old, site, receiver, eventually)


def everything_is_uploaded(old: Old, receiver: Receiver, eventually: Eventually) -> None:
    """The target `influx` gets what it has not got, and nothing that it has."""
    before = old.expected["uploaded"]["influx"]

    def counts() -> Counter[str]:
        return Counter(name for name, at in receiver.points() if at <= old.expected["made"] * 1000)

    wanted = Counter(
        {
            series.removeprefix("pi1/"): sum(at <= old.expected["made"] for at, _ in rows)
            for series, rows in points(old.data).items()
            if not series.startswith(("pi1/grid/", "pi1/house/"))
        }
    )
    rest = wanted - Counter(before)
    eventually(lambda: counts() >= rest, 60)
    assert counts() == rest


def the_file_continues(old: Old, eventually: Eventually) -> None:
    """The target `card` writes on in the file that it had, with the names of its header."""
    file = old.data / "uploader/card/card-all.csv"

    def complete() -> bool:
        written = Counter(line.split(",")[3] for line in file.read_text().splitlines()[1:])
        return all(
            written[series.removeprefix("pi1/").replace("/", ".")] >= len(rows)
            for series, rows in points(old.data).items()
            if not series.startswith("pi1/grid/") and not series.endswith("/pulses")
        )

    eventually(complete, 60)
    names = {line.split(",")[3] for line in file.read_text().splitlines()[1:]}
    assert "attic.power" in names
    assert not any(name.startswith("grid.") or name.endswith(".pulses") for name in names)


def dead_letters_are_sent(old: Old, site: OldSite, receiver: Receiver, eventually: Eventually) -> None:
    """The one that was to be sent again is sent, the others when that is asked for, with the values they had."""
    path = "/api/v1/uploads/strict/dead-letters"
    dead_letters = [
        {PRESENT.get(key, key): value for key, value in one.items()} for one in old.expected["dead_letters"]["strict"]
    ]
    eventually(lambda: len(site.ask("GET", path)["dead_letters"]) == 2, 60)
    assert site.ask("GET", path)["dead_letters"] == [one for one in dead_letters if not one["retry"]]
    site.ask("POST", path, {})
    eventually(lambda: site.ask("GET", path)["dead_letters"] == [], 60)
    sent = [json.loads(body) for body in receiver.bodies("/strict")]
    for letter in dead_letters:
        values = {series.removeprefix("pi1/").replace("/", "_"): value for series, value in letter["values"].items()}
        assert {"at": letter["time"], "values": values} in sent


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
