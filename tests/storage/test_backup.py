import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from heliograph import store
from heliograph.errors import StoreDamaged
from heliograph.messages import Block, Value
from heliograph.store.interface import Progress
from heliograph.store.writer import SqliteWriter
from services.storage.cli.main import main
from services.storage.maintenance import backup, files, staging
from services.storage.maintenance.encryption import PART_BYTES, Encryption, WrongPassphrase
from tests.storage.stores import command, difference, done, everything, make, progress, settle

T = 1_763_633_000.0
Points = dict[str, list[tuple[float, Value]]]


@pytest.fixture(scope="module")
def three_years(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Points]:
    """Makes a data folder whose store has 2023, 2024 and 2025, sealed, and returns its points."""
    made = tmp_path_factory.mktemp("three_years") / "data"
    chance = random.Random(7)
    for year in (2023, 2024, 2025):
        start = datetime(year, 3, 1, tzinfo=UTC).timestamp()
        make(made, [Block("meter", ("power",), [[start + n * 60, chance.random()] for n in range(3000)])])
    settle(made)

    def copied(data: Path) -> Points:
        shutil.copytree(made, data)
        return everything(data)

    return copied


def rows(start: int, count: int) -> list[Block]:
    return [Block("meter", ("power", "on"), [[T + i, i / 7, i % 2 == 0] for i in range(start, start + count)])]


def advance(_: int) -> None:
    pass


def test_a_backup_is_restored_as_it_was(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 5_000), progress={("roof/poller", "e1"): Progress(17, 3)})
    before = everything(data)
    assert "is a whole backup" in done("backup", folder, "--data", data)
    make(data, rows(5_000, 100))
    assert "restored" in done("restore", folder, "--data", tmp_path / "new")
    assert difference(everything(tmp_path / "new"), before) is None
    assert progress(tmp_path / "new") == {("roof/poller", "e1"): Progress(17, 3)}
    result = command("restore", folder, "--data", data)
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert len(everything(data)["roof/meter/power"]) == 5_100
    assert "what was there is in" in done("restore", folder, "--data", data, "--force")
    assert difference(everything(data), before) is None
    make(data, rows(5_000, 100))
    assert len(everything(data)["roof/meter/power"]) == 5_100
    assert not list(folder.glob("*.partial*"))
    assert not list((data / "store").glob("*.partial*"))


def test_a_reader_of_arrivals_misses_nothing_that_arrives_after_a_restore(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 100))
    done("backup", folder, "--data", data)
    make(data, rows(100, 1_000))
    settle(data)
    with closing(store.open_reader(data)) as reader:
        cursor = reader.since(0, 10_000)[-1].cursor
    done("restore", folder, "--data", data, "--force")
    make(data, rows(100, 5))
    with closing(store.open_reader(data)) as reader:
        assert [arrival.time for arrival in reader.since(cursor, 100)] == [T + i for i in range(100, 105)]


def test_what_was_sealed_between_the_copies_of_two_files_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 3_000))
    make(data, [Block("meter", ("power",), [[T, 1.0]])])
    before = everything(data)
    steps = 0

    def seal_in_between(_: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 1:  # hot.db has just been copied
            make(data, [Block("meter", ("power",), [[T + 1, 2.0], [T - 5, 3.0]])])
            settle(data)

    backup.back_up(store.folder(data), folder, seal_in_between)
    done("restore", folder, "--data", tmp_path / "new")
    points = everything(tmp_path / "new")
    assert points["roof/meter/on"] == before["roof/meter/on"]
    assert [at for at, _ in points["roof/meter/power"]][-3_000:] == [T + i for i in range(3_000)]
    make(tmp_path / "new", [Block("meter", ("power",), [[T + 1, 9.0]])])
    settle(tmp_path / "new")
    assert (T + 1, 9.0) in everything(tmp_path / "new")["roof/meter/power"]


def test_damaged_files_and_notes_of_the_old_store_do_not_get_into_the_restored_one(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 100))
    before = everything(data)
    done("backup", folder, "--data", data)
    shutil.copy(store.folder(data) / "hot.db", store.folder(data) / "hot.db.damaged-20260101T000000-7")
    (store.folder(data) / "copy-abc.json").write_text("{}")
    done("restore", folder, "--data", data, "--force")
    assert sorted(path.name for path in store.folder(data).iterdir() if path.is_file()) == [
        "catalog.db",
        "hot.db",
        "lock",
    ]
    settle(data)
    assert difference(everything(data), before) is None


