from collections.abc import Callable, Iterator

import msgspec
import pytest

from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import Refused, Row, TryLater
from services.uploader.targets.thingspeak import Options, ThingSpeak
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.rows import START, mapped, row
from tests.uploader.servers.thingspeak_server import CHANNEL, KEY, READ_KEY, ThingSpeakServer, error
from tests.uploader.servers.web_server import Response

POWER, VOLTS = mapped("field1", channel="power"), mapped("field8", "V", channel="volts")
NAMES = {"*/*/power": "field1"}
Opened = Callable[..., ThingSpeak]


@pytest.fixture
def server() -> Iterator[ThingSpeakServer]:
    running = ThingSpeakServer()
    yield running
    running.close()


@pytest.fixture
def opened(server: ThingSpeakServer, open_targets: OpenTargets) -> Opened:
    def make(**options: object) -> ThingSpeak:
        given = {"kind": "thingspeak", "name": "t", "url": server.url, "key": KEY, "channel": CHANNEL, "names": NAMES}
        return open_targets.add(ThingSpeak, {**given, **options})

    return make


def minutes(count: int, start: float = START) -> list[Row]:
    return [row(start + 60 * n, (POWER, VOLTS), 400.5 + n, 230.0) for n in range(count)]


def test_rows_are_entries_of_the_channel(opened: Opened, server: ThingSpeakServer) -> None:
    assert opened().upload(minutes(960)).response == 'HTTP 202: {"success":true}'
    assert len(server.stored) == 960
    assert server.stored[START] == {"created_at": "2025-11-20T10:00:00Z", "field1": 400.5, "field8": 230}
    assert not any(KEY in request.target for request in server.requests)


def test_the_limits_are_those_of_the_account(opened: Opened) -> None:
    assert opened().limits == (960, 0, 15, 0, 0, 60, False, False)
    assert opened(paid=True).limits[:3] == (14_400, 0, 15)
    assert opened(bulk=False).limits[:3] == (1, 0, 15)
    assert opened(bulk=False, paid=True, interval=1.0).limits == (1, 0, 1, 0, 0, 1, False, False)


def test_what_comes_too_fast_is_tried_again_after_15_seconds(opened: Opened, server: ThingSpeakServer) -> None:
    target = opened()
    target.upload(minutes(2))
    with pytest.raises(TryLater, match="429") as caught:
        target.upload(minutes(2, START + 600))
    assert caught.value.after == 15
    server.now += caught.value.after
    target.upload(minutes(2, START + 600))
    assert len(server.stored) == 4


def test_a_zero_with_status_200_is_not_a_success(opened: Opened, server: ThingSpeakServer) -> None:
    target = opened(bulk=False)
    target.upload(minutes(1))
    with pytest.raises(TryLater, match="too fast") as caught:
        target.upload(minutes(1, START + 60))
    assert caught.value.after == 15
    server.now += 15
    assert "entry_id" in target.upload(minutes(1, START + 60)).response
    assert sorted(server.stored) == [START, START + 60]


def sent(server: ThingSpeakServer) -> list[int]:
    return [
        len(msgspec.json.decode(request.body)["updates"]) for request in server.requests if request.method == "POST"
    ]


def test_a_lost_answer_leads_to_no_entry_twice_and_none_too_few(opened: Opened, server: ThingSpeakServer) -> None:
    target = opened(read_key=READ_KEY)
    assert target.newest() is None
    target.upload(minutes(1))
    server.now += 15
    server.lose = 1
    with pytest.raises(TryLater):
        target.upload(minutes(2, START + 60))
    assert len(server.stored) == 3
    server.now += 15
    target.upload(minutes(4, START + 60))
    assert sent(server) == [1, 2, 2]
    assert sorted(server.stored) == [START + 60 * n for n in range(5)]
    assert target.newest() == START + 240
    assert [request.path for request in server.requests].count(f"/channels/{CHANNEL}/feeds.json") == 2


def test_a_new_start_sends_only_what_is_not_there_and_history_after_it(
    opened: Opened, server: ThingSpeakServer
) -> None:
    opened(read_key=READ_KEY).upload(minutes(3, START + 600))
    again = opened(read_key=READ_KEY)
    assert again.upload(minutes(3, START + 600)).response == "nothing to send"
    server.now += 15
    again.upload(minutes(3))
    assert len(server.stored) == 6


