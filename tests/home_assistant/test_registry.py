import json
from typing import Any

from heliograph.messages import Channel, Info
from services.home_assistant.registry import MAX_SETTLE_SECONDS, REMOVAL_SECONDS, SETTLE_SECONDS, Registry

METER = ("pi", "meter")
POWER = {"power": Channel("W")}


class Published:
    """A registry, and the discovery messages that it has published."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any] | None]] = []
        self.registry = Registry(self._publish, lambda identifier: f"mirror/{identifier}")

    def _publish(self, identifier: str, payload: bytes) -> None:
        self.messages.append((identifier, json.loads(payload) if payload else None))

    def components(self) -> list[dict[str, Any]]:
        return [message["cmps"] for _, message in self.messages if message]


def info(*channels: str, interval: float = 5.0) -> Info:
    return Info("Meter", {name: Channel("W") for name in channels}, interval, "modbus_poller")


def started(*channels: str) -> Published:
    published = Published()
    published.registry.describe(METER, info(*channels), 0.0)
    published.registry.note_availability(METER, 0.0)
    published.registry.reconcile(0.0)
    return published


def test_nothing_is_published_before_all_retained_messages_were_received() -> None:
    published = Published()
    published.registry.describe(METER, info("power"), 0.0)
    published.registry.tick(100.0)
    assert published.messages == []
    published.registry.reconcile(100.0)
    assert [identifier for identifier, _ in published.messages] == ["pi_meter"]


def test_a_retained_message_is_not_published_again() -> None:
    first = started("power")
    again = Published()
    message = first.messages[0][1]
    assert message
    again.registry.restore("pi_meter", message)
    again.registry.describe(METER, info("power"), 0.0)
    again.registry.note_availability(METER, 0.0)
    again.registry.reconcile(0.0)
    assert again.registry.remove_orphans() == []
    again.registry.tick(100.0)
    assert again.messages == []


def test_a_device_that_is_being_learnt_is_published_once_it_has_settled() -> None:
    published = started("power")
    for second in range(3):
        published.registry.describe(METER, info("power", *(f"power_{n}" for n in range(second + 1))), second * 0.5)
        published.registry.tick(second * 0.5)
    assert len(published.messages) == 1
    published.registry.tick(1.0 + SETTLE_SECONDS)
    assert len(published.components()[1]) == 4


def test_a_device_that_never_settles_is_published_after_a_while() -> None:
    published = started("power")
    now = 0.0
    while now < MAX_SETTLE_SECONDS + 1:
        published.registry.describe(METER, info("power", f"at_{int(now * 2)}"), now)
        published.registry.tick(now)
        now += 0.5
    assert len(published.messages) == 2


def test_a_channel_that_is_gone_is_removed_and_then_left_out() -> None:
    published = started("power", "voltage")
    published.registry.describe(METER, info("power"), 10.0)
    published.registry.tick(20.0)
    assert published.components()[-1]["sensor_voltage"] == {"p": "sensor"}
    published.registry.tick(20.0 + REMOVAL_SECONDS / 2)
    assert len(published.messages) == 2
    published.registry.tick(20.0 + REMOVAL_SECONDS)
    assert list(published.components()[-1]) == ["sensor_power"]
    assert len(published.messages) == 3


def test_a_channel_that_becomes_a_switch_is_another_entity() -> None:
    published = Published()
    published.registry.describe(METER, Info("x", {"load": Channel(kind="state")}, 5.0), 0.0)
    published.registry.reconcile(0.0)
    published.registry.describe(METER, Info("x", {"load": Channel(kind="state", writable=(0, 1))}, 5.0), 1.0)
    published.registry.tick(10.0)
    parts = published.components()[-1]
    assert parts["switch_load"]["p"] == "switch"
    assert parts["binary_sensor_load"] == {"p": "binary_sensor"}


def test_a_device_without_a_description_is_removed() -> None:
    published = started("power")
    published.registry.forget(METER)
    assert published.messages[-1] == ("pi_meter", None)


def test_orphans_are_removed_and_others_stay() -> None:
    published = Published()
    published.registry.restore("pi_old", {"cmps": {"x": {"p": "sensor", "uniq_id": "x"}}})
    published.registry.restore("pi_odd", {"cmps": "broken"})
    published.registry.note_unreadable(("pi", "odd"))
    published.registry.describe(METER, info("power"), 0.0)
    published.registry.reconcile(0.0)
    assert [identifier for identifier, _ in published.messages] == ["pi_meter"]
    assert published.registry.remove_orphans() == ["pi_old"]
    assert published.messages[1:] == [("pi_old", None)]
    assert published.registry.counters()["orphans_removed"] == 1


def test_irregular_devices_are_read_from_their_mirror() -> None:
    published = Published()
    published.registry.describe(METER, info("power", interval=0.0), 0.0)
    published.registry.reconcile(0.0)
    message = published.messages[0][1]
    assert message
    assert message["stat_t"] == "mirror/pi_meter"


def test_everything_is_published_again_when_home_assistant_starts() -> None:
    published = started("power")
    published.registry.republish()
    assert published.messages[0] == published.messages[1]


def test_a_new_connection_begins_from_scratch() -> None:
    published = started("power")
    published.registry.restart()
    published.registry.tick(100.0)
    assert len(published.messages) == 1
    published.registry.describe(METER, info("power"), 100.0)
    published.registry.note_availability(METER, 100.0)
    published.registry.reconcile(100.0)
    assert published.messages[0] == published.messages[1]
