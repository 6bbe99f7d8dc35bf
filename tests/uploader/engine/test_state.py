import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.errors import ConfigError
from heliograph.messages import Value
from services.uploader.engine import dead_letters, state
from services.uploader.engine.dead_letters import DeadLetter, RejectedRow, edited
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.progress import TargetProgress
from services.uploader.engine.state import StateAway, StateFile
from services.uploader.management import page
from services.uploader.target import MappedChannel, Row

POWER = MappedChannel("pi", "meter", "power", "W", "gauge", "power")
MODE = MappedChannel("pi", "meter", "mode", "", "text", "state of things")
ROW = Row(1000.5, (POWER, MODE), (1.5, "sun"))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[StateFile]:
    opened = StateFile(tmp_path / "uploader/uploader.db")
    yield opened
    opened.close()


def test_what_is_known_of_a_target_is_there_after_a_restart(kept: StateFile, tmp_path: Path) -> None:
    known = DeliveryState(
        started=True,
        progress=TargetProgress(5, [(7, 9)]),
        late_intervals=[60.0],
        newest_by_device={"pi/meter": 3.0},
        sent=4,
    )
    kept.save("influx", known, [RejectedRow(ROW, "bad")])
    kept.put("influx", {"kind": "influxdb", "token": "t"})
    kept.pause("influx", paused=True)
    kept.close()
    again = StateFile(tmp_path / "uploader/uploader.db")
    assert again.delivery_state("influx") == known
    assert [(letter.row, letter.reason) for letter in again.dead_letters("influx")] == [(ROW, "bad")]
    assert again.targets() == [("influx", {"kind": "influxdb", "token": "t"}, True)]
    again.forget("influx")
    assert (again.delivery_state("influx"), again.dead_letters("influx"), again.targets()) == (None, [], [])
    again.close()


def filled(path: Path, rejected: int = 40) -> bytes:
    """Make a file with two targets and dead letters, and return its bytes."""
    with closing(StateFile(path)) as made:
        made.put("cloud", {"kind": "webhook", "url": "http://h", "name": "cloud"})
        made.save("cloud", DeliveryState(started=True, sent=7), [RejectedRow(ROW, "bad " * 50)] * rejected)
        made.save("influx", DeliveryState(started=True, sent=9))
    return path.read_bytes()


