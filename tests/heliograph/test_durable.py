import os
from pathlib import Path

import pytest

from heliograph import durable


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None]]:
    """The synced names in order, each with the content of the file under its final name at that time."""
    calls: list[tuple[str, str | None]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        final = tmp_path / "folder/state.json"
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append((path.name, final.read_text() if final.exists() else None))

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def test_a_file_is_on_the_disk_before_it_replaces_another_and_its_name_thereafter(
    tmp_path: Path, synced: list[tuple[str, str | None]]
) -> None:
    path = tmp_path / "folder/state.json"
    durable.write(path, b"old")
    durable.write(path, b"new")
    assert synced == [("state.json.partial", None), ("folder", "old"), ("state.json.partial", "old"), ("folder", "new")]
    assert [one.name for one in path.parent.iterdir()] == ["state.json"]


def test_files_of_like_names_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    (tmp_path / "state.toml.partial").write_text("of another")
    durable.write(tmp_path / "state.json", b"{}")
    assert (tmp_path / "state.toml.partial").read_text() == "of another"


def test_a_disk_that_refuses_leaves_the_old_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "state.json"
    durable.write(path, b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    durable.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_was_changed_in_place_can_be_synced_too(
    tmp_path: Path, synced: list[tuple[str, str | None]]
) -> None:
    (tmp_path / "file").write_bytes(b"1")
    durable.sync(tmp_path / "file")
    durable.sync(tmp_path)
    assert [name for name, _ in synced] == ["file", tmp_path.name]


def test_a_missing_file_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.sync(tmp_path / "nothing")
