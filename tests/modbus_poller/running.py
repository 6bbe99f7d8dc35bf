"""Waiting for the service, and sections of its configuration."""

import time
from collections.abc import Callable


def wait_for(check: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)


def line(port: str, options: str = "") -> str:
    return f'[[modbus_poller.lines]]\nport = "{port}"\n{options}\n'


def device(name: str, model: str, unit: int = 1, interval: float = 0.5) -> str:
    return f'[[modbus_poller.lines.devices]]\nname = "{name}"\nmodel = "{model}"\nunit_id = {unit}\ninterval = {interval}\n'
