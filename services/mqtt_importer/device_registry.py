"""The imported devices of all sources, under names that stay the same over restarts."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from heliograph import durable, names
from services.mqtt_importer.devices import ImportedDevice
from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.parsed import ParsedMessage
from services.mqtt_importer.routing import Route
from services.mqtt_importer.source import MqttSource

log = logging.getLogger(__name__)

MAX_ANNOUNCED = 1_000
SHOWN_DEVICES = 500


class DeviceNames:
    """Names devices, and remembers the names in a file, so that every device keeps its series.

    Of devices that would get the same name, the second gets a number, in the order in which their first messages came.
    `chosen` are the names in the configuration, by source and original name.
    """

    def __init__(self, file: Path, chosen: Mapping[tuple[str, str], str]) -> None:
        self._kept = durable.KeptFile(file, "a restart may exchange the names of two devices")
        self._chosen = chosen
        self._names: dict[str, str] = {}
        try:
            self._names = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is not readable (%s): devices with similar names may be mixed up", file, error)

    def name(self, source: str, original_name: str) -> str:
        """Return the name of a source's device; raise ValueError if it cannot have one."""
        if (source, original_name) in self._chosen:
            return self._chosen[source, original_name]
        key = f"{source}/{original_name}"
        if key in self._names:
            return self._names[key]
        first = name = names.device(original_name)
        taken = {*self._names.values(), *self._chosen.values()}
        number = 2
        while name in taken:
            name, number = names.device(f"{first}_{number}"), number + 1
        self._names[key] = name
        self._kept.put(msgspec.json.encode(self._names))
        return name

    def save_if_due(self) -> None:
        """Write the names again if the disk refused them."""
        self._kept.write_if_due()


class DeviceRegistry:
    """Knows the devices that have had a value, by our name, and what was announced of others. Not thread-safe."""

    def __init__(self, device_names: DeviceNames, rule: names.NamingRule, service: str, max_devices: int) -> None:
        self._device_names = device_names
        self._rule = rule
        self._service = service
        self._max_devices = max_devices
        self._devices: dict[str, ImportedDevice] = {}
        self._our_names: dict[tuple[str, str], str] = {}  # by source and original name
        self._announced: dict[tuple[str, str], ParsedMessage] = {}

    def __iter__(self) -> Iterator[ImportedDevice]:
        return iter(self._devices.values())

    def get(self, name: str) -> ImportedDevice | None:
        """Return the device with one of our names."""
        return self._devices.get(name)

    def is_known(self, source: MqttSource, original_name: str) -> bool:
        """Whether a device of a source has had a value."""
        return (source.label, original_name) in self._our_names

    def get_or_add(self, route: Route, original_name: str) -> ImportedDevice:
        """Return a device of a source, with what was announced of it; raise ValueError if it is to be set aside."""
        self._device_names.save_if_due()
        key = (route.source.label, original_name)
        if key in self._our_names:
            return self._devices[self._our_names[key]]
        if len(self._devices) >= self._max_devices:
            raise ValueError("more devices than max_devices")
        name = self._device_names.name(*key)
        if name in self._devices:
            raise ValueError(f"another device is called {name}")
        model = route.family.default_model
        device = ImportedDevice(route.source, original_name, name, model, self._service, self._rule)
        if announced := self._announced.pop(key, None):
            device.availability = announced.availability
            device.update(announced)
        self._our_names[key] = name
        self._devices[name] = device
        return device

    def announce(self, source: MqttSource, parsed: ParsedMessage) -> bool:
        """Remember model and availability of a device before its first value; return whether it has just come online."""
        key = (source.label, parsed.device)
        before = self._announced.pop(key, parsed._replace(availability=None))
        self._announced[key] = before._replace(
            model=parsed.model or before.model, availability=parsed.availability or before.availability
        )
        if len(self._announced) > MAX_ANNOUNCED:
            del self._announced[next(iter(self._announced))]
        return parsed.availability == "online" != before.availability

    def forget_announcements(self) -> None:
        """Forget what was announced of devices without a value."""
        self._announced.clear()

    def facts(self) -> dict[str, object]:
        """Return how the devices are, for the status; `last_reading` is in seconds since 1970 UTC, `without_value` counts."""
        facts: dict[str, object] = {}
        for device in list(self)[:SHOWN_DEVICES]:
            fact: dict[str, object] = {
                "source": device.source.label,
                "original_name": payloads.printable(device.original_name, 120),
            }
            if device.availability:
                fact["availability"] = device.availability
            if device.last_reading is not None:
                fact["last_reading"] = round(device.last_reading, 3)
            if device.without_value:
                fact["without_value"] = device.without_value
            if device.source.commands and device.command_topics:
                fact["writable"] = sorted(device.command_topics)
            facts[device.name] = fact
        return facts
