from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from services.uploader import targets
from services.uploader.target import Answer, MappedChannel, Row, TargetContext, TryLater
from services.uploader.targets import file
from services.uploader.targets.file import FileTarget
from tests.uploader.engine.fakes import Engine, FakeTarget, MemoryStore

NOON = 1_763_640_000.0
POWER = MappedChannel("pi", "meter", "power", "W", "gauge", "power")
MODE = MappedChannel("pi", "meter", "mode", "", "text", "mode")
Open = Callable[..., FileTarget]


@pytest.fixture
def open_files(tmp_path: Path) -> Open:
    def make(**options: object) -> FileTarget:
        chosen = targets.parse_options({"kind": "file", "name": "out", "folder": str(tmp_path / "files"), **options})
        assert isinstance(chosen, file.Options)
        return chosen.open(TargetContext("pi", tmp_path / "home", lambda: ()))

    return make


def row(moment: float, power: float = 1.5, mode: str = "sun") -> Row:
    return Row(moment, (POWER, MODE), (power, mode))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_csv_has_a_value_per_line_and_a_file_per_day(open_files: Open, tmp_path: Path) -> None:
    files = open_files()
    files.upload([row(NOON, mode='rain, "heavy"'), row(NOON + 86_400)])
    files.upload([row(NOON + 0.5)])
    assert names(tmp_path / "files") == ["out-2025-11-20.csv", "out-2025-11-21.csv"]
    assert (tmp_path / "files/out-2025-11-20.csv").read_text().splitlines() == [
        "time,node,device,name,value,unit",
        "2025-11-20T12:00:00.000Z,pi,meter,power,1.5,W",
        '2025-11-20T12:00:00.000Z,pi,meter,mode,"rain, ""heavy""",',
        "2025-11-20T12:00:00.500Z,pi,meter,power,1.5,W",
        "2025-11-20T12:00:00.500Z,pi,meter,mode,sun,",
    ]
    assert files.newest() == NOON + 86_400


def test_a_value_in_a_cell_is_written_as_an_export_does(open_files: Open, tmp_path: Path) -> None:
    files = open_files()
    values = (True, False, "=1+1", 2)
    channels = tuple(MODE._replace(name=f"c{number}") for number in range(len(values)))
    files.upload([Row(NOON, channels, values)])
    lines = (tmp_path / "files/out-2025-11-20.csv").read_text().splitlines()[1:]
    assert [line.split(",")[4] for line in lines] == ["true", "false", "'=1+1", "2"]


def test_line_protocol_has_a_line_per_device(open_files: Open, tmp_path: Path) -> None:
    files = open_files(format="lines", rotate="month")
    files.upload([row(NOON)])
    text = (tmp_path / "files/out-2025-11.lp").read_text()
    assert text == f'meter,node=pi power=1.5,mode="sun" {round(NOON * 1000)}\n'
    assert files.newest() == NOON


def test_old_files_go_when_there_are_more_than_are_kept(open_files: Open, tmp_path: Path) -> None:
    files = open_files(max_files=2)
    files.upload([row(NOON + day * 86_400) for day in range(4)])
    assert names(tmp_path / "files") == ["out-2025-11-22.csv", "out-2025-11-23.csv"]


def test_a_batch_that_was_not_finished_is_taken_back(open_files: Open, tmp_path: Path) -> None:
    open_files().upload([row(NOON)])
    path = tmp_path / "files/out-2025-11-20.csv"
    whole = path.read_bytes()
    (tmp_path / "files/.out.sizes").write_text(f'{{"{path.name}":{len(whole)},"out-2025-11-21.csv":0}}')
    path.write_bytes(whole + b"2025-11-20T12:00:01.000Z,pi,me")
    (tmp_path / "files/out-2025-11-21.csv").write_text("half")
    files = open_files()
    assert files.newest() == NOON
    files.upload([row(NOON + 1)])
    assert path.read_bytes().startswith(whole)
    assert path.read_text().splitlines()[3] == "2025-11-20T12:00:01.000Z,pi,meter,power,1.5,W"
    assert not (tmp_path / "files/.out.sizes").exists()


def test_a_note_of_sizes_that_is_torn_was_never_finished(open_files: Open, tmp_path: Path) -> None:
    open_files().upload([row(NOON)])
    (tmp_path / "files/.out.sizes").write_text('{"out-2025-11')
    assert open_files().newest() == NOON


def test_a_disk_that_refuses_is_waited_for(open_files: Open, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(TryLater, match="files"):
        open_files().upload([row(NOON)])
    (tmp_path / "files").unlink()
    open_files().upload([row(NOON)])


def test_without_a_folder_the_files_are_in_the_targets_home(tmp_path: Path) -> None:
    options = file.Options(name="out")
    options.open(TargetContext("pi", tmp_path / "home", lambda: ())).upload([row(NOON)])
    assert names(tmp_path / "home") == ["out-2025-11-20.csv"]


class Forgetful(FakeTarget):
    """Files after which the process ends before it can note that they were written."""

    def __init__(self, files: FileTarget) -> None:
        super().__init__(files.limits._replace(rows=7))
        self._files = files
        self.crashes = 0

    def upload(self, rows: Sequence[Row]) -> Answer:
        answer = self._files.upload(rows)
        self.crashes += 1
        if self.crashes % 2:
            raise RuntimeError("the process ends here")
        return answer

    def newest(self) -> float | None:
        return self._files.newest()


def test_after_crashes_every_reading_is_there_once(open_files: Open, tmp_path: Path) -> None:
    store = MemoryStore()
    for index in range(60):
        store.arrive(NOON + index, {"power": float(index)})
    engine = Engine(tmp_path, store, Forgetful(open_files()))
    try:
        for _ in range(100):
            try:
                engine.run()
            except RuntimeError:
                engine.restart()
    finally:
        engine.close()
    lines = (tmp_path / "files/out-2025-11-20.csv").read_text().splitlines()[1:]
    assert [line.split(",")[4] for line in lines] == [str(float(index)) for index in range(60)]