@pytest.mark.parametrize("installed", range(1, 4))
def test_a_store_that_is_half_restored_is_neither_opened_nor_backed_up(
    tmp_path: Path, three_years: Callable[[Path], Points], monkeypatch: pytest.MonkeyPatch, installed: int
) -> None:
    """The power fails after so many files: the backup is the only whole copy, and stays it."""
    data = tmp_path / "data"
    values = three_years(data)
    done("backup", tmp_path / "backup", "--data", data)
    with monkeypatch.context() as patch:
        moves = iter(range(installed))

        def move(path: Path, target: Path) -> Path:
            if target.parent == data / "store" and target.suffix == ".db" and next(moves, None) is None:
                raise OSError(5, "Input/output error")
            return rename(path, target)

        rename = Path.replace
        patch.setattr(Path, "replace", move)
        assert command("restore", tmp_path / "backup", "--data", data, "--force").exit_code == 1
    for arguments in (("backup", tmp_path / "backup", "--incremental"), ("salvage",)):
        refused = command(*arguments, "--data", data)
        assert refused.exit_code == 1
        assert "a restore was interrupted; run it again" in refused.stderr
    with pytest.raises(StoreDamaged, match="a restore was interrupted; run it again"):
        store.open_writer(data)
    done("restore", tmp_path / "backup", "--data", data)
    assert everything(data) == values
    store.open_writer(data).close()


def test_nothing_is_restored_while_storage_runs(tmp_path: Path) -> None:
    make(tmp_path / "data", rows(0, 10))
    done("backup", tmp_path / "backup", "--data", tmp_path / "data")
    with closing(store.open_writer(tmp_path / "data")):
        result = command("restore", tmp_path / "backup", "--data", tmp_path / "data", "--force")
    assert result.exit_code == 1
    assert "docker compose stop storage" in result.stderr
    assert len(everything(tmp_path / "data")["roof/meter/power"]) == 10


def test_backups_while_storage_writes_hold_all_that_was_committed_before_and_no_half_reading(tmp_path: Path) -> None:
    data = tmp_path / "data"
    stop = threading.Event()
    committed = 0

    def work() -> None:
        nonlocal committed
        generator = random.Random(1)
        with closing(store.open_writer(data)) as writer:
            started.set()
            while not stop.is_set():
                count = generator.randrange(1, 400)
                assert writer.write("roof", rows(committed, count)) == []
                writer.commit({("roof/poller", "e"): Progress(committed + count, 0)})
                committed += count
                writer.maintain()

    started = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(30)
        for number in range(5):
            at_least = committed
            while committed == at_least:
                time.sleep(0.001)
            at_least = committed
            folder = tmp_path / f"backup{number}"
            done_now = backup.back_up(store.folder(data), folder, advance)
            assert all(done_now.copied.values())
            done("restore", folder, "--data", tmp_path / f"restored{number}")
            points = everything(tmp_path / f"restored{number}")
            assert len(points["roof/meter/power"]) >= at_least
            assert [at for at, _ in points["roof/meter/power"]] == [
                T + i for i in range(len(points["roof/meter/power"]))
            ]
            assert len(points["roof/meter/on"]) == len(points["roof/meter/power"])
            # what the producers' watermarks cover must be there
            (mark,) = progress(tmp_path / f"restored{number}").values()
            assert mark.last <= len(points["roof/meter/power"])
    finally:
        stop.set()
        thread.join()


def history(folder: Path, year: int, value: int) -> Path:
    path = folder / f"history-{year}.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        connection.execute("INSERT OR REPLACE INTO meta VALUES('x', ?)", (value,))
        connection.commit()
    return path


def test_an_incremental_backup_leaves_years_that_have_not_changed(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 10))
    years = [history(store.folder(data), year, 1) for year in (2019, 2020, 2021)]
    assert all(backup.back_up(store.folder(data), folder, advance, incremental=True).copied.values())
    history(store.folder(data), 2020, 2)
    years[2].unlink()
    copied = backup.back_up(store.folder(data), folder, advance, incremental=True).copied
    assert copied == {"hot.db": True, "history-2019.db": False, "history-2020.db": True, "catalog.db": True}
    assert not (folder / "history-2021.db").exists()
    with files.read_only(folder / "history-2020.db") as connection:
        assert connection.execute("SELECT value FROM meta WHERE key='x'").fetchone() == (2,)
    assert all(backup.back_up(store.folder(data), folder, advance).copied.values())


