import re
from pathlib import Path

import pytest

from heliograph.config import Config
from heliograph.errors import ConfigError
from services.modbus_poller import models
from services.modbus_poller.options import DeviceOptions, LineOptions, ModbusPoller
from tests.conftest import ROOT
from tests.samples import assert_sample_tells_the_truth, documented, fields


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert_sample_tells_the_truth(ModbusPoller, "modbus_poller")


def test_every_option_of_a_line_and_a_device_is_in_the_sample() -> None:
    lines = documented("modbus_poller")["lines"]
    assert set(lines[0]) == fields(LineOptions)
    assert set(lines[0]["devices"][0]) == fields(DeviceOptions)


README = ROOT / "services/modbus_poller/README.md"


@pytest.mark.parametrize(("section", "kind"), [("[device]", models.Header), ("[channels]", models.Register)])
def test_the_readme_lists_every_option_of_a_device_file(section: str, kind: type[Config]) -> None:
    _, _, table = README.read_text().partition(f"`{section}`")
    rows = re.findall(r"^\| (`.+?`) \|", table.partition("\n\n`")[0].partition("\n##")[0], re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == fields(kind), f"{README}: the table below {section} lists other options than {kind.__name__} has"


@pytest.mark.parametrize(("section", "kind"), [("device", models.Header), ("x", models.Register)])
def test_a_former_option_of_a_device_file_is_refused_with_its_present_name(section: str, kind: type[Config]) -> None:
    for former, present in kind.RENAMED.items():
        header: dict[str, object] = {"model": "M", "document": "D"}
        channel: dict[str, object] = {"address": 1}
        (header if section == "device" else channel)[former] = 1
        with pytest.raises(ConfigError, match=rf"mine.toml: \[{section}\]: .*{former}; it is now {present}"):
            models.parse({"device": header, "channels": {"x": channel}}, Path("mine.toml"))
        assert present in fields(kind)
