"""When a service answers questions for announcements."""

import msgspec
import pytest

from heliograph.announcing import AGAIN_SECONDS, ANSWER_SECONDS, KNOWN_ASKERS, AnswerTimes, Question


class Asked:
    """Answer times with a clock and a delay that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.delay = 0.0
        self.times = AnswerTimes(lambda: self.now, lambda: self.delay)

    def ask(self, service: str, delay: float = 0.0) -> None:
        self.delay = delay
        self.times.ask(msgspec.json.encode(Question("roof", service)))

    def answers_at(self, seconds: float) -> bool:
        """Advance the clock to this time, and answer if that is due."""
        self.now = seconds
        return self.times.take()


def test_without_a_question_there_is_no_answer() -> None:
    asked = Asked()
    assert asked.times.wait() is None
    assert not asked.answers_at(1000.0)


def test_a_question_is_answered_after_its_delay_and_only_once() -> None:
    asked = Asked()
    asked.ask("api", 1.5)
    assert asked.times.wait() == 1.5
    assert not asked.answers_at(101.4)
    assert asked.answers_at(101.5)
    assert asked.times.wait() is None
    assert not asked.answers_at(200.0)


def test_the_delay_is_random_within_two_seconds() -> None:
    delays = set()
    for _ in range(20):
        times = AnswerTimes(lambda: 0.0)
        times.ask(msgspec.json.encode(Question("roof", "api")))
        delays.add(times.wait())
    assert all(delay is not None and 0 <= delay <= ANSWER_SECONDS for delay in delays)
    assert len(delays) > 1


def test_one_answer_is_for_all_who_asked_before_it() -> None:
    asked = Asked()
    asked.ask("api", 2.0)
    asked.now = 101.0
    asked.ask("home_assistant", 0.5)
    assert asked.answers_at(101.5)
    assert asked.times.wait() is None


def test_one_who_asks_again_and_again_is_answered_once_in_ten_seconds() -> None:
    asked = Asked()
    answered = []
    for tenth in range(300):
        asked.now = 100.0 + tenth / 10
        if tenth % 10 == 0:
            asked.ask("api", 0.5)
        if asked.times.take():
            answered.append(asked.now)
    assert answered == [100.5, 111.0, 121.5]


def test_another_one_need_not_wait_for_it() -> None:
    asked = Asked()
    asked.ask("api")
    assert asked.answers_at(100.0)
    asked.now = 101.0
    asked.ask("api")
    asked.ask("storage", 1.0)
    assert asked.times.wait() == 1.0
    assert asked.answers_at(102.0)
    assert asked.times.wait() is None  # the api has received it as well
    asked.ask("api")
    assert asked.times.wait() == AGAIN_SECONDS


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"node": 1}', b"x" * 10_000])
def test_a_question_without_a_name_is_answered_too(payload: bytes) -> None:
    asked = Asked()
    asked.times.ask(payload)
    assert asked.answers_at(100.0)
    asked.times.ask(payload)
    assert asked.times.wait() == AGAIN_SECONDS


def test_many_names_are_one_asker() -> None:
    asked = Asked()
    answers = 0
    for number in range(1000):
        asked.now += 0.01
        asked.ask(f"x{number}")
        answers += asked.times.take()
    assert answers <= KNOWN_ASKERS + 2
