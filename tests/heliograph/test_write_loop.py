import logging
from collections import Counter
from typing import Any, cast

import pytest

from heliograph.service import Service
from heliograph.write_loop import until_stopped


class RecordedService:
    """Keeps what is reported, and ends the process after a number of calls of `work`."""

    def __init__(self, outcomes: list[str]) -> None:
        self.outcomes = iter(outcomes)
        self.counters: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.reports: list[str] = []
        self.waits: list[float] = []

    def work(self) -> None:
        outcome = next(self.outcomes, None)
        if outcome is None:
            raise SystemExit(0)
        if outcome:
            raise OSError(outcome)

    def count(self, what: str) -> None:
        self.counters[what] += 1

    def fact(self, name: str, value: object) -> None:
        self.facts[name] = value

    def report(self) -> None:
        self.reports.append(self.facts["write_error"])

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def run(self, finish: Any = lambda: None) -> None:
        with pytest.raises(SystemExit):
            until_stopped(cast(Service, self), self.work, finish)


def test_a_loss_and_the_return_are_one_line_each_and_one_report_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service = RecordedService(["", "away", "starting up", "away", "", "", "full", ""])
    service.run()
    assert caplog.messages == [
        "away; nothing is acknowledged until it can be written",
        "writing again",
        "full; nothing is acknowledged until it can be written",
        "writing again",
    ]
    assert service.reports == ["away", "", "full", ""]
    assert service.counters == {"write_failures": 4}
    assert service.facts == {"write_error": ""}


def test_the_attempts_become_less_frequent_and_begin_again_after_a_return() -> None:
    service = RecordedService(["away"] * 12 + ["", "away"])
    service.run()
    assert service.waits[0] <= 0.1
    assert 15 <= service.waits[11] <= 30
    assert service.waits[12] <= 0.1


def test_a_failure_of_the_last_write_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def finish() -> None:
        raise OSError("full")

    RecordedService([]).run(finish)
    assert caplog.messages == ["full; what is not written will be sent again"]
