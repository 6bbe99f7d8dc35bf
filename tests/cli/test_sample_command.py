import tomllib

from click.testing import CliRunner

from cli.main import main


def test_the_samples_of_all_services_are_one_configuration() -> None:
    result = CliRunner().invoke(main, ["sample"])
    assert result.exit_code == 0
    assert {"node", "broker", "storage", "api", "uploader", "modbus_poller"} <= tomllib.loads(result.stdout).keys()


def test_only_the_services_that_are_named_are_in_it() -> None:
    result = CliRunner().invoke(main, ["sample", "storage", "serial_bridge"])
    assert list(tomllib.loads(result.stdout)) == ["node", "broker", "quality", "storage", "serial_bridge"]


def test_a_service_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(main, ["sample", "storag"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: there is no service storag; did you mean storage? There are api, ")
