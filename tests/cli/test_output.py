import errno
import logging
from datetime import datetime
from pathlib import Path

import click
import pytest

from cli.start.log_file import LogFile
from cli.start.output import LogOutput, ProcessOutput, coloured
from heliograph import logs

LINE = "2026-06-01T12:00:05+02:00 WARNING storage: the disk is full"


def chunks(output: ProcessOutput, *texts: bytes) -> None:
    for text in texts:
        output({"data": text})


def test_a_line_is_shown_and_kept_as_the_process_wrote_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = LogOutput(LogFile(tmp_path / "log"))
    stream = ProcessOutput("storage", output, is_error=True)
    chunks(stream, LINE[:20].encode(), f"{LINE[20:]}\n{LINE}".encode())
    assert capsys.readouterr().out == f"{LINE}\n"
    stream.close()
    output.close()
    assert (tmp_path / "log").read_text() == f"{LINE}\n{LINE}\n"


@pytest.mark.parametrize(
    ("name", "is_error", "text", "level"),
    [
        ("broker", True, "Error: Address already in use", "ERROR"),
        ("broker", True, "Warning: a port", "WARNING"),
        ("broker", True, "Warning: Mosquitto should not be run as root/administrator.", "INFO"),
        ("broker", True, "mosquitto version 2.0.21 starting", "INFO"),
        ("storage", True, "Fatal Python error: Segmentation fault", "ERROR"),
        ("simulator", False, "hello", "INFO"),
    ],
)
def test_a_line_that_is_not_ours_gets_the_time_and_a_level(
    name: str, is_error: bool, text: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks(ProcessOutput(name, LogOutput(), is_error=is_error), f"{text}\n\n".encode())
    (line,) = [logs.parsed(line) for line in capsys.readouterr().out.splitlines()]
    assert line
    assert (line.service, line.level, line.text) == (name, level, text)
    assert abs((datetime.now().astimezone() - line.time).total_seconds()) < 100


def test_a_terminal_shows_what_is_alarming_in_colour() -> None:
    line = logs.parsed(LINE)
    assert line
    shown = coloured(line, "cyan")
    assert click.unstyle(shown) == LINE
    assert click.style("WARNING", fg="yellow", bold=True) in shown
    assert click.style("storage", fg="cyan") in shown


class FullDisk(LogFile):
    """Refuses lines while it is full."""

    is_full = False

    def write(self, line: str) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(line)


def test_a_full_disk_is_reported_once_and_so_is_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FullDisk(tmp_path / "log")
    output = LogOutput(file)
    line = logs.parsed(LINE)
    for file.is_full in (True, True, True, False, False):
        output.put(line)
    output.close()
    shown = capsys.readouterr().out
    assert shown.count("the disk is full") == 5
    assert shown.count("supervisor: what is logged cannot be kept, only shown: ") == 1
    assert "supervisor: what is logged is kept again; 3 lines are missing in the file" in shown
    assert (tmp_path / "log").read_text().count("the disk is full") == 2


def test_what_the_supervisor_logs_is_a_line_like_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.Logger("mine")
    log.addHandler(LogOutput())
    log.warning("storage %s", "has ended")
    line = logs.parsed(capsys.readouterr().out.rstrip())
    assert line
    assert (line.service, line.level, line.text) == ("supervisor", "WARNING", "storage has ended")
