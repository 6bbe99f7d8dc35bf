import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import MappedChannel, Refused, TryLater
from services.uploader.targets.emoncms.bulk import BulkItems
from services.uploader.targets.emoncms.encryption import Encryption
from services.uploader.targets.emoncms.target import Emoncms, Options
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.emoncms_server import KEY, USER, EmoncmsServer
from tests.uploader.servers.rows import START, delivered, mapped, row
from tests.uploader.servers.web_server import Response

Opened = Callable[..., Emoncms]
POWER, VOLTS = mapped("power"), mapped("volts", "V")


@pytest.fixture
def server() -> Iterator[EmoncmsServer]:
    running = EmoncmsServer()
    yield running
    running.close()


@pytest.fixture
def opened(server: EmoncmsServer, open_targets: OpenTargets) -> Opened:
    def make(*channels: MappedChannel, **options: object) -> Emoncms:
        given = {"kind": "emoncms", "name": "e", "url": server.url, "key": KEY, **options}
        return open_targets.add(Emoncms, given, *channels)

    return make


def test_named_values_arrive_with_their_times(opened: Opened, server: EmoncmsServer) -> None:
    rows = [row(START + 5 * n + 0.7, (POWER, VOLTS), 400.5 + n, 230) for n in range(3)]
    assert opened().upload(rows).response == "ok"
    assert server.stored["meter", "power"] == {START: 400.5, START + 5: 401.5, START + 10: 402.5}
    assert server.stored["meter", "volts"][int(START)] == 230
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in server.requests[0].target + server.requests[0].body.decode()


def test_numbers_as_names_are_positions_and_a_row_with_a_gap_goes_by_name(
    opened: Opened, server: EmoncmsServer
) -> None:
    positions = tuple(mapped(name) for name in ("1", "4", "5", "6"))
    server.stored["IotaHome", "1"] = {1_523_810_240: 1.0}
    server.stored["IotaHome", "4"] = {1_523_810_250: 1.0}
    target = opened(*positions, node="IotaHome")
    assert target.newest() == 1_523_810_250
    target.upload([row(1_523_810_260, positions, 1004.0, 2944.6, 0.003, 60.0), row(1_523_810_270, positions[:1], 7.0)])
    assert server.requests[0].target == "/input/get?node=IotaHome"
    assert server.requests[1].body.decode() == (
        'time=1523810250&data=[[10,"IotaHome",{"1":1004,"4":2944.6,"5":0.003,"6":60}],[20,"IotaHome",7]]'
    )
    assert server.stored["IotaHome", "5"] == {1_523_810_260: 0.003}


