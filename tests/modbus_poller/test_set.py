import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph import topics
from heliograph.bus import Bus, Message
from heliograph.config import Broker
from services.modbus_poller import writing
from simulator.device import SimulatedDevice
from simulator.faults import Fault
from simulator.registers import Registers
from simulator.site import Site, SitePlan
from simulator.tcp_server import TcpServer
from simulator.tracer import tracer
from tests.conftest import LocalBroker, Starter
from tests.modbus_poller.running import device, line, wait_for
from tests.modbus_poller.sunspec_map import Map
from tests.mqtt_recorder import Recorder

RESPONSES = topics.response("pi1", "commander", "set")


class Commander:
    """Sets channels of devices, and receives the responses."""

    def __init__(self, port: int) -> None:
        self._bus = Bus(Broker(port=port), "commander", "commander")
        self._responses: queue.Queue[dict[str, Any]] = queue.Queue()
        self._bus.subscribe(RESPONSES, lambda message: self._responses.put(json.loads(message.payload)))

    def __enter__(self) -> "Commander":
        self._bus.__enter__()
        assert self._bus.wait_connected(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.__exit__()

    def sends(self, name: str, payload: object, *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        topic = topics.device("pi1", name, "set")
        assert self._bus.publish(topic, data, qos=1, retain=retain, response_topic=RESPONSES, correlation=b"7")

    def sets(self, name: str, payload: object) -> dict[str, Any]:
        self.sends(name, payload)
        response = self._responses.get(timeout=60)
        return {"values": response.get("values", {}), "refused": response.get("refused", {})}


def site() -> SimulatedDevice:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    return tracer("tracer", lambda: reading)


def test_a_set_is_written_read_back_responded_to_and_shown(
    pollers: Starter, recorder: Recorder, broker: LocalBroker
) -> None:
    unit = site()
    with TcpServer({1: unit}) as server, Commander(broker.port) as commander:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer", interval=5.0))
        wait_for(lambda: recorder.of("tracer"))
        before = recorder.newest("tracer")["load_switch"]
        response = commander.sets("tracer", {"load_switch": not before})
        assert response == {"values": {"load_switch": not before}, "refused": {}}
        assert unit.registers.coils[2] == (not before)
        wait_for(lambda: recorder.newest("tracer") == {"load_switch": not before} or len(recorder.of("tracer")) > 2)
        wait_for(lambda: recorder.status.get("facts", {}).get("set:tracer", {}).get("values") == response["values"])
        assert recorder.status["counters"]["writes"] == 1
        refused = commander.sets("tracer", {"load_switch": 7, "pv_power": 1, "nothing": True})["refused"]
        assert refused == {
            "load_switch": "expected true or false, found 7",
            "pv_power": "it is read-only",
            "nothing": "no such channel",
        }
        wait_for(lambda: recorder.status["counters"].get("writes_refused") == 3)
        assert unit.registers.coils[2] == (not before)


def test_values_outside_the_limits_and_exceptions_are_refused(
    pollers: Starter, recorder: Recorder, broker: LocalBroker, tmp_path: Path
) -> None:
    model = tmp_path / "battery.toml"
    model.write_text(
        '[device]\nmodel = "it"\ndocument = "none"\ntable = "holding"\n[channels]\n'
        'limit = { address = 5, scale = 0.1, unit = "A", writable = [0, 80] }\n'
        "locked = { address = 6, writable = [0, 9] }\n"
    )
    registers = Registers()
    registers.holdings.update({5: 100})
    unit = SimulatedDevice("battery", registers)
    with TcpServer({1: unit}) as server, Commander(broker.port) as commander:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("battery", str(model)))
        wait_for(lambda: recorder.of("battery"))
        assert commander.sets("battery", {"limit": 42.5})["values"] == {"limit": 42.5}
        assert registers.holdings[5] == 425
        assert commander.sets("battery", {"limit": 80.1})["refused"] == {"limit": "80.1 is not between 0 and 80"}
        assert commander.sets("battery", {"locked": 1})["refused"] == {
            "locked": "the device refused it: exception 2 (illegal data address)"
        }
        unit.fault = Fault("silence")
        why = commander.sets("battery", {"limit": 1})["refused"]["limit"]
        assert why.startswith("not confirmed: ")


def test_a_set_for_a_line_that_is_down_is_refused_at_once(
    pollers: Starter, recorder: Recorder, broker: LocalBroker, free_ports: Callable[[], int]
) -> None:
    with Commander(broker.port) as commander:
        pollers.start(line(f"tcp://127.0.0.1:{free_ports()}") + device("tracer", "epever_tracer"))
        wait_for(lambda: recorder.last("tracer") == "offline")
        assert "the line is down" in commander.sets("tracer", {"load_switch": True})["refused"]["load_switch"]


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"on", b"[1]", b'{"load switch": 1}', b'{"load_switch": null}', b"\xff"),
        b'{"load_switch": true, "load_switch": false}',
    ],
)
def test_a_payload_that_is_not_a_command_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected channels and values|not a channel and value"):
        writing.parse("tracer", Message("topic", payload, False, lambda: None))


def test_a_message_that_is_not_a_command_is_set_aside(
    pollers: Starter, recorder: Recorder, broker: LocalBroker
) -> None:
    unit = site()
    with TcpServer({1: unit}) as server, Commander(broker.port) as commander:
        process = pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer"))
        wait_for(lambda: recorder.of("tracer"))
        commander.sends("tracer", b"on")
        assert commander.sets("tracer", {"load_switch": True})["values"] == {"load_switch": True}
        assert process.poll() is None
        wait_for(lambda: any(bad["where"] == "tracer: set" for bad in recorder.status.get("set_aside", [])))


def test_a_retained_command_is_ignored(pollers: Starter, recorder: Recorder, broker: LocalBroker) -> None:
    unit = site()
    unit.registers.coils[2] = 0
    with TcpServer({1: unit}) as server, Commander(broker.port) as commander:
        commander.sends("tracer", {"load_switch": True}, retain=True)
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer"))
        wait_for(lambda: len(recorder.of("tracer")) >= 3)
        assert unit.registers.coils[2] == 0


def test_a_sunspec_inverter_is_polled_and_has_the_name_in_its_map(pollers: Starter, recorder: Recorder) -> None:
    there = Map(40000, [103, 203])
    registers = Registers()
    registers.holdings.update(there.registers)
    with TcpServer({1: SimulatedDevice("fronius", registers)}) as server:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("roof", "sunspec"))
        wait_for(lambda: recorder.of("roof"))
        wait_for(lambda: recorder.infos.get("roof", {}).get("model") == "Fronius Symo 8.2-3-M")
        values = recorder.newest("roof")
        assert values["power"] == pytest.approx(there.scaled(103, "W", "W_SF"))
        wait_for(lambda: set(recorder.infos["roof"]["channels"]) == set(values))
        assert recorder.infos["roof"]["channels"]["energy_total"] == {
            "unit": "Wh",
            "kind": "counter",
            "label": "WattHours",
        }
