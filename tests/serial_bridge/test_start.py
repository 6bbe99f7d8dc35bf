"""Settings that are changed in the user's file while scripts/start runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node import Node
from tests.serial_bridge.conftest import Line, port

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_what_is_changed_in_the_file_takes_effect_and_a_mistake_does_not(
    node: Node, tmp_path: Path, line: Line, eventually: Callable[..., Any]
) -> None:
    user = tmp_path / "config.toml"

    def write(section: str) -> None:
        partial = tmp_path / "partial.toml"  # as editors do it
        partial.write_text('[node]\nname = "home"\nclock = "trust"\n' + section)
        partial.replace(user)

    def devices() -> set[str]:
        return {device["device"] for device in node.ask("/api/v1/devices") or []}

    def says(text: str) -> bool:
        return text in node.log.read_text()

    line.plug_in()
    first = port("bell", line.path, "key_value")
    write(first)
    node.start()
    eventually(lambda: says("reading bell"), 120)
    line.say(b"boiler a=1\nkettle b=")
    eventually(lambda: "boiler" in devices(), 60)
    write(first.replace("key_value", "morse"))
    eventually(lambda: says("keeping the previous configuration"), 60)
    assert says(f"{user.name}: [serial_bridge]: ports.bell: format: no such format: 'morse'")
    write(first + 'units = { b = "W" }\n')
    eventually(lambda: says("the configuration has changed"), 60)
    line.say(b"2\n")
    eventually(lambda: "kettle" in devices(), 60)
    assert node.stop() == 0
