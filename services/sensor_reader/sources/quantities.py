"""What the sensor subsystems of the kernel share: quantities in its units and ours, and the bus of a device."""

import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from heliograph.messages import Channel, Kind

RETRY_SECONDS = 0.2  # before a failed read is repeated: enough for most sensors
_BUS = re.compile(r"i2c-[0-9]+")


class Quantity(NamedTuple):
    """A quantity that the kernel measures: our name for it, the factor from its unit to ours, and our unit."""

    name: str
    factor: Decimal = Decimal(1)
    unit: str = ""
    kind: Kind = "gauge"
    label_unit: str = ""  # the unit, if units.py does not have it

    def channel(self, label: str) -> Channel:
        """Return the description of a channel with this quantity; `label` is the label of the driver, if there is one."""
        described = self.label_unit and f"{self.name.replace('_', ' ')} in {self.label_unit}"
        return Channel(self.unit, self.kind, " ".join(filter(None, (label, described))))


def bus(device: Path, name: str) -> str:
    """Return the I2C bus of a device, which serves one request at a time; `name` if it is not on one."""
    buses = [part for part in device.parts if _BUS.fullmatch(part)]
    return buses[-1] if buses else name
