"""What the kernel's subsystems for sensors have in common: quantities in its units and ours, and the bus of a device."""

import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from heliograph.messages import Channel, Kind

PAUSE_SECONDS = 0.2  # what most sensors want before they are asked again
_BUS = re.compile(r"i2c-[0-9]+")


class Quantity(NamedTuple):
    """What the kernel measures: our name of it, the factor from its unit to ours, and our unit."""

    name: str
    factor: Decimal = Decimal(1)
    unit: str = ""
    kind: Kind = "gauge"
    shown: str = ""  # the unit where units.py has none for it

    def channel(self, label: str) -> Channel:
        """Return the channel of a quantity that the driver calls `label`, "" if it does not call it anything."""
        shown = self.shown and f"{self.name.replace('_', ' ')} in {self.shown}"
        return Channel(self.unit, self.kind, " ".join(filter(None, (label, shown))))


def lane(place: Path, name: str) -> str:
    """Return the lane of a device: its I2C bus, which takes one question at a time; without one, its own."""
    buses = [part for part in place.parts if _BUS.fullmatch(part)]
    return buses[-1] if buses else name
