"""Mistakes in a configuration: each is answered in one line, which names the key and what is right, before anything connects.

Here the services check their sections in this process; `heliograph check` and `start` let them do it in theirs.
"""

import re
import string
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tomli_w
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import inspect

from cli.start import command, config_check, options, plan
from heliograph import config, node_config, rules, service
from heliograph.errors import ConfigError
from heliograph.lock import Lock
from services.api.server import Api
from services.calculator.options import Calculator
from services.home_assistant.options import HomeAssistant
from services.modbus_poller.options import ModbusPoller
from services.mqtt_importer.options import MqttImporter
from services.sensor_reader.options import SensorReader
from services.serial_bridge.options import SerialBridge
from services.storage.options import Storage
from services.uploader import targets
from services.uploader.settings import Uploader

KINDS: dict[str, type[config.ServiceOptions]] = {
    "api": Api,
    "calculator": Calculator,
    "home_assistant": HomeAssistant,
    "modbus_poller": ModbusPoller,
    "mqtt_importer": MqttImporter,
    "sensor_reader": SensorReader,
    "serial_bridge": SerialBridge,
    "storage": Storage,
    "uploader": Uploader,
}
WITH_STORE = ("api", "storage", "uploader")


def answer(path: Path) -> str:
    """What `heliograph check` says of a file, "" if it is right."""
    errors, claims = {}, {}
    try:
        file = plan.make(options.StartOptions(path, None, None, None, None, simulate=False)).file
        for name in plan.services_of(file):
            try:
                read = service.configuration(name, KINDS[name], path, uses_store=name in WITH_STORE)
                claims[name] = list(read[3].claims())
            except ConfigError as error:
                errors[name] = f"{name}: {error}\n"
    except ConfigError as error:
        return str(error)
    contradictions = (f"{path}: {one}" for one in config_check.contradictions(claims, file))
    return "\n".join(config_check.once(errors) if errors else contradictions)


def modbus(line: str = "", device: str = "") -> str:
    return f"""
[[modbus_poller.lines]]
port = "/dev/ttyUSB0"
{line}
[[modbus_poller.lines.devices]]
name = "tracer"
model = "epever_tracer"
{device}
"""


TRACER = modbus()
RADIO = '[[serial_bridge.ports]]\nname = "radio"\nport = "/dev/ttyAMA0"\nformat = "rfm2pi"\n'
NODE = '[serial_bridge.nodes.10]\nname = "emontx"\nnames = ["power1", "T 1"]\ndatacodes = ["h", "h", "h"]\n'
TARGET = '[[uploader.targets]]\nname = "home"\nkind = "influxdb"\nurl = "http://h"\norg = "o"\nbucket = "b"\n'
LOAD = '[calculator.devices.house.channels.load]\nformula = "{}"\n'

