"""Makes a folder of tests/old_data with the code beside it; tests/old_data/README.md says how to call this.

Everything runs as on a Pi: a broker, every service as a process, what they are fed, and a clean stop. Only the clock
is wrong, so that the folder does not depend on when it was made, and this boot of the machine has another name.
"""

import contextlib
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.messages import Block
from heliograph.segment import Segment
from heliograph.sender import UnstampedFrame, stamped
from tests.conftest import ROOT, LocalBroker, Processes, free_port
from tests.stored import contents, points, yearly
from tests.system.old_site import BAD, PRODUCERS, OldSite, Receiver, receiving

NOW = 1741773600.0  # 2025-03-12 10:00 UTC
BOOT = "0d1c2b3a-4958-4677-8685-94a3b2c1d0ef"
QUIET_SECONDS = 3.0
APART_SECONDS = 1.1  # pimonitor's times are whole seconds
STAND_IN = """
import os, time
from pathlib import Path

_right, _shift = time.time, float(os.environ["SHIFT"])
time.time = lambda: _right() + _shift

from heliograph import clock
clock.BOOT_ID = Path(os.environ["BOOT"])
"""


def main(kept: Path) -> None:
    with tempfile.TemporaryDirectory() as name, receiving() as receiver:
        folder = Path(name)
        (folder / "boot").write_text(BOOT)
        (folder / "machine").mkdir()
        (folder / "machine/sitecustomize.py").write_text(STAND_IN)
        environment = {
            "PYTHONPATH": f"{folder / 'machine'}:{ROOT}",
            "SHIFT": str(NOW - time.time()),
            "BOOT": str(folder / "boot"),
        }
        broker, processes = LocalBroker(folder), Processes(folder / "log")
        broker.start()
        site = OldSite(kept, folder, broker, processes, free_port, environment)
        try:
            with site.bus() as bus:
                assert bus.wait_connected(30)
                expected = live(site, bus, receiver, processes)
        finally:
            for process in processes.running:
                process.kill()
            broker.kill()
            sys.stderr.write(processes.output())
        (kept / "expected.json").write_text(written(expected))
        with tarfile.open(kept / "data.tar.xz", "w:xz", preset=9) as archive:
            for path in sorted(site.data.rglob("*")):
                member = archive.gettarinfo(path, str(path.relative_to(folder)))
                member.uid = member.gid = member.mtime = 0
                member.uname = member.gname = ""
                with path.open("rb") if path.is_file() else contextlib.nullcontext() as file:
                    archive.addfile(member, file)


