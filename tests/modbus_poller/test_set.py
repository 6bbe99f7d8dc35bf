import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph import topics
from heliograph.bus import Bus
from heliograph.config import Broker
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

ANSWERS = topics.response("pi1", "somebody", "set")


class Somebody:
    """Sets channels of devices, and hears the answers."""

    def __init__(self, port: int) -> None:
        self._bus = Bus(Broker(port=port), "somebody", "somebody")
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._bus.subscribe(ANSWERS, lambda message: self._answers.put(json.loads(message.payload)))

    def __enter__(self) -> "Somebody":
        self._bus.__enter__()
        assert self._bus.wait_connected(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.__exit__()

    def sends(self, name: str, payload: object, *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        topic = topics.device("pi1", name, "set")
        assert self._bus.publish(topic, data, qos=1, retain=retain, response_topic=ANSWERS, correlation=b"7")

    def sets(self, name: str, payload: object) -> dict[str, Any]:
        self.sends(name, payload)
        answer = self._answers.get(timeout=60)
        return {"values": answer.get("values", {}), "refused": answer.get("refused", {})}


def site() -> SimulatedDevice:
    reading = Site(SitePlan(), 1_782_000_000.0).controller()
    return tracer("tracer", lambda: reading)


def test_a_set_is_written_read_back_answered_and_shown(
    pollers: Starter, recorder: Recorder, broker: LocalBroker
) -> None:
    unit = site()
    with TcpServer({1: unit}) as server, Somebody(broker.port) as somebody:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer", interval=5.0))
        wait_for(lambda: recorder.of("tracer"))
        before = recorder.newest("tracer")["load_switch"]
        answer = somebody.sets("tracer", {"load_switch": not before})
        assert answer == {"values": {"load_switch": not before}, "refused": {}}
        assert unit.registers.coils[2] == (not before)
        wait_for(lambda: recorder.newest("tracer") == {"load_switch": not before} or len(recorder.of("tracer")) > 2)
        wait_for(lambda: recorder.status.get("facts", {}).get("set:tracer", {}).get("values") == answer["values"])
        assert recorder.status["counters"]["writes"] == 1
        refused = somebody.sets("tracer", {"load_switch": 7, "pv_power": 1, "nothing": True})["refused"]
        assert refused == {
            "load_switch": "expected true or false, found 7",
            "pv_power": "it is read-only",
            "nothing": "no such channel",
        }
        wait_for(lambda: recorder.status["counters"].get("writes_refused") == 3)
        assert unit.registers.coils[2] == (not before)


def test_a_limit_holds_and_a_no_of_the_device_is_told(
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
    with TcpServer({1: unit}) as server, Somebody(broker.port) as somebody:
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("battery", str(model)))
        wait_for(lambda: recorder.of("battery"))
        assert somebody.sets("battery", {"limit": 42.5})["values"] == {"limit": 42.5}
        assert registers.holdings[5] == 425
        assert somebody.sets("battery", {"limit": 80.1})["refused"] == {"limit": "80.1 is not between 0 and 80"}
        assert somebody.sets("battery", {"locked": 1})["refused"] == {
            "locked": "the device refused it: exception 2 (illegal data address)"
        }
        unit.fault = Fault("silence")
        why = somebody.sets("battery", {"limit": 1})["refused"]["limit"]
        assert why.startswith("not confirmed: ")


def test_a_set_for_a_line_that_is_down_is_refused_at_once(
    pollers: Starter, recorder: Recorder, broker: LocalBroker, free_ports: Callable[[], int]
) -> None:
    with Somebody(broker.port) as somebody:
        pollers.start(line(f"tcp://127.0.0.1:{free_ports()}") + device("tracer", "epever_tracer"))
        wait_for(lambda: recorder.last("tracer") == "offline")
        assert "the line is down" in somebody.sets("tracer", {"load_switch": True})["refused"]["load_switch"]


@pytest.mark.parametrize("payload", [b"", b"on", b"[1]", b'{"load switch": 1}', b'{"load_switch": null}', b"\xff"])
def test_what_is_no_command_is_set_aside(
    pollers: Starter, recorder: Recorder, broker: LocalBroker, payload: bytes
) -> None:
    unit = site()
    with TcpServer({1: unit}) as server, Somebody(broker.port) as somebody:
        process = pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer"))
        wait_for(lambda: recorder.of("tracer"))
        somebody.sends("tracer", payload)
        assert somebody.sets("tracer", {"load_switch": True})["values"] == {"load_switch": True}
        assert process.poll() is None
        wait_for(lambda: any(bad["where"] == "tracer: set" for bad in recorder.status.get("set_aside", [])))


def test_a_retained_command_is_an_old_one(pollers: Starter, recorder: Recorder, broker: LocalBroker) -> None:
    unit = site()
    unit.registers.coils[2] = 0
    with TcpServer({1: unit}) as server, Somebody(broker.port) as somebody:
        somebody.sends("tracer", {"load_switch": True}, retain=True)
        pollers.start(line(f"tcp://127.0.0.1:{server.port}") + device("tracer", "epever_tracer"))
        wait_for(lambda: len(recorder.of("tracer")) >= 3)
        assert unit.registers.coils[2] == 0


def test_a_sunspec_inverter_is_polled_and_tells_its_own_name(pollers: Starter, recorder: Recorder) -> None:
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
