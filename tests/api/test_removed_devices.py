"""What was forgotten stays forgotten."""

from pathlib import Path

import pytest

from heliograph.messages import Channel, Info, encode
from heliograph.store.interface import Point, Series
from services.api import views
from services.api.live import LiveState
from services.api.removed_devices import RemovedDevices

POWER = Series(1, "shed", "meter", "power", "W", "gauge")
INFO = "heliograph/shed/devices/meter/info"
DECLARED = encode(Info("Meter", {"power": Channel("W")}))


def started(file: Path) -> LiveState:
    live = LiveState(removed=RemovedDevices(file))
    live.seed([POWER], {1: Point(1_763_633_000.0, 5.0)})
    return live


def nodes(live: LiveState) -> list[str]:
    return [node.node for node in views.nodes(live)]


def test_a_node_that_is_forgotten_is_gone_also_after_a_restart(tmp_path: Path) -> None:
    """Case N4."""
    file = tmp_path / "api" / "removed_devices.json"
    live = started(file)
    assert nodes(live) == ["shed"]
    live.update("heliograph/shed/services/modbus_poller/status", b'{"state": "offline"}')
    live.update(INFO, b"")
    live.update("heliograph/shed/services/modbus_poller/status", b"")
    assert nodes(live) == []
    assert nodes(started(file)) == []


def test_a_forgotten_device_that_comes_back_is_shown_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "removed_devices.json"
    live = started(file)
    live.update(INFO, b"")
    live.update(INFO, DECLARED)
    assert nodes(live) == ["shed"]
    assert nodes(started(file)) == ["shed"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[7]", b'["a"]', b"\xff", b"[" * 100_000])
def test_a_damaged_list_costs_nothing_but_what_was_forgotten(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "removed_devices.json"
    file.write_bytes(content)
    live = started(file)
    assert nodes(live) == ["shed"]
    assert "removed_devices.json cannot be read" in caplog.text
    live.update(INFO, b"")
    assert nodes(started(file)) == []
