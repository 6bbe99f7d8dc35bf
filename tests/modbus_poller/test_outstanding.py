import pytest

from services.modbus_poller.frames import Request, Response
from services.modbus_poller.outstanding import LATEST_SECONDS, MOST_ALIKE, Outstanding, Reuse

VOLTAGE, POWER = Request(1, 4, 0x0000, 2), Request(1, 4, 0x0100, 2)
LONGER, HOLDING, OTHER = Request(1, 4, 0x0100, 3), Request(1, 3, 0x0100, 2), Request(2, 4, 0x0100, 2)
REFUSED = Response(1, bytes((0x84, 2)))


def answer(request: Request) -> Response:
    return Response(request.unit_id, bytes((request.function, 2 * request.count)) + bytes(2 * request.count))


@pytest.fixture
def outstanding() -> Outstanding:
    """Nothing came for a request that was sent at 100 s."""
    outstanding = Outstanding()
    outstanding.sent(VOLTAGE, 100.0)
    return outstanding


def test_only_what_could_be_confused_is_held_back_and_for_ten_seconds(outstanding: Outstanding) -> None:
    assert outstanding.held_back(POWER, 101.0, Reuse.NONE) == LATEST_SECONDS - 1
    assert outstanding.held_back(POWER, 109.9, Reuse.SAME) == pytest.approx(0.1)
    assert outstanding.held_back(POWER, 110.0, Reuse.SAME) == 0
    for request in (LONGER, HOLDING, OTHER):
        assert outstanding.held_back(request, 101.0, Reuse.NONE) == 0


def test_a_request_for_the_same_registers_may_reuse_a_late_response_and_a_probe_any(outstanding: Outstanding) -> None:
    assert outstanding.held_back(VOLTAGE, 101.0, Reuse.NONE) == 9
    assert outstanding.held_back(VOLTAGE, 101.0, Reuse.SAME) == 0
    assert outstanding.held_back(POWER, 101.0, Reuse.ANY) == 0
    for number in range(1, MOST_ALIKE):
        assert outstanding.held_back(VOLTAGE, 101.0, Reuse.SAME) == 0
        outstanding.sent(VOLTAGE, 100.0 + number)
    assert outstanding.held_back(VOLTAGE, 103.0, Reuse.SAME) == MOST_ALIKE * LATEST_SECONDS - 3  # all of them


def test_a_response_answers_the_oldest_of_its_kind_and_a_second_one_none(outstanding: Outstanding) -> None:
    assert not outstanding.arrived(answer(LONGER), 101.0)
    assert not outstanding.arrived(answer(OTHER), 101.0)
    assert outstanding.arrived(answer(VOLTAGE), 101.0)
    assert not outstanding.arrived(answer(VOLTAGE), 101.0)
    assert outstanding.held_back(POWER, 101.0, Reuse.NONE) == 0


def test_a_unit_begins_with_a_request_when_it_has_answered_those_before(outstanding: Outstanding) -> None:
    outstanding.sent(LONGER, 101.0)
    assert outstanding.held_back(LONGER, 101.0, Reuse.NONE) == 2 * LATEST_SECONDS - 1
    outstanding.arrived(answer(VOLTAGE), 103.0)
    assert outstanding.held_back(LONGER, 103.0, Reuse.NONE) == LATEST_SECONDS


def test_what_was_sent_to_another_unit_delays_nothing(outstanding: Outstanding) -> None:
    outstanding.sent(OTHER, 105.0)
    assert outstanding.held_back(OTHER, 105.0, Reuse.NONE) == LATEST_SECONDS
    assert outstanding.unit_ids(105.0) == {1, 2}
    assert outstanding.unit_ids(112.0) == {2}


def test_an_exception_ends_the_only_request_of_its_function_and_else_is_doubtful(outstanding: Outstanding) -> None:
    outstanding.sent(HOLDING, 100.0)
    assert not outstanding.doubtful(VOLTAGE, 101.0)
    outstanding.sent(LONGER, 100.0)
    assert outstanding.doubtful(LONGER, 101.0)
    assert outstanding.arrived(REFUSED, 101.0)
    assert outstanding.doubtful(LONGER, 101.0)
    assert outstanding.arrived(answer(VOLTAGE), 101.0)
    assert not outstanding.doubtful(LONGER, 101.0)
    assert outstanding.arrived(REFUSED, 101.0)
    assert not outstanding.arrived(REFUSED, 101.0)
    assert outstanding.held_back(HOLDING, 101.0, Reuse.NONE) > 0


def test_a_broken_response_settles_its_own_request_alone(outstanding: Outstanding) -> None:
    outstanding.sent(LONGER, 101.0)
    outstanding.settled(LONGER)
    assert outstanding.held_back(LONGER, 101.0, Reuse.NONE) == 0
    assert outstanding.held_back(VOLTAGE, 101.0, Reuse.NONE) > 0
    outstanding.settled(POWER)
    assert outstanding.held_back(VOLTAGE, 101.0, Reuse.NONE) > 0
