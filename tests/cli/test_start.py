import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cli.start import effective_config, options, supervisor
from heliograph.errors import ConfigError


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


@pytest.mark.slow
def test_a_client_without_an_id_of_its_own_is_let_in(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    (tmp_path / "run").mkdir()
    port = free_ports()
    broker = subprocess.Popen(effective_config.broker_command(tmp_path, port))
    try:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)  # as mosquitto_sub without -i
        client.username_pw_set("viewer", (tmp_path / "secrets/viewer").read_text().strip())
        reasons: SimpleQueue[str] = SimpleQueue()
        client.on_connect = lambda *arguments: reasons.put(str(arguments[3]))
        for attempt in range(100):
            try:
                client.connect("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                assert attempt < 99
                time.sleep(0.05)
        client.loop_start()
        assert reasons.get(timeout=20) == "Success"
        client.disconnect()
        client.loop_stop()
        client.reinitialise()  # closes what paho wakes its thread with, too
    finally:
        broker.kill()
        broker.wait()


def test_options_have_defaults_and_a_mistake_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.parse([]).simulate is None
    assert options.parse(["--no-simulate", "--port", "81"]).port == 81
    for wrong in (["--portt", "1"], ["--port", "http"], ["--simul"], ["more"]):
        with pytest.raises(SystemExit) as ended:
            options.parse(wrong)
        assert ended.value.code == 2
    assert "scripts/start: error: " in capsys.readouterr().err
