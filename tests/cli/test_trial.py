from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.trial import NOT_TRIED, triable
from tests.conftest import free_port


def attempt(folder: Path, text: str, *options: str) -> Result:
    path = folder / "mine.toml"
    path.write_text(f'[node]\nname = "roof"\ndata = "{folder}/data"\n{text}')
    return CliRunner().invoke(main, ["try", "--config", str(path), *options])


def test_every_service_that_reads_devices_can_be_tried() -> None:
    assert triable() == ["modbus_poller", "mqtt_importer", "sensor_reader", "serial_bridge"]
    assert not set(NOT_TRIED) & set(triable())


@pytest.mark.parametrize(
    ("text", "services", "message"),
    [
        ("", (), "mine.toml has no service that reads something: modbus_poller, mqtt_importer"),
        ("[storage]\n", ("storge",), "storge: no such service here; did you mean storage? modbus_poller"),
        ("[storage]\n", ("storage",), "storage cannot be tried: it reads no device"),
        ("[calculator]\n", (), "calculator cannot be tried: its formulas need the store"),
        ("[api]\n", ("api",), "api cannot be tried: sensors and programs send to it"),
        ("[api]\n", ("sensor_reader",), "there is no section [sensor_reader] in the configuration"),
        ("[sensor\n", (), "mine.toml: not TOML"),
    ],
)
def test_what_cannot_be_tried_is_explained(tmp_path: Path, text: str, services: tuple[str, ...], message: str) -> None:
    result = attempt(tmp_path, text, *services)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("services", "keeps", "code", "expected"),
    [
        ((), "", 0, ["modbus_poller: 0 of 1 inputs were read", "sensor_reader: 1 of 1 inputs were read"]),
        (("modbus_poller",), "data", 1, ["modbus_poller: 0 of 1 inputs were read"]),
    ],
)
def test_services_are_tried_side_by_side_and_1_is_that_nothing_was_read(
    tmp_path: Path,
    services: tuple[str, ...],
    keeps: str,
    code: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if keeps:  # as in a container, which keeps this folder and no other
        monkeypatch.setenv("HELIOGRAPH__NODE__DATA", str(tmp_path / keeps))
    (tmp_path / "root").mkdir()
    result = attempt(
        tmp_path,
        f'[sensor_reader]\n[modbus_poller]\nlines = [{{ port = "tcp://127.0.0.1:{free_port()}", '
        'devices = [{ name = "grid", model = "eastron_sdm120" }] }]\n',
        *services,
    )
    assert [line for line in result.stdout.splitlines() if "inputs were read" in line] == expected
    assert result.exit_code == code
    assert "Trying " in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_mistake_in_one_section_is_reported_with_exit_code_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = attempt(tmp_path, "[sensor_reader]\n[modbus_poller]\nlnes = 1\n")
    assert result.exit_code == 1
    assert "mine.toml: [modbus_poller]: no such option: lnes" in capfd.readouterr().err
