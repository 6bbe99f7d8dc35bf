"""When messages wait for the store, and for how long."""

from functools import partial
from pathlib import Path

import pytest

from heliograph.bus import Message
from heliograph.errors import StoreAway
from heliograph.messages import Block, Channel, Info
from heliograph.store import open_reader, open_writer
from services.calculator.catching_up import HOLD_SECONDS, CatchUp, StoredInputs
from services.calculator.grid import InputChannel

POWER = InputChannel("pi1", "grid", "power")
MESSAGE = Message("", b"", False, lambda: None)
AT = 1_700_000_000


def carried(_message: Message) -> dict[InputChannel, int]:
    return {POWER: AT * 1000}


def store(folder: Path, at: float) -> None:
    writer = open_writer(folder)
    writer.declare("pi1", "grid", Info("Model", {"power": Channel("W"), "mode": Channel("", "text")}))
    assert writer.write("pi1", [Block("grid", ("power", "mode"), [[at, 5, "on"]])]) == []
    writer.commit({})
    writer.close()


def test_messages_wait_until_the_store_has_what_they_carry(tmp_path: Path) -> None:
    now = [100.0]
    stored = StoredInputs(partial(open_reader, tmp_path))
    catch_up = CatchUp(stored, lambda: now[0])
    catch_up.begin()
    assert catch_up.is_holding
    assert not catch_up.is_check_due()
    catch_up.held.append(MESSAGE)
    now[0] += 1
    assert catch_up.is_check_due()
    store(tmp_path, AT - 1)
    assert not catch_up.is_read_due(carried)
    store(tmp_path, AT)
    assert catch_up.is_read_due(carried)
    assert not catch_up.is_holding
    assert [tuple(one) for one in stored.values({POWER: (AT - 1) * 1000}, AT + 1)] == [
        ((AT - 1) * 1000, POWER, 5.0),
        (AT * 1000, POWER, 5.0),
    ]


def test_without_a_store_messages_wait_for_a_minute_and_it_is_asked_until_it_is_there(tmp_path: Path) -> None:
    now = [100.0]
    catch_up = CatchUp(StoredInputs(partial(open_reader, tmp_path)), lambda: now[0])
    catch_up.begin()
    catch_up.held.append(MESSAGE)
    now[0] += 1
    with pytest.raises(StoreAway):
        catch_up.is_read_due(carried)
    assert catch_up.is_holding
    now[0] += HOLD_SECONDS
    assert catch_up.is_read_due(carried)
    assert not catch_up.is_holding
    now[0] += 3600  # it could not be read: `was_read` was not called
    assert catch_up.is_check_due()
    assert catch_up.is_read_due(carried)
    catch_up.was_read()
    assert not catch_up.is_read_due(carried)
    assert not catch_up.is_check_due()