def test_a_year_that_changed_only_in_its_journal_is_copied_again(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 10))
    history(store.folder(data), 2019, 1)
    backup.back_up(store.folder(data), folder, advance, incremental=True)
    with closing(sqlite3.connect(store.folder(data) / "history-2019.db")) as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES('x', 5)")
        connection.commit()
        assert backup.back_up(store.folder(data), folder, advance, incremental=True).copied["history-2019.db"]
    with files.read_only(folder / "history-2019.db") as copy:
        assert copy.execute("SELECT value FROM meta WHERE key='x'").fetchone() == (5,)


def test_a_damaged_file_is_never_taken_for_a_backup_and_the_last_good_one_stays(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 5_000))
    done("backup", folder, "--data", data)
    good = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    path = store.folder(data) / "hot.db"
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)
    result = command("backup", folder, "--data", data)
    assert result.exit_code == 1
    assert "hot.db" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == good
    assert command("check", "--data", data).exit_code == 1


def test_what_the_store_has_lost_the_backup_keeps(tmp_path: Path, three_years: Callable[[Path], Points]) -> None:
    """One night after a year was damaged, or has gone, its copy would be replaced, or deleted."""
    data, folder = tmp_path / "data", tmp_path / "backup"
    values = three_years(data)
    done("backup", folder, "--data", data)
    gone, damaged, _ = sorted((data / "store").glob("history-*.db"))
    gone.unlink()
    with closing(sqlite3.connect(damaged)) as connection, connection:
        connection.execute("UPDATE chunk SET v = x'00' WHERE k = (SELECT min(k) FROM chunk)")
    with closing(store.open_writer(data)) as writer:
        assert isinstance(writer, SqliteWriter)
        writer.mend()
    whole = (folder / damaged.name).read_bytes()
    for _ in range(2):
        result = command("backup", folder, "--data", data, "--incremental")
        assert result.exit_code == 0, result.stderr
        assert f"{gone.name}: missing in the store; its copy is kept" in result.stderr
        assert (folder / "before-loss" / damaged.name).read_bytes() == whole
    shutil.copyfile(folder / "before-loss" / damaged.name, folder / damaged.name)
    done("restore", folder, "--data", data, "--force", "--salvage")
    with closing(store.open_writer(data)) as writer:
        assert isinstance(writer, SqliteWriter)
        writer.mend()
    assert everything(data) == values


