import json
from typing import Any

from heliograph.messages import Channel, Info
from heliograph.renames import Rename, Renames
from services.home_assistant.registry import MAX_SETTLE_SECONDS, REMOVAL_SECONDS, SETTLE_SECONDS, Registry

METER = ("pi", "meter")
POWER = {"power": Channel("W")}


class Published:
    """A registry, and the discovery messages that it has published."""

    def __init__(self, *renames: Rename) -> None:
        self.messages: list[tuple[str, dict[str, Any] | None]] = []
        self.registry = Registry(self._publish, lambda identifier: f"mirror/{identifier}", renames=Renames(renames))

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


UNLOADED = {"migrate_discovery": True}


def renamed(before: Published, device: tuple[str, str], described: Info, *renames: Rename) -> Published:
    """The registry after a restart, with what the broker has retained of the one before."""
    after = Published(*renames)
    for identifier, message in dict(before.messages).items():
        if message:
            after.registry.restore(identifier, message)
    after.registry.describe(device, described, 0.0)
    after.registry.note_availability(device, 0.0)
    after.registry.reconcile(0.0)
    after.registry.tick(100.0)
    return after


def identities(message: dict[str, Any] | None) -> set[str]:
    assert message is not None
    return {*message["dev"]["ids"], *(one["uniq_id"] for one in message["cmps"].values() if "uniq_id" in one)}


def test_entities_of_a_renamed_node_are_unloaded_and_continue_under_the_new_topic() -> None:
    """Case Y10: Home Assistant had alpha_meter, unavailable, and a gamma_meter whose history began again."""
    before = started("power", "energy")
    after = renamed(
        before, ("gamma", "main"), info("power", "energy"), Rename("pi", "gamma"), Rename("gamma/meter", "gamma/main")
    )
    assert [one for one in after.messages if one[0] == "pi_meter"] == [("pi_meter", UNLOADED), ("pi_meter", None)]
    assert [identifier for identifier, _ in after.messages] == ["pi_meter", "pi_meter", "gamma_main"]
    message = after.messages[-1][1]
    assert message is not None
    assert identities(message) == identities(before.messages[-1][1])
    assert message["stat_t"] == "heliograph/gamma/devices/main/state"
    assert message["dev"]["name"] == "Main"
    again = renamed(
        after, ("gamma", "main"), info("power", "energy"), Rename("pi", "gamma"), Rename("gamma/meter", "gamma/main")
    )
    assert again.messages == []


def test_an_entity_of_a_renamed_channel_is_unloaded_before_it_is_another_component() -> None:
    before = started("power", "energy")
    after = renamed(before, METER, info("watt", "energy"), Rename("pi/meter/power", "pi/meter/watt"))
    assert after.messages[:2] == [("pi_meter", UNLOADED), ("pi_meter", None)]
    message = after.messages[2][1]
    assert message is not None
    assert message["cmps"]["sensor_watt"]["uniq_id"] == "pi_meter_power"
    assert identities(message) == identities(before.messages[-1][1])


def test_where_both_names_had_entities_the_older_ones_continue() -> None:
    before = Published()
    for device in (METER, ("gamma", "meter")):
        before.registry.describe(device, info("power"), 0.0)
    before.registry.reconcile(0.0)
    after = renamed(before, ("gamma", "meter"), info("power"), Rename("pi", "gamma"))
    assert after.messages[:3] == [("pi_meter", UNLOADED), ("pi_meter", None), ("gamma_meter", None)]
    assert identities(after.messages[-1][1]) == {"pi_meter", "pi_meter_power"}


def test_a_device_that_gets_a_name_that_was_given_up_is_another_one() -> None:
    after = renamed(Published(), METER, info("power"), Rename("pi/meter", "pi/main"))
    assert identities(after.messages[-1][1]) == {"pi_meter_N2", "pi_meter_power_N2"}


def test_what_is_left_of_a_former_node_is_removed_and_may_still_come_back() -> None:
    before = started("power")
    after = Published(Rename("pi", "gamma"))
    for identifier, message in before.messages:
        assert message
        after.registry.restore(identifier, message)
    after.registry.reconcile(0.0)
    assert after.registry.remove_orphans() == ["pi_meter"]
    assert after.messages == [("pi_meter", UNLOADED), ("pi_meter", None)]
