"""Read each configured device once and print what would be published: python -m services.modbus_poller.trial [config.toml]."""

from msgspec.structs import replace

from heliograph import trial
from heliograph.trial_outcome import Input
from services.modbus_poller.options import DeviceOptions, LineOptions, ModbusPoller
from services.modbus_poller.poller import main

INTERVAL_SECONDS = 1.0  # a device that does not respond is asked again until it counts as offline
LINE = "check `port`: `ls -l /dev/serial/by-id` lists the adapters that are plugged in"
HOST = "check `port`, and that the host is on and takes Modbus connections there"
DEVICE = "check that the device is on, its unit_id, and that no other program asks it at the same time"
WIRES = "; on a serial line also baud, parity, and that A and B are not exchanged. `heliograph scan` finds devices"


def hurried(options: ModbusPoller) -> ModbusPoller:
    """Return the options with short intervals."""
    return replace(options, lines=tuple(replace(line, devices=_hurried(line)) for line in options.lines))


def _hurried(line: LineOptions) -> tuple[DeviceOptions, ...]:
    return tuple(replace(device, interval=min(device.interval, INTERVAL_SECONDS)) for device in line.devices)


def inputs(options: ModbusPoller, seen: trial.Seen) -> list[Input]:
    """Return how each device does."""
    return [_input(line, device, seen) for line in options.lines for device in line.devices]


def _input(line: LineOptions, device: DeviceOptions, seen: trial.Seen) -> Input:
    fact = seen.facts.get(f"device:{device.name}", {})
    why = fact.get("why", "") if fact.get("state") == "offline" else ""
    if why.startswith("the line is down"):
        action = trial.IN_USE if "in use" in why else LINE if line.serial else HOST
    else:
        action = DEVICE + WIRES * line.serial
    name = f"{device.name} at {line.port}, unit {device.unit_id}"
    return Input(name, (device.name,), failure=why, silence="no response in this time", action=action)


if __name__ == "__main__":
    trial.run("modbus_poller", ModbusPoller, main, inputs, hurried=hurried)
