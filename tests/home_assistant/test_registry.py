import json
from typing import Any

from heliograph.messages import Channel, Info
from services.home_assistant.registry import DROP_SECONDS, LONGEST_SETTLE_SECONDS, SETTLE_SECONDS, Registry

METER = ("pi", "meter")
POWER = {"power": Channel("W")}


class Told:
    """Remembers what Home Assistant is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any] | None]] = []
        self.registry = Registry(self._tell, lambda identifier: f"mirror/{identifier}")

    def _tell(self, identifier: str, payload: bytes) -> None:
        self.messages.append((identifier, json.loads(payload) if payload else None))

    def components(self) -> list[dict[str, Any]]:
        return [message["cmps"] for _, message in self.messages if message]


def info(*channels: str, interval: float = 5.0) -> Info:
    return Info("Meter", {name: Channel("W") for name in channels}, interval, "modbus_poller")


def started(*channels: str) -> Told:
    told = Told()
    told.registry.described(METER, info(*channels), 0.0)
    told.registry.announced(METER, 0.0)
    told.registry.complete(0.0)
    return told


def test_nothing_is_said_before_the_broker_has_told_what_it_keeps() -> None:
    told = Told()
    told.registry.described(METER, info("power"), 0.0)
    told.registry.tick(100.0)
    assert told.messages == []
    told.registry.complete(100.0)
    assert [identifier for identifier, _ in told.messages] == ["pi_meter"]


def test_what_the_broker_keeps_already_is_not_said_again() -> None:
    first = started("power")
    again = Told()
    message = first.messages[0][1]
    assert message
    again.registry.found("pi_meter", message)
    again.registry.described(METER, info("power"), 0.0)
    again.registry.announced(METER, 0.0)
    assert again.registry.complete(0.0) == []
    again.registry.tick(100.0)
    assert again.messages == []


def test_a_device_that_is_being_learnt_is_said_once_when_it_has_settled() -> None:
    told = started("power")
    for second in range(3):
        told.registry.described(METER, info("power", *(f"power_{n}" for n in range(second + 1))), second * 0.5)
        told.registry.tick(second * 0.5)
    assert len(told.messages) == 1
    told.registry.tick(1.0 + SETTLE_SECONDS)
    assert len(told.components()[1]) == 4


def test_a_device_that_never_settles_is_said_at_last() -> None:
    told = started("power")
    now = 0.0
    while now < LONGEST_SETTLE_SECONDS + 1:
        told.registry.described(METER, info("power", f"at_{int(now * 2)}"), now)
        told.registry.tick(now)
        now += 0.5
    assert len(told.messages) == 2


def test_a_channel_that_is_gone_is_taken_away_and_then_left_out() -> None:
    told = started("power", "voltage")
    told.registry.described(METER, info("power"), 10.0)
    told.registry.tick(20.0)
    assert told.components()[-1]["sensor_voltage"] == {"p": "sensor"}
    told.registry.tick(20.0 + DROP_SECONDS / 2)
    assert len(told.messages) == 2
    told.registry.tick(20.0 + DROP_SECONDS)
    assert list(told.components()[-1]) == ["sensor_power"]
    assert len(told.messages) == 3


def test_a_channel_that_becomes_a_switch_is_another_entity() -> None:
    told = Told()
    told.registry.described(METER, Info("x", {"load": Channel(kind="state")}, 5.0), 0.0)
    told.registry.complete(0.0)
    told.registry.described(METER, Info("x", {"load": Channel(kind="state", writable=(0, 1))}, 5.0), 1.0)
    told.registry.tick(10.0)
    parts = told.components()[-1]
    assert parts["switch_load"]["p"] == "switch"
    assert parts["binary_sensor_load"] == {"p": "binary_sensor"}


def test_a_device_that_nobody_describes_any_more_is_taken_away() -> None:
    told = started("power")
    told.registry.forgotten(METER)
    assert told.messages[-1] == ("pi_meter", None)


def test_orphans_are_taken_away_and_others_stay() -> None:
    told = Told()
    told.registry.found("pi_old", {"cmps": {"x": {"p": "sensor", "uniq_id": "x"}}})
    told.registry.found("pi_odd", {"cmps": "broken"})
    told.registry.unreadable(("pi", "odd"))
    told.registry.described(METER, info("power"), 0.0)
    assert told.registry.complete(0.0) == ["pi_old"]
    assert told.messages[0] == ("pi_old", None)
    assert {identifier for identifier, _ in told.messages} == {"pi_old", "pi_meter"}
    assert told.registry.counters()["orphans_removed"] == 1


def test_irregular_devices_are_read_from_their_mirror() -> None:
    told = Told()
    told.registry.described(METER, info("power", interval=0.0), 0.0)
    told.registry.complete(0.0)
    message = told.messages[0][1]
    assert message
    assert message["stat_t"] == "mirror/pi_meter"


def test_everything_is_said_again_when_home_assistant_was_born() -> None:
    told = started("power")
    told.registry.repeat()
    assert told.messages[0] == told.messages[1]


def test_a_new_connection_begins_anew() -> None:
    told = started("power")
    told.registry.restart()
    told.registry.tick(100.0)
    assert len(told.messages) == 1
    told.registry.described(METER, info("power"), 100.0)
    told.registry.announced(METER, 100.0)
    told.registry.complete(100.0)
    assert told.messages[0] == told.messages[1]
