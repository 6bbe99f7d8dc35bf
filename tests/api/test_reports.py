"""The checks that a reading must pass that comes over HTTP."""

from collections.abc import Mapping

import pytest

from heliograph.messages import Channel, Info, Value
from heliograph.store.readings import EARLIEST, LATEST
from services.api.errors import RequestRefused
from services.api.ingest.reports import MOST_CHANNELS, MOST_DEVICES, Report, TimeLimit, check, check_together

NOW = 1_763_634_000.0
LIMIT = TimeLimit(NOW, 600.0)
MANY = {f"c{number}": 1 for number in range(MOST_CHANNELS)}
KNOWN = {"x": Channel("W"), "mode": Channel(kind="text")}


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (MOST_DEVICES, MOST_CHANNELS) == (1000, 256)


def test_a_report_has_no_time_channels_model_interval_and_missing_values_by_default() -> None:
    assert Report("a", {"x": 1}) == Report("a", {"x": 1}, None, {}, "", 0.0, 0)


@pytest.mark.parametrize(
    "report",
    [
        Report("a", {"x": 1, "y": True, "z": -2.5, "mode": "heat"}),
        Report("a" * 63, {"c" * 64: 1}),
        Report("a", {}, missing=1),
        Report("a", {"x": 1}, time=EARLIEST),
        Report("a", {"x": 1}, time=NOW + 600.0),
        Report("a", {"x": "on"}, channels={"x": Channel(kind="text")}),
        Report("a", {"new": "on"}, channels={"mode": Channel(kind="text")}),
    ],
)
def test_a_report_that_is_right_is_accepted(report: Report) -> None:
    check(report, KNOWN, LIMIT)
    check(report, KNOWN, LIMIT, "[7]")


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (Report("A b", {"x": 1}), "device: 'A b' is not the name of a device; use a-z"),
        (Report("a" * 64, {"x": 1}), "device: 'aaa"),
        (Report("a", {}), "values: is empty"),
        (Report("a", {"x": 1, "X y": 1}), "values: 'X y' is not the name of a channel; use a-z"),
        (Report("a", {"x": 1}, channels={"X y": Channel()}), "values: 'X y' is not the name of a channel"),
        (Report("a", {"y": float("nan")}), "values.y: nan is not a finite number, boolean or short text"),
        (Report("a", {"x": "on"}), "values.x: 'on' does not fit a channel of kind gauge"),
        (
            Report("a", {"x": "21,4"}),
            "values.x: '21,4' does not fit a channel of kind gauge; write 21.4: a number has a point, and no quotes",
        ),
        (Report("a", {"mode": 1}), "values.mode: 1 does not fit a channel of kind text"),
        (
            Report("a", {"mode": "on"}, channels={"mode": Channel(kind="state")}),
            "values.mode: 'on' does not fit a channel of kind state",
        ),
        (Report("a", MANY), "values: a device has at most 256 channels"),
        (Report("a", {"x": 1}, channels=dict.fromkeys(MANY, Channel())), "values: a device has at most 256 channels"),
        (Report("a", {"x": 1}, time=EARLIEST - 1.0), "time: 946684799 is before 2000 or after 2100"),
        (
            Report("a", {"x": 1}, time=NOW + 600.5),
            "time: 1763634600.5 is 600 s in the future by the clock of this node",
        ),
    ],
)
def test_a_report_that_is_wrong_is_refused_with_the_field_and_what_was_expected(report: Report, why: str) -> None:
    for where, begin in (("", why), ("[7]", f"[7].{why}")):
        with pytest.raises(RequestRefused) as refused:
            check(report, KNOWN, LIMIT, where)
        assert str(refused.value).startswith(begin)
        assert refused.value.status == 422


def test_a_device_has_as_many_channels_as_it_may_have() -> None:
    check(Report("a", MANY), {}, LIMIT)
    check(Report("a", {"c0": 2}), dict.fromkeys(MANY, Channel()), LIMIT)


@pytest.mark.parametrize(
    ("seconds", "hint"),
    [(0.0, False), (9.9e11, False), (1.1e12, True), (NOW * 1000, True), (9.9e12, True), (1.1e13, False)],
)
def test_milliseconds_are_named_where_they_look_like_it(seconds: float, hint: bool) -> None:
    for now in (NOW, None):
        with pytest.raises(RequestRefused, match="is before 2000 or after 2100") as refused:
            check(Report("a", {"x": 1}, time=seconds), {}, TimeLimit(now, 600.0))
        assert str(refused.value).endswith("; expected seconds, not milliseconds") == hint


def test_nothing_is_in_the_future_while_the_clock_is_not_set() -> None:
    for seconds in (NOW + 1e6, LATEST):
        check(Report("a", {"x": 1}, time=seconds), {}, TimeLimit(None, 600.0))


def infos(*devices: str, channels: Mapping[str, Value] = {}) -> dict[str, Info]:
    return {device: Info("", dict.fromkeys(channels, Channel())) for device in devices}


@pytest.mark.parametrize(
    ("reports", "known"),
    [
        ([Report("a", MANY), Report("b", {"c": 1})], infos("c", channels=MANY)),
        ([Report("a", {"c0": 1}), Report("a", {"c1": 1})], infos("a", channels=MANY)),
        ([Report("a", {"x": 1}), Report("b", {"x": "on"})], {}),
        ([Report("d0", {"x": 1}), Report("d1", {"x": 1})], infos(*(f"d{number}" for number in range(MOST_DEVICES)))),
        ([Report("new", {"x": 1})], infos(*(f"d{number}" for number in range(MOST_DEVICES - 1)))),
    ],
)
def test_reports_that_are_right_together_are_accepted(reports: list[Report], known: dict[str, Info]) -> None:
    check_together(reports, known)


@pytest.mark.parametrize(
    ("reports", "known", "why", "status"),
    [
        ([Report("a", {"x": 1}), Report("a", {"x": "on"})], {}, "a: x is a number here and a text there", 422),
        ([Report("a", {"x": "on"}), Report("a", {"x": 1})], {}, "a: x is a number here and a text there", 422),
        ([Report("a", MANY), Report("a", {"more": 1})], {}, "a: a device has at most 256 channels", 422),
        ([Report("a", {"more": 1})], infos("a", channels=MANY), "a: a device has at most 256 channels", 422),
        (
            [Report("new", {"x": 1})],
            infos(*(f"d{number}" for number in range(MOST_DEVICES))),
            "there are 1000 devices already, which is the limit",
            409,
        ),
    ],
)
def test_reports_that_are_too_many_or_contradict_each_other_are_refused(
    reports: list[Report], known: dict[str, Info], why: str, status: int
) -> None:
    with pytest.raises(RequestRefused) as refused:
        check_together(reports, known)
    assert (str(refused.value), refused.value.status) == (why, status)
