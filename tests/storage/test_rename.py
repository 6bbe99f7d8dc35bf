"""`heliograph store rename`: history moves with its name, joins what has it already, and everything else follows."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliograph import forget, node_config, store, topics
from heliograph.bus import Bus
from heliograph.config import Broker
from heliograph.messages import Block, Channel, Info, Value
from heliograph.renames import FILE, Rename, decode
from heliograph.store import copied_names, history, open_reader, open_writer, recovery, schema
from heliograph.store.interface import FUNCTIONS, Keep
from tests.conftest import GuardedBroker, LocalBroker, free_port
from tests.heliograph.test_forget import retained
from tests.storage.stores import command, done, everything

INFO = Info("Meter", {"power": Channel("W"), "energy": Channel("kWh", "counter"), "mode": Channel("", "text")})
CHANNELS = tuple(INFO.channels)
STARTS = [datetime(year, 12, 31, 18, tzinfo=UTC).timestamp() for year in (2023, 2024)]
Row = list[float | Value | None]


def readings(start: float, count: int, offset: int = 0) -> list[Row]:
    return [[start + n * 120, n * 7 % 100 + 0.5, float(n + offset), f"mode {n // 40 % 3}"] for n in range(count)]


def write(data: Path, name: str, rows: list[Row], info: Info = INFO) -> None:
    node, device = name.split("/")
    with closing(open_writer(data)) as writer:
        assert writer.declare(node, device, info) == []
        assert writer.write(node, [Block(device, tuple(info.channels), rows)]) == []
        writer.commit({})


def contents(data: Path) -> dict[str, object]:
    """Everything that a store answers, by name."""
    edges = [STARTS[0] + n * 3600 for n in range(0, 400 * 24, 24)]
    with closing(open_reader(data)) as reader:
        assert reader.problems() == []
        answers: dict[str, object] = {
            one.name: (
                one.unit,
                one.kind,
                reader.latest([one.id]).get(one.id),
                reader.aggregate(one.id, edges, FUNCTIONS),
            )
            for one in reader.series()
        }
        since = sorted((one.node, one.device, one.time, sorted(one.values.items())) for one in reader.since(0, 10**6))
    assert recovery.disagreements(store.folder(data)) == []
    with schema.reading(schema.catalog_file(store.folder(data))) as db:
        known = copied_names.read(db)
    for path in history.files(store.folder(data)).values():
        with schema.reading(path) as db:
            assert copied_names.contradiction(known, copied_names.read(db)) == ""
    assert not list(store.folder(data).glob("*.damaged-*"))
    assert not list(store.folder(data).glob("*.salvaged-*"))
    return {**answers, "points": everything(data), "since": since}


def settled(data: Path) -> dict[str, object]:
    with closing(open_writer(data)) as writer:
        writer.settle()
        assert writer.problems() == []
    return contents(data)


@pytest.mark.parametrize(
    ("level", "old", "new", "device", "sealed"),
    [
        ("node", "alpha", "gamma", "gamma/meter", True),
        ("device", "alpha/meter", "alpha/main", "alpha/main", False),
    ],
)
def test_history_moves_with_its_name(
    tmp_path: Path, level: str, old: str, new: str, device: str, *, sealed: bool
) -> None:
    data, wanted = tmp_path / "data", tmp_path / "wanted"
    for start in STARTS:
        for folder, name in ((data, "alpha/meter"), (wanted, device)):
            write(folder, name, readings(start, 400))
            write(folder, "shed/other", readings(start, 100))
            if sealed:
                settled(folder)
    assert f"{old} is {new} now" in done("rename", level, old, new, "--data", data)
    assert settled(data) == settled(wanted)
    write(data, device, readings(STARTS[1] + 1e6, 10))
    write(wanted, device, readings(STARTS[1] + 1e6, 10))
    assert settled(data) == settled(wanted)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_has_the_new_name_already_is_joined(tmp_path: Path, *, sealed: bool) -> None:
    """Case Y10: the node has run under its new name before anybody thought of its history."""
    data, wanted = tmp_path / "data", tmp_path / "wanted"
    more = Info("Meter", {**INFO.channels, "voltage": Channel("V")})
    less = Info("Meter", {"power": Channel("W"), "extra": Channel("A")})
    for folder, names in ((data, ("alpha/meter", "gamma/meter")), (wanted, ("gamma/meter", "gamma/meter"))):
        for start in STARTS:
            write(folder, names[0], [[*row, 230.0] for row in readings(start, 300)], more)
        write(folder, names[1], readings(STARTS[1] + 299 * 120, 200, 300))  # the first is at a time of the last
        write(folder, names[1], [[STARTS[1] + 90_000 + n, 1.0, 2.0] for n in range(5)], less)
        write(folder, names[0].replace("meter", "boiler"), readings(STARTS[1], 50))
        if sealed:
            settled(folder)
    with closing(open_writer(data)) as writer, closing(open_reader(data)) as reader:
        counter = next(one.id for one in reader.series() if one.name == "alpha/meter/energy")
        writer.replaced(counter, STARTS[1] + 50 * 120)
    with closing(open_writer(wanted)) as writer, closing(open_reader(wanted)) as reader:
        writer.replaced(
            next(one.id for one in reader.series() if one.name == "gamma/meter/energy"), STARTS[1] + 50 * 120
        )
    assert "joined" in done("rename", "node", "alpha", "gamma", "--data", data)
    assert settled(data) == settled(wanted)
    write(data, "gamma/meter", readings(STARTS[1] + 1e6, 10))
    write(wanted, "gamma/meter", readings(STARTS[1] + 1e6, 10))
    assert settled(data) == settled(wanted)
    with closing(open_reader(data)) as reader:
        numbers = [one.cursor for one in reader.since(0, 10**6)]
    assert len(numbers) == len(set(numbers))


def test_channels_are_renamed_and_joined(tmp_path: Path) -> None:
    data, wanted = tmp_path / "data", tmp_path / "wanted"
    solar = Info("Meter", {"solar": Channel("W")})
    for folder, info in ((data, INFO), (wanted, INFO)):
        for start in STARTS:
            write(folder, "roof/meter", readings(start, 200), info)
    write(data, "roof/meter", [[STARTS[1] + 5e5 + n, float(n)] for n in range(9)], solar)
    write(
        wanted,
        "roof/meter",
        [[STARTS[1] + 5e5 + n, float(n)] for n in range(9)],
        Info("Meter", {"power": Channel("W")}),
    )
    done("rename", "channel", "roof/meter/solar", "roof/meter/power", "--data", data)
    assert settled(data) == settled(wanted)
    done("rename", "channel", "roof/meter/power", "roof/meter/watt", "--data", data)
    with closing(open_reader(data)) as reader:
        assert sorted(one.channel for one in reader.series()) == ["energy", "mode", "watt"]


def test_a_channel_without_a_unit_that_gets_one_by_joining_is_reported(tmp_path: Path) -> None:
    """A newcomer joined kW, imported without a unit, with W: the values counted as W without a word."""
    write(tmp_path, "alpha/meter", readings(STARTS[0], 5), INFO)
    write(tmp_path, "alpha/old", readings(STARTS[0] - 3600, 5), Info("", {**INFO.channels, "power": Channel()}))
    for option, counts in (("--dry-run", "would count"), ("", "count")):
        renamed = command("rename", "device", "alpha/old", "alpha/meter", "--data", tmp_path, *filter(None, [option]))
        assert renamed.exit_code == 0, renamed.stderr
        assert f"power has no unit under one of the two names: all its values {counts} as W" in renamed.stderr
        assert "energy has no unit" not in renamed.stderr


def test_years_of_cells_are_joined_unless_both_have_some_of_one_time(tmp_path: Path) -> None:
    old, new = datetime(2021, 3, 1, tzinfo=UTC).timestamp(), datetime(2022, 3, 1, tzinfo=UTC).timestamp()
    power = Info("Meter", {"power": Channel("W")})
    keep, now = Keep(raw_years=1), datetime(2025, 2, 1, tzinfo=UTC).timestamp()

    def dense(start: float) -> list[Row]:
        return [[start + n * 20, n * 104_729 % 100_003 / 7] for n in range(3 * 4320)]

    for folder, second in ((tmp_path / "apart", new), (tmp_path / "same", old)):
        write(folder, "alpha/meter", dense(old), power)
        write(folder, "gamma/meter", dense(second), power)
        write(folder, "gamma/meter", [[now - 1e6, 1.0]], power)
        with closing(open_writer(folder, keep=keep, now=lambda: now)) as writer:
            writer.settle()
            while writer.maintain():
                pass
            assert history.is_bare(history.files(store.folder(folder))[2021])
    done("rename", "node", "alpha", "gamma", "--data", tmp_path / "apart")
    with closing(open_reader(tmp_path / "apart")) as reader:
        (one,) = reader.series()
        edges = [old, old + 86_400, old + 3 * 86_400, new, new + 86_400, new + 3 * 86_400]
        assert reader.aggregate(one.id, edges, ["n"])["n"] == [4320, 8640, 0, 4320, 8640]
        assert len([arrival for arrival in reader.since(0, 10**6) if arrival.values]) == 2 * 4320 + 1
    before = everything(tmp_path / "same")
    refused = command("rename", "node", "alpha", "gamma", "--data", tmp_path / "same")
    assert refused.exit_code == 1
    assert "cannot be joined" in refused.stderr
    assert everything(tmp_path / "same") == before


def test_a_channel_with_a_changed_unit_stays_where_it_is_stored(tmp_path: Path) -> None:
    for unit in ("Wh", "kWh"):
        write(tmp_path, "alpha/meter", [[STARTS[0], 1.0]], Info("Meter", {"energy": Channel(unit)}))
    done("rename", "node", "alpha", "gamma", "--data", tmp_path)
    with closing(open_writer(tmp_path)) as writer:
        writer.write("gamma", [Block("meter", ("energy",), [[STARTS[0] + 1, 1.5]])])  # not described again yet
        writer.commit({})
    assert {name: len(points) for name, points in everything(tmp_path).items()} == {
        "gamma/meter/energy": 1,
        "gamma/meter/energy_kwh": 2,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("node", "shed", "gamma"), "there is no shed"),
        (("node", "alpha", "Gamma X"), "is not the name of a node"),
        (("device", "alpha/meter", "gamma"), "is not the name of a device"),
        (("channel", "alpha/meter/power", "gamma/meter/power"), "stays with its device"),
        (("channel", "alpha/meter/power", "alpha/meter/energy"), "cannot be joined"),
        (("channel", "alpha/meter/power", "alpha/meter/mode"), "cannot be joined"),
        (("node", "alpha", "alpha"), "cannot become"),
    ],
)
def test_what_cannot_be_renamed_is_refused(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    before = everything(tmp_path)
    result = command("rename", *arguments, "--data", tmp_path)
    assert result.exit_code != 0
    assert sentence in result.stderr
    assert everything(tmp_path) == before


def test_nothing_is_renamed_while_storage_runs(tmp_path: Path) -> None:
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    with closing(open_writer(tmp_path)):
        result = command("rename", "node", "alpha", "gamma", "--data", tmp_path)
    assert result.exit_code == 1
    assert "docker compose stop storage" in result.stderr


def configured(folder: Path, rest: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'[node]\nname = "alpha"\ndata = "{folder}"\n{rest}'
        '[calculator.devices.house.channels.double]\nformula = "meter.power * 2"\n# meter.power\n'
        '[[uploader.targets]]\nchannels = ["alpha/meter/*", "alpha/my_meter/*"]\n'
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("node", "alpha", "gamma"), {2: 'name = "gamma"', -1: 'channels = ["gamma/meter/*", "gamma/my_meter/*"]'}),
        (
            ("device", "alpha/meter", "alpha/main"),
            {-4: 'formula = "main.power * 2"', -1: 'channels = ["alpha/main/*", "alpha/my_meter/*"]'},
        ),
        (("channel", "alpha/meter/power", "alpha/meter/watt"), {-4: 'formula = "meter.watt * 2"'}),
    ],
)
def test_a_dry_run_shows_each_line_that_has_the_name_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], lines: dict[int, str]
) -> None:
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    path = configured(tmp_path)
    before, count = everything(tmp_path), len(path.read_text().splitlines())
    shown = done("rename", *arguments, "--config", path, "--dry-run")
    wanted = {f"{path}:{number if number > 0 else count + 1 + number}:": line for number, line in lines.items()}
    assert {line.split()[0]: line.partition("→")[2].strip() for line in shown.splitlines() if "→" in line} == wanted
    assert "nothing was changed" in shown
    assert everything(tmp_path) == before


def test_one_command_moves_history_and_what_the_broker_retains_and_home_assistant_gets_the_names(
    tmp_path: Path, guarded_broker: GuardedBroker
) -> None:
    """Case Y10. The old discovery message is left to home_assistant, which has the entities unloaded first."""
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    sections = "[modbus_poller]\n"
    path = configured(tmp_path, guarded_broker.section + sections)
    info, status = topics.device("alpha", "meter", "info"), topics.service("alpha", "modbus_poller", "status")
    other = topics.device("alpha", "boiler", "info")
    user = Broker(port=guarded_broker.port, password=guarded_broker.password("modbus_poller"))
    with Bus(user, "alpha", "modbus_poller") as bus:
        assert bus.wait_connected(10)
        for topic in (info, status, other):
            bus.publish(topic, b"{}", qos=1, retain=True)
    assert retained(guarded_broker) >= {info, status, other}
    shown = done("rename", "device", "alpha/meter", "alpha/main", "--config", path, "--uploads", "old")
    assert "retained messages of alpha/meter removed from the broker: 1" in shown
    assert retained(guarded_broker) & {info, status, other} == {status, other}
    shown = done("rename", "node", "alpha", "gamma", "--config", path)
    assert "of alpha removed from the broker: 2" in shown
    assert not retained(guarded_broker) & {info, status, other}
    entries = (Rename("alpha/meter", "alpha/main", "old"), Rename("alpha", "gamma"))
    assert decode((tmp_path / "home_assistant" / FILE).read_bytes()).entries == entries
    assert {name.rpartition("/")[0] for name in everything(tmp_path)} == {"gamma/main"}


def test_a_broker_that_does_not_answer_is_tried_again_by_the_same_command(
    tmp_path: Path, broker: LocalBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    monkeypatch.setattr(forget, "CONNECT_SECONDS", 0.2)
    path = configured(tmp_path, f"[broker]\nport = {free_port()}\n")
    refused = command("rename", "node", "alpha", "gamma", "--config", path)
    assert refused.exit_code == 1
    assert "run this again" in refused.stderr
    assert refused.stderr.count("is away") == 1
    assert caplog.records == []  # each service that connects reported that it tries again, and none did
    assert 'name = "gamma"' in refused.stdout
    path = configured(tmp_path, broker.section)
    with closing(open_writer(tmp_path)):  # a broker of `heliograph start` runs only while storage does
        assert "alpha is gamma already" in done("rename", "node", "alpha", "gamma", "--config", path)
        assert command("rename", "node", "gamma", "delta", "--config", path).exit_code == 1
    assert decode((tmp_path / "home_assistant" / FILE).read_bytes()).entries == (Rename("alpha", "gamma"),)


@pytest.mark.parametrize("section", ["", "[home_assistant]\n"])
def test_in_a_container_without_the_volume_of_home_assistant_the_command_says_what_is_missing(
    tmp_path: Path, broker: LocalBroker, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    """Case Y16: the names came into the container's own folder, which is gone with it, and entities lost their history."""
    write(tmp_path, "alpha/meter", readings(STARTS[0], 10))
    path = configured(tmp_path, broker.section + section)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(node_config, "CONTAINER_CONFIG", path)
    result = command("rename", "node", "alpha", "gamma")
    assert result.exit_code == (1 if section else 0)
    assert "before it starts again" in result.stderr
    assert "heliograph store rename node alpha gamma --state /volumes/home_assistant" in result.stderr
    assert not (tmp_path / "home_assistant").exists()
    volume = tmp_path / "home_assistant"
    volume.mkdir()
    again = command("rename", "node", "alpha", "gamma", "--state", volume)
    assert (again.exit_code, again.stderr) == (0, "")
    assert decode((volume / "home_assistant" / FILE).read_bytes()).entries == (Rename("alpha", "gamma"),)


