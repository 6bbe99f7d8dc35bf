from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.uploader.options import secrets
from services.uploader.redacted_options import shown
from services.uploader.target import Refused, Row, TryLater
from services.uploader.targets.pvoutput import target as pvoutput
from services.uploader.targets.pvoutput.target import Options, PVOutput
from tests.uploader.conftest import OpenTargets
from tests.uploader.servers.pvoutput_server import KEY, SYSTEM, PVOutputServer, bad
from tests.uploader.servers.rows import START, delivered, mapped, row
from tests.uploader.servers.web_server import Response

ENERGY, POWER = mapped("generation", "Wh", kind="counter", channel="energy"), mapped("generation")
USED = mapped("consumption", "W", channel="load")
ZONE = "Australia/Brisbane"
NOON = START - 8 * 3600  # local time
NAMES = {"*/*/power": "generation", "*/*/load": "consumption"}
Opened = Callable[..., PVOutput]


class Clock:
    """The time as the target sees it, and the server."""

    def __init__(self) -> None:
        self.now = NOON + 6 * 3600
        self.slept = 0.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pvoutput, "time", made.time)
    monkeypatch.setattr(pvoutput, "sleep", made.sleep)
    monkeypatch.setattr(pvoutput, "monotonic", lambda: made.slept)
    return made


@pytest.fixture
def server(clock: Clock) -> Iterator[PVOutputServer]:
    running = PVOutputServer(ZONE)
    running.clock = clock.time
    yield running
    running.close()


@pytest.fixture
def opened(server: PVOutputServer, open_targets: OpenTargets) -> Opened:
    def make(**options: object) -> PVOutput:
        given = {
            "kind": "pvoutput",
            "name": "p",
            "url": server.url,
            "key": KEY,
            "system": SYSTEM,
            "timezone": ZONE,
            "names": NAMES,
            **options,
        }
        return open_targets.add(PVOutput, given)

    return make


def day(count: int, start: float = NOON, step: float = 300) -> list[Row]:
    return [row(start + step * n, (ENERGY, POWER), 100.0 * n, 1200.0) for n in range(count)]


def test_rows_arrive_as_statuses_of_the_local_day(opened: Opened, server: PVOutputServer) -> None:
    opened().upload(day(3))
    assert server.stored == {
        "20251120,12:00": ["0", "1200", "", "", "", ""],
        "20251120,12:05": ["100", "1200", "", "", "", ""],
        "20251120,12:10": ["200", "1200", "", "", "", ""],
    }
    assert [request.path for request in server.requests] == ["/getsystem.jsp", "/addbatchstatus.jsp"]
    assert server.violations == []


def test_the_interval_and_the_limits_are_those_of_the_system(opened: Opened, server: PVOutputServer) -> None:
    server.minutes, server.donor = 15, True
    target = opened()
    assert target.limits == (30, 0, 0.3, 60, 14 * 86_400, 300, False, True)
    with pytest.raises(TryLater, match="interval is 15 minutes") as caught:
        target.upload(day(3))
    assert caught.value.after == 0
    assert target.limits == (100, 0, 0.3, 300, 90 * 86_400, 900, False, True)
    target.upload(day(20, step=900))
    assert len(server.stored) == 20
    other = opened()
    assert other.newest() == NOON + 19 * 900
    other.upload(day(1, step=900))


def test_a_batch_never_crosses_local_midnight(opened: Opened, server: PVOutputServer, clock: Clock) -> None:
    clock.now += 86_400
    midnight = NOON + 12 * 3600
    rows = [row(midnight - 600 + 300 * n, (ENERGY, POWER), 9000.0 if n < 2 else 10.0 * n, 5) for n in range(5)]
    opened().upload(rows)
    assert [[text[:14] for text in batch] for batch in server.batches] == [
        ["20251120,23:50", "20251120,23:55"],
        ["20251121,00:00", "20251121,00:05", "20251121,00:10"],
    ]
    assert server.violations == []


def test_an_hour_that_comes_twice_is_not_twice_in_a_batch(opened: Opened, server: PVOutputServer, clock: Clock) -> None:
    server.zone = ZoneInfo("Europe/Berlin")
    change = datetime(2025, 10, 26, 0, 0, tzinfo=ZoneInfo("UTC")).timestamp()
    clock.now = change + 86_400
    opened(timezone="Europe/Berlin").upload([row(change + 1800 * n, (POWER,), n) for n in range(6)])
    assert [len(batch) for batch in server.batches] == [2, 4]
    assert server.violations == []


