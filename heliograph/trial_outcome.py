"""What the inputs of a service that is tried gave, and the report of it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from heliograph.messages import Channel, Info, Reading, SetAside, Value

SHOWN_CHARACTERS = 100


class Input(NamedTuple):
    """One configured input, and how it does.

    `devices` are those whose readings come from it, as far as they are known; one that `listens` gets readings when its
    devices send, so it is given all the time there is. `failure` is why it cannot be read, `silence` what to report
    if nothing has come by the end, `action` what to do about either.
    """

    name: str
    devices: tuple[str, ...] = ()
    listens: bool = False
    failure: str = ""
    silence: str = "no response"
    action: str = ""


class TriedReadings:
    """What a device would have published: the newest value of each channel; `seconds` is how long the first one took."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.values: dict[str, tuple[Value, Reading]] = {}

    def add(self, reading: Reading) -> None:
        """Keep the values of a reading."""
        self.values.update({channel: (value, reading) for channel, value in reading.values.items()})


class Outcome(NamedTuple):
    """What a trial gave; readings and descriptions by device."""

    inputs: list[Input]
    readings: Mapping[str, TriedReadings]
    infos: Mapping[str, Info]
    set_aside: list[SetAside]

    def was_read(self, one: Input) -> bool:
        """Whether an input gave a reading of a device of its own."""
        return bool(self.readings.keys() & set(one.devices))

    def is_complete(self) -> bool:
        """Whether waiting longer gives nothing more: each input has failed, or was read and does not listen."""
        return bool(self.inputs) and all(one.failure or (self.was_read(one) and not one.listens) for one in self.inputs)


def report(service: str, outcome: Outcome) -> list[str]:
    """Return what a person reads: each input with its devices and values, or with why it was not read and what to do."""
    read = [one for one in outcome.inputs if outcome.was_read(one)]
    lines = [f"{service}: {len(read)} of {len(outcome.inputs)} inputs were read"]
    for one in outcome.inputs:
        if one in read:
            lines.append(f"  {one.name}")
            for device in one.devices:
                lines += _device(device, outcome)
        else:
            lines.append(f"  {one.name}: NOT READ: {one.failure or one.silence}")
            lines += [f"    what to do: {one.action}"] * bool(one.action)
    own = {device for one in outcome.inputs for device in one.devices}
    for device in outcome.readings.keys() - own:
        lines += _device(device, outcome)
    for item in outcome.set_aside:
        where = f"{item.where}: " if item.where else ""
        lines.append(f"  set aside: {where}{item.why}: {item.what[:SHOWN_CHARACTERS]!r}")
    return lines


def _device(device: str, outcome: Outcome) -> Iterator[str]:
    readings = outcome.readings.get(device)
    if readings is None:
        yield f"    {device}: no reading yet"
        return
    info = outcome.infos.get(device)
    model = f" ({info.model})" if info and info.model else ""
    yield f"    {device}{model}: {len(readings.values)} values, the first after {readings.seconds:.1f} s"
    channels = info.channels if info else {}
    texts = {
        name: (_value(value), channels.get(name, Channel()).unit, _time(reading))
        for name, (value, reading) in readings.values.items()
    }
    name_width = max(map(len, texts))
    value_width, unit_width = (max(len(text[column]) for text in texts.values()) for column in (0, 1))
    for name, (value, unit, time) in texts.items():
        yield f"      {name:<{name_width}}  {value:>{value_width}} {unit:<{unit_width}}  {time}"


def _value(value: Value) -> str:
    return msgspec.json.encode(value).decode()


def _time(reading: Reading) -> str:
    if reading.clock == "unsynced":
        return "now (the clock is not set)"
    return datetime.fromtimestamp(reading.time).astimezone().isoformat(sep=" ", timespec="seconds")
