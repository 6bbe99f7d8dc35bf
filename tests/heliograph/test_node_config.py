import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliograph import node_config


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(node_config, "CONTAINER_CONFIG", tmp_path / "container.toml")
    return folder


@contextmanager
def started(data: Path, source: Path | None = None) -> Iterator[Path]:
    """What `heliograph start` leaves in its data folder, while a process with its command line runs."""
    (data / "run").mkdir(parents=True)
    completed = data / "run/config.toml"
    completed.touch()
    node_config.note_start(data, source)
    command = [sys.executable, "-c", "print(flush=True); input()", "start"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # its command line is to be seen from then on
        (data / "run/pid").write_text(str(process.pid))
        yield completed
        process.terminate()


def test_without_any_node_there_is_no_configuration(here: Path) -> None:
    assert node_config.find() is None
    assert node_config.find(here / "mine.toml") == here / "mine.toml"


def test_a_node_that_runs_is_found_beside_its_data_and_from_everywhere(here: Path, tmp_path: Path) -> None:
    """Case N6: its ports and passwords are in what was made of the configuration."""
    with started(here / "data") as completed:
        assert node_config.find() == Path("data/run/config.toml")
    with started(tmp_path / "elsewhere/data") as completed:
        (here / "data/run/config.toml").unlink()
        assert node_config.find() == completed


def test_a_configuration_stands_for_the_node_that_runs_with_it(here: Path, tmp_path: Path) -> None:
    config = here / "config.toml"
    config.write_text('[node]\nname = "roof"\n')
    assert node_config.find() == Path("config.toml")
    with started(here / "data", config) as completed:
        for chosen in (None, Path("config.toml"), config):
            path = node_config.find(chosen)
            assert path
            assert path.resolve() == completed
        assert node_config.find(here / "other.toml") == here / "other.toml"
        (here / "other.toml").write_text("")
        assert node_config.find(here / "other.toml") == here / "other.toml"
    assert node_config.find() == Path("config.toml")
    with started(tmp_path / "card/data", config) as completed:  # --data on the command line
        assert node_config.find() == completed
    node_config.note_stop(tmp_path / "card/data")
    assert node_config.find() == Path("config.toml")


def test_another_process_of_the_noted_number_is_no_node(here: Path) -> None:
    config = here / "config.toml"
    config.touch()
    with started(here / "data", config):
        (here / "data/run/pid").write_text("1")
        assert node_config.find() == Path("config.toml")
        (here / "data/run/pid").write_text("x")
        assert node_config.find() == Path("config.toml")


def test_a_container_has_its_configuration_in_one_place(here: Path, tmp_path: Path) -> None:
    (tmp_path / "container.toml").touch()
    assert node_config.find() == tmp_path / "container.toml"
    (here / "config.toml").touch()
    assert node_config.find() == Path("config.toml")


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with started(tmp_path / "data"):
        assert node_config.find() is None