def test_a_private_channel_without_a_key_to_read_does_not_tell(opened: Opened) -> None:
    assert opened().newest() is None


@pytest.mark.parametrize("answer", [Response(200, "<html>"), Response(500, ""), Response(200, "[1]")])
def test_an_answer_that_is_no_entry_is_asked_for_again(
    answer: Response, opened: Opened, server: ThingSpeakServer
) -> None:
    server.instead = [answer]
    with pytest.raises(TryLater):
        opened(read_key=READ_KEY).newest()


@pytest.mark.parametrize(
    "answer",
    [
        error(401, "error_auth_required", "Authorization Required"),
        error(409, "error_conflict", "Conflict"),
        Response(502, "Bad gateway"),
        Response(200, '{"success":false}'),
        Response(200, "<html>Log in</html>"),
        Response(202, '{"success":true}', lost=True),
    ],
    ids=lambda answer: f"{answer.status}",
)
def test_what_time_or_a_human_mends_is_tried_again(answer: Response, opened: Opened, server: ThingSpeakServer) -> None:
    target = opened(read_key=READ_KEY)
    server.instead = [lambda request: None, answer]
    with pytest.raises(TryLater) as caught:
        target.upload(minutes(2))
    assert KEY not in str(caught.value)
    target.upload(minutes(2))
    assert len(server.stored) == 2


def test_what_is_too_large_is_sent_in_parts(opened: Opened, server: ThingSpeakServer) -> None:
    with pytest.raises(TryLater) as caught:
        opened().upload(minutes(961))
    assert caught.value.smaller


def test_what_is_wrong_for_good_is_refused(opened: Opened, server: ThingSpeakServer) -> None:
    target = opened()
    target.upload(minutes(1))
    server.now += 15
    with pytest.raises(Refused, match="not unique") as caught:
        target.upload(minutes(2))
    assert caught.value.rows == {}


def test_two_rows_of_a_second_and_what_is_not_a_number_do_not_stop_the_others(
    opened: Opened, server: ThingSpeakServer
) -> None:
    rows = [
        *minutes(2),
        row(START + 60.5, (POWER,), 7),
        row(START + 120, (POWER,), float("nan")),
        *minutes(1, START + 180),
    ]
    with pytest.raises(Refused) as caught:
        opened().upload([*rows, row(1e300, (POWER,), 1)])
    assert caught.value.rows.pop(5)
    assert caught.value.rows == {
        2: "2025-11-20T10:01:00Z: there is an entry of this second",
        3: "nan is not a number",
    }
    assert sorted(server.stored) == [START, START + 60, START + 180]


def test_channels_that_are_no_field_stay_here(opened: Opened, server: ThingSpeakServer) -> None:
    opened().upload([row(START, (POWER, mapped("")), 1, 2), row(START + 60, (mapped(""),), 2)])
    assert server.stored == {START: {"created_at": "2025-11-20T10:00:00Z", "field1": 1}}
    with pytest.raises(Refused, match="house/meter/power and house/meter/other are both field1"):
        opened().upload([row(START, (POWER, mapped("field1", channel="other")), 1, 2)])


def test_the_keys_are_secrets(opened: Opened) -> None:
    options = Options(name="t", key=KEY, read_key=READ_KEY, channel=1, names=NAMES)
    assert secrets(options) == {KEY, READ_KEY}
    assert KEY not in str(shown(options))
    target = opened(url="http://127.0.0.1:1", read_key=READ_KEY)
    for request in (target.newest, lambda: target.upload(minutes(1))):
        with pytest.raises(TryLater) as caught:
            request()
        assert KEY not in str(caught.value)
        assert READ_KEY not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"key": ""}, {"channel": 0}, {"interval": 0.0}, {"names": {"*/*/power": "field9"}}, {"names": {}}, {"url": "x"}],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        msgspec.convert({"name": "t", "key": KEY, "channel": 1, "names": NAMES, **wrong}, Options)
