from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LocalBroker, Processes
from tests.modbus_poller.running import Ear, Pollers


@pytest.fixture
def ear(broker: LocalBroker) -> Iterator[Ear]:
    with Ear(broker.port) as listening:
        yield listening


@pytest.fixture
def pollers(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Pollers:
    return Pollers(tmp_path, broker, processes)
