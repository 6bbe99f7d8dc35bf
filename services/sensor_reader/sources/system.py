"""The machine's own health, as a sensor: heat, supply, memory, disk, load, and what is written to its card."""

import os
from collections.abc import Iterator
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader.errors import Disturbed, NotAValue
from services.sensor_reader.sensor import Ask, Sensor
from services.sensor_reader.sources import disk_writes, sysfs, throttling

NAME = "system"
ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "x86_pkg_temp")
MEMORY = {
    "memory_used": Channel("%"),
    "memory_available": Channel("MB"),
    "swap_used": Channel("%"),
}
DISK = {"disk_used": Channel("%"), "disk_free": Channel("MB")}
LOAD = {"load": Channel(label="processes that run or wait, last minute")}
UPTIME = {"uptime": Channel("s")}
WRITES = {
    "written": Channel("MB", "counter", "written to the disk with the data"),
    "written_per_day": Channel("MB", label="written to the disk with the data"),
}


def discover(root: Path, data: Path) -> Iterator[Sensor]:
    """Yield the machine as a sensor; `data` is the folder whose disk is watched."""
    proc = root / "proc"
    channels: dict[str, Channel] = {}
    asks: list[Ask] = []

    def add(what: dict[str, Channel], ask: Ask) -> None:
        channels.update(what)
        asks.append(ask)

    zone = _zone(root)
    if zone:
        add({"temperature": Channel("°C")}, lambda: {"temperature": float(sysfs.number(zone) / 1000)})
    if firmware := throttling.found(root):
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
        daily = disk_writes.Daily()
        add(WRITES, lambda: _writes(daily, _first(proc / "uptime"), stat))
    model = _model(root)
    yield Sensor(NAME, model, str(root), NAME, channels, tuple(asks))


def _model(root: Path) -> str:
    """Return what the machine calls itself: the device tree ends its text with a zero byte."""
    try:
        said = (root / "proc/device-tree/model").read_bytes()[:80]
    except OSError:
        said = b""
    return said.rstrip(b"\0\n").decode("ascii", "replace") or "this machine"


def memory(said: str) -> dict[str, Value]:
    """Return what /proc/meminfo says, in percent and megabytes; raise NotAValue if something is missing."""
    kilobytes = {}
    for line in said.splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"):
            kilobytes[name] = float(sysfs.decimal(rest.removesuffix("kB"), f"meminfo {name}"))
    total, available = kilobytes.get("MemTotal", 0.0), kilobytes.get("MemAvailable", -1.0)
    if not 0 <= available <= total or not total:
        raise NotAValue("meminfo: no MemTotal and MemAvailable", said[:80])
    swap = kilobytes.get("SwapTotal", 0.0)
    return {
        "memory_used": round(100 * (1 - available / total), 1),
        "memory_available": round(available * 1.024e-3, 1),
        "swap_used": round(100 * (1 - kilobytes.get("SwapFree", swap) / swap), 1) if swap else 0.0,
    }


def disk(folder: Path) -> dict[str, Value]:
    """Return how full a folder's disk is, as `df` counts it; raise Disturbed if it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise Disturbed(f"{folder}: {error.strerror}") from None
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    if not usable:
        raise Disturbed(f"{folder}: its disk has no size")
    free = found.f_bavail * found.f_frsize / disk_writes.MEGABYTE
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


def _writes(daily: disk_writes.Daily, uptime: float, stat: Path) -> dict[str, Value]:
    total = disk_writes.written(sysfs.text(stat))
    values: dict[str, Value] = {"written": round(total / disk_writes.MEGABYTE, 1)}
    per_day = daily.per_day(uptime, total)
    if per_day is not None:
        values["written_per_day"] = round(per_day / disk_writes.MEGABYTE, 1)
    return values