def test_batches_stay_below_3000_bytes(opened: Opened, server: PVOutputServer) -> None:
    server.donor = True
    target = opened()
    fields = tuple(mapped(f"v{n}", "") for n in range(1, 13))
    target.upload([row(NOON - 3600 * 10 + 300 * n, fields, *([1234.567 + n] * 12)) for n in range(90)])
    sizes = [len(request.body) for request in server.requests[1:]]
    assert len(sizes) > 1
    assert max(sizes) <= 3000
    assert len(server.stored) == 90
    assert server.stored["20251120,02:00"][6:] == ["1234.567"] * 6


def test_counters_since_ever_carry_their_flag_and_net_power_its_own(opened: Opened, server: PVOutputServer) -> None:
    opened(counters="last").upload([row(NOON, (ENERGY, POWER), 9_000_000.0, 5)])
    assert server.flags == {"20251120,12:00": "2"}
    opened(counters="last").upload([row(NOON, (ENERGY, mapped("v3", "kWh")), 9_000_000.0, 9_000.0)])
    assert server.flags == {"20251120,12:00": "1"}
    opened(net=True).upload([row(NOON, (ENERGY, POWER, USED), 9_000_000.0, 5, 6)])
    assert server.flags == {"20251120,12:00": "n"}
    assert server.stored["20251120,12:00"] == ["", "5", "", "6", "", ""]


def test_extended_fields_are_for_donors(opened: Opened, server: PVOutputServer) -> None:
    opened().upload([row(NOON, (POWER, mapped("extended_1")), 5, 6)])
    assert server.stored["20251120,12:00"] == ["", "5", "", "", "", ""]


def test_rows_without_energy_and_power_are_left_out(opened: Opened, server: PVOutputServer) -> None:
    volts = mapped("voltage", "V")
    target = opened()
    target.upload([row(NOON, (volts,), 230), row(NOON + 300, (volts, POWER), 231, 5), row(NOON + 600, (volts,), 230)])
    assert list(server.stored) == ["20251120,12:05"]
    assert target.upload([row(NOON, (volts,), 230)]).response == "no row with energy or power"


def test_it_continues_after_the_last_status(opened: Opened, server: PVOutputServer) -> None:
    target = opened()
    assert target.newest() is None
    target.upload(day(3))
    assert target.newest() == NOON + 600
    server.instead = [Response(200, "<html>"), Response(500, "oh")]
    with pytest.raises(TryLater, match="not a status"):
        target.newest()
    with pytest.raises(TryLater, match="500"):
        target.newest()


def test_five_requests_of_an_hour_are_left_to_others(opened: Opened, server: PVOutputServer, clock: Clock) -> None:
    target = opened()
    sent = 0
    pause = 0.0
    while not pause:
        pause = target.upload(day(1, NOON + 300 * sent)).pause
        sent += 1
    assert (sent, server.used) == (54, 55)
    assert pause == 3600 - clock.now % 3600
    with pytest.raises(TryLater, match="kept for others") as caught:
        target.upload(day(1))
    assert (caught.value.after, server.used) == (pause, 55)
    clock.now += pause
    assert target.upload(day(1)).pause == 0


def test_what_was_sent_before_the_reserve_was_reached_counts_as_taken(
    opened: Opened, server: PVOutputServer, clock: Clock
) -> None:
    clock.now += 86_400
    target = opened()
    target.upload(day(1))
    server.used = 54
    with pytest.raises(TryLater) as caught:
        target.upload(day(6, NOON + 12 * 3600 - 900))
    assert caught.value.done == 3
    assert caught.value.after == 3600 - clock.now % 3600
    assert len(server.stored) == 4


