"""The flags of a Raspberry Pi's firmware: under-voltage, throttling, temperature limit.

Bits as `vcgencmd get_throttled` documents them: 0 to 3 now, 16 to 19 since the start.
"""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from heliograph.messages import Channel, Value
from services.sensor_reader.errors import InvalidValue, ReadFailed
from services.sensor_reader.sensor import ReadValues
from services.sensor_reader.sources import sysfs

FILES = "sys/devices/platform/soc*/soc*firmware/get_throttled"
FIRMWARE = "dev/vcio"  # the device that vcgencmd needs
BITS = {
    "under_voltage": 0,
    "frequency_capped": 1,
    "throttled": 2,
    "soft_temperature_limit": 3,
    "under_voltage_since_boot": 16,
    "frequency_capped_since_boot": 17,
    "throttled_since_boot": 18,
    "soft_temperature_limit_since_boot": 19,
}
CHANNELS = {name: Channel(kind="state") for name in BITS}
SUPPLY = {"under_voltage": Channel(kind="state")}
COMMAND_SECONDS = 5.0
_FLAGS = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-f]{1,8})\s*")


def flags(content: str) -> dict[str, Value]:
    """Return every flag in a text such as `throttled=0x50005` or `50005`; raise InvalidValue for any other text."""
    match = _FLAGS.fullmatch(content.lower())
    if not match:
        raise InvalidValue("get_throttled: not a hexadecimal number", content[:80])
    word = int(match[1], 16)
    return {name: bool(word >> bit & 1) for name, bit in BITS.items()}


def source(root: Path) -> tuple[dict[str, Channel], ReadValues] | None:
    """Return the channels and the function that reads them, None on a machine without such a firmware.

    The attribute first, then vcgencmd, then the alarm of the driver raspberrypi-hwmon.
    """
    for path in sysfs.entries(root, FILES):
        return CHANNELS, partial(_from_file, path)
    command = shutil.which("vcgencmd")
    if command and (root / FIRMWARE).exists():
        return CHANNELS, partial(_from_command, command)
    for folder in sysfs.entries(root, "sys/class/hwmon/hwmon*"):
        alarm = folder / "in0_lcrit_alarm"
        if sysfs.word(folder / "name") == "rpi_volt" and alarm.exists():
            return SUPPLY, partial(_from_alarm, alarm)
    return None


def _from_file(path: Path) -> dict[str, Value]:
    return flags(sysfs.text(path))


def _from_alarm(path: Path) -> dict[str, Value]:
    return {"under_voltage": sysfs.number(path) != 0}


def _from_command(command: str) -> dict[str, Value]:
    try:
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise ReadFailed(f"vcgencmd: {error}") from None
    if done.returncode:
        raise ReadFailed("vcgencmd failed", (done.stdout + done.stderr)[:80] or str(done.returncode))
    return flags(done.stdout)
