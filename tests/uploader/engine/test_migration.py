import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.uploader import targets
from services.uploader.engine import migration
from services.uploader.engine.delivery_state import DeliveryState
from services.uploader.engine.in_flight import InFlight
from services.uploader.engine.progress import TargetProgress
from services.uploader.engine.state import StateFile
from services.uploader.options import TargetOptions

VERSION_1 = """
CREATE TABLE target (name TEXT PRIMARY KEY, options BLOB, paused INTEGER NOT NULL DEFAULT 0, known BLOB) STRICT;
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, added REAL NOT NULL,
    why TEXT NOT NULL, row BLOB NOT NULL, again INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX letter_target ON letter (target, id);
PRAGMA user_version = 1;
"""
OPTIONS = {
    "name": "cloud",
    "kind": "http",
    "url": "https://server.example/readings",
    "method": "PUT",
    "headers": {"X-Token": "3141592653"},
    "active": True,
    "without": ["*/*/voltage"],
    "called": "${device}_${channel}",
    "stamp": "end",
    "rows": 20,
    "bytes": 100_000,
    "every": 1.5,
    "per_hour": 60,
    "answer": "ok",
    "refusal": "bad",
    "success": [200, 409],
}
KNOWN = {
    "begun": True,
    "born": 7.0,
    "interval": 0.0,
    "start": 5.0,
    "progress": {"floor": 12.0, "beyond": [[14.0, 17.0]]},
    "late": [60.0],
    "seen": 12,
    "newest": 1763596803.5,
    "devices": {"roof/meter": 1763596803.5},
    "doubt": {"sort": "letters", "first": 1.0, "last": 2.0},
    "sent": 15,
    "passed_over": 3,
    "dropped": 1,
    "success": 1763633012.4,
}
ROW = b'[1763596801.0,[["roof","meter","power","W","gauge","power"]],[-7.5]]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file of an uploader of version 1."""
    with closing(sqlite3.connect(tmp_path / "uploader.db")) as db, db:
        db.executescript(VERSION_1)
        added, state = msgspec.json.encode(OPTIONS), msgspec.json.encode(KNOWN)
        db.execute("INSERT INTO target VALUES (?, ?, ?, ?)", ("cloud", added, 1, state))
        db.execute("INSERT INTO target VALUES (?, ?, ?, ?)", ("influx", None, 0, None))
        db.execute("INSERT INTO letter VALUES (?, ?, ?, ?, ?, ?)", (17, "cloud", 1763633012.4, "HTTP 422", ROW, 1))
    return tmp_path


def test_a_file_of_version_1_is_opened_with_all_that_is_in_it(folder: Path) -> None:
    for _ in range(2):  # the second time, it is of the present version
        with closing(StateFile(folder / "uploader.db")) as state:
            cloud, influx = state.targets()
            assert (influx.options, influx.paused, state.delivery_state("influx")) == (None, False, None)
            assert cloud.paused
            assert cloud.options is not None
            options = targets.parse_options(cloud.options)
            assert (options.exclude, options.batch_size, options.min_interval) == (("*/*/voltage",), 20, 1.5)
            assert cloud.options["headers"] == OPTIONS["headers"]
            assert state.delivery_state("cloud") == DeliveryState(
                started=True, first_seen=7.0, start_time=5.0, progress=TargetProgress(12.0, [(14.0, 17.0)]),
                late_intervals=[60.0], seen_cursor=12, newest=1763596803.5,
                newest_by_device={"roof/meter": 1763596803.5}, in_flight=InFlight("dead_letters", 1.0, 2.0),
                sent=15, skipped=3, dropped=1, last_success=1763633012.4,
            )  # fmt: skip
            (letter,) = state.dead_letters("cloud", retry=True)
            assert (letter.id, letter.added, letter.reason) == (17, 1763633012.4, "HTTP 422")
            assert (letter.row.time, letter.row.values) == (1763596801.0, (-7.5,))


@pytest.mark.parametrize("kind", targets.known())
def test_every_former_name_of_an_option_leads_to_one_that_there_is(kind: str) -> None:
    options = targets.load(kind)
    names = {field.encode_name for field in msgspec.structs.fields(options)}
    former: dict[str, Any] = {**migration.OPTIONS, **migration.OPTIONS_OF_A_KIND.get(kind, {})}
    assert set(former.values()) <= names
    assert not former.keys() & names
    assert former == {**TargetOptions.RENAMED, **options.RENAMED}
