"""The health of the machine as a sensor: temperature, supply, memory, disk, load, and writes to its disk."""

import os
from collections.abc import Iterator
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader.errors import InvalidValue, ReadFailed
from services.sensor_reader.sensor import ReadValues, Sensor
from services.sensor_reader.sources import disk_writes, sysfs, throttling

NAME = "system"
ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "x86_pkg_temp")
MEMORY = {
    "memory_used": Channel("%"),
    "memory_available": Channel("MB"),
    "swap_used": Channel("%"),
}
DISK = {"disk_used": Channel("%"), "disk_free": Channel("MB")}
LOAD = {"load": Channel(label="load average of the last minute")}
UPTIME = {"uptime": Channel("s")}
WRITES = {
    "written": Channel("MB", "counter", "written to the disk with the data"),
    "written_per_day": Channel("MB", label="written to the disk with the data, per day"),
}


def discover(root: Path, data: Path) -> Iterator[Sensor]:
    """Yield the machine as a sensor; `data` is a folder on the disk to watch."""
    proc = root / "proc"
    channels: dict[str, Channel] = {}
    reads: list[ReadValues] = []

    def add(more: dict[str, Channel], read: ReadValues) -> None:
        channels.update(more)
        reads.append(read)

    zone = _zone(root)
    if zone:
        add({"temperature": Channel("°C")}, lambda: {"temperature": float(sysfs.number(zone) / 1000)})
    if firmware := throttling.source(root):
        add(*firmware)
    if (proc / "meminfo").exists():
        add(MEMORY, lambda: memory(sysfs.text(proc / "meminfo")))
    if (proc / "loadavg").exists():
        add(LOAD, lambda: {"load": _first(proc / "loadavg")})
    if (proc / "uptime").exists():
        add(UPTIME, lambda: {"uptime": _first(proc / "uptime")})
    add(DISK, lambda: disk(data))
    stat = disk_writes.disk(root, data)
    if stat and (proc / "uptime").exists():
        daily = disk_writes.DailyWrites()
        add(WRITES, lambda: _writes(daily, _first(proc / "uptime"), stat))
    model = _model(root)
    yield Sensor(NAME, model, str(root), NAME, channels, tuple(reads))


def _model(root: Path) -> str:
    """Return the model of the machine; the text in the device tree ends with a zero byte."""
    try:
        content = (root / "proc/device-tree/model").read_bytes()[:80]
    except OSError:
        content = b""
    return content.rstrip(b"\0\n").decode("ascii", "replace") or "this machine"


def memory(content: str) -> dict[str, Value]:
    """Return the values in /proc/meminfo, in percent and megabytes; raise InvalidValue if one is missing."""
    kilobytes = {}
    for line in content.splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"):
            kilobytes[name] = float(sysfs.decimal(rest.removesuffix("kB"), f"meminfo {name}"))
    total, available = kilobytes.get("MemTotal", 0.0), kilobytes.get("MemAvailable", -1.0)
    if not 0 <= available <= total or not total:
        raise InvalidValue("meminfo: no MemTotal and MemAvailable", content[:80])
    swap = kilobytes.get("SwapTotal", 0.0)
    return {
        "memory_used": round(100 * (1 - available / total), 1),
        "memory_available": round(available * 1.024e-3, 1),
        "swap_used": round(100 * (1 - kilobytes.get("SwapFree", swap) / swap), 1) if swap else 0.0,
    }


def disk(folder: Path) -> dict[str, Value]:
    """Return how full the disk of a folder is, as `df` counts; raise ReadFailed if it cannot be read."""
    try:
        stat = os.statvfs(folder)
    except OSError as error:
        raise ReadFailed(f"{folder}: {error.strerror}") from None
    used = stat.f_blocks - stat.f_bfree
    usable = used + stat.f_bavail
    if not usable:
        raise ReadFailed(f"{folder}: its disk has no size")
    free = stat.f_bavail * stat.f_frsize / disk_writes.MEGABYTE
    return {"disk_used": round(100 * used / usable, 1), "disk_free": round(free, 1)}


def _zone(root: Path) -> Path | None:
    zones = {
        sysfs.word(folder / "type"): folder / "temp"
        for folder in reversed(list(sysfs.entries(root / "sys/class/thermal", "thermal_zone*")))
        if (folder / "temp").exists()
    }
    for kind in (*ZONES, *reversed(zones)):
        if kind in zones:
            return zones[kind]
    return None


def _first(path: Path) -> float:
    fields = sysfs.text(path).split()
    return float(sysfs.decimal(fields[0] if fields else "", path.name))


def _writes(daily: disk_writes.DailyWrites, uptime: float, stat: Path) -> dict[str, Value]:
    total = disk_writes.written(sysfs.text(stat))
    values: dict[str, Value] = {"written": round(total / disk_writes.MEGABYTE, 1)}
    per_day = daily.per_day(uptime, total)
    if per_day is not None:
        values["written_per_day"] = round(per_day / disk_writes.MEGABYTE, 1)
    return values
