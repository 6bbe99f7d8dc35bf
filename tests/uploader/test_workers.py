from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.store import open_reader, open_writer
from services.uploader import targets
from services.uploader.engine.state import StateFile
from services.uploader.workers import Workers

STORED = {"name": "cloud", "kind": "http", "url": "http://h", "headers": {"X-Token": "3141592653"}}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    with closing(StateFile(tmp_path / "uploader.db")) as opened:
        yield opened


@pytest.fixture
def workers(tmp_path: Path, file: StateFile) -> Iterator[Workers]:
    open_writer(tmp_path).close()
    with closing(open_reader(tmp_path)) as reader:
        made = Workers("pi", tmp_path, reader, file, lambda: 1.0)
        yield made
        made.stop()


def test_a_stored_target_whose_options_are_not_valid_is_shown_until_it_is_put_again(
    workers: Workers, file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.put("cloud", {**STORED, "channels": ["*/meter/power?"]})
    workers.start(())
    assert workers.names() == ["cloud"]
    assert "ignoring target cloud (added at runtime): its options are not valid: channels: " in caplog.text
    assert "3141592653" not in caplog.text
    described = workers.described("cloud")
    assert described is not None
    assert (described["state"], described["options"]["headers"]) == ("invalid", {"X-Token": "…"})
    assert workers.facts()["cloud"]["last_error"].startswith("channels: ")
    workers.put(targets.parse_options(STORED), STORED)
    assert workers.facts()["cloud"]["state"] != "invalid"


def test_a_target_of_the_configuration_comes_before_one_that_was_added_under_its_name(
    workers: Workers, file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.put("cloud", STORED)
    workers.start((targets.parse_options({"name": "cloud", "kind": "file"}),))
    assert "target cloud is defined at runtime and in config.toml; using config.toml" in caplog.text
    assert workers.facts()["cloud"]["kind"] == "file"


def test_a_deleted_target_is_gone(workers: Workers, file: StateFile) -> None:
    file.put("cloud", STORED)
    workers.start(())
    workers.delete("cloud")
    assert (workers.names(), file.targets()) == ([], [])
