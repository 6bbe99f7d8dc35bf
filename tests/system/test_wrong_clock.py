import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliograph.bus import Bus, Message
from heliograph.config import Broker
from heliograph.messages import Reading, decode
from tests.stored import arrivals

HOURS = 6 * 3600.0
CLOSE_SECONDS = 60.0  # a busy machine may take long to read a line; a wrong clock is off by hours


def stored(data: Path) -> dict[int, float]:
    stored = arrivals(data)
    times = {int(float(arrival.values["number"])): arrival.time for arrival in stored}
    assert len(times) == len(stored)
    return times


def test_a_clock_that_is_six_hours_wrong_at_boot_and_then_set_costs_no_reading_and_makes_no_wrong_time(
    tmp_path: Path, broker: Any, processes: Any, eventually: Callable[..., Any], wrong_clock: Any
) -> None:
    master, slave = os.openpty()
    data, is_set = tmp_path / "data", tmp_path / "synchronised"
    config = tmp_path / "config.toml"
    config.write_text(
        f'[node]\nname = "pi1"\ndata = "{data}"\nclock = "file"\nclock_file = "{is_set}"\n'
        f"[broker]\nport = {broker.port}\n[storage]\ncommit_seconds = 0.1\n"
        f'[[serial_bridge.ports]]\nname = "count"\nport = "{os.ttyname(slave)}"\nformat = "key_value"\n'
    )
    shown: list[Reading] = []
    sent_at: dict[int, float] = {}

    def hear(message: Message) -> None:
        shown.append(decode(Reading, message.payload))

    def say(numbers: range) -> None:
        for number in numbers:
            sent_at[number] = time.time()
            before = len(shown)
            os.write(master, f"counter number={number}\n".encode())
            eventually(lambda before=before: len(shown) > before)

    def bridge() -> Any:
        started = processes.start("services.serial_bridge", str(config), **wrong_clock.environment)
        eventually(lambda: processes.output().count("reading count") == processes.starts("services.serial_bridge"))
        return started

    wrong_clock.be_off_by(-HOURS)
    with Bus(Broker(port=broker.port), "pi1", "watcher") as bus:
        bus.subscribe("heliograph/pi1/devices/+/state", hear)
        processes.start("services.storage", str(config), **wrong_clock.environment)
        first = bridge()
        say(range(10))
        assert {reading.clock for reading in shown} == {"unsynced"}
        first.kill()
        first.wait()
        second = bridge()
        say(range(10, 20))
        assert stored(data) == {}
        wrong_clock.be_off_by(0)
        is_set.touch()
        eventually(lambda: len(stored(data)) == 20)
        say(range(20, 30))
        assert shown[-1].clock == ""
        eventually(lambda: len(stored(data)) == 30)
        second.terminate()
        assert second.wait(timeout=30) == 0
    for number, at in stored(data).items():
        assert abs(at - sent_at[number]) < CLOSE_SECONDS, f"reading {number} is stored {at - sent_at[number]:.0f} s off"
    os.close(master)
    os.close(slave)