MISTAKES = [
    (modbus("boud = 9600"), "modbus_poller: {path}: [modbus_poller] lines[0]: no such option: boud; did you mean baud? There are port, devices, baud, "),
    ("[modbus_polller]", "{path}: [modbus_polller]: no such section; did you mean modbus_poller? There are node, broker, "),
    (modbus("baud = '9600'"), "modbus_poller: {path}: [modbus_poller] lines[0].baud: expected int, found '9600'"),
    (TRACER + '[[modbus_poller.lines.devices]]\nname = "tracer"\nmodel = "epever_tracer"\nunit_id = 2', "modbus_poller: {path}: [modbus_poller]: lines: device 'tracer' is used twice"),
    (TRACER + '[[modbus_poller.lines.devices]]\nname = "other"\nmodel = "epever_tracer"', "modbus_poller: {path}: [modbus_poller] lines[0]: devices: unit_id 1 is used twice"),
    (TRACER.replace("_tracer", "_tracr"), "modbus_poller: {path}: [modbus_poller] lines[0].devices[0]: model: there is no 'epever_tracr'; did you mean epever_tracer? There are abb_b23, "),
    (TRACER.replace('"tracer"', '"My Tracer/1"'), "modbus_poller: {path}: [modbus_poller] lines[0].devices[0]: name: 'My Tracer/1' is not a name; use lower-case letters, digits, _ and -"),
    ('[node]\nname = "My Pi/1"', "{path}: [node]: name: 'My Pi/1' is not a name; use lower-case letters, digits, _ and -"),
    ("[node\nname = 1", "{path}: not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
    (TARGET + 'token = "file:/none"', "uploader: {path}: [uploader] targets[0] token: cannot read /none: No such file or directory"),
    (TARGET + 'token = "$NO_TOKEN"', "uploader: {path}: [uploader] targets[0] token: environment variable NO_TOKEN is not set"),
    (TARGET.replace("influxdb", "influxdbb"), "uploader: {path}: [uploader]: targets.home: kind: there is no 'influxdbb'; did you mean influxdb? There are emoncms, "),
    (TARGET.replace("kind", "kidn"), "uploader: {path}: [uploader]: targets.home: no such option: kidn; did you mean kind?"),
    (RADIO.replace("rfm2pi", "rfm2pj"), "serial_bridge: {path}: [serial_bridge]: ports.radio: format: no such format: 'rfm2pj'; did you mean rfm2pi? There are auto, "),
    ('[[mqtt_importer.sources]]\nfamily = "tasmotta"', "mqtt_importer: {path}: [mqtt_importer]: sources.tasmotta: family: no such family: 'tasmotta'; did you mean tasmota? There are emonhub, "),
    ('[[mqtt_importer.sources]]\nfamily = "tasmota"\nbroker = "hom"\n[mqtt_importer.brokers.home]\nhost = "h"', "mqtt_importer: {path}: [mqtt_importer]: sources.tasmota: broker: there is no [mqtt_importer.brokers.hom]; did you mean home?"),
    (TARGET + 'timezone = "Europe/Berln"', "uploader: {path}: [uploader]: targets.home: timezone: 'Europe/Berln' is not a time zone; did you mean Europe/Berlin?"),
    ('[api.pimonitor]\ntz = "Europe/Berln"', "api: {path}: [api] pimonitor: tz: 'Europe/Berln' is not a time zone; did you mean Europe/Berlin?"),
    ('[[mqtt_importer.sources]]\nfamily = "tasmota"\ntimezone = "my home"', "mqtt_importer: {path}: [mqtt_importer] sources[0]: timezone: 'my home' is not a time zone; use a name such as Europe/Berlin"),
    ('[storage]\nlog_level = "inf"', "storage: {path}: [storage] log_level: expected debug or error or info or warning, found 'inf'; did you mean info?"),
    ('[api.keys]\nesp = "hello"', "api: {path}: [api]: keys.esp: it is not the hash of a key: `heliograph key` makes a key and its hash"),
    (LOAD.format("tracer.load + "), "calculator: {path}: [calculator] devices.house.channels.load: formula: column 14: something is missing at the end"),
    (TRACER + LOAD.format("tracer.pv_powr + 1"), "{path}: [calculator] devices.house.channels.load.formula: tracer has no channel pv_powr; did you mean pv_power?"),
    (RADIO + NODE + LOAD.format("emontx.powr1 + emontx.t_1"), "{path}: [calculator] devices.house.channels.load.formula: emontx has no channel powr1; did you mean power1?"),
    ('[[sensor_reader.counters]]\nname = "gas"\nline = 17\n' + LOAD.format("gas.volume * 2"), "{path}: [calculator] devices.house.channels.load.formula: gas has no channel volume; there are pulses"),
    (TRACER + '[quality."tracer/pv_powr"]\nmin = 0', '{path}: [quality."tracer/pv_powr"]: tracer has no channel pv_powr; did you mean pv_power?'),
    ('[quality."roof/tracer/power"]\nmin = 0', "{path}: [quality] 'roof/tracer/power': expected [quality.\"DEVICE/CHANNEL\"]: each part is made of "),
    ('[quality."tracer/pv_power"]\nmin = 2\nmax = 1', "{path}: [quality] tracer/pv_power: min: 2 is more than max, which is 1"),
    ('[quality."tracer/pv_power"]\nmni = 2', "{path}: [quality] tracer/pv_power: no such option: mni; did you mean min? There are scale, "),
    ('[quality."tracer/pv_power"]\nunit = "kWhh"', "{path}: [quality] tracer/pv_power: unknown unit 'kWhh'; did you mean kWh? known are "),
    ("[broker]\nport = 99999", "{path}: [broker] port: expected a number from 1 to 65535, found 99999"),
    ('[broker]\nhost = "hub"\nport = 99999', "{path}: [broker]: port: 99999 is not between 1 and 65535"),
    ('[broker]\nhsot = "hub"', "{path}: [broker]: no such option: hsot; did you mean host? There are host, port, password, ca"),
    ("[node]\nnam = 'x'", "{path}: [node]: no such option: nam; did you mean name? There are name, data, "),
    (modbus(device="interval = -5"), "modbus_poller: {path}: [modbus_poller] lines[0].devices[0]: interval: -5.0 is not between 0.1 and 86400 seconds"),
    (TRACER.replace("[[modbus_poller.lines]]", "[modbus_poller.lines]"), "; write [[modbus_poller.lines]] in place of [modbus_poller.lines]"),
    (TRACER.replace("[[modbus_poller.lines.devices]]", "[modbus_poller.lines.devices]"), "; write [[modbus_poller.lines.devices]] in place of [modbus_poller.lines.devices]"),
    (TARGET.replace("[[uploader.targets]]", "[uploader.targets]"), "; write [[uploader.targets]] in place of [uploader.targets]"),
    ("[[storage]]\ncommit_seconds = 5", "storage: {path}: [storage]: expected object, found [{{'commit_seconds': 5}}]; write [storage] in place of [[storage]]"),
    ("[[node]]\nname = 'x'", "{path}: node: expected a section [node], found [{{'name': 'x'}}]"),
    (TRACER.replace('model = "epever_tracer"', ""), "modbus_poller: {path}: [modbus_poller] lines[0].devices[0]: missing: model"),
    (TRACER + RADIO.replace("AMA0", "USB0"), "{path}: [modbus_poller] lines[0].port and [serial_bridge] ports[0].port are both the port /dev/ttyUSB0; "),
    (TRACER + RADIO + NODE.replace("emontx", "tracer"), "{path}: [modbus_poller] lines[0].devices[0].name and [serial_bridge] nodes.10.name are both called tracer; "),
    (TRACER.replace("/dev/ttyUSB0", "192.168.1.30:502"), "modbus_poller: {path}: [modbus_poller] lines[0]: port: '192.168.1.30:502' is no path; for a host write 'tcp://192.168.1.30:502'"),
    (TRACER.replace("/dev/ttyUSB0", "192.168.1.30"), "lines[0]: port: '192.168.1.30' is no path; for a host write 'tcp://192.168.1.30'"),
    (TRACER.replace("/dev/ttyUSB0", "COM3"), "lines[0]: port: 'COM3' is a name that Windows uses; write the path, such as '/dev/ttyUSB0'"),
    (TRACER.replace("/dev/ttyUSB0", "ttyUSB0"), "lines[0]: port: 'ttyUSB0' is no path; write '/dev/ttyUSB0'"),
    (TRACER.replace("/dev/ttyUSB0", "~/tty"), "lines[0]: port: expected a path that begins with /, such as '/dev/ttyUSB0', or tcp://HOST:PORT, found '~/tty'"),
    (RADIO.replace("/dev/ttyAMA0", "gateway.lan:2000"), "port: 'gateway.lan:2000' is no path; for a host write 'socket://gateway.lan:2000'"),
    (RADIO.replace("/dev/ttyAMA0", "com12"), "port: 'com12' is a name that Windows uses; write the path, such as '/dev/ttyUSB0'"),
    (modbus(device='unit_id = "1"'), "lines[0].devices[0].unit_id: expected int, found '1'; write it without quotes"),
    (modbus(device='interval = "2.5"'), "lines[0].devices[0].interval: expected float, found '2.5'; write it without quotes"),
    ('[node]\ndata = "~/x"', "{path}: [node]: data: '~/x' begins with ~, which only a shell understands; write the whole path, such as '/home/pi/data'"),
    ('[node]\nclock_file = "~/x"', "{path}: [node]: clock_file: '~/x' begins with ~, which only a shell understands"),
    ('[[uploader.targets]]\nkind = "file"\nname = "card"\nfolder = "~/x"', "folder: '~/x' begins with ~, which only a shell understands"),
    ('[broker]\nhost = "h"\nca = "~/x"', "{path}: [broker]: ca: '~/x' begins with ~, which only a shell understands"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), MISTAKES)
def test_a_mistake_is_answered_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    message = answer(path)
    assert line.format(path=path) in message
    assert "\n" not in message
    assert str(path) in message


@pytest.mark.parametrize(
    "text",
    [
        TRACER + RADIO + NODE + LOAD.format("tracer.pv_power + emontx.power1 + emontx.t_1 + 'emontx.3' + emontx.rssi"),
        LOAD.format("plug.power + 'shed/tracer.nothing'"),  # of a device that comes over HTTP or MQTT, of another node
        TRACER + '[quality."tracer/pv_*"]\nmin = 0\n[quality."*/nothing"]\nmin = 0\n[quality."plug/power"]\nmin = 0',
        modbus().replace('"epever_tracer"', '"sunspec"') + LOAD.format("tracer.nothing"),
    ],
)
def test_what_the_configuration_cannot_know_is_no_mistake(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert answer(path) == ""


def test_every_service_is_checked() -> None:
    assert sorted(KINDS) == plan.services()


@pytest.mark.parametrize(
    ("text", "arguments", "line"),
    [
        ("", ("--data", "/dev/null/data"), "Error: --data: /dev/null/data/run cannot be written: Not a directory"),
        ('[node]\ndata = "/dev/null/x"', (), "Error: {path}: [node] data: /dev/null/x/run cannot be written: Not a directory"),
        ('[node]\ndata = "/dev/null/x"', ("--data", "/proc/1/mem"), "Error: --data: /proc/1/mem/run cannot be written: Not a directory"),
        ("[stroage]", (), "Error: {path}: [stroage]: no such section; did you mean storage? There are "),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_answered_in_one_line(
    tmp_path: Path, text: str, arguments: tuple[str, ...], line: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        command.main(["--config", str(path), *arguments], "heliograph start")
    assert str(ended.value).startswith(line.format(path=path))
    assert "\n" not in str(ended.value)


def test_a_second_start_says_that_the_node_runs_and_how_to_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "data/run"
    run.mkdir(parents=True)
    path = tmp_path / "mine.toml"
    path.write_text("")
    lock = Lock(run / "lock", "folder")
    processes = tmp_path / "proc"
    (processes / "17").mkdir(parents=True)
    (processes / "17/cmdline").write_bytes(b"heliograph\0start\0")
    (run / "pid").write_text("17\n")
    monkeypatch.setattr(node_config, "PROCESSES", processes)
    with pytest.raises(SystemExit) as ended:
        command.main(["--config", str(path), "--data", str(tmp_path / "data")], "heliograph start")
    lock.release()
    assert str(ended.value) == (
        f"Error: the node of {tmp_path / 'data'} runs already as process 17; `heliograph status` shows how it is and its "
        "address; Ctrl-C where it was started, or `kill 17`, stops it"
    )


@pytest.mark.parametrize(
    ("variable", "value", "text", "line"),
    [
        ("HELIOGRAPH__BROKER__PORT", "http", "", "environment variable HELIOGRAPH__BROKER__PORT: [broker] port: expected int, found 'http'"),
        ("HELIOGRAPH__BROKER__PROT", "1883", "", "environment variable HELIOGRAPH__BROKER__PROT: [broker]: no such option: prot; did you mean port? "),
        ("HELIOGRAPH__BROKER__PASSWORD", "file:/none", "", "environment variable HELIOGRAPH__BROKER__PASSWORD: [broker] password: cannot read /none: "),
        ("HELIOGRAPH__BROKER__PORT", "http", "[broker]\nport = 0", "{path}: [broker]: port: 0 is not between 1 and 65535"),
        ("HELIOGRAPH__BROKER__PORT", "1883", "[broker]\nhots = 'x'", "{path}: [broker]: no such option: hots; did you mean host? "),
        ("HELIOGRAPH__NODE__NAME", "", "", "environment variable HELIOGRAPH__NODE__NAME: [node]: name: missing: a container has no useful host name; write [node] name into config.toml, or HELIOGRAPH_NODE=roof into .env"),
        ("HELIOGRAPH__NODE__NAME", "My Pi", "", "environment variable HELIOGRAPH__NODE__NAME: [node]: name: 'My Pi' is not a name"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, text: str, line: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as refused:
        service.configuration("storage", Storage, path)
    assert str(refused.value).startswith(line.format(path=path))
    assert "\n" not in str(refused.value)


class Table(NamedTuple):
    """A table of the configuration: its path, what else has to be in it, and its options."""

    path: tuple[str | int, ...]
    others: dict[str, Any]
    known: tuple[str, ...]


def tables(kind: Any, path: tuple[str | int, ...], others: dict[str, Any]) -> Iterator[Table]:
    """Every table below one of this type."""
    kind = inspect.type_info(kind) if not isinstance(kind, inspect.Type) else kind
    if isinstance(kind, inspect.Metadata):
        yield from tables(kind.type, path, others)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from tables(one, path, others)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
        yield from tables(kind.item_type, (*path, 0), {})
    elif isinstance(kind, inspect.DictType):
        yield from tables(kind.value_type, (*path, "10"), {})
    elif isinstance(kind, inspect.StructType):
        yield Table(path, others, tuple(field.encode_name for field in kind.fields))
        for field in kind.fields:
            yield from tables(field.type, (*path, field.encode_name), {})


TABLES = [
    *tables(config.Node, ("node",), {}),
    *tables(config.Broker, ("broker",), {}),
    *tables(rules.Rule, ("quality", "tracer/power"), {}),
    *(table for name, kind in KINDS.items() for table in tables(kind, (name,), {})),
    *(
        table
        for kind in targets.known()
        for table in tables(targets.load(kind), ("uploader", "targets", 0), {"kind": kind})
    ),
]
PATH = Path("config.toml")
READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "node": lambda file: config.section(config.Node, file, "node", PATH),
    "broker": lambda file: config.section(config.Broker, file, "broker", PATH),
    "quality": lambda file: rules.read(file, PATH),
    **{name: partial(lambda name, file: config.section(KINDS[name], file, name, PATH), name) for name in KINDS},
}
OPTIONS = [(table, option) for table in TABLES for option in table.known]
CHARACTERS = string.ascii_lowercase + string.digits + "_"


def test_every_table_is_found() -> None:
    assert len(OPTIONS) > 300
    names = {".".join(str(step) for step in table.path) for table in TABLES}
    assert {
        "modbus_poller.lines.0.devices.0",
        "serial_bridge.nodes.10.tx",
        "calculator.devices.10.channels.10",
        "api.emoncms.nodes.10",
        "uploader.targets.0",
    } <= names


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[Table, str, str]:
    """A table, one of its options, and that with one or two slips of the keyboard."""
    table, right = draw(st.sampled_from(OPTIONS))
    written = right
    if len(right) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(right) - 2))
        written = right[:at] + right[at + 1] + right[at] + right[at + 2 :]
    else:
        for _ in range(draw(st.integers(1, 2))):
            at, character = draw(st.integers(0, len(written))), draw(st.sampled_from(["", *CHARACTERS]))
            written = written[:at] + character + written[at + draw(st.integers(0, 1)) :]
    assume(written and written not in (*table.known, "kind"))
    return table, right, written


def one_slip(word: str) -> set[str]:
    """Every text that one slip makes of a word, and the word itself."""
    halves = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    left_out = {head + tail[1:] for head, tail in halves if tail}
    exchanged = {head + tail[1] + tail[0] + tail[2:] for head, tail in halves if len(tail) > 1}
    changed = {head + character + tail[1:] for head, tail in halves if tail for character in CHARACTERS}
    added = {head + character + tail for head, tail in halves for character in CHARACTERS}
    return {word} | left_out | exchanged | changed | added


@given(misspelt())
def test_any_misspelt_option_is_answered_with_it_and_the_nearest_right_name(one: tuple[Table, str, str]) -> None:
    table, right, written = one
    content: Any = {**table.others, written: 1}
    for step in reversed(table.path[1:]):
        content = [content] if isinstance(step, int) else {step: content}
    section = str(table.path[0])
    file = tomllib.loads(tomli_w.dumps({section: content}))
    with pytest.raises(ConfigError) as refused:
        READERS[section](file)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"config.toml: [{section}]")
    assert f"no such option: {written}" in message
    if "; it is now " in message:
        return
    match = re.search(r"; did you mean (\w+)\?", message)
    slips = one_slip(written)
    near = [name for name in table.known if name in slips]
    if not match:  # nothing of the name is left
        assert not near or len(near[0]) == 1
        # Of so few characters, two slips are no advice: test_nearest.py.
        assert len(right) <= 2 or len(written) <= 3
    elif near:
        assert match[1] in near
    else:
        assert one_slip(match[1]) & slips