@given(
    st.lists(st.dictionaries(st.integers(1, 12), st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=8)
)
def test_whatever_positions_a_row_lacks_exactly_its_values_arrive(values_of_rows: list[dict[int, int]]) -> None:
    items = BulkItems("n")
    server = EmoncmsServer.__new__(EmoncmsServer)
    server.stored, server.accepted, server.out_of_order, server.poison, server.most_nodes = {}, [], 0, set(), 32
    for second, values in enumerate(values_of_rows):
        channels = tuple(mapped(str(position)) for position in values)
        for item in items.of(row(second, channels, *values.values()), 0):
            assert server._item(json.loads(msgspec.json.encode(item)), 0) == ""
    assert [{int(name): value for name, value in got.items()} for _, _, got in server.accepted] == values_of_rows


@pytest.mark.parametrize("why", ["Device not initialized.", "Node 'x' does not belong to device."])
def test_a_key_of_another_device_is_waited_for(why: str, opened: Opened, server: EmoncmsServer) -> None:
    server.instead = [Response(200, json.dumps({"success": False, "message": f"Error: {why}"}))]
    with pytest.raises(TryLater, match=why[:10]):
        opened().upload([row(START, (POWER,), 1)])


def test_each_device_is_a_node_of_its_own_unless_the_options_say_otherwise(
    opened: Opened, server: EmoncmsServer
) -> None:
    both = (mapped("power"), mapped("power", device="pump"))
    opened().upload([row(START, both, 1, 2)])
    opened(node="${node} $device").upload([row(START, both, 3, 4)])
    assert [(node, values) for _, node, values in server.accepted] == [
        ("meter", {"power": 1}),
        ("pump", {"power": 2}),
        ("house meter", {"power": 3}),
        ("house pump", {"power": 4}),
    ]


def test_a_compressed_bulk_holds_the_same(opened: Opened, server: EmoncmsServer) -> None:
    rows = [row(START + n, (POWER,), n) for n in range(500)]
    opened(compress=True).upload(rows)
    opened(compress=True).upload(rows[:1])
    packed, small = server.requests
    assert packed.query["cb"] == "1"
    assert len(packed.body) < 4_000
    assert "cb" not in small.query
    assert server.stored["meter", "power"] == {int(START) + n: n for n in range(500)}


def test_sentat_makes_up_for_a_clock_that_is_wrong_all_the_time(opened: Opened, server: EmoncmsServer) -> None:
    server.ahead = 3600
    now = int(time.time())
    opened(times="sentat").upload([row(now - 5, (POWER,), 1)])
    opened(times="sentat", compress=True).upload([row(now - 4 + n, (POWER,), 1) for n in range(4)])
    assert "sentat" in server.requests[0].body.decode()
    assert server.requests[1].query.keys() == {"sentat", "cb"}
    assert all(0 <= moment - (now + 3590) < 60 for moment in server.stored["meter", "power"])


def test_emonhubs_frames_go_out_as_emonhub_sends_them(opened: Opened, server: EmoncmsServer) -> None:
    first = tuple(mapped(name, device="10") for name in ("1", "2", "3"))
    second = tuple(mapped(name, device="11") for name in ("1", "2"))
    named = tuple(mapped(name, device="emontx") for name in ("power1", "power2", "rssi"))
    rows = [row(1_399_980_731.7, first, 100, 200.5, -67), row(1_399_980_741.2, second, 3, 4)]
    opened(times="sentat").upload(rows)
    opened(times="sentat", compress=True).upload([row(1_399_980_731.7, named, 100, 200.5, -67), rows[1]])
    plain, packed = server.requests
    assert plain.form()["data"] == "[[1399980731,10,100,200.5,-67],[1399980741,11,3,4]]"
    assert packed.target.endswith("&cb=1")
    assert "content-type" not in packed.headers
    assert zlib.decompress(packed.body).decode() == (
        '[[1399980731,"emontx",{"power1":100,"power2":200.5,"rssi":-67}],[1399980741,11,3,4]]'
    )


def test_truth_is_one_and_texts_stay_here(opened: Opened, server: EmoncmsServer) -> None:
    mixed = (mapped("on", kind="state"), mapped("mode", kind="text"))
    opened().upload([row(START, mixed, True, "eco"), row(START + 1, mixed[1:], "eco")])
    assert server.accepted == [(int(START), "meter", {"on": 1})]


def test_the_encrypted_vector_is_iotawatts() -> None:
    plain = b'time=1523810250&data=[[10,"IotaHome",1004]]'
    sealed = Encryption(KEY, USER, lambda count: bytes(range(count))).seal(plain)
    assert sealed.body == (b"AAECAwQFBgcICQoLDA0OD05Vw1aePh-F5Jh4mfyxOyt76Yji3HCjCyXC0cnRRHi5kA_qdalszwYkx0Awikihaw==")
    assert sealed.headers == {
        "Authorization": "1234:9a0b7e25f1130251192fdf56b61a5093910b02dae3adea28abcffa3fef81fa12",
        "Content-Type": "aes128cbc",
    }
    assert sealed.expected == b"-Mq9KooyWaFMbm00UY08MWcgCD3Ly1MF4ZbFMoKgeLk="


def test_an_encrypted_bulk_never_shows_the_key_and_wants_the_digest(opened: Opened, server: EmoncmsServer) -> None:
    target = opened(userid=USER)
    assert target.newest() is None  # asking would show the key
    assert server.requests == []
    target.upload([row(START, (POWER,), 1.5)])
    assert server.stored["meter", "power"] == {START: 1.5}
    assert KEY not in repr(server.requests)
    server.instead = [Response(200, "ok")]
    with pytest.raises(TryLater, match="not ok"):
        target.upload([row(START + 1, (POWER,), 1.5)])


def test_the_library_for_encryption_is_not_loaded_without_need(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.uploader.targets.emoncms.encryption", None)
    opened()
    with pytest.raises(ImportError):
        opened(userid=USER)


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, "ok\n"),
        Response(200, '{"success": true}'),
        Response(200, ""),
        Response(200, "<html>Log in to the hotel's network</html>"),
        Response(200, '{"success": false, "message": "Invalid API key"}'),
        Response(401, "Invalid API key"),
        Response(200, "ok", lost=True),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body[:20]}",
)
def test_whatever_is_not_exactly_ok_is_tried_again(answer: Response, opened: Opened, server: EmoncmsServer) -> None:
    target = opened()
    server.instead = [answer]
    with pytest.raises(TryLater) as caught:
        target.upload([row(START, (POWER,), 1)])
    assert (caught.value.done, caught.value.smaller) == (0, False)
    assert KEY not in str(caught.value)
    target.upload([row(START, (POWER,), 1)])
    assert server.stored["meter", "power"] == {START: 1}


