"""The backup that storage makes by itself: a real one, at times of the test's own."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from heliograph.service import Service
from heliograph.store import open_writer
from heliograph.store_location import StoreLocation
from services.storage.maintenance import backup, backup_list
from services.storage.maintenance.nightly import NightlyBackup
from services.storage.options import Storage

Eventually = Callable[..., Any]
DAY = 86_400.0

pytestmark = pytest.mark.slow


class Night:
    """A storage with a nightly backup, and a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        open_writer(self.data, lambda: True).close()
        self.config = self.data / "run/config.toml"  # as `heliograph start` completes it
        self.config.parent.mkdir()
        self.config.write_text("[node]\n[broker]\n")
        (self.config.parent / "source").write_text(f"{folder}/mine.toml\n")
        (folder / "mine.toml").write_text("[node]\n")
        self.disk = folder / "usb"
        self.now = time.time()
        self.facts: dict[str, Any] = {}
        self.backups = 0
        self.reported = "nothing"
        self.clock = SimpleNamespace(synchronised=True)
        stub = SimpleNamespace(
            store=StoreLocation(self.data),
            data=self.data,
            path=self.config,
            clock=self.clock,
            fact=self.facts.__setitem__,
            count=self._count,
            report=self._report,
        )
        self.nightly = NightlyBackup(cast(Service, stub), self.disk, lambda: self.now)

    def _report(self) -> None:
        self.reported = self.error

    def _count(self, what: str) -> None:
        assert what == "backups"
        self.backups += 1

    def made(self, count: int) -> bool:
        self.nightly.tick()
        return self.backups == count

    @property
    def error(self) -> str:
        return str(self.facts["backup"]["error"])


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def test_a_backup_is_made_at_the_first_start_and_then_once_a_night(night: Night, eventually: Eventually) -> None:
    night.disk.mkdir()
    night.clock.synchronised = False
    night.nightly.tick()
    assert night.facts == {}
    night.clock.synchronised = True
    eventually(lambda: night.made(1))
    assert backup.check(night.disk) == {}
    assert "config.toml" in backup_list.read(night.disk).state
    assert (night.disk / "state/config.toml").read_text() == "[node]\n"  # what the user wrote
    assert abs(night.facts["backup"]["made"] - time.time()) < DAY
    today = time.localtime(night.now)
    three = time.mktime((*today[:3], 3, 0, 0, 0, 0, -1))
    next_night = (
        three if night.facts["backup"]["made"] < three else time.mktime((*today[:2], today[2] + 1, 3, 0, 0, 0, 0, -1))
    )
    night.now = next_night - 1
    for _ in range(3):
        night.nightly.tick()
    assert night.backups == 1
    night.now = next_night + 1
    eventually(lambda: night.made(2))
    night.nightly.close()


def test_a_disk_that_is_not_mounted_is_reported_and_waited_for(night: Night, eventually: Eventually) -> None:
    night.nightly.tick()
    assert night.error.startswith("the folder is not there: mount its disk")
    assert night.facts["backup"]["made"] == 0.0
    assert not night.disk.exists()
    night.disk.mkdir()
    night.nightly.tick()
    assert not list(night.disk.iterdir())  # not before an hour is over
    night.now += 3601
    eventually(lambda: night.made(1))
    assert night.reported == night.error == ""
    before = night.facts["backup"]["made"]
    shutil.rmtree(night.disk)
    night.now += 2 * DAY
    night.nightly.tick()
    assert night.error.startswith("the folder is not there")
    assert night.facts["backup"]["made"] == before


def test_a_store_that_cannot_be_backed_up_is_reported_with_the_reason(night: Night, eventually: Eventually) -> None:
    shutil.rmtree(night.data / "store")
    night.disk.mkdir()
    night.nightly.tick()
    eventually(lambda: not night.made(1) and night.error)
    assert night.error == f"there is no store in {night.data}/store"


def test_the_folder_is_an_absolute_path() -> None:
    assert Storage(backup="/media/usb").backup == "/media/usb"
    with pytest.raises(
        ValueError, match="backup: expected the path of a folder, such as /media/usb/heliograph, found 'usb'"
    ):
        Storage(backup="usb")
