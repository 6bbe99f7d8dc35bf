"""The store is away when the calculator starts after a rename: what the checkpoint has under the old names is continued later."""

from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from heliograph import store
from heliograph.bus import Message
from heliograph.messages import Block
from heliograph.renames import Rename
from heliograph.store import open_reader, open_writer
from services.calculator import calculations
from services.calculator.calculations import Calculations
from services.calculator.catching_up import StoredInputs
from services.calculator.options import Calculator
from tests.service_stub import ServiceStub

T = 1_763_633_040.0
FORMULA = {"interval": 60, "wait": 5, "max_age": 600, "channels": {"sum": {"formula": "meter.energy + other.energy"}}}


class Stub(ServiceStub):
    node = "pi1"

    def flush(self) -> bool:
        return True


def started(service: Stub, device: str) -> Calculations:
    formula = msgspec.json.decode(msgspec.json.encode(FORMULA).replace(b"meter.", f"{device}.".encode()))
    options = msgspec.convert({"devices": {"house": formula}}, Calculator)
    made = Calculations(options, service.service, service.producer, StoredInputs(partial(open_reader, service.data)))
    made.load()
    return made


def feed(made: Calculations, service: Stub, device: str, at: float) -> None:
    service.clock.time = T + at
    payload = b'{"i":[{"d":"%s","k":["energy"],"r":[[%r,%d]]}]}' % (device.encode(), T + at, round(at))
    made.handle(Message("heliograph/pi1/services/bridge/journal", payload, False, lambda: None))


def test_what_a_checkpoint_has_under_old_names_is_continued_once_the_store_tells_the_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case Y18: the names were asked for once, and what was not known then was dropped."""
    monkeypatch.setattr(calculations, "RENAMES_SECONDS", 0.0)
    service = Stub(tmp_path)
    made = started(service, "meter")
    feed(made, service, "meter", 0)
    feed(made, service, "other", 30)
    made.save()
    for at in (70, 130):  # the meter, which is called main now, has had no new value
        made = started(service, "main")
        made.follow_renames()
        feed(made, service, "other", at)
        made.save()
    assert service.times == []
    with closing(open_writer(tmp_path)) as writer:
        writer.write("pi1", [Block("meter", ("energy",), [[T, 0.0]])])
        writer.commit({})
    store.rename(tmp_path, Rename("pi1/meter", "pi1/main"))
    made.follow_renames()
    feed(made, service, "other", 190)
    assert [(at, values["sum"]) for at, (_, values) in zip(service.times, service.readings, strict=True)] == [
        (T + 60, 30), (T + 120, 70), (T + 180, 130)
    ]  # fmt: skip