def test_how_long_to_wait_and_how_much_to_send_is_the_servers_word(opened: Opened, server: EmoncmsServer) -> None:
    server.instead = [Response(429, "slow", {"Retry-After": "17"}), Response(413, "too large")]
    with pytest.raises(TryLater) as caught:
        opened().upload([row(START, (POWER,), 1)])
    assert caught.value.after == 17
    with pytest.raises(TryLater) as caught:
        opened().upload([row(START, (POWER,), 1)])
    assert caught.value.smaller


def test_an_error_in_a_bulk_is_bisected_to_the_row_and_its_neighbours_arrive(
    opened: Opened, server: EmoncmsServer
) -> None:
    server.poison = {13.0}
    rows = [row(START + n, (POWER,), n) for n in range(50)]
    with pytest.raises(Refused, match="Input in error") as caught:
        opened().upload(rows)
    assert caught.value.rows == {}
    assert 0 < len(server.stored["meter", "power"]) < 50  # what came before the error is stored
    server.stored.clear()
    assert list(delivered(opened(), rows)) == [START + 13]
    assert server.stored["meter", "power"] == {int(START) + n: n for n in range(50) if n != 13}


def test_what_is_not_a_number_never_reaches_the_wire(opened: Opened, server: EmoncmsServer) -> None:
    rows = [row(START, (POWER,), 1.0), row(START + 1, (POWER,), float("nan")), row(START + 2, (POWER,), float("inf"))]
    with pytest.raises(Refused) as caught:
        opened().upload(rows)
    assert caught.value.rows == {1: "power: nan is not a number", 2: "power: inf is not a number"}
    assert server.stored["meter", "power"] == {START: 1}


def test_the_newest_row_is_that_of_each_device_in_one_node_or_many(opened: Opened, server: EmoncmsServer) -> None:
    server.stored = {("all", "meterpower"): {50: 1.0}, ("all", "foreign"): {99: 1.0}, ("pump", "power"): {70: 1.0}}
    both = (mapped("meter/power"), mapped("pump/power", device="pump"))
    assert opened(*both, node="all").newest_by_device() == {"house/meter": 50.0}
    assert opened(POWER, mapped("power", device="pump")).newest_by_device() == {"house/pump": 70.0}
    server.instead = [Response(200, '{"power":{"time":"80"},"volts":{"time":null}}')]
    assert opened(POWER, VOLTS).newest_by_device() == {"house/meter": 80.0}


def test_the_newest_row_is_asked_of_every_node(opened: Opened, server: EmoncmsServer) -> None:
    target = opened(POWER, mapped("power", device="pump"), mapped("power", device="new"))
    assert target.newest() is None
    target.upload([row(START, (POWER,), 1), row(START + 9, (mapped("power", device="pump"),), 1)])
    assert target.newest() == START + 9
    server.instead = [Response(200, '{"success":false,"message":"no"}')]
    with pytest.raises(TryLater, match="did not list"):
        target.newest()


def test_it_takes_rows_only_in_their_order(opened: Opened, server: EmoncmsServer) -> None:
    assert opened().limits.ordered
    with pytest.raises(msgspec.ValidationError, match="order"):
        opened(order="live")


def test_a_server_that_is_away_is_tried_again_without_a_word_about_the_key(opened: Opened) -> None:
    with pytest.raises(TryLater) as caught:
        opened(url="http://127.0.0.1:1").upload([row(START, (POWER,), 1)])
    assert KEY not in str(caught.value)


def test_the_key_is_a_secret() -> None:
    options = Options(name="e", key=KEY)
    assert secrets(options) == {KEY}
    assert KEY not in str(shown(options))


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "short"},
        {"key": "x" * 32, "userid": "1"},
        {"key": KEY, "userid": "me"},
        {"key": KEY, "userid": "1", "compress": True},
        {"key": KEY, "userid": "1", "times": "sentat"},
        {"key": KEY, "url": "emoncms.org"},
        {"key": KEY, "node": ""},
        {"key": KEY, "node": "$unknown"},
    ],
)
def test_options_that_cannot_be_are_refused_without_showing_the_key(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "e", **wrong}, Options)
    assert KEY not in str(caught.value)
