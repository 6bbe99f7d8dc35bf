"""The rules of mosquitto/acl, and the block that mosquitto/README.md says to add for a plug."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.conftest import ROOT, GuardedBroker, Processes, Starter

Eventually = Callable[[Callable[[], object]], object]


def test_a_plug_with_a_user_of_its_own_is_read_and_switched(
    guarded_broker: GuardedBroker, processes: Processes, eventually: Eventually, tmp_path: Path
) -> None:
    documented = re.search(r"```acl\n +user plug\n(.*?)```", (ROOT / "mosquitto/README.md").read_text(), re.DOTALL)
    assert documented
    guarded_broker.add_user("plug", re.sub(r"(?m)^ +", "", documented[1]))
    importer = Starter("mqtt_importer", tmp_path, guarded_broker, processes)
    importer.start('[[mqtt_importer.sources]]\nfamily = "tasmota"\ncommands = true\n')
    recorder = guarded_broker.recorder
    with recorder("plug") as plug, recorder("viewer") as viewer, recorder("api") as api:

        def read() -> bool:
            plug.publish("stat/plug/POWER", "OFF")
            return viewer.shows("plug", {"relay": False})

        eventually(read)
        plug.publish("stat/other/POWER", "ON")  # not its own
        plug.publish("heliograph/pi1/devices/plug/state", '{"time": 1, "values": {"relay": true}}')
        plug.publish("heliograph/pi1/devices/plug/set", '{"relay": false}')
        api.set("plug", {"relay": True})
        eventually(partial(plug.others.count, ("cmnd/plug/POWER", "ON")))
        plug.publish("stat/plug/POWER", "ON")
        eventually(partial(viewer.shows, "plug", {"relay": True}))
        assert viewer.known("other") == {}
        assert ("cmnd/plug/POWER", "OFF") not in plug.others
        assert plug.states == []


def test_no_rule_for_a_family_reaches_into_our_own_tree() -> None:
    rules = (ROOT / "mosquitto/acl").read_text().partition("user mqtt_importer\n")[2].partition("\nuser ")[0]
    for right, rule in re.findall(r"^topic (read|write) (.*)$", rules, re.MULTILINE):
        if rule.split("/")[0] in ("+", "#"):
            assert "#" not in rule
            # Of our own tree, whose topics have five levels or more, at most live states, of a node that is called "cover".
            is_of_states = right == "read" and re.fullmatch(r"\+/[a-z]+/\+/\+/state", rule)
            assert len(rule.split("/")) < 5 or is_of_states, f"{right} {rule} reaches into our own tree"
