"""The rules of mosquitto/acl, and the block that mosquitto/README.md says to add for a plug."""

import getpass
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT, Processes, free_port, mosquitto_command
from tests.mqtt_recorder import Recorder

Eventually = Callable[[Callable[[], object]], object]


class Guarded:
    """A broker with the project's users and rules, and those of a plug."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.secrets = folder / "secrets"
        command = [sys.executable, str(ROOT / "scripts/secrets"), str(self.secrets), "--user", "plug"]
        subprocess.run(command, check=True, capture_output=True)
        documented = re.search(r"```acl\n(.*?)```", (ROOT / "mosquitto/README.md").read_text(), re.DOTALL)
        assert documented
        acl = folder / "acl"
        acl.write_text((ROOT / "mosquitto/acl").read_text() + re.sub(r"(?m)^ +", "", documented[1]))
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\nacl_file {acl}\n"
            f"password_file {self.secrets}/broker/passwords\nuser {getpass.getuser()}\nlog_dest stderr\nlog_type error\n"
        )
        self.process = subprocess.Popen([mosquitto_command(), "-c", str(config)])

    def enter(self, user: str) -> Recorder:
        return Recorder(self.port, user, (self.secrets / user).read_text().strip(), name="visitor")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    broker = Guarded(tmp_path)
    yield broker
    broker.process.kill()
    broker.process.wait()


def test_a_plug_with_a_user_of_its_own_is_read_and_switched(
    guarded: Guarded, processes: Processes, eventually: Eventually, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[node]\nname = "pi1"\ndata = "{tmp_path}/data"\nclock = "trust"\n'
        f'[broker]\nport = {guarded.port}\npassword = "file:{guarded.secrets}/{{service}}"\n'
        '[[mqtt_importer.sources]]\nfamily = "tasmota"\ncommands = true\n'
    )
    processes.start("services.mqtt_importer", str(file))
    with guarded.enter("plug") as plug, guarded.enter("viewer") as viewer, guarded.enter("api") as api:

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
    for rule in re.findall(r"^topic (?:read|write) (.*)$", rules, re.MULTILINE):
        if rule.split("/")[0] in ("+", "#"):
            assert "#" not in rule
            assert len(rule.split("/")) < 5, f"{rule} reaches into our own tree, whose topics have five levels or more"
