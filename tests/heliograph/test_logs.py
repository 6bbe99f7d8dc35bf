import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import logs
from heliograph.errors import ConfigError

NOON = datetime(2026, 6, 1, 12, 0, 5, tzinfo=timezone(timedelta(hours=2)))
LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@pytest.fixture
def restored() -> Iterator[None]:
    names = ("", *logs.OWN)
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


def test_a_line_is_time_level_service_and_text() -> None:
    (line,) = logs.lines(NOON, "WARNING", "storage", "the disk is full")
    assert str(line) == "2026-06-01T12:00:05+02:00 WARNING storage: the disk is full"


@given(st.text(max_size=80), st.sampled_from(LEVELS), st.integers(0, 1 << 33))
def test_every_message_is_read_back_line_by_line_and_no_line_of_it_is_taken_for_another_message(
    message: str, level: str, time: int
) -> None:
    made = logs.lines(datetime.fromtimestamp(time, UTC), level, "api", message)
    read = [logs.parsed(str(line)) for line in made]
    assert read == made
    assert [line.continues for line in made] == [False] + [True] * (len(made) - 1)
    assert not any(character < " " and character != "\t" for line in made for character in line.text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Warning: no listener",
        "2026-06-01T12:00:05 INFO    api: without its offset",
        "2026-06-31T12:00:05+02:00 INFO    api: no such day",
        "2026-06-01T12:00:05+02:00 LOUD    api: no such level",
    ],
)
def test_a_line_of_another_program_is_not_one_of_ours(line: str) -> None:
    assert logs.parsed(line) is None


def test_a_traceback_stays_with_its_line() -> None:
    formatter = logs.LineFormatter("api")
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s broke", ("it",), (ValueError, error, None))
    lines = [logs.parsed(line) for line in formatter.format(record).split("\n")]
    assert [(line.level, line.text, line.continues) for line in lines if line] == [
        ("ERROR", "it broke", False),
        ("ERROR", "    ValueError: first", True),
        ("ERROR", "    second", True),
    ]


@pytest.mark.usefixtures("restored")
def test_debug_shows_our_own_lines_and_not_those_of_a_library() -> None:
    """A library writes the URLs of its requests there, with the keys in them."""
    for level, ours, theirs in [
        ("debug", "DEBUG", "INFO"),
        ("info", "INFO", "INFO"),
        ("warning", "WARNING", "WARNING"),
        ("error", "ERROR", "ERROR"),
    ]:
        logs.set_level(level)
        for name, expected in (("services.uploader.engine", ours), ("urllib3.connectionpool", theirs)):
            assert logging.getLevelName(logging.getLogger(name).getEffectiveLevel()) == expected


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_level_is_that_of_the_service_else_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    node, service = '[node]\nlog_level = "error"\n', '[storage]\nlog_level = "debug"\n'
    assert logs.configured(write(file, ""), "storage") == "info"
    assert logs.configured(write(file, node), "storage") == "error"
    assert logs.configured(write(file, service), "storage") == "debug"
    assert logs.configured(write(file, node + service), "storage") == "debug"
    assert logs.configured(write(file, node + service), "api") == "error"
    assert logs.configured(write(file, f"{node}[storage]\ncommit_seconds = 3"), "storage") == "error"
    monkeypatch.setenv("HELIOGRAPH__STORAGE__COMMIT_SECONDS", "3")  # as compose.yaml says other options
    monkeypatch.setenv("HELIOGRAPH__NODE__LOG_LEVEL", "debug")
    assert logs.configured(write(file, ""), "storage") == "debug"
    for wrong in ('[storage]\nlog_level = "loud"', "[storage]\nlog_level = 7", '[node]\nlog_level = ""'):
        with pytest.raises(ConfigError, match="log_level: expected"):
            logs.configured(write(file, wrong), "storage")


def test_a_stream_gets_lines() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LineFormatter("api"))
    log = logging.Logger("mine")
    log.addHandler(handler)
    log.warning("%d things", 3)
    line = logs.parsed(stream.getvalue().rstrip("\n"))
    assert line
    assert (line.level, line.service, line.text, line.severity) == ("WARNING", "api", "3 things", logging.WARNING)
    assert line.time.utcoffset() == datetime.now().astimezone().utcoffset()