def test_an_incomplete_backup_is_refused_and_the_store_stays(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    make(data, rows(0, 100))
    done("backup", folder, "--data", data)
    before = everything(data)
    for spoil in (
        lambda: (folder / "hot.db").unlink(),
        lambda: (folder / "hot.db").write_bytes(b"no database at all, but long enough to be looked at" * 100),
        lambda: (folder / "backup.json").write_text("{"),
        lambda: (folder / "backup.json").write_text(
            '{"made": "", "files": {"../evil": {"size": 1, "modified": 1, "journal_size": 0, "journal_modified": 0}}}'
        ),
        lambda: (folder / "backup.json").unlink(),
    ):
        kept = tmp_path / "kept"
        shutil.copytree(folder, kept)
        spoil()
        result = command("restore", folder, "--data", data, "--force")
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert difference(everything(data), before) is None
        shutil.rmtree(folder)
        kept.rename(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def garbage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5000:-4400] = random.Random(3).randbytes(600)
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


SPOILERS = [cut, empty, one_bit, garbage, gone]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_copy_that_is_not_as_it_was_is_made_again(
    tmp_path: Path, three_years: Callable[[Path], Points], spoil: Callable[[Path], None]
) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    before = three_years(data)
    done("backup", folder, "--data", data)
    assert "all files" in done("check", "--backup", folder, "--data", data)
    spoil(folder / "history-2024.db")
    checked = command("check", "--backup", folder, "--data", data)
    assert checked.exit_code == 1
    assert checked.stderr.startswith("history-2024.db: ")
    output = done("backup", folder, "--data", data, "--incremental")
    assert "history-2024.db: copied again: it" in output
    assert "history-2023.db: unchanged" in output
    done("check", "--backup", folder, "--data", data)
    done("restore", folder, "--data", tmp_path / "new")
    assert difference(everything(tmp_path / "new"), before) is None


def test_a_large_backup_is_verified_in_turn_those_years_first_that_were_read_longest_ago(
    tmp_path: Path, three_years: Callable[[Path], Points], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    three_years(data)
    monkeypatch.setattr(backup, "VERIFIED_BYTES", 1)
    done("backup", folder, "--data", data)
    for year in (2023, 2024, 2025):
        one_bit(folder / f"history-{year}.db")
    seen = [done("backup", folder, "--data", data, "--incremental").count("copied again") for _ in range(4)]
    assert seen == [1, 1, 1, 0]
    done("check", "--backup", folder, "--data", data)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_damaged_backup_is_refused_by_name_and_salvaged_on_demand(
    tmp_path: Path, three_years: Callable[[Path], Points], spoil: Callable[[Path], None]
) -> None:
    data, folder, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    before = three_years(data)
    done("backup", folder, "--data", data)
    spoil(folder / "history-2024.db")
    refused = command("restore", folder, "--data", new)
    assert refused.exit_code == 1
    assert "history-2024.db: " in refused.stderr
    assert "--salvage" in refused.stderr
    assert [path.name for path in store.folder(new).iterdir()] == ["lock"]
    salvaged = command("restore", folder, "--data", new, "--salvage")
    assert salvaged.exit_code == 0
    assert "history-2024.db: " in salvaged.stderr
    settle(new)
    points = dict(everything(new)["roof/meter/power"])
    whole = dict(before["roof/meter/power"])
    assert points.items() <= whole.items()
    missing = {datetime.fromtimestamp(at, UTC).year for at in whole.keys() - points.keys()}
    assert missing <= {2024}


def test_a_backup_without_its_names_or_its_newest_readings_is_salvaged(
    tmp_path: Path, three_years: Callable[[Path], Points]
) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    before = three_years(data)
    done("backup", folder, "--data", data)
    for name in ("catalog.db", "hot.db"):
        new = tmp_path / name
        kept = (folder / name).read_bytes()
        one_bit(folder / name)
        assert command("restore", folder, "--data", new).exit_code == 1
        assert command("restore", folder, "--data", new, "--salvage").exit_code == 0
        settle(new)
        assert difference(everything(new), before) is None
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize("moment", ["pending", "half", "done"])
def test_a_backup_that_was_interrupted_anywhere_is_whole(
    tmp_path: Path, three_years: Callable[[Path], Points], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    three_years(data)
    (data / "calculator").mkdir()
    (data / "calculator/checkpoint.json").write_text("1")
    done("backup", folder, "--data", data)
    (data / "calculator/checkpoint.json").write_text("22")
    make(data, rows(0, 100))
    settle(data)
    after = everything(data)
    install = staging.install

    def interrupted(where: Path, names: Iterable[str]) -> None:
        some = sorted(names)
        install(where, {"pending": [], "half": [name for name in some if name != "hot.db"], "done": some}[moment])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(staging, "install", interrupted)
        assert command("backup", folder, "--data", data, "--incremental").exit_code != 0
    done("check", "--backup", folder, "--data", data)
    done("restore", folder, "--data", tmp_path / "new")
    points = everything(tmp_path / "new")
    assert len(points["roof/meter/power"]) in (9_000, 9_100)
    done("backup", folder, "--data", data, "--incremental")
    done("restore", folder, "--data", tmp_path / "newer")
    assert difference(everything(tmp_path / "newer"), after) is None
    assert (tmp_path / "newer/calculator/checkpoint.json").read_text() == "22"


def a_node(data: Path) -> None:
    """What services keep beside the store."""
    (data / "uploader").mkdir(parents=True)
    with closing(sqlite3.connect(data / "uploader/uploader.db")) as db:
        db.execute("CREATE TABLE target(name TEXT, state TEXT)")
        db.execute("INSERT INTO target VALUES('cloud', 'position 7')")
        db.commit()
    for name in (
        "calculator/checkpoint.json",
        "secrets/uploader",
        "outbox/poller/0001",
        "clock/storage/boots.json",
        "run/broker/passwords",
    ):
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text(name)


def test_a_backup_has_what_other_services_keep_and_no_secrets_unless_asked(tmp_path: Path) -> None:
    data, folder, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    make(data, rows(0, 10))
    a_node(data)
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\nname = "roof"\ndata = "{data}"\n')
    output = done("backup", folder, "--config", config)
    assert "Secrets are left out" in output
    names = sorted(str(path.relative_to(folder / "state")) for path in (folder / "state").rglob("*") if path.is_file())
    assert names == ["calculator/checkpoint.json", "config.toml", "uploader/uploader.db"]
    assert (folder / "state/uploader/uploader.db").stat().st_mode & 0o077 == 0
    assert (folder / "state/config.toml").read_text() == config.read_text()
    done("restore", folder, "--data", new)
    with closing(sqlite3.connect(new / "uploader/uploader.db")) as db:
        assert db.execute("SELECT * FROM target").fetchall() == [("cloud", "position 7")]
    assert (new / "calculator/checkpoint.json").read_text() == "calculator/checkpoint.json"
    assert not (new / "config.toml").exists()
    (new / "calculator/checkpoint.json").write_text("newer")
    output = done("restore", folder, "--data", new, "--force")
    assert (new / "calculator/checkpoint.json").read_text() == "calculator/checkpoint.json"
    assert [path.read_text() for path in (new / "calculator").glob("*.before-restore-*")] == ["newer"]
    assert "Secrets are included" in done("backup", folder, "--data", data, "--secrets")
    assert (folder / "state/secrets/uploader").stat().st_mode & 0o077 == 0


SECRET = "correct horse battery"


def test_state_is_encrypted_with_a_pass_phrase_that_restore_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case D23: secrets are left out, or encrypted, and the command says which."""
    data, folder, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    make(data, rows(0, 10))
    a_node(data)
    (data / "uploader/large.csv").write_bytes(b"position 7\n" * 200_000)
    config, passphrase = tmp_path / "config.toml", tmp_path / "passphrase"
    config.write_text(f'[node]\nname = "roof"\ndata = "{data}"\n')
    passphrase.write_text(f"{SECRET}\n")
    output = done("backup", folder, "--config", config, "--passphrase-file", passphrase)
    assert "included, and encrypted" in output
    state = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(folder / "state")) for path in state) == [
        "calculator/checkpoint.json.encrypted",
        "config.toml.encrypted",
        "secrets/uploader.encrypted",
        "uploader/large.csv.encrypted",
        "uploader/uploader.db.encrypted",
    ]
    plain = (b"position", b'name = "roof"')  # a short word alone is in base64 by chance
    assert not [path for path in state if any(text in path.read_bytes() for text in plain)]
    assert "sound" in done("check", "--backup", folder, "--data", data)
    monkeypatch.setenv("HELIOGRAPH_PASSPHRASE", "another pass phrase")
    refused = command("restore", folder, "--data", new)
    assert refused.exit_code == 1
    assert "the pass phrase does not open" in refused.stderr
    assert not list((new / "store").glob("*.db"))
    monkeypatch.setenv("HELIOGRAPH_PASSPHRASE", SECRET)
    done("restore", folder, "--data", new)
    for name in ("calculator/checkpoint.json", "secrets/uploader", "uploader/large.csv"):
        assert (new / name).read_bytes() == (data / name).read_bytes()
    assert (new / "secrets/uploader").stat().st_mode & 0o077 == 0
    assert (new / "config.toml.from-backup").read_text() == config.read_text()
    with closing(sqlite3.connect(new / "uploader/uploader.db")) as db:
        assert db.execute("SELECT * FROM target").fetchall() == [("cloud", "position 7")]
    assert everything(new) == everything(data)
    again = command("backup", folder, "--data", data)
    assert f"{folder}/state was encrypted, and is plain now: to have it encrypted again, give --encrypt" in again.stderr
    assert not list((folder / "state").rglob("*.encrypted"))
    assert command("backup", folder, "--data", data).stderr == ""


def test_a_pass_phrase_is_asked_for_twice_and_is_not_short(tmp_path: Path) -> None:
    make(tmp_path / "data", rows(0, 10))
    a_node(tmp_path / "data")
    arguments = ["backup", str(tmp_path / "backup"), "--data", str(tmp_path / "data"), "--encrypt"]
    short = CliRunner().invoke(main, arguments, input="short\nshort\n")
    assert "12 characters" in short.stderr
    assert not (tmp_path / "backup").exists()
    by_night = CliRunner().invoke(main, arguments)
    assert "--passphrase-file FILE, or HELIOGRAPH_PASSPHRASE" in by_night.stderr
    assert CliRunner().invoke(main, arguments, input=f"{SECRET}\n{SECRET}\n").exit_code == 0
    restored = CliRunner().invoke(
        main, ["restore", str(tmp_path / "backup"), "--data", str(tmp_path / "new")], input=f"{SECRET}\n"
    )
    assert restored.exit_code == 0
    assert (tmp_path / "new/secrets/uploader").read_text() == "secrets/uploader"


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_what_was_encrypted_is_the_same_and_nothing_of_it_can_be_left_out(tmp_path: Path, size: int) -> None:
    plain, encrypted, again = tmp_path / "plain", tmp_path / "encrypted", tmp_path / "again"
    plain.write_bytes(random.Random(size).randbytes(size))
    opener = Encryption(SECRET)
    with plain.open("rb") as file:
        opener.encrypt(file, encrypted, "plain")
    Encryption(SECRET).decrypt(encrypted, again, "plain")
    assert again.read_bytes() == plain.read_bytes()
    head, *parts = encrypted.read_bytes().splitlines(keepends=True)
    wrong = [head, b"", encrypted.read_bytes()[:-9], b"".join([head, *parts, parts[-1]]), plain.read_bytes()]
    if len(parts) > 1:
        wrong += [b"".join([head, *parts[1:]]), b"".join([head, *parts[:-1]]), b"".join([head, parts[1], parts[0]])]
    for content in wrong:
        encrypted.write_bytes(content)
        with pytest.raises(WrongPassphrase):
            opener.check(encrypted, "plain")
    encrypted.write_bytes(b"".join([head, *parts]))
    with pytest.raises(WrongPassphrase):
        opener.check(encrypted, "other")


def test_volumes_of_containers_get_the_files_of_their_service(tmp_path: Path) -> None:
    data, folder, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    make(data, rows(0, 10))
    volumes = tmp_path / "volumes"
    a_node(volumes / "uploader")
    done("backup", folder, "--data", data, "--state", volumes / "uploader")
    for name in ("uploader", "calculator"):
        (tmp_path / "there" / name).mkdir(parents=True)
    there = [str(tmp_path / "there" / name) for name in ("uploader", "calculator")]
    output = done("restore", folder, "--data", new, "--state", there[0], "--state", there[1])
    assert "uploader/uploader.db: put back" in output
    names = sorted(str(p.relative_to(tmp_path / "there")) for p in (tmp_path / "there").rglob("*") if p.is_file())
    assert names == ["calculator/calculator/checkpoint.json", "uploader/uploader/uploader.db"]
    output = done("restore", folder, "--data", tmp_path / "other", "--state", there[0])
    assert "uploader/uploader.db: there already" in output


def test_a_backup_in_the_data_folder_is_not_part_of_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make(data, rows(0, 10))
    a_node(data)
    for _ in range(3):
        done("backup", data / "backup", "--data", data)
    assert not (data / "backup/state/backup").exists()


def test_without_a_store_there_is_no_backup(tmp_path: Path) -> None:
    result = command("backup", tmp_path / "backup", "--data", tmp_path)
    assert result.exit_code == 1
    assert "there is no store" in result.stderr


def test_a_backup_on_a_full_disk_is_explained(tmp_path: Path) -> None:
    make(tmp_path / "data", rows(0, 50_000))
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from services.storage.cli.main import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "backup", str(tmp_path / "backup"), "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "the disk refuses" in result.stderr
    assert not list((tmp_path / "backup").glob("*"))


@pytest.mark.parametrize("arguments", [("backup", "b"), ("restore", ".")])
def test_a_database_is_backed_up_by_its_own_tools(arguments: tuple[str, ...]) -> None:
    result = command(*arguments, "--url", "postgresql://user:secret@127.0.0.1:1/db")
    assert result.exit_code == 1
    assert "pg_dump" in result.stderr
    assert "secret" not in result.output