@pytest.mark.parametrize("kept_part", ["nothing", "garbage", "half", "without its beginning", "a page of zeros"])
def test_a_damaged_file_is_moved_aside_and_what_can_be_read_of_it_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept_part: str
) -> None:
    path = tmp_path / "uploader.db"
    whole = filled(path)
    damaged = {
        "nothing": b"",
        "garbage": b"not a database" * 100,
        "half": whole[: len(whole) // 2],
        "without its beginning": bytes(100) + whole[100:],
        "a page of zeros": whole[:-8192] + bytes(4096) + whole[-4096:],
    }[kept_part]
    path.write_bytes(damaged)
    with closing(StateFile(path)) as opened:
        (problem,) = opened.problems
        assert problem.startswith("uploader.db was damaged and is now uploader.db.damaged-")
        assert caplog.text.count("was damaged") == 1
        for target in opened.targets():
            assert target.name in ("cloud", "influx")
        assert all(letter.row == ROW for letter in opened.dead_letters("cloud"))
        opened.save("influx", DeliveryState(started=True, sent=10))
        assert opened.delivery_state("influx") == DeliveryState(started=True, sent=10)
        if kept_part == "a page of zeros":
            assert [target.name for target in opened.targets()] == ["cloud", "influx"]
    (aside,) = tmp_path.glob("uploader.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(StateFile(path)) as again:
        assert again.problems == []


def test_a_sound_file_is_no_problem_even_if_all_is_in_its_log(tmp_path: Path) -> None:
    with closing(StateFile(tmp_path / "uploader.db")) as made:
        made.save("influx", DeliveryState(started=True, sent=9))
        for name in ("uploader.db", "uploader.db-wal"):  # as a crash leaves them
            (tmp_path / "crashed").mkdir(exist_ok=True)
            shutil.copy(tmp_path / name, tmp_path / "crashed")
    with closing(StateFile(tmp_path / "crashed/uploader.db")) as opened:
        assert opened.problems == []
        assert opened.delivery_state("influx") == DeliveryState(started=True, sent=9)


def test_a_position_or_options_that_cannot_be_read_are_those_of_one_target(kept: StateFile) -> None:
    kept.put("cloud", {"kind": "webhook"})
    kept.save("influx", DeliveryState(started=True, sent=9))
    kept.save("other", DeliveryState(started=True, sent=8))
    kept._db.execute("UPDATE target SET state = x'7b22' WHERE name = 'influx'")
    kept._db.execute("UPDATE target SET options = x'ff' WHERE name = 'cloud'")
    assert kept.delivery_state("influx") is None
    assert kept.delivery_state("other") == DeliveryState(started=True, sent=8)
    assert kept.targets()[0] == ("cloud", {"name": "cloud"}, False)


def test_only_its_owner_can_read_the_file(kept: StateFile, tmp_path: Path) -> None:
    kept.put("influx", {"token": "t"})
    files = list((tmp_path / "uploader").iterdir())
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_dead_letters_beyond_the_most_go_and_are_counted(kept: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_DEAD_LETTERS", 5)
    known = DeliveryState()
    for index in range(8):
        kept.save("influx", known, [RejectedRow(ROW._replace(time=float(index)), "bad")])
    assert [letter.row.time for letter in kept.dead_letters("influx")] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert known.dropped == 3
    assert kept.delivery_state("influx") == known


def test_dead_letters_of_one_target_are_not_anothers(kept: StateFile) -> None:
    for name in ("one", "two"):
        kept.save(name, DeliveryState(), [RejectedRow(ROW, name)])
    assert kept.drop("one", [1, 2]) == 1
    assert kept.retry("two", None) == 1
    assert [letter.reason for letter in kept.dead_letters("two", retry=True)] == ["two"]


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "uploader.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigError, match="newer Heliograph"):
        StateFile(tmp_path / "uploader.db")


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "uploader.db").mkdir()
    with pytest.raises(ConfigError, match=r"uploader\.db cannot be opened"):
        StateFile(tmp_path / "uploader.db")


def test_a_disk_that_refuses_changes_nothing(kept: StateFile, tmp_path: Path) -> None:
    kept.save("influx", DeliveryState(sent=1))
    blocker = sqlite3.connect(tmp_path / "uploader/uploader.db", isolation_level=None)
    blocker.execute("PRAGMA max_page_count = 1")
    blocker.execute("BEGIN IMMEDIATE")
    kept._db.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(StateAway, match="locked"):
        kept.save("influx", DeliveryState(sent=2), [RejectedRow(ROW, "bad")])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert kept.delivery_state("influx") == DeliveryState(sent=1)
    assert kept.dead_letters("influx") == []


def test_numbers_that_are_not_finite_survive_being_kept() -> None:
    row = Row(1.0, (POWER, MODE), (float("-inf"), "nan"))
    assert dead_letters.unpacked(dead_letters.packed(row)) == row
    as_json = dead_letters.as_json(DeadLetter(1, 2.0, "bad", row, retry=False))
    assert as_json["values"] == {"pi/meter/power": "-inf", "pi/meter/mode": "nan"}


def test_a_letter_with_a_text_in_place_of_a_number_can_be_read() -> None:
    row = Row(1.0, (POWER,), ("much",))
    assert dead_letters.unpacked(dead_letters.packed(row)) == row


def test_values_of_a_letter_are_changed_by_either_name_or_left_out() -> None:
    assert edited(ROW, {"pi/meter/power": 2.0}, None).values == (2.0, "sun")
    assert edited(ROW, {"state of things": "rain"}, 7.0) == Row(7.0, ROW.channels, (1.5, "rain"))
    assert edited(ROW, {"power": None}, None) == Row(1000.5, (MODE,), ("sun",))


@pytest.mark.parametrize(
    ("values", "moment", "why"),
    [
        ({"voltage": 1.0}, None, "the dead letter has no 'voltage'; it has pi/meter/power, pi/meter/mode"),
        ({"power": float("nan")}, None, "is not a finite number"),
        ({"power": "much"}, None, "power: expected a number or a boolean, found 'much'"),
        ({"power": None, "state of things": None}, None, "nothing is left to send"),
        ({}, float("inf"), "inf is not a time"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    values: dict[str, Value | None], moment: float | None, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        edited(ROW, values, moment)


def test_a_page_of_dead_letters_is_as_long_as_a_message_may_be() -> None:
    long = [{"id": number, "why": "x" * 300_000} for number in range(3)]
    assert [letter["id"] for letter in page(long)] == [0]
    assert [letter["id"] for letter in page([{"id": 5, "why": "x" * 2_000_000}])] == [5]
    assert page([]) == []
