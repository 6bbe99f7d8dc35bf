"""What devices call themselves and their values, as names: none is two things, and one that was given stays given."""

import json
from pathlib import Path

from tests.serial_bridge.conftest import BridgeRecorder, Line, Start, Wait, port


def aside(watcher: BridgeRecorder) -> list[str]:
    return [item["why"] for item in watcher.status["set_aside"]]


def test_two_texts_with_one_name_are_one_channel_and_one_that_is_set_aside(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> None:
    line.plug_in()
    start(port("radio", line.path, "json_lines"))
    eventually(watcher.is_open("radio"))
    line.say(b'{"device": "Boiler 1", "Power": 1}\n{"device": "Boiler 1", "power": 2, "Flow": 3}\n')
    line.say(b'{"device": "boiler-1", "flow": 4}\n{"device": "boiler_1", "flow": 5}\n{"flow": 6}\n')
    line.say(b'{"device": "Radio", "flow": 7}\n{"last": 8}\n')
    eventually(lambda: watcher.stored and watcher.stored[-1][2] == {"last": 8})
    line.pull_out()  # the next status says it
    eventually(watcher.is_open("radio", is_open=False))
    assert [(device, values) for device, _, values in watcher.stored] == [
        ("boiler_1", {"power": 1}),
        ("boiler_1", {"flow": 3}),
        ("boiler-1", {"flow": 4}),
        ("radio", {"flow": 6}),
        ("radio", {"last": 8}),
    ]
    assert watcher.counter("duplicate_names") == watcher.counter("set_aside") == 3
    assert aside(watcher) == [
        "'power' would be called power, which is the name of 'Power'",
        "'boiler_1' would be called boiler_1, which is the name of 'Boiler 1'",
        "'Radio' would be called radio, which is the name of 'radio'",
    ]


def states_of(
    start: Start, line: Line, watcher: BridgeRecorder, eventually: Wait
) -> list[tuple[str, dict[str, object]]]:
    line.plug_in()
    start(port("radio", line.path, "json_lines") + 'units = { "Küche" = "W" }\n')
    eventually(watcher.is_open("radio"))
    line.say('{"device": "Küche", "Küche": 1, "PvPower": 2, "°C": 3}\n'.encode())
    eventually(watcher.has_states(1))
    assert watcher.infos[watcher.states[0][0]]["channels"][next(iter(watcher.states[0][1]))] == {"unit": "W"}
    return watcher.states


def test_a_new_data_folder_has_the_present_spelling(
    start: Start, line: Line, watcher: BridgeRecorder, tmp_path: Path, eventually: Wait
) -> None:
    assert states_of(start, line, watcher, eventually) == [("kuche", {"kuche": 1, "pv_power": 2, "deg_c": 3})]
    (mark,) = tmp_path.rglob("names.json")
    assert json.loads(mark.read_text()) == {"rule": 2}


def test_a_data_folder_from_before_keeps_the_former_spelling(
    start: Start, line: Line, watcher: BridgeRecorder, tmp_path: Path, eventually: Wait
) -> None:
    (tmp_path / "data" / "outbox" / "serial_bridge").mkdir(parents=True)
    assert states_of(start, line, watcher, eventually) == [("k_che", {"k_che": 1, "pvpower": 2, "c": 3})]
