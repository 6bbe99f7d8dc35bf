"""Read each sensor once and print what would be published: python -m services.sensor_reader.trial [config.toml]."""

from msgspec.structs import replace

from heliograph import trial
from heliograph.trial_outcome import Input
from services.sensor_reader.options import SensorReader
from services.sensor_reader.reader import main

INTERVAL_SECONDS = 1.0  # a sensor that gives no value is read again until it counts as offline
SENSOR = "check its wiring, and what `dmesg` reports of its driver"
COUNTER = "check `line` and `chip`: `gpioinfo` lists the lines, and who uses them"
ABSENT = "names of the sensors that are here stand above, and in `heliograph logs --service sensor_reader`"


def hurried(options: SensorReader) -> SensorReader:
    """Return the options with short intervals."""
    return replace(
        options,
        interval=min(options.interval, INTERVAL_SECONDS),
        system_interval=min(options.system_interval, INTERVAL_SECONDS),
        sensors={
            name: replace(sensor, interval=min(sensor.interval, INTERVAL_SECONDS))
            for name, sensor in options.sensors.items()
        },
        counters=tuple(
            replace(counter, interval=min(counter.interval, INTERVAL_SECONDS)) for counter in options.counters
        ),
    )


def inputs(options: SensorReader, seen: trial.Seen) -> list[Input]:
    """Return how each sensor, each counter, and each sensor that is configured and not here does."""
    if "absent" not in seen.facts:
        return []  # it is still looking for sensors
    counters = {counter.name for counter in options.counters}
    return [
        *(_sensor(name, seen) for name in seen.infos if name not in counters),
        *(_counter(name, seen) for name in sorted(counters)),
        *(
            Input(f"[sensor_reader.sensors.{name}]", failure="there is no such sensor", action=ABSENT)
            for name in seen.facts["absent"]
        ),
    ]


def _sensor(name: str, seen: trial.Seen) -> Input:
    fact = seen.facts.get(f"sensor:{name}", {})
    why = fact.get("why", "") if fact.get("state") == "offline" else ""
    where = f"{name} at {fact['path']}" if "path" in fact else name
    return Input(where, (name,), failure=why, silence="no value in this time", action=SENSOR)


def _counter(name: str, seen: trial.Seen) -> Input:
    fact = seen.facts.get(f"counter:{name}", {})
    where = f"pulses on GPIO line {fact['line']}" if "line" in fact else "pulses"
    return Input(f"{name}: {where}", (name,), failure=fact.get("why", ""), silence="no count yet", action=COUNTER)


if __name__ == "__main__":
    trial.run("sensor_reader", SensorReader, main, inputs, hurried=hurried)
