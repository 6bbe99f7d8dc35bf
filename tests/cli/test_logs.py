import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli.logs import LogReader, last, moment
from cli.main import main
from cli.start.log_file import LogFile, numbered
from heliograph import logs, node_config
from heliograph.logs import LogLine

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
STORY = [
    *logs.lines(NOON, "INFO", "storage", "connected"),
    *logs.lines(NOON + timedelta(minutes=1), "DEBUG", "api", "asked"),
    *logs.lines(NOON + timedelta(minutes=2), "ERROR", "api", "failed\nTraceback\nValueError: x"),
    *logs.lines(NOON + timedelta(minutes=3), "WARNING", "storage", "the disk is slow"),
    *logs.lines(NOON + timedelta(minutes=4), "CRITICAL", "api", "ended"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a node that ran, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    (data / "run/config.toml").touch()
    node_config.note_log(data, data / "node.log")
    return data


def write(data: Path, lines: list[LogLine] = STORY) -> None:
    file = LogFile(data / "node.log")
    for line in lines:
        file.write(str(line))
    file.close()


def shown(*options: str) -> Result:
    return CliRunner().invoke(main, ["logs", *options])


def texts(*options: str) -> list[str]:
    result = shown(*options)
    assert result.exit_code == 0, result.output
    return [line.text for text in result.output.splitlines() if (line := logs.parsed(text))]


def test_everything_is_shown_as_it_was_logged(data: Path) -> None:
    write(data)
    assert shown().output == "".join(f"{line}\n" for line in STORY)


TRACEBACK = ["failed", "    Traceback", "    ValueError: x"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--level", "warning"], [*TRACEBACK, "the disk is slow", "ended"]),
        (["--level", "error"], [*TRACEBACK, "ended"]),
        (["--service", "storage"], ["connected", "the disk is slow"]),
        (
            ["--service", "storage", "--service", "api", "--level", "info", "-n", "3"],
            [*TRACEBACK, "the disk is slow", "ended"],
        ),
        (["-n", "1"], ["ended"]),
        (["-n", "0"], []),
        (["--since", "2026-06-01T12:02:30Z"], ["the disk is slow", "ended"]),
        (["--service", "home_assistant"], []),
    ],
)
def test_what_was_asked_for_is_shown_and_a_traceback_stays_with_its_line(
    data: Path, options: list[str], expected: list[str]
) -> None:
    write(data)
    assert texts(*options) == expected


def test_a_misspelt_service_is_refused_with_the_nearest_name(data: Path) -> None:
    write(data)
    result = shown("--service", "storge")
    assert result.exit_code == 2
    assert "there is no service 'storge'; did you mean storage?" in result.output


def test_a_search_without_a_result_is_reported_on_standard_error(data: Path) -> None:
    write(data, STORY[:2])
    result = shown("--level", "warning")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert result.stderr == f"there is no such line in {data / 'node.log'}\n"


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3))), st.integers(0, 9))
def test_the_last_messages_are_whole(messages: list[tuple[str, int]], most: int) -> None:
    made = [logs.lines(NOON, "INFO", service, "x\n" * (more + 1)) for service, more in messages]
    assert last([line for lines in made for line in lines], most) == [
        line for lines in made[max(0, len(made) - most) :] for line in lines
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-06-01T12:00:00+02:00", NOW),
    ],
)
def test_a_time_may_be_written_as_people_do(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


def test_a_time_of_today_and_a_day_are_local() -> None:
    now = datetime.now().astimezone()
    for text in ("7:05", "07:05", "07:05:00"):
        assert moment(text, now) == now.replace(hour=7, minute=5, second=0, microsecond=0)
    assert moment("2026-01-02", now) == datetime.fromisoformat("2026-01-02T00:00").astimezone()
    result = shown("--since", "yesterday")
    assert result.exit_code == 2
    assert "'yesterday' is no time: expected 15m, 2h" in result.output


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(40, 200), st.integers(1, 4))
def test_a_log_is_bounded_and_keeps_the_newest_lines_whole(lengths: list[int], size: int, older: int) -> None:
    written = [f"{number}{'x' * length}" for number, length in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = LogFile(folder / "log", size, older)
        for line in written:
            file.write(line)
        file.close()
        files = [path for number in range(older + 3) if (path := numbered(folder / "log", number)).exists()]
        assert len(files) <= older + 1
        assert all(path.stat().st_size <= max(size, 70) for path in files)
        kept = [line for path in reversed(files) for line in path.read_text().splitlines()]
        assert kept == written[len(written) - len(kept) :]
        assert kept[-1:] == written[-1:]


def test_a_line_that_a_power_cut_tore_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    path.write_text(f"{STORY[0]}\n{str(STORY[1])[:30]}")
    file = LogFile(path)
    file.write(str(STORY[4]))
    file.close()
    assert list(LogReader(path).lines()) == [STORY[0], STORY[4]]


def test_a_reader_follows_through_new_files_and_misses_nothing(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "node.log", size=200)
    reader = LogReader(tmp_path / "node.log")
    written, read = [], []
    for number in range(50):
        written += logs.lines(NOON, "INFO", "api", f"message {number}\nand more")
        for line in written[-2:]:
            file.write(str(line))
        if number % 3 == 0:
            read += list(reader.lines())
    file.close()
    assert read + list(reader.lines()) == written


def test_a_node_that_never_ran_and_one_in_containers_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for options in ([], ["--config", "config.toml"]):
        (tmp_path / "config.toml").touch()
        result = shown(*options)
        assert result.exit_code == 1
        assert "run `docker compose logs --follow SERVICE`" in result.stderr
    assert shown("--config", "none.toml").stderr == "none.toml: No such file or directory\n"


def test_the_log_is_found_by_configuration_by_folder_and_from_everywhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a node that has ended, with a configuration that is broken now."""
    write(data)
    config = tmp_path / "mine.toml"
    config.write_text("[node]\n")
    node_config.note_start(data, config)
    node_config.note_stop(data)
    assert texts("-n", "1") == ["ended"]
    assert texts("-n", "1", "--config", "mine.toml") == ["ended"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert texts("-n", "1") == ["ended"]
    config.write_text("[node")
    assert texts("-n", "1", "--config", str(config)) == ["ended"]
    (tmp_path / "elsewhere/config.toml").write_text("")  # of another node
    assert shown().exit_code == 1
