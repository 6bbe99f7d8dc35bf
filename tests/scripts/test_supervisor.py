import socket
from collections.abc import Callable

import pytest

from heliograph.errors import ConfigError
from scripts import options, supervisor


def test_the_broker_takes_the_next_port_where_another_broker_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_ports: Callable[[], int]
) -> None:
    with socket.create_server(("127.0.0.1", free_ports())) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(options, "BROKER_PORT", taken)
        port = supervisor.broker_port(None)
        assert taken < port < taken + supervisor.BROKER_PORTS
        assert f"listens on port {port}" in capsys.readouterr().out
        with pytest.raises(ConfigError, match=f"port {taken} is in use; choose another with --broker-port"):
            supervisor.broker_port(taken)


def test_the_broker_has_its_usual_port_where_that_is_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_ports: Callable[[], int]
) -> None:
    port = free_ports()
    monkeypatch.setattr(options, "BROKER_PORT", port)
    assert supervisor.broker_port(None) == port
    assert supervisor.broker_port(port) == port
    assert capsys.readouterr().out == ""


def test_options_have_defaults_and_a_mistake_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.parse([]).simulate is None
    assert options.parse(["--no-simulate", "--port", "81"]).port == 81
    for wrong in (["--portt", "1"], ["--port", "http"], ["--simul"], ["more"]):
        with pytest.raises(SystemExit) as ended:
            options.parse(wrong)
        assert ended.value.code == 2
    assert "scripts/start: error: " in capsys.readouterr().err
