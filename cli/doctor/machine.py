"""What can be wrong with the machine: its clock, disk, card, time zone, programs."""

import os
import re
import shutil
import subprocess
import time
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

from cli import programs
from cli.doctor.finding import Finding
from heliograph import config, disk_space, node_config, remedies
from heliograph.clock import is_set

RELEASED = 1_796_000_000.0  # late in 2026: no clock that is right shows an earlier time
OLDEST_MOSQUITTO = (1, 6)  # the first one with MQTT 5
WORN_TENTHS = 9  # JEDEC eMMC 5.0, DEVICE_LIFE_TIME_EST: 9 is 80 to 90 % of the estimated life
END_OF_LIFE_WARNING = 2  # PRE_EOL_INFO: 80 % of the reserved blocks are used
PROGRAM_SECONDS = 2.0


def clock(node: config.Node) -> Iterator[Finding]:
    """Yield what is wrong with the system clock."""
    now = time.time()
    if now < RELEASED:
        yield Finding("clock_unset", f"the clock shows {time.strftime('%Y-%m-%d', time.gmtime(now))}", "set the clock")
    elif not is_set(node.clock, Path(node.clock_file)):
        yield Finding("clock_unset", "the clock is not set: readings are kept back until it is", remedies.SET_CLOCK)


def disk(data: Path) -> Iterator[Finding]:
    """Yield what is wrong with the disk of a data folder, which need not be there yet."""
    folder = next((one for one in (data, *data.absolute().parents) if one.exists()), Path("/"))
    for sentence in disk_space.shortages([folder, data / "store"]):
        yield Finding("disk_full", sentence, remedies.MAKE_ROOM)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield Finding(
            "disk_read_only", f"the disk of {folder} is mounted read-only", "look at dmesg: the card may be dying"
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("data_closed", f"{folder} cannot be written by this user", f"sudo chown -R $USER {folder}")


def card(blocks: Path = Path("/sys/block")) -> Iterator[Finding]:
    """Yield the cards and eMMCs that say of themselves that they are worn."""
    for device in sorted(blocks.glob("mmcblk*/device")):
        name, replace = device.parent.name, "make a backup now (heliograph store backup), and replace it"
        lives = [int(one, 16) for one in re.findall("0x([0-9a-fA-F]+)", _text(device / "life_time"))]
        ends = [int(one, 16) for one in re.findall("0x([0-9a-fA-F]+)", _text(device / "pre_eol_info"))]
        if max(lives, default=0) >= WORN_TENTHS:
            used = min(max(lives), 10) * 10
            yield Finding("card_worn", f"{name} has used {used - 10} to {used} % of its life or more", replace)
        elif max(ends, default=0) >= END_OF_LIFE_WARNING:
            yield Finding("card_worn", f"{name} has used most of its spare blocks", replace)


def zone(localtime: Path = Path("/etc/localtime")) -> Iterator[Finding]:
    """Yield what is wrong with the time zone, by whose days are counted."""
    name = os.environ.get("TZ", "").lstrip(":")
    if name and not name.startswith("/"):
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            if not re.search(r"\d", name):  # a rule of POSIX has a number
                yield Finding("zone_unknown", f"TZ: there is no time zone {name}", "correct it, as TZ=Europe/Berlin")
    elif localtime.is_symlink() and not localtime.exists():
        yield Finding(
            "zone_unknown", f"{localtime} names a zone that is not there", "sudo timedatectl set-timezone Europe/Berlin"
        )


def mosquitto(data: Path) -> Iterator[Finding]:
    """Yield what is wrong with the program that is the node's own broker, of this machine or below the data folder."""
    try:
        command = programs.find("mosquitto", data / node_config.TOOLS_FOLDER / "bin")
    except FileNotFoundError:
        if not shutil.which("apt-get"):  # else `heliograph start` gets one
            yield Finding("no_mosquitto", "there is no mosquitto, the node's broker, on this machine", "install it")
        return
    try:
        done = subprocess.run([command, "-h"], capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("no_mosquitto", f"mosquitto cannot be run: {error}", "sudo apt install mosquitto")
        return
    version = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    if version and tuple(map(int, version.groups())) < OLDEST_MOSQUITTO:
        yield Finding("old_mosquitto", f"mosquitto {version[1]}.{version[2]} has no MQTT 5", "install 2.0 or later")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
