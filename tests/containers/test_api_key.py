import stat
import subprocess
import sys
from pathlib import Path

from services.api.ingest.keys import digest, parse_hash


def make(folder: Path) -> str:
    command = [sys.executable, "-m", "cli.secrets", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def key(folder: Path) -> str:
    return (folder / "api.key").read_text().strip()


def is_hashed(folder: Path) -> bool:
    return parse_hash((folder / "api.keyhash").read_text().strip()).is_of(digest(key(folder)))


def test_a_key_is_made_whose_hash_the_api_reads(tmp_path: Path) -> None:
    stderr = make(tmp_path)
    assert len(key(tmp_path)) == 32
    assert is_hashed(tmp_path)
    assert key(tmp_path) not in stderr
    assert stat.S_IMODE((tmp_path / "api.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "api.keyhash").stat().st_mode) == 0o644
    assert "api.key" not in (tmp_path / "broker/passwords").read_text()


def test_a_hash_is_made_again_when_it_is_of_another_key(tmp_path: Path) -> None:
    make(tmp_path)
    first, hashed = key(tmp_path), (tmp_path / "api.keyhash").read_text()
    make(tmp_path)
    assert (key(tmp_path), (tmp_path / "api.keyhash").read_text()) == (first, hashed)
    (tmp_path / "api.key").unlink()
    make(tmp_path)
    assert key(tmp_path) != first
    assert is_hashed(tmp_path)
    (tmp_path / "api.keyhash").write_text("nonsense")
    make(tmp_path)
    assert is_hashed(tmp_path)
