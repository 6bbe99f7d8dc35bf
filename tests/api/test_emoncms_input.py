import base64
import hashlib
import hmac
import json
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from heliograph.messages import Block, Channel, Value
from heliograph.store import open_writer
from services.api.ingest.encryption import proof
from tests.api.receiver import DEVICE_KEY, KEY, LIMIT, NOW, Receiver, receiver_at

T = 1399980731
C36 = b"AAECAwQFBgcICQoLDA0OD05Vw1aePh-F5Jh4mfyxOyt76Yji3HCjCyXC0cnRRHi5kA_qdalszwYkx0Awikihaw=="
C36_SIGNATURE = "1234:9a0b7e25f1130251192fdf56b61a5093910b02dae3adea28abcffa3fef81fa12"
ENCRYPTED = {"content-type": "aes128cbc"}


@pytest.fixture
def receiver(tmp_path: Path, data: Path) -> Iterator[Receiver]:
    with receiver_at(tmp_path) as made:
        yield made


def refused(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is False
    return str(answer.json()["message"])


def is_ok(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.text) == (200, "ok")


def test_oemgateways_request_is_understood(receiver: Receiver) -> None:
    first = f"/emoncms/input/post.json?apikey={KEY}&time={T}&node=12&json={{1:1,2:2,3:-1}}"
    second = f"/emoncms/input/post.json?apikey={KEY}&time={T}.5&node=15.0&json={{1:69.0,2:1664.0}}"
    assert is_ok(receiver.get(first, key=""))
    assert is_ok(receiver.get(second, key=""))
    assert receiver.producer.readings == [
        ("node12", {"1": 1, "2": 2, "3": -1}, T),
        ("node15", {"1": 69, "2": 1664}, T + 0.5),
    ]


def test_inputs_are_read_in_each_spelling(receiver: Receiver) -> None:
    for method in ["get", "post"]:
        for parameters, values, time in [
            ({"fulljson": '{"Power 1":100,"temp":20.5,"off":null}'}, {"power_1": 100, "temp": 20.5}, None),
            ({"fulljson": '{"a":"7","b":true}'}, {"a": 7, "b": 1}, None),
            ({"fulljson": f'{{"a":1,"time":{T}}}'}, {"a": 1}, T),
            ({"fulljson": '{"a":1,"time":"2025-11-20T10:20:00Z"}'}, {"a": 1}, NOW),
            ({"json": "{power1:100,power2:200}"}, {"power1": 100, "power2": 200}, None),
            ({"json": '{"power1":100,"power2":-2e1}'}, {"power1": 100, "power2": -20}, None),
            ({"json": "power1:100"}, {"power1": 100}, None),
            ({"csv": "100,200.5,-67"}, {"1": 100, "2": 200.5, "3": -67}, None),
            ({"csv": "100,,-67"}, {"1": 100, "3": -67}, None),
            ({"data": "100,200"}, {"1": 100, "2": 200}, None),
            ({"json": "100,200"}, {"1": 100, "2": 200}, None),
            ({"csv": "100,power1:300,200"}, {"1": 100, "power1": 300, "2": 200}, None),
            ({"data": "{power1:100}"}, {"power1": 100}, None),
            ({"data": '{"power1":100}'}, {"power1": 100}, None),
            ({"json": "a:1", "time": "2025-11-20 10:20:00"}, {"a": 1}, NOW),
            ({"json": "a:1", "time": str(T)}, {"a": 1}, T),
            ({"json": "a:1", "time": ""}, {"a": 1}, None),
        ]:
            query = {"node": "emonTx3", **parameters}
            answer = (
                receiver.get("/input/post", **query)
                if method == "get"
                else receiver.post("/input/post.json", data=query)
            )
            assert answer.status_code == 200
            assert answer.text == ('{"success": true}' if "fulljson" in parameters else "ok")
            assert receiver.producer.readings.pop() == ("emontx3", values, time)


@pytest.mark.parametrize("spelling", ["header", "bearer", "query", "form", "wrong", "none"])
def test_the_key_may_come_in_each_way(receiver: Receiver, spelling: str) -> None:
    headers = {"header": {"x-api-key": KEY}, "bearer": {"authorization": f"Bearer {KEY}"}}.get(spelling, {})
    query = {"query": f"?apikey={KEY}", "wrong": "?apikey=x"}.get(spelling, "")
    form = {"csv": "1", **({"apikey": KEY} if spelling == "form" else {})}
    answer = receiver.post(f"/input/post{query}", key="", headers=headers, data=form)
    assert answer.status_code == (401 if spelling in ("wrong", "none") else 200)


def test_a_question_needs_no_key_and_a_wrong_one_is_refused(receiver: Receiver) -> None:
    for headers, query, status in (
        ({}, "", 200),
        ({"authorization": f"Bearer {KEY}"}, "", 200),
        ({}, f"&apikey={KEY}", 200),
        ({"x-api-key": "x"}, "", 401),
        ({"authorization": "Bearer x"}, "", 401),
        ({}, "&apikey=x", 401),
    ):
        answer = receiver.client.get(f"/input/get?node=a{query}", headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json()["message"].startswith("not a key of this node")


def test_a_bad_request_is_an_error_and_never_now(receiver: Receiver) -> None:
    for parameters, words in [
        ({}, "one of fulljson, json, csv, data is missing"),
        ({"fulljson": "{a:1}"}, "not JSON"),
        ({"fulljson": "[1]"}, "expected an object"),
        ({"fulljson": '{"a":"x"}'}, "no number in it: a: 'x' is not a number"),
        ({"json": "nothing"}, "no number in it"),
        ({"csv": "a,b"}, "no number in it"),
        ({"csv": "1", "node": "%"}, "not the name of a device"),
        ({"csv": "1", "time": "yesterday"}, "is not a time"),
        ({"csv": "1", "time": "1763634000000"}, "seconds, not milliseconds"),
        ({"csv": "1", "time": str(NOW + 10 * 365 * 86400)}, "in the future"),
        ({"fulljson": '{"a":1,"time":[1]}'}, "expected seconds or a date"),
        ({"fulljson": '{"a":1,"time":true}'}, "expected seconds or a date"),
    ]:
        assert words in refused(receiver.post("/input/post", data={"node": "a", **parameters}))
    assert receiver.producer.readings == []
    assert receiver.counted["refused_content"] == 12


@pytest.mark.parametrize("host", ["", "Host: pi\r\n"])
def test_old_sketches_are_understood(receiver: Receiver, host: str) -> None:
    """EmonESP and EtherCard: HTTP/1.0, often without Host, and braces that are not encoded."""
    request = (
        f'GET /emoncms/input/post.json?node=emonesp&apikey={KEY}&fulljson={{"power":100.5,"temp":22}} HTTP/1.0\r\n'
    )
    with socket.create_connection(("127.0.0.1", receiver.running.port)) as connection:
        connection.sendall(f"{request}{host}\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"200"
    assert receiver.producer.readings == [("emonesp", {"power": 100.5, "temp": 22}, None)]


def test_what_home_assistants_history_sends_is_understood(receiver: Receiver) -> None:
    body = {"apikey": KEY, "data": "{sensor.pv_power:812.5,sensor.temp_attic:21.4}", "node": "22"}
    assert receiver.post("/input/post.json", data=body, key="").status_code == 200
    assert receiver.producer.readings == [("node22", {"sensor_pv_power": 812.5, "sensor_temp_attic": 21.4}, None)]


@pytest.mark.parametrize("time", ["0", "57", "1763634000000", "2090000000"])
def test_a_time_that_cannot_be_is_refused_with_a_sentence(receiver: Receiver, time: str) -> None:
    error = refused(receiver.post("/input/post", data={"node": "a", "csv": "1", "time": time}))
    assert re.search("2000|milliseconds|future", error)
    assert receiver.producer.readings == []


def test_nan_is_no_value_and_the_others_are_accepted(receiver: Receiver) -> None:
    answer = receiver.get("/input/post", node="dht", fulljson='{"temp":nan,"hum":41.5}')
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert receiver.get("/input/post", node="dht", fulljson='{"temp":-INF}').status_code == 200
    receiver.now = T
    bulk = f"[[{T - 9},10,1,nan,3],[{T - 4},10,2,5,6]]"
    assert is_ok(receiver.post(f"/input/bulk.json?sentat={T}", data={"data": bulk}))
    assert receiver.producer.readings == [
        ("dht", {"hum": 41.5}, None),
        ("emontx", {"power1": 1, "rssi": 3}, T - 9),
        ("emontx", {"power1": 2, "power2": 5, "rssi": 6}, T - 4),
    ]
    assert receiver.intake.counters()["no_value"] == 3
    assert receiver.aside == []


def test_items_of_a_node_with_one_second_have_times_of_their_own_and_the_same_ones_when_they_are_repeated(
    receiver: Receiver,
) -> None:
    receiver.now = T
    bulk = json.dumps([[T - 9, 10, 1], [T - 9, 10, 2], [T - 9, 11, 3], [T - 9, 10, 4], [T - 8, 10, 5]])
    for _ in range(2):
        assert is_ok(receiver.post(f"/input/bulk.json?sentat={T}", data={"data": bulk}))
    sent = [(values["power1"], time) for _, values, time in receiver.producer.readings if "power1" in values]
    assert sent == [(1, T - 9), (2, T - 8.999), (4, T - 8.998), (5, T - 8)] * 2


OPENEVSE = {"amp": 0, "voltage": 244.94, "wh": 2017162, "temp": 300, "temp1": False, "temp2": 300, "status": "active"}


def test_false_is_no_value_of_a_channel_that_has_had_numbers(receiver: Receiver) -> None:
    def posts(**changes: object) -> dict[str, Value]:
        answer = receiver.get("/input/post", node="openevse", fulljson=json.dumps({**OPENEVSE, **changes}))
        assert answer.status_code == 200
        return receiver.producer.readings[-1][1]

    assert posts()["temp1"] == 0  # it might be a contact
    assert posts(temp1=305)["temp1"] == 305
    assert "temp1" not in posts()
    assert posts(temp1=1)["temp1"] == 1
    assert "temp1" not in posts(temp1=True)
    receiver.running.tell("heliograph/roof/devices/openevse/state", {"time": NOW, "values": {"temp3": 310}})
    assert "temp3" not in posts(temp3=False)  # the store or the bus has had its numbers
    assert receiver.intake.counters()["no_value"] == 4
    bulk = f"[[{T},15,7,false],[{T + 1},15,false,true]]"
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": bulk}))
    assert [values for _, values, _ in receiver.producer.readings[-2:]] == [{"1": 7, "2": 0}, {"2": 1}]


def test_a_bad_value_is_set_aside_and_the_others_are_accepted(receiver: Receiver) -> None:
    assert is_ok(receiver.post("/input/post", data={"node": "a", "json": '{"b":1,"c":"x","":3}'}))
    assert receiver.producer.readings == [("a", {"b": 1}, None)]
    assert len(receiver.aside) == 2
    assert KEY not in str(receiver.aside)


def test_emonhubs_frames_are_accepted_with_the_names_of_the_configuration(receiver: Receiver) -> None:
    receiver.now = T + 11
    body = urlencode({"data": f"[[{T},10,100,200.5,-67],[{T + 10},11,3,4]]"})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert is_ok(receiver.post(f"/emoncms/input/bulk.json?sentat={T + 11}", content=body, headers=headers))
    assert receiver.producer.readings == [
        ("emontx", {"power1": 100, "power2": 200.5, "rssi": -67}, T),
        ("node11", {"1": 3, "2": 4}, T + 10),
    ]
    assert receiver.producer.infos["emontx"].channels == {
        "power1": Channel("W"),
        "power2": Channel("W"),
        "rssi": Channel("dBm"),
    }


def test_a_name_takes_no_position(receiver: Receiver) -> None:
    """As in emoncms' input_methods.php: an input by position is called by its number among those without a name."""
    items = f'[[{T},"a",{{"x":1}},5,null,{{"y":2,"z":3}},7],[{T + 1},"a",{{"1":6}}]]'
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": items}))
    assert receiver.producer.readings == [("a", {"x": 1, "1": 5, "y": 2, "z": 3, "3": 7}, T), ("a", {"1": 6}, T + 1)]
    assert receiver.aside == []


def test_an_input_that_the_configuration_names_is_one_by_position_and_by_name(receiver: Receiver) -> None:
    items = f'[[{T},10,100,200],[{T + 1},10,{{"power1":101}},{{"2":201}}],[{T + 2},10,102]]'
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": items}))
    assert receiver.producer.readings == [
        ("emontx", {"power1": 100, "power2": 200}, T),
        ("emontx", {"power1": 101, "power2": 201}, T + 1),
        ("emontx", {"power1": 102}, T + 2),
    ]
    assert receiver.aside == []


def test_of_two_values_of_one_input_the_last_is_taken_and_the_other_counted(receiver: Receiver) -> None:
    """As in emoncms, where the second overwrites the first without a word."""
    items = f'[[{T},"a",5,{{"1":7}}],[{T},10,100,{{"power1":101}}]]'
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": items}))
    assert receiver.producer.readings == [("a", {"1": 7}, T), ("emontx", {"power1": 101}, T)]
    assert [why for why, _, _ in receiver.aside] == [
        "node a: 1: 5: a later value of the same input was taken",
        "node 10: power1: 100: a later value of the same input was taken",
    ]
    assert is_ok(receiver.get("/input/post", node="a", json="{x:1,x:2}"))
    assert receiver.producer.readings[-1] == ("a", {"x": 2}, None)
    assert len(receiver.aside) == 3


def test_a_number_that_is_not_a_position_is_a_name(receiver: Receiver) -> None:
    assert is_ok(receiver.get("/input/post", node="10", json="{01:1,1:2,00:3}"))
    assert receiver.producer.readings[-1] == ("emontx", {"01": 1, "power1": 2, "00": 3}, None)


def test_a_time_that_comes_twice_is_refused(receiver: Receiver) -> None:
    request = {"node": "a", "fulljson": f'{{"a":1,"time":{T},"time":{T + 1}}}'}
    assert "time: it has no value, or comes twice" in refused(receiver.post("/input/post", data=request))
    assert receiver.producer.readings == []


def test_emonhubs_compressed_frames_with_names_are_accepted(receiver: Receiver) -> None:
    frames = f'[[{T},"emontx",{{"power1":100,"power2":200.5,"rssi":-67}}],[{T + 10},11,3,4]]'
    receiver.now = T + 11
    assert is_ok(receiver.post(f"/input/bulk.json?sentat={T + 11}&cb=1", content=zlib.compress(frames.encode())))
    assert receiver.producer.readings == [
        ("emontx", {"power1": 100, "power2": 200.5, "rssi": -67}, T),
        ("node11", {"1": 3, "2": 4}, T + 10),
    ]


def test_hexadecimal_frames_are_accepted(receiver: Receiver) -> None:
    packed = zlib.compress(f"[[{T},11,3]]".encode()).hex()
    assert is_ok(receiver.post("/input/bulk?c=1&time=0", data={"data": packed}))
    assert is_ok(receiver.get("/input/bulk", c="1", time="0", data=packed))
    assert receiver.producer.readings == [("node11", {"1": 3}, T)] * 2


def test_times_count_from_what_is_given(receiver: Receiver) -> None:
    cases: list[tuple[dict[str, str], list[float], list[float]]] = [
        ({"sentat": str(T + 30)}, [T, T + 10], [NOW - 30, NOW - 20]),
        ({"sentat": str(NOW - 9)}, [NOW - 20], [NOW - 20]),
        ({"sentat": str(NOW + 11)}, [NOW - 20], [NOW - 31]),
        ({"offset": "30"}, [0, 10], [NOW - 30, NOW - 20]),
        ({"offset": "3"}, [0, 3], [NOW - 3, NOW]),
        ({"time": str(T)}, [0, 10], [T, T + 10]),
        ({}, [5, 15], [NOW - 10, NOW]),
        ({"sentat": str(T), "offset": "5", "time": "9"}, [T], [NOW]),
        ({"offset": "30", "time": "9"}, [30], [NOW]),
    ]
    for parameters, items, times in cases:
        data = json.dumps([[time, "a", 1] for time in items])
        assert is_ok(receiver.post("/input/bulk", params=parameters, data={"data": data}))
        assert [at for _, _, at in receiver.producer.readings] == times
        receiver.producer.readings.clear()


def test_before_the_clock_is_set_only_absolute_times_are_accepted(receiver: Receiver) -> None:
    receiver.clock_is_right = False
    for parameters in ({"sentat": "9"}, {"offset": "9"}, {}):
        answer = receiver.post("/input/bulk", params=parameters, data={"data": f"[[{T},1,2]]"})
        assert "has not been set" in refused(answer, 503)
        assert "retry-after" in answer.headers
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": f"[[{T},1,2]]"}))


def test_bad_items_and_values_are_set_aside_and_the_sender_continues(receiver: Receiver) -> None:
    items = f'[[{T},"a",1,null,"x",4],7,[{T}],["t",1,1],[NaN,1,1],[{T},[1],1],[{T},"%",1],[1,"b",1],[{T},"c",NaN],[{T},"d",9]]'
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": items}))
    assert receiver.producer.readings == [("a", {"1": 1, "4": 4}, T), ("d", {"1": 9}, T)]
    assert len(receiver.aside) == receiver.counted["refused_parts"] == 8
    assert {where for _, _, where in receiver.aside} == {"emoncms"}


def test_two_texts_with_one_name_are_never_one_channel_nor_one_device(receiver: Receiver) -> None:
    assert is_ok(receiver.get("/input/post", node="Küche", json="{PvPower:1}"))
    assert is_ok(receiver.get("/input/post", node="Küche", json="{pv_power:2,flow:3}"))
    assert "would be called kuche, which is the name of 'Küche'" in refused(
        receiver.get("/input/post", node="kuche", json="{flow:4}")
    )
    assert receiver.producer.readings == [("kuche", {"pv_power": 1}, None), ("kuche", {"flow": 3}, None)]
    assert [why for why, _, _ in receiver.aside] == [
        "node Küche: 'pv_power' would be called kuche/pv_power, which is the name of 'PvPower'",
        "'kuche' would be called kuche, which is the name of 'Küche'",
    ]


def test_a_thousand_bad_items_are_counted_and_a_few_shown(receiver: Receiver) -> None:
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": json.dumps([[T, "a"]] * 1000)}))
    assert receiver.counted["refused_parts"] == 1000
    assert len(receiver.aside) == 10


def test_what_is_no_list_is_refused(receiver: Receiver) -> None:
    for data in ["", "x", "{}", "[[", "7", "[" * 5000]:
        refused(receiver.post("/input/bulk?time=0", data={"data": data}))


def test_an_empty_list_is_accepted(receiver: Receiver) -> None:
    assert is_ok(receiver.post("/input/bulk?time=0", data={"data": "[]"}))


def test_what_is_not_packed_as_it_says_is_refused(receiver: Receiver) -> None:
    refused(receiver.post("/input/bulk?cb=1", content=b"[[1,2,3]]"), 400)
    refused(receiver.post("/input/bulk?cb=1", content=zlib.compress(b"[]")[:-2]), 400)
    refused(receiver.post("/input/bulk?cb=1", content=zlib.compress(b" " * (LIMIT + 1))), 413)
    refused(receiver.post("/input/bulk?c=1", data={"data": "xyz"}), 422)
    refused(receiver.post("/input/bulk", content=b"\xff\xfe", headers={"content-type": "text/plain"}), 400)
    refused(receiver.post("/input/bulk?sentat=x", data={"data": "[[1,2,3]]"}))
    refused(receiver.post("/input/bulk"))


def test_a_device_of_another_service_is_refused_and_nothing_is_lost(receiver: Receiver) -> None:
    info = {"model": "emonTx", "channels": {}, "service": "serial_bridge"}
    receiver.running.tell("heliograph/roof/devices/emontx/info", info)
    answer = receiver.post("/input/bulk?time=0", data={"data": f"[[{T},11,1],[{T},10,1]]"})
    assert "serial_bridge" in refused(answer, 409)
    assert receiver.producer.readings == []


def test_while_the_disk_refuses_the_sender_keeps_what_it_has(receiver: Receiver) -> None:
    receiver.producer.disk_is_full = True
    refused(receiver.post("/input/bulk?time=0", data={"data": f"[[{T},11,1]]"}), 503)


def test_an_encrypted_request_is_answered_with_its_proof(receiver: Receiver) -> None:
    answer = receiver.post("/input/bulk", key="", content=C36, headers={**ENCRYPTED, "authorization": C36_SIGNATURE})
    assert (answer.status_code, answer.text) == (200, "-Mq9KooyWaFMbm00UY08MWcgCD3Ly1MF4ZbFMoKgeLk=")
    assert receiver.producer.readings == [("iotahome", {"1": 1004}, 1523810260)]


def encrypted(plain: bytes, pad: bool = True) -> tuple[bytes, str]:
    key = bytes.fromhex(DEVICE_KEY)
    more = 16 - len(plain) % 16 if pad else -len(plain) % 16
    machine = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    body = base64.b64encode(bytes(16) + machine.update(plain + bytes([more] * more if pad else [0] * more)))
    return body, f"1234:{hmac.digest(key, plain, hashlib.sha256).hex()}"


def test_input_post_may_be_encrypted_too(receiver: Receiver) -> None:
    body, signature = encrypted(b"node=a&fulljson=" + quote('{"b":1}').encode())
    answer = receiver.post("/input/post", key="", content=body, headers={**ENCRYPTED, "authorization": signature})
    assert answer.text == proof(b"node=a&fulljson=" + quote('{"b":1}').encode())
    assert receiver.producer.readings == [("a", {"b": 1}, None)]


def test_what_is_not_encrypted_and_signed_with_the_devices_key_is_refused(receiver: Receiver) -> None:
    body, signature = encrypted(b"node=a&csv=1")
    unpadded, _ = encrypted(b"node=a&csv=1", pad=False)
    cases = [
        (body, "1234:" + "0" * 64, 401),
        (body, "9:" + signature[5:], 401),
        (body, "", 401),
        (unpadded, signature, 401),
        (body[:24], signature, 400),
        (b"\xff" * 40, signature, 400),
        (b"", signature, 400),
    ]
    for content, authorization, status in cases:
        headers = {**ENCRYPTED, "authorization": authorization}
        refused(receiver.post("/input/post", key="", content=content, headers=headers), status)
    assert receiver.producer.readings == []


def test_a_sender_that_asks_learns_where_to_continue(tmp_path: Path, data: Path) -> None:
    writer = open_writer(data)
    writer.write("roof", [Block("iotahome", ("1", "2"), [[1523810240, 5, 6], [1523810250, 7, None]])])
    writer.commit({})
    writer.close()
    with receiver_at(tmp_path) as receiver:
        assert receiver.get("/input/get", node="IotaHome").json() == {
            "1": {"time": 1523810250, "value": 7, "processList": ""},
            "2": {"time": 1523810240, "value": 6, "processList": ""},
        }
        assert is_ok(receiver.post("/input/bulk?time=1523810250", data={"data": '[[10,"IotaHome",1]]'}))
        assert receiver.get("/emoncms/input/get.json", node="IotaHome").json()["1"]["time"] == 1523810260
        unknown = receiver.get("/input/get", node="unknown")
        assert (unknown.status_code, unknown.text) == (200, '"Node does not exist"')
        refused(receiver.get("/input/get"))
        assert receiver.get("/input/get/IotaHome").json()["2"]["value"] == 6
        assert receiver.get("/emoncms/input/get/IotaHome/2").json() == {
            "time": 1523810240,
            "value": 6,
            "processList": "",
        }
        assert receiver.get("/input/get/IotaHome/9").json() == "Input does not exist"
        assert receiver.get("/input/get/unknown/1").json() == "Node does not exist"
        assert is_ok(receiver.get("/input/post/emontx", csv="1,2"))
        assert is_ok(receiver.post("/emoncms/input/post/emontx", data={"csv": "3,4"}))
        assert [device for device, _, _ in receiver.producer.readings[1:]] == ["emontx", "emontx"]


def test_while_the_store_is_away_no_node_is_called_new(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with receiver_at(tmp_path) as receiver:
        refused(receiver.get("/input/get", node="IotaHome"), 503)
        assert is_ok(receiver.post("/input/bulk?time=1523810250", data={"data": '[[10,"IotaHome",1]]'}))
        assert receiver.get("/input/get", node="IotaHome").json()["1"]["time"] == 1523810260


def test_the_key_of_a_device_that_encrypts_is_a_key_too(receiver: Receiver) -> None:
    assert is_ok(receiver.post("/input/bulk?time=0", key=DEVICE_KEY, data={"data": f"[[{T},1,2]]"}))