def live(site: OldSite, bus: Bus, receiver: Receiver, processes: Processes) -> dict[str, Any]:
    """Have the site live for a while; return what its data folder holds then."""
    shift = NOW - time.time()
    discovered: dict[str, list[str]] = {}

    def discover(message: Message) -> None:
        components = json.loads(message.payload or b"{}").get("cmps", {})
        discovered[message.topic] = sorted(one["uniq_id"] for one in components.values())

    def status(service: str) -> Any:
        return statuses.get(service, {})

    statuses: dict[str, Any] = {}

    def note(message: Message) -> None:
        statuses[topics.parse(message.topic).owner] = json.loads(message.payload)

    bus.subscribe("homeassistant/device/+/config", discover)
    bus.subscribe(topics.every_service("status", "pi1"), note)

    def now() -> float:
        return time.time() + shift

    def rows() -> int:
        return sum(one["rows"] for one in contents(site.data).values())

    def online(*services: str) -> None:
        until(lambda: all(status(one).get("state") == "online" for one in services))
        time.sleep(QUIET_SECONDS)

    site.configure(storage="keep_raw_years = 2\n")
    site.import_files(lambda times: times)
    for replaced in site.inputs["replaced"]:
        site.store("meter-replaced", replaced["series"], "--at", replaced["at"], "--yes")
    site.start("storage")
    until(lambda: list(site.data.glob("store/history-2019-tiers.db")))
    online("storage")
    site.stop("storage")

    site.configure()
    site.start("simulator", "storage", *PRODUCERS, "uploader", "home_assistant")
    online("storage", *PRODUCERS, "uploader", "home_assistant")
    site.put_targets()
    for name in ("pvoutput", "thingspeak", "warehouse", "cloud"):
        assert site.ask("POST", f"/api/v1/uploads/{name}/pause")
    for number in range(3):
        site.feed(bus, now())
        time.sleep(APART_SECONDS)
        site.feed(bus, now(), BAD)
        site.pulse(number + 1)
        time.sleep(APART_SECONDS)
    until(lambda: site.ask("GET", "/api/v1/uploads/strict")["dead_letters"] == 3)
    until(lambda: site.ask("GET", "/api/v1/uploads/influx")["backlog"] == 0)
    receiver.is_away = True
    site.feed(bus, now())
    dead_letters = site.ask("GET", "/api/v1/uploads/strict/dead-letters")["dead_letters"]
    site.ask("POST", "/api/v1/uploads/strict/dead-letters", {"ids": [dead_letters[0]["id"]]})
    time.sleep(QUIET_SECONDS)
    dead_letters = site.ask("GET", "/api/v1/uploads/strict/dead-letters")["dead_letters"]
    assert [letter["retry"] for letter in dead_letters] == [True, False, False]
    targets = site.ask("GET", "/api/v1/uploads")["targets"]
    site.stop("uploader", "storage")
    stored = rows()
    site.pulse(17)
    site.feed(bus, now())
    time.sleep(QUIET_SECONDS)

    # serial_bridge restarts while the clock is not set, and gets the time before it stops
    site.stop("serial_bridge")
    site.configure(clock="file")
    right, site.environment["SHIFT"] = site.environment["SHIFT"], str(shift - 30 * 86_400)
    site.start("serial_bridge")
    online("serial_bridge")
    site.feed(bus, now())
    time.sleep(QUIET_SECONDS)
    site.stop("serial_bridge")
    site.environment["SHIFT"] = right
    site.clock_file.touch()
    site.start("serial_bridge")
    until(lambda: list(site.data.glob("clock/serial_bridge/boots.json")))
    site.stop("serial_bridge", "modbus_poller", "sensor_reader", "mqtt_importer", "calculator")
    site.stop("api", "home_assistant", "simulator")
    assert rows() == stored
    return {
        "made": round(now(), 3),
        "series": contents(site.data),
        "years": yearly(site.data),
        "waiting": waiting(site.data),
        "counts": {"pi1/gas/pulses": 1017},
        "targets": {one["name"]: {key: one[key] for key in ("kind", "state", "sent")} for one in targets},
        "dead_letters": {"strict": dead_letters},
        "uploaded": {"influx": counted(receiver)},
        "discovered": dict(sorted(discovered.items())),
    }


def written(expected: dict[str, Any]) -> str:
    """Return JSON with a line for each series, target and so on."""
    parts = []
    for key, value in expected.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, dict):
            lines = (f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
            text = "{\n" + ",\n".join(lines) + "\n }"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def counted(receiver: Receiver) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, _ in sorted(receiver.points()):
        counts[name] = counts.get(name, 0) + 1
    return counts


def waiting(data: Path) -> dict[str, list[list[Any]]]:
    """Return what storage has not committed, by series: times and values."""
    stored = points(data)
    rows: dict[str, list[list[Any]]] = {}
    for folder in sorted((data / "outbox").iterdir()):
        boots = data / "clock" / folder.name / "boots.json"
        for path in sorted(folder.glob("*.segment")):
            segment = Segment.load(path)
            with segment.open() as file:
                while record := segment.record(file):
                    if record.payload.startswith(b"{"):
                        held = msgspec.json.decode(record.payload, type=UnstampedFrame)
                        booted = json.loads(boots.read_text())[held.boot]
                        blocks = [stamped(block, booted) for block in held.blocks]
                    else:
                        blocks = msgspec.json.decode(record.payload, type=list[Block])
                    for block in blocks:
                        for row in block.rows:
                            for channel, value in zip(block.channels, row[1:], strict=True):
                                name = f"pi1/{block.device}/{channel}"
                                if (row[0], value) not in stored.get(name, []):
                                    rows.setdefault(name, []).append([row[0], value])
    return rows


def until(check: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
