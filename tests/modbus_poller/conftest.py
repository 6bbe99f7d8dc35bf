from pathlib import Path

import pytest

from tests.conftest import LocalBroker, Processes, Starter


@pytest.fixture
def pollers(tmp_path: Path, broker: LocalBroker, processes: Processes) -> Starter:
    return Starter("modbus_poller", tmp_path, broker, processes)
