"""A clock that was ahead for an hour, and is right again."""

import logging
from functools import partial
from pathlib import Path

import msgspec
import pytest

from heliograph.bus import Message
from heliograph.store import open_reader
from services.calculator.calculations import Calculations
from services.calculator.catching_up import StoredInputs
from services.calculator.options import Calculator
from tests.service_stub import ServiceStub

OPTIONS = msgspec.convert(
    {"devices": {"house": {"interval": 60, "channels": {"double": {"formula": "meter.energy * 2"}}}}}, Calculator
)
RIGHT, AHEAD = 2_147_490_000.0, 2_379_758_400.0  # 2038-01-19 05:00 and 2045-06-01


class Stub(ServiceStub):
    node = "pi1"

    def flush(self) -> bool:
        return True


def feed(service: Stub, calculations: Calculations, start: float) -> list[float]:
    """Feed an hour, a reading a minute, with the clock at the time of each; return the times of the results."""
    del service.times[:]
    for number in range(60):
        at = service.clock.time = start + number * 60
        payload = b'{"i":[{"d":"meter","k":["energy"],"r":[[%r,%d]]}]}' % (at, number)
        calculations.drop_what_is_ahead()
        calculations.handle(Message("heliograph/pi1/services/bridge/journal", payload, False, lambda: None))
    calculations.save()
    return [at for at in service.times if at is not None]


@pytest.mark.parametrize("restarts", [True, False])
def test_after_a_clock_that_was_ahead_is_set_back_results_continue_from_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, restarts: bool
) -> None:
    service = Stub(tmp_path)
    calculations = Calculations(
        OPTIONS, service.service, service.producer, StoredInputs(partial(open_reader, tmp_path))
    )
    assert len(feed(service, calculations, AHEAD)) == 60
    if restarts:
        calculations = Calculations(
            OPTIONS, service.service, service.producer, StoredInputs(partial(open_reader, tmp_path))
        )
        calculations.load()
    with caplog.at_level(logging.WARNING):
        assert feed(service, calculations, RIGHT) == [RIGHT + number * 60 for number in range(60)]
    assert ["house" in record.getMessage() for record in caplog.records] == [True]
