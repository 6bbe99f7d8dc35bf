"""Readings from before a rename that come after it, from an outbox or after a restore: they belong to the new name."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from heliograph import renames, store
from heliograph.bus import Message
from heliograph.messages import Block, Frame, encode
from heliograph.renames import Rename, Renames
from heliograph.store import open_writer
from services.storage.journal import JournalWriter
from services.storage.late_names import LateNames
from tests.storage.stores import command, done, everything, make
from tests.storage.test_storage import JOURNAL, FakeService

T = 1_763_633_000.0


def receive(data: Path, *blocks: Block) -> None:
    writer = open_writer(data)
    journal = JournalWriter(FakeService(data), writer, 1.0)  # type: ignore[arg-type]
    journal.write(Message(JOURNAL, encode(Frame(list(blocks))), False, lambda: None))
    journal.commit()
    writer.close()


def test_what_waited_in_an_outbox_while_its_device_was_renamed_has_the_new_name(tmp_path: Path) -> None:
    make(tmp_path, [Block("meter", ("power",), [[T, 1.0]])], node="pi")
    done("rename", "device", "pi/meter", "pi/main", "--data", tmp_path)
    done("rename", "channel", "pi/main/power", "pi/main/watt", "--data", tmp_path)
    receive(tmp_path, Block("meter", ("power", "energy"), [[T + 60, 2.0, 5.0], [T + 120, 3.0, 6.0]]))
    assert everything(tmp_path) == {
        "pi/main/watt": [(T, 1.0), (T + 60, 2.0), (T + 120, 3.0)],
        "pi/main/energy": [(T + 60, 5.0), (T + 120, 6.0)],
    }


def test_what_takes_a_name_that_was_given_up_keeps_it(tmp_path: Path) -> None:
    late = LateNames(Renames([Rename("pi/meter", "pi/main", at=T), Rename("pi/other", "pi/meter", at=T + 100)]))
    rows = [[time, 1.0] for time in (T - 1, T + 1, T + 99, T + 101)]
    assert late.present("pi", [Block("meter", ("power",), rows)]) == [
        Block("main", ("power",), rows[:1]),
        Block("meter", ("power",), rows[1:]),
    ]
    assert late.present("pi", [Block("other", ("power",), rows)]) == [
        Block("meter", ("power",), rows[:3]),
        Block("other", ("power",), rows[3:]),
    ]


def test_a_node_that_was_renamed_later_hides_no_rename_of_its_devices() -> None:
    late = LateNames(Renames([Rename("alpha/meter", "alpha/main", at=T), Rename("alpha", "pi", at=T + 100)]))
    block = Block("meter", ("power",), [[T - 1, 1.0]])
    assert late.present("pi", [block]) == [Block("main", ("power",), [[T - 1, 1.0]])]
    assert late.present("shed", [block]) == [block]


def test_without_its_time_a_rename_changes_no_reading_and_two_channels_never_become_one() -> None:
    block = Block("meter", ("power", "watt"), [[T, 1.0, 2.0], [None, 1.0, 2.0], []])
    for entry in (Rename("pi/meter", "pi/main"), Rename("pi/meter/power", "pi/meter/watt", at=T + 1)):
        assert [row for one in LateNames(Renames([entry])).present("pi", [block]) for row in one.rows] == block.rows
        assert {one.channels for one in LateNames(Renames([entry])).present("pi", [block])} == {block.channels}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=5),
    st.lists(st.integers(0, 6), max_size=8),
    st.sampled_from("abc"),
)
def test_a_reading_gets_the_name_that_its_device_has_after_all_later_renames(
    steps: list[tuple[str, str]], times: list[int], device: str
) -> None:
    entries = [Rename(f"pi/{old}", f"pi/{new}", at=n + 1.0) for n, (old, new) in enumerate(steps) if old != new]
    expected = []
    for time in times:
        name = device
        for entry in entries:
            if entry.at > time and entry.old == f"pi/{name}":
                name = entry.new.removeprefix("pi/")
        expected.append((name, time))
    blocks = LateNames(Renames(entries)).present("pi", [Block(device, ("p",), [[float(time), 1.0] for time in times])])
    assert [(block.device, int(row[0])) for block in blocks for row in block.rows] == expected


def test_a_restore_does_once_more_what_was_renamed_after_the_backup(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    make(data, [Block("meter", ("power",), [[T, 1.0]])], node="pi")
    done("backup", backup, "--data", data)
    make(data, [Block("late", ("power",), [[T, 9.0]])], node="pi")
    done("rename", "device", "pi/meter", "pi/main", "--data", data)
    done("rename", "device", "pi/late", "pi/new", "--data", data)  # there was none when the backup was made
    entries = renames.decode((data / "home_assistant" / renames.FILE).read_bytes()).entries
    assert "pi/meter is pi/main again" in done("restore", backup, "--force", "--data", data)
    receive(data, Block("late", ("power",), [[T, 9.0]]), Block("meter", ("power",), [[T + 60, 2.0]]))
    assert everything(data) == {"pi/main/power": [(T, 1.0), (T + 60, 2.0)], "pi/new/power": [(T, 9.0)]}
    again = renames.decode((data / "home_assistant" / renames.FILE).read_bytes()).entries
    assert [(one, one.at) for one in again] == [(one, one.at) for one in entries]
    done("restore", backup, "--force", "--old-names", "--data", data)
    assert everything(data) == {"pi/meter/power": [(T, 1.0)]}


def test_on_a_new_card_the_folder_of_home_assistant_tells_the_renames(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    make(data, [Block("meter", ("power",), [[T, 1.0]])], node="pi")
    done("backup", backup, "--data", data)
    done("rename", "device", "pi/meter", "pi/main", "--data", data)
    store.folder(data).rename(tmp_path / "lost")
    assert "pi/meter is pi/main again" in done("restore", backup, "--data", data)
    assert everything(data) == {"pi/main/power": [(T, 1.0)]}


def test_a_rename_that_cannot_be_done_once_more_is_reported(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    make(data, [Block("meter", ("power", "mode"), [[T, 1.0, "on"]])], node="pi")
    done("backup", backup, "--data", data)
    done("rename", "channel", "pi/meter/mode", "pi/meter/state", "--data", data)
    done("rename", "channel", "pi/meter/power", "pi/meter/mode", "--data", data)
    path = data / "home_assistant" / renames.FILE
    path.write_text(renames.encode(Renames([Rename("pi/meter/power", "pi/meter/mode", at=T)])))
    store.folder(data).rename(tmp_path / "lost")
    result = command("restore", backup, "--data", data)
    assert result.exit_code == 0
    assert (
        "the rename of pi/meter/power to pi/meter/mode, after the backup, could not be done once more" in result.stderr
    )
    assert set(everything(data)) == {"pi/meter/power", "pi/meter/mode"}
