import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.node import ROOT, Node

pytestmark = pytest.mark.slow

UNIT_IDS = ("--unit-id=1", "--unit-id=2", "--unit-id=3")  # of the simulated site


@pytest.mark.timeout(400)
def test_scripts_start_accepts_the_configuration_of_a_scan(
    node: Node, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with simulator.run(simulator.SimulatorOptions(three_phase=True)) as site:
        hosts = [f"127.0.0.1:{site.tcp.port}"]
        command = [
            str(ROOT / "scripts/heliograph"),
            "scan",
            "--timeout",
            "0.3",
            *UNIT_IDS,
            "--port",
            site.line.path,
            *hosts,
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (tmp_path / "config.toml").write_text(done.stdout)
        node.start()
        names = {"epever_tracer", "eastron_sdm120", "eastron_sdm630"}
        names |= {f"{name}_2" for name in names}

        def polled() -> bool:
            devices = node.ask("/api/v1/devices") or []
            return names <= {device["device"] for device in devices if device.get("values") or device.get("channels")}

        eventually(polled, 240)
        assert node.stop() == 0
