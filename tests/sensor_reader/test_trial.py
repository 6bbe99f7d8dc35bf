from pathlib import Path

import pytest

from tests.sensor_reader.test_one_wire import GOOD, w1_slave
from tests.sensor_reader.tree import Tree
from tests.trials import tried

pytestmark = pytest.mark.slow


def test_every_sensor_that_is_here_is_read_and_every_one_that_is_not_is_explained(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "root")
    tree.dht()
    tree.ds18b20("0316a2794bff", w1_slave(GOOD))
    tree.ds18b20("0000000000ba", w1_slave(GOOD, "NO"))
    counts = tmp_path / "data/sensor_reader"
    counts.mkdir(parents=True)
    (counts / "gas.count").write_text("7")
    result = tried(
        "sensor_reader",
        tmp_path,
        f'[sensor_reader]\nroot = "{tree.root}"\nignore = ["system"]\ninterval = 3600.0\n'
        '[sensor_reader.sensors.dht11_4]\nname = "cellar"\n'
        "[sensor_reader.sensors.dht11_5]\ninterval = 3.0\n"
        '[[sensor_reader.counters]]\nname = "gas"\nline = 17\n',
    )
    assert result.status == 0
    assert "sensor_reader: 2 of 5 inputs were read\n" in result.text
    assert result.values("cellar") == {"temperature": "21.5 °C", "humidity": "48.3 %"}
    assert result.values("ds18b20_0316a2794bff") == {"temperature": "23.125 °C"}
    assert "ds18b20_0000000000ba" in result.text
    assert result.text.count("what to do: check its wiring") == 1
    assert "gas: pulses on GPIO line 17: NOT READ: no GPIO chip has a line GPIO17\n" in result.text
    assert "[sensor_reader.sensors.dht11_5]: NOT READ: there is no such sensor\n" in result.text