def test_the_volume_of_home_assistant_gets_the_names(tmp_path: Path) -> None:
    write(tmp_path / "data", "alpha/meter", readings(STARTS[0], 10))
    volume = tmp_path / "home_assistant"
    volume.mkdir()
    done("rename", "node", "alpha", "gamma", "--data", tmp_path / "data", "--state", volume)
    assert (volume / "home_assistant" / FILE).exists()
    assert not (tmp_path / "data" / "home_assistant").exists()


def test_an_older_copy_of_a_year_from_before_a_rename_is_reported(tmp_path: Path) -> None:
    """Its readings come back under the old name: under the new one they would be missing, and nothing would report it."""
    data = tmp_path / "data"
    write(data, "alpha/meter", readings(STARTS[0], 20))
    settled(data)
    year = history.files(store.folder(data))[2023]
    older = year.read_bytes()
    done("rename", "device", "alpha/meter", "alpha/main", "--data", data)
    year.write_bytes(older)
    with closing(open_writer(data)) as writer:
        writer.settle()
        (problem,) = writer.problems()
    assert "history-2023.db is a copy from before a rename" in problem
    assert "alpha/meter to alpha/main" in problem
    assert "is alpha/main now" in done("rename", "device", "alpha/meter", "alpha/main", "--data", data)
    assert len(everything(data)["alpha/main/power"]) == 20