def test_too_many_requests_wait_for_the_next_hour(opened: Opened, server: PVOutputServer, clock: Clock) -> None:
    server.hour, server.used = int(clock.now // 3600), 60
    with pytest.raises(TryLater, match="Exceeded 60 requests per hour") as caught:
        opened().upload(day(1))
    assert caught.value.after == 3600 - clock.now % 3600
    clock.now += caught.value.after
    opened().upload(day(1))
    assert len(server.stored) == 1


def test_requests_are_a_third_of_a_second_apart(opened: Opened, server: PVOutputServer, clock: Clock) -> None:
    opened().upload(day(2))
    assert len(server.requests) == 2
    assert clock.slept == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Response(401, "Unauthorized 401: Invalid API Key"), None),
        (Response(403, "Forbidden 403: Read only key"), None),
        (bad("Load in progress"), 30),
        (Response(503, "Busy", {"Retry-After": "9"}), 9),
        (Response(200, ""), None),
        (Response(200, "<html>Log in</html>"), None),
        (Response(200, "", lost=True), None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_time_or_a_human_mends_is_tried_again(
    answer: Response, after: float | None, opened: Opened, server: PVOutputServer
) -> None:
    target = opened()
    server.instead = [lambda request: None, answer]
    with pytest.raises(TryLater) as caught:
        target.upload(day(3))
    assert (caught.value.after, caught.value.done) == (after, 0)
    assert KEY not in str(caught.value)
    target.upload(day(3))
    assert len(server.stored) == 3


def test_rows_that_are_too_old_are_set_aside_and_the_others_arrive_with_one_more_request(
    opened: Opened, server: PVOutputServer
) -> None:
    local_midnight = NOON - 12 * 3600
    rows = [*day(2, local_midnight - 15 * 86_400), *day(3)]
    target = opened()
    with pytest.raises(Refused, match="older than 14 days") as caught:
        target.upload(rows)
    assert sorted(caught.value.rows) == [0, 1]
    assert len(server.stored) == 3
    assert len(server.requests) == 3


def test_a_batch_with_an_old_row_among_good_ones_of_the_next_day(opened: Opened, server: PVOutputServer) -> None:
    server.zone = ZoneInfo("Australia/Sydney")  # an hour ahead of what the options say
    local_midnight = NOON - 12 * 3600
    rows = day(4, local_midnight - 14 * 86_400 - 600)
    assert sorted(delivered(opened(), rows)) == [rows[0].time, rows[1].time]
    assert len(server.stored) == 2


def test_rows_of_the_future_are_set_aside_unless_the_time_zone_is_wrong(
    opened: Opened, server: PVOutputServer, clock: Clock
) -> None:
    rows = [*day(2), *day(1, clock.now + 3600)]
    with pytest.raises(Refused, match="in the future") as caught:
        opened().upload(rows)
    assert list(caught.value.rows) == [2]
    assert len(server.stored) == 2
    with pytest.raises(TryLater, match="Check timezone"):
        opened(timezone="Pacific/Auckland").upload(day(1, clock.now - 300))


def test_generation_by_moonlight_is_left_out_and_the_rest_of_its_row_is_sent(
    opened: Opened, server: PVOutputServer
) -> None:
    server.dark = lambda moment: moment.hour == 12 and moment.minute == 10
    rows = [row(NOON + 300 * n, (ENERGY, POWER, USED), 10 * n, 3, 500) for n in range(5)]
    with pytest.raises(Refused, match="Moon powered") as caught:
        opened().upload(rows)
    assert caught.value.rows == {}
    assert delivered(opened(), rows) == {}
    assert server.stored["20251120,12:10"] == ["", "", "", "500", "", ""]
    assert [values[1] for values in server.stored.values()].count("3") == 4


def test_a_night_with_generation_takes_one_more_request_and_no_halving(
    opened: Opened, server: PVOutputServer, clock: Clock
) -> None:
    clock.now += 86_400
    server.dark = lambda moment: moment.hour >= 19
    start = NOON + 6 * 3600
    rows = [row(start + 300 * n, (ENERGY, POWER, USED), 10 * n, 3 if n % 2 else 0, 500) for n in range(30)]
    opened().upload(rows)
    assert len(server.requests) == 3
    assert server.stored["20251120,20:20"] == ["280", "0", "", "500", "", ""]
    assert server.stored["20251120,20:25"] == ["", "", "", "500", "", ""]
    assert server.stored["20251120,18:05"] == ["10", "3", "", "500", "", ""]
    rows[29] = row(rows[29].time, (ENERGY, POWER), 290, 3)
    with pytest.raises(Refused, match="Moon powered") as caught:
        opened().upload(rows)
    assert list(caught.value.rows) == [29]


def test_generation_by_moonlight_alone_is_set_aside(opened: Opened, server: PVOutputServer) -> None:
    server.dark = lambda moment: moment.hour == 12 and moment.minute == 10
    assert list(delivered(opened(), day(5))) == [NOON + 600]
    assert len(server.stored) == 4


def test_values_that_are_too_high_are_found_by_halves(opened: Opened, server: PVOutputServer) -> None:
    rows = day(8)
    rows[3] = row(rows[3].time, (ENERGY, POWER), 300.0, 9_999)
    aside = delivered(opened(), rows)
    assert list(aside) == [rows[3].time]
    assert "Power value [9999] too high" in aside[rows[3].time]
    rows[3] = row(rows[3].time, (ENERGY, POWER), 300_000.0, 9)
    assert "Energy value [300000] too high" in delivered(opened(), rows)[rows[3].time]
    server.instead = [lambda request: None, bad("Could not read [v2]")]
    assert "Could not read" in delivered(opened(), rows[:1])[rows[0].time]


def test_the_flag_of_each_row_counts_and_not_the_status_of_the_answer(opened: Opened, server: PVOutputServer) -> None:
    server.not_added = {"20251120,12:05"}
    with pytest.raises(Refused) as caught:
        opened().upload(day(3))
    assert caught.value.rows == {1: "20251120,12:05: not added"}
    server.instead = [lambda request: None, Response(200, "20251120,12:00,1;20251120,12:10,1")]
    with pytest.raises(Refused) as caught:
        opened().upload(day(3))
    assert caught.value.rows == {1: "20251120,12:05: not confirmed"}


def test_a_refused_row_is_not_forgotten_when_the_next_batch_fails(
    opened: Opened, server: PVOutputServer, clock: Clock
) -> None:
    clock.now += 86_400
    server.not_added = {"20251120,23:55"}
    rows = day(6, NOON + 12 * 3600 - 900)
    server.instead = [lambda request: None, lambda request: None, Response(503, "busy")]
    target = opened()
    with pytest.raises(Refused) as caught:
        target.upload(rows)
    assert list(caught.value.rows) == [2]
    assert caught.value.later is not None
    assert delivered(target, rows[caught.value.later.done :]) == {}
    assert len(server.stored) == 5


def test_what_is_not_a_number_is_set_aside(opened: Opened, server: PVOutputServer) -> None:
    rows = [*day(1), row(NOON + 300, (POWER,), float("nan")), row(1e300, (POWER,), 1)]
    with pytest.raises(Refused) as caught:
        opened().upload(rows)
    assert list(caught.value.rows) == [1, 2]
    assert len(server.stored) == 1


def test_an_unknown_answer_about_the_system_is_asked_for_again(opened: Opened, server: PVOutputServer) -> None:
    server.instead = [Response(200, "<html>"), bad("Load in progress")]
    target = opened()
    with pytest.raises(TryLater, match="not a description"):
        target.upload(day(1))
    with pytest.raises(TryLater) as caught:
        target.upload(day(1))
    assert caught.value.after == 30
    target.upload(day(1))
    assert len(server.stored) == 1


def test_the_key_is_a_secret(opened: Opened) -> None:
    options = Options(name="p", key=KEY, system=SYSTEM, names=NAMES)
    assert secrets(options) == {KEY}
    assert KEY not in str(shown(options))
    with pytest.raises(TryLater) as caught:
        opened(url="http://127.0.0.1:1").upload(day(1))
    assert KEY not in str(caught.value)


def test_only_what_is_named_is_selected_unless_channels_say_otherwise() -> None:
    options = Options(name="p", key=KEY, system=SYSTEM, names=NAMES)
    assert options.channels == ("*/*/power", "*/*/load")
    assert msgspec.convert(msgspec.to_builtins(options), Options) == options
    assert Options(name="p", key=KEY, system=SYSTEM, names=NAMES, channels=("a/*/*",)).channels == ("a/*/*",)
    assert Options(name="p", key=KEY, system=SYSTEM, name_template="${channel}").channels == ("*/*/*",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"system": "mine"},
        {"names": {"*/*/power": "genration"}},
        {"names": {}},
        {"interval": 300},
        {"timestamp": "end"},
        {"counters": "delta"},
        {"url": "pvoutput.org"},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        msgspec.convert({"name": "p", "key": KEY, "system": SYSTEM, "names": NAMES, **wrong}, Options)
